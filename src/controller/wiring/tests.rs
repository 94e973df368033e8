//! The kind over a store in memory, driven step by step: a fixed clock, no tasks, no sleeps.

use std::sync::Arc;

use countersign_api::scopepolicy::ScopePolicyStatus;
use countersign_api::wiring::{Gateway, GatewayClass, HttpRoute, ReferenceGrant, SecurityPolicy, Verifier};
use countersign_core::directory::{Change as Moved, PolicyObject, Settings as DirectorySettings};
use countersign_core::names::{IssuerName, Namespace};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::seen::Around;
use super::*;
use crate::controller::Gate;
use crate::controller::conditions::find;
use crate::objects::layout::{COUNTERSIGN, MANAGED_BY, OWNER};
use crate::objects::{Change, FolderStore, Object, Objects, Preconditions, Selection};

const OURS: &str = "orders.httproute.orders";

struct Watches {
    policies: BoxStream<'static, Change<ScopePolicy>>,
    mirrored: BoxStream<'static, Change<ScopePolicy>>,
    routes: BoxStream<'static, Change<HttpRoute>>,
    gateways: BoxStream<'static, Change<Gateway>>,
    classes: BoxStream<'static, Change<GatewayClass>>,
    security: BoxStream<'static, Change<SecurityPolicy>>,
    grants: BoxStream<'static, Change<ReferenceGrant>>,
}

struct Bench {
    objects: Objects,
    clock: Clock,
    kind: Wirings,
    live: Live<Snapshot>,
    watches: Watches,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn object<K: Object>(value: &Value) -> K {
    serde_json::from_value(value.clone()).unwrap()
}

fn policy() -> ScopePolicy {
    object(&json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "ScopePolicy",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "audience": "https://orders.shop.svc",
            "targetRefs": [
                {"group": "", "kind": "Service", "name": "orders"},
                {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "orders"}
            ]
        }
    }))
}

/// The policy where a closure's argument has its name.
fn policy_again() -> ScopePolicy {
    policy()
}

fn orders() -> ObjectRef {
    ObjectRef::new("shop", "orders").unwrap()
}

fn security() -> Key {
    Key::namespaced("shop", OURS)
}

fn grant() -> Key {
    Key::namespaced("countersign-system", "shop.orders")
}

fn start(objects: &Objects, clock: &Clock) -> (Wirings, Live<Snapshot>, Watches) {
    let layout =
        Layout::new(IssuerName::new("default").unwrap(), &Namespace::new("countersign-system").unwrap()).unwrap();
    let settings =
        DirectorySettings::new(layout.issuer_name().clone(), "https://issuer.example", "cluster.local", Vec::new());
    let live = Live::new(Snapshot::empty(Arc::new(settings)));
    let verifier = Verifier {
        namespace: "countersign-system".to_owned(),
        service: "countersign-verifier".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
    };
    let kind = Wirings::new(Parts {
        writer: Writer::new(objects, Gate::always(), "wiring"),
        layout,
        clock: clock.clone(),
        snapshot: live.clone(),
        settings: Settings {
            wiring: Wiring { verifier, envoy_gateway: true, istio: false },
            mesh: Key::namespaced("istio-system", "istio"),
        },
        wired: Wired::default(),
        tell: Queue::default(),
    });
    let all = Selection::all;
    let watches = Watches {
        policies: objects.watch(all()),
        mirrored: objects.watch(all()),
        routes: objects.watch(all()),
        gateways: objects.watch(all()),
        classes: objects.watch(all()),
        security: objects.watch(all()),
        grants: objects.watch(Selection::namespace("countersign-system")),
    };
    (kind, live, watches)
}

fn next<K>(watch: &mut BoxStream<'static, Change<K>>) -> Option<Change<K>> {
    watch.next().now_or_never().flatten()
}

impl Bench {
    /// A route of Envoy Gateway's, and the policy on it.
    async fn new() -> Self {
        let clock = Clock::fixed(at(1_000_000));
        let objects = Objects::Folder(FolderStore::in_memory(clock.clone()).unwrap());
        let api = "gateway.networking.k8s.io/v1";
        let class = json!({"apiVersion": api, "kind": "GatewayClass", "metadata": {"name": "eg"},
            "spec": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"}});
        let gateway = json!({"apiVersion": api, "kind": "Gateway", "metadata": {"name": "edge", "namespace": "shop"},
            "spec": {"gatewayClassName": "eg", "listeners": [{"name": "http"}]}});
        let route = json!({"apiVersion": api, "kind": "HTTPRoute", "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {"hostnames": ["orders.shop.svc"], "parentRefs": [{"name": "edge"}]}});
        objects.create(&object::<GatewayClass>(&class)).await.unwrap();
        objects.create(&object::<Gateway>(&gateway)).await.unwrap();
        objects.create(&object::<HttpRoute>(&route)).await.unwrap();
        objects.create(&policy()).await.unwrap();
        let (kind, live, watches) = start(&objects, &clock);
        let mut bench = Self { objects, clock, kind, live, watches };
        bench.settle().await;
        bench
    }

    async fn restart(&mut self) {
        (self.kind, self.live, self.watches) = start(&self.objects, &self.clock);
        self.settle().await;
    }

    /// Takes in what changed and looks at the policy, until two looks see the same.
    async fn settle(&mut self) {
        let mut before = None;
        for _ in 0..10 {
            self.take_in();
            self.kind.reconcile(&orders()).await.unwrap();
            let now = Some(self.versions().await);
            if before == now {
                return;
            }
            before = now;
        }
        panic!("does not come to rest");
    }

    fn take_in(&mut self) {
        let Self { kind, live, watches, .. } = self;
        while let Some(change) = next(&mut watches.policies) {
            kind.seen().see_policy(change);
        }
        while let Some(change) = next(&mut watches.routes) {
            kind.seen().see_around(Around::Route(change));
        }
        while let Some(change) = next(&mut watches.gateways) {
            kind.seen().see_around(Around::Gateway(change));
        }
        while let Some(change) = next(&mut watches.classes) {
            kind.seen().see_around(Around::Class(change));
        }
        while let Some(change) = next(&mut watches.security) {
            kind.seen().see_managed(change);
        }
        while let Some(change) = next(&mut watches.grants) {
            kind.seen().see_managed(change);
        }
        while let Some(change) = next(&mut watches.mirrored) {
            let of = |policy: &ScopePolicy| {
                let object = PolicyObject::try_from(policy).unwrap();
                Moved::Policy(object.object.clone(), Some(Arc::new(object)))
            };
            let moved: Vec<_> = match &change {
                Change::Reset(all, _) => all.iter().map(of).collect(),
                Change::Apply(policy) => vec![of(policy)],
                Change::Delete(_) | Change::Malformed(_) => vec![Moved::Policy(orders(), None)],
            };
            let now = live.load_full();
            live.publish(Snapshot { directory: Arc::new(now.directory.apply(moved)), ..(*now).clone() });
        }
    }

    async fn versions(&self) -> [Option<String>; 2] {
        let security: Option<SecurityPolicy> = self.objects.get(&security()).await.unwrap();
        let grant: Option<ReferenceGrant> = self.objects.get(&grant()).await.unwrap();
        [security.and_then(|found| found.resource_version()), grant.and_then(|found| found.resource_version())]
    }

    async fn security(&self) -> SecurityPolicy {
        self.objects.get(&security()).await.unwrap().unwrap()
    }

    async fn edit<K: Object>(&mut self, key: &Key, change: impl FnOnce(&mut K)) {
        let mut found: K = self.objects.get(key).await.unwrap().unwrap();
        change(&mut found);
        self.objects.managed_by("kubectl-edit").replace(&found).await.unwrap();
        self.settle().await;
    }

    fn status(&self, old: &ScopePolicyStatus) -> ScopePolicyStatus {
        let snapshot = self.live.load();
        let view = snapshot.directory.policy(&orders()).unwrap();
        let mut status = ScopePolicyStatus::default();
        self.kind.wired.report(&view.object, "default", old, (&mut status, at(5)));
        status
    }
}

#[tokio::test]
async fn a_route_gets_its_policy_and_leave_to_refer_with_our_mark_and_then_there_is_silence() {
    let mut bench = Bench::new().await;
    let made = bench.security().await;
    assert_eq!(made.annotations().get(OWNER).map(String::as_str), Some("default/shop/orders"));
    assert_eq!(made.labels().get(MANAGED_BY).map(String::as_str), Some(COUNTERSIGN));
    let before = bench.versions().await;
    assert!(before.iter().all(Option::is_some), "{before:?}");
    bench.settle().await;
    bench.restart().await;
    assert_eq!(bench.versions().await, before);
}

/// Whichever listing comes last, who waited for it is looked at again.
#[tokio::test]
async fn an_empty_first_listing_wakes_whoever_waited_for_it() {
    let bench = Bench::new().await;
    let (fresh, _, mut watches) = start(&bench.objects, &bench.clock);
    fresh.seen().see_policy(next(&mut watches.policies).unwrap());
    let empty_policies = || Change::Reset(Vec::new(), Vec::new());
    assert_eq!(fresh.seen().see_managed::<SecurityPolicy>(empty_policies()), [orders()]);
    assert_eq!(fresh.seen().see_managed::<ReferenceGrant>(Change::Reset(Vec::new(), Vec::new())), [orders()]);
    assert_eq!(fresh.seen().see_around(Around::Class(Change::Reset(Vec::new(), Vec::new()))), [orders()]);
    let again = fresh.seen().see_managed::<SecurityPolicy>(empty_policies());
    assert!(again.is_empty(), "the same again is nothing new");
}

#[tokio::test]
async fn drift_is_put_back() {
    let mut bench = Bench::new().await;
    let wanted = bench.security().await.spec;
    let edits: [fn(&mut SecurityPolicy); 4] = [
        |policy| policy.spec.ext_auth.as_mut().unwrap().fail_open = Some(true),
        |policy| policy.spec.ext_auth = None,
        |policy| policy.spec.rest = [("cors".to_owned(), json!({}))].into(),
        |policy| policy.metadata.labels = None,
    ];
    for edit in edits {
        bench.edit(&security(), edit).await;
        let found = bench.security().await;
        assert_eq!((&found.spec, found.labels().get(MANAGED_BY).map(String::as_str)), (&wanted, Some(COUNTERSIGN)));
    }
    bench.objects.delete::<SecurityPolicy>(&security(), &Preconditions::default()).await.unwrap();
    bench.edit::<ReferenceGrant>(&grant(), |grant| grant.spec.to.clear()).await;
    assert_eq!(bench.security().await.spec, wanted);
    let grant: ReferenceGrant = bench.objects.get(&grant()).await.unwrap().unwrap();
    assert_eq!(grant.spec.to.len(), 1);
}

#[tokio::test]
async fn what_somebody_else_owns_is_never_touched() {
    let mut bench = Bench::new().await;
    let take_over = |policy: &mut SecurityPolicy| {
        policy.metadata.annotations = None;
        policy.spec.ext_auth = None;
    };
    bench.edit(&security(), take_over).await;
    let before = bench.versions().await;
    bench.edit::<ScopePolicy>(&Key::from(&orders()), |policy| policy.spec.target_refs.truncate(1)).await;
    assert_eq!(bench.versions().await[0], before[0]);
    bench
        .edit::<ScopePolicy>(&Key::from(&orders()), |policy| policy.spec.target_refs = policy_again().spec.target_refs)
        .await;
    assert_eq!(bench.versions().await[0], before[0]);
    let status = bench.status(&ScopePolicyStatus::default());
    let condition = find(&status.conditions, "Wired").unwrap();
    assert_eq!((&*condition.status, &*condition.reason), ("False", "TargetHasPolicy"), "{}", condition.message);
}

#[tokio::test]
async fn what_wires_a_target_goes_with_the_target_and_with_the_policy() {
    let mut bench = Bench::new().await;
    bench.edit::<ScopePolicy>(&Key::from(&orders()), |policy| policy.spec.target_refs.truncate(1)).await;
    assert_eq!(bench.versions().await, [None, None]);
    bench
        .edit::<ScopePolicy>(&Key::from(&orders()), |policy| policy.spec.target_refs = policy_again().spec.target_refs)
        .await;
    assert!(bench.versions().await.iter().all(Option::is_some));
    bench.objects.delete::<ScopePolicy>(&Key::from(&orders()), &Preconditions::default()).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.versions().await, [None, None]);
}

#[tokio::test]
async fn a_copy_in_another_namespace_stays_when_the_policy_goes() {
    let mut bench = Bench::new().await;
    let mut copy = bench.security().await;
    copy.metadata.namespace = Some("shop-two".to_owned());
    (copy.metadata.resource_version, copy.metadata.uid) = (None, None);
    bench.objects.create(&copy).await.unwrap();
    bench.objects.delete::<ScopePolicy>(&Key::from(&orders()), &Preconditions::default()).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.versions().await, [None, None]);
    let place = Key::namespaced("shop-two", &copy.name_any());
    assert!(bench.objects.get::<SecurityPolicy>(&place).await.unwrap().is_some(), "a route of theirs would be open");
}

#[tokio::test]
async fn what_is_left_of_a_policy_nobody_saw_go_goes_an_hour_after_it_was_made() {
    let mut bench = Bench::new().await;
    bench.objects.delete::<ScopePolicy>(&Key::from(&orders()), &Preconditions::default()).await.unwrap();
    bench.restart().await;
    assert!(bench.versions().await.iter().all(Option::is_some), "it may be a restore in which the policy comes last");
    bench.clock.advance(Duration::from_hours(1));
    bench.settle().await;
    assert_eq!(bench.versions().await, [None, None]);
}

#[tokio::test]
async fn a_target_that_goes_and_comes_back_is_never_without_its_policy() {
    let mut bench = Bench::new().await;
    let before = bench.versions().await;
    let route = Key::namespaced("shop", "orders");
    bench.objects.delete::<HttpRoute>(&route, &Preconditions::default()).await.unwrap();
    bench.settle().await;
    assert_eq!(bench.versions().await, before);
    let status = bench.status(&ScopePolicyStatus::default());
    assert_eq!(find(&status.conditions, "Wired").unwrap().reason, "TargetNotFound");
}

#[tokio::test]
async fn nothing_is_written_while_the_policy_is_paused() {
    let mut bench = Bench::new().await;
    let pause = |policy: &mut ScopePolicy| {
        policy.annotations_mut().insert("countersign.dev/paused".to_owned(), "true".to_owned());
    };
    bench.edit(&Key::from(&orders()), pause).await;
    bench.edit::<SecurityPolicy>(&security(), |policy| policy.spec.ext_auth = None).await;
    assert_eq!(bench.security().await.spec.ext_auth, None);
    let status = bench.status(&ScopePolicyStatus::default());
    assert_eq!(find(&status.conditions, "Wired").unwrap().reason, "Paused");
}

#[tokio::test]
async fn status_says_it_of_all_and_of_each_and_keeps_its_word_until_it_has_looked() {
    let bench = Bench::new().await;
    let status = bench.status(&ScopePolicyStatus::default());
    let condition = find(&status.conditions, "Wired").unwrap();
    assert_eq!((&*condition.status, &*condition.reason), ("Unknown", "AwaitingGateway"));
    let ancestors = serde_json::to_value(&status.ancestors).unwrap();
    assert_eq!(
        ancestors[0]["ancestorRef"],
        json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop", "name": "orders"})
    );
    assert_eq!(
        (ancestors.as_array().map(Vec::len), &ancestors[0]["controllerName"]),
        (Some(1), &json!("countersign.dev/default"))
    );
    assert_eq!(bench.status(&status), status, "the same is said the same way");

    let (fresh, ..) = start(&bench.objects, &bench.clock);
    let report = |wired: &Wired, old: &ScopePolicyStatus| {
        let snapshot = bench.live.load();
        let mut status = ScopePolicyStatus::default();
        wired.report(&snapshot.directory.policy(&orders()).unwrap().object, "default", old, (&mut status, at(9)));
        status
    };
    assert_eq!(report(&fresh.wired, &status), status);
    let reason =
        |status: &ScopePolicyStatus| find(&status.conditions, "Wired").map(|condition| condition.reason.clone());
    assert_eq!(reason(&report(&fresh.wired, &ScopePolicyStatus::default())).as_deref(), Some("NotRead"));
    assert_eq!(reason(&report(&Wired::off(), &status)).as_deref(), Some("NotEnabled"));
}

/// Definitions that drop what they do not know are found out, and nothing is written over and over.
#[test]
fn a_spec_counts_as_kept_only_with_everything_that_was_written() {
    let wanted = json!({"a": [{"b": 1}], "c": "x"});
    for (found, kept) in [
        (json!({"a": [{"b": 1, "default": true}], "c": "x", "more": {}}), true),
        (json!({"a": [{"b": 1}]}), false),
        (json!({"a": [{"b": 1}, {}], "c": "x"}), false),
        (json!({"a": [{"b": 2}], "c": "x"}), false),
    ] {
        assert_eq!(countersign_api::wiring::covers(&found, &wanted), kept, "{found}");
    }
}
