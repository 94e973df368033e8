//! Follows what decides how policies are wired.
//!
//! Flows in: watches of the kinds the cluster has; looks, now and then, at which it has and at the mesh's configuration.
//! Flows out: policies to look at. A kind that appears is watched from then on; one that goes is forgotten.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use countersign_api::ScopePolicy;
use countersign_api::wiring::{
    AuthorizationPolicy, Gateway, GatewayClass, GrpcRoute, HttpRoute, Known, MeshConfig, ReferenceGrant,
    SecurityPolicy, Service, Shelf, place,
};
use countersign_core::names::ObjectRef;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, Service as CoreService};
use kube::ResourceExt;

use super::Wirings;
use super::seen::{Around, Seen};
use crate::controller::Queue;
use crate::controller::reported::Reported as _;
use crate::objects::{Change, Deleted, Object, Objects, Selection};
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;
use crate::snapshot::Snapshot;

/// How often it is looked which kinds there are, and which providers the mesh has.
const LOOK: Duration = Duration::from_secs(10);
/// The data key of the mesh's configuration, YAML.
const MESH: &str = "mesh";

/// A step of one of the watches.
enum Step {
    Around(Around),
    Security(Change<SecurityPolicy>),
    Authorization(Change<AuthorizationPolicy>),
    Grant(Change<ReferenceGrant>),
    Service(Change<CoreService>),
}

/// Watches of the kinds there are.
#[derive(Default)]
struct Watches {
    routes: Option<BoxStream<'static, Step>>,
    grpc_routes: Option<BoxStream<'static, Step>>,
    gateways: Option<BoxStream<'static, Step>>,
    classes: Option<BoxStream<'static, Step>>,
    security: Option<BoxStream<'static, Step>>,
    authorization: Option<BoxStream<'static, Step>>,
    grants: Option<BoxStream<'static, Step>>,
    services: Option<BoxStream<'static, Step>>,
}

/// Waits for a watch that is there.
async fn next(watch: &mut Option<BoxStream<'static, Step>>) -> Option<Step> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

impl Watches {
    async fn next(&mut self) -> Option<Step> {
        tokio::select! {
            step = next(&mut self.routes) => step,
            step = next(&mut self.grpc_routes) => step,
            step = next(&mut self.gateways) => step,
            step = next(&mut self.classes) => step,
            step = next(&mut self.security) => step,
            step = next(&mut self.authorization) => step,
            step = next(&mut self.grants) => step,
            step = next(&mut self.services) => step,
        }
    }
}

impl Wirings {
    /// Follows all of it until shutdown is requested.
    pub async fn follow(
        self: Arc<Self>,
        objects: Objects,
        queue: Queue<ObjectRef>,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let mut policies = objects.watch::<ScopePolicy>(Selection::all());
        let mut watches = Watches::default();
        let mut changes = self.snapshot.subscribe();
        let mut before = self.snapshot.load_full();
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while !shutdown.is_requested() {
            let affected = tokio::select! {
                Some(change) = policies.next() => self.seen().see_policy(change),
                Some(step) = watches.next() => self.step(step),
                () = changes.changed() => {
                    let now = self.snapshot.load_full();
                    let before = std::mem::replace(&mut before, Arc::clone(&now));
                    self.moved(&now, &before)
                }
                _ = looks.tick() => self.look(&objects, &mut watches).await,
                () = shutdown.requested() => break,
            };
            for policy in affected {
                queue.offer(policy);
            }
        }
        Ok(())
    }

    fn step(&self, step: Step) -> Vec<ObjectRef> {
        let mut seen = self.seen();
        match step {
            Step::Around(around) => seen.see_around(around),
            Step::Security(change) => seen.see_managed(change),
            Step::Authorization(change) => seen.see_managed(change),
            Step::Grant(change) => seen.see_managed(change),
            Step::Service(change) => see_service(&mut seen, change),
        }
    }

    /// What the Directory says differently: of a policy, or of a namespace's labels.
    fn moved(&self, now: &Snapshot, before: &Snapshot) -> Vec<ObjectRef> {
        let keys = ScopePolicy::affected(now, before);
        let mut affected: Vec<_> = keys.iter().filter_map(|key| key.object_ref().ok()).collect();
        if self.settings.wiring.istio {
            let labels =
                |snapshot: &Snapshot, policy: &ObjectRef| snapshot.directory.labels_of(&policy.namespace).cloned();
            let attaching = self.seen().attaching(None);
            affected.extend(attaching.into_iter().filter(|policy| labels(now, policy) != labels(before, policy)));
        }
        affected
    }

    /// Looks which kinds there are, and at the mesh's configuration; what is affected by a difference.
    async fn look(&self, objects: &Objects, watches: &mut Watches) -> Vec<ObjectRef> {
        let wiring = &self.settings.wiring;
        let route = |change| Step::Around(Around::Route(change));
        let grpc_route = |change| Step::Around(Around::GrpcRoute(change));
        let gateway = |change| Step::Around(Around::Gateway(change));
        let class = |change| Step::Around(Around::Class(change));
        let grants = Selection::namespace(&wiring.verifier.namespace);
        let all = Selection::all;
        let mut differs = self
            .discover::<HttpRoute>(objects, (&mut watches.routes, all(), route), |seen| &mut seen.world.routes)
            .await;
        differs |= self
            .discover::<Gateway>(objects, (&mut watches.gateways, all(), gateway), |seen| &mut seen.world.gateways)
            .await;
        differs |= self
            .discover::<GatewayClass>(objects, (&mut watches.classes, all(), class), |seen| &mut seen.world.classes)
            .await;
        if wiring.envoy_gateway {
            differs |= self
                .discover::<GrpcRoute>(objects, (&mut watches.grpc_routes, all(), grpc_route), |seen| {
                    &mut seen.world.grpc_routes
                })
                .await;
            differs |= self
                .discover::<SecurityPolicy>(objects, (&mut watches.security, all(), Step::Security), |seen| {
                    &mut seen.world.security
                })
                .await;
            differs |= self
                .discover::<ReferenceGrant>(objects, (&mut watches.grants, grants, Step::Grant), |seen| {
                    &mut seen.grants
                })
                .await;
        }
        if wiring.istio {
            differs |= self
                .discover::<AuthorizationPolicy>(
                    objects,
                    (&mut watches.authorization, all(), Step::Authorization),
                    |seen| &mut seen.world.authorization,
                )
                .await;
            if watches.services.is_none() {
                watches.services = Some(objects.watch(all()).map(Step::Service).boxed());
            }
            differs |= self.read_mesh(objects).await;
        }
        if differs { self.seen().attaching(None) } else { Vec::new() }
    }

    /// Begins to watch a kind that has appeared, and forgets one that is gone; whether it is either.
    async fn discover<K: Object>(
        &self,
        objects: &Objects,
        (watch, selection, step): (
            &mut Option<BoxStream<'static, Step>>,
            Selection,
            impl Fn(Change<K>) -> Step + Send + 'static,
        ),
        known: impl for<'a> Fn(&'a mut Seen) -> &'a mut Known<K>,
    ) -> bool {
        match (objects.serves::<K>().await, watch.is_some()) {
            (Ok(true), false) => {
                *known(&mut self.seen()) = Known::Unread;
                *watch = Some(objects.watch::<K>(selection).map(step).boxed());
                tracing::info!(kind = %K::kind(&()), "the cluster has this kind; it is watched");
                true
            }
            (Ok(false), true) => {
                *known(&mut self.seen()) = Known::Absent;
                *watch = None;
                tracing::info!(kind = %K::kind(&()), "the cluster has this kind no more");
                true
            }
            (Ok(_), _) => false,
            // Nothing is known: all stays as it was.
            (Err(error), _) => {
                tracing::debug!(error = chain(&error), "cannot look which kinds there are");
                false
            }
        }
    }

    /// Reads the mesh's configuration; whether it differs.
    async fn read_mesh(&self, objects: &Objects) -> bool {
        let found = match objects.get::<ConfigMap>(&self.settings.mesh).await {
            Ok(found) => found,
            Err(error) if error.class() == crate::objects::Class::Transient => return false,
            Err(error) => {
                tracing::debug!(error = chain(&error), "cannot read the mesh's configuration");
                None
            }
        };
        let text = found.and_then(|map| map.data?.remove(MESH));
        let mesh: Option<MeshConfig> = text.and_then(|text| serde_saphyr::from_str(&text).ok());
        let mut seen = self.seen();
        let differs = seen.world.mesh != mesh;
        seen.world.mesh = mesh;
        differs
    }
}

/// Of Services only what matters here is held.
fn see_service(seen: &mut Seen, change: Change<CoreService>) -> Vec<ObjectRef> {
    let read = |service: &CoreService| Service {
        labels: service.labels().clone(),
        selector: service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default(),
    };
    if let Change::Reset(services, _) = change {
        let shelf: Shelf<Service> =
            services.iter().map(|service| (place(&service.metadata), Arc::new(read(service)))).collect();
        let same = seen.world.services.all() == Some(&shelf);
        seen.world.services = Known::There(shelf);
        return if same { Vec::new() } else { seen.attaching(None) };
    }
    let Known::There(shelf) = &mut seen.world.services else { return Vec::new() };
    let (at, old, new) = match change {
        Change::Apply(service) => {
            let (at, new) = (place(&service.metadata), Arc::new(read(&service)));
            (at.clone(), shelf.insert(at, Arc::clone(&new)), Some(new))
        }
        Change::Delete(Deleted { key, .. }) => {
            let at = (key.namespace.as_deref().unwrap_or_default().to_owned(), key.name.to_string());
            (at.clone(), shelf.remove(&at), None)
        }
        Change::Malformed(_) | Change::Reset(..) => return Vec::new(),
    };
    if old == new { Vec::new() } else { seen.attaching(Some(&at.0)) }
}
