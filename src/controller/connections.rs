//! What applications are told of the issuer, and whom they must trust to reach it.
//!
//! Flows in: what the flags say, and the authorities, which change while the controller runs. Flows out: one value for
//! everything that is written for clients; none before it is known whom they must trust.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::oauth_client::Connection;
use crate::runtime::live::{Changes, Live};

/// A shared handle; clones see the same value.
#[derive(Clone)]
pub struct Connections {
    live: Live<Connection>,
    known: Arc<AtomicBool>,
}

impl Connections {
    /// Told as it is from the start.
    pub fn known(connection: Connection) -> Self {
        Self { live: Live::new(connection), known: Arc::new(AtomicBool::new(true)) }
    }

    /// Told once [`Self::trust`] says whom to trust.
    pub fn awaiting_trust(connection: Connection) -> Self {
        Self { live: Live::new(connection), known: Arc::default() }
    }

    /// These authorities are to be trusted from now on, PEM.
    pub fn trust(&self, authorities: &str) {
        self.known.store(true, Ordering::Release);
        let now = self.live.load_full();
        if now.ca.as_deref() != Some(authorities) {
            self.live.publish(Connection { ca: Some(authorities.to_owned()), ..(*now).clone() });
        }
    }

    /// Whom clients are told to trust.
    #[cfg(test)]
    pub(crate) fn ca(&self) -> Option<String> {
        self.now().ca.clone()
    }

    /// Whether it is known whom to trust. Nothing is written for a client before.
    pub(super) fn are_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// What is told now.
    pub(super) fn now(&self) -> Arc<Connection> {
        self.live.load_full()
    }

    /// Wakes when something else is told.
    pub(super) fn subscribe(&self) -> Changes {
        self.live.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_before_it_is_known_whom_to_trust() {
        let connection = Connection {
            issuer: "https://issuer.example".to_owned(),
            token_endpoint: "https://issuer.example/oauth2/token".to_owned(),
            jwks_uri: "https://issuer.example/oauth2/jwks".to_owned(),
            ca: None,
        };
        let connections = Connections::awaiting_trust(connection.clone());
        assert!(!connections.are_known());
        connections.trust("one");
        assert_eq!(*connections.now(), Connection { ca: Some("one".to_owned()), ..connection.clone() });
        assert!(connections.are_known());
        let before = connections.now();
        connections.trust("one");
        assert!(Arc::ptr_eq(&before, &connections.now()), "equal authorities wake nobody");
        let known = Connections::known(connection.clone());
        assert!(known.are_known() && *known.now() == connection);
    }
}
