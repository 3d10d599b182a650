//! Watches of very many names: bounded in all, and on one connection.

use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;
use tonic::{Code, Status};

use crate::grpc_stream::{Stream, watch};
use crate::grpc_world::{Wishes, World, reason};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

fn of_names() -> pb::WatchRequest {
    pb::WatchRequest { services: NAMES.map(str::to_owned).to_vec(), ..pb::WatchRequest::default() }
}

fn said(refused: &Status) -> (Code, String) {
    (refused.code(), reason(refused))
}

async fn world() -> World {
    let mut wishes = Wishes::default();
    (wishes.admission.watched_names_max, wishes.admission.connection_names_max) = (12, 8);
    World::with(wishes).await
}

#[tokio::test]
async fn names_in_watches_are_bounded() {
    let world = world().await;
    let (mut first, mut second, mut third) = (world.client().await, world.client().await, world.client().await);
    let held = first.watch(of_names()).await.expect("there is room");
    let refused = first.watch(of_names()).await.unwrap_err();
    assert_eq!(said(&refused), (Code::ResourceExhausted, "too_large".to_owned()), "of one connection");
    assert!(refused.message().contains("more than 8"), "{}", refused.message());
    let _other = second.watch(of_names()).await.expect("there is room");
    let refused = third.watch(of_names()).await.unwrap_err();
    assert_eq!(said(&refused), (Code::Unavailable, "overloaded".to_owned()), "of all");
    drop(held);
    let _again = world.becomes(|| async { world.client().await.watch(of_names()).await.ok() }).await;
}

#[tokio::test]
async fn names_in_the_watches_of_a_session_are_bounded() {
    let world = world().await;
    let (mut stream, _) = Stream::new(&world).await;
    assert!(matches!(stream.call(watch(1, &NAMES)).await, Reply::Watching(_)));
    match stream.call(watch(2, &NAMES)).await {
        Reply::Problem(problem) => {
            assert_eq!((problem.code.as_str(), problem.field.as_str()), ("too_large", "watch.services"))
        }
        other => panic!("not refused: {other:?}"),
    }
    let unwatch = pb::session_request::Request::Unwatch(pb::Unwatch { watch_id: 1 });
    assert!(matches!(stream.call(unwatch).await, Reply::Unwatched(_)));
    assert!(matches!(stream.call(watch(2, &NAMES)).await, Reply::Watching(_)));
}
