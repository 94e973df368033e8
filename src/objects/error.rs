//! What can go wrong with a call, typed.
//!
//! Flows in: answers of the API server, failures of the data folder. Flows out: one enum whose `class` says what the
//! caller does next (wait for a change, try again later, tell a developer) and whose `category` labels a metric.

use std::path::PathBuf;
use std::time::Duration;

use super::Key;

/// What a caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wait until somebody changes something; report it in status.
    User,
    /// Try again later, with backoff.
    Transient,
    /// Log at `error`, back off for long.
    Bug,
}

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{kind} {key} does not exist")]
    NotFound { kind: String, key: Key },
    #[error("{kind} {key} exists already")]
    AlreadyExists { kind: String, key: Key },
    /// The object changed since it was read, or a delete's precondition does not hold.
    #[error("{kind} {key} changed since it was read")]
    Conflict { kind: String, key: Key },
    #[error("not allowed to {verb} {kind} {key}: {message}")]
    Forbidden { verb: &'static str, kind: String, key: Key, message: String },
    #[error("{verb} {kind} {key} was refused as invalid: {message}")]
    Invalid { verb: &'static str, kind: String, key: Key, message: String },
    #[error("{verb} {kind} {key} took longer than {after:?}")]
    TimedOut { verb: &'static str, kind: String, key: Key, after: Duration },
    #[error("{verb} {kind} {key} failed")]
    Call {
        verb: &'static str,
        kind: String,
        key: Key,
        #[source]
        source: Box<kube::Error>,
    },
    /// Nothing says where the API server is: which file was looked for.
    #[error("no cluster: {0}")]
    NoCluster(String),
    #[error("connect to the Kubernetes API server")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was read or is to be written does not fit its type; the text holds no value of it.
    #[error("{kind} {key} cannot be read as what it should be: {message}")]
    Malformed { kind: String, key: Key, message: String },
    #[error("{kind} {key} comes from the manifests, which are read-only")]
    ReadOnly { kind: String, key: Key },
    #[error("{path} is not safe to use: {reason}", path = path.display())]
    UnsafePath { path: PathBuf, reason: &'static str },
    #[error("{path} is used by another process", path = path.display())]
    Locked { path: PathBuf },
    #[error("{action} {path}", path = path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Manifests(#[from] super::folder::manifests::Unreadable),
    #[error("the store was closed")]
    Closed,
}

impl Error {
    /// What to do about it.
    pub fn class(&self) -> Class {
        match self {
            Self::Invalid { .. }
            | Self::Forbidden { .. }
            | Self::ReadOnly { .. }
            | Self::UnsafePath { .. }
            | Self::Manifests(_) => Class::User,
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Conflict { .. }
            | Self::TimedOut { .. }
            | Self::Call { .. }
            | Self::NoCluster(_)
            | Self::Connect(_)
            | Self::Locked { .. }
            | Self::Io { .. }
            | Self::Closed => Class::Transient,
            Self::Malformed { .. } => Class::Bug,
        }
    }

    /// The value of the metric label `category`.
    pub fn category(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::AlreadyExists { .. } => "already_exists",
            Self::Conflict { .. } => "conflict",
            Self::Forbidden { .. } => "forbidden",
            Self::Invalid { .. } => "invalid",
            Self::TimedOut { .. } => "timed_out",
            Self::Call { .. } => "call",
            Self::NoCluster(_) | Self::Connect(_) => "connect",
            Self::Malformed { .. } => "malformed",
            Self::ReadOnly { .. } => "read_only",
            Self::UnsafePath { .. } => "unsafe_path",
            Self::Locked { .. } => "locked",
            Self::Io { .. } => "io",
            Self::Manifests(_) => "manifests",
            Self::Closed => "closed",
        }
    }

    /// Whether another writer was first, so that the caller reads again and decides anew.
    pub fn lost_a_race(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::AlreadyExists { .. } | Self::NotFound { .. })
    }
}
