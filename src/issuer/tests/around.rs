//! What an issuer may have around it.

use std::sync::Arc;

use crate::issuer::published_keys::PublishedKeys;
use crate::snapshot::cluster_keys::ClusterKeys;
use crate::snapshot::pods::Pods;
use crate::store::Store;

/// What an issuer may have around it, and need not.
#[derive(Default)]
pub(super) struct Around {
    pub(super) cluster_keys: Option<ClusterKeys>,
    pub(super) pods: Option<Pods>,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) published: Option<PublishedKeys>,
}
