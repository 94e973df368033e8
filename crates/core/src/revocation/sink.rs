//! Where a revocation goes to become known: a shard, a file, a test's list.

use std::future::Future;
use std::pin::Pin;

use super::Entry;

/// Why a revocation is not known to have been written. Whoever asked for it is told, never that it worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// The write failed, or nobody knows whether it succeeded.
    #[error("failed to write the revocation")]
    NotWritten,
    /// The bound on entries is reached and nothing can be collapsed.
    #[error("there is no room for another revocation")]
    Full,
}

/// Takes revocations; the future is done when the entry is written for everyone to see.
pub trait Sink: Send + Sync {
    /// Writes the entry.
    fn revoke(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>>;
}
