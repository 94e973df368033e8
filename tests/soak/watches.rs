//! F05, F06: watches that stall, lie or are refused, and requests nobody answers.
//!
//! ```text
//! suspend ──► controller ──► revocation ──► API server ──► proxy with a fault ──► verifier: how long until it refuses?
//! ```
//! Flows in: one verifier (or the controllers) behind a proxy that misbehaves. Flows out: how soon a change is in force
//! nevertheless.

use crate::proxy::{Act, Line};
use crate::report::Case;
use crate::shop::{MINUTES, Plan, SOON, Shop};
use crate::support::await_condition;
use crate::support::testbed::Testbed;
use crate::wire::Wire;
use std::time::{Duration, Instant};

const TRIED: &str = "A verifier behind the proxy while a client is suspended: how long until it refuses the client's token. A
    watch that stalls keeps its connection and says nothing more. The client renews a watch every 90 s and ends a connection
    silent for 100 s. What was dropped from a watch comes with the next listing, at most thirteen minutes later for
    revocations and keys, or with the next change of the same object.";
/// A watch may be silent for 100 s before it is begun anew.
const STALLED: Duration = Duration::from_secs(150);

async fn open(testbed: &Testbed) -> Shop {
    let plan =
        Plan { replicas: [1, 1, 1], flags: MINUTES.to_vec(), pre_publish: "5s", proxied: true, ..Plan::default() };
    Shop::open(testbed, plan).await
}

impl Shop {
    async fn verdict(&self, token: &str) -> Result<u16, String> {
        self.load.verdict(&mut Wire::default(), self.verifiers[0].replica.http, token).await
    }

    async fn a_token(&self) -> String {
        let issuer = self.issuers[0].replica.issuer;
        let look = async || self.load.token(&mut Wire::default(), issuer).await;
        let token = await_condition("a token", SOON, look, Result::is_ok).await.expect("accepted as one");
        let taken = async || self.verdict(&token.text).await;
        drop(await_condition("the token to be taken", SOON, taken, |verdict| *verdict == Ok(200)).await);
        token.text
    }

    /// Suspends the client and waits until its token is refused here; then puts things right. How long that took.
    async fn suspend(&self, token: &str, patience: Duration) -> Duration {
        let begun = Instant::now();
        self.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
        self.refused(token, patience).await;
        begun.elapsed()
    }

    async fn refused(&self, token: &str, patience: Duration) {
        let look = async || self.verdict(token).await;
        drop(await_condition("the token to be refused", patience, look, |verdict| *verdict == Ok(401)).await);
    }

    async fn resume(&self) -> String {
        self.patch("oac/checkout", r#"{"spec":{"state":"Active"}}"#);
        self.a_token().await
    }
}

/// One fault at the verifier's watches; `fault` also says for how long it lasts.
async fn at_verifier(case: &str, fault: impl Fn(&Shop) -> Duration, patience: Duration) {
    let mut case = Case::begin("F05 watches that stall or lie", TRIED, case);
    let testbed = Testbed::shared();
    let shop = open(&testbed).await;
    let token = shop.a_token().await;
    let well = shop.suspend(&token, SOON).await;
    let token = shop.resume().await;
    let lasts = fault(&shop);
    let begun = Instant::now();
    shop.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
    tokio::time::sleep(lasts).await;
    shop.verifiers[0].proxy().heal();
    shop.refused(&token, patience).await;
    case.figure("fault lasted", format!("{lasts:?}"));
    case.figure("in force when well", format!("{well:.1?}"));
    case.figure("in force with the fault", format!("{:.1?}", begun.elapsed()));
    shop.resume().await;
    case.held();
}

/// Whether this watch is of what tells a verifier about revocations.
fn is_shards(call: &crate::proxy::Call) -> bool {
    call.path.contains("-replicas/configmaps")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stalled_watches_are_noticed() {
    let stall = |shop: &Shop| {
        shop.verifiers[0].proxy().filter(|_, _| Line::Stall);
        Duration::from_secs(5)
    };
    at_verifier("every watch stalls and keeps its connection", stall, STALLED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_watches_are_tried_again() {
    for status in [410, 429, 500] {
        let refuse = move |shop: &Shop| {
            let proxy = shop.verifiers[0].proxy();
            proxy.go_away();
            proxy.heal();
            proxy.rule(move |_| Act::Answer(status));
            Duration::from_secs(15)
        };
        at_verifier(&format!("connections cut, then every request answered {status}"), refuse, SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_watch_lists_anew() {
    let expire = |shop: &Shop| {
        shop.verifiers[0].proxy().filter(|_, _| {
            let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","code":410,"message":"old"}"#;
            Line::Replace(format!(r#"{{"type":"ERROR","object":{status}}}"#))
        });
        Duration::from_secs(5)
    };
    at_verifier("every event replaced by 410 Expired", expire, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_a_watch_stalls_nobody() {
    let garble = |shop: &Shop| {
        shop.verifiers[0].proxy().filter(|_, _| Line::Replace("{\"type\": garbage".to_owned()));
        Duration::from_secs(5)
    };
    at_verifier("every event replaced by what is no JSON", garble, STALLED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_api_server_only_takes_longer() {
    let delay = |shop: &Shop| {
        let proxy = shop.verifiers[0].proxy();
        proxy.go_away();
        proxy.heal();
        proxy.rule(|_| Act::Delay(Duration::from_secs(2)));
        Duration::from_secs(15)
    };
    at_verifier("connections cut, then every request delayed by 2 s", delay, SOON).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_event_comes_with_the_next_listing() {
    let drop_one = |shop: &Shop| {
        let mut dropped = false;
        shop.verifiers[0].proxy().filter(move |call, line| {
            let now = !dropped && is_shards(call) && line.contains("revocations.json");
            dropped |= now;
            if now { Line::Drop } else { Line::Keep }
        });
        Duration::from_secs(5)
    };
    at_verifier("the one event of the revocation dropped", drop_one, Duration::from_mins(14)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_nobody_answers_wedge_no_controller() {
    let mut case = Case::begin(
        "F06 hung requests",
        "Every request of the only controller but its watches is taken and never answered; each call has a deadline of 10 s.",
        "for 25 s",
    );
    let testbed = Testbed::shared();
    let shop = open(&testbed).await;
    let token = shop.a_token().await;
    let proxy = shop.controllers[0].proxy();
    proxy.rule(|call| if call.is_watch() { Act::Pass } else { Act::Hang });
    shop.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(shop.verdict(&token).await, Ok(200), "nobody could write the revocation");
    let begun = Instant::now();
    proxy.heal();
    shop.refused(&token, SOON).await;
    case.figure("in force after they were answered again", format!("{:.1?}", begun.elapsed()));
    case.held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_verifier_and_issuer_go_on_serving() {
    let mut case = Case::begin(
        "F06 hung requests",
        "Every request of the only controller but its watches is taken and never answered; each call has a deadline of 10 s.",
        "all of issuer and verifier for 60 s",
    );
    let testbed = Testbed::shared();
    let mut shop = open(&testbed).await;
    shop.begin_load();
    for member in shop.issuers.iter().chain(&shop.verifiers) {
        member.proxy().rule(|_| Act::Hang);
        member.proxy().filter(|_, _| Line::Stall);
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let [tokens, checks] = shop.load.seen.counts();
    for member in shop.issuers.iter().chain(&shop.verifiers) {
        member.proxy().heal();
    }
    shop.end_load().await;
    case.figure("tokens meanwhile", tokens);
    case.figure("checks meanwhile", checks);
    case.held();
}
