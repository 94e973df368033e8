//! A replica's heartbeat: the Lease that says it lives and what it has seen.
//!
//! Flows in: what an issuer or verifier has to report. Flows out: its Lease, renewed with jitter and whenever the report
//! changes by a keyring's serial or the clock was set, deleted on shutdown. How the leader reads them is `witnesses`.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_core::keyring::ReplicaRole;
use countersign_core::names::{ObjectName, Uid};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::layout::{self, Layout, Part};
use super::{Error, Key, Objects, Preconditions};
use crate::runtime::clock::Clock;
use crate::runtime::random;
use crate::runtime::supervisor::Shutdown;
use crate::runtime::telemetry::chain;

/// The annotation with the report, JSON.
const REPORT: &str = "countersign.dev/report";
/// The label with the role.
const ROLE: &str = "countersign.dev/role";
/// How soon a heartbeat that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How long shutdown waits for the Lease to go.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a replica has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// The serial held of each ring.
    pub serials: BTreeMap<ObjectName, u64>,
    /// Which older client secrets were used lately; issuers only.
    pub used: UsedSecrets,
}

/// Uses of client secrets that are to be retired.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UsedSecrets {
    pub values: Vec<UsedSecret>,
    /// There were more than fit: every older value counts as used then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlisted_used_at: Option<Timestamp>,
}

/// One value's last use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedSecret {
    pub client: Uid,
    pub issued_at: Timestamp,
    pub last_used_at: Timestamp,
}

impl UsedSecrets {
    /// The most values one report names.
    pub const MAX: usize = 500;
}

/// The role's name in labels and Lease names.
pub fn role_name(role: ReplicaRole) -> &'static str {
    match role {
        ReplicaRole::Issuer => "issuer",
        ReplicaRole::Verifier => "verifier",
    }
}

/// What a heartbeat's Lease says: whose it is and what it reports. `None`: it is no heartbeat of this version.
pub(super) fn read(lease: &Lease) -> Option<(ReplicaRole, String, Report)> {
    let meta = &lease.metadata;
    if !layout::is_part(meta, Part::Heartbeat) {
        return None;
    }
    let role = match layout::label(meta, ROLE)? {
        "issuer" => ReplicaRole::Issuer,
        "verifier" => ReplicaRole::Verifier,
        _ => return None,
    };
    let report = layout::annotation(meta, REPORT)?;
    Some((role, meta.name.clone()?, serde_json::from_str(report).ok()?))
}

/// Keeps one replica's Lease.
pub struct Heartbeat {
    objects: Objects,
    layout: Layout,
    key: Key,
    role: ReplicaRole,
    replica: String,
    period: Duration,
    clock: Clock,
    report: watch::Receiver<Report>,
    lease: Option<Lease>,
}

impl Heartbeat {
    /// `replica` is this process's alone: the Pod's name.
    pub fn new(
        objects: &Objects,
        layout: &Layout,
        (role, replica): (ReplicaRole, &str),
        (clock, period): (Clock, Duration),
        report: watch::Receiver<Report>,
    ) -> Self {
        let name = role_name(role);
        Self {
            objects: objects.managed_by("countersign/heartbeat"),
            layout: layout.clone(),
            key: layout.heartbeat(name, replica),
            role,
            replica: replica.to_owned(),
            period,
            clock,
            report,
            lease: None,
        }
    }

    /// Beats until told to stop, then takes the Lease away: a replica that left holds nothing up.
    pub async fn run(mut self, shutdown: Shutdown) -> Result<(), Error> {
        loop {
            let wait = match self.beat().await {
                Ok(()) => self.clock.real(self.period).mul_f64(random::jitter()),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "a heartbeat was not written");
                    RETRY
                }
            };
            let ends = tokio::select! {
                () = shutdown.requested() => true,
                () = tokio::time::sleep(wait) => false,
                () = serials_changed(&mut self.report) => false,
                () = self.clock.jumped() => {
                    tracing::warn!("this machine's clock was set, or it slept: the API server is asked for the time");
                    false
                }
            };
            if ends {
                break;
            }
        }
        let whatever_it_is = Preconditions::default();
        let farewell = self.objects.delete::<Lease>(&self.key, &whatever_it_is);
        if !matches!(tokio::time::timeout(FAREWELL, farewell).await, Ok(Ok(_))) {
            tracing::warn!("the heartbeat's Lease was not deleted");
        }
        Ok(())
    }

    async fn beat(&mut self) -> Result<(), Error> {
        let report = self.report.borrow_and_update().clone();
        let metadata = match &self.lease {
            Some(lease) => lease.metadata.clone(),
            None => self.objects.get::<Lease>(&self.key).await?.map(|lease| lease.metadata).unwrap_or_default(),
        };
        let next = self.lease(metadata, &report)?;
        let exists = next.metadata.resource_version.is_some();
        let written = if exists { self.objects.replace(&next).await } else { self.objects.create(&next).await };
        // Whoever else wrote it (a predecessor of this name, somebody deleting it): read it anew at the next try.
        self.lease = written.as_ref().ok().cloned();
        written.map(|_| ())
    }

    fn lease(&self, old: ObjectMeta, report: &Report) -> Result<Lease, Error> {
        let text = serde_json::to_string(report).map_err(|_| Error::Malformed {
            kind: "Lease".to_owned(),
            key: self.key.clone(),
            message: "the report cannot be written".to_owned(),
        })?;
        let mut metadata = self.layout.meta(&self.key, Part::Heartbeat);
        metadata.labels.get_or_insert_default().insert(ROLE.to_owned(), role_name(self.role).to_owned());
        metadata.annotations = Some([(REPORT.to_owned(), text)].into());
        metadata.resource_version = old.resource_version;
        metadata.uid = old.uid;
        let spec = LeaseSpec {
            holder_identity: Some(self.replica.clone()),
            lease_duration_seconds: i32::try_from(self.period.as_secs().max(1)).ok(),
            renew_time: Some(MicroTime(self.clock.now())),
            ..LeaseSpec::default()
        };
        Ok(Lease { metadata, spec: Some(spec) })
    }
}

/// Returns once the serials differ from those last taken; never once nobody reports any more.
async fn serials_changed(report: &mut watch::Receiver<Report>) {
    let beaten = report.borrow().serials.clone();
    if report.wait_for(|report| report.serials != beaten).await.is_err() {
        std::future::pending::<()>().await;
    }
}
