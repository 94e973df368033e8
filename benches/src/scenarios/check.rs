//! `ext_authz` over gRPC, direct: a known token beside a service that answers OK without looking; a token nobody saw before beside that
//! service plus one bare signature verification.

use super::{Effort, list};
use crate::figures::{Report, Target};
use crate::floor::Running;
use crate::load::{Runs, checks};
use crate::stream::{self, Target as Load};
use crate::usage::{median, own_cpu_time};
use crate::world::{ALGORITHMS, World, order};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Room for about twenty tokens, so that those of a list come round unknown again.
pub const FORGETFUL: &str = "--token-cache-bytes=65536";
/// Different tokens in turn.
pub const UNKNOWN: usize = 20_000;

pub async fn measure(effort: Effort, report: &mut Report) {
    let floor = Running::check();
    known(effort, &floor, report).await;
    unknown(effort, &floor, report).await;
}

async fn known(effort: Effort, floor: &Running, report: &mut Report) {
    let world = World::start(&[]).await;
    let token = world.tokens("es256", 1).await.remove(0);
    let message = world.file("known.grpc", order(&token));
    let (mut floors, mut ours) = (Runs::default(), Runs::default());
    for round in 0..=effort.rounds {
        let seconds = if round == 0 { 1 } else { effort.seconds };
        let floor = checks(floor.address, &message, (8, 32), seconds, &[floor.process.id()]);
        let allowed = world.counter(ALLOWED).await;
        let our = checks(world.grpc, &message, (8, 32), seconds, &[world.process.id()]);
        assert!(world.counter(ALLOWED).await - allowed >= our.requests, "every check was allowed");
        if round > 0 {
            floors.push(floor);
            ours.push(our);
        }
    }
    let detail = format!(
        "ours {}/s, floor {}/s",
        list(ours.0.iter().map(|run| run.rate)),
        list(floors.0.iter().map(|run| run.rate))
    );
    let ratio = (ours.ratio(&floors, |run| run.rate), "× the floor");
    report.add("check", "known token, checks a second", ratio, Target::AtLeast(0.8), detail);
    let cpu = |runs: &Runs| runs.median(|run| run.cpu[0]);
    let detail = format!("ours {:.1} µs, floor {:.1} µs", cpu(&ours), cpu(&floors));
    let ratio = (ours.ratio(&floors, |run| run.cpu[0]), "× the floor");
    report.add("check", "known token, CPU a check", ratio, Target::AtMost(1.3), detail);
}

pub const ALLOWED: &str = r#"verifier_verdicts_total{wire="ext_authz_grpc",outcome="allow"}"#;
pub const MISSES: &str = r#"verifier_token_cache_total{outcome="miss"}"#;

async fn unknown(effort: Effort, floor: &Running, report: &mut Report) {
    let world = World::start(&[FORGETFUL]).await;
    let jwks = jwks(&world).await;
    for (algorithm, client) in ALGORITHMS {
        let tokens = world.tokens(client, UNKNOWN).await;
        let bodies: Arc<Vec<Bytes>> = Arc::new(tokens.iter().map(|token| order(token)).collect());
        let (mut floors, mut ours, mut bare) = (Runs::default(), Runs::default(), Vec::new());
        for round in 0..=effort.rounds {
            bare.push(bare_verification(&tokens, &jwks));
            let floor = stream::run(Load::checks(floor.address), &bodies, &[floor.process.id()]).await;
            let (allowed, missed) = (world.counter(ALLOWED).await, world.counter(MISSES).await);
            let our = stream::run(Load::checks(world.grpc), &bodies, &[world.process.id()]).await;
            assert!(world.counter(ALLOWED).await - allowed >= our.requests, "every check was allowed");
            let unknown = (world.counter(MISSES).await - missed) / our.requests;
            assert!(unknown > 0.99, "{unknown} of the tokens were unknown");
            if round > 0 {
                floors.push(floor);
                ours.push(our);
            }
        }
        let cpu = |runs: &Runs| runs.median(|run| run.cpu[0]);
        let bare = median(&bare);
        let detail = format!(
            "ours {:.1} µs, floor {:.1} µs, one bare verification {bare:.1} µs; ours {}/s, floor {}/s",
            cpu(&ours),
            cpu(&floors),
            list(ours.0.iter().map(|run| run.rate)),
            list(floors.0.iter().map(|run| run.rate)),
        );
        let ratio = (cpu(&ours) / (cpu(&floors) + bare), "× floor and verification");
        report.add("check", format!("unknown token, {algorithm}, CPU a check"), ratio, Target::AtMost(1.2), detail);
    }
}

/// The issuer's public keys.
async fn jwks(world: &World) -> Value {
    let answer = crate::support::http::Request::get("/oauth2/jwks").send(world.issuer).await;
    answer.expect("the issuer answers").json()
}

/// CPU microseconds to check the signature of one token with a parsed key: nothing else of the token is read. On all cores at once, since
/// that is how a server under load does it, and cores that share parts slow each other down.
fn bare_verification(tokens: &[String], jwks: &Value) -> f64 {
    let header: Value = decode(tokens[0].split('.').next().expect("a header"));
    let key = key(&header, jwks);
    let signed: Vec<_> = tokens
        .iter()
        .take(6000)
        .map(|token| {
            let (message, signature) = token.rsplit_once('.').expect("three parts");
            (message, URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
        })
        .collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let verify_all = || {
        let verify = |(message, signature): &(&str, Vec<u8>)| {
            key.verify_sig(message.as_bytes(), signature).expect("a good signature");
        };
        signed.iter().for_each(verify);
        own_cpu_time()
    };
    let spent: Duration = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(verify_all)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread ends well")).sum()
    });
    spent.as_secs_f64() * 1e6 / (signed.len() * cores) as f64
}

fn decode(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON")
}

fn key(header: &Value, jwks: &Value) -> ParsedPublicKey {
    let jwk = jwks["keys"].as_array().expect("keys").iter().find(|jwk| jwk["kid"] == header["kid"]).expect("the key");
    let part = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().expect("a coordinate")).expect("base64url");
    if jwk["kty"] == "EC" {
        let point = [vec![4], part("x"), part("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).parse().expect("a key")
    } else {
        UnparsedPublicKey::new(&ED25519, part("x")).parse().expect("a key")
    }
}
