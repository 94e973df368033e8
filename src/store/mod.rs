//! What issuers must remember between requests: which assertions were used.
//!
//! ```text
//! an assertion found good ─► Store::first_use ─► the first time: go on │ again: refused │ no answer: nobody knows, 503
//!                               ├─ Embedded: a file of the one issuer there is, or memory
//!                               └─ Shared: a Redis or Valkey of all issuers
//! ```
//! Flows in: whose assertion it is, its `jti`, until when it could be used. Flows out: whether this is the first time, and to one
//! of several that ask at the same moment alone.

mod embedded;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

use aws_lc_rs::digest::{Context, SHA256};
use countersign_core::names::Uid;
use jiff::Timestamp;

pub use embedded::Embedded;
pub use shared::{Connect, Shared};

/// Why nobody knows whether it was the first time. It counts as used then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("open the store's file")]
    Open(#[source] redb::DatabaseError),
    #[error("write to the store's file")]
    Write(#[source] Box<redb::Error>),
    #[error("begin the store's thread")]
    Thread(#[source] std::io::Error),
    #[error("more is asked of the store than it answers, or it has ended")]
    Busy,
    #[error("use the address of the Redis")]
    Address(#[source] redis::RedisError),
    #[error("the address of the Redis holds a name or a password, which belong in flags and files of their own")]
    Login,
    #[error("ask the Redis")]
    Request(#[source] redis::RedisError),
}

/// What came back, in the end.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<bool, StoreError>> + Send + 'a>>;

/// Remembers which assertions were used.
pub trait Store: Debug + Send + Sync {
    /// Notes the use; true for the first one, to whichever of several asks for it first.
    fn first_use(&self, used: Use, now: Timestamp) -> Answer<'_>;
}

/// One use of an assertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Use {
    /// Of client and `jti` together: a `jti` is its client's alone, so that nobody uses up another's.
    digest: [u8; 32],
    /// From when on the assertion is refused anyway, in seconds.
    ends_at: i64,
}

impl Use {
    /// The use of an assertion of this client.
    pub fn new(client: &Uid, token_id: &str, ends_at: Timestamp) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(client.as_str().as_bytes());
        // No UID holds it.
        context.update(b"\0");
        context.update(token_id.as_bytes());
        let mut digest = [0; 32];
        digest.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self { digest, ends_at: ends_at.as_second() }
    }
}
