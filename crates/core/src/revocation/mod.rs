//! Revocations: what makes a token that verifies unacceptable all the same.
//!
//! Flows in: entries, written by the controller and the issuers into shards with one writer each. Flows out:
//! [`Revoked`], the merged view every verifier asks on every request. Epochs are counters, not clocks: a token that
//! carries an epoch below the entry's is refused, so none survives by having been issued in the same second.

mod entry;
mod epoch;
mod shard;
mod sink;
#[cfg(test)]
mod tests;
mod view;

pub use entry::{DecidedOn, Entry, Revocation};
pub use epoch::{EpochBasis, EpochMemory, EpochObserved, EpochStep, KnownEpoch, epoch_step};
pub use shard::{Shard, ShardFull};
pub use sink::{Sink, SinkError};
pub use view::Revoked;
