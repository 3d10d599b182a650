//! A node that writes down what it decides, and `thuban journal`, which shows it.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::caller::instance;
use crate::process::{Ended, Home, Node, run, within};

fn serve(home: &Home, journal: &Path) -> Command {
    let mut command = home.serve();
    command.arg("--decision-journal").arg(journal);
    command
}

async fn shown(journal: &Path, more: &[&str]) -> Vec<Value> {
    let folder = journal.display().to_string();
    let out = run(&[&["journal", &folder], more].concat()).await.with(0, &[]).out;
    out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn column<'a>(lines: &'a [Value], name: &str) -> Vec<&'a str> {
    lines.iter().map(|line| line[name].as_str().expect("a text")).collect()
}

async fn register(node: &Node, id: &str) {
    let body = json!({"host": "10.0.0.7", "port": 8080, "lease": {"kind": "permanent"}});
    node.caller().await.put(&instance("orders", id), &body).await.expect(201);
}

#[tokio::test]
async fn why_an_instance_was_removed_is_in_the_journal() {
    let home = Home::new();
    let journal = home.path().join("decisions");
    let node = Node::start(serve(&home, &journal)).await;
    register(&node, "a").await;
    register(&node, "ab").await;
    let mut caller = node.caller().await;
    let removed = caller.call(Method::DELETE, &instance("orders", "a"), None).await.expect("answered");
    assert_eq!(removed.status, 204);
    node.stop().await.with(0, &[]);

    let lines = shown(&journal, &["--of", "default/orders/a"]).await;
    let lines: Vec<_> = lines.into_iter().filter(|line| line["change"].is_string()).collect();
    assert_eq!(column(&lines, "change"), ["register", "deregister"], "{lines:?}");
    assert_eq!(column(&lines, "verdict"), ["applied"; 2]);
    assert_eq!(column(&lines, "author"), ["anonymous"; 2]);
    assert_eq!(column(&lines, "door"), ["http"; 2]);
    assert!(lines[1]["rests_on"].as_str().is_some_and(|on| on.contains("reason: Deregistered")), "{lines:?}");
    assert_eq!(shown(&journal, &["--of", "default/orders"]).await.len(), 1 + 3, "with where it began");
    assert_eq!(shown(&journal, &["--of", "default/ord"]).await.len(), 1, "that is another name");

    // Another life of the node goes on behind it.
    let node = Node::start(serve(&home, &journal)).await;
    register(&node, "a").await;
    node.stop().await.with(0, &[]);
    let lines = shown(&journal, &["--of", "default/orders/a"]).await;
    let changes: Vec<_> = lines.iter().filter_map(|line| line["change"].as_str()).collect();
    assert_eq!(changes, ["register", "deregister", "register"]);
    assert_eq!(lines.iter().filter(|line| line["begun_at"].is_string()).count(), 2);
}

#[tokio::test]
async fn what_is_no_directory_for_a_journal_is_refused() {
    let home = Home::new();
    let journal = home.path().join("decisions");
    let _node = Node::start(serve(&home, &journal)).await;
    let other = Home::new();
    let fails = async |journal: &Path| {
        let output = within("a start that fails", serve(&other, journal).output()).await.expect("the program runs");
        Ended::of(output)
    };
    fails(&journal).await.with(4, &["another process's", "--decision-journal"]);
    let file = home.path().join("file");
    std::fs::write(&file, "").expect("written");
    fails(&file).await.with(2, &["can't be had", "--decision-journal"]);
    let nowhere = home.path().join("nowhere").display().to_string();
    run(&["journal", &nowhere]).await.with(1, &["there is no directory"]);
}
