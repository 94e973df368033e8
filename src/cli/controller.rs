//! `countersign controller`: reconciles the custom resources; several may run, one leads.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use countersign_core::names::ObjectName;

use super::ca_file::CaFile;
use super::certificates::CertificateFlags;
use super::cluster::Cluster;
use super::options;
use super::usage::require;
use super::wiring::WiringFlags;
use crate::controller::oauth_client::SecretAccess;
use crate::objects::lease::LeaseTimings;
use crate::snapshot::Role;

/// Reconcile the custom resources: client Secrets, signing keys, status
///
/// Several may run; one leads and writes, the others are ready to take over:
///
///     countersign controller --issuer-url https://auth.example.com --ca-file ca.crt
///     countersign controller --issuer-url https://tokens.auth.svc --system-namespace auth --certificate issuer=tokens
#[derive(Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Controller {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    certificates: CertificateFlags,
    /// How long others leave the leader's unchanged Lease alone
    #[arg(long, env = "COUNTERSIGN_LEASE_DURATION", default_value = "15s", value_name = "DURATION", value_parser = options::duration)]
    lease_duration: Duration,
    /// How long a leader acts without having renewed its Lease; shorter than the lease duration
    #[arg(long, env = "COUNTERSIGN_LEASE_DEADLINE", default_value = "10s", value_name = "DURATION", value_parser = options::duration)]
    lease_deadline: Duration,
    /// How often the Lease is looked at; shorter than the lease deadline
    #[arg(long, env = "COUNTERSIGN_LEASE_RETRY", default_value = "2s", value_name = "DURATION", value_parser = options::duration)]
    lease_retry: Duration,
    /// How the Secrets of clients are got at. `ClusterWide`: by a watch of those with its label, in every namespace. `Named`:
    /// by their names in every namespace, never listed. `ByRoleBinding`: likewise, in namespaces that bind --secret-role
    #[arg(long, env = "COUNTERSIGN_SECRET_ACCESS", value_enum, ignore_case = true, default_value_t = Mode::Named, value_name = "MODE")]
    secret_access: Mode,
    /// How often each client's Secret is read where Secrets are not watched; of many clients, 50 Secrets a second are read
    #[arg(long, env = "COUNTERSIGN_SECRET_REREAD", default_value = "60s", value_name = "DURATION", value_parser = options::duration)]
    secret_reread: Duration,
    /// ClusterRole that a namespace binds to let the controller at its Secrets (`ByRoleBinding`); conditions name it
    #[arg(long, env = "COUNTERSIGN_SECRET_ROLE", default_value = "countersign-secrets", value_name = "NAME")]
    secret_role: ObjectName,
    #[command(flatten)]
    wiring: WiringFlags,
}

/// How the Secrets of clients are got at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    #[value(name = "ClusterWide")]
    ClusterWide,
    #[value(name = "Named")]
    Named,
    #[value(name = "ByRoleBinding")]
    ByRoleBinding,
}

impl Controller {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> Result<()> {
        require(self.lease_deadline < self.lease_duration, "--lease-deadline must be shorter than --lease-duration")?;
        require(self.lease_retry < self.lease_deadline, "--lease-retry must be shorter than --lease-deadline")?;
        let lease =
            LeaseTimings { duration: self.lease_duration, deadline: self.lease_deadline, retry: self.lease_retry };
        require(!self.secret_reread.is_zero(), "--secret-reread must be longer than nothing")?;
        let access = SecretAccess {
            reread: (self.secret_access != Mode::ClusterWide).then_some(self.secret_reread),
            role: (self.secret_access == Mode::ByRoleBinding).then(|| self.secret_role.to_string()),
        };
        let mut process = self.cluster.process()?;
        let certificates = self.cluster.certificates(&self.certificates)?;
        let ca = self.certificates.ca_file.map(CaFile::read).transpose()?;
        let mut roles = self.cluster.roles(&mut process, Role::Controller).await?;
        let wiring = self.wiring.settings(self.cluster.installation());
        roles.controller((lease, access), ca, certificates, wiring);
        process.run().await
    }
}
