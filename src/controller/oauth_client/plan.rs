//! What a client needs: the whole decision, without a clock, a random number or a call.
//!
//! ```text
//! spec, status, Directory, Secret, record, reports ──► epochs ───────► revocations, written first
//!                                                 ├──► credentials ──► record, Secret; or ConfigMap
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
use countersign_core::names::{Audience, ClientId, IssuerName};
use countersign_core::policy::Problem;
use countersign_core::revocation::{EpochMemory, KnownEpoch};
use countersign_core::scope::ScopeSet;
use countersign_core::timings::Timings;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::config_map::{self, ConfigChange, Decided, Wrote};
use super::credentials::{
    self, Credentials, Kept, OLD_VALUE_IN_USE, ROTATE_AT_INVALID, RecordChange, SecretChange, Seen, TOO_FAR_AHEAD,
};
use super::epochs::{self, Grants};
use super::fights::Heals;
use super::findings::{self, Standing};
use super::secret::{Connection, Owner, Wanted, is_retained, owner};
use crate::controller::conditions::{self, Finding};

/// What does not differ from client to client.
pub(super) struct Installation<'a> {
    pub(super) issuer: &'a IssuerName,
    pub(super) connection: &'a Connection,
    pub(super) timings: &'a Timings,
    pub(super) keys: &'a VerifyingKeys,
    /// Whether there is a cluster whose ServiceAccount tokens can be checked.
    pub(super) has_cluster: bool,
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
    /// The ConfigMap of a client without a Secret.
    pub(super) config_map: Option<Arc<ConfigMap>>,
    pub(super) former: Former,
    /// When the newest value of an earlier client of this name was issued, where that was lately.
    pub(super) former_issued_at: Option<Timestamp>,
    /// Why the Secret could not be read, where RBAC keeps us from it.
    pub(super) denied: Option<Finding>,
    pub(super) rotate_at: Result<Option<Timestamp>, Problem>,
    pub(super) usage: Usage,
    /// Which issuer saw the last use of an older value.
    pub(super) used_at_issuer: Option<String>,
    pub(super) heals: Heals,
    /// The record of a value that is not ours.
    pub(super) kept_record: Option<Kept>,
}

/// What was written for a client, and what it has no use for any more once the rest is in place.
#[derive(Default)]
pub(super) struct Former {
    pub(super) secrets: Vec<Arc<Secret>>,
    pub(super) config_maps: Vec<Arc<ConfigMap>>,
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

    /// What its ConfigMap should be like.
    pub(super) fn wanted_config_map<'a>(
        &'a self,
        client_id: &'a ClientId,
        connection: &'a Connection,
    ) -> config_map::Wanted<'a> {
        config_map::Wanted { object: &self.view.object.object, record: &self.record, client_id, connection }
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
    pub(super) config_map: ConfigChange,
    /// What to remove in the end.
    pub(super) leave: Former,
    pub(super) report: Report,
    /// Whether status may be written: not while paused, unless the epoch grows.
    pub(super) silent: bool,
    /// Whether the epoch grows: status has to say so whatever else fails.
    pub(super) grows: bool,
    pub(super) wake_at: Option<Timestamp>,
}

/// What there is to do about how the client proves itself.
struct Proof {
    record: RecordChange,
    secret: SecretChange,
    config_map: ConfigChange,
    /// What status says of the Secret.
    state: Option<SecretStatus>,
    /// None where it is not accepted.
    finding: Option<Finding>,
    heals: bool,
    wake_at: Option<Timestamp>,
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
    let Proof { record, secret, config_map, state, finding, heals, wake_at } = proof(installation, observed, &old, now);
    let problems = problems(observed, finding.as_ref());
    let standing = standing(observed, &problems, finding.clone());
    // Issuers sign nothing for a client whose status is behind the revocations.
    let grows = !epochs.entries.is_empty() || epochs.memory.epoch > EpochMemory::from(&old).epoch;
    let report = Report {
        client_id: client.client_id.as_ref().map(ToString::to_string),
        generation: observed.object.metadata.generation,
        findings: findings::all(&standing),
        grants: accepted.map(|_| standing.summary(observed.granted.values().map(ScopeSet::len).sum())),
        refused: observed.refused.iter().map(written_refused).collect(),
        memory: epochs.memory,
        secret: state,
    };
    let silent = client.paused && !grows;
    let leave = if finding.is_some_and(|finding| finding.is_true()) { leave(observed) } else { Former::default() };
    Plan { revoke: epochs.entries, record, secret, config_map, heals, leave, report, silent, grows, wake_at }
}

/// How the client comes to what it proves itself with: by its Secret, else by a ConfigMap that says to whom.
fn proof(installation: &Installation<'_>, observed: &Observed, old: &OAuthClientStatus, now: Timestamp) -> Proof {
    let nothing = Proof {
        record: RecordChange::Keep,
        secret: SecretChange::Keep,
        config_map: ConfigChange::Keep,
        state: old.secret.clone(),
        finding: None,
        heals: false,
        wake_at: None,
    };
    if let Some(settings) = observed.settings() {
        let credentials = credentials(installation, observed, settings, old, now);
        let Credentials { record, change, heals, wake_at, finding, state } = credentials;
        let state = Some(SecretStatus::new(settings.name.as_str(), &state));
        return Proof { record, secret: change, state, finding: Some(finding), heals, wake_at, ..nothing };
    }
    match (observed.view.accepted(), &observed.view.object.client_id) {
        (Some(_), Some(client_id)) => {
            let decided = config_map(installation, observed, client_id, old, now);
            let Decided { change, finding, heals, wake_at } = decided;
            // No value is good any more. Should one be again, those that were dead before stay so.
            let since = old.secret.as_ref().and_then(|secret| secret.accepted_since);
            let state = since.map(|since| SecretStatus { accepted_since: Some(since), ..SecretStatus::default() });
            let state = if finding.is_true() { state } else { old.secret.clone() };
            Proof {
                config_map: change,
                record: RecordChange::Remove,
                state,
                finding: Some(finding),
                heals,
                wake_at,
                ..nothing
            }
        }
        _ => nothing,
    }
}

fn config_map(
    installation: &Installation<'_>,
    observed: &Observed,
    client_id: &ClientId,
    old: &OAuthClientStatus,
    now: Timestamp,
) -> Decided {
    let says = conditions::find(&old.conditions, credentials::CREDENTIALS_READY).map(|said| said.reason.as_str());
    let is_current = old.observed_generation == observed.object.metadata.generation;
    let seen = config_map::Seen {
        wanted: &observed.wanted_config_map(client_id, installation.connection),
        existing: observed.config_map.as_ref(),
        wrote: match says {
            Some(config_map::NO_SECRET | config_map::CONFIG_MAP_CONTESTED) if is_current => Wrote::ForThisSpec,
            Some(config_map::NO_SECRET | config_map::CONFIG_MAP_CONTESTED) => Wrote::Earlier,
            _ => Wrote::Never,
        },
        paused: observed.view.object.paused,
        checkable: installation.has_cluster
            || observed.view.accepted().is_some_and(|client| client.registered_keys().is_some()),
        heals: &observed.heals,
    };
    config_map::decide(&seen, now)
}

fn standing<'a>(observed: &'a Observed, problems: &'a [Problem], credentials: Option<Finding>) -> Standing<'a> {
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
        credentials,
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
    if let Some(denied) = &observed.denied {
        return credentials::not_tried(denied.reason, &denied.message, state);
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
        former_issued_at: observed.former_issued_at,
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
fn problems(observed: &Observed, credentials: Option<&Finding>) -> Vec<Problem> {
    let mut problems = observed.view.problems.clone();
    if credentials.is_some_and(|finding| finding.reason == TOO_FAR_AHEAD) {
        let message = "lies more than an hour ahead: write the time of the leak, which has passed";
        problems.push(Problem::new("rejectIssuedBefore", reason::INVALID, message));
    }
    problems
}

/// What the client has no use for any more, once what it uses is there.
fn leave(observed: &Observed) -> Former {
    let Some(client) = observed.view.accepted().filter(|_| !observed.view.object.paused) else {
        return Former::default();
    };
    let ours = |meta: &ObjectMeta| owner(meta, &observed.record) == Owner::Us;
    let name = observed.settings().map(|settings| settings.name.as_str());
    let other = |secret: &Secret| name.is_none() || secret.metadata.name.as_deref() != name;
    let retain = client.deletion_policy == DeletionPolicy::Retain;
    // Without a Secret of its own the client may have come after one that left its Secret behind.
    let kept = |secret: &Secret| retain || (name.is_none() && is_retained(secret));
    let goes = |secret: &&Arc<Secret>| ours(&secret.metadata) && other(secret) && !kept(secret);
    let secrets = observed.former.secrets.iter().filter(goes).cloned().collect();
    let config_maps = observed.former.config_maps.iter().filter(|map| ours(&map.metadata)).cloned().collect();
    Former { secrets, config_maps }
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
