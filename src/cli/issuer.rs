//! `countersign issuer`: the authorization server; any number may run.

use std::net::SocketAddr;

use anyhow::Result;
use clap::Args;
use countersign_core::directory::Conflicts;

use super::options::{Admin, Connection, Installation, IssuerUrl, Replica, Tls};
use super::process::{Process, ProcessFlags};
use super::roles::{Roles, Site};
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
    installation: Installation,
    #[command(flatten)]
    url: IssuerUrl,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    replica: Replica,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    process: ProcessFlags,
    #[command(flatten)]
    tls: Tls,
    /// Where /oauth2/* is served [default: 0.0.0.0:8443, with --plaintext 0.0.0.0:8080]
    #[arg(long, env = "COUNTERSIGN_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
}

impl Issuer {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        let port = if self.tls.files()?.is_some() { 8443 } else { 8080 };
        let listen = self.listen.unwrap_or_else(|| ([0, 0, 0, 0], port).into());
        let mut process = Process::start(&self.process)?;
        let timings = self.installation.timings.values()?;
        let site = Site::new(&self.installation, &self.url.issuer_url, timings, Conflicts::OldestWins)?;
        process.serve_admin(self.admin.admin_listen).await?;
        let objects = self.connection.objects(&process.clock).await?;
        let mut roles = Roles::start(&mut process, objects, site, self.replica.name()?, Role::Issuer);
        roles.issuer(listen, &self.tls).await?;
        process.run().await
    }
}
