//! Shards of revocations: written by one replica each, read by all.
//!
//! Flows in: entries, from as many tasks as like. Flows out: ConfigMaps, and to each caller the word that its entry is
//! written. What arrives during a write goes with the next one. The watch of the shards brings them to every snapshot.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use countersign_core::revocation::{Entry, Shard, Sink, SinkError};
use countersign_core::timings::Timings;
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::{mpsc, oneshot};

use super::layout::{self, Layout, Part, REVOCATIONS_DATA, WRITER};
use super::{Error, Key, Objects, Preconditions};
use crate::runtime::clock::Clock;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

/// Entries that may wait for a write; past it callers are told to try again.
const QUEUE: usize = 1024;
/// How long after shutdown began a writer waits for another entry.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// The most shards of one writer: 16,384 entries.
const MOST_SHARDS: usize = 32;

type Request = (Entry, oneshot::Sender<Result<(), SinkError>>);

/// Where a role hands in its revocations. Clones share the writer.
#[derive(Clone)]
pub struct Revocations(mpsc::Sender<Request>);

impl Sink for Revocations {
    fn revoke(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>> {
        Box::pin(async move {
            let (done, written) = oneshot::channel();
            self.0.try_send((entry, done)).map_err(|_| SinkError::NotWritten)?;
            written.await.unwrap_or(Err(SinkError::NotWritten))
        })
    }
}

/// Reads a shard; `None` where the ConfigMap is none.
pub fn read(map: &ConfigMap) -> Option<Result<Shard, serde_json::Error>> {
    if !layout::is_part(&map.metadata, Part::Revocations) {
        return None;
    }
    let text = map.data.as_ref().and_then(|data| data.get(REVOCATIONS_DATA)).map_or("", String::as_str);
    Some(serde_json::from_str(text))
}

/// The one writer of its shards.
pub struct Writer {
    objects: Objects,
    layout: Layout,
    name: String,
    clock: Clock,
    timings: Timings,
    requests: mpsc::Receiver<Request>,
    shards: Vec<Held>,
}

/// A shard, and the ConfigMap it was last written to, if it was.
#[derive(Clone, Default)]
struct Held {
    shard: Shard,
    map: Option<ConfigMap>,
}

impl Writer {
    /// `name` is this process's alone, such as `issuer-<pod>`.
    pub fn new(objects: &Objects, layout: &Layout, name: &str, clock: Clock, timings: Timings) -> (Self, Revocations) {
        let (sender, requests) = mpsc::channel(QUEUE);
        let writer = Self {
            objects: objects.managed_by("countersign/revocations"),
            layout: layout.clone(),
            name: name.to_owned(),
            clock,
            timings,
            requests,
            shards: Vec::new(),
        };
        (writer, Revocations(sender))
    }

    /// Writes until told to stop and nothing came for a while: requests being answered may still revoke something.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Error> {
        loop {
            let ends_at = self.shards.iter().filter_map(|held| held.shard.wake_at()).min();
            let next = tokio::select! {
                biased;
                request = self.requests.recv() => {
                    // Nobody is left who could ask.
                    let Some(request) = request else { return Ok(()) };
                    Some(request)
                }
                () = reached(&self.clock, ends_at) => None,
                () = quiet(&shutdown) => return Ok(()),
            };
            match next {
                Some(first) => self.take(first).await,
                None => self.expire().await,
            }
        }
    }

    /// This request and all that wait behind it, in one write a shard.
    async fn take(&mut self, first: Request) {
        let mut requests = vec![first];
        while requests.len() < QUEUE
            && let Ok(request) = self.requests.try_recv()
        {
            requests.push(request);
        }
        let (entries, waiting): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        // A second try settles a write of which nobody knows whether it happened.
        let mut written = self.write(&entries).await;
        if written.is_err() {
            self.shards.clear();
            written = self.write(&entries).await;
        }
        let answers = written.unwrap_or_else(|error| {
            tracing::error!(error = chain(&error), "revocations were not written");
            self.shards.clear();
            vec![Err(SinkError::NotWritten); entries.len()]
        });
        for (done, answer) in waiting.into_iter().zip(answers) {
            // Whoever asked may have gone; the entry is written all the same.
            done.send(answer).ok();
        }
    }

    /// Writes the shards the entries go into; for each entry whether there was room.
    async fn write(&mut self, entries: &[Entry]) -> Result<Vec<Result<(), SinkError>>, Error> {
        if self.shards.is_empty() {
            self.shards = self.read_back().await?;
        }
        let now = self.clock.now();
        let mut next = self.shards.clone();
        let answers = entries.iter().map(|entry| self.insert(&mut next, entry, now)).collect();
        for (at, (old, new)) in self.shards.clone().into_iter().zip(next).enumerate() {
            if old.shard != new.shard {
                let stored = self.store(at, new).await?;
                self.hold(at, stored);
            }
        }
        Ok(answers)
    }

    fn insert(&self, shards: &mut [Held], entry: &Entry, now: Timestamp) -> Result<(), SinkError> {
        let mut rooms = shards.iter_mut();
        let room = rooms.find_map(|held| held.shard.insert(entry.clone(), now, &self.timings).ok());
        room.ok_or(SinkError::Full)
    }

    fn hold(&mut self, at: usize, held: Held) {
        if let Some(slot) = self.shards.get_mut(at) {
            *slot = held;
        }
    }

    /// What a predecessor of this name wrote, or this process itself before a write went astray. Numbers may be missing:
    /// the leader sweeps shards in which everything ended.
    async fn read_back(&self) -> Result<Vec<Held>, Error> {
        let keys: Vec<_> = (0..MOST_SHARDS).map(|at| self.layout.revocations(&self.name, at)).collect();
        let maps = try_join_all(keys.iter().map(|key| self.objects.get::<ConfigMap>(key))).await?;
        let held = keys.iter().zip(maps).map(|(key, map)| {
            let shard = match &map {
                None => Shard::default(),
                // Written over, what it revoked would count again at every verifier started since.
                Some(found) => read(found).and_then(Result::ok).ok_or_else(|| Error::Malformed {
                    kind: "ConfigMap".to_owned(),
                    key: key.clone(),
                    message: "this shard of revocations cannot be read; mend it or delete it".to_owned(),
                })?,
            };
            Ok(Held { shard, map })
        });
        held.collect()
    }

    async fn store(&self, at: usize, held: Held) -> Result<Held, Error> {
        let key = self.layout.revocations(&self.name, at);
        let mut metadata = self.layout.meta(&key, Part::Revocations);
        metadata.labels.get_or_insert_default().insert(WRITER.to_owned(), label_value(&self.name));
        metadata.resource_version = held.map.and_then(|map| map.metadata.resource_version);
        let text = serde_json::to_string(&held.shard).map_err(|error| malformed(&key, &error))?;
        let data = Some([(REVOCATIONS_DATA.to_owned(), text)].into());
        let map = ConfigMap { metadata, data, ..ConfigMap::default() };
        let exists = map.metadata.resource_version.is_some();
        let written = if exists { self.objects.replace(&map).await } else { self.objects.create(&map).await };
        Ok(Held { shard: held.shard, map: Some(written?) })
    }

    /// Writes shards without what ended.
    async fn expire(&mut self) {
        let now = self.clock.now();
        for at in 0..self.shards.len() {
            let Some(mut held) = self.shards.get(at).cloned() else { continue };
            if !held.shard.expire(now) {
                continue;
            }
            match self.store(at, held).await {
                Ok(held) => self.hold(at, held),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "ended revocations were not taken away");
                    // Read back at the next entry; what ended harms nobody meanwhile.
                    return self.shards.clear();
                }
            }
        }
    }
}

/// Waits for the end of the process and then for the last requests; anew after each of them.
async fn quiet(shutdown: &Shutdown) {
    shutdown.requested().await;
    tokio::time::sleep(LAST_REQUESTS).await;
}

/// Waits until that time; never returns where there is none.
async fn reached(clock: &Clock, at: Option<Timestamp>) {
    match at {
        Some(at) => tokio::time::sleep(clock.until(at).max(Duration::from_millis(100))).await,
        None => std::future::pending().await,
    }
}

/// Deletes shards in which everything ended: those of writers that are gone. For the leader.
pub async fn sweep(objects: &Objects, maps: &[ConfigMap], now: Timestamp) -> Result<(), Error> {
    for map in maps {
        let ended = matches!(read(map), Some(Ok(shard)) if shard.entries.iter().all(|entry| entry.has_ended(now)));
        if ended {
            let (key, as_seen) = (Key::of(&map.metadata), Preconditions::exactly(&map.metadata));
            match objects.delete::<ConfigMap>(&key, &as_seen).await {
                Err(error) if !error.lost_a_race() => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

fn malformed(key: &Key, error: &serde_json::Error) -> Error {
    Error::Malformed { kind: "ConfigMap".to_owned(), key: key.clone(), message: error.to_string() }
}

/// Label values have at most 63 characters.
fn label_value(text: &str) -> String {
    text.chars().take(63).collect::<String>().trim_end_matches(['.', '-', '_']).to_owned()
}
