//! `countersign issuer`: the authorization server; any number may run.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::client_keys::ClientKeysFlags;
use super::cluster::Cluster;
use super::options::Tls;
use super::store::StoreFlags;
use crate::runtime::tls::Without;
use crate::snapshot::Role;

/// Serve /oauth2/*: issue, introspect and revoke access tokens
///
/// Any number may run:
///
///     countersign issuer --issuer-url https://auth.example.com --tls-cert tls.crt --tls-key tls.key
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Issuer {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    tls: Tls,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    client_keys: ClientKeysFlags,
    /// Where /oauth2/* is served [default: 0.0.0.0:8443, with --plaintext 0.0.0.0:8080]
    #[arg(long, env = "COUNTERSIGN_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Refuse a ServiceAccount token as soon as its pod is gone, not only at its end. Needs list and watch of pods; their
    /// metadata alone is read, in namespaces with such clients
    #[arg(long, env = "COUNTERSIGN_WATCH_PODS")]
    watch_pods: bool,
    /// Authorities of client certificates, PEM, for clients of method `MutualTls`; read again when it changes. No default: without it
    /// nobody is asked for a certificate
    #[arg(long, env = "COUNTERSIGN_CLIENT_CA", value_name = "FILE", conflicts_with = "plaintext")]
    client_ca: Option<PathBuf>,
}

impl Issuer {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        let port = if self.tls.files()?.is_some() { 8443 } else { 8080 };
        let listen = self.listen.unwrap_or_else(|| ([0, 0, 0, 0], port).into());
        let (store, roots) = (self.cluster.store(&self.store)?, self.client_keys.roots()?);
        let mut process = self.cluster.process()?;
        let mut tls = self.tls;
        if let Some(file) = self.client_ca {
            tls.clients = Some(process.client_judge(file, Without::Served).await?);
        }
        let mut roles = self.cluster.roles(&mut process, Role::Issuer).await?;
        roles.note_uses(store);
        roles.fetch_client_keys(roots)?;
        if self.watch_pods {
            roles.watch_pods();
        }
        roles.issuer(listen, &tls).await?;
        process.run().await
    }
}
