//! All objects of a selection, once.
//!
//! Flows in: a selection. Flows out: what a watch of it lists first, within a deadline.

use std::time::Duration;

use futures::StreamExt;

use super::Failure;
use crate::objects::{Change, Class, Object, Objects, Selection};

const LISTED_WITHIN: Duration = Duration::from_secs(10);

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
#[error("no listing came within {LISTED_WITHIN:?}")]
struct NoListing;

/// Lists; an error where nothing came, which is not the same as nothing being there.
pub(super) async fn list<K: Object>(
    objects: &Objects,
    selection: Selection,
    action: &'static str,
) -> Result<Vec<K>, Failure> {
    let mut listing = objects.watch::<K>(selection);
    match tokio::time::timeout(LISTED_WITHIN, listing.next()).await {
        Ok(Some(Change::Reset(objects, _))) => Ok(objects),
        _ => Err(Failure { class: Class::Transient, category: "timed_out", action, source: Box::new(NoListing) }),
    }
}
