use crate::process::{Ended, Home, run, thuban, within};

async fn with_variables(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = thuban();
    command.args(arguments).envs(variables.iter().copied());
    Ended::of(within("a command", command.output()).await.expect("the program runs"))
}

#[tokio::test]
async fn print_shows_each_value_and_its_source() {
    let home = Home::new();
    let file = home.path().join("thuban.toml");
    std::fs::write(&file, "grpc = \"127.0.0.1:1\"\nprobes_max = 5\n").unwrap();
    let file = file.to_str().unwrap();
    let variables = [("THUBAN_PROBES_MAX", "6"), ("THUBAN_NODE_NAME", "n1")];
    let arguments = ["config", "print", "--config", file, "--http", "127.0.0.1:2", "--data-dir", "/nowhere"];
    let printed = with_variables(&arguments, &variables).await.with(0, &[]).out;
    for line in [
        "http = \"127.0.0.1:2\"  # flag --http".to_owned(),
        format!("grpc = \"127.0.0.1:1\"  # {file} line 1"),
        "probes_max = 6  # variable THUBAN_PROBES_MAX".to_owned(),
        "store = \"sqlite:/nowhere/store.sqlite\"  # default".to_owned(),
        "insecure = false  # default".to_owned(),
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
}

#[tokio::test]
async fn check_tells_everything_and_starts_nothing() {
    let home = Home::new();
    let folder = home.folder().display().to_string();
    let wrong =
        ["--data-dir", &folder, "--http", "x", "--store", "redis://u:secret@h/d", "--check-allow", "10.0.0.0/33"];
    let words = ["http = \"x\"", "redis://u:***@h/d", "10.0.0.0/33", "flag --store"];
    for command in [&["config", "check"][..], &["serve"]] {
        let ended = run(&[command, &wrong].concat()).await.with(2, &words);
        assert!(!ended.err.contains("secret"), "{}", ended.err);
        assert_eq!(ended.out, "");
    }
    assert!(!home.folder().exists(), "a wrong configuration left something behind");
    run(&["config", "check", "--data-dir", &folder]).await.with(0, &[]);
    assert!(!home.folder().exists(), "a check made something");
}

#[tokio::test]
async fn unknown_variables_are_named_with_the_nearest_known_one() {
    let ended = with_variables(&["config", "check"], &[("THUBAN_HTTPS", "1"), ("HOME", "/nowhere")]).await;
    ended.with(2, &["unknown key THUBAN_HTTPS", "did you mean THUBAN_HTTP?"]);
    let ended = with_variables(&["services"], &[("THUBAN_CLIENT_SEVER", "1")]).await;
    ended.with(2, &["unknown variable THUBAN_CLIENT_SEVER", "THUBAN_CLIENT_SERVER"]);
}

#[tokio::test]
async fn the_version_and_the_help_are_there() {
    let version = run(&["version"]).await.with(0, &[]).out;
    assert_eq!(version, format!("thuban {}\n", env!("CARGO_PKG_VERSION")));
    let help = run(&["--help"]).await.with(0, &[]).out;
    for command in [
        "serve",
        "register",
        "deregister",
        "services",
        "instances",
        "watch",
        "namespaces",
        "isolate",
        "weight",
        "nodes",
        "drain",
        "export",
        "import",
        "status",
        "config",
        "version",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is not in\n{help}");
        let own = run(&[command, "--help"]).await.with(0, &[]).out;
        assert!(own.contains("Usage:"), "{own}");
    }
    let flags = run(&["serve", "--help"]).await.with(0, &[]).out;
    for flag in [
        "--config",
        "--data-dir",
        "--http",
        "--grpc",
        "--peer",
        "--gossip",
        "--advertise",
        "--join",
        "--store",
        "--log",
        "--doors",
        "--insecure",
        "--token-file",
        "--log-format",
        "--check-allow",
    ] {
        assert!(
            flags.contains(&format!("{flag} ")) || flags.contains(&format!("{flag}[")),
            "{flag} is not in\n{flags}"
        );
    }
    run(&["serve", "--nonsense"]).await.with(2, &["--nonsense"]);
    run(&["nonsense"]).await.with(2, &["nonsense"]);
}
