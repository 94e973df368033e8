//! Watches of the API server.
//!
//! Flows in: kube's watcher over guarded objects, and what each is to become. Flows out: `Change`s without end. Each watch
//! has its own backoff, which grows from a tenth of a second to ten and starts over once the watch held for a minute.
//! Everything is listed anew now and then, so that an event lost on its way is made good, and whenever the API server was
//! out of reach: it may have been put back to an older state, and a watch resumed from a later one is silent until that has
//! caught up.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::utils::{Backoff, ResetTimerBackoff};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Resource};

use super::guarded::{Guarded, Malformed};
use super::{Change, Deleted, Key, KubeStore, Object, Reach, Selection};
use crate::runtime::random;
use crate::runtime::telemetry::chain;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const HELD_FOR: Duration = Duration::from_mins(1);
/// Objects listed with one call: their text, and all of them as they came, are in memory together.
const PAGE: u32 = 100;
/// How long a watch of our own namespaces goes on from events alone: they hold keys and revocations, and few objects.
const RELIST_ONE: Duration = Duration::from_mins(10);
/// The same for a watch of all namespaces.
const RELIST_ALL: Duration = Duration::from_mins(30);

impl KubeStore {
    pub(super) fn watch<K: Object, V: Send + 'static>(
        &self,
        selection: &Selection,
        read: impl Fn(K) -> V + Clone + Send + 'static,
    ) -> BoxStream<'static, Change<V>> {
        let period = u32::try_from(self.options.watch_period.as_secs()).unwrap_or(90);
        let mut config = watcher::Config::default().timeout(period).page_size(PAGE);
        config.label_selector = selection.selector();
        let api: Api<Guarded<K>> = match &selection.namespace {
            Reach::All => Api::all(self.client.clone()),
            Reach::One(namespace) => Api::namespaced_with(self.client.clone(), namespace, &()),
        };
        let relist = if selection.namespace == Reach::All { RELIST_ALL } else { RELIST_ONE };
        let begin = move || {
            // kube says `Init` before it asks, so the backoff must not start over at any event, only after a while.
            let backoff = ResetTimerBackoff::new(Doubling::default(), HELD_FOR);
            let events = watch(api.clone(), config.clone()).backoff(backoff);
            changes(events, read.clone()).take_until(tokio::time::sleep(relist.mul_f64(random::jitter())))
        };
        stream::repeat_with(begin).flatten().boxed()
    }
}

/// Turns kube's events into changes; a listing becomes one `Reset`.
fn changes<K: Object, V: Send>(
    events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send + 'static,
    read: impl Fn(K) -> V + Send,
) -> impl Stream<Item = Change<V>> + Send {
    let state = (events.boxed(), read, Listing::default(), true);
    stream::unfold(state, |(mut events, read, mut listing, mut healthy)| async move {
        loop {
            let event = match events.next().await? {
                Ok(event) => event,
                Err(error) => {
                    report::<K>(&error, &mut healthy);
                    if may_have_missed(&error) {
                        return None;
                    }
                    continue;
                }
            };
            let out = match event {
                Event::Init => {
                    listing = Listing::default();
                    continue;
                }
                Event::InitApply(object) => {
                    listing.add(object, &read);
                    continue;
                }
                Event::InitDone => std::mem::take(&mut listing).reset(),
                Event::Apply(object) => applied(object).map(&read),
                Event::Delete(object) => deleted(object).map(&read),
            };
            healthy = true;
            return Some((out, (events, read, listing, healthy)));
        }
    })
}

/// Whether something may have happened that the watch will not tell any more.
fn may_have_missed(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::WatchStartFailed(error) => {
            matches!(error, kube::Error::Service(_) | kube::Error::HyperError(_))
        }
        // An event that is no JSON: whatever it said, it was said once.
        watcher::Error::WatchFailed(error) => matches!(error, kube::Error::SerdeError(_)),
        _ => false,
    }
}

fn report<K: Object>(error: &watcher::Error, healthy: &mut bool) {
    let kind = K::kind(&());
    // An expired resourceVersion only means a fresh listing.
    let expired = matches!(error, watcher::Error::WatchError(status) if status.code == 410);
    if *healthy && !expired {
        tracing::warn!(%kind, error = chain(error), "a watch was interrupted");
        *healthy = false;
    } else {
        tracing::debug!(%kind, error = chain(error), "a watch is still interrupted");
    }
}

/// A listing as it comes in.
pub(super) struct Listing<V> {
    objects: Vec<V>,
    malformed: Vec<Malformed>,
}

// === impl Listing ===

impl<V> Default for Listing<V> {
    fn default() -> Self {
        Self { objects: Vec::new(), malformed: Vec::new() }
    }
}

impl<V> Listing<V> {
    /// Takes an object in, as what it is to become.
    pub(super) fn add<K: Object>(&mut self, object: Guarded<K>, read: impl FnOnce(K) -> V) {
        match object.into_result() {
            Ok(object) => self.objects.push(read(object)),
            Err(malformed) => self.malformed.push(malformed),
        }
    }

    /// All of it as one change.
    pub(super) fn reset(self) -> Change<V> {
        Change::Reset(self.objects, self.malformed)
    }
}

pub(super) fn applied<K: Object>(object: Guarded<K>) -> Change<K> {
    object.into_result().map_or_else(Change::Malformed, Change::Apply)
}

pub(super) fn deleted<K: Object>(object: Guarded<K>) -> Change<K> {
    let meta: &ObjectMeta = object.meta();
    let (key, uid) = (Key::of(meta), meta.uid.clone());
    Change::Delete(Deleted { key, uid, last: object.into_result().ok() })
}

/// Delays that double, each shortened by up to a third so that replicas do not come back at once.
struct Doubling {
    next: Duration,
    jitter: RandomState,
}

impl Default for Doubling {
    fn default() -> Self {
        Self { next: FIRST_DELAY, jitter: RandomState::new() }
    }
}

impl Iterator for Doubling {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST_DELAY);
        let thousandths = u32::try_from(self.jitter.hash_one(delay) % 334).unwrap_or(0);
        Some(delay.saturating_sub(delay * thousandths / 1000))
    }
}

impl Backoff for Doubling {
    fn reset(&mut self) {
        self.next = FIRST_DELAY;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn named(name: &str) -> Guarded<ConfigMap> {
        Guarded::read(json!({"metadata": {"name": name, "namespace": "shop"}}))
    }

    fn broken(name: &str) -> Guarded<ConfigMap> {
        Guarded::read(json!({"metadata": {"name": name, "namespace": "shop"}, "data": 1}))
    }

    async fn seen(events: Vec<watcher::Result<Event<Guarded<ConfigMap>>>>) -> Vec<String> {
        let name = |object: &ConfigMap| object.metadata.name.clone().unwrap_or_default();
        changes(stream::iter(events), std::convert::identity)
            .map(|change| match change {
                Change::Reset(all, malformed) => {
                    let malformed: Vec<_> = malformed.iter().map(|object| &object.key).collect();
                    format!("reset {:?} malformed {malformed:?}", all.iter().map(name).collect::<Vec<_>>())
                }
                Change::Apply(object) => format!("apply {}", name(&object)),
                Change::Delete(gone) => format!("delete {} {}", gone.key, gone.last.is_some()),
                Change::Malformed(malformed) => format!("malformed {}", malformed.key),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn a_listing_is_one_reset_and_a_malformed_object_is_reported_and_passed_over() {
        let events = vec![
            Ok(Event::Init),
            Ok(Event::InitApply(named("a"))),
            Ok(Event::InitApply(broken("b"))),
            Ok(Event::InitDone),
            Ok(Event::Apply(broken("a"))),
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Apply(named("c"))),
            Ok(Event::Delete(broken("a"))),
        ];
        let expected = ["reset [\"a\"] malformed [\"shop/b\"]", "malformed shop/a", "apply c", "delete shop/a false"];
        assert_eq!(seen(events).await, expected);
    }

    #[tokio::test]
    async fn a_listing_that_broke_off_counts_for_nothing() {
        let events = vec![
            Ok(Event::Init),
            Ok(Event::InitApply(named("a"))),
            Err(watcher::Error::NoResourceVersion),
            Ok(Event::Init),
            Ok(Event::InitApply(named("b"))),
            Ok(Event::InitDone),
        ];
        assert_eq!(seen(events).await, ["reset [\"b\"] malformed []"]);
    }

    #[tokio::test]
    async fn a_server_that_was_out_of_reach_is_listed_anew() {
        let unreachable = || watcher::Error::WatchStartFailed(kube::Error::Service("connect".into()));
        let events = vec![Ok(Event::Init), Ok(Event::InitDone), Err(unreachable()), Ok(Event::Apply(named("a")))];
        assert_eq!(seen(events).await, ["reset [] malformed []"]);
    }

    #[test]
    fn delays_grow_to_their_bound_and_start_over() {
        let mut delays = Doubling::default();
        let grown: Vec<_> = delays.by_ref().take(12).collect();
        assert!(grown.iter().all(|delay| *delay <= LONGEST_DELAY && *delay >= FIRST_DELAY * 2 / 3));
        assert!(grown[11] > LONGEST_DELAY / 2);
        delays.reset();
        assert!(delays.next().unwrap() <= FIRST_DELAY);
    }
}
