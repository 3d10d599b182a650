use http::Request;

use super::{Head, Hosts};
use crate::error::Problem;

fn strict() -> Hosts {
    Hosts::Named(vec!["thuban.example".into()])
}

fn asked(uri: &str, headers: &[(&str, &str)], changes: bool, hosts: Option<&Hosts>) -> Result<(), Problem> {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Head::of_parts(&parts).check(changes, hosts)
}

/// Status and field of what is refused.
fn refused(given: Result<(), Problem>) -> Option<(u16, String)> {
    let problem = given.err()?;
    Some((problem.code().status(), problem.parts().field.clone().unwrap_or_default().into_owned()))
}

#[test]
fn a_node_that_trusts_whoever_reaches_it_answers_to_its_own_names_only() {
    let own = [
        "127.0.0.1",
        "127.0.0.1:7800",
        "[::1]:7800",
        "[::1]",
        "localhost",
        "LocalHost:1",
        "localhost.",
        "10.1.2.3:80",
        "thuban.example",
        "Thuban.Example:7800",
    ];
    for host in own {
        for changes in [false, true] {
            assert_eq!(refused(asked("/v1/status", &[("host", host)], changes, Some(&strict()))), None, "{host}");
        }
    }
    let others = ["evil.example", "evil.example:7800", "127.0.0.1.evil.example", "localhost.evil.example", "1", "[::1"];
    for host in others {
        let given = asked("/v1/status", &[("host", host)], false, Some(&strict()));
        assert_eq!(refused(given), Some((403, "host".to_owned())), "{host}");
        assert_eq!(refused(asked("/v1/status", &[("host", host)], true, Some(&Hosts::Any))), None, "{host}");
        assert_eq!(refused(asked("/v1/status", &[("host", host)], true, None)), None, "{host}");
    }
    // As HTTP/2 and proxies have it.
    let rebound = asked("http://evil.example:7800/v1/status", &[("host", "localhost")], false, Some(&strict()));
    assert_eq!(refused(rebound), Some((403, "host".to_owned())));
    let told = asked("/", &[("host", "evil.example")], false, Some(&strict())).unwrap_err();
    assert!(told.to_string().contains("localhost, thuban.example"), "{told}");
}

#[test]
fn a_request_names_one_host() {
    assert_eq!(refused(asked("/", &[], false, None)), Some((400, "host".to_owned())));
    assert_eq!(refused(asked("/", &[("host", "a"), ("host", "a")], false, None)), Some((400, "host".to_owned())));
    for odd in ["", "a/b", "a@b", "a b", ":80"] {
        assert_eq!(refused(asked("/", &[("host", odd)], false, None)), Some((400, "host".to_owned())), "{odd}");
    }
    assert_eq!(refused(asked("http://h/", &[], false, None)), None);
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.version = http::Version::HTTP_10;
    assert_eq!(refused(Head::of_parts(&parts).check(true, Some(&strict()))), None);
}

#[test]
fn a_page_of_another_origin_changes_nothing() {
    let host = ("host", "localhost:7800");
    let foreign = [
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "whatever"),
        ("origin", "http://evil.example"),
        ("origin", "http://localhost:7801"),
        ("origin", "http://localhost"),
        ("origin", "null"),
        ("origin", ""),
    ];
    for (name, value) in foreign {
        let given = asked("/", &[host, (name, value)], true, None);
        assert_eq!(refused(given), Some((403, name.to_owned())), "{value}");
        assert_eq!(refused(asked("/", &[host, (name, value)], false, None)), None, "a look changes nothing: {value}");
    }
    let two = [host, ("origin", "http://localhost:7800"), ("origin", "http://evil.example")];
    assert_eq!(refused(asked("/", &two, true, None)), Some((403, "origin".to_owned())));
    let own = [("origin", "http://LOCALHOST:7800"), ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")];
    for (name, value) in own {
        assert_eq!(refused(asked("/", &[host, (name, value)], true, Some(&strict()))), None, "{value}");
    }
    for host in ["thuban.example", "thuban.example:443"] {
        let behind_tls = [("host", host), ("origin", "https://thuban.example")];
        assert_eq!(refused(asked("/", &behind_tls, true, Some(&strict()))), None);
    }
}

#[test]
fn only_plain_bytes_are_read() {
    let encoded = |kind| asked("/", &[("host", "h"), ("content-encoding", kind)], true, None);
    for kind in ["gzip", "br", "identity, gzip", ""] {
        assert_eq!(refused(encoded(kind)), Some((415, "content-encoding".to_owned())), "{kind}");
    }
    assert_eq!(refused(encoded("Identity")), None);
}
