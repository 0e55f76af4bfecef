//! Every request passes here before any service sees it: the table says yes or no, and yes becomes a permit.

use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use tonic::codegen::{Service, http};
use tower_layer::Layer;

use crate::server::Peer;

#[derive(Clone, Copy)]
pub(crate) struct Authorize;

impl<S> Layer<S> for Authorize {
    type Service = Authorized<S>;

    fn layer(&self, inner: S) -> Authorized<S> {
        Authorized(inner)
    }
}

#[derive(Clone)]
pub(crate) struct Authorized<S>(S);

impl<S, B, R> Service<http::Request<B>> for Authorized<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    R: Default,
{
    type Response = http::Response<R>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Self::Response, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        let identity = peer.and_then(|peer| peer.identity.as_ref());
        match polder_security::authorize(request.uri().path(), identity) {
            Ok(permit) => {
                request.extensions_mut().insert(permit);
                Either::Left(self.0.call(request))
            }
            Err(denied) => {
                tracing::warn!(address = peer.map(|peer| tracing::field::display(peer.address)), "{denied}");
                let status = polder_proto::unwelcome(tonic::Code::PermissionDenied, "denied", denied.to_string());
                Either::Right(ready(Ok(status.into_http())))
            }
        }
    }
}

impl<S: tonic::server::NamedService> tonic::server::NamedService for Authorized<S> {
    const NAME: &'static str = S::NAME;
}
