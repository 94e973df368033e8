//! F07: a role's clock is five minutes off.
//!
//! Flows in: one replica more, whose clock a flag of test builds shifts, corrected by the API server's `Date` or left alone.
//! Flows out: whether it is ready, and whether its tokens or verdicts are right.

use crate::report::Case;
use crate::shop::{MINUTES, Plan, Shop};
use crate::support::http::Request;
use crate::support::installation::Role;
use crate::support::testbed::Testbed;
use crate::wire::Wire;
use std::time::Duration;

const TRIED: &str = "One more issuer and one more verifier whose clocks are five minutes off, beside good ones. A release always
    corrects its clock by the API server's Date; left alone is only what a test can have. A verifier must judge rightly; an issuer
    whose machine is off must not be ready.";

struct Judged {
    ready: bool,
    verdict: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_off_by_five_minutes_are_corrected_or_taken_out() {
    let testbed = Testbed::shared();
    let shop = Shop::open(
        &testbed,
        Plan { replicas: [1, 1, 1], flags: MINUTES.to_vec(), pre_publish: "5s", ..Plan::default() },
    )
    .await;
    for offset in ["5m", "-5m"] {
        for corrected in [true, false] {
            let how = if corrected { "corrected" } else { "left alone" };
            let mut case = Case::begin("F07 clock steps", TRIED, &format!("{offset}, {how}"));
            let shift = format!("--test-clock-offset={offset}");
            let mut flags = vec![shift.as_str()];
            if corrected {
                flags.push("--test-clock-corrected");
            }
            let verifier = verifier(&shop, &testbed, &flags).await;
            let issuer = issuer(&shop, &testbed, &flags).await;
            if corrected {
                assert_eq!((verifier.ready, verifier.verdict.as_str()), (true, "Ok(200)"), "{offset} {how}");
                assert!(!issuer.ready, "an issuer on a machine whose clock is off");
            }
            case.figure("verifier ready", verifier.ready);
            case.figure("its verdict on a good token", verifier.verdict);
            case.figure("issuer ready", issuer.ready);
            case.figure("a good verifier's verdict on its token", issuer.verdict);
            case.held();
        }
    }
}

async fn verifier(shop: &Shop, testbed: &Testbed, flags: &[&str]) -> Judged {
    let off = shop.spawn(testbed, Role::Verifier, flags).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let token = shop.load.token(&mut Wire::default(), shop.issuers[0].replica.issuer).await.expect("a token");
    let verdict = shop.load.verdict(&mut Wire::default(), off.replica.http, &token.text).await;
    Judged { ready: ready(&off.replica).await, verdict: format!("{verdict:?}") }
}

async fn issuer(shop: &Shop, testbed: &Testbed, flags: &[&str]) -> Judged {
    let off = shop.spawn(testbed, Role::Issuer, flags).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    let token = shop.load.token(&mut Wire::default(), off.replica.issuer).await;
    let verdict = match token {
        Ok(token) => {
            let verifier = shop.verifiers[0].replica.http;
            format!("{:?}", shop.load.verdict(&mut Wire::default(), verifier, &token.text).await)
        }
        Err(why) => why.split(' ').nth(1).map_or("no token".to_owned(), |status| format!("no token: {status}")),
    };
    Judged { ready: ready(&off.replica).await, verdict }
}

async fn ready(replica: &crate::support::installation::Replica) -> bool {
    Request::get("/readyz").send(replica.admin).await.is_ok_and(|answer| answer.status == 200)
}
