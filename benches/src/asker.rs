//! One question over and over: when does a verifier's answer change?
//!
//! Flows in: the address of a verifier and a prepared message. Flows out: whether it is allowed now, or how long until it is.

use crate::stream::{Target, call, connect};
use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use prost::Message;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_mins(1);

pub struct Asker {
    target: Target,
    connection: SendRequest<Full<Bytes>>,
}

impl Asker {
    pub async fn new(verifier: SocketAddr) -> Self {
        Self { target: Target::checks(verifier), connection: connect(verifier).await }
    }

    pub async fn allows(&mut self, message: &Bytes) -> bool {
        let (_, answer) = call(self.target, &mut self.connection, message.clone()).await;
        let response = CheckResponse::decode(answer.slice(5..)).expect("a CheckResponse");
        response.status.is_some_and(|status| status.code == 0)
    }

    /// Milliseconds from `since` until the answer is this one. A pause between questions leaves the machine to those measured.
    pub async fn until(&mut self, message: &Bytes, answer: bool, since: Instant) -> f64 {
        while self.allows(message).await != answer {
            assert!(
                since.elapsed() < PATIENCE,
                "the verifier at {} answers {answer} within {PATIENCE:?}",
                self.target.address
            );
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
        since.elapsed().as_secs_f64() * 1e3
    }
}
