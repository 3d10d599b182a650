//! How a start can fail: each with its exit code and what to do about it.

use std::path::Path;

use tokio::net::TcpListener;

use crate::process::{Ended, Home, run, within};

async fn fails(home: &Home, more: &[&str]) -> Ended {
    let mut command = home.serve();
    // The last word holds where a flag is given twice.
    command.args(more);
    Ended::of(within("a start that fails", command.output()).await.expect("the program runs"))
}

/// A home whose files a node has made and left in order.
async fn used() -> Home {
    let home = Home::new();
    home.start().await.stop().await;
    home
}

#[tokio::test]
async fn a_port_in_use_names_door_and_option() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (door, option) in [("http", "--http"), ("grpc", "--grpc")] {
        let home = Home::new();
        let folder = home.folder().display().to_string();
        let other = if door == "http" { "--grpc" } else { "--http" };
        let serve = ["serve", "--data-dir", &folder, option, &address, other, "127.0.0.1:0"];
        let ended = run(&serve).await.with(3, &[&format!("the {door} door can't listen on {address}"), option]);
        assert_eq!(ended.out, "", "it said that it was ready");
    }
}

/// No process holds it: to wait for one would not help.
#[tokio::test]
async fn an_address_of_another_machine_is_a_wrong_configuration() {
    let home = Home::new();
    let folder = home.folder().display().to_string();
    for (option, other) in [("--http", "--grpc"), ("--grpc", "--http")] {
        let serve = ["serve", "--data-dir", &folder, "--insecure", option, "192.0.2.1:7", other, "127.0.0.1:0"];
        run(&serve).await.with(2, &["can't listen on 192.0.2.1:7", option]);
    }
}

/// The kernel's signal for a file that is too large ends who does not hear it.
#[tokio::test]
async fn a_limit_of_file_sizes_is_a_full_disk_and_no_end() {
    let home = Home::new();
    let mut limited = crate::process::clean(tokio::process::Command::new("sh"));
    // In blocks of 512 bytes; the log sets more aside when it is opened.
    let serve = home.serve();
    let serve = serve.as_std();
    limited.args(["-c", "ulimit -f 4096 && exec \"$@\"", "sh"]).arg(serve.get_program()).args(serve.get_args());
    let node = crate::process::Node::start(limited).await;
    let body = serde_json::json!({ "host": "127.0.0.1", "port": 80 });
    let mut caller = node.caller().await;
    caller.put(&crate::caller::instance("orders", "a"), &body).await.expect(201);
    assert!(node.log().contains("no room for the whole write-ahead log"), "the limit was not met: {}", node.log());
    node.signal("-TERM").await;
    node.ended().await.with(0, &[]);
}

#[tokio::test]
async fn a_token_file_without_tokens_is_told() {
    let home = Home::new();
    let file = home.path().join("tokens");
    std::fs::write(&file, "# nobody yet\n").unwrap();
    let mut command = home.serve();
    command.arg("--token-file").arg(&file);
    let node = crate::process::Node::start(command).await;
    assert!(node.log().contains("the token file has no token"), "{}", node.log());
    node.kill().await;
}

#[tokio::test]
async fn an_open_listener_without_tokens_and_tls_is_refused() {
    let home = Home::new();
    let folder = home.folder().display().to_string();
    for option in ["--http", "--grpc"] {
        let serve = ["serve", "--data-dir", &folder, option, "0.0.0.0:0"];
        run(&serve).await.with(2, &["0.0.0.0:0", "--insecure", "--token-file", "--tls-cert"]);
    }
    let insecure = ["serve", "--http", "0.0.0.0:0", "--grpc", "127.0.0.1:0", "--insecure", "--log-format", "json"];
    let mut command = crate::process::thuban();
    command.args(insecure).arg("--data-dir").arg(&folder).env("THUBAN_CONNECTIONS_MAX", "1000");
    let node = crate::process::Node::start(command).await;
    assert!(node.http.ip().is_unspecified());
    node.stop().await;
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_directory() {
    let home = Home::new();
    let node = home.start().await;
    let held = format!("in use by process {}", node.pid());
    home.start_fails().await.with(4, &[&held, "--data-dir"]);
    assert_eq!(node.caller().await.get("/readyz").await.status, 200, "the first must not mind");
    // The same files under another directory.
    let other = Home::new();
    let (store, log) = (home.file("store.sqlite"), home.file("log.sqlite"));
    let store = format!("sqlite:{}", store.display());
    let log = format!("local:{}", log.display());
    fails(&other, &["--store", &store, "--log", &log]).await.with(4, &["store.sqlite is in use by another process"]);
    fails(&other, &["--log", &log]).await.with(4, &["log.sqlite is in use by another process"]);
    node.stop().await;
    home.start().await.stop().await;
}

#[tokio::test]
async fn a_store_of_a_newer_schema_is_left_alone() {
    let home = used().await;
    let path = home.file("store.sqlite");
    let before = raise_schema(&path);
    home.start_fails().await.with(4, &["store.sqlite has schema 3, this program knows up to 2"]);
    assert_eq!(std::fs::read(&path).unwrap(), before, "it was written to");
}

/// Says in the file that a migration was made that this program does not know, as SQLite itself would write it: another
/// row of `presence_schema`, before the last one on its page.
fn raise_schema(path: &Path) -> Vec<u8> {
    const PAGE: usize = 4_096;
    const KNOWN: u8 = 2;
    let mut bytes = std::fs::read(path).unwrap();
    // A row: its bytes, its number, a header of three bytes (its length, null for the number, the text's length), the
    // text.
    let row = |number: u8, name: &[u8]| {
        let length = u8::try_from(name.len()).unwrap();
        [&[3 + length, number, 3, 0, 13 + 2 * length][..], name].concat()
    };
    let (last, next) = (row(KNOWN, b"members"), row(KNOWN + 1, b"future"));
    let places: Vec<usize> = (0..bytes.len() - last.len()).filter(|at| bytes[*at..].starts_with(&last)).collect();
    assert_eq!(places.len(), 1, "the row is not where it was");
    let page = places[0] / PAGE * PAGE;
    let in_page = u16::try_from(places[0] - page - next.len()).unwrap();
    // A leaf's head: its kind, the count of its rows at 3, the start of the lowest at 5, and their places from 8 on.
    assert_eq!((bytes[page], bytes[page + 4]), (13, KNOWN), "not a leaf of these rows");
    bytes[page + 4] = KNOWN + 1;
    bytes[page + 5..page + 7].copy_from_slice(&in_page.to_be_bytes());
    let place = page + 8 + 2 * usize::from(KNOWN);
    bytes[place..place + 2].copy_from_slice(&in_page.to_be_bytes());
    bytes[page + usize::from(in_page)..places[0]].copy_from_slice(&next);
    std::fs::write(path, &bytes).unwrap();
    bytes
}

#[tokio::test]
async fn damaged_files_are_named() {
    for (name, words) in [("store.sqlite", "damaged or no database"), ("log.sqlite", "")] {
        for damage in [&b"this is no database, and long enough to be looked at as one"[..], &[0xff; 8_192]] {
            let home = used().await;
            std::fs::write(home.file(name), damage).unwrap();
            home.start_fails().await.with(4, &[name, words]);
        }
    }
}

#[tokio::test]
async fn a_store_and_a_log_that_are_no_pair_are_refused() {
    let (home, other) = (used().await, used().await);
    std::fs::copy(other.file("log.sqlite"), home.file("log.sqlite")).unwrap();
    home.start_fails().await.with(4, &["log.sqlite is log", "and not log"]);
    std::fs::remove_file(home.file("log.sqlite")).unwrap();
    home.start_fails().await.with(4, &["there is no change log", "log.sqlite"]);
    assert!(!home.file("log.sqlite").exists(), "a new log was begun in place of a lost one");
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    let home = Home::new();
    std::fs::write(home.path().join("file"), "").unwrap();
    let inside = home.path().join("file/node").display().to_string();
    run(&["serve", "--data-dir", &inside, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"])
        .await
        .with(2, &[&inside, "can't be made", "--data-dir"]);
}

#[tokio::test]
async fn wrong_tokens_and_certificates_are_named_before_anything_starts() {
    let home = Home::new();
    let file = home.path().join("wrong");
    std::fs::write(&file, "one two\n").unwrap();
    let path = file.to_str().unwrap();
    fails(&home, &["--token-file", path]).await.with(2, &[path, "line 1", "name sha256 namespaces verbs"]);
    fails(&home, &["--tls-cert", path, "--tls-key", path]).await.with(2, &[path, "PEM"]);
    for command in ["print", "check"] {
        run(&["config", command, "--token-file", path]).await.with(2, &["line 1"]);
        run(&["config", command, "--tls-cert", path, "--tls-key", path]).await.with(2, &["PEM"]);
    }
}
