//! What a store must do, whichever it is; the shared one is asked in `tests/it`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::InMemoryBackend;
use redb::{Builder, StorageBackend};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn used(client: &str, token_id: &str) -> Use {
    Use::new(&client.parse().unwrap(), token_id, at(300))
}

async fn first(store: &Embedded, of: Use, now: i64) -> bool {
    store.first_use(of, at(now)).await.unwrap()
}

#[tokio::test]
async fn cla_01_and_03_a_use_is_the_first_once_for_each_client() {
    let store = Embedded::open(None).unwrap();
    assert!(first(&store, used("a", "1"), 0).await);
    assert!(!first(&store, used("a", "1"), 0).await);
    assert!(first(&store, used("b", "1"), 0).await, "another client's");
    assert!(first(&store, used("a", "2"), 0).await);
    assert!(!first(&store, used("a", "1"), 299).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn cla_02_of_many_at_once_one_is_the_first() {
    let store = Arc::new(Embedded::open(None).unwrap());
    let asks = (0..200).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { first(&store, used("a", "1"), 0).await })
    });
    let answers = futures::future::join_all(asks).await;
    assert_eq!(answers.into_iter().filter(|answer| *answer.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.redb");
    let store = Embedded::open(Some(&file)).unwrap();
    assert!(first(&store, used("a", "1"), 0).await);
    drop(store);
    // Its thread closes the file in its own time.
    let again = loop {
        match Embedded::open(Some(&file)) {
            Ok(store) => break store,
            Err(StoreError::Open(redb::DatabaseError::DatabaseAlreadyOpen)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert!(!first(&again, used("a", "1"), 0).await);
}

#[tokio::test]
async fn what_has_ended_is_forgotten() {
    let store = Embedded::open(None).unwrap();
    assert!(first(&store, used("a", "1"), 0).await);
    assert!(first(&store, used("a", "2"), 301).await);
    assert!(first(&store, used("a", "1"), 301).await, "by then the assertion is refused by its time");
}

/// A disk that is full while it is told to be.
#[derive(Clone, Debug)]
struct Disk {
    memory: Arc<InMemoryBackend>,
    is_full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room().and_then(|()| self.memory.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room().and_then(|()| self.memory.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room().and_then(|()| self.memory.write(offset, data))
    }
}

#[tokio::test]
async fn a_disk_that_was_full_is_used_again_and_has_forgotten_nothing() {
    let disk = Disk { memory: Arc::new(InMemoryBackend::new()), is_full: Arc::new(AtomicBool::new(false)) };
    let of = disk.clone();
    let store = Embedded::begin(move || Builder::new().create_with_backend(of.clone())).unwrap();
    assert!(first(&store, used("a", "1"), 0).await);
    disk.is_full.store(true, Ordering::Relaxed);
    assert!(store.first_use(used("a", "2"), at(0)).await.is_err(), "nobody can tell");
    disk.is_full.store(false, Ordering::Relaxed);
    let known = loop {
        match store.first_use(used("a", "1"), at(0)).await {
            Ok(is_first) => break !is_first,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    assert!(known, "noted before the disk was full");
    assert!(first(&store, used("a", "3"), 0).await);
}
