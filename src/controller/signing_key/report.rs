//! What people are told about a ring: conditions, status, Events. A report: nothing reads it back but the trace of a lost
//! keyring.

use countersign_api::SigningKey;
use countersign_api::signingkey::{Ring, SigningKeyStatus};
use countersign_core::keyring::{Findings, KeyState, Step};
use countersign_core::policy::Problem;
use jiff::Timestamp;

use super::SigningKeys;
use crate::controller::conditions::{ACCEPTED, Finding, READY, Status, find, merge, turned};
use crate::controller::{During, Failure, Urgency};
use crate::objects::events::{Event, Severity};

/// Exist only while they hold, and deserve an Event.
const TROUBLES: [&str; 5] = ["RotationBlocked", "NoStandby", "KeyringLost", "RollbackDetected", WRITE_REFUSED];
const WRITE_REFUSED: &str = "WriteRefused";

impl SigningKeys {
    /// Writes the status where it differs; when to come back if that must wait.
    pub(super) async fn report(
        &self,
        object: &SigningKey,
        ring: &Ring,
        step: &Step,
    ) -> Result<Option<Timestamp>, Failure> {
        let now = self.parts.clock.now();
        let old = object.status.clone().unwrap_or_default();
        let generation = object.metadata.generation;
        let status = SigningKeyStatus {
            observed_generation: generation,
            conditions: merge(&old.conditions, &findings(ring, step), generation, now),
            ..SigningKeyStatus::from(&step.status)
        };
        self.write_status(object, &old, status).await
    }

    /// Says that the API server refused a write; what was said of the ring before stays.
    pub(super) async fn report_refused(
        &self,
        object: &SigningKey,
        failure: &Failure,
    ) -> Result<Option<Timestamp>, Failure> {
        let Failure { action, source, .. } = failure;
        let message = format!(
            "The API server does not let the controller {action}: {source}. Where permissions are missing, apply deploy/rbac.yaml again; where a quota or an admission webhook refuses, have it let this pass."
        );
        let old = object.status.clone().unwrap_or_default();
        let mut findings = vec![Finding::new(WRITE_REFUSED, Status::True, "Refused", message.clone())];
        if old.active_key_id.is_none() {
            findings.push(Finding::fails(READY, WRITE_REFUSED, message));
        }
        let generation = object.metadata.generation;
        let new = merge(&old.conditions, &findings, generation, self.parts.clock.now());
        let mut conditions = old.conditions.clone();
        conditions.retain(|known| new.iter().all(|condition| condition.type_ != known.type_));
        conditions.extend(new);
        let status = SigningKeyStatus { conditions, ..old.clone() };
        self.write_status(object, &old, status).await
    }

    async fn write_status(
        &self,
        object: &SigningKey,
        old: &SigningKeyStatus,
        status: SigningKeyStatus,
    ) -> Result<Option<Timestamp>, Failure> {
        if status == *old {
            return Ok(None);
        }
        let now = self.parts.clock.now();
        let urgent = turned(&old.conditions, &status.conditions, READY);
        if let Err(later) = self.parts.pace.ask(if urgent { Urgency::Ready } else { Urgency::Report }, now) {
            return Ok(Some(later));
        }
        let new = SigningKey { status: Some(status), ..object.clone() };
        let written = self.parts.writer.replace_status(&new).await.during("write the status of a SigningKey")?;
        self.tell(old, &written).await;
        self.objects().wrote(object, written.into());
        Ok(None)
    }

    async fn tell(&self, old: &SigningKeyStatus, new: &SigningKey) {
        let Some(status) = &new.status else { return };
        if let (Some(before), Some(after)) = (&old.active_key_id, &status.active_key_id)
            && before != after
        {
            let note = format!("Key {after} signs in place of {before}");
            self.parts.writer.event(Event::about(new, Severity::Normal, "Rotated", note)).await;
        }
        let known = revoked(old);
        for key in revoked(status).into_iter().filter(|key| !known.contains(key)) {
            let note = format!("Key {key} is revoked: no token it signed is good any more");
            tracing::info!(target: "audit", event = "revoked", key, "tokens of a key");
            self.parts.writer.event(Event::about(new, Severity::Warning, "KeyRevoked", note)).await;
        }
        if let Some(condition) = find(&status.conditions, ACCEPTED)
            && condition.status == "False"
            && turned(&old.conditions, &status.conditions, ACCEPTED)
        {
            let note = format!("{}: {}", condition.reason, condition.message);
            self.parts.writer.event(Event::about(new, Severity::Warning, "NotAccepted", note)).await;
        }
        for kind in TROUBLES {
            if let Some(condition) = status.conditions.iter().find(|condition| condition.type_ == kind)
                && turned(&old.conditions, &status.conditions, kind)
            {
                self.parts.writer.event(Event::about(new, Severity::Warning, kind, condition.message.clone())).await;
            }
        }
    }
}

fn revoked(status: &SigningKeyStatus) -> Vec<&str> {
    let revoked = status.keys.iter().filter(|key| key.state.as_str() == KeyState::Revoked.name());
    revoked.map(|key| key.key_id.as_str()).collect()
}

fn findings(ring: &Ring, step: &Step) -> Vec<Finding> {
    let accepted = accepted(&ring.problems, &step.findings);
    let mut all = vec![ready(&accepted, step), accepted];
    let Findings { refused: _, blocked_by, no_standby, keyring_lost, rollback } = &step.findings;
    let mut trouble = |holds: bool, kind: &'static str, reason: &'static str, message: String| {
        if holds {
            all.push(Finding::new(kind, Status::True, reason, message));
        }
    };
    let names = blocked_by.join(", ");
    trouble(
        !blocked_by.is_empty(),
        "RotationBlocked",
        "WaitingForReplicas",
        format!(
            "The next key waits until {names} has seen it. Look at its log; a replica that is gone stops counting by itself."
        ),
    );
    trouble(
        *no_standby,
        "NoStandby",
        "NoKeyMaySign",
        "No key may sign, so issuers answer 503. A new key signs as soon as every live verifier has it; wait, or look for a verifier that is behind.".to_owned(),
    );
    trouble(
        *keyring_lost,
        "KeyringLost",
        "BegunAnew",
        "The keyring was lost and begun anew. Tokens signed before are refused by verifiers started since.".to_owned(),
    );
    trouble(
        *rollback,
        "RollbackDetected",
        "OlderThanRemembered",
        "The keyring is older than one that replicas remember, as after restoring a backup. Check what was restored, then set the annotation countersign.dev/accept-restore to the present time.".to_owned(),
    );
    all
}

fn accepted(problems: &[Problem], findings: &Findings) -> Finding {
    if let Some(Problem { element, reason, message }) = problems.first() {
        return Finding::fails(ACCEPTED, reason, format!("{element}: {message}"));
    }
    match findings.refused {
        Some(refused) => Finding::fails(ACCEPTED, "TimingsRefused", format!("spec.rotation: {refused}")),
        None => Finding::holds(ACCEPTED, "Accepted"),
    }
}

fn ready(accepted: &Finding, step: &Step) -> Finding {
    if step.status.active_key_id.is_none() {
        return Finding::fails(READY, "NoActiveKey", "No key signs.");
    }
    if !accepted.is_true() {
        return Finding::fails(READY, "NotAccepted", accepted.message.clone());
    }
    Finding::new(READY, Status::True, "Ready", "A key signs and the next one is published.")
}
