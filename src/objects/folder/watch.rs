//! Watches of a folder store.
//!
//! Flows in: the tables and their notices. Flows out: the same changes an API server's watch gives; a watch that fell
//! behind lists anew.

use std::collections::HashSet;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::super::guarded::Guarded;
use super::super::kube_watch::{Listing, applied, deleted};
use super::super::{Change, Key, Object, Selection};
use super::Inner;
use super::state::{Kind, Notice, Stored};

struct Watch {
    inner: Arc<Inner>,
    kind: Kind,
    selection: Selection,
    notices: Option<Receiver<Notice>>,
    /// What the watcher has been told of and not seen go: an object that left the selection is a deletion to it.
    told: HashSet<Key>,
}

pub(super) fn watch<K: Object>(inner: Arc<Inner>, selection: Selection) -> BoxStream<'static, Change<K>> {
    let watch = Watch { inner, kind: Kind::of::<K>(), selection, notices: None, told: HashSet::new() };
    stream::unfold(watch, |mut watch| async move {
        loop {
            let Some(notices) = watch.notices.as_mut() else {
                let listing = watch.list();
                return Some((listing.reset(), watch));
            };
            match notices.recv().await {
                Ok(notice) => {
                    if let Some(change) = watch.change(&notice) {
                        return Some((change, watch));
                    }
                }
                Err(RecvError::Lagged(_)) => watch.notices = None,
                Err(RecvError::Closed) => return None,
            }
        }
    })
    .boxed()
}

impl Watch {
    fn list<K: Object>(&mut self) -> Listing<K> {
        let (objects, notices) = self.inner.state().subscribe(&self.kind);
        self.notices = Some(notices);
        self.told.clear();
        let mut listing = Listing::default();
        for stored in objects {
            let meta = meta(&stored);
            if self.selection.covers(&meta) {
                self.told.insert(Key::of(&meta));
                listing.add(Guarded::read(stored.object.clone()), std::convert::identity);
            }
        }
        listing
    }

    fn change<K: Object>(&mut self, notice: &Notice) -> Option<Change<K>> {
        let (stored, stays) = match notice {
            Notice::Applied(stored) => (stored, true),
            Notice::Deleted(stored) => (stored, false),
        };
        let meta = meta(stored);
        let key = Key::of(&meta);
        let object = || Guarded::read(stored.object.clone());
        if stays && self.selection.covers(&meta) {
            self.told.insert(key);
            return Some(applied(object()));
        }
        self.told.remove(&key).then(|| deleted(object()))
    }
}

fn meta(stored: &Stored) -> ObjectMeta {
    stored.object.get("metadata").and_then(|meta: &Value| ObjectMeta::deserialize(meta).ok()).unwrap_or_default()
}
