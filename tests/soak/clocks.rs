//! F07: a role's clock is five minutes off, or comes to be while it serves.
//!
//! Flows in: one replica more, whose clock a flag of test builds shifts, corrected by the API server's `Date` or left alone; or
//! a file sets. Flows out: whether it is ready, and whether its tokens or verdicts are right, at once or how soon again.

use crate::report::Case;
use crate::shop::{MINUTES, Member, Plan, Shop};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::installation::Role;
use crate::support::scratch::Scratch;
use crate::support::testbed::Testbed;
use crate::wire::Wire;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const TRIED: &str = "One more issuer and one more verifier whose clocks are five minutes off, beside good ones. A release always
    corrects its clock by the API server's Date; left alone is only what a test can have. A verifier must judge rightly; an issuer
    whose machine is off must not be ready. Then both serve and the machine's clock is set five minutes on or back, and later
    set right: the correction is of before until the API server answers again, which a replica that sees its clock jump asks
    for at once. Meanwhile verdicts may be wrong; then a good token must be taken and one that ended four minutes ago refused,
    the issuer's tokens be good, and the issuer not be ready until its machine is right. The verifier stays ready.";
/// Would be enough for the default heartbeat too, which brings an answer every 30 s.
const CORRECTED: Duration = Duration::from_secs(90);
/// A clock set on by five minutes takes such a token for ended.
const SHORT: &str = "--default-access-token-lifetime=2m";
/// One set back by five takes for good what ended four minutes ago.
const OF_BEFORE: &str = "--test-clock-offset=-6m";

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

/// A verifier and an issuer on a machine whose clock is set while they serve.
struct Machine<'a> {
    shop: &'a Shop,
    clock: PathBuf,
    verifier: Member,
    issuer: Member,
    /// Gives tokens that have ended.
    of_before: Member,
}

impl<'a> Machine<'a> {
    async fn start(shop: &'a Shop, testbed: &Testbed, clock: PathBuf) -> Self {
        fs::write(&clock, "0s").expect("set the clock");
        let set = format!("--test-clock-file={}", clock.display());
        let flags = [set.as_str(), "--test-clock-corrected"];
        let verifier = shop.spawn(testbed, Role::Verifier, &flags).await;
        let issuer = shop.spawn(testbed, Role::Issuer, &flags).await;
        let of_before = shop.spawn(testbed, Role::Issuer, &[OF_BEFORE]).await;
        let mut machine = Self { shop, clock, verifier, issuer, of_before };
        for member in [&mut machine.verifier, &mut machine.issuer, &mut machine.of_before] {
            member.replica.process.ready(member.replica.admin).await;
        }
        machine.right(true).await;
        machine
    }

    /// Sets its clock at once: nobody reads half a file.
    fn set(&self, offset: &str) {
        let new = self.clock.with_extension("new");
        fs::write(&new, offset).expect("write the clock");
        fs::rename(new, &self.clock).expect("set the clock");
    }

    async fn verdict(&self, issuer: &Member, verifier: &Member) -> Result<u16, String> {
        let token = self.shop.load.token(&mut Wire::default(), issuer.replica.issuer).await?;
        self.shop.load.verdict(&mut Wire::default(), verifier.replica.http, &token.text).await
    }

    /// Waits until all is as it should be with a machine that is right, or is not; how long each part took.
    async fn right(&self, machine: bool) -> [Duration; 3] {
        let begun = Instant::now();
        let good = &self.shop.issuers[0];
        let verdicts =
            async || [self.verdict(good, &self.verifier).await, self.verdict(&self.of_before, &self.verifier).await];
        let readiness = async || ready(&self.issuer.replica).await;
        let tokens = async || self.verdict(&self.issuer, &self.shop.verifiers[0]).await;
        let judges = async {
            drop(await_condition("right verdicts", CORRECTED, verdicts, |seen| *seen == [Ok(200), Ok(401)]).await);
            begun.elapsed()
        };
        let serves = async {
            await_condition("the issuer's readiness", CORRECTED, readiness, |ready| *ready == machine).await;
            begun.elapsed()
        };
        let signs = async {
            drop(await_condition("good tokens", CORRECTED, tokens, |verdict| *verdict == Ok(200)).await);
            begun.elapsed()
        };
        let (judges, serves, signs) = tokio::join!(Box::pin(judges), Box::pin(serves), Box::pin(signs));
        assert!(ready(&self.verifier.replica).await, "a verifier whose clock is corrected");
        [judges, serves, signs]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_set_while_they_serve_are_corrected_by_the_next_answer() {
    let testbed = Testbed::shared();
    let flags: Vec<_> = MINUTES.into_iter().filter(|flag| !flag.contains("heartbeat")).chain([SHORT]).collect();
    let shop = Shop::open(&testbed, Plan { replicas: [1, 1, 1], flags, pre_publish: "5s", ..Plan::default() }).await;
    let folder = Scratch::new("clock");
    let machine = Machine::start(&shop, &testbed, folder.join("offset")).await;
    for offset in ["5m", "-5m"] {
        let mut case = Case::begin("F07 clock steps", TRIED, &format!("set {offset} while it serves, corrected"));
        machine.set(offset);
        let off = machine.right(false).await;
        machine.set("0s");
        let back = machine.right(true).await;
        let [[judges, unready, signs], [judges_again, ready, signs_again]] = [off, back];
        for (name, took) in [
            ("verdicts right after the step", judges),
            ("issuer not ready after", unready),
            ("its tokens right after", signs),
            ("verdicts right after it is undone", judges_again),
            ("issuer ready again after", ready),
            ("its tokens right again after", signs_again),
        ] {
            case.figure(name, format!("{took:.1?}"));
        }
        case.held();
    }
}
