use std::time::Duration;

use super::{Settings, SettingsError, TlsMode};

fn parsed(address: &str) -> Settings {
    address.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
}

fn refused(address: &str) -> SettingsError {
    address.parse::<Settings>().err().unwrap_or_else(|| panic!("{address} was taken"))
}

#[test]
fn an_address_says_who_where_and_which() {
    let settings = parsed("mysql://thuban:secret@db.example:3307/registry");
    assert_eq!((settings.host.as_str(), settings.port), ("db.example", 3307));
    assert_eq!((settings.user.as_str(), settings.password.as_deref()), ("thuban", Some("secret")));
    assert_eq!((settings.database.as_str(), settings.tls.mode), ("registry", TlsMode::Preferred));

    let short = parsed("mysql://thuban@[::1]/registry");
    assert_eq!((short.host.as_str(), short.port, short.password), ("::1", 3306, None));
    assert_eq!(parsed("mysql://u@[::1]:1/d").port, 1);
    let coded = parsed("mysql://a%40b:p%2F%40%3F%25%3A%C3%A4@h/d%20e");
    assert_eq!((coded.user.as_str(), coded.password.as_deref()), ("a@b", Some("p/@?%:ä")));
    assert_eq!(coded.database, "d e");
    assert_eq!(parsed("mysql://u:@h/d").password.as_deref(), Some(""));
    assert_eq!(parsed("mysql://u:a:b@h/d").password.as_deref(), Some("a:b"));
}

#[test]
fn options_set_tls_and_limits() {
    let settings = parsed(
        "mysql://u:p@h/d?ssl-mode=verify-identity&ssl-ca=%2Fetc%2Fca.pem&ssl-cert=c.pem&ssl-key=k.pem&connections=3\
         &connect-timeout-ms=2000&statement-timeout-ms=600000&idle-timeout-ms=30000",
    );
    assert_eq!(settings.tls.mode, TlsMode::VerifyIdentity);
    assert_eq!(settings.tls.ca.as_deref().and_then(|file| file.to_str()), Some("/etc/ca.pem"));
    assert!(settings.tls.certificate.is_some() && settings.tls.key.is_some());
    let limits = settings.limits;
    assert_eq!((limits.connections, limits.connect), (3, Duration::from_secs(2)));
    assert_eq!((limits.statement, limits.idle), (Duration::from_secs(600), Duration::from_secs(30)));
    for (name, mode) in [
        ("disabled", TlsMode::Disabled),
        ("preferred", TlsMode::Preferred),
        ("required", TlsMode::Required),
        ("verify-ca", TlsMode::VerifyCa),
    ] {
        assert_eq!(parsed(&format!("mysql://u@h/d?ssl-mode={name}")).tls.mode, mode);
    }
}

#[test]
fn what_is_wrong_is_named_with_what_is_allowed() {
    for (address, told) in [
        ("postgres://u@h/d", "mysql://"),
        ("mysql:u@h/d", "mysql://"),
        ("mysql://h/d", "no user"),
        ("mysql://:p@h/d", "no user"),
        ("mysql://u@/d", "no host"),
        ("mysql://u@:1/d", "no host"),
        ("mysql://u@h", "no database"),
        ("mysql://u@h/", "no database"),
        ("mysql://u@h/?ssl-mode=required", "no database"),
        ("mysql://u@h:0/d", "the port of the store's address is \"0\": 1 to 65535"),
        ("mysql://u@h:65536/d", "\"65536\""),
        ("mysql://u@::1/d", "[ ]"),
        ("mysql://u@[::1]x/d", "the port"),
        ("mysql://u@h/d/e", "the database of the store's address is \"d/e\""),
        ("mysql://u%4@h/d", "the user"),
        ("mysql://u@h/d%ff", "the database"),
        ("mysql://u@h/d?ssl-mode=on", "option ssl-mode of the store's address is \"on\": disabled, preferred"),
        ("mysql://u@h/d?connections=2", "3 to 64"),
        ("mysql://u@h/d?connections=65", "3 to 64"),
        ("mysql://u@h/d?connect-timeout-ms=1999", "2000 to 600000"),
        ("mysql://u@h/d?statement-timeout-ms=-1", "option statement-timeout-ms"),
        ("mysql://u@h/d?idle-timeout-ms=600001", "option idle-timeout-ms"),
        ("mysql://u@h/d?ssl-ca=", "no file"),
        ("mysql://u@h/d?ssl-cert=x", "go together"),
        ("mysql://u@h/d?pool=3", "unknown option \"pool\": ssl-mode,"),
    ] {
        let text = refused(address).to_string();
        assert!(text.contains(told), "{address}: {text}");
    }
    let long = format!("mysql://u@h/{}", "d".repeat(65));
    assert!(refused(&long).to_string().contains("64 bytes"));
}

/// However it is spoilt, and wherever the password ends up in it.
#[test]
fn nothing_shows_the_password() {
    const SECRET: &str = "hunter2";
    let around =
        [("", ""), ("x/", ""), ("", "/x"), ("x?", ""), ("", "?x=y"), ("x@", ""), ("", "@x"), ("%", ""), ("", "%")];
    for (before, after) in around {
        for rest in ["@h/d", "@h:x/d", "@h", "/d", "@h/d?ssl-mode=on", "@h/d?what=x", ""] {
            if before.contains('@') && !rest.contains('@') {
                // Then it is the host's name, and nobody can know better.
                continue;
            }
            let address = format!("mysql://u:{before}{SECRET}{after}{rest}");
            let shown = match address.parse::<Settings>() {
                Ok(settings) => format!("{settings} {settings:?} {:?}", settings.tls),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains(SECRET), "{address}: {shown}");
        }
    }
}

#[test]
fn it_is_shown_as_an_address() {
    assert_eq!(parsed("mysql://u:p@h/d").to_string(), "mysql://u@h:3306/d");
    assert_eq!(parsed("mysql://u:p@[::1]:33/d").to_string(), "mysql://u@[::1]:33/d");
}
