use super::*;

#[test]
fn an_authority_names_host_and_port() {
    let authority = |host| Target { host, port: 8080 }.authority();
    assert_eq!(authority("orders.internal"), "orders.internal:8080");
    assert_eq!(authority("10.0.0.7"), "10.0.0.7:8080");
    assert_eq!(authority("fd00::7"), "[fd00::7]:8080");
}

#[test]
fn errors_of_connections_have_words() {
    for (kind, expected) in [
        (io::ErrorKind::ConnectionRefused, "connection refused"),
        (io::ErrorKind::ConnectionReset, "connection reset"),
        (io::ErrorKind::HostUnreachable, "host unreachable"),
    ] {
        assert_eq!(words(&kind.into()), expected);
    }
    assert_eq!(words(&io::Error::other("something else")), "something else");
}
