use super::*;

fn parse(address: &str, settings: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::parse(address, &settings)
}

fn refused(settings: &[(&str, &str)]) -> String {
    parse("kafka://a:1/t", settings).expect_err("it was taken").to_string()
}

#[test]
fn an_address_is_taken_apart() {
    let config = parse("kafka://one:1,[::1]:2,10.0.0.1/thuban.changes", &[]).unwrap();
    assert_eq!((config.brokers(), config.topic()), ("one:1,[::1]:2,10.0.0.1:9092", "thuban.changes"));
    assert_eq!(config.to_string(), "kafka://one:1,[::1]:2,10.0.0.1:9092/thuban.changes");
}

#[test]
fn what_is_no_address_is_told() {
    for (address, word) in [
        ("", "begin with kafka://"),
        ("http://a:1/t", "begin with kafka://"),
        ("kafka://a:1", "names no topic"),
        ("kafka://a:1/", "its topic has 0 characters"),
        ("kafka://a:1/..", "its topic has 2 characters"),
        ("kafka://a:1/a/b", "characters other than"),
        ("kafka://a:1/t?x=1", "characters other than"),
        ("kafka:///t", "no usable host"),
        ("kafka://a:1,/t", "no usable host"),
        ("kafka://a:0/t", "no usable port"),
        ("kafka://a:65536/t", "no usable port"),
        ("kafka://a:x/t", "no usable port"),
        ("kafka://a b:1/t", "no usable host"),
        ("kafka://[::1:2/t", "no closing bracket"),
        ("kafka://[one]:2/t", "brackets around no address"),
    ] {
        let said = parse(address, &[]).unwrap_err().to_string();
        assert!(said.contains(word) && said.contains("kafka://HOST:PORT"), "{address}: {said}");
    }
    let long = format!("kafka://a:1/{}", "t".repeat(250));
    assert!(parse(&long, &[]).unwrap_err().to_string().contains("250 characters"));
    let many = format!("kafka://{}/t", vec!["a:1"; 65].join(","));
    assert!(parse(&many, &[]).unwrap_err().to_string().contains("65 brokers"));
}

#[test]
fn no_password_is_repeated() {
    let said = parse("kafka://me:hunter2@a:1/t", &[]).unwrap_err().to_string();
    assert!(said.contains("sasl.password") && !said.contains("hunter2"), "{said}");
    let settings = [("sasl.mechanism", "PLAIN"), ("security.protocol", "sasl_plaintext"), ("sasl.password", "hunter2")];
    let config = parse("kafka://a:1/t", &settings).unwrap();
    let shown = format!("{config:?} {config}");
    assert!(shown.contains("sasl_plaintext") && !shown.contains("hunter2"), "{shown}");
    let said = refused(&[("sasl.passwordd", "hunter2")]);
    assert!(said.contains("sasl.passwordd") && !said.contains("hunter2"), "{said}");
}

#[test]
fn what_the_log_rests_on_is_not_for_changing() {
    for (name, value, allowed) in [
        ("acks", "1", "all or -1"),
        ("request.required.acks", "0", "all or -1"),
        ("enable.idempotence", "false", "true"),
        ("auto.offset.reset", "earliest", "error"),
        ("partitioner", "random", "leave it out"),
        ("group.id", "x", "leave it out"),
        ("bootstrap.servers", "x:1", "leave it out"),
        ("transactional.id", "x", "leave it out"),
        ("compression.codec", "gzip", "none or lz4 or snappy"),
        ("compression.type", "zstd", "none or lz4 or snappy"),
        ("max.in.flight", "6", "1 to 5"),
        ("message.timeout.ms", "0", "1000 to 300000"),
        ("message.timeout.ms", "soon", "1000 to 300000"),
        ("message.max.bytes", "1000000", "8454144 to 1000000000"),
        ("isolation.level", "read_committed", "read_uncommitted"),
        ("check.crcs", "false", "true"),
        ("debug", "all", "leave it out"),
        ("test.mock.num.brokers", "3", "leave it out"),
        ("plugin.library.paths", "x.so", "leave it out"),
    ] {
        let said = refused(&[(name, value)]);
        let wanted = format!("kafka setting {name} = `{value}`; allowed: ");
        assert!(said.starts_with(&wanted) && said.contains(allowed), "{said}");
    }
    let many: Vec<(String, &str)> = (0..257).map(|n| (format!("x{n}"), "1")).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert!(refused(&many).contains("at most 256"));
}

#[test]
fn the_library_has_its_word() {
    let said = refused(&[("no.such.setting", "1")]);
    assert!(said.contains("no.such.setting") && said.contains("No such configuration property"), "{said}");
    let said = refused(&[("socket.timeout.ms", "soon")]);
    assert!(said.contains("socket.timeout.ms = `soon`"), "{said}");
    assert!(refused(&[("socket.timeout.ms", "1\0")]).contains("kafka setting"));
}

#[test]
fn the_rest_passes() {
    let settings = [
        ("acks", "all"),
        ("request.required.acks", "-1"),
        ("enable.idempotence", "true"),
        ("message.timeout.ms", "8000"),
        ("linger.ms", "1"),
        ("compression.codec", "lz4"),
        ("client.rack", "a"),
        ("socket.timeout.ms", "3000"),
        ("security.protocol", "plaintext"),
    ];
    let config = parse("kafka://a:1/t", &settings).unwrap();
    let (producer, consumer) = (settings::producer(&config), settings::consumer(&config));
    assert_eq!(producer.get("message.timeout.ms"), Some("8000"));
    assert_eq!(producer.get("acks"), Some("-1"));
    assert_eq!(producer.get("enable.idempotence"), Some("true"));
    assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
    for client in [producer, consumer, settings::admin(&config)] {
        assert_eq!((client.get("bootstrap.servers"), client.get("client.rack")), (Some("a:1"), Some("a")));
    }
}

#[cfg(not(feature = "kafka-tls"))]
#[test]
fn without_tls_what_needs_it_is_named() {
    for (name, value) in [
        ("security.protocol", "ssl"),
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.mechanisms", "OAUTHBEARER"),
        ("ssl.ca.location", "ca.pem"),
        ("ssl.key.password", "hunter2"),
        ("enable.ssl.certificate.verification", "false"),
    ] {
        let said = refused(&[(name, value)]);
        assert!(said.contains(name) && said.contains("feature kafka-tls") && !said.contains("hunter2"), "{said}");
    }
}

#[cfg(feature = "kafka-tls")]
#[test]
fn with_tls_what_needs_it_passes() {
    let settings = [("security.protocol", "sasl_ssl"), ("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.password", "x")];
    parse("kafka://a:1/t", &settings).unwrap();
    parse("kafka://a:1/t", &[("security.protocol", "ssl"), ("ssl.ca.location", "ca.pem")]).unwrap();
}
