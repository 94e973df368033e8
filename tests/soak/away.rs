//! F01: the API server is away for long, first frozen, then dead. Tokens are issued and checked as if nothing were.
//!
//! Flows in: two of each role with the timings of a real installation, load on all, an API server that stops. Flows out: how
//! much was served meanwhile, and how soon changes take effect once it is back.

use crate::report::{Case, asked};
use crate::shop::{MINUTES, Plan, SOON, Shop};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::testbed::{Part, Testbed};
use crate::wire::Wire;
use std::time::{Duration, Instant};

const TRIED: &str = "Two controllers, two issuers, two verifiers with the timings of a real installation and load on every
    issuer and verifier while the API server is frozen (SIGSTOP: connections stay, nothing is answered) or killed. Meanwhile
    the issuers and verifiers must stay ready; afterwards a suspended client must lose its tokens and a key rotate.";

async fn away(case: &str, leave: impl Fn(&Testbed), come_back: impl AsyncFn(&Testbed)) {
    let mut case = Case::begin("F01 API server away", TRIED, case);
    let minutes: u64 = asked("COUNTERSIGN_SOAK_MINUTES", 10);
    let testbed = Testbed::own();
    let plan = Plan { flags: MINUTES.to_vec(), pre_publish: "5s", rest: Duration::from_millis(50), ..Plan::default() };
    let mut shop = Shop::open(&testbed, plan).await;
    shop.begin_load();
    tokio::time::sleep(Duration::from_secs(10)).await;
    shop.load.seen.nothing_failed();
    let before = shop.load.seen.counts();
    leave(&testbed);
    let begun = Instant::now();
    let mut looks = 0;
    while begun.elapsed() < Duration::from_secs(60 * minutes) {
        tokio::time::sleep(Duration::from_secs(5)).await;
        for member in shop.issuers.iter_mut().chain(&mut shop.verifiers) {
            let readiness =
                Request::get("/readyz").send(member.replica.admin).await.expect("an answer of the admin port");
            assert_eq!(readiness.status, 200, "{:?} after {:?}: {readiness:?}", member.role, begun.elapsed());
        }
        let seen = shop.load.seen.counts();
        println!("{:.0?} away: {} tokens, {} checks", begun.elapsed(), seen[0] - before[0], seen[1] - before[1]);
        looks += 1;
    }
    let lasted = begun.elapsed();
    let after = shop.load.seen.counts();
    come_back(&testbed).await;
    let back = Instant::now();
    shop.load.seen.nothing_failed();
    for member in shop.controllers.iter_mut().chain(&mut shop.issuers).chain(&mut shop.verifiers) {
        assert!(member.replica.process.ended().is_none(), "{:?} ended", member.role);
    }
    shop.rotate(SOON * 2).await;
    case.figure("away", format!("{lasted:.0?}"));
    case.figure("tokens meanwhile", after[0] - before[0]);
    case.figure("checks meanwhile", after[1] - before[1]);
    case.figure(
        "longest without a token",
        format!("{} ms", shop.load.seen.longest_silence.load(std::sync::atomic::Ordering::Relaxed)),
    );
    case.figure("readiness looked at, all ready", looks * 4);
    case.figure("key rotated after its return", format!("{:.1?}", back.elapsed()));
    shop.end_load().await;
    case.figure("refused", 0);
    case.figure("suspension in force", format!("{:.1?}", suspended(&shop).await));
    case.held();
}

/// How long until a suspended client's token is refused everywhere.
async fn suspended(shop: &Shop) -> Duration {
    let token = shop.load.token(&mut Wire::default(), shop.issuers[0].replica.issuer).await.expect("a token");
    shop.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
    let begun = Instant::now();
    let refused = async || {
        let mut refused = 0;
        for verifier in &shop.verifiers {
            let verdict = shop.load.verdict(&mut Wire::default(), verifier.replica.http, &token.text).await;
            refused += usize::from(verdict == Ok(401));
        }
        refused
    };
    await_condition("the token to be refused", SOON, refused, |refused| *refused == shop.verifiers.len()).await;
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_api_server_stops_nobody() {
    let back = async |testbed: &Testbed| testbed.signal(Part::ApiServer, "CONT");
    away("frozen", |testbed| testbed.signal(Part::ApiServer, "STOP"), back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_api_server_stops_nobody() {
    let back = async |testbed: &Testbed| testbed.start(Part::ApiServer).await;
    away("killed", |testbed| testbed.stop(Part::ApiServer), back).await;
}
