//! A file that one issuer alone writes, so that a restart forgets nothing; or the same in memory.
//!
//! Flows in: uses, through a queue. Flows out: answers, each after its transaction is on the disk. One thread writes; what
//! arrives during a write goes with the next one.

use std::path::Path;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableTable, StorageError, Table, TableDefinition};
use tokio::sync::{mpsc, oneshot};

use super::{Answer, Store, StoreError, Use};
use crate::runtime::telemetry::chain;

type Digest = &'static [u8; 32];

/// When each use ends.
const USED: TableDefinition<'_, Digest, i64> = TableDefinition::new("used");
/// The same by its end, to forget it then.
const ENDS: TableDefinition<'_, (i64, Digest), ()> = TableDefinition::new("ends");

/// The most that wait, and that go together.
const QUEUE: usize = 1024;
const BATCH: usize = 256;
/// The most that are forgotten with one transaction.
const FORGET: usize = 2 * BATCH;
/// How long a file that failed is left alone before it is opened again.
const REST: Duration = Duration::from_secs(1);
/// Bytes of the file that are kept in memory.
const CACHE: usize = 1024 * 1024;

/// The store of a single issuer.
#[derive(Clone, Debug)]
pub struct Embedded {
    queue: mpsc::Sender<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    used: Use,
    now: i64,
    first: oneshot::Sender<bool>,
}

// === impl Embedded ===

impl Embedded {
    /// Opens the file, made if it is not there; none: memory alone.
    pub fn open(file: Option<&Path>) -> Result<Self, StoreError> {
        if let Some(file) = file.map(Path::to_owned) {
            return Self::begin(move || builder().create(&file));
        }
        // Opened once: another memory would know of no use.
        let mut memory = Some(InMemoryBackend::new());
        let gone = || DatabaseError::Storage(StorageError::DatabaseClosed);
        Self::begin(move || builder().create_with_backend(memory.take().ok_or_else(gone)?))
    }

    /// The same, however it is opened.
    pub(super) fn begin(
        mut open: impl FnMut() -> Result<Database, DatabaseError> + Send + 'static,
    ) -> Result<Self, StoreError> {
        let database = open().map_err(StoreError::Open)?;
        let (queue, waiting) = mpsc::channel(QUEUE);
        let begun = thread::Builder::new().name("store".to_owned()).spawn(move || write(database, open, waiting));
        // It ends when the last handle to the queue is gone.
        begun.map(drop).map_err(StoreError::Thread)?;
        Ok(Self { queue })
    }
}

impl Store for Embedded {
    fn first_use(&self, used: Use, now: Timestamp) -> Answer<'_> {
        let (first, answer) = oneshot::channel();
        let asked = self.queue.try_send(Waiting { used, now: now.as_second(), first });
        Box::pin(async move {
            asked.map_err(|_| StoreError::Busy)?;
            answer.await.map_err(|_| StoreError::Busy)
        })
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE);
    builder
}

fn write(
    mut database: Database,
    mut open: impl FnMut() -> Result<Database, DatabaseError>,
    mut waiting: mpsc::Receiver<Waiting>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut batch, BATCH) > 0 {
        match note(&database, &batch) {
            // Who no longer waits will not use it.
            Ok(first) => batch.drain(..).zip(first).for_each(|(waiting, first)| {
                waiting.first.send(first).ok();
            }),
            Err(error) => {
                let error = StoreError::Write(Box::new(error));
                tracing::error!(error = chain(&error), "assertions cannot be noted as used, so none is taken");
                batch.clear();
                // After an error of the disk a database answers nothing else until it is opened again.
                drop(database);
                let Some(again) = reopened(&mut open, &mut waiting) else { return };
                database = again;
            }
        }
    }
}

/// The database once it can be opened; none where nobody will ask any more. Who asks meanwhile hears that nobody knows.
fn reopened(
    mut open: impl FnMut() -> Result<Database, DatabaseError>,
    waiting: &mut mpsc::Receiver<Waiting>,
) -> Option<Database> {
    loop {
        thread::sleep(REST);
        while waiting.try_recv().is_ok() {}
        if waiting.is_closed() {
            return None;
        }
        match open() {
            Ok(database) => return Some(database),
            Err(error) => tracing::error!(error = chain(&error), "the store's file cannot be opened again yet"),
        }
    }
}

/// Notes all of them; tells which were new.
fn note(database: &Database, batch: &[Waiting]) -> Result<Vec<bool>, redb::Error> {
    let writing = database.begin_write()?;
    let mut first = Vec::with_capacity(batch.len());
    {
        let (mut used, mut ends) = (writing.open_table(USED)?, writing.open_table(ENDS)?);
        let now = batch.iter().map(|waiting| waiting.now).max().unwrap_or(i64::MIN);
        forget(&mut used, &mut ends, now)?;
        for Waiting { used: Use { digest, ends_at }, .. } in batch {
            let known = used.get(digest)?.is_some();
            if !known {
                used.insert(digest, ends_at)?;
                ends.insert((*ends_at, digest), ())?;
            }
            first.push(!known);
        }
    }
    writing.commit()?;
    Ok(first)
}

fn forget(
    used: &mut Table<'_, Digest, i64>,
    ends: &mut Table<'_, (i64, Digest), ()>,
    now: i64,
) -> Result<(), redb::Error> {
    let over: Vec<(i64, [u8; 32])> = ends
        .range(..(now, &[0; 32]))?
        .take(FORGET)
        .map(|entry| entry.map(|(key, _)| (key.value().0, *key.value().1)))
        .collect::<Result<_, _>>()?;
    for (ends_at, digest) in &over {
        used.remove(digest)?;
        ends.remove((*ends_at, digest))?;
    }
    Ok(())
}
