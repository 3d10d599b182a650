//! Server reflection: what a caller without our `.proto` files needs to call us.

use std::convert::Infallible;

use axum::body::Body;
use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use tonic_reflection::server::Builder;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use super::Shared;
use super::wire::Reply;
use crate::admission::{Lane, Verb};
use crate::error::{Code, Problem};

type Inner = BoxCloneSyncService<Request<Body>, Response<tonic::body::Body>, Infallible>;

/// Both versions of the protocol: tools still ask for the older one.
pub(super) struct Reflection {
    v1: Option<Inner>,
    v1alpha: Option<Inner>,
}

const V1: &str = "/grpc.reflection.v1.ServerReflection/";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/";

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(schemas::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .with_service_name("thuban.v1.Registry")
        .with_service_name("thuban.v1.Admin")
        .with_service_name("grpc.health.v1.Health")
}

fn boxed<S>(service: S) -> Inner
where
    S: Service<Request<Body>, Response = Response<tonic::body::Body>, Error = Infallible> + Clone + Send + Sync,
    S: 'static,
    S::Future: Send + 'static,
{
    BoxCloneSyncService::new(service)
}

impl Reflection {
    pub(super) fn new() -> Self {
        // The descriptors are our own build's; a test asks for them. Should they not parse, there is no reflection.
        Self { v1: builder().build_v1().ok().map(boxed), v1alpha: builder().build_v1alpha().ok().map(boxed) }
    }

    pub(super) fn is_for(path: &str) -> bool {
        path.starts_with(V1) || path.starts_with(V1ALPHA)
    }

    pub(super) async fn answer(&self, shared: &Shared, parts: Parts, body: Body) -> Result<Response<Reply>, Problem> {
        let identity =
            shared.admission.identify(parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes))?;
        identity.may_at_all(Verb::Read)?;
        let permit = shared.admission.enter(&identity, Lane::Wait)?;
        let version = if parts.uri.path().starts_with(V1) { &self.v1 } else { &self.v1alpha };
        let Some(service) = version else {
            return Err(Problem::new(Code::PathNotFound, "this build has no reflection"));
        };
        let response = match service.clone().oneshot(Request::from_parts(parts, body)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        Ok(response.map(|body| Reply::Foreign { body, _permit: permit }))
    }
}
