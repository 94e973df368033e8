//! A Redis or Valkey that all issuers share.
//!
//! Flows in: uses. Flows out: whether `SET … NX` made the entry, which ends by itself when the assertion does. It must keep what
//! it was told: no eviction, and a failover loses at most what its replicas had not got yet.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::names::IssuerName;
use jiff::Timestamp;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ConnectionInfo, IntoConnectionInfo as _, TlsCertificates};

use super::{Answer, Store, StoreError, Use};

/// How long a connection and an answer may take: who asks for a token waits for both.
const PATIENCE: Duration = Duration::from_millis(500);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// How the Redis is reached.
pub struct Connect<'a> {
    /// `redis://` or `rediss://`, without name and password.
    pub url: &'a str,
    /// The user it knows the password of; none: its default one.
    pub username: Option<&'a str>,
    pub password: Option<&'a str>,
    /// PEM of whom to trust instead of whom this machine does.
    pub authorities: Option<Vec<u8>>,
}

/// The store of any number of issuers.
#[derive(Clone)]
pub struct Shared {
    connection: ConnectionManager,
    /// So that installations can share one.
    prefix: String,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

// === impl Connect ===

impl Connect<'_> {
    fn address(&self) -> Result<ConnectionInfo, StoreError> {
        let address = self.url.into_connection_info().map_err(StoreError::Address)?;
        // Which library this is, older servers cannot note, and the user would need one more permission for it.
        let mut login = address.redis_settings().clone().set_skip_set_lib_name();
        if login.username().or(login.password()).is_some() {
            return Err(StoreError::Login);
        }
        if let Some(username) = self.username {
            login = login.set_username(username);
        }
        if let Some(password) = self.password {
            login = login.set_password(password);
        }
        Ok(address.set_redis_settings(login))
    }
}

// === impl Shared ===

impl Shared {
    /// Connects once it is asked something, and again whenever the connection is lost.
    pub fn new(connect: Connect<'_>, issuer: &IssuerName) -> Result<Self, StoreError> {
        let address = connect.address()?;
        let client = match connect.authorities {
            Some(pem) => Client::build_with_tls(address, TlsCertificates { client_tls: None, root_cert: Some(pem) }),
            None => Client::open(address),
        };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_max_delay(LONGEST_DELAY)
            .set_number_of_retries(1);
        let manager = client.and_then(|client| ConnectionManager::new_lazy_with_config(client, config));
        Ok(Self { connection: manager.map_err(StoreError::Address)?, prefix: format!("countersign:{issuer}:used:") })
    }

    fn key(&self, used: &Use) -> String {
        format!("{}{}", self.prefix, URL_SAFE_NO_PAD.encode(used.digest))
    }
}

impl Store for Shared {
    fn first_use(&self, used: Use, now: Timestamp) -> Answer<'_> {
        let left = used.ends_at.saturating_sub(now.as_second()).max(1).saturating_mul(1000);
        let mut command = redis::cmd("SET");
        command.arg(self.key(&used)).arg(1).arg("NX").arg("PX").arg(left);
        let mut connection = self.connection.clone();
        Box::pin(async move {
            let made: Option<String> = tokio::time::timeout(2 * PATIENCE, command.query_async(&mut connection))
                .await
                .map_err(|_| StoreError::Busy)?
                .map_err(StoreError::Request)?;
            Ok(made.is_some())
        })
    }
}
