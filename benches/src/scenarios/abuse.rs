//! Tokens with an unknown `kid` or a bad signature beside good ones: what the good ones notice.
//!
//! A known token is checked at a steady pace while bad ones arrive too: once at the no-op floor, so that the machine is as busy, and once
//! at the verifier itself. That no bad token fetches a key is counted where there is somebody to fetch from: at the API server (`cluster`).

use crate::figures::{Report, Target};
use crate::floor::Running;
use crate::stream::{Target as Load, paced};
use crate::usage::{median, percentile};
use crate::world::{World, order};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use std::sync::Arc;

/// Makes a good token bad; the number makes each bad in its own way.
type Spoil = fn(usize, &str) -> String;

const BAD: usize = 5_000;
/// A second. The bad ones come at a pace of their own: at the same one each would meet a good one, or none.
const PACE: u32 = 1_000;
const BAD_PACE: u32 = 1_009;

pub async fn measure(rounds: usize, report: &mut Report) {
    let (floor, world) = (Running::check(), World::start(&[]).await);
    let tokens = world.tokens("es256", BAD + 1).await;
    let known = Arc::new(vec![order(&tokens[BAD]); BAD]);
    let kinds: [(&str, Spoil); 2] = [("unknown kid", unknown_key), ("bad signature", bad_signature)];
    for (kind, spoil) in kinds {
        let bad: Arc<Vec<Bytes>> =
            Arc::new(tokens.iter().take(BAD).enumerate().map(|(at, token)| order(&spoil(at, token))).collect());
        let (mut ratios, mut seen) = ([Vec::new(), Vec::new()], Vec::new());
        for _ in 0..rounds {
            let beside = async |address| {
                let load = Load { connections: 2, ..Load::checks(address) };
                let good = Load { connections: 1, ..Load::checks(world.grpc) };
                let (bad, good) = tokio::join!(paced(load, &bad, BAD_PACE), paced(good, &known, PACE));
                (bad.len(), [50.0, 99.0].map(|percent| percentile(&good, percent)))
            };
            let (_, calm) = beside(floor.address).await;
            let before = world.counter(DENIED).await;
            let (_, attacked) = beside(world.grpc).await;
            assert!(world.counter(DENIED).await - before >= BAD as f64, "every bad token was refused");
            for (ratios, (attacked, calm)) in ratios.iter_mut().zip(attacked.iter().zip(calm)) {
                ratios.push(attacked / calm);
            }
            seen.push(format!("{:.0}/{:.0} to {:.0}/{:.0}", calm[0], calm[1], attacked[0], attacked[1]));
        }
        let [p50, p99] = ratios.map(|ratios| median(&ratios));
        let what = |which| format!("{BAD} tokens with {kind} at {BAD_PACE}/s, known tokens' {which}");
        let detail = format!("p50/p99 in µs, bad ones at the no-op to bad ones here: {}", seen.join("; "));
        report.add("abuse", what("p50"), (p50, "× as before"), Target::AtMost(1.1), detail);
        report.add("abuse", what("p99"), (p99, "× as before"), Target::None, "");
    }
}

const DENIED: &str = r#"verifier_verdicts_total{wire="ext_authz_grpc",outcome="unauthorized"}"#;

/// Names a key that nobody ever had.
pub fn unknown_key(at: usize, token: &str) -> String {
    let (header, rest) = token.split_once('.').expect("three parts");
    let mut header: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).expect("base64url")).expect("JSON");
    header["kid"] = format!("{at:0>43}").into();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header.to_string()))
}

/// Another signature of the right length.
pub fn bad_signature(_: usize, token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    bytes[10] ^= 1;
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
}
