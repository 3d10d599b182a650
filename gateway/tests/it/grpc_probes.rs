//! Health and reflection.

use schemas::thuban::v1 as pb;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::grpc_world::{World, reason, soon};

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.into() }
}

#[tokio::test]
async fn a_node_serves_until_it_drains() {
    let world = World::new().await;
    let mut health = HealthClient::new(world.channel().await);
    for service in ["", "thuban.v1.Registry", "thuban.v1.Admin"] {
        assert_eq!(health.check(of(service)).await.unwrap().into_inner().status(), ServingStatus::Serving, "{service}");
    }
    let unknown = health.check(of("thuban.v1.Nothing")).await.unwrap_err();
    assert_eq!((unknown.code(), reason(&unknown).as_str()), (Code::NotFound, "service_not_found"));
    let mut told = health.watch(of("")).await.unwrap().into_inner();
    assert_eq!(soon(told.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let mut stranger = health.watch(of("nobody")).await.unwrap().into_inner();
    assert_eq!(soon(stranger.message()).await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    world.registry.drain();
    let next = world.until_done(told.message()).await.unwrap().unwrap();
    assert_eq!(next.status(), ServingStatus::NotServing);
    assert!(world.until_done(told.message()).await.unwrap().is_none());
    assert_eq!(health.check(of("")).await.unwrap().into_inner().status(), ServingStatus::NotServing);
}

async fn reflect(world: &World, asked: MessageRequest) -> ServerReflectionResponse {
    let mut client = ServerReflectionClient::new(world.channel().await);
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
    let answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
    soon(answers.into_inner().message()).await.unwrap().expect("answered")
}

#[tokio::test]
async fn whoever_has_no_schema_can_ask_for_it() {
    let world = World::new().await;
    let listed = reflect(&world, MessageRequest::ListServices(String::new())).await;
    let Some(MessageResponse::ListServicesResponse(listed)) = listed.message_response else { panic!("not listed") };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["thuban.v1.Registry", "thuban.v1.Admin", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let symbol = "thuban.v1.Registry.Session".to_owned();
    let file = reflect(&world, MessageRequest::FileContainingSymbol(symbol)).await;
    assert!(matches!(file.message_response, Some(MessageResponse::FileDescriptorResponse(_))), "{file:?}");
    assert!(world.client().await.discover(pb::DiscoverRequest::default()).await.is_err());
}
