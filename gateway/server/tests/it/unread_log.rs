//! Log lines that nobody takes: the node does not mind.

use std::fs::File;
use std::process::Stdio;

use serde_json::json;

use crate::caller::instance;
use crate::process::{Home, Node, thuban, until, within};

/// It works, says in its metrics that lines were lost, and stops well.
async fn is_well(node: Node) {
    let mut caller = node.caller().await;
    caller.put(&instance("orders", "a"), &json!({ "host": "127.0.0.1", "port": 80 })).await.expect(201);
    until("lines that were lost", async || {
        let metrics = node.caller().await.get("/metrics").await;
        let lost = metrics.body.as_str()?.lines().find_map(|line| line.strip_prefix("thuban_log_lines_lost_total "))?;
        (lost.parse::<u64>().ok()? > 0).then_some(())
    })
    .await;
    node.signal("-TERM").await;
    node.ended().await.with(0, &[]);
}

#[tokio::test]
async fn a_log_on_a_full_disk_does_not_end_the_node() {
    for format in ["text", "json"] {
        let home = Home::new();
        let mut command = thuban();
        let full = File::options().write(true).open("/dev/full").expect("the device is there");
        command.args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--log-format", format]);
        command.arg("--data-dir").arg(home.folder()).stderr(Stdio::from(full));
        is_well(Node::start(command).await).await;
    }
}

#[tokio::test]
async fn a_log_whose_reader_has_gone_does_not_end_the_node() {
    let home = Home::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = home.serve();
    command.stderr(Stdio::from(writer));
    drop(reader);
    is_well(Node::start(command).await).await;
}

#[tokio::test]
async fn a_wrong_configuration_ends_as_it_should_though_nobody_hears_of_it() {
    for command in [&["serve", "--http", "x"][..], &["config", "check", "--http", "x"]] {
        let full = File::options().write(true).open("/dev/full").expect("the device is there");
        let ended = thuban().args(command).stderr(Stdio::from(full)).status();
        assert_eq!(within("its end", ended).await.expect("it runs").code(), Some(2), "{command:?}");
    }
}
