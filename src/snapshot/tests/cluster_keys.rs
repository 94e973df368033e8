//! When an issuer may be asked about ServiceAccount tokens.

use super::*;
use crate::snapshot::cluster_keys::{ClusterKeys, DiscoveryError};

/// An API server that does not answer keeps nobody from being ready: the keys are tried again, and everybody else is served.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_begins_has_asked_for_the_clusters_keys_before_it_is_ready() {
    let (readiness, shutdown) = (Readiness::new(), Supervisor::new().shutdown());
    let keys = ClusterKeys::new(Duration::from_hours(1), &Metrics::new());
    let discover = async || {
        tokio::time::sleep(Duration::from_secs(3)).await;
        Err(DiscoveryError::Document)
    };
    let clock = Clock::fixed(Timestamp::UNIX_EPOCH);
    let keep = keys.keep(clock, readiness.condition("cluster-keys"), shutdown, discover);
    tokio::pin!(keep);
    for (seconds, is_ready) in [(2, false), (2, true)] {
        assert!(tokio::time::timeout(Duration::from_secs(seconds), &mut keep).await.is_err(), "it goes on");
        assert_eq!(readiness.is_ready(), is_ready);
    }
}
