//! Objects on a real API server: watches nothing stalls, writes that lose when they must, one leader.

use crate::support::await_condition;
use crate::support::testbed::{Part, Testbed};
use countersign::objects::layout::Layout;
use countersign::objects::lease::{Elector, Leadership, LeaseTimings};
use countersign::objects::revocations::Writer;
use countersign::objects::{Change, Error, Key, KubeStore, Objects, Options, Preconditions, Selection};
use countersign::runtime::clock::Clock;
use countersign::runtime::metrics::Metrics;
use countersign::runtime::readiness::Readiness;
use countersign::runtime::supervisor::{Shutdown, Supervisor};
use countersign::snapshot::{Feed, Role, Sources};
use countersign_core::directory::Settings;
use countersign_core::names::{IssuerName, Namespace, Uid};
use countersign_core::revocation::{Entry, Sink};
use countersign_core::timings::Timings;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

async fn store(testbed: &Testbed, options: Options) -> Objects {
    Objects::Kube(KubeStore::connect(Some(&testbed.kubeconfig()), Clock::system(), options).await.unwrap())
}

fn map(namespace: &str, name: &str, value: Option<&str>) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: value.map(|value| [("size".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    }
}

/// A ConfigMap that must have a size: what the API server takes and this program cannot read.
#[derive(Clone, Debug, Serialize, Deserialize, kube::Resource)]
#[resource(inherit = "ConfigMap")]
struct Sized {
    metadata: ObjectMeta,
    data: Size,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Size {
    size: String,
}

/// The names an endless watch has seen well-formed, until this one is.
async fn until_seen(watch: &mut BoxStream<'static, Change<Sized>>, name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut good, mut malformed) = (BTreeSet::new(), BTreeSet::new());
    let seen = async {
        while !good.contains(name) {
            match watch.next().await.expect("a watch has no end") {
                Change::Reset(all, unread) => {
                    good = all.into_iter().filter_map(|object| object.metadata.name).collect();
                    malformed.extend(unread.into_iter().map(|object| object.key.name.to_string()));
                }
                Change::Apply(object) => good.extend(object.metadata.name),
                Change::Delete(gone) => drop(good.remove(&*gone.key.name)),
                Change::Malformed(object) => {
                    assert!(object.error.contains("missing field"), "{object:?}");
                    malformed.insert(object.key.name.to_string());
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(40), seen).await.unwrap_or_else(|_| panic!("{name} was not seen"));
    (good, malformed)
}

#[tokio::test]
async fn a_malformed_object_stalls_no_watch() {
    let testbed = Testbed::shared();
    let namespace = testbed.namespace("objects").await;
    let objects = store(&testbed, Options::default()).await;
    objects.create(&map(&namespace, "listed", Some("1"))).await.unwrap();
    objects.create(&map(&namespace, "listed-bad", None)).await.unwrap();
    let mut watch = objects.watch::<Sized>(Selection::namespace(&namespace));
    let (_, malformed) = until_seen(&mut watch, "listed").await;
    assert!(malformed.contains("listed-bad"), "{malformed:?}");
    objects.create(&map(&namespace, "bad", None)).await.unwrap();
    objects.create(&map(&namespace, "good", Some("1"))).await.unwrap();
    let (_, malformed) = until_seen(&mut watch, "good").await;
    assert!(malformed.contains("bad"), "{malformed:?}");
}

#[tokio::test]
async fn a_write_on_an_old_version_is_a_conflict_and_deletes_keep_to_their_preconditions() {
    let testbed = Testbed::shared();
    let namespace = testbed.namespace("objects").await;
    let objects = store(&testbed, Options::default()).await.managed_by("countersign/test");
    let created = objects.create(&map(&namespace, "a", Some("1"))).await.unwrap();
    let key = Key::of(&created.metadata);
    assert!(matches!(objects.create(&map(&namespace, "a", None)).await, Err(Error::AlreadyExists { .. })));
    let next = ConfigMap { data: map(&namespace, "a", Some("2")).data, ..created.clone() };
    let replaced = objects.replace(&next).await.unwrap();
    assert!(matches!(objects.replace(&next).await, Err(Error::Conflict { .. })));
    let applied: ConfigMap = objects.apply(&key, &json!({"data": {"more": "1"}})).await.unwrap();
    assert_eq!(applied.data.unwrap().len(), 2);
    let old = Preconditions::exactly(&replaced.metadata);
    assert!(matches!(objects.delete::<ConfigMap>(&key, &old).await, Err(Error::Conflict { .. })));
    assert!(objects.delete::<ConfigMap>(&key, &Preconditions::default()).await.unwrap());
    assert!(!objects.delete::<ConfigMap>(&key, &Preconditions::default()).await.unwrap());
    assert!(objects.get::<ConfigMap>(&key).await.unwrap().is_none());
    let contact = objects.contact().age(Clock::system().now());
    assert!(contact.is_some_and(|age| age.as_secs() < 30), "{contact:?}");
}

#[tokio::test]
async fn a_call_nobody_answers_ends_at_its_deadline() {
    // Takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let options = Options { deadline: Duration::from_millis(300), ..Options::default() };
    let store = KubeStore::with_config(kube::Config::new(uri), Clock::system(), options).unwrap();
    let answer = Objects::Kube(store).get::<ConfigMap>(&Key::namespaced("default", "a")).await;
    // Without a deadline it would not end at all.
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn a_watch_goes_on_when_the_api_server_comes_back() {
    let testbed = Testbed::own();
    let namespace = testbed.namespace("objects").await;
    let objects = store(&testbed, Options::default()).await;
    objects.create(&map(&namespace, "before", Some("1"))).await.unwrap();
    let mut watch = objects.watch::<Sized>(Selection::namespace(&namespace));
    until_seen(&mut watch, "before").await;
    testbed.stop(Part::ApiServer);
    testbed.start(Part::ApiServer).await;
    let created = async || objects.create(&map(&namespace, "after", Some("1"))).await.is_ok();
    await_condition("the API server to take a write", Duration::from_secs(30), created, |done| *done).await;
    until_seen(&mut watch, "after").await;
}

struct Contender {
    leadership: Leadership,
    shutdown: Shutdown,
    running: tokio::task::JoinHandle<Result<(), Error>>,
}

impl Contender {
    fn start(objects: &Objects, layout: &Layout, name: &str) -> Self {
        let timings = LeaseTimings {
            duration: Duration::from_secs(3),
            deadline: Duration::from_secs(2),
            retry: Duration::from_millis(200),
        };
        let (elector, leadership) = Elector::new(objects, layout, name.to_owned(), timings, Clock::system());
        let shutdown = Supervisor::new().shutdown();
        let running = tokio::spawn(elector.run(shutdown.clone()));
        Self { leadership, shutdown, running }
    }
}

/// Watches both for a while: never do both lead.
async fn leaders(both: &[Contender; 2], within: Duration, accept: [bool; 2]) {
    let lead = async || {
        let lead = [both[0].leadership.is_leader_now(), both[1].leadership.is_leader_now()];
        assert_ne!(lead, [true, true], "two lead");
        lead
    };
    await_condition("the leader", within, lead, |lead| *lead == accept).await;
}

#[tokio::test]
async fn of_two_electors_exactly_one_leads_and_the_other_takes_over() {
    let testbed = Testbed::shared();
    let namespace = testbed.namespace("objects").await;
    let layout = Layout::new(IssuerName::new("default").unwrap(), &Namespace::new(&namespace).unwrap()).unwrap();
    let objects = store(&testbed, Options::default()).await;
    let first = Contender::start(&objects, &layout, "a");
    let mut leading = first.leadership.clone();
    tokio::time::timeout(Duration::from_secs(10), leading.gained()).await.unwrap();
    let both = [first, Contender::start(&objects, &layout, "b")];
    for _ in 0..40 {
        leaders(&both, Duration::from_secs(1), [true, false]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // In order: at once.
    both[0].shutdown.request();
    leaders(&both, Duration::from_secs(2), [false, true]).await;
    let lease: Lease = objects.get(&layout.leader()).await.unwrap().unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some("b"));
    // Killed: once its Lease ran out.
    both[1].running.abort();
    let third = Contender::start(&objects, &layout, "c");
    let mut taking = third.leadership.clone();
    tokio::time::timeout(Duration::from_secs(8), taking.gained()).await.unwrap();
    assert!(!both[1].leadership.is_leader_now());
    third.shutdown.request();
    third.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_revocation_is_in_force_at_a_verifier_milliseconds_after_it_was_handed_in() {
    let testbed = Testbed::shared();
    testbed.apply_crds();
    let system = testbed.namespace("objects").await;
    let issuer = IssuerName::new("objects").unwrap();
    let layout = Layout::new(issuer.clone(), &Namespace::new(&system).unwrap()).unwrap();
    let objects = store(&testbed, Options::default()).await;
    let replicas = serde_json::from_value(json!({"metadata": {"name": layout.replicas_namespace()}})).unwrap();
    objects.create::<k8s_openapi::api::core::v1::Namespace>(&replicas).await.unwrap();

    let shutdown = Supervisor::new().shutdown();
    let settings = Arc::new(Settings::new(issuer, "https://issuer.example", "cluster.local", Vec::new()));
    let sources = Sources { objects: objects.clone(), layout: layout.clone(), settings, clock: Clock::system() };
    let readiness = Readiness::new();
    let feed = Feed::new(sources, Role::Verifier, readiness.condition("first-listing"), &Metrics::new());
    let live = feed.live();
    tokio::spawn(feed.run(shutdown.clone()));
    await_condition("the first listing", Duration::from_secs(20), async || readiness.is_ready(), |ready| *ready).await;
    let (writer, sink) = Writer::new(&objects, &layout, "issuer-a", Clock::system(), Timings::default());
    tokio::spawn(writer.run(shutdown.clone()));

    let client = Uid::new("u1").unwrap();
    let mut taken = Vec::new();
    for epoch in 1..=50 {
        let mut changes = live.subscribe();
        let begun = Instant::now();
        let entry = Entry::client(client.clone(), None, epoch, Clock::system().now(), &Timings::default());
        sink.revoke(entry).await.unwrap();
        while live.load().revoked.epoch_of(&client) < epoch {
            tokio::time::timeout(Duration::from_secs(10), changes.changed()).await.expect("the revocation arrives");
        }
        taken.push(begun.elapsed());
    }
    shutdown.request();
    taken.sort();
    println!("propagation: p50 {:?}, p98 {:?}, worst {:?}", taken[25], taken[48], taken[49]);
}
