//! The floors: the least a server of that kind can do, in the same language on the same libraries.
//!
//! ```text
//! servers floor check --listen A                     tonic's own server; answers OK without looking at the message
//! servers floor check --listen A --verify FILE       the same, after one bare signature verification
//! servers floor token --listen A --signing FILE      axum; parses the form, signs the same claims with the same key
//! ```
//! Flows in: calls. Flows out: answers of the same size as ours, where that is the protocol's. No authentication, no policy, no log, no
//! metric, no limit. Both have nodelay set and tokio's own number of threads, as the product has.

use crate::bare::{PublicKey, Signed};
use crate::support::ports::free_address;
use crate::support::processes::Process;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::serve::ListenerExt;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use envoy_types::pb::google::rpc;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::{Request, Response, Status};

#[derive(clap::Subcommand, Clone, Debug)]
pub enum Floor {
    /// An `ext_authz` service that answers OK without looking
    Check {
        #[arg(long)]
        listen: SocketAddr,
        /// JSON: a `token` and the `jwks` its key is in; its signature is verified in each call, whatever the call says
        #[arg(long)]
        verify: Option<PathBuf>,
    },
    /// A token endpoint that only parses the form and signs
    Token {
        #[arg(long)]
        listen: SocketAddr,
        /// JSON: `alg`, `pkcs8` in base64, `header` and `claims` of a token of ours
        #[arg(long)]
        signing: PathBuf,
    },
}

impl Floor {
    pub async fn serve(self) {
        match self {
            Self::Check { listen, verify } => {
                let service = AuthorizationServer::new(Ok200(verify.map(|file| signed(&file))));
                let server = tonic::transport::Server::builder().tcp_nodelay(true).add_service(service);
                server.serve(listen).await.expect("serve");
            }
            Self::Token { listen, signing } => {
                let issuer = Arc::new(Issuer::read(&signing));
                let routes = axum::Router::new().route("/oauth2/token", axum::routing::post(token)).with_state(issuer);
                let listener = tokio::net::TcpListener::bind(listen).await.expect("bind");
                let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("set nodelay"));
                axum::serve(listener, routes).await.expect("serve");
            }
        }
    }
}

/// A floor as a process of its own.
pub struct Running {
    pub process: Process,
    pub address: SocketAddr,
}

impl Running {
    pub fn check() -> Self {
        Self::start("check", &[])
    }

    pub fn verifying(signed: &Path) -> Self {
        Self::start("check", &["--verify", signed.to_str().expect("the path is text")])
    }

    pub fn token(signing: &Path) -> Self {
        Self::start("token", &["--signing", signing.to_str().expect("the path is text")])
    }

    fn start(kind: &str, more: &[&str]) -> Self {
        let address = free_address();
        let listen = format!("--listen={address}");
        let args = ["floor", kind, &listen].into_iter().chain(more.iter().copied());
        let program = std::env::current_exe().expect("this program has a path");
        let process = Process::start(kind, program, args);
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the floor {kind} starts: {}", process.output());
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, address }
    }
}

struct Ok200(Option<(PublicKey, Signed)>);

fn signed(file: &Path) -> (PublicKey, Signed) {
    let text = std::fs::read(file).expect("read what to verify");
    let signed: Value = serde_json::from_slice(&text).expect("JSON");
    let token = signed["token"].as_str().expect("a token");
    (PublicKey::of(token, &signed["jwks"]), Signed::read(token))
}

#[tonic::async_trait]
impl Authorization for Ok200 {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        if let Some((key, signed)) = &self.0 {
            key.verify(signed);
        }
        Ok(Response::new(CheckResponse { status: Some(rpc::Status::default()), ..CheckResponse::default() }))
    }
}

/// What the token floor signs with.
struct Issuer {
    key: Key,
    header: String,
    claims: Value,
    lifetime: i64,
    random: SystemRandom,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Issuer {
    fn read(file: &Path) -> Self {
        let text = std::fs::read(file).expect("read what to sign with");
        let signing: Value = serde_json::from_slice(&text).expect("JSON");
        let pkcs8 = STANDARD.decode(signing["pkcs8"].as_str().expect("a key")).expect("base64");
        let key = match signing["header"]["alg"].as_str() {
            Some("ES256") => {
                Key::Ecdsa(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).expect("a P-256 key"))
            }
            _ => Key::Ed25519(Ed25519KeyPair::from_pkcs8(&pkcs8).expect("an Ed25519 key")),
        };
        let claims = signing["claims"].clone();
        let lifetime = claims["exp"].as_i64().zip(claims["iat"].as_i64()).map_or(900, |(exp, iat)| exp - iat);
        Self {
            key,
            header: URL_SAFE_NO_PAD.encode(signing["header"].to_string()),
            claims,
            lifetime,
            random: SystemRandom::new(),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the floor is no part of the product")]
    fn issue(&self) -> String {
        let mut jti = [0; 16];
        self.random.fill(&mut jti).expect("random bytes");
        let now = jiff::Timestamp::now().as_second();
        let mut claims = self.claims.clone();
        claims["iat"] = now.into();
        claims["exp"] = (now + self.lifetime).into();
        claims["jti"] = URL_SAFE_NO_PAD.encode(jti).into();
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signature = match &self.key {
            Key::Ecdsa(key) => key.sign(&self.random, token.as_bytes()).expect("sign").as_ref().to_vec(),
            Key::Ed25519(key) => key.sign(token.as_bytes()).as_ref().to_vec(),
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }
}

async fn token(State(issuer): State<Arc<Issuer>>, body: Bytes) -> impl IntoResponse {
    let mut is_client_credentials = false;
    let mut secret = false;
    for (name, value) in form_urlencoded::parse(&body) {
        is_client_credentials |= name == "grant_type" && value == "client_credentials";
        secret |= name == "client_secret" && !value.is_empty();
    }
    assert!(is_client_credentials && secret, "the load sends a whole form");
    let scope = &issuer.claims["scope"];
    let answer =
        json!({"access_token": issuer.issue(), "token_type": "Bearer", "expires_in": issuer.lifetime, "scope": scope});
    let headers =
        [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    (headers, answer.to_string())
}
