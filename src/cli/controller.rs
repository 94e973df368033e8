//! `countersign controller`: reconciles the custom resources; several may run, one leads.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use countersign_core::directory::Conflicts;

use super::options::{self, Admin, Connection, Installation, IssuerUrl, Replica};
use super::process::{Process, ProcessFlags};
use super::roles::{Roles, Site};
use crate::objects::lease::LeaseTimings;
use crate::snapshot::Role;

/// Reconcile the custom resources: client Secrets, signing keys, status
///
/// Several may run; one leads and writes, the others are ready to take over.
#[derive(Args, Debug)]
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
    /// Authorities that clients must trust to reach the issuer, PEM; handed out in each client's Secret
    #[arg(long, env = "COUNTERSIGN_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long others leave the leader's unchanged Lease alone
    #[arg(long, env = "COUNTERSIGN_LEASE_DURATION", default_value = "15s", value_parser = options::duration)]
    lease_duration: Duration,
    /// How long a leader acts without having renewed its Lease; shorter than the lease duration
    #[arg(long, env = "COUNTERSIGN_LEASE_DEADLINE", default_value = "10s", value_parser = options::duration)]
    lease_deadline: Duration,
    /// How often the Lease is looked at
    #[arg(long, env = "COUNTERSIGN_LEASE_RETRY", default_value = "2s", value_parser = options::duration)]
    lease_retry: Duration,
}

impl Controller {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        ensure!(self.lease_deadline < self.lease_duration, "--lease-deadline must be shorter than --lease-duration");
        ensure!(self.lease_retry < self.lease_deadline, "--lease-retry must be shorter than --lease-deadline");
        let lease =
            LeaseTimings { duration: self.lease_duration, deadline: self.lease_deadline, retry: self.lease_retry };
        let mut process = Process::start(&self.process)?;
        let timings = self.installation.timings.values()?;
        let site = Site::new(&self.installation, &self.issuer.issuer_url, timings, Conflicts::OldestWins)?;
        process.serve_admin(self.admin.admin_listen).await?;
        let objects = self.connection.objects(&process.clock).await?;
        let mut roles = Roles::start(&mut process, objects, site, self.replica.name()?, Role::Controller);
        roles.controller(self.ca_file.as_deref(), lease)?;
        process.run().await
    }
}
