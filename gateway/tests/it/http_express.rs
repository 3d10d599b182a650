//! What is answered past the router is what the router would have answered: a path of the same names, one letter of them
//! escaped, goes the long way.

use gateway::http::Config;
use gateway::listen::Tls;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http_world::{Listening, SOON, World};

const AT: &str = "/v1/namespaces/default/services/orders/instances";
const GOOD: &str = r#"{"host":"10.0.0.7","port":8080,"lease":{"kind":"ttl","ttl_ms":60000}}"#;

/// The answer, without the time of day. The order of headers says nothing, so they are sorted.
async fn ask(listening: &Listening, method: &str, path: &str, headers: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(listening.addr).await.expect("it listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(SOON, read).await.expect("an answer in time").expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let (status, headers) = head.split_once("\r\n").expect("a status");
    let mut headers: Vec<_> = headers.split("\r\n").filter(|line| !line.starts_with("date:")).collect();
    headers.sort_unstable();
    format!("{status}\n{}\n\n{body}", headers.join("\n"))
}

#[tokio::test]
async fn both_ways_answer_alike() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let json = "content-type: application/json\r\n";
    let one = format!("{AT}/a");
    let first = ask(&listening, "PUT", &one, json, GOOD).await;
    assert!(first.starts_with("HTTP/1.1 201 "), "{first}");
    let renew = format!("{AT}/a/renew");
    let with = |query: &str| format!("{AT}?{query}");
    let cases: Vec<(&str, String, &str, &str, u16)> = vec![
        ("GET", AT.to_owned(), "", "", 200),
        ("GET", with("healthy=true&limit=1"), "", "", 200),
        ("GET", with("unknown=1"), "", "", 400),
        ("GET", with("wait_ms=5"), "", "", 400),
        ("GET", AT.to_owned(), "if-none-match: *\r\n", "", 304),
        ("GET", AT.replace("default", "nobody"), "", "", 404),
        ("PUT", one.clone(), json, GOOD, 200),
        ("PUT", one.clone(), json, "{", 400),
        ("PUT", one.clone(), json, r#"{"host":"a b","port":1}"#, 400),
        ("PUT", one.clone(), json, r#"{"host":"a","port":1,"x":2}"#, 400),
        ("PUT", one.clone(), "", GOOD, 415),
        ("PUT", format!("{one}?ack=never"), json, GOOD, 400),
        ("PUT", one.replace("default", "nobody"), json, GOOD, 404),
        ("POST", renew.clone(), "", "", 204),
        ("POST", renew.replace("/a/", "/b/"), "", "", 404),
        ("POST", format!("{renew}?generation=x"), "", "", 400),
        ("POST", renew.clone(), "origin: http://elsewhere\r\n", "", 403),
    ];
    for (method, path, headers, body, status) in cases {
        let past = ask(&listening, method, &path, headers, body).await;
        let routed = ask(&listening, method, &path.replace("orders", "%6frders"), headers, body).await;
        assert!(past.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {past}");
        assert_eq!(past, routed, "{method} {path}");
    }
}
