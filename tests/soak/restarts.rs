//! F15: rolling restarts of issuers and verifiers under load.
//!
//! ```text
//! a new replica is ready ──► gets requests ──► an old one is told to go ──► gets none once its readiness is off ──► ends
//! ```
//! Flows in: load that follows readiness as a Service does. Flows out: failed requests, of which there must be none.

use crate::report::Case;
use crate::shop::{Plan, SOON, Shop};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::installation::Role;
use crate::support::testbed::Testbed;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

const TRIED: &str =
    "Two issuers and two verifiers under load; each restart starts a new replica, sends requests to it once it is
    ready, tells an old one to go (SIGTERM) and sends it no more once its readiness is off. Connections are kept.";
const ROUNDS: usize = 10;

impl Shop {
    fn addresses(&self, role: Role) -> &Mutex<Vec<SocketAddr>> {
        if role == Role::Issuer { &self.load.issuers } else { &self.load.verifiers }
    }

    async fn restart(&mut self, testbed: &Testbed, role: Role, place: usize) {
        let mut new = self.spawn(testbed, role, &[]).await;
        new.replica.process.ready(new.replica.admin).await;
        let (new_address, admin) = (
            if role == Role::Issuer { new.replica.issuer } else { new.replica.http },
            |member: &crate::shop::Member| member.replica.admin,
        );
        let members = if role == Role::Issuer { &mut self.issuers } else { &mut self.verifiers };
        let mut old = std::mem::replace(&mut members[place], new);
        old.replica.process.signal("TERM");
        let at = admin(&old);
        let readiness = async || Request::get("/readyz").send(at).await.map_or(0, |answer| answer.status);
        await_condition("readiness to go off", SOON, readiness, |status| *status != 200).await;
        self.addresses(role).lock().unwrap()[place] = new_address;
        let ended = old.replica.process.wait().await;
        assert!(ended.success(), "{role:?}: {ended}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_restarts_fail_no_request() {
    let mut case = Case::begin("F15 rolling restarts", TRIED, "ten of issuers, ten of verifiers");
    let testbed = Testbed::shared();
    let mut shop = Shop::open(&testbed, Plan { rest: Duration::from_millis(5), ..Plan::default() }).await;
    shop.begin_load();
    let begun = Instant::now();
    for round in 0..ROUNDS {
        for role in [Role::Issuer, Role::Verifier] {
            shop.restart(&testbed, role, round % 2).await;
            shop.load.seen.nothing_failed();
        }
        println!("{} restarts: {:?}", 2 * round + 2, shop.load.seen.counts());
    }
    let lasted = begun.elapsed();
    shop.end_load().await;
    let [tokens, checks] = shop.load.seen.counts();
    case.figure("restarts", 2 * ROUNDS);
    case.figure("tokens", tokens);
    case.figure("checks", checks);
    case.figure("requests a second", (tokens + checks) / lasted.as_secs().max(1));
    case.figure("failed", 0);
    case.held();
}
