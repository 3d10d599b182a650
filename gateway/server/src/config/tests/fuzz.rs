//! Configurations that nobody would write: each is in force as it was written, or refused by key, value and origin.

use std::net::SocketAddr;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// A value that some key takes, and many that none does.
fn value() -> impl Strategy<Value = String> {
    let known = vec![
        "",
        " ",
        ",",
        "true",
        "TRUE",
        "1",
        "0",
        "-1",
        "+1",
        "007",
        "1e3",
        "18446744073709551616",
        "127.0.0.1:0",
        "127.0.0.1:7800",
        "localhost:1",
        "localhost:65536",
        "[::1]:7",
        "::1",
        "0.0.0.0:1",
        "256.0.0.1:1",
        "127.0.0.1",
        "host:1",
        "10.0.0.0/8",
        "10.0.0.0/33",
        "::/0",
        "::/129",
        "fc00::/7",
        "::ffff:10.0.0.0/104",
        "1.2.3.4",
        "10.0.0.1/8,::1",
        "sqlite:/x",
        "sqlite:",
        "local:/x",
        "mysql://u:p@h/d",
        "sqlite:a\0b",
        "/no/such/file",
        "a\0b",
        "text",
        "json",
        "info",
        "warn,compute=debug",
        "=",
        "x=[",
        "none",
        "nacos",
        "*",
        "thuban.example",
        "a b",
        "ü",
        "\u{202e}",
        "\n",
        "\"",
        "'''",
        "\\",
        "a,b",
    ];
    prop_oneof![6 => select(known).prop_map(str::to_owned), 2 => "\\PC{0,12}", 1 => "[0-9a-f.:/,\\[\\]]{0,20}", 1 => Just("x".repeat(300))]
}

/// A file: keys in their places, and what else TOML has.
fn file() -> impl Strategy<Value = String> {
    let key = prop_oneof![8 => select((0..KEYS.len()).collect::<Vec<_>>()).prop_map(|at| KEYS[at].name.to_owned()), 1 => "[a-z_.\"]{0,12}"];
    let literal = prop_oneof![
        4 => value().prop_map(|value| toml::Value::String(value).to_string()),
        2 => vec(value(), 0..4).prop_map(|words| toml::Value::from(words).to_string()),
        1 => select(vec!["1", "0x1f", "1_0", "-1", "1.5", "nan", "true", "1979-05-27", "{}", "{a=1}", "[[1]]", "[1,2]", "99999999999999999999999"])
            .prop_map(str::to_owned),
        1 => value(),
    ];
    let line = (key, literal).prop_map(|(key, literal)| format!("{key} = {literal}"));
    let other = select(vec![
        "[door.nacos]",
        "[door]",
        "[[door]]",
        "http = 1",
        "# x",
        "[",
        "]",
        "=",
        "\"",
        "\u{feff}",
        "[http]",
        "a.b.c=1",
    ]);
    let line = prop_oneof![6 => line, 1 => other.prop_map(str::to_owned), 1 => "\\PC{0,20}"];
    vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

/// Of a value that is wrong, everything is said that is needed to mend it.
fn told(wrongs: &[String]) -> Result<(), TestCaseError> {
    for wrong in wrongs {
        let is_placed =
            ["line ", "unknown key", "(from: ", " is not set", " is set", "can't", "not UTF-8", "not a loopback"];
        prop_assert!(is_placed.iter().any(|word| wrong.contains(word)), "{}", wrong);
        prop_assert!(wrong.len() < 8_192, "{}", wrong);
        let is_value = wrong.contains("(from: ");
        prop_assert!(!is_value || wrong.contains("; allowed: "), "{}", wrong);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_file_is_too_strange(text in file()) {
        told(&wrongs(&[], &[], Some(&text)))?;
    }

    #[test]
    fn no_bytes_are_too_strange_for_a_file(bytes in vec(any::<u8>(), 0..80)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("thuban.toml");
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        told(&wrongs(&["--config", path], &[], None))?;
    }

    /// One value alone is in force, or it is named with its key and its origin.
    #[test]
    fn a_value_is_in_force_or_named(at in 0..KEYS.len(), value in value().prop_filter("no variable", |value| !value.contains('\0'))) {
        let key = &KEYS[at];
        let variable = key.variable();
        let variables = [(variable.as_str(), value.as_str()), ("THUBAN_INSECURE", "true")];
        let others = usize::from(key.name != "insecure");
        let found = wrongs(&[], &variables[..1 + others], None);
        told(&found)?;
        let is_named = |wrong: &String| wrong.starts_with(key.name) || wrong.contains(key.name);
        prop_assert!(found.iter().all(is_named), "{} = {:?}: {:?}", key.name, value, found);
        match key.kind {
            Kind::Count { min, max } | Kind::Millis { min, max } => {
                let is_allowed = value.parse().is_ok_and(|number: u64| (min..=max).contains(&number));
                prop_assert_eq!(found.is_empty(), is_allowed, "{} = {:?}: {:?}", key.name, value, found);
            }
            Kind::Switch => prop_assert_eq!(found.is_empty(), value.parse::<bool>().is_ok()),
            _ => {}
        }
    }

    /// What is printed can be used as a file, and says the same.
    #[test]
    fn what_is_printed_says_the_same_again(text in file()) {
        let Loaded { settings, config } = loaded(&[], &[], Some(&text));
        let Ok(config) = config else { return Ok(()) };
        let printed = settings.print(&environment(&[]), Some(&config));
        let again = loaded(&[], &[], Some(&printed)).config;
        let again = again.map_err(|wrongs| TestCaseError::fail(format!("{wrongs}\n{printed}")))?;
        prop_assert_eq!(format!("{again:?}"), format!("{config:?}"), "{}", printed);
    }

    #[test]
    fn an_address_is_what_it_was(address in any::<([u8; 16], bool, u16)>(), prefix in 0..=128_u8) {
        let (bits, is_v4, port) = address;
        let ip = if is_v4 { std::net::IpAddr::from([bits[0], bits[1], bits[2], bits[3]]) } else { bits.into() };
        let http = SocketAddr::new(ip, port).to_string();
        let net = ipnet::IpNet::new(ip, if is_v4 { prefix % 33 } else { prefix }).unwrap();
        let flags = ["--http", &http, "--insecure", "--check-allow", &net.to_string()];
        let config = match loaded(&flags, &[("THUBAN_GRPC", "127.0.0.1:0")], None).config {
            Ok(config) => config,
            // Those that are never probed can't be allowed.
            Err(wrongs) => {
                let said = wrongs.to_string();
                prop_assert!(said.contains("check_allow = ") && said.contains("never probed"), "{}", said);
                return Ok(());
            }
        };
        prop_assert_eq!(config.http.to_string(), http);
        prop_assert_eq!(config.check_allow, vec![net]);
    }
}
