//! `countersign admission`: the validating webhook; any number may run.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::cluster::Cluster;
use super::options::{ServedTls, Tls};
use crate::runtime::tls::Without;
use crate::snapshot::Role;

/// Answer the API server: may this object be written?
///
/// Any number may run; the API server asks over HTTPS, as its configuration (deploy/webhook.yaml) says:
///
///     countersign admission --issuer-url https://auth.example.com --tls-cert tls.crt --tls-key tls.key
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Admission {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    tls: ServedTls,
    /// Where the API server asks, at /validate
    #[arg(long, env = "COUNTERSIGN_LISTEN", default_value = "0.0.0.0:8444", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Authorities of client certificates, PEM: only who shows one by them is answered; read again when it changes. No default:
    /// without it whoever reaches the port is answered. What the API server shows its `--admission-control-config-file` says
    #[arg(long, env = "COUNTERSIGN_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,
}

impl Admission {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        let mut process = self.cluster.process()?;
        let mut tls = Tls::from(self.tls);
        if let Some(file) = self.client_ca {
            tls.clients = Some(process.client_judge(file, Without::Refused).await?);
        }
        let mut roles = self.cluster.roles(&mut process, Role::Admission).await?;
        roles.admission(self.listen, &tls).await?;
        process.run().await
    }
}
