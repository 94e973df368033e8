//! What a client needs: the whole decision, without a clock, a random number or a call.
//!
//! ```text
//! spec, status, Directory, Secret, record, reports ──► epochs ───────► revocations, written first
//!                                                 ├──► credentials ──► record, Secret
//!                                                 └──► findings ─────► status, written last
//! ```
//!
//! Flows in: [`Observed`]. Flows out: [`Plan`]. A crash between two of its writes is harmless: the next look decides the
//! same from what is there.

use std::sync::Arc;

use countersign_api::oauthclient::{Refused, SecretStatus};
use countersign_api::{OAuthClient, OAuthClientStatus};
use countersign_core::client::{ClientState, DeletionPolicy, SecretSettings};
use countersign_core::client_secret::{SecretState, Usage, VerifyingKeys};
use countersign_core::directory::{ClientView, reason};
use countersign_core::names::{Audience, IssuerName};
use countersign_core::policy::Problem;
use countersign_core::revocation::{EpochMemory, KnownEpoch};
use countersign_core::scope::ScopeSet;
use countersign_core::timings::Timings;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

use super::credentials::{
    self, Credentials, Kept, OLD_VALUE_IN_USE, ROTATE_AT_INVALID, RecordChange, SecretChange, Seen, TOO_FAR_AHEAD,
};
use super::epochs::{self, Grants};
use super::fights::Heals;
use super::findings::{self, Standing};
use super::secret::{Connection, Owner, Wanted, owner};
use crate::controller::conditions::{self, Finding};

/// What does not differ from client to client.
pub(super) struct Installation<'a> {
    pub(super) issuer: &'a IssuerName,
    pub(super) connection: &'a Connection,
    pub(super) timings: &'a Timings,
    pub(super) keys: &'a VerifyingKeys,
}

/// Everything a decision rests on.
pub(super) struct Observed {
    /// As it lies in the store.
    pub(super) object: Arc<OAuthClient>,
    /// As the Directory holds it: the same generation.
    pub(super) view: Arc<ClientView>,
    pub(super) granted: Grants,
    pub(super) refused: Vec<(Audience, String, &'static str)>,
    pub(super) refused_count: usize,
    pub(super) signing_key_exists: bool,
    /// The epoch the revocations know.
    pub(super) known_epoch: KnownEpoch,
    /// The owner record.
    pub(super) record: String,
    /// The Secret under the name the spec says.
    pub(super) secret: Option<Arc<Secret>>,
    /// The Secret under the name status says.
    pub(super) former: Option<Arc<Secret>>,
    pub(super) rotate_at: Result<Option<Timestamp>, Problem>,
    pub(super) usage: Usage,
    /// Which issuer saw the last use of an older value.
    pub(super) used_at_issuer: Option<String>,
    pub(super) heals: Heals,
    /// The record of a value that is not ours.
    pub(super) kept_record: Option<Kept>,
}

impl Observed {
    /// What an accepted client says of its Secret, if it has one.
    pub(super) fn settings(&self) -> Option<&SecretSettings> {
        self.view.accepted().and_then(|client| client.secret())
    }

    /// What its Secret should be like.
    pub(super) fn wanted<'a>(&'a self, connection: &'a Connection) -> Option<Wanted<'a>> {
        let client = &self.view.object;
        Some(Wanted {
            object: &client.object,
            record: &self.record,
            client_id: client.client_id.as_ref()?,
            settings: self.settings()?,
            connection,
            retain: self.view.accepted()?.deletion_policy == DeletionPolicy::Retain,
        })
    }
}

/// What to do, in this order.
pub(super) struct Plan {
    /// Epochs to revoke: for one audience or all, and the lowest epoch still good.
    pub(super) revoke: Vec<(Option<Audience>, u64)>,
    pub(super) record: RecordChange,
    pub(super) secret: SecretChange,
    /// Somebody undid what we wrote.
    pub(super) heals: bool,
    /// A Secret under a former name.
    pub(super) remove: Option<Arc<Secret>>,
    pub(super) report: Report,
    /// Whether status may be written: not while paused, unless the epoch grows.
    pub(super) silent: bool,
    /// Whether the epoch grows: status has to say so whatever else fails.
    pub(super) grows: bool,
    pub(super) wake_at: Option<Timestamp>,
}

/// What status is to say.
pub(super) struct Report {
    client_id: Option<String>,
    generation: Option<i64>,
    findings: Vec<Finding>,
    memory: EpochMemory,
    refused: Vec<Refused>,
    grants: Option<String>,
    secret: Option<SecretStatus>,
}

/// Decides.
pub(super) fn plan(installation: &Installation<'_>, observed: &Observed, now: Timestamp) -> Plan {
    let old = observed.object.status.clone().unwrap_or_default();
    let client = &observed.view.object;
    let accepted = observed.view.accepted();
    let epochs = epochs::decide(&observed.object, client.spec.as_ref().ok(), &observed.granted, &observed.known_epoch);
    let credentials = observed.settings().map(|settings| credentials(installation, observed, settings, &old, now));
    let secret = match (&credentials, observed.settings()) {
        (Some(credentials), Some(settings)) => Some(SecretStatus::new(settings.name.as_str(), &credentials.state)),
        _ => old.secret.clone(),
    };
    let remove = credentials.as_ref().and_then(|credentials| former(observed, credentials));
    let problems = problems(observed, credentials.as_ref());
    let standing = standing(observed, &problems, credentials.as_ref());
    // Issuers sign nothing for a client whose status is behind the revocations.
    let grows = !epochs.entries.is_empty() || epochs.memory.epoch > EpochMemory::from(&old).epoch;
    let report = Report {
        client_id: client.client_id.as_ref().map(ToString::to_string),
        generation: observed.object.metadata.generation,
        findings: findings::all(&standing),
        grants: accepted.map(|_| standing.summary(observed.granted.values().map(ScopeSet::len).sum())),
        refused: observed.refused.iter().map(written_refused).collect(),
        memory: epochs.memory,
        secret,
    };
    let silent = client.paused && !grows;
    let (record, secret, heals, wake_at) = match credentials {
        Some(Credentials { record, change, heals, wake_at, .. }) => (record, change, heals, wake_at),
        None => (RecordChange::Keep, SecretChange::Keep, false, None),
    };
    Plan { revoke: epochs.entries, record, secret, heals, remove, report, silent, grows, wake_at }
}

fn standing<'a>(observed: &'a Observed, problems: &'a [Problem], credentials: Option<&Credentials>) -> Standing<'a> {
    let accepted = observed.view.accepted();
    let signing_key = accepted.map(|client| client.tokens.signing_key.as_str());
    Standing {
        problems,
        asks: accepted.is_some_and(|client| !client.access.is_empty()),
        suspended: accepted.is_some_and(|client| client.state == ClientState::Suspended),
        granted: !observed.granted.is_empty(),
        refused: &observed.refused,
        refused_count: observed.refused_count,
        signing_key: signing_key.filter(|_| !observed.signing_key_exists),
        credentials: credentials.map(|credentials| credentials.finding.clone()),
    }
}

fn credentials(
    installation: &Installation<'_>,
    observed: &Observed,
    settings: &SecretSettings,
    old: &OAuthClientStatus,
    now: Timestamp,
) -> Credentials {
    let state = old.secret.as_ref().map(SecretState::from).unwrap_or_default();
    if let Some(problem) = &observed.view.secret_conflict {
        return credentials::not_tried(problem.reason, &problem.message, state);
    }
    let Some(wanted) = observed.wanted(installation.connection) else {
        return credentials::not_tried("NotAccepted", "the client is not accepted", state);
    };
    let written = old
        .secret
        .as_ref()
        .is_some_and(|secret| secret.issued_at.is_some() && secret.name.as_deref() == Some(settings.name.as_str()));
    let seen = Seen {
        wanted: &wanted,
        issuer: installation.issuer,
        timings: installation.timings,
        keys: installation.keys,
        secret: observed.secret.as_ref(),
        created_at: observed.view.object.created_at,
        state,
        has_written: written,
        is_current: old.observed_generation == observed.object.metadata.generation,
        rotate_at: observed.rotate_at.as_ref().ok().copied().flatten(),
        paused: observed.view.object.paused,
        usage: observed.usage,
        used_at_issuer: observed.used_at_issuer.as_deref(),
        heals: &observed.heals,
        kept_record: observed.kept_record,
    };
    let mut credentials = credentials::decide(&seen, now);
    if let Err(Problem { element, message, .. }) = &observed.rotate_at {
        let said = &mut credentials.finding.message;
        *said = format!("{said}; {element} asks for nothing: {message}");
        if credentials.finding.is_true() && credentials.finding.reason != OLD_VALUE_IN_USE {
            credentials.finding.reason = ROTATE_AT_INVALID;
        }
    }
    credentials
}

/// What is wrong with the client, by its spec, by what others hold, and by the clock.
fn problems(observed: &Observed, credentials: Option<&Credentials>) -> Vec<Problem> {
    let mut problems = observed.view.problems.clone();
    if credentials.is_some_and(|credentials| credentials.finding.reason == TOO_FAR_AHEAD) {
        let message = "lies more than an hour ahead: write the time of the leak, which has passed";
        problems.push(Problem::new("rejectIssuedBefore", reason::INVALID, message));
    }
    problems
}

/// The Secret under a name the client no longer uses, once it has its new one.
fn former(observed: &Observed, credentials: &Credentials) -> Option<Arc<Secret>> {
    let (client, settings) = (observed.view.accepted()?, observed.settings()?);
    let former = observed.former.as_ref()?;
    let kept = client.deletion_policy == DeletionPolicy::Retain || observed.view.object.paused;
    let ours = owner(former, &observed.record) == Owner::Us;
    let other = former.metadata.name.as_deref() != Some(settings.name.as_str());
    (ours && other && !kept && credentials.finding.is_true()).then(|| Arc::clone(former))
}

fn written_refused((audience, scope, reason): &(Audience, String, &'static str)) -> Refused {
    Refused {
        audience: audience.to_string(),
        scope: scope.clone(),
        reason: (*reason).to_owned(),
        message: Some(findings::refusal(reason).to_owned()),
    }
}

impl Report {
    /// The status to write, given the one that is there: equal to it when there is nothing new to say.
    pub(super) fn status(&self, old: &OAuthClientStatus, now: Timestamp) -> OAuthClientStatus {
        let Self { client_id, generation, findings, memory, refused, grants, secret } = self;
        let mut status = OAuthClientStatus {
            client_id: client_id.clone(),
            observed_generation: *generation,
            conditions: conditions::merge(&old.conditions, findings, *generation, now),
            grants: grants.clone(),
            refused: refused.clone(),
            secret: secret.clone(),
            ..OAuthClientStatus::default()
        };
        epochs::remember(memory, &mut status);
        status
    }

    /// The status there is, with nothing but the memory of epochs and grants renewed.
    pub(super) fn memory(&self, old: &OAuthClientStatus) -> OAuthClientStatus {
        let mut status = old.clone();
        epochs::remember(&self.memory, &mut status);
        status
    }

    /// The same, had the Secret not been written: what status said of it stays.
    pub(super) fn unwritten(&mut self, old: Option<&OAuthClientStatus>, finding: &Finding) {
        self.secret = old.and_then(|old| old.secret.clone());
        findings::replace_credentials(&mut self.findings, finding);
    }
}
