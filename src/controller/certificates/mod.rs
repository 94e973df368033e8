//! The certificates an installation makes for itself.
//!
//! ```text
//! ConfigMap ca-bundle ───────┐                                        ┌─► ca-bundle   what clients trust
//! Secrets ca-key-<n> ────────┼─► observe ─► core: step (pure) ─► do ──┼─► ca-key-<n>  read by the controller alone
//! Secrets <role>-certificate ┘                                        └─► <role>-certificate, mounted by that role
//! ```
//! Flows in: those objects, whenever one changes, and every minute. Flows out: what is missing, ends soon or was edited is
//! made anew; the bundle goes to whoever hands it on. One write at a time, each followed by a new look, so a stop between
//! any two is nothing special.

mod execute;
mod make;
mod observe;
#[cfg(test)]
mod tests;
mod webhook;

use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_api::metadata;
use countersign_core::certificates::{Bundle, CertificateTimings, Observed, Served, Server, Step, step};
use futures::StreamExt;
use futures::stream::select_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use self::observe::{Seen, SeenServer};
use super::connections::Connections;
use super::listing::list;
use super::{During, Failure, Kind, Queue, Writer};
use crate::objects::layout::{Layout, Part};
use crate::objects::{Change, Objects};
use crate::runtime::clock::Clock;
use crate::runtime::metrics::Metrics;
use crate::runtime::supervisor::Shutdown;

/// The one key of the queue of [`Certificates`].
pub const CERTIFICATES: &str = "certificates";

/// How often it is looked whether something ends.
const CHECKED_EVERY: Duration = Duration::from_mins(1);
/// How soon after a look that did not come to rest.
const AGAIN: Duration = Duration::from_secs(1);
/// More writes than any look takes.
const MOST_WRITES: usize = 12;

/// What certificates to make.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Each server, and the DNS names and addresses it is reached by; one at least.
    pub servers: Vec<(Server, Vec<String>)>,
    pub timings: CertificateTimings,
    /// Whether clients reach the issuer by a certificate made here, so that their Secrets hold the bundle.
    pub for_clients: bool,
    /// The name of the `ValidatingWebhookConfiguration` and the `MutatingWebhookConfiguration` that are told whom to trust.
    pub webhook: Option<String>,
}

/// What this kind works with.
pub struct Parts {
    pub objects: Objects,
    pub writer: Writer,
    pub layout: Layout,
    pub clock: Clock,
    pub settings: Settings,
    pub connections: Connections,
}

/// The kind.
pub struct Certificates {
    parts: Parts,
    /// The latest bundle this process has seen, which neither a loss nor a restored backup takes back.
    remembered: Mutex<Bundle>,
    ends: Family<[(&'static str, &'static str); 1], Gauge>,
}

impl Certificates {
    pub fn new(parts: Parts, metrics: &Metrics) -> Self {
        let ends = Family::default();
        let help = "When certificates made here end, in seconds since 1970, by certificate";
        metrics.register("certificate_not_after_seconds", help, Family::clone(&ends));
        Self { parts, remembered: Mutex::default(), ends }
    }

    /// Follows the objects, offering [`CERTIFICATES`] when one changes.
    pub async fn follow(
        self: std::sync::Arc<Self>,
        queue: Queue<&'static str>,
        shutdown: Shutdown,
    ) -> Result<(), Infallible> {
        let Parts { objects, layout, .. } = &self.parts;
        let secrets = |part| objects.watch_as(layout.select(part), |_: Secret| ()).map(|_| None).boxed();
        let maps = objects.watch::<ConfigMap>(layout.select(Part::CaBundle)).map(Some).boxed();
        let mut seen = select_all([maps, secrets(Part::CaKey), secrets(Part::Certificate)]);
        while !shutdown.is_requested() {
            tokio::select! {
                Some(change) = seen.next() => {
                    // Also by a process that does not lead: the bundle is there when it takes over.
                    match &change {
                        Some(Change::Reset(maps, _)) => self.note_all(maps),
                        Some(Change::Apply(map)) => self.note(map),
                        _ => {}
                    }
                    queue.offer(CERTIFICATES);
                }
                () = shutdown.requested() => break,
            }
        }
        Ok(())
    }

    fn note_all(&self, maps: &[ConfigMap]) {
        for map in maps {
            self.note(map);
        }
    }

    fn note(&self, map: &ConfigMap) {
        let Some(bundle) = observe::bundle(map) else { return };
        let known = self.remember(Some(&bundle));
        if known.active().is_some() {
            self.hand_on(&known);
        }
    }

    /// What is known of the bundle, with what was seen now.
    fn remember(&self, seen: Option<&Bundle>) -> Bundle {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = seen {
            *remembered = remembered.merged(seen);
        }
        remembered.clone()
    }

    /// After a write or a rest: the bundle as it is, without what was forgotten on purpose.
    fn settle_on(&self, bundle: &Bundle) {
        *self.remembered.lock().unwrap_or_else(PoisonError::into_inner) = bundle.clone();
        self.hand_on(bundle);
    }

    fn hand_on(&self, bundle: &Bundle) {
        if self.parts.settings.for_clients {
            self.parts.connections.trust(&bundle.certificates());
        }
    }

    async fn observe(&self, now: Timestamp) -> Result<Seen, Failure> {
        let Parts { objects, writer, layout, settings, .. } = &self.parts;
        let map = writer.get::<ConfigMap>(&layout.ca_bundle()).await.during("read the bundle of authorities")?;
        let keys = list::<Secret>(objects, layout.select(Part::CaKey), "list the keys of authorities").await?;
        let keys: Vec<_> = keys.iter().filter_map(observe::authority_key).collect();
        let stored = map.as_ref().and_then(observe::bundle);
        let known = self.remember(stored.as_ref());
        let mut servers = Vec::new();
        for (server, names) in &settings.servers {
            let secret =
                writer.get::<Secret>(&layout.certificate(*server)).await.during("read a role's certificate")?;
            let candidates = observe::candidates(&known, &keys);
            let leaf = secret.as_ref().and_then(|secret| observe::leaf(secret, candidates, names, now));
            servers.push(SeenServer { server: *server, secret, leaf });
        }
        let rotate_at = map.as_ref().map_or(Ok(None), |map| metadata::rotate_at(&map.metadata));
        let rotate_at = rotate_at.unwrap_or_else(|problem| {
            tracing::warn!(
                problem = problem.message,
                "the annotation rotate-at of ConfigMap ca-bundle asks for nothing"
            );
            None
        });
        Ok(Seen { map, stored, keys, servers, rotate_at, webhooks: self.webhooks().await })
    }

    fn step(&self, seen: &Seen, now: Timestamp) -> Step {
        let served: Vec<_> = seen
            .servers
            .iter()
            .map(|SeenServer { server, leaf, .. }| Served { server: *server, leaf: *leaf })
            .collect();
        let observed = Observed {
            remembered: &self.remember(None),
            keys: &seen.keys,
            served: &served,
            handed_on: seen.is_handed_on(),
            rotate_at: seen.rotate_at,
        };
        step(seen.stored.as_ref(), &observed, now, &self.parts.settings.timings)
    }

    fn measure(&self, bundle: &Bundle, seen: &Seen) {
        let set = |name, at: Timestamp| {
            self.ends.get_or_create_owned(&[("certificate", name)]).set(at.as_second());
        };
        if let Some(active) = bundle.active() {
            set("ca", active.not_after);
        }
        for SeenServer { server, leaf, .. } in &seen.servers {
            if let Some(leaf) = leaf {
                set(server.name(), leaf.not_after);
            }
        }
    }
}

impl Kind for Certificates {
    type Key = &'static str;
    const NAME: &'static str = "certificates";

    async fn reconcile(&self, _: &&'static str) -> Result<Option<Timestamp>, Failure> {
        let clock = &self.parts.clock;
        for _ in 0..MOST_WRITES {
            let now = clock.now();
            let seen = self.observe(now).await?;
            let rested = match self.step(&seen, now) {
                Step::Write(bundle) => self.write(seen.map, &bundle).await.map(|()| None)?,
                Step::Make { number, not_before, not_after } => {
                    self.make(number, make::Life { not_before, not_after }).await.map(|()| None)?
                }
                Step::Settled(settled) => self.settle(seen, &settled, now).await?,
            };
            if let Some(wake_at) = rested {
                return Ok(wake_at.into_iter().chain(now.checked_add(CHECKED_EVERY)).min());
            }
        }
        Ok(clock.now().checked_add(AGAIN).ok())
    }
}
