//! F04: the controller is killed before and after every single write of a story, and another one takes over.
//!
//! ```text
//! for n = 1, 2, … until the story ends unharmed, for before and after:
//!   tenant at rest ─► act ─► SIGKILL at write n ─► a new controller ─► the same state as without a kill
//! ```
//! Flows in: scenarios. Flows out: how many writes each has, and that no death at any of them left another state.

mod scenario;
pub mod state;

use self::scenario::{Scenario, tenant};
use self::state::{State, difference};
use crate::proxy::{Act, Proxy};
use crate::report::Case;
use crate::support::await_condition;
use crate::support::installation::{Installation, QUICK, Replica, Role};
use crate::support::orders::fill;
use crate::support::standalone::now;
use crate::support::testbed::Testbed;
use countersign_api::OAuthClient;
use kube::{Client, ResourceExt};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FAULT: &str = "F04 crash points";
const TRIED: &str = "The controller is SIGKILLed before each write of a story reaches the API server and, again, after it was
    carried out and before the answer; each point once, enumerated until the story ends unharmed. A new controller takes over.
    Compared with a run without a kill: conditions, grants, epochs, Secrets and what the issuer says to their values and to the
    former value, states of all keys, private halves, revocations. Leases are not counted as writes. While
    the client is deleted a second controller watches: a deletion nobody saw is left to its tokens' own end.";
const LIVES: [&str; 3] =
    ["--max-access-token-lifetime=4s", "--default-access-token-lifetime=4s", "--shutdown-delay=0s"];
const LEASE: [&str; 3] = ["--lease-duration=1s", "--lease-deadline=800ms", "--lease-retry=200ms"];
/// How long until what was begun is done, a successor's start on a busy machine included.
const SOON: Duration = Duration::from_secs(45);
/// So long without a write, and a story is over.
const QUIET: Duration = Duration::from_secs(2);
/// More writes than any story has.
const ENDLESS: u32 = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    After,
}

/// What is killed at which write, and what was written so far.
#[derive(Default)]
struct Trap {
    at: Option<(u32, When)>,
    victim: u32,
    armed: bool,
    writes: Vec<String>,
    latest: Option<Instant>,
    fired: bool,
}

/// One run's installation.
struct Bed {
    installation: Installation,
    namespace: String,
    client: Client,
    proxy: Proxy,
    issuer: Replica,
    /// The credentials before the story.
    former: Option<(String, String)>,
    /// Names by UID, also of clients that are gone.
    client_names: BTreeMap<String, String>,
    trap: Arc<Mutex<Trap>>,
}

// === impl Trap ===

impl Trap {
    fn judge(&mut self, call: &crate::proxy::Call) -> Act {
        if !self.armed || !call.is_step() {
            return Act::Pass;
        }
        self.writes.push(format!("{} {}", call.method, call.path));
        self.latest = Some(Instant::now());
        match self.at {
            Some((write, when)) if u32::try_from(self.writes.len()) == Ok(write) => {
                self.fired = true;
                if when == When::Before { Act::KillBefore(self.victim) } else { Act::KillAfter(self.victim) }
            }
            _ => Act::Pass,
        }
    }
}

// === impl Bed ===

impl Bed {
    async fn new(testbed: &Testbed, scenario: &Scenario) -> Self {
        let flags = [&QUICK[..], &LIVES, scenario.flags].concat();
        let installation = Installation::new(testbed, &flags);
        let namespace = testbed.namespace("crash").await;
        let trap: Arc<Mutex<Trap>> = Arc::default();
        let proxy = Proxy::start(testbed).await;
        let judge = Arc::clone(&trap);
        proxy.rule(move |call| judge.lock().unwrap().judge(call));
        let issuer = installation.spawn(Role::Issuer);
        let client = testbed.client().await;
        let (former, client_names) = (None, BTreeMap::new());
        Self { installation, namespace, client, proxy, issuer, former, client_names, trap }
    }

    fn fill(&self, text: &str, key_id: &str) -> String {
        let moment = now().to_string();
        let second = moment.split('.').next().unwrap_or_default();
        fill(text, &self.installation, &self.namespace).replace("$NOW", &format!("{second}Z")).replace("$KID", key_id)
    }

    /// Brings the tenant to rest; the controller that will die, and the one that watches it.
    async fn begin(&mut self, scenario: &Scenario, at: Option<(u32, When)>) -> (Replica, Option<Replica>) {
        self.installation.kubectl.apply(&self.fill(&tenant(), ""));
        let mut controller = self.installation.spawn_at(Role::Controller, Some(self.proxy.address), &LEASE);
        let trap = Arc::clone(&self.trap);
        let arm = move |victim| {
            *trap.lock().unwrap() = Trap { at, victim, armed: true, latest: Some(Instant::now()), ..Trap::default() };
        };
        if scenario.fresh {
            arm(controller.process.id());
            self.know_clients().await;
            return (controller, None);
        }
        controller.process.ready(controller.admin).await;
        let mut standby = scenario.standby.then(|| self.installation.spawn_with(Role::Controller, &LEASE));
        if let Some(standby) = &mut standby {
            standby.process.ready(standby.admin).await;
        }
        self.issuer.process.ready(self.issuer.admin).await;
        let wait = ["wait", "oac/checkout", "-n", &self.namespace, "--for=condition=Ready", "--timeout=30s"];
        self.installation.kubectl.must(&wait);
        let value = |key| self.installation.secret_value(&self.namespace, "checkout-oauth", key);
        self.former = Some((value("client_id"), value("client_secret")));
        self.know_clients().await;
        // Until the ring has its standby and everybody said so; times of secret values count seconds.
        let ready = async || {
            self.state().await.get("map keyring-default").map_or(0, |map| map["states"].as_array().map_or(0, Vec::len))
        };
        await_condition("a standby", SOON, ready, |keys| *keys == 2).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
        arm(controller.process.id());
        let key_id = self.active_key().await;
        let act: Vec<_> = scenario.act.iter().map(|arg| self.fill(arg, &key_id)).collect();
        self.installation.kubectl.must(&act.iter().map(String::as_str).collect::<Vec<_>>());
        (controller, standby)
    }

    async fn know_clients(&mut self) {
        let clients: Vec<OAuthClient> = self.list(&self.namespace).await;
        self.client_names.extend(clients.iter().map(|client| (client.uid().unwrap_or_default(), client.name_any())));
    }

    async fn active_key(&self) -> String {
        let rings: Vec<countersign_api::SigningKey> = self.list(&self.installation.system_namespace()).await;
        rings.into_iter().find_map(|ring| ring.status?.active_key_id).unwrap_or_default()
    }

    /// Whether nothing was written for a while since the first write: each story has one, however slow the machine.
    fn is_quiet(&self) -> bool {
        self.trap.lock().unwrap().latest.is_some_and(|latest| latest.elapsed() >= QUIET)
    }

    fn fired(&self) -> bool {
        self.trap.lock().unwrap().fired
    }

    /// The state once nothing was written for a while, or as soon as the controller was killed.
    async fn rest(&self) -> State {
        await_condition("rest", SOON, async || self.fired() || self.is_quiet(), |rests| *rests).await;
        self.state().await
    }
}

/// What one run came to.
struct Run {
    state: State,
    fired: bool,
    writes: Vec<String>,
    recovery: Duration,
}

async fn run(testbed: &Testbed, scenario: &Scenario, at: Option<(u32, When)>, expected: Option<&State>) -> Run {
    let mut bed = Bed::new(testbed, scenario).await;
    let (mut controller, _standby) = bed.begin(scenario, at).await;
    let mut state = match expected {
        // Without a state to wait for: a long rest, and keys that end with time have ended.
        None => {
            tokio::time::sleep(Duration::from_secs(if scenario.flags.contains(&"--offline-grace=3s") {
                14
            } else {
                5
            }))
            .await;
            bed.rest().await
        }
        Some(expected) => {
            let look = async || bed.fired() || (bed.is_quiet() && difference(expected, &bed.state().await).is_empty());
            await_condition("the story to end, or its controller", SOON, look, |ended| *ended).await;
            bed.state().await
        }
    };
    let (fired, begun) = (bed.fired(), Instant::now());
    let mut recovery = Duration::ZERO;
    if fired {
        controller.process.wait().await;
        let _successor = (!scenario.standby).then(|| bed.installation.spawn_with(Role::Controller, &LEASE));
        let expected = expected.expect("a run that kills has something to compare with");
        let seen = async || difference(expected, &bed.state().await);
        let what = format!("{}: the same state after {at:?}", scenario.name);
        await_condition(&what, SOON, seen, Vec::is_empty).await;
        recovery = begun.elapsed();
        tokio::time::sleep(QUIET).await;
        state = bed.state().await;
    }
    let writes = bed.trap.lock().unwrap().writes.clone();
    Run { state, fired, writes, recovery }
}

async fn enumerate(scenario: Scenario) {
    let testbed = Testbed::shared();
    let mut case = Case::begin(FAULT, TRIED, scenario.name);
    let reference = run(&testbed, &scenario, None, None).await;
    println!("{}: {:#?} {:#?}", scenario.name, reference.writes, reference.state);
    let (mut points, mut slowest) = (0, Duration::ZERO);
    let mut most = reference.writes.len();
    for write in 1..ENDLESS {
        let mut unharmed = true;
        for when in [When::Before, When::After] {
            let run = run(&testbed, &scenario, Some((write, when)), Some(&reference.state)).await;
            let differs = difference(&reference.state, &run.state);
            assert!(differs.is_empty(), "{}: {when:?} write {write}, {:?}: {differs:#?}", scenario.name, run.writes);
            unharmed &= !run.fired;
            points += usize::from(run.fired);
            slowest = slowest.max(run.recovery);
            most = most.max(run.writes.len());
            println!("{} {when:?} {write}: fired {}, {:?}", scenario.name, run.fired, run.writes.last());
        }
        if unharmed {
            case.figure("writes", most);
            case.figure("crash points", points);
            case.figure("other end states", 0);
            case.figure("slowest recovery", format!("{slowest:.1?}"));
            return case.held();
        }
    }
    panic!("{}: more than {ENDLESS} writes", scenario.name);
}

macro_rules! stories {
    ($($test:ident: $scenario:ident,)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            enumerate(scenario::$scenario).await;
        }
    )*};
}

stories! {
    installation_and_client_come_to_the_same_wherever_the_controller_dies: INSTALLED,
    secret_rotation_comes_to_the_same_wherever_the_controller_dies: ROTATED,
    suspension_comes_to_the_same_wherever_the_controller_dies: SUSPENDED,
    withdrawn_grant_comes_to_the_same_wherever_the_controller_dies: WITHDRAWN,
    compromise_of_a_secret_comes_to_the_same_wherever_the_controller_dies: COMPROMISED,
    renamed_secret_comes_to_the_same_wherever_the_controller_dies: RENAMED,
    lost_secret_comes_to_the_same_wherever_the_controller_dies: LOST,
    deletion_comes_to_the_same_wherever_the_controller_dies: DELETED,
    key_rotation_comes_to_the_same_wherever_the_controller_dies: KEY_ROTATED,
    compromise_of_a_key_comes_to_the_same_wherever_the_controller_dies: KEY_REVOKED,
}
