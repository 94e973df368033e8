//! Conditions: what is so of an object, in the form every Kubernetes tool reads.
//!
//! Flows in: what a plan found, and the conditions as they were. Flows out: the new list, in which a condition keeps its
//! time while its status stays, so that an unchanged list is equal to the old one and nothing is written; and those that
//! turned, for Events.

use countersign_api::reasons::Reason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition that says whether a spec is well-formed and allowed.
pub const ACCEPTED: &str = "Accepted";
/// The condition that says whether all is as it should be.
pub const READY: &str = "Ready";

/// The most characters of a message; what is cut off says so.
const MESSAGE_MAX: usize = 1024;

/// A condition a plan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// An adjective: `Ready`.
    pub kind: &'static str,
    pub status: Status,
    /// A CamelCase constant.
    pub reason: &'static str,
    /// What is, and what to do about it.
    pub message: String,
}

/// Whether it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    True,
    False,
    Unknown,
}

// === impl Finding ===

impl Finding {
    pub fn new(kind: &'static str, status: Status, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status, reason, message: message.into() }
    }

    /// It is so, and nothing more needs saying.
    pub fn holds(kind: &'static str, reason: &'static str) -> Self {
        Self::new(kind, Status::True, reason, "")
    }

    /// It is not so.
    pub fn fails(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(kind, Status::False, reason, message)
    }

    pub fn is_true(&self) -> bool {
        self.status == Status::True
    }
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions to report. What was not found is left out: `Reconciling` and `Stalled` exist only while they hold.
pub fn merge(old: &[Condition], found: &[Finding], generation: Option<i64>, now: Timestamp) -> Vec<Condition> {
    let new = found.iter().map(|finding| {
        let known = Reason::may_stand(finding.kind, finding.status.as_str(), finding.reason);
        debug_assert!(known, "{finding:?} is not of the list in countersign_api::reasons");
        let since = find(old, finding.kind).filter(|old| old.status == finding.status.as_str());
        Condition {
            type_: finding.kind.to_owned(),
            status: finding.status.as_str().to_owned(),
            observed_generation: generation,
            last_transition_time: since
                .map_or_else(|| Time(whole_seconds(now)), |old| old.last_transition_time.clone()),
            reason: finding.reason.to_owned(),
            message: cut(&finding.message),
        }
    });
    new.collect()
}

/// The condition of a type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether a condition's status or reason differs between two lists; a condition that comes into being turns, too.
pub fn turned(old: &[Condition], new: &[Condition], kind: &str) -> bool {
    let of = |list| find(list, kind).map(|condition| (condition.status.as_str(), condition.reason.as_str()));
    of(old) != of(new)
}

/// Kubernetes keeps whole seconds; a fraction would differ from what comes back.
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// A message no longer than any schema allows.
pub fn cut(message: &str) -> String {
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MESSAGE_MAX - '…'.len_utf8());
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_turns() {
        let first = merge(&[], &[Finding::fails("Ready", "NoActiveKey", "a")], Some(1), at(10));
        let other_reason = merge(&first, &[Finding::fails("Ready", "NotAccepted", "b")], Some(2), at(20));
        assert_eq!(other_reason[0].last_transition_time, Time(at(10)));
        assert_eq!((other_reason[0].reason.as_str(), other_reason[0].observed_generation), ("NotAccepted", Some(2)));
        let turned = merge(&other_reason, &[Finding::holds("Ready", "Ready")], Some(2), at(30));
        assert_eq!(turned[0].last_transition_time, Time(at(30)));
    }

    #[test]
    fn the_same_findings_later_make_an_equal_list() {
        let found = [Finding::holds("Ready", "Ready"), Finding::holds("Accepted", "Accepted")];
        let first = merge(&[], &found, Some(1), at(10));
        assert_eq!(merge(&first, &found, Some(1), at(99)), first);
    }

    #[test]
    fn what_is_no_longer_found_goes_and_counts_as_turned() {
        let old = merge(&[], &[Finding::holds("Stalled", "SecretTooWeak")], None, at(1));
        let new = merge(&old, &[], None, at(2));
        assert!(new.is_empty() && turned(&old, &new, "Stalled") && !turned(&new, &new, "Stalled"));
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let long = "ä".repeat(2_000);
        let cut = cut(&long);
        assert!(cut.len() <= MESSAGE_MAX && cut.ends_with("ä…"));
    }
}
