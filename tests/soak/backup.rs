//! F03: etcd goes back to a backup while everything runs.
//!
//! ```text
//! etcd saved ─► two rotations, a client suspended ─► API server and etcd dead ─► what was saved put back ─► both start
//! ```
//! Flows in: replicas that know better than the restored cluster. Flows out: that nothing they know shrank, that the roll-back
//! is told, and that a person's word ends it. A copy's revision is behind: watches that go on from a later one hear nothing. One
//! that was bumped is ahead of all that was seen, and watches that go on from before are told that it is gone.

use crate::proxy::Act;
use crate::report::Case;
use crate::shop::{MINUTES, Member, Plan, SOON, Shop};
use crate::support::await_condition;
use crate::support::processes;
use crate::support::testbed::{Part, Testbed};
use crate::wire::Wire;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TRIED: &str = "etcd is saved; then the key is rotated twice and a client suspended; then API server and etcd are killed, what
    was saved is put back and both are started, while two controllers, two issuers and two verifiers run: a copy of its data with
    its revision as it was, or a snapshot that etcdctl took and `etcdutl snapshot restore --bump-revision --mark-compacted` put
    back, with every replica behind a proxy that must see it list all it watches anew. Tokens of keys the backup does not know must
    stay good, the suspended client's must stay refused, RollbackDetected must be shown until accept-restore, and changes must
    be in force again.";
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

/// What was saved of etcd.
struct Backup {
    path: PathBuf,
    bumped: bool,
}

impl Backup {
    async fn take(testbed: &Testbed, bumped: bool) -> Self {
        let data = testbed.etcd_data();
        let path = data.with_extension("saved");
        if bumped {
            testbed.save(&path);
        } else {
            stopped(testbed, || copy(&data, &path)).await;
        }
        Self { path, bumped }
    }

    async fn put_back(&self, testbed: &Testbed) {
        let restore = || if self.bumped { testbed.restore(&self.path) } else { copy(&self.path, &testbed.etcd_data()) };
        stopped(testbed, restore).await;
    }
}

/// What the replicas listed, and what they began to watch.
#[derive(Default)]
struct Asked([BTreeSet<String>; 2]);

impl Asked {
    /// Of one replica, from now on.
    fn of(member: &Member) -> Arc<Mutex<Self>> {
        let asked = Arc::<Mutex<Self>>::default();
        let seen = Arc::clone(&asked);
        member.proxy().rule(move |call| {
            let Self([listed, watched]) = &mut *seen.lock().unwrap();
            match call {
                call if call.is_watch() => drop(watched.insert(call.path.clone())),
                call if call.is_write() => {}
                call => drop(listed.insert(call.path.clone())),
            }
            Act::Pass
        });
        asked
    }

    fn missing(&self) -> Vec<String> {
        let Self([listed, watched]) = self;
        if watched.is_empty() { vec!["no watch yet".to_owned()] } else { watched.difference(listed).cloned().collect() }
    }
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

    /// Every replica.
    fn all(&self) -> impl Iterator<Item = &Member> {
        self.controllers.iter().chain(&self.issuers).chain(&self.verifiers)
    }

    /// What no backup of before knows: two keys and a suspension. A good token and a revoked one.
    async fn go_on(&self) -> [String; 2] {
        for _ in 0..2 {
            self.rotate(SOON * 2).await;
            tokio::time::sleep(Duration::from_secs(8)).await;
        }
        let issuer = self.issuers[0].replica.issuer;
        let revoked = self.load.token(&mut Wire::default(), issuer).await.expect("a token").text;
        self.until_all(&revoked, 200).await;
        self.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
        self.until_all(&revoked, 401).await;
        self.patch("oac/checkout", r#"{"spec":{"state":"Active"}}"#);
        let token = async || self.load.token(&mut Wire::default(), issuer).await;
        let good = await_condition("a token again", SOON, token, Result::is_ok).await.expect("accepted as one").text;
        self.until_all(&good, 200).await;
        [good, revoked]
    }

    /// Looks at both tokens until the roll-back is told; how often.
    async fn told(&self, [good, revoked]: &[String; 2]) -> usize {
        let (begun, mut looks) = (Instant::now(), 0);
        let told = async || {
            for verdict in self.verdicts(good).await {
                assert_eq!(verdict, Ok(200), "a token of a key the backup does not know, {:?} after", begun.elapsed());
            }
            for verdict in self.verdicts(revoked).await {
                assert_eq!(verdict, Ok(401), "a revoked token, {:?} after", begun.elapsed());
            }
            looks += 2 * self.verifiers.len();
            self.rollback()
        };
        await_condition("RollbackDetected", LONG, told, |status| status == "True").await;
        looks
    }

    async fn accept_restore(&self, testbed: &Testbed) {
        let args = [
            "accept-restore".to_owned(),
            format!("--kubeconfig={}", testbed.kubeconfig().display()),
            format!("--issuer-name={}", self.installation.issuer_name),
            format!("--system-namespace={}", self.system()),
        ];
        let accepted = processes::run(&args);
        assert!(accepted.status.success(), "{accepted:?}");
        println!("{}", String::from_utf8_lossy(&accepted.stdout));
        let told = async || self.rollback();
        await_condition("the roll-back to be accepted", LONG, told, |status| status != "True").await;
    }

    /// Changes are in force again.
    async fn heeds(&self, [good, revoked]: &[String; 2], case: &mut Case) {
        let (before, asked) = (self.signing_keys().await, Instant::now());
        self.ask_for_rotation().await;
        self.rotated_from(&before, LONG).await;
        case.figure("key rotated in", format!("{:.1?}", asked.elapsed()));
        let fresh = self.load.token(&mut Wire::default(), self.issuers[0].replica.issuer).await.expect("a token").text;
        self.until_all(&fresh, 200).await;
        self.until_all(good, 200).await;
        self.until_all(revoked, 401).await;
        let asked = Instant::now();
        self.patch("oac/checkout", r#"{"spec":{"state":"Suspended"}}"#);
        self.until_all(&fresh, 401).await;
        case.figure("suspension in force in", format!("{:.1?}", asked.elapsed()));
    }
}

async fn restored(bumped: bool, name: &str) {
    let mut case = Case::begin("F03 etcd restored from a backup", TRIED, name);
    let testbed = Testbed::own();
    let plan = Plan { flags: MINUTES.to_vec(), pre_publish: "5s", proxied: bumped, ..Plan::default() };
    let shop = Shop::open(&testbed, plan).await;
    let backup = Backup::take(&testbed, bumped).await;
    let tokens = shop.go_on().await;
    let asked: Vec<_> = if bumped { shop.all().map(Asked::of).collect() } else { Vec::new() };
    backup.put_back(&testbed).await;
    let begun = Instant::now();
    let looks = shop.told(&tokens).await;
    case.figure("told after", format!("{:.1?}", begun.elapsed()));
    let missing = async || asked.iter().map(|asked| asked.lock().unwrap().missing()).collect::<Vec<_>>();
    await_condition("everything watched to be listed anew", LONG, missing, |all| all.iter().all(Vec::is_empty)).await;
    if bumped {
        let watches = asked.iter().map(|asked| asked.lock().unwrap().0[1].len());
        case.figure("watches, all listed anew", watches.sum::<usize>());
    }
    shop.accept_restore(&testbed).await;
    shop.heeds(&tokens, &mut case).await;
    let version = shop.field("oac/checkout", ".metadata.resourceVersion");
    assert_eq!(version.parse::<u64>().is_ok_and(|version| version > 1_000_000_000), bumped, "revision {version}");
    case.figure("verdicts looked at", looks);
    case.figure("wrong", 0);
    case.held();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_backup_takes_nothing_back() {
    restored(false, "no bump of the revision").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_backup_with_a_bumped_revision_takes_nothing_back() {
    restored(true, "the revision bumped and compacted").await;
}
