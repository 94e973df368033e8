//! `countersign agent` before a real issuer: what a workload finds in its files and on its socket.
//!
//! Flows in: rotations, an issuer that hangs, wrong authorities, signals. Flows out: tokens, all of which must be whole and valid.

mod envoy;
mod manifests;
mod tokens;

use crate::support::http::{Response, raw_unix};
use crate::support::ports::free_address;
use crate::support::processes::{self, Process};
use crate::support::scratch::Scratch;
use crate::support::standalone::{Standalone, now};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Tokens live ten seconds: an agent renews them every six or seven, and has almost two more for it.
pub const SHORT: [&str; 4] =
    ["--max-access-token-lifetime=10s", "--default-access-token-lifetime=10s", "--leeway=200ms", "--clock-skew=200ms"];

/// An agent with a folder of its own for everything it writes.
pub struct Agent {
    pub process: Process,
    pub admin: SocketAddr,
    pub folder: Scratch,
}

impl Agent {
    /// One that keeps the token `orders` in a file, for Envoy and on its socket, and ends at once when told to.
    pub fn start(flags: &[String]) -> Self {
        let (folder, admin) = (Scratch::new("agent"), free_address());
        let place = folder.display();
        let mut args = vec![
            format!("--token-dir={place}"),
            format!("--envoy-dir={place}"),
            format!("--socket={place}/agent.sock"),
            format!("--admin-listen={admin}"),
            "--longest-wait=1s".to_owned(),
            "--shutdown-delay=0s".to_owned(),
            "--log=debug".to_owned(),
        ];
        args.extend_from_slice(flags);
        Self { process: processes::start("agent", args), admin, folder }
    }

    /// One that reads the Secret of `shop.checkout` where standalone writes it.
    pub async fn of(it: &Standalone) -> Self {
        let credentials = it.data().join("secrets/shop/checkout-oauth");
        let mut agent = Self::start(&[format!("--credentials={}", credentials.display()), "--token=orders".to_owned()]);
        agent.process.ready(agent.admin).await;
        agent
    }

    pub fn token_file(&self) -> PathBuf {
        self.folder.join("orders")
    }

    pub fn envoy_file(&self) -> PathBuf {
        self.folder.join("orders.json")
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("agent.sock")
    }

    /// The answer of the socket.
    pub async fn ask(&self, method: &str, target: &str) -> Response {
        let request = format!("{method} {target} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
        raw_unix(&self.socket(), request.as_bytes()).await.expect("the agent answers")
    }
}

/// When a token ends; panics where it is not a whole one.
pub fn ends(token: &str) -> i64 {
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "not a whole token: {token:?}");
    let decoded = parts.iter().map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    let claims: Value = serde_json::from_slice(&decoded.collect::<Vec<_>>()[1]).expect("claims");
    claims["exp"].as_i64().expect("a time")
}

/// Whether it may still be used.
pub fn lives(token: &str) -> bool {
    now().as_second() < ends(token)
}
