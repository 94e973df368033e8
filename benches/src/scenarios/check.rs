//! `ext_authz` over gRPC, direct: a known token beside a service that answers OK without looking; a token nobody saw before beside that
//! service doing one bare signature verification a call.

use super::{Effort, list};
use crate::bare::{PublicKey, Signed, bare_verification};
use crate::figures::{Report, Target};
use crate::floor::Running;
use crate::load::{Runs, checks};
use crate::stream::{self, Target as Load};
use crate::usage::median;
use crate::world::{ALGORITHMS, World, order};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// Room for about twenty tokens, so that those of a list come round unknown again.
pub const FORGETFUL: &str = "--token-cache-bytes=65536";
/// Different tokens in turn.
pub const UNKNOWN: usize = 20_000;

pub async fn measure(effort: Effort, report: &mut Report) {
    let floor = Running::check();
    known(effort, &floor, report).await;
    drop(floor);
    unknown(effort, report).await;
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

async fn unknown(effort: Effort, report: &mut Report) {
    let world = World::start(&[FORGETFUL]).await;
    let jwks = jwks(&world).await;
    for (algorithm, client) in ALGORITHMS {
        let tokens = world.tokens(client, UNKNOWN).await;
        let bodies: Arc<Vec<Bytes>> = Arc::new(tokens.iter().map(|token| order(token)).collect());
        let signed: Vec<_> = tokens.iter().take(6000).map(|token| Signed::read(token)).collect();
        let file = world.file("signed.json", serde_json::json!({"token": tokens[0], "jwks": jwks}).to_string());
        let (away, floor) = (Running::check(), Running::verifying(&file));
        let mut looking_away = Runs::default();
        let (mut floors, mut ours, mut bare) = (Runs::default(), Runs::default(), Vec::new());
        for round in 0..=effort.rounds {
            bare.push(bare_verification(&signed, || PublicKey::of(&tokens[0], &jwks)));
            let away = stream::run(Load::checks(away.address), &bodies, &[away.process.id()]).await;
            let floor = stream::run(Load::checks(floor.address), &bodies, &[floor.process.id()]).await;
            let (allowed, missed) = (world.counter(ALLOWED).await, world.counter(MISSES).await);
            let our = stream::run(Load::checks(world.grpc), &bodies, &[world.process.id()]).await;
            assert!(world.counter(ALLOWED).await - allowed >= our.requests, "every check was allowed");
            let unknown = (world.counter(MISSES).await - missed) / our.requests;
            assert!(unknown > 0.99, "{unknown} of the tokens were unknown");
            if round > 0 {
                looking_away.push(away);
                floors.push(floor);
                ours.push(our);
            }
        }
        let cpu = |runs: &Runs| runs.median(|run| run.cpu[0]);
        let sum = cpu(&looking_away) + median(&bare);
        let detail = format!(
            "ours {:.1} µs, floor {:.1} µs; in a loop of nothing else a verification takes {:.1} µs, with the service that looks away \
             {sum:.1} µs, of which ours is {:.2} ×; ours {}/s, floor {}/s",
            cpu(&ours),
            cpu(&floors),
            median(&bare),
            cpu(&ours) / sum,
            list(ours.0.iter().map(|run| run.rate)),
            list(floors.0.iter().map(|run| run.rate)),
        );
        let ratio = (ours.ratio(&floors, |run| run.cpu[0]), "× the floor that verifies");
        report.add("check", format!("unknown token, {algorithm}, CPU a check"), ratio, Target::AtMost(1.2), detail);
    }
}

/// The issuer's public keys.
async fn jwks(world: &World) -> Value {
    let answer = crate::support::http::Request::get("/oauth2/jwks").send(world.issuer).await;
    answer.expect("the issuer answers").json()
}
