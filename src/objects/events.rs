//! Events: what people see in `kubectl describe`.
//!
//! Flows in: what happened to which object. Flows out: an `events.k8s.io/v1` Event; the same again within minutes counts
//! up the first one instead of adding another.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event as KubeEvent, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::{Error, KubeStore, Object};
use crate::runtime::clock::Clock;
use crate::runtime::telemetry::chain;

/// How long the same thing happening again counts up the Event of the first time.
const FOLDED_FOR: SignedDuration = SignedDuration::from_mins(6);
/// The most Events remembered; past it all are forgotten, which costs only some folding.
const REMEMBERED: usize = 4096;
/// The longest note the API server takes.
const NOTE_LIMIT: usize = 1024;

/// Whether somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Severity {
    Normal,
    Warning,
}

/// What happened.
#[derive(Clone, Debug)]
pub struct Event {
    pub regarding: ObjectReference,
    pub severity: Severity,
    /// A CamelCase constant.
    pub reason: &'static str,
    /// What the controller did or tried, a CamelCase constant.
    pub action: &'static str,
    /// For people: what, and what to do. Never a secret.
    pub note: String,
}

impl Event {
    /// About an object.
    pub fn about<K: Object>(object: &K, severity: Severity, reason: &'static str, note: impl Into<String>) -> Self {
        Self { regarding: object.object_ref(&()), severity, reason, action: "Reconcile", note: note.into() }
    }
}

type Subject = (Option<String>, Severity, &'static str, &'static str, String);

/// Remembers recent Events, so that repeats fold.
#[derive(Clone)]
pub(super) struct Recorder {
    clock: Clock,
    recent: Arc<Mutex<HashMap<Subject, KubeEvent>>>,
}

impl Recorder {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, recent: Arc::default() }
    }

    pub(super) async fn record(&self, store: &KubeStore, event: Event) {
        let now = self.clock.now();
        let subject = subject(&event);
        let written = match self.repeat(&subject, now) {
            Some(repeat) => match store.replace_or_create(&repeat).await {
                Ok(written) => Ok(written),
                Err(error) => Err(error),
            },
            None => store.create(&first(&event, now)).await,
        };
        match written {
            Ok(written) => self.remember(subject, written),
            Err(error) => tracing::warn!(reason = event.reason, error = chain(&error), "an Event was not written"),
        }
    }

    fn repeat(&self, subject: &Subject, now: Timestamp) -> Option<KubeEvent> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let known = recent.get(subject).filter(|known| last_seen(known) + FOLDED_FOR > now)?;
        let count = known.series.as_ref().map_or(1, |series| series.count).saturating_add(1);
        let series = Some(EventSeries { count, last_observed_time: MicroTime(now) });
        Some(KubeEvent { series, ..known.clone() })
    }

    fn remember(&self, subject: Subject, event: KubeEvent) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        recent.insert(subject, event);
    }
}

impl KubeStore {
    /// The Event may have been pruned since; then it starts again.
    async fn replace_or_create(&self, event: &KubeEvent) -> Result<KubeEvent, Error> {
        match self.replace(event).await {
            Err(Error::NotFound { .. } | Error::Conflict { .. }) => {
                let metadata = ObjectMeta {
                    name: event.metadata.name.as_ref().map(|name| format!("{name}a")),
                    namespace: event.metadata.namespace.clone(),
                    ..ObjectMeta::default()
                };
                self.create(&KubeEvent { metadata, series: None, ..event.clone() }).await
            }
            answer => answer,
        }
    }
}

fn subject(event: &Event) -> Subject {
    let Event { regarding, severity, reason, action, note } = event;
    (regarding.uid.clone().or_else(|| regarding.name.clone()), *severity, reason, action, note.clone())
}

fn last_seen(event: &KubeEvent) -> Timestamp {
    let last = event.series.as_ref().map(|series| series.last_observed_time.0);
    last.or(event.event_time.as_ref().map(|time| time.0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn first(event: &Event, now: Timestamp) -> KubeEvent {
    let Event { regarding, severity, reason, action, note } = event;
    let name = regarding.name.as_deref().unwrap_or("countersign");
    KubeEvent {
        action: Some((*action).to_owned()),
        event_time: Some(MicroTime(now)),
        metadata: ObjectMeta {
            name: Some(format!("{}.{:x}", name.chars().take(200).collect::<String>(), now.as_nanosecond())),
            // Events about cluster-scoped objects lie in `default`, as the API server wants it.
            namespace: Some(regarding.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        note: Some(
            note.chars()
                .scan(0, |bytes, c| {
                    *bytes += c.len_utf8();
                    (*bytes <= NOTE_LIMIT).then_some(c)
                })
                .collect(),
        ),
        reason: Some((*reason).to_owned()),
        regarding: Some(regarding.clone()),
        reporting_controller: Some("countersign.dev/controller".to_owned()),
        reporting_instance: Some("countersign".to_owned()),
        type_: Some(format!("{severity:?}")),
        ..KubeEvent::default()
    }
}
