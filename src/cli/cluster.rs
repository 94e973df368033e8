//! What `controller`, `issuer` and `verifier` have in common: the flags of a role in a cluster, and how it begins.

use anyhow::Result;
use clap::Args;
use countersign_core::directory::Conflicts;

use super::options::{Admin, Connection, Installation, IssuerUrl, Replica};
use super::process::{Process, ProcessFlags};
use super::roles::{Roles, Site};
use crate::snapshot::Role;

/// What there is where there is no cluster.
const WITHOUT: &str = "; `countersign standalone --manifests DIR` needs no cluster";

/// One replica of an installation in a cluster.
#[derive(Args, Debug)]
pub(crate) struct Cluster {
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
}

impl Cluster {
    /// Starts the process: logs, clock, readiness.
    pub(crate) fn process(&self) -> Result<Process> {
        Process::start(&self.process)
    }

    /// Opens the admin port and the API server, and starts the watches of a role.
    pub(crate) async fn roles<'a>(&self, process: &'a mut Process, role: Role) -> Result<Roles<'a>> {
        let timings = self.installation.timings.values()?;
        let site = Site::new(&self.installation, &self.issuer.issuer_url, timings, Conflicts::OldestWins)?;
        process.serve_admin(self.admin.admin_listen).await?;
        let objects = self.connection.objects(&process.clock, WITHOUT).await?;
        Ok(Roles::start(process, objects, site, self.replica.name()?, role))
    }
}
