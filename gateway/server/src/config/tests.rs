mod fuzz;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches};

use super::keys::{KEYS, Key, Kind, Preset, nearest};
use super::{Config, Environment, Flags, Loaded, load, print};

/// What `serve` would come to: its flags, its variables, and its file.
fn loaded(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Loaded {
    let folder = tempfile::tempdir().expect("a directory");
    let mut flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    if let Some(text) = file {
        let path = folder.path().join("thuban.toml");
        std::fs::write(&path, text).expect("a file");
        flags.extend(["--config".to_owned(), path.display().to_string()]);
    }
    let matches = Flags::augment_args(Command::new("serve").no_binary_name(true)).try_get_matches_from(flags);
    let flags = Flags::from_arg_matches(&matches.expect("known flags")).expect("flags");
    load(&flags, &environment(variables))
}

fn environment(variables: &[(&str, &str)]) -> Environment {
    let mut all = BTreeMap::from([(OsString::from("HOME"), OsString::from("/nowhere"))]);
    all.extend(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
    Environment(all)
}

fn config(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Config {
    loaded(flags, variables, file).config.unwrap_or_else(|wrongs| panic!("{wrongs}"))
}

/// Each thing that is wrong, as it is told.
fn wrongs(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>) -> Vec<String> {
    match loaded(flags, variables, file).config {
        Ok(_) => Vec::new(),
        Err(wrongs) => wrongs.0.iter().map(ToString::to_string).collect(),
    }
}

/// Exactly one thing is wrong, and its telling says all of `words`.
fn wrong(flags: &[&str], variables: &[(&str, &str)], file: Option<&str>, words: &[&str]) {
    let found = wrongs(flags, variables, file);
    assert_eq!(found.len(), 1, "{found:?}");
    for word in words {
        assert!(found[0].contains(word), "{:?} does not say {word:?}", found[0]);
    }
}

#[test]
fn nothing_said_is_a_node_on_loopback() {
    let config = config(&[], &[], None);
    assert_eq!(config.http.to_string(), "127.0.0.1:7800");
    assert_eq!(config.grpc.to_string(), "127.0.0.1:7801");
    assert_eq!(config.data_dir, Path::new("/nowhere/.local/share/thuban"));
    assert_eq!(config.store.to_string(), "sqlite:/nowhere/.local/share/thuban/store.sqlite");
    assert_eq!(config.log.to_string(), "local:/nowhere/.local/share/thuban/log.sqlite");
    assert!(config.check_allow.contains(&"10.0.0.0/8".parse().unwrap()));
    assert!(!config.logging.json);
}

/// The limits are named in the crates that keep them; what this table says must be what they say.
#[test]
fn the_defaults_are_those_of_the_crates() {
    let config = config(&[], &[], None);
    let (listen, admission) = (gateway::listen::Config::default(), gateway::admission::Config::default());
    assert_eq!(format!("{:?}", config.listen), format!("{listen:?}"));
    assert_eq!(format!("{:?}", config.admission), format!("{admission:?}"));
    let node = compute::node::Config::default();
    assert_eq!((config.node.probes_max, config.node.unlanded_max), (node.probes_max, node.unlanded_max));
    assert_eq!(config.node.selected.entries_max, node.selected.entries_max);
    assert_eq!(config.node.selected.bytes_max, node.selected.bytes_max);
    let networks = |mut all: Vec<ipnet::IpNet>| {
        all.sort();
        all
    };
    assert_eq!(networks(config.check_allow), networks(gateway::probe::Networks::default_allow()));
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file() {
    let file = Some("http = \"127.0.0.1:1\"\ngrpc = \"127.0.0.1:1\"\nprobes_max = 1_1\n");
    let variables = &[("THUBAN_HTTP", "127.0.0.1:2"), ("THUBAN_GRPC", "127.0.0.1:2")];
    let config = config(&["--http", "127.0.0.1:3"], variables, file);
    assert_eq!((config.http.port(), config.grpc.port(), config.node.probes_max), (3, 2, 11));
}

#[test]
fn decisions_are_written_down_where_somebody_says_so() {
    assert_eq!(config(&[], &[], None).decision_journal, None);
    let said = config(&["--decision-journal", "/var/j"], &[("THUBAN_DECISION_JOURNAL_BYTES_MAX", "67108864")], None);
    let wanted = cache_sync::journal::Config { directory: "/var/j".into(), bytes_max: 64 << 20 };
    assert_eq!(said.decision_journal, Some(wanted));
    wrong(&["--decision-journal", ""], &[], None, &["decision_journal", "a path"]);
    wrong(&["--decision-journal-bytes-max", "1000"], &[], None, &["decision_journal_bytes_max", "67108864"]);
}

#[test]
fn the_file_is_named_by_a_variable_too() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("t.toml");
    std::fs::write(&path, "drain_timeout_ms = 0x10\ncheck_allow = [\"10.1.0.0/16\", \"::1\"]\ninsecure = true\n")
        .unwrap();
    let config = config(&[], &[("THUBAN_CONFIG", path.to_str().unwrap())], None);
    assert_eq!(config.listen.drain_timeout, Duration::from_millis(16));
    assert_eq!(config.check_allow.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.1.0.0/16", "::1/128"]);
}

#[test]
fn lists_come_as_repeated_flags_or_with_commas() {
    let networks = |config: Config| config.check_allow.iter().map(ToString::to_string).collect::<Vec<_>>();
    let wanted = ["10.0.0.0/8", "fc00::/7"];
    assert_eq!(networks(config(&["--check-allow", "10.0.0.0/8", "--check-allow", "fc00::/7"], &[], None)), wanted);
    assert_eq!(networks(config(&["--check-allow", "10.0.0.0/8,fc00::/7"], &[], None)), wanted);
    assert_eq!(networks(config(&[], &[("THUBAN_CHECK_ALLOW", "10.0.0.0/8, fc00::/7")], None)), wanted);
    assert_eq!(networks(config(&[], &[], Some("check_allow = \"10.0.0.0/8,fc00::/7\""))), wanted);
}

#[test]
fn a_listener_on_loopback_goes_by_names_that_it_was_told() {
    use gateway::http::Hosts;
    let named = |names: &[&str]| Hosts::Named(names.iter().map(|name| (*name).into()).collect());
    let hosts = |flags: &[&str]| config(flags, &[], None).hosts;
    assert_eq!(hosts(&[]), named(&[]));
    assert_eq!(hosts(&["--allow-host", "a.example", "--allow-host", "b"]), named(&["a.example", "b"]));
    assert_eq!(hosts(&["--allow-host", "a.example,*"]), Hosts::Any);
    let open = ["--http", "0.0.0.0:0", "--insecure"];
    assert_eq!(hosts(&open), Hosts::Any, "who is behind a load balancer is called by its name");
    assert_eq!(hosts(&[&open[..], &["--allow-host", "a.example"]].concat()), named(&["a.example"]));
    wrong(&["--allow-host", "a.example:7800"], &[], None, &["allow_host", "a.example:7800", "without a port"]);
}

#[test]
fn networks_that_are_never_probed_are_refused() {
    for network in ["169.254.0.0/16", "169.254.169.254", "fe80::/10", "fe80::1"] {
        wrong(&["--check-allow", network], &[], None, &["check_allow", network, "never probed"]);
    }
    assert_eq!(wrongs(&["--check-allow", "0.0.0.0/0,::/0"], &[], None), [""; 0]);
}

#[test]
fn a_broken_file_is_told_once() {
    for text in ["[[[", "= 5", "http = \n", "\"\" 7", "probes_max = 5\n]"] {
        let found = wrongs(&[], &[], Some(text));
        assert!(!found.is_empty(), "{text}");
        assert!(found.iter().all(|wrong| !wrong.contains("unknown key")), "{text}: {found:?}");
    }
}

#[test]
fn everything_wrong_is_told_at_once() {
    let found = wrongs(
        &["--http", "nonsense", "--log-format", "xml"],
        &[("THUBAN_PROBES_MAX", "0"), ("THUBAN_HTPP", "127.0.0.1:1")],
        Some("grpc = 7\nstoer = \"x\"\nstreams_max = 1.5\n"),
    );
    let text = found.join("\n");
    for word in [
        "http = \"nonsense\" (from: flag --http); allowed: an IP address and a port",
        "log_format = \"xml\" (from: flag --log-format); allowed: text or json",
        "probes_max = \"0\" (from: variable THUBAN_PROBES_MAX); allowed: a number from 1 to 10000",
        "unknown key THUBAN_HTPP in the environment; did you mean THUBAN_HTTP?",
        "grpc = \"7\" (from: ",
        "thuban.toml line 1); allowed: an IP address and a port",
        "unknown key stoer in ",
        "thuban.toml line 2; did you mean store?",
        "thuban.toml line 3: streams_max is of type float",
    ] {
        assert!(text.contains(word), "{text}\ndoes not say {word:?}");
    }
    assert_eq!(found.len(), 7, "{text}");
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    wrong(&[], &[], Some("http = \"127.0.0.1:1\"\ngrpc 127.0.0.1:2\n"), &["thuban.toml line 2: "]);
    wrong(&["--config", "/nowhere/x.toml"], &[], None, &["/nowhere/x.toml: the configuration file can't be read"]);
    wrong(&[], &[], Some("http = \"127.0.0.1:1\"\nhttp = \"127.0.0.1:2\"\n"), &["line 2", "duplicate"]);
}

#[test]
fn what_only_a_cluster_has_is_refused_without_one() {
    wrong(
        &["--join", "10.0.0.1:7803"],
        &[],
        None,
        &["join = \"10.0.0.1:7803\" (from: flag --join)", "share a kafka: log and a mysql: store"],
    );
    wrong(&["--join", "nowhere"], &[], None, &["gossip addresses such as", "\"nowhere\""]);
    wrong(&["--advertise", "a b"], &[], None, &["advertise = \"a b\"", "a host name or an IP address"]);
    wrong(&["--advertise", "0.0.0.0"], &[], None, &["advertise = \"0.0.0.0\"", "that others reach"]);
}

#[test]
fn a_shared_log_needs_a_shared_store_and_a_secret() {
    let log = ["--log", "kafka://127.0.0.1:9092/topic"];
    wrong(&log, &[], None, &["store is a sqlite: one", "--store mysql://"]);
    let both = ["--log", "kafka://127.0.0.1:9092/topic", "--store", "mysql://u:hidden@127.0.0.1/db"];
    wrong(&both, &[], None, &["cluster_secret_file is not set", "head -c 32"]);
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("secret").display().to_string();
    std::fs::write(&path, "short").unwrap();
    let with = |more: &[&'static str]| {
        let secret = ["--cluster-secret-file", path.as_str()];
        let flags: Vec<&str> = both.iter().copied().chain(secret).chain(more.iter().copied()).collect();
        wrongs(&flags, &[], None).join("\n")
    };
    assert!(with(&[]).contains("a file with a secret"), "{}", with(&[]));
    std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").unwrap();
    assert_eq!(with(&[]), "");
    assert_eq!(with(&["--join", "10.0.0.1:7803,other:7803", "--advertise", "10.0.0.2"]), "");
    let open = with(&["--peer", "0.0.0.0:7802"]);
    assert!(open.contains("peer = \"0.0.0.0:7802\" is not a loopback address"), "{open}");
    let everywhere = with(&["--gossip", "0.0.0.0:7803", "--insecure"]);
    assert!(everywhere.contains("give --advertise HOST"), "{everywhere}");
    assert_eq!(with(&["--gossip", "0.0.0.0:7803", "--insecure", "--advertise", "10.0.0.2"]), "");
    let setting = with(&["--kafka-setting", "acks=1"]);
    assert!(setting.contains("kafka setting acks = `1`; allowed: all"), "{setting}");
    assert!(with(&["--kafka-setting", "acks"]).contains("NAME=VALUE"));
    assert_eq!(with(&["--kafka-setting", "client.id=me"]), "");
}

#[test]
fn an_address_that_is_none_says_what_is_one() {
    let store = wrongs(&["--store", "mysql://u:hidden@/db"], &[], None).join("\n");
    assert!(store.contains("mysql://u:***@/db") && store.contains("no host"), "{store}");
    assert!(!store.contains("hidden"), "{store}");
    wrong(&["--store", "redis://h/db"], &[], None, &["redis://h/db", "sqlite:PATH, or mysql://"]);
    wrong(&["--log", "kafka://h:9092"], &[], None, &["kafka://h:9092", "kafka://HOST:PORT"]);
    wrong(&["--log", "pulsar://h"], &[], None, &["pulsar://h", "local:PATH, or kafka://"]);
}

#[test]
fn doors_of_other_protocols_are_refused() {
    wrong(&["--doors", "nacos,eureka"], &[], None, &["nacos,eureka", "allowed: none: this build has no doors"]);
    let door = "door.nacos.http = \"127.0.0.1:8848\"";
    wrong(&["--door.nacos.http", "127.0.0.1:8848"], &[], None, &[door, "from: flag --door.nacos.http"]);
    wrong(&[], &[("THUBAN_DOOR_NACOS_HTTP", "127.0.0.1:8848")], None, &[door, "THUBAN_DOOR_NACOS_HTTP"]);
    wrong(&[], &[], Some("[door.nacos]\nhttp = \"127.0.0.1:8848\"\n"), &[door, "thuban.toml line 2"]);
    for none in ["none", ""] {
        assert_eq!(wrongs(&["--doors", none], &[], None), [""; 0]);
    }
}

#[test]
fn open_doors_need_tokens_and_tls_or_insecure() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("f").display().to_string();
    std::fs::write(&path, "").unwrap();
    let (tokens, tls) = (["--token-file", &path], ["--tls-cert", &path, "--tls-key", &path]);
    let open = ["--http", "0.0.0.0:7800"];
    let way_out = &["http = \"0.0.0.0:7800\"", "--token-file", "--tls-cert", "--insecure"];
    wrong(&open, &[], None, way_out);
    wrong(&[&open[..], &tokens].concat(), &[], None, way_out);
    wrong(&[&open[..], &tls].concat(), &[], None, way_out);
    wrong(&["--grpc", "[::]:1"], &[], None, &["grpc = \"[::]:1\" is not a loopback address"]);
    assert_eq!(wrongs(&[&open[..], &tokens, &tls].concat(), &[], None), [""; 0]);
    for insecure in ["--insecure", "--insecure=true"] {
        assert_eq!(wrongs(&[&open[..], &[insecure]].concat(), &[], None), [""; 0]);
    }
    wrong(&[&open[..], &["--insecure=false"]].concat(), &[], None, way_out);
    assert_eq!(wrongs(&["--http", "127.9.9.9:1", "--grpc", "[::1]:1"], &[], None), [""; 0]);
    assert_eq!(config(&["--http", "localhost:1"], &[], None).http.to_string(), "127.0.0.1:1");
}

#[test]
fn files_must_be_there_and_go_together() {
    wrong(
        &["--token-file", "/nowhere/tokens"],
        &[],
        None,
        &["token_file = \"/nowhere/tokens\"", "a file that can be read"],
    );
    wrong(&["--token-file", "/"], &[], None, &["a file that can be read"]);
    wrong(&["--tls-cert", "/etc/hostname"], &[], None, &["tls_cert is set and tls_key is not"]);
    wrong(&["--store", "sqlite:x", "--log", "local:x"], &[], None, &["store and log are both in x"]);
    wrong(&["--http", "127.0.0.1:5", "--grpc", "127.0.0.1:5"], &[], None, &["can't share a port"]);
    assert_eq!(wrongs(&["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"], &[], None), [""; 0]);
}

#[test]
fn without_a_home_the_directory_must_be_named() {
    let bare = Environment::default();
    let found = load(&Flags::default(), &bare).config.expect_err("no directory").0;
    assert!(found.len() == 1 && found[0].to_string().contains("--data-dir"), "{found:?}");
    let stated = environment(&[("XDG_DATA_HOME", "/there")]);
    assert_eq!(load(&Flags::default(), &stated).config.expect("a directory").data_dir, Path::new("/there/thuban"));
    wrong(&["--data-dir", ""], &[], None, &["data_dir = \"\"", "allowed: a path"]);
}

#[test]
fn variables_of_the_client_are_not_ours() {
    assert_eq!(wrongs(&[], &[("THUBAN_CLIENT_SERVER", "http://h"), ("THUBANX", "1")], None), [""; 0]);
}

#[test]
fn variables_that_kubernetes_makes_of_a_service_are_passed_over() {
    let made = [
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "PORT",
        "PORT_7900_TCP",
        "PORT_7900_TCP_PROTO",
        "PORT_7900_TCP_PORT",
        "PORT_7900_TCP_ADDR",
        "PORT_53_UDP",
        "PORT_9_SCTP_ADDR",
    ];
    for name in made.map(|name| format!("THUBAN_{name}")) {
        assert_eq!(wrongs(&[], &[(&name, "tcp://10.96.0.7:7900")], None), [""; 0], "{name}");
    }
    let ours = [
        "SERVICE",
        "SERVICE_HOSTS",
        "SERVICE_HOST_HTTP",
        "SERVICE_PORT_",
        "SERVICE_PORTS",
        "PORTS",
        "PORT_",
        "PORT_TCP",
        "PORT_7900",
        "PORT_70000_TCP",
        "PORT_7900_HTTP",
        "PORT_7900_TCP_NAME",
        "PORT_7900_TCP_",
        "HTTP_PORT",
    ];
    for name in ours.map(|name| format!("THUBAN_{name}")) {
        wrong(&[], &[(&name, "1")], None, &["unknown key", &name]);
    }
}

/// What is printed is a file that comes to the same again, and says of each value where it was from.
#[test]
fn what_is_printed_can_be_read_again() {
    let loaded = loaded(&["--http", "127.0.0.1:9", "--node-name", "n1"], &[("THUBAN_LOG_LEVEL", "warn,a=\"b")], None);
    let printed = loaded.settings.print(&environment(&[]), loaded.config.as_ref().ok());
    assert!(printed.contains("http = \"127.0.0.1:9\"  # flag --http\n"), "{printed}");
    assert!(printed.contains("# variable THUBAN_LOG_LEVEL\n"), "{printed}");
    assert!(printed.contains("probes_max = 512  # default\n"), "{printed}");
    assert!(printed.contains("data_dir = \"/nowhere/.local/share/thuban\"  # default\n"), "{printed}");
    assert!(printed.contains("# token_file is not set: everybody may do everything\n"), "{printed}");
    let loaded = loaded_config(&printed.replace("\"b", ""));
    assert_eq!((loaded.http.port(), loaded.node.name.as_ref()), (9, "n1"));
}

fn loaded_config(file: &str) -> Config {
    config(&[], &[], Some(file))
}

#[test]
fn secrets_are_masked() {
    assert_eq!(print::shown("store", "mysql://u:p@ss@h:1/db"), "mysql://u:***@h:1/db");
    assert_eq!(print::shown("store", "mysql://u@h/db"), "mysql://u@h/db");
    assert_eq!(print::shown("store", "sqlite:/a:b@c"), "sqlite:/a:b@c");
    let settings = "sasl.username=u,sasl.password=hidden,1,acks=0,SSL.Key.Password=hidden";
    assert_eq!(
        print::shown("kafka_setting", settings),
        "sasl.username=u,sasl.password=***,***,acks=0,SSL.Key.Password=***"
    );
    let loaded = loaded(&["--store", "mysql://u:hidden@h/db", "--kafka-setting", "sasl.password=hidden"], &[], None);
    let printed = loaded.settings.print(&environment(&[]), None);
    assert!(printed.contains("mysql://u:***@h/db") && !printed.contains("hidden"), "{printed}");
}

#[test]
fn every_default_is_allowed_and_every_name_is_well_formed() {
    for Key { name, kind, preset, .. } in KEYS {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        if let (Preset::Value(value), Kind::Count { min, max } | Kind::Millis { min, max }) = (preset, kind) {
            let value: u64 = value.parse().expect("a number");
            assert!((*min..=*max).contains(&value), "{name}");
        }
        assert_eq!(matches!(kind, Kind::Millis { .. }), name.ends_with("_ms"), "{name}");
    }
}

#[test]
fn the_nearest_name_is_near() {
    let known = || ["http", "grpc", "data_dir"].into_iter();
    assert_eq!(nearest("htpp", known()), Some("http"));
    assert_eq!(nearest("datadir", known()), Some("data_dir"));
    assert_eq!(nearest("something_else", known()), None);
    assert_eq!(nearest("foo", ["log", "doors"].into_iter()), None);
    assert_eq!(nearest("THUBAN_FOO", ["THUBAN_LOG", "THUBAN_GRPC"].into_iter()), None);
    assert_eq!(nearest("THUBAN_LGO", ["THUBAN_LOG", "THUBAN_GRPC"].into_iter()), Some("THUBAN_LOG"));
}
