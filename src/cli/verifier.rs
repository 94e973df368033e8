//! `countersign verifier`: the authorization webhook; any number may run.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;

use super::cluster::Cluster;
use super::options::Tls;
use crate::snapshot::Role;
use crate::verifier::{Network, Settings};

/// Answer proxies: may this request pass?
///
/// Any number may run; Envoy asks over gRPC or HTTP, other proxies over HTTP:
///
///     countersign verifier --issuer-url https://auth.example.com --tls-cert tls.crt --tls-key tls.key
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Verifier {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    wires: Wires,
    /// Where Envoy's gRPC `ext_authz` is served
    #[arg(long, env = "COUNTERSIGN_GRPC_LISTEN", default_value = "0.0.0.0:9001", value_name = "ADDRESS")]
    grpc_listen: SocketAddr,
    /// Where the HTTP wires are served, over HTTP/1.1: /ext-authz/…, /forward-auth/…, /auth-request/…
    #[arg(long, env = "COUNTERSIGN_HTTP_LISTEN", default_value = "0.0.0.0:9002", value_name = "ADDRESS")]
    http_listen: SocketAddr,
}

/// How the verifier treats its callers and its memory.
#[derive(Args, Clone, Debug)]
pub(crate) struct Wires {
    /// Address or network of a proxy that may say in headers what the original request was (forward auth, `auth_request`);
    /// such as 10.0.0.0/8; may be given several times. Nobody else is believed, and by default nobody is
    #[arg(long, env = "COUNTERSIGN_TRUSTED_PROXY", value_delimiter = ',', value_name = "CIDR")]
    pub(crate) trusted_proxy: Vec<Network>,
    /// Memory for tokens already verified, in bytes
    #[arg(long, env = "COUNTERSIGN_TOKEN_CACHE_BYTES", default_value_t = Settings::default().cache_bytes, value_name = "BYTES")]
    pub(crate) token_cache_bytes: u64,
}

impl Wires {
    pub(crate) fn settings(&self) -> Settings {
        Settings { cache_bytes: self.token_cache_bytes, trusted_proxies: self.trusted_proxy.clone() }
    }
}

impl Verifier {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        self.tls.files()?;
        let mut process = self.cluster.process()?;
        let mut roles = self.cluster.roles(&mut process, Role::Verifier).await?;
        roles.verifier((self.grpc_listen, self.http_listen), &self.tls, self.wires.settings()).await?;
        process.run().await
    }
}
