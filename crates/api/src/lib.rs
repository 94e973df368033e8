//! The custom resources of Countersign as Rust types.
//!
//! Flows in: what teams write, as the API server or a folder hands it over. Flows out: the core's values, element by
//! element, each problem named; status and conditions on the way back. The limits are core's.
//!
//! ```text
//! OAuthClient ───────► core::client     ScopePolicy ─► core::policy::Source
//! NamespaceAllowance ► core::bounds     SigningKey ──► core::keyring
//! ```

#![expect(
    unreachable_pub,
    clippy::duplicated_attributes,
    reason = "KubeSchema copies each struct, `pub` and all, into a function; printer columns look alike"
)]

mod choice;
mod crds;
mod duration;
pub mod metadata;
pub mod namespaceallowance;
pub mod oauthclient;
mod problems;
pub mod reasons;
mod schema;
pub mod scopepolicy;
pub mod selector;
pub mod signingkey;
#[cfg(test)]
mod testing;
mod validate;
pub mod wiring;

pub use crds::crds;
pub use duration::{Duration, DurationError};
pub use metadata::MetadataError;
pub use namespaceallowance::{NamespaceAllowance, NamespaceAllowanceSpec, NamespaceAllowanceStatus};
pub use oauthclient::{OAuthClient, OAuthClientSpec, OAuthClientStatus};
pub use scopepolicy::{ScopePolicy, ScopePolicySpec, ScopePolicyStatus};
pub use signingkey::{SigningKey, SigningKeySpec, SigningKeyStatus};
pub use validate::{Violation, violations};

/// The API group of every kind.
pub const GROUP: &str = "countersign.dev";

/// The installation an object belongs to that names none.
pub const DEFAULT_ISSUER: &str = "default";

fn default_issuer() -> String {
    DEFAULT_ISSUER.to_owned()
}
