//! Says in status and Events how a client stands.
//!
//! Flows in: a plan that was carried out, or why it was not. Flows out: a status write where something differs from what
//! is there, paced, and an Event for each condition that turned.

use countersign_api::{OAuthClient, OAuthClientStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::OAuthClients;
use super::credentials::{CREDENTIALS_READY, NO_SIGNER, OLD_VALUE_IN_USE, ROTATE_AT_INVALID};
use super::findings::{FULLY_GRANTED, RESOLVED_REFS, SUSPENDED};
use super::plan::Report;
use crate::controller::conditions::{ACCEPTED, READY, find, turned};
use crate::controller::{During, Failure, Urgency};
use crate::objects::events::{Event, Severity};

impl OAuthClients {
    /// Writes status if it differs; says when to come back if it may not be written yet.
    pub(super) async fn report(
        &self,
        object: &OAuthClient,
        report: &Report,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        let old = object.status.clone().unwrap_or_default();
        let new = report.status(&old, now);
        if object.status.as_ref() == Some(&new) {
            return Ok(None);
        }
        let urgency = if turned(&old.conditions, &new.conditions, READY) { Urgency::Ready } else { Urgency::Report };
        // Issuers sign nothing for a client whose status is behind the revocations, so that a new epoch waits for nobody.
        let grows = new.epoch.unwrap_or_default() > old.epoch.unwrap_or_default();
        if let Err(later) = self.pace.ask(urgency, now)
            && !grows
        {
            return Ok(Some(later));
        }
        let changed = OAuthClient { status: Some(new.clone()), ..object.clone() };
        let written = self.writer.replace_status(&changed).await.during("write the client's status")?;
        self.world().wrote_client(object, written);
        for event in events(object, &old, &new) {
            self.writer.event(event).await;
        }
        Ok(None)
    }

    /// Writes the epoch, and nothing that may not have come about.
    pub(super) async fn remember(&self, object: &OAuthClient, report: &Report) -> Result<(), Failure> {
        let status = report.memory(&object.status.clone().unwrap_or_default());
        let changed = OAuthClient { status: Some(status), ..object.clone() };
        let written = self.writer.replace_status(&changed).await.during("write the client's epoch")?;
        self.world().wrote_client(object, written);
        Ok(())
    }
}

/// What deserves an Event: `Ready` whichever way it turned, the others when they turn bad or say something new.
fn events(object: &OAuthClient, old: &OAuthClientStatus, new: &OAuthClientStatus) -> Vec<Event> {
    let turned = |kind: &&str| turned(&old.conditions, &new.conditions, kind);
    // A client of a new installation may be there before the very first key is.
    let first = find(&old.conditions, CREDENTIALS_READY).is_none();
    let kinds = [ACCEPTED, RESOLVED_REFS, CREDENTIALS_READY, FULLY_GRANTED, READY];
    let mut events: Vec<_> = kinds
        .into_iter()
        .filter(turned)
        .filter_map(|kind| find(&new.conditions, kind))
        .filter(|condition| !(first && condition.reason == NO_SIGNER))
        .filter_map(|condition| event(object, condition))
        .collect();
    if new.epoch > old.epoch && old.epoch.is_some() {
        let note =
            "tokens issued before this are refused from now on, for what was suspended, withdrawn or compromised";
        events.push(Event::about(object, Severity::Normal, "TokensRevoked", note));
    }
    events
}

fn event(object: &OAuthClient, condition: &Condition) -> Option<Event> {
    // `Ready` repeats the reason of the condition it rests on, which has an Event of its own.
    let (severity, reason) = match (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()) {
        (READY, "True", SUSPENDED) => return None,
        (READY, "True", _) => (Severity::Normal, "Ready"),
        (ACCEPTED, "False", _) => (Severity::Warning, "NotAccepted"),
        (RESOLVED_REFS, "False", _) => (Severity::Warning, "UnresolvedRefs"),
        (FULLY_GRANTED, "False", _) => (Severity::Warning, "NotFullyGranted"),
        (CREDENTIALS_READY, "False", _) => (Severity::Warning, "CredentialsNotReady"),
        (CREDENTIALS_READY, "True", OLD_VALUE_IN_USE) => (Severity::Warning, OLD_VALUE_IN_USE),
        (CREDENTIALS_READY, "True", ROTATE_AT_INVALID) => (Severity::Warning, ROTATE_AT_INVALID),
        _ => return None,
    };
    let note = format!("{}: {}", condition.reason, condition.message);
    Some(Event::about(object, severity, reason, note))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::conditions::{Finding, Status, merge};

    /// The Events of a report with these findings over none.
    fn told(findings: &[Finding]) -> Vec<(Severity, &'static str)> {
        let spec = serde_json::from_value(serde_json::json!({})).unwrap();
        let object = OAuthClient::new("checkout", spec);
        let conditions = merge(&[], findings, Some(1), Timestamp::MIN);
        let new = OAuthClientStatus { conditions, ..OAuthClientStatus::default() };
        let events = events(&object, &OAuthClientStatus::default(), &new);
        events.into_iter().map(|event| (event.severity, event.reason)).collect()
    }

    #[test]
    fn a_first_report_before_the_first_key_alarms_nobody() {
        assert_eq!(told(&[Finding::fails(CREDENTIALS_READY, NO_SIGNER, "wait")]), []);
        let other = [Finding::fails(CREDENTIALS_READY, "SecretNotOwned", "choose another")];
        assert_eq!(told(&other), [(Severity::Warning, "CredentialsNotReady")]);
    }

    #[test]
    fn a_suspended_client_is_not_told_to_get_tokens() {
        let ready = |reason| told(&[Finding::new(READY, Status::True, reason, "all is in place")]);
        assert_eq!((ready(SUSPENDED), ready("Ready")), (vec![], vec![(Severity::Normal, "Ready")]));
    }

    #[test]
    fn a_rotate_at_that_asks_for_nothing_is_a_warning() {
        let found = Finding::new(CREDENTIALS_READY, Status::True, ROTATE_AT_INVALID, "write a time");
        assert_eq!(told(&[found]), [(Severity::Warning, "RotateAtInvalid")]);
    }
}
