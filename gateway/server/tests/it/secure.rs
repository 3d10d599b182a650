//! Tokens and TLS, as a node and its callers use them together.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::process::{Ended, Home, Node, thuban, until, within};

struct Guarded {
    home: Home,
    certificate: PathBuf,
    tokens: PathBuf,
}

impl Guarded {
    fn new() -> Self {
        let home = Home::new();
        let (certificate, key) = (home.path().join("cert.pem"), home.path().join("key.pem"));
        write_certificate(&certificate, &key);
        let tokens = home.path().join("tokens");
        std::fs::write(&tokens, line("writer", "s3cret", "*", "read,register,operate")).unwrap();
        Self { home, certificate, tokens }
    }

    /// On all addresses: that this starts at all says that tokens and TLS were found to be enough.
    async fn start(&self) -> Node {
        let mut command = thuban();
        let folder = self.home.folder();
        command.arg("serve").arg("--data-dir").arg(&folder).args(["--http", "0.0.0.0:0", "--grpc", "0.0.0.0:0"]);
        command.args(["--log-format", "json", "--reread-ms", "100"]).arg("--token-file").arg(&self.tokens);
        command.arg("--tls-cert").arg(&self.certificate).arg("--tls-key").arg(self.home.path().join("key.pem"));
        Node::start(command).await
    }

    async fn ask(&self, node: &Node, arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
        let mut command = thuban();
        command.args(arguments).args(["--server", &format!("https://localhost:{}", node.http.port())]);
        command.arg("--ca-file").arg(&self.certificate).envs(variables.iter().copied());
        Ended::of(within("a command", command.output()).await.expect("the program runs"))
    }
}

fn write_certificate(certificate: &Path, key: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    std::fs::write(certificate, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
}

fn line(name: &str, token: &str, namespaces: &str, verbs: &str) -> String {
    let digest: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {digest} {namespaces} {verbs}\n")
}

const REGISTER: &[&str] = &["register", "orders", "--host", "h", "--port", "1", "--permanent"];
const WRITER: (&str, &str) = ("THUBAN_CLIENT_TOKEN", "s3cret");

#[tokio::test]
async fn a_token_opens_an_encrypted_door() {
    let guarded = Guarded::new();
    let node = guarded.start().await;
    guarded.ask(&node, REGISTER, &[]).await.with(1, &["401", "unauthenticated"]);
    guarded.ask(&node, REGISTER, &[("THUBAN_CLIENT_TOKEN", "wrong")]).await.with(1, &["401"]);
    guarded.ask(&node, REGISTER, &[WRITER]).await.with(0, &[]);
    let file = guarded.home.path().join("token");
    std::fs::write(&file, "s3cret\n").unwrap();
    let by_file = ["isolate", "orders", "h:1", "--output", "json", "--token-file", file.to_str().unwrap()];
    let isolated = guarded.ask(&node, &by_file, &[]).await.with(0, &[]).out;
    assert!(isolated.contains("\"author\":\"writer\""), "the author is not the token's name: {isolated}");
    let by_command = [("THUBAN_CLIENT_TOKEN_COMMAND", "echo s3cret")];
    guarded.ask(&node, &["instances", "orders"], &by_command).await.with(0, &[]);
    let failing = [("THUBAN_CLIENT_TOKEN_COMMAND", "echo s3cret; exit 3")];
    let failed = guarded.ask(&node, &["services"], &failing).await.with(2, &["THUBAN_CLIENT_TOKEN_COMMAND"]);
    assert!(!failed.err.contains("s3cret"), "{}", failed.err);
    node.stop().await;
}

#[tokio::test]
async fn an_unknown_certificate_is_not_trusted() {
    let guarded = Guarded::new();
    let node = guarded.start().await;
    let other = guarded.home.path().join("other.pem");
    write_certificate(&other, &guarded.home.path().join("other.key"));
    let mut command = thuban();
    command.args(["status", "--server", &format!("https://localhost:{}", node.http.port()), "--ca-file"]).arg(&other);
    let ended = Ended::of(within("a command", command.output()).await.unwrap());
    ended.with(5, &["can't be reached", "TLS"]);
    let plain = format!("http://localhost:{}", node.http.port());
    crate::process::run(&["status", "--server", &plain]).await.with(5, &["can't be reached"]);
    node.stop().await;
}

#[tokio::test]
async fn tokens_are_reread_when_their_file_changes() {
    let guarded = Guarded::new();
    let node = guarded.start().await;
    let reader = [("THUBAN_CLIENT_TOKEN", "look")];
    guarded.ask(&node, &["services"], &reader).await.with(1, &["401"]);
    std::fs::write(&guarded.tokens, line("reader", "look", "default", "read")).unwrap();
    until("the new token", async || (guarded.ask(&node, &["services"], &reader).await.code == Some(0)).then_some(()))
        .await;
    guarded.ask(&node, REGISTER, &reader).await.with(1, &["403", "forbidden", "reader"]);
    guarded.ask(&node, &["services"], &[WRITER]).await.with(1, &["401"]);
    // A file that is wrong takes nothing away.
    std::fs::write(&guarded.tokens, "nonsense\n").unwrap();
    until("a look at it", async || node.log().contains("token file not taken").then_some(())).await;
    guarded.ask(&node, &["services"], &reader).await.with(0, &[]);
    node.signal("-TERM").await;
    node.ended().await.with(0, &["token file reread"]);
}
