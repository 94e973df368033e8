//! `countersign controller`: reconciles the custom resources; several may run, one leads.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use countersign_core::directory::Conflicts;

use super::options::{self, Admin, Connection, Installation, IssuerUrl, Replica};
use super::process::{Process, ProcessFlags};
use super::roles::{Roles, Site, read_authorities};
use super::usage::require;
use crate::objects::lease::LeaseTimings;
use crate::snapshot::Role;

/// Reconcile the custom resources: client Secrets, signing keys, status
///
/// Several may run; one leads and writes, the others are ready to take over:
///
///     countersign controller --issuer-url https://auth.example.com --ca-file ca.crt
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Controller {
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    issuer: IssuerUrl,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    replica: Replica,
    #[command(flatten)]
    admin: Admin,
    #[command(flatten)]
    process: ProcessFlags,
    /// Authorities that clients must trust to reach the issuer, PEM; handed out in each client's Secret as `ca.crt`. By
    /// default none is, and clients trust what they trust anyway
    #[arg(long, env = "COUNTERSIGN_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long others leave the leader's unchanged Lease alone
    #[arg(long, env = "COUNTERSIGN_LEASE_DURATION", default_value = "15s", value_name = "DURATION", value_parser = options::duration)]
    lease_duration: Duration,
    /// How long a leader acts without having renewed its Lease; shorter than the lease duration
    #[arg(long, env = "COUNTERSIGN_LEASE_DEADLINE", default_value = "10s", value_name = "DURATION", value_parser = options::duration)]
    lease_deadline: Duration,
    /// How often the Lease is looked at; shorter than the lease deadline
    #[arg(long, env = "COUNTERSIGN_LEASE_RETRY", default_value = "2s", value_name = "DURATION", value_parser = options::duration)]
    lease_retry: Duration,
}

impl Controller {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        require(self.lease_deadline < self.lease_duration, "--lease-deadline must be shorter than --lease-duration")?;
        require(self.lease_retry < self.lease_deadline, "--lease-retry must be shorter than --lease-deadline")?;
        let lease =
            LeaseTimings { duration: self.lease_duration, deadline: self.lease_deadline, retry: self.lease_retry };
        let mut process = Process::start(&self.process)?;
        let timings = self.installation.timings.values()?;
        let ca = self.ca_file.as_deref().map(read_authorities).transpose()?;
        let site = Site::new(&self.installation, &self.issuer.issuer_url, timings, Conflicts::OldestWins)?;
        process.serve_admin(self.admin.admin_listen).await?;
        let objects = self.connection.objects(&process.clock).await?;
        let mut roles = Roles::start(&mut process, objects, site, self.replica.name()?, Role::Controller);
        roles.controller(ca, lease);
        process.run().await
    }
}
