//! F03: etcd goes back to a backup while everything runs.
//!
//! ```text
//! copy of etcd ─► two rotations, a client suspended ─► API server and etcd dead ─► the copy put back ─► both start
//! ```
//! Flows in: replicas that know better than the restored cluster. Flows out: that nothing they know shrank, that the roll-back
//! is told, and that a person's word ends it. The copy's revision is behind: watches that go on from a later one hear nothing.

use crate::report::Case;
use crate::shop::{MINUTES, Plan, SOON, Shop};
use crate::support::await_condition;
use crate::support::processes;
use crate::support::testbed::{Part, Testbed};
use crate::wire::Wire;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const TRIED: &str = "etcd's data is copied; then the key is rotated twice and a client suspended; then API server and etcd are killed,
    the copy put back and both started, without a bump of the revision, while two controllers, two issuers and two verifiers run.
    Tokens of keys the backup does not know must stay good, the suspended client's must stay refused, RollbackDetected must be
    shown until accept-restore, and changes must be in force again.";
const LONG: Duration = Duration::from_mins(4);

fn copy(from: &Path, to: &Path) {
    drop(std::fs::remove_dir_all(to));
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.is_ok_and(|status| status.success()), "copy {}", from.display());
}

async fn stopped(testbed: &Testbed, meanwhile: impl FnOnce()) {
    testbed.stop(Part::ApiServer);
    testbed.stop(Part::Etcd);
    meanwhile();
    testbed.start(Part::Etcd).await;
    testbed.start(Part::ApiServer).await;
}

impl Shop {
    /// The condition `RollbackDetected` of the ring.
    fn rollback(&self) -> String {
        let path = r#"jsonpath={.status.conditions[?(@.type=="RollbackDetected")].status}"#;
        let output = self.installation.kubectl.run(&["get", "sgk", "default", "-n", &self.system(), "-o", path]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    async fn verdicts(&self, token: &str) -> Vec<Result<u16, String>> {
        let mut verdicts = Vec::new();
        for verifier in &self.verifiers {
            verdicts.push(self.load.verdict(&mut Wire::default(), verifier.replica.http, token).await);
        }
        verdicts
    }

    async fn until_all(&self, token: &str, expected: u16) {
        let what = format!("{expected} everywhere");
        let look = async || self.verdicts(token).await;
        await_condition(&what, LONG, look, |all| all.iter().all(|one| *one == Ok(expected))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_backup_takes_nothing_back() {
    let mut case = Case::begin("F03 etcd restored from a backup", TRIED, "no bump of the revision");
    let testbed = Testbed::own();
    let shop = Shop::open(&testbed, Plan { flags: MINUTES.to_vec(), pre_publish: "5s", ..Plan::default() }).await;
    let (data, saved) = (testbed.etcd_data(), testbed.etcd_data().with_extension("saved"));
    stopped(&testbed, || copy(&data, &saved)).await;
    for _ in 0..2 {
        shop.rotate(SOON * 2).await;
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    let issuer = shop.issuers[0].replica.issuer;
    let revoked = shop.load.token(&mut Wire::default(), issuer).await.expect("a token").text;
    shop.until_all(&revoked, 200).await;
    shop.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
    shop.until_all(&revoked, 401).await;
    shop.patch("oac/checkout", r#"{"spec":{"state":"Active"}}"#);
    let token = async || shop.load.token(&mut Wire::default(), issuer).await;
    let good = await_condition("a token again", SOON, token, Result::is_ok).await.expect("accepted as one");
    shop.until_all(&good.text, 200).await;

    stopped(&testbed, || copy(&saved, &data)).await;
    let begun = Instant::now();
    let mut looks = 0;
    let told = async || {
        for verdict in shop.verdicts(&good.text).await {
            assert_eq!(verdict, Ok(200), "a token of a key the backup does not know, {:?} after", begun.elapsed());
        }
        for verdict in shop.verdicts(&revoked).await {
            assert_eq!(verdict, Ok(401), "a revoked token, {:?} after", begun.elapsed());
        }
        looks += 2 * shop.verifiers.len();
        shop.rollback()
    };
    await_condition("RollbackDetected", LONG, told, |status| status == "True").await;
    case.figure("told after", format!("{:.1?}", begun.elapsed()));
    let args = [
        "accept-restore".to_owned(),
        format!("--kubeconfig={}", testbed.kubeconfig().display()),
        format!("--issuer-name={}", shop.installation.issuer_name),
        format!("--system-namespace={}", shop.system()),
    ];
    let accepted = processes::run(&args);
    assert!(accepted.status.success(), "{accepted:?}");
    println!("{}", String::from_utf8_lossy(&accepted.stdout));
    await_condition("the roll-back to be accepted", LONG, async || shop.rollback(), |status| status != "True").await;

    let back = Instant::now();
    let (before, asked) = (shop.signing_keys().await, Instant::now());
    shop.ask_for_rotation().await;
    shop.rotated_from(&before, LONG).await;
    case.figure("key rotated in", format!("{:.1?}", asked.elapsed()));
    let fresh = shop.load.token(&mut Wire::default(), issuer).await.expect("a token").text;
    shop.until_all(&fresh, 200).await;
    shop.until_all(&good.text, 200).await;
    shop.until_all(&revoked, 401).await;
    let asked = Instant::now();
    shop.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
    shop.until_all(&fresh, 401).await;
    case.figure("suspension in force in", format!("{:.1?}", asked.elapsed()));
    case.figure("verdicts looked at", looks);
    case.figure("wrong", 0);
    println!("{:?} after the acceptance", back.elapsed());
    case.held();
}
