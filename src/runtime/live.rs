//! A value that changes while many read it: readers load it without a lock, tasks are woken when it changes.
//!
//! Flows in: whole new values from one publisher. Flows out: guards for readers, wake-ups for tasks. A replaced value is
//! kept until no reader holds it and dropped by the publisher, so that no request pays for freeing a large snapshot.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::watch;

/// A shared handle; clones see the same value.
pub struct Live<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    value: ArcSwap<T>,
    wake: watch::Sender<u64>,
    replaced: Mutex<Vec<Arc<T>>>,
}

/// Wakes a task when the value changed; holds no value itself, so that a slow task keeps none alive.
pub struct Changes(watch::Receiver<u64>);

// === impl Live ===

impl<T> Live<T> {
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        let shared =
            Shared { value: ArcSwap::new(value.into()), wake: watch::Sender::new(0), replaced: Mutex::new(Vec::new()) };
        Self { shared: Arc::new(shared) }
    }

    /// The current value, for the length of a request. Do not hold it across a long wait: use `load_full` there.
    pub fn load(&self) -> Guard<Arc<T>> {
        self.shared.value.load()
    }

    /// The current value, to keep.
    pub fn load_full(&self) -> Arc<T> {
        self.shared.value.load_full()
    }

    /// Replaces the value and wakes whoever subscribed.
    pub fn publish(&self, value: impl Into<Arc<T>>) {
        let old = self.shared.value.swap(value.into());
        self.shared.wake.send_modify(|version| *version += 1);
        let free = {
            let mut replaced = self.shared.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            replaced.push(old);
            // A count of one means that ours is the last: the value is out of the ArcSwap, so no new reader can come.
            let (free, held) = replaced.drain(..).partition(|value| Arc::strong_count(value) == 1);
            *replaced = held;
            free
        };
        drop::<Vec<_>>(free);
    }

    /// Changes from now on.
    pub fn subscribe(&self) -> Changes {
        Changes(self.shared.wake.subscribe())
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("version", &*self.shared.wake.borrow()).finish_non_exhaustive()
    }
}

// === impl Changes ===

impl Changes {
    /// Waits for a change since the last call (or since `subscribe`); several changes count as one. Never returns once
    /// the value's last handle is gone.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_by_readers_and_wakes_tasks_once() {
        let live = Live::new(1);
        let mut changes = live.subscribe();
        live.publish(2);
        live.publish(3);
        changes.changed().await;
        assert_eq!(**live.load(), 3);
        let again = tokio::time::timeout(std::time::Duration::from_millis(10), changes.changed()).await;
        assert!(again.is_err(), "two changes wake once");
    }

    #[test]
    fn the_publisher_drops_what_a_reader_still_held() {
        let live = Live::new(Arc::new(1));
        let reader = live.load_full();
        let old = Arc::downgrade(&reader);
        live.publish(2);
        drop(reader);
        assert!(old.upgrade().is_some(), "kept for the publisher to drop");
        live.publish(3);
        assert!(old.upgrade().is_none());
    }
}
