//! Targets that answer anything: a probe ends, believes nothing that was not said, and repeats nothing of it.

use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, HeaderValue, Response};
use bytes::Bytes;
use compute::model::CheckKind;
use compute::port::prober::Probed;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseResult;
use tokio::io::AsyncWriteExt;

use super::server::{Server, read_request};
use super::{http, probe_patiently};
use crate::fuzz::{hold, runtime};

/// What the next connection is answered with.
type Next<T> = Arc<Mutex<T>>;

fn is_fit(probed: &Probed, marker: &str) -> TestCaseResult {
    match probed {
        Probed::Success => {}
        Probed::Failure(why) => {
            prop_assert!(!why.is_empty() && why.len() <= 256 && !why.contains(char::is_control), "{:?}", why);
            prop_assert!(!why.contains(marker), "text of the target: {:?}", why);
        }
        Probed::Forbidden(why) => prop_assert!(false, "{}", why),
    }
    Ok(())
}

#[test]
fn no_http_answer_is_too_strange() {
    let runtime = runtime();
    let next: Next<Vec<u8>> = Arc::default();
    let answers = next.clone();
    let server = runtime.block_on(Server::start(move |mut stream| {
        let answer = answers.lock().unwrap().clone();
        async move {
            read_request(&mut stream).await;
            // The prober may have heard enough before the end.
            let _ = stream.write_all(&answer).await;
        }
    }));
    let pieces = vec![
        "HTTP/1.1 ",
        "HTTP/1.0 ",
        "200",
        "299",
        "301",
        "503",
        "100",
        " SECRET",
        "\r\n",
        "\r\n\r\n",
        "location: http://SECRET/\r\n",
        "a: SECRET\r\n",
        "\0",
        "\u{16}\u{3}",
        "SSH-2.0-SECRET\r\n",
    ];
    let piece = prop_oneof![12 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()), 1 => vec(any::<u8>(), 0..6), 1 => Just(vec![b'x'; 5_000])];
    let head = select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"]);
    let answer = (head, vec(piece, 0..8)).prop_map(|(head, pieces)| [head.as_bytes(), &pieces.concat()].concat());
    hold(100, answer, |answer| {
        *next.lock().unwrap() = answer.clone();
        let probed = runtime.block_on(probe_patiently(server.address, http("/health")));
        is_fit(&probed, "SECRET")?;
        let says_2xx = String::from_utf8_lossy(&answer)
            .lines()
            .any(|line| ["HTTP/1.1 2", "HTTP/1.0 2"].iter().any(|start| line.starts_with(start)));
        prop_assert!(says_2xx || probed != Probed::Success, "{:?}", String::from_utf8_lossy(&answer));
        Ok(())
    });
}

#[derive(Clone, Debug, Default)]
struct Answer {
    http: u16,
    body: Vec<u8>,
    status: Option<Vec<u8>>,
}

#[test]
fn no_health_answer_is_too_strange() {
    let runtime = runtime();
    let next: Next<Answer> = Arc::default();
    let answers = next.clone();
    let server = runtime.block_on(Server::start(move |stream| {
        let answer = answers.lock().unwrap().clone();
        async move {
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let head = Response::builder().status(answer.http).header("content-type", "application/grpc");
                let Ok(mut sending) = respond.send_response(head.body(()).unwrap(), false) else { return };
                let ends = answer.status.is_none();
                // The prober may have heard enough before the end.
                let _ = sending.send_data(Bytes::from(answer.body.clone()), ends);
                if let Some(status) = &answer.status {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_bytes(status).unwrap());
                    trailers.insert("grpc-message", HeaderValue::from_static("SECRET"));
                    let _ = sending.send_trailers(trailers);
                }
            }
        }
    }));
    let serving = b"\0\0\0\0\x02\x08\x01".to_vec();
    let body = prop_oneof![
        3 => Just(serving.clone()),
        2 => crate::fuzz::spoilt(Just(serving.clone())),
        1 => vec(any::<u8>(), 0..24),
        1 => Just(vec![0; 5_000]),
    ];
    let status = prop_oneof![
        3 => Just(b"0".to_vec()),
        2 => "[0-9]{0,3}".prop_map(String::into_bytes),
        1 => vec(0x21..0x7f_u8, 0..6),
    ];
    let http = prop_oneof![4 => Just(200), 1 => 200..600_u16];
    let answer = (http, body, proptest::option::weighted(0.9, status)).prop_map(|(http, body, status)| Answer {
        http,
        body,
        status,
    });
    hold(100, answer, |answer| {
        *next.lock().unwrap() = answer.clone();
        let probed = runtime.block_on(probe_patiently(server.address, CheckKind::grpc("").unwrap()));
        is_fit(&probed, "SECRET")?;
        // A message may say the same in more words; what it may not do is to say it in a frame that is none.
        let is_framed = answer.body.split_first_chunk::<5>().is_some_and(|([flag, length @ ..], message)| {
            *flag == 0 && u32::from_be_bytes(*length) as usize == message.len()
        });
        let is_good = (200..300).contains(&answer.http) && answer.status.as_deref() == Some(b"0");
        prop_assert!(probed != Probed::Success || (is_framed && is_good), "{:?}", answer);
        let is_plain = answer.http == 200 && answer.status.as_deref() == Some(b"0") && answer.body == serving;
        prop_assert!(!is_plain || probed == Probed::Success, "{:?}: {:?}", answer, probed);
        Ok(())
    });
}

#[test]
fn no_frames_of_http2_are_too_strange() {
    let runtime = runtime();
    let next: Next<Vec<u8>> = Arc::default();
    let answers = next.clone();
    let server = runtime.block_on(Server::start(move |mut stream| {
        let answer = answers.lock().unwrap().clone();
        async move {
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
    }));
    // Length, type, flags, stream: as frames have it, and then anything.
    let frame = (0..24_u8, 0..11_u8, any::<u8>(), 0..4_u8, vec(any::<u8>(), 24)).prop_map(
        |(length, kind, flags, stream, content)| {
            [&[0, 0, length, kind, flags, 0, 0, 0, stream], &content[..usize::from(length)]].concat()
        },
    );
    let settings = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let frame = prop_oneof![3 => frame, 2 => Just(settings.clone()), 1 => vec(any::<u8>(), 0..20)];
    let answer = vec(frame, 0..8).prop_map(move |frames| [settings.clone(), frames.concat()].concat());
    hold(100, answer, |answer| {
        *next.lock().unwrap() = answer;
        let probed = runtime.block_on(probe_patiently(server.address, CheckKind::grpc("").unwrap()));
        is_fit(&probed, "SECRET")?;
        prop_assert!(probed != Probed::Success);
        Ok(())
    });
}
