use std::time::Duration;

use gateway::http::Config;
use gateway::listen::Tls;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http_world::{Listening, ORDERS, SOON, Wishes, World};

const HEAD: &str = "host: localhost\r\ncontent-type: application/json\r\n";

fn put(id: &str, more: &str, body: &str) -> String {
    format!("PUT {ORDERS}/instances/{id} HTTP/1.1\r\n{HEAD}{more}\r\n{body}")
}

fn whole_put(id: &str) -> String {
    let body = r#"{"host":"h","port":1}"#;
    put(id, &format!("content-length: {}\r\n", body.len()), body)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

async fn connect(listening: &Listening) -> TcpStream {
    TcpStream::connect(listening.addr).await.expect("it listens")
}

/// Everything until the peer closes, or until `enough` says so.
async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), enough: impl Fn(&str) -> bool) -> String {
    let mut all = Vec::new();
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(count) => all.extend_from_slice(&buffer[..count]),
            }
            if enough(&String::from_utf8_lossy(&all)) {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, read).await.expect("an answer in time");
    String::from_utf8_lossy(&all).into_owned()
}

/// A problem document is there to its end.
fn has_problem(text: &str) -> bool {
    text.contains("application/problem+json") && text.trim_end().ends_with('}')
}

async fn alive(world: &World, listening: &Listening) {
    let mut stream = connect(listening).await;
    stream.write_all(get("/livez").as_bytes()).await.expect("it reads");
    let answer = read_until(&mut stream, |text| text.contains("alive\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(world.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_body_over_the_limit_is_read_and_its_sender_told() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let body = " ".repeat(6 << 20);
    for head in [format!("content-length: {}\r\n", body.len()), "transfer-encoding: chunked\r\n".to_owned()] {
        let (mut reader, mut writer) = connect(&listening).await.into_split();
        let chunked = head.starts_with("transfer");
        let body = body.clone();
        let sending = tokio::spawn(async move {
            writer.write_all(put("a", &head, "").as_bytes()).await?;
            for chunk in body.as_bytes().chunks(64 << 10) {
                if chunked {
                    writer.write_all(format!("{:x}\r\n", chunk.len()).as_bytes()).await?;
                }
                writer.write_all(chunk).await?;
                if chunked {
                    writer.write_all(b"\r\n").await?;
                }
            }
            if chunked {
                writer.write_all(b"0\r\n\r\n").await?;
            }
            // The same connection serves the next request: nothing of the body was left in it.
            writer.write_all(get("/livez").as_bytes()).await?;
            Ok::<_, std::io::Error>(writer)
        });
        let answer = read_until(&mut reader, |text| text.contains("alive\n")).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains(r#""code":"too_large""#) && answer.contains("65536"), "{answer}");
        assert!(answer.contains("alive\n"), "{answer}");
        sending.await.expect("no panic").expect("all of it is taken");
    }
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.status, 404, "nothing was written");
}

#[tokio::test]
async fn one_who_asks_before_sending_is_told_at_once() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let mut stream = connect(&listening).await;
    let head = put("a", "content-length: 100000\r\nexpect: 100-continue\r\n", "");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let answer = read_until(&mut stream, has_problem).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let mut stream = connect(&listening).await;
    let body = r#"{"host":"h","port":1}"#;
    let head = put("a", &format!("content-length: {}\r\nexpect: 100-continue\r\n", body.len()), "");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let leave = read_until(&mut stream, |text| text.contains("100")).await;
    assert!(leave.starts_with("HTTP/1.1 100"), "{leave}");
    stream.write_all(body.as_bytes()).await.expect("it reads");
    let answer = read_until(&mut stream, |text| text.contains("revision")).await;
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let world = World::new().await;
    let config = Config { body_pause_max: Duration::from_millis(100), ..Config::default() };
    let listening = world.listen(config, &Tls::Off).await;
    let mut stream = connect(&listening).await;
    stream.write_all(put("a", "content-length: 21\r\n", r#"{"host":"#).as_bytes()).await.expect("it reads");
    let answer = read_until(&mut stream, has_problem).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains(r#""code":"request_timeout""#), "{answer}");
    // Drop by drop: no pause is too long, and all of it is.
    let config = Config { body_time_max: Duration::from_millis(300), ..Config::default() };
    let listening = world.listen(config, &Tls::Off).await;
    let (mut reader, mut writer) = connect(&listening).await.into_split();
    let sending = tokio::spawn(async move {
        writer.write_all(put("a", "content-length: 60000\r\n", "").as_bytes()).await?;
        loop {
            writer.write_all(b" ").await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        #[allow(unreachable_code, reason = "gives the block its type")]
        Ok::<_, std::io::Error>(())
    });
    let answer = read_until(&mut reader, has_problem).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    sending.abort();
}

#[tokio::test]
async fn one_who_leaves_early_leaves_nothing_behind() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    for start in [
        "",
        "G",
        "GET / HT",
        &put("a", "content-length: 21\r\n", r#"{"host":"h","#),
        "\u{0}\u{1}\u{2}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nx",
    ] {
        let mut stream = connect(&listening).await;
        stream.write_all(start.as_bytes()).await.expect("it reads");
        drop(stream);
    }
    // A wrong length in the middle of a chunk, two lengths, another protocol, an address that is none, no header.
    for broken in [
        put("a", "transfer-encoding: chunked\r\n", "zz\r\n{}"),
        put("a", "content-length: 2\r\ncontent-length: 3\r\n", "{}"),
        "GET /livez HTTP/9.9\r\n\r\n".to_owned(),
        "GET http://[ HTTP/1.1\r\n\r\n".to_owned(),
        "G@T{} /livez HTTP/1.1\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
    ] {
        let mut stream = connect(&listening).await;
        stream.write_all(broken.as_bytes()).await.expect("it reads");
        let answer = read_until(&mut stream, |_| false).await;
        assert_eq!(problem(&answer)["code"], "invalid_argument", "{broken:?}: {answer}");
        assert!(answer.starts_with("HTTP/1.1 400"), "{broken:?}: {answer}");
    }
    alive(&world, &listening).await;
    assert_eq!(world.get(&format!("{ORDERS}/instances")).await.status, 404, "nothing was written");
}

#[tokio::test]
async fn headers_have_their_limits() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "y".repeat(200 << 10));
    let head = |headers: &str| format!("GET /livez HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    let far = format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(200 << 10));
    for request in [head(&many), head(&long), far] {
        let (mut reader, mut writer) = connect(&listening).await.into_split();
        let sending = tokio::spawn(async move { writer.write_all(request.as_bytes()).await.map(|()| writer) });
        let answer = read_until(&mut reader, |text| text.ends_with('}')).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
        let problem = problem(&answer);
        assert_eq!((&problem["code"], &problem["status"]), (&json!("too_large"), &json!(431)));
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("65536 bytes and 100 headers")));
        // What came behind it was taken: the peer could send to its end and see the answer.
        sending.await.expect("no panic").expect("no reset");
    }
    alive(&world, &listening).await;
}

/// The problem document of an answer, which is all of its body.
fn problem(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").expect("an end of the head");
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    serde_json::from_str(body).expect("JSON")
}

/// What comes of a connection as the node's time goes on.
async fn ends(world: &World, stream: &mut TcpStream) -> String {
    world.until_done(read_until(stream, |_| false)).await
}

#[tokio::test]
async fn heads_that_do_not_come_and_connections_that_idle_are_cut() {
    let world = World::new().await;
    let mut config = Config::default();
    config.listen.head_timeout = Duration::from_secs(10);
    config.listen.idle_timeout = Duration::from_secs(60);
    let listening = world.listen(config, &Tls::Off).await;
    let mut silent = connect(&listening).await;
    assert_eq!(ends(&world, &mut silent).await, "");
    let mut slow = connect(&listening).await;
    slow.write_all(b"GET /livez HT").await.expect("it reads");
    assert_eq!(ends(&world, &mut slow).await, "");
    let mut second = connect(&listening).await;
    second.write_all(get("/livez").as_bytes()).await.expect("it reads");
    read_until(&mut second, |text| text.contains("alive\n")).await;
    second.write_all(b"GET /livez HT").await.expect("it reads");
    assert_eq!(ends(&world, &mut second).await, "");
    // One that keeps alive between requests is not slow, and is cut only when it idles.
    let mut idle = connect(&listening).await;
    idle.write_all(get("/livez").as_bytes()).await.expect("it reads");
    read_until(&mut idle, |text| text.contains("alive\n")).await;
    for _ in 0..30 {
        world.clock.advance(1_000);
        tokio::task::yield_now().await;
    }
    idle.write_all(get("/livez").as_bytes()).await.expect("it reads");
    let answer = read_until(&mut idle, |text| text.contains("alive\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(ends(&world, &mut idle).await, "");
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let world = World::new().await;
    let mut config = Config::default();
    config.listen.connections_max = 1;
    let listening = world.listen(config, &Tls::Off).await;
    let mut first = connect(&listening).await;
    first.write_all(get("/livez").as_bytes()).await.expect("it reads");
    read_until(&mut first, |text| text.contains("alive\n")).await;
    let mut second = connect(&listening).await;
    second.write_all(get("/livez").as_bytes()).await.expect("it reads");
    let answer = read_until(&mut second, |_| false).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("connection: close") && answer.contains(r#""code":"overloaded""#), "{answer}");
    drop(first);
    let search = async {
        loop {
            let mut again = connect(&listening).await;
            again.write_all(get("/livez").as_bytes()).await.expect("it reads");
            if read_until(&mut again, |text| text.contains("}") || text.contains("alive\n")).await.contains("alive\n") {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, search).await.expect("there is room again");
}

#[tokio::test]
async fn requests_in_a_row_are_answered_in_order_and_at_once() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let mut stream = connect(&listening).await;
    let requests: String = (0..16).map(|n| whole_put(&format!("i{n:02}"))).collect();
    stream.write_all(requests.as_bytes()).await.expect("it reads");
    let answer =
        read_until(&mut stream, |text| text.matches("HTTP/1.1 201").count() == 16 && text.ends_with('}')).await;
    let ids: Vec<_> =
        answer.split(r#""id":""#).skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
    assert_eq!(ids, (0..16).map(|n| format!("i{n:02}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn http2_is_spoken_without_asking() {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let world = World::new().await;
    world.register("a").await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let io = TokioIo::new(connect(&listening).await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let request = http::Request::get(format!("http://localhost{ORDERS}/instances")).body(Empty::<bytes::Bytes>::new());
    let response = client.send_request(request.expect("a request")).await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    assert_eq!(body, world.get(&format!("{ORDERS}/instances")).await.body);
    driving.abort();
}

#[tokio::test]
async fn a_stop_finishes_what_is_under_way_and_cuts_the_rest() {
    let mut wishes = Wishes::default();
    // A body is not cut for being slow, but with its connection.
    wishes.admission.bodies.grace = Duration::from_secs(1_000);
    let world = World::with(wishes).await;
    let mut listening = world.listen(Config::default(), &Tls::Off).await;
    let mut idle = connect(&listening).await;
    idle.write_all(get("/livez").as_bytes()).await.expect("it reads");
    read_until(&mut idle, |text| text.contains("alive\n")).await;
    let mut busy = connect(&listening).await;
    let body = r#"{"host":"h","port":1}"#;
    busy.write_all(put("a", &format!("content-length: {}\r\n", body.len()), &body[..9]).as_bytes())
        .await
        .expect("it reads");
    let mut stuck = connect(&listening).await;
    stuck.write_all(put("b", "content-length: 9\r\n", "").as_bytes()).await.expect("it reads");
    // Both requests are under way once a later one on another connection was answered.
    alive(&world, &listening).await;
    listening.stop();
    assert_eq!(read_until(&mut idle, |_| false).await, "", "an idle connection is closed at once");
    busy.write_all(&body.as_bytes()[9..]).await.expect("it reads");
    let answer = read_until(&mut busy, |_| false).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let addr = listening.addr;
    world.until_done(listening.stop()).await.expect("no panic");
    assert_eq!(read_until(&mut stuck, |_| false).await, "", "what does not end is cut");
    assert!(TcpStream::connect(addr).await.is_err());
}

/// A watcher that does not read costs nobody else anything, and sees the newest state when it does.
#[tokio::test]
async fn a_watcher_that_stops_reading_sees_the_newest_state_later() {
    let world = World::new().await;
    let listening = world.listen(Config::default(), &Tls::Off).await;
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 << 10).expect("a small buffer");
    let mut watcher = socket.connect(listening.addr).await.expect("it listens");
    watcher.write_all(get(&format!("{ORDERS}/watch")).as_bytes()).await.expect("it reads");
    read_until(&mut watcher, |text| text.contains("event: snapshot")).await;
    // Together far more than the kernel keeps for one connection.
    let pairs: Vec<_> = (0..15).map(|n| format!(r#""k{n}":"{}""#, "x".repeat(1_000))).collect();
    let changes = 1_000;
    for n in 0..changes {
        let body = format!(r#"{{"host":"h","port":1,"metadata":{{"n":"{n}",{}}}}}"#, pairs.join(","));
        let reply = world.put(&format!("{ORDERS}/instances/a"), &body).await;
        assert!(reply.status.is_success(), "{reply:?}");
    }
    let last = format!(r#""n":"{}""#, changes - 1).into_bytes();
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    let reading = async {
        loop {
            let count = watcher.read(&mut buffer).await.expect("it goes on");
            assert!(count > 0, "the watcher was cut off");
            let before = seen.len().saturating_sub(last.len());
            seen.extend_from_slice(&buffer[..count]);
            if seen[before..].windows(last.len()).any(|window| window == last) {
                return;
            }
        }
    };
    world.until_done(reading).await;
    let events = String::from_utf8_lossy(&seen).matches("event: change").count();
    assert!((1..changes).contains(&events), "states in between were merged: {events}");
}
