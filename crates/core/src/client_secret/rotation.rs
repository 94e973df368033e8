//! When a client gets a new secret, and when its older ones end.
//!
//! Flows in: what the spec asks for, what status remembers, what lies in the Secret, who still uses older values, the
//! time. Flows out: the value to write (before status), what status then says, when to look again. A write repeated
//! after a crash is harmless: the value in the Secret is the newer one and is taken up.

use std::time::Duration;

use jiff::Timestamp;

use crate::timings::Timings;

/// Who makes the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The controller, in a Secret of its own.
    Create,
    /// The controller, in a Secret someone else began.
    Adopt,
}

/// When older values end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retirement {
    /// After the overlap, once nobody uses them.
    #[default]
    WhenUnused,
    /// After the overlap.
    AfterOverlap,
}

/// What happens to older values still in use at `maxOverlap`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtDeadline {
    /// They stay good; people are told.
    #[default]
    KeepAndWarn,
    /// They end.
    Reject,
}

/// How values change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long a value is the newest; none: until asked for.
    pub period: Option<Duration>,
    /// How long both are good, at least.
    pub overlap: Duration,
    /// When older ones end.
    pub retirement: Retirement,
    /// When waiting for disuse is over.
    pub max_overlap: Duration,
    /// What then.
    pub at_deadline: AtDeadline,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            period: None,
            overlap: Duration::from_hours(24),
            retirement: Retirement::WhenUnused,
            max_overlap: Duration::from_hours(168),
            at_deadline: AtDeadline::KeepAndWarn,
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretSpec {
    /// Who makes the value.
    pub mode: Mode,
    /// How it changes.
    pub rotation: Rotation,
    /// Values issued earlier are compromised.
    pub reject_issued_before: Option<Timestamp>,
    /// `rotate-at`: a new value if the current one was issued earlier.
    pub rotate_at: Option<Timestamp>,
    /// `paused`: nothing is written.
    pub paused: bool,
}

/// What status remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretState {
    /// When the newest value was issued.
    pub issued_at: Option<Timestamp>,
    /// Values issued earlier are refused; where absent, the object's creation says so ([`Self::not_before`]).
    pub accepted_since: Option<Timestamp>,
    /// When an older value was last seen used.
    pub previous_last_used_at: Option<Timestamp>,
    /// When the next value is due.
    pub next_rotation: Option<Timestamp>,
}

impl SecretState {
    /// The earliest issue time accepted: the latest of `rejectIssuedBefore` and `acceptedSince` or, before the controller
    /// has said that, the second after the object's creation. Creations are told in seconds rounded down and issue times
    /// in seconds rounded up, so a value of an earlier client of this name may carry the creation's own second. That second
    /// is good where status calls it the newest value's: the version before made such.
    pub fn not_before(&self, created_at: Timestamp, reject_issued_before: Option<Timestamp>) -> Timestamp {
        let own = self.issued_at.filter(|issued| *issued >= created_at);
        let first = || first_issue_time(created_at).min(own.unwrap_or(Timestamp::MAX));
        let since = self.accepted_since.unwrap_or_else(first);
        reject_issued_before.map_or(since, |bound| bound.max(since))
    }
}

/// What lies in the Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// There is no Secret.
    Absent,
    /// Ours by its owner record, but without a value signed for this client.
    Damaged,
    /// Ours, with a value signed for this client.
    Ours {
        /// When it was issued.
        issued_at: Timestamp,
        /// The signer's key version.
        version: u32,
    },
    /// Somebody else's, given to us to adopt.
    Foreign,
}

/// Who uses older values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Whether there is a live issuer and all live issuers have reported to this leader.
    pub all_reported: bool,
    /// The last use of an older value anyone reported.
    pub last_used_at: Option<Timestamp>,
}

/// The world as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// When the client's object was created.
    pub created_at: Timestamp,
    /// When the newest value of an earlier client of this name was issued, where that is known.
    pub former_issued_at: Option<Timestamp>,
    /// What lies in the Secret.
    pub found: Found,
    /// Who uses older values.
    pub usage: Usage,
    /// The signer's version that signs new values.
    pub version: u32,
}

/// A value to sign and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Write {
    /// Its issue time, in whole seconds.
    pub issued_at: Timestamp,
    /// The signer's version to sign with.
    pub version: u32,
    /// Until when the value found there stays good beside it: record it first.
    pub keep_foreign_until: Option<Timestamp>,
}

/// What deserves a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SecretFindings {
    /// `rejectIssuedBefore` lies too far ahead: refused.
    pub reject_too_far_ahead: bool,
    /// Older values are still accepted.
    pub rotating: bool,
    /// They are, past `maxOverlap`.
    pub overdue: bool,
}

/// What to do: write the value, then status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretStep {
    /// The value to write, if one is due.
    pub write: Option<Write>,
    /// What status says once it is written.
    pub state: SecretState,
    /// When time alone changes the answer.
    pub wake_at: Option<Timestamp>,
    /// What deserves a condition.
    pub findings: SecretFindings,
}

/// Decides what a client's secret needs.
pub fn step(
    spec: &SecretSpec,
    state: &SecretState,
    observed: &Observed,
    now: Timestamp,
    timings: &Timings,
) -> SecretStep {
    let latest_bound = after(now, timings.reject_ahead);
    if let Some(bound) = spec.reject_issued_before.filter(|bound| *bound > latest_bound) {
        let findings = SecretFindings { reject_too_far_ahead: true, ..SecretFindings::default() };
        let wake_at = bound.checked_sub(timings.reject_ahead).ok();
        return SecretStep { write: None, state: *state, wake_at, findings };
    }
    let round = Round { spec, observed, now, timings };
    let mut state = round.take_up(*state);
    let write = if spec.paused { None } else { round.write(&state) };
    if let Some(write) = write {
        round.record(&mut state, write);
    } else if !spec.paused {
        round.retire(&mut state);
    }
    round.leave_former(&mut state);
    state.next_rotation = state.issued_at.zip(spec.rotation.period).map(|(issued, period)| after(issued, period));
    SecretStep { write, wake_at: round.wake_at(&state), findings: round.findings(&state), state }
}

/// One call of [`step`].
struct Round<'a> {
    spec: &'a SecretSpec,
    observed: &'a Observed,
    now: Timestamp,
    timings: &'a Timings,
}

impl Round<'_> {
    /// Takes up a value the status does not know: written before a crash, or come back with a restore.
    fn take_up(&self, mut state: SecretState) -> SecretState {
        let Found::Ours { issued_at, .. } = self.observed.found else { return state };
        if state.issued_at.is_none() && issued_at < first_issue_time(self.observed.created_at) {
            state.accepted_since = state.accepted_since.or(Some(issued_at));
        }
        state.issued_at = state.issued_at.max(Some(issued_at));
        state
    }

    /// Ends the values of an earlier client of this name, where none of them was taken up.
    fn leave_former(&self, state: &mut SecretState) {
        let former = self.observed.former_issued_at.filter(|former| state.issued_at.is_some_and(|own| *former < own));
        if let (Some(former), None) = (former, state.accepted_since) {
            let first = first_issue_time(self.observed.created_at);
            state.accepted_since = Some(first.max(after(former, Duration::from_secs(1))));
        }
    }

    /// The earliest issue time accepted.
    fn not_before(&self, state: &SecretState) -> Timestamp {
        state.not_before(self.observed.created_at, self.spec.reject_issued_before)
    }

    fn older_accepted(&self, state: &SecretState) -> bool {
        state.issued_at.is_some_and(|issued| self.not_before(state) < issued)
    }

    fn write(&self, state: &SecretState) -> Option<Write> {
        let mut keep_foreign_until = None;
        let due = match self.observed.found {
            Found::Absent | Found::Damaged => true,
            Found::Foreign => {
                keep_foreign_until = Some(after(self.now, self.spec.rotation.overlap));
                self.spec.mode == Mode::Adopt
            }
            Found::Ours { issued_at, version } => {
                let newest = state.issued_at.is_none_or(|newest| issued_at >= newest);
                !newest
                    || issued_at < self.not_before(state)
                    || version != self.observed.version
                    || self.spec.rotate_at.is_some_and(|at| at <= self.now && issued_at < at)
                    || self.period_over(state, issued_at)
            }
        };
        due.then(|| Write { issued_at: self.issue_time(state), version: self.observed.version, keep_foreign_until })
    }

    /// A periodic rotation waits for the last one to end.
    fn period_over(&self, state: &SecretState, issued_at: Timestamp) -> bool {
        let over = |period| self.now >= after(issued_at, period);
        self.spec.rotation.period.is_some_and(over) && !self.older_accepted(state)
    }

    /// Later than every earlier value, and accepted from the first instant.
    fn issue_time(&self, state: &SecretState) -> Timestamp {
        let later = |previous| after(previous, Duration::from_secs(1));
        let [after_previous, after_former] =
            [state.issued_at, self.observed.former_issued_at].map(|time| time.map(later));
        let bounds = [after_previous, after_former, self.spec.reject_issued_before, state.accepted_since];
        let first = first_issue_time(self.observed.created_at);
        let earliest = bounds.into_iter().flatten().fold(self.now.max(first), Timestamp::max);
        whole_second(earliest)
    }

    fn record(&self, state: &mut SecretState, write: Write) {
        let first = state.issued_at.is_none() && self.observed.found != Found::Damaged;
        let compromised = self.spec.reject_issued_before.is_some_and(|bound| state.issued_at < Some(bound));
        state.issued_at = Some(write.issued_at);
        if first || compromised {
            state.accepted_since = Some(write.issued_at);
        }
        state.previous_last_used_at = None;
    }

    /// Ends older values when their time has come.
    fn retire(&self, state: &mut SecretState) {
        let Some(issued_at) = state.issued_at.filter(|_| self.older_accepted(state)) else { return };
        state.previous_last_used_at = state.previous_last_used_at.max(self.observed.usage.last_used_at);
        let Rotation { overlap, retirement, max_overlap, at_deadline, .. } = self.spec.rotation;
        let overlap_over = self.now >= after(issued_at, overlap);
        let deadline_over = self.now >= after(issued_at, max_overlap.max(overlap));
        let end = match retirement {
            Retirement::AfterOverlap => overlap_over,
            Retirement::WhenUnused => {
                overlap_over && (self.unused(state, issued_at) || (deadline_over && at_deadline == AtDeadline::Reject))
            }
        };
        if end {
            state.accepted_since = Some(issued_at);
            state.previous_last_used_at = None;
        }
    }

    /// Issuers report uses of a value from when they know of the newer one, so that silence says nothing before.
    fn unused(&self, state: &SecretState, issued_at: Timestamp) -> bool {
        let last = state.previous_last_used_at.map_or(issued_at, |used| used.max(issued_at));
        self.observed.usage.all_reported && self.now >= after(last, self.timings.unused_for)
    }

    fn findings(&self, state: &SecretState) -> SecretFindings {
        let rotating = self.older_accepted(state);
        let deadline = state.issued_at.map(|issued| after(issued, self.spec.rotation.max_overlap));
        let overdue = rotating && deadline.is_some_and(|deadline| self.now >= deadline);
        SecretFindings { reject_too_far_ahead: false, rotating, overdue }
    }

    fn wake_at(&self, state: &SecretState) -> Option<Timestamp> {
        let Rotation { overlap, max_overlap, .. } = self.spec.rotation;
        let mut times = vec![state.next_rotation, self.spec.rotate_at];
        if let Some(issued_at) = state.issued_at.filter(|_| self.older_accepted(state)) {
            let (overlap_end, deadline) = (after(issued_at, overlap), after(issued_at, max_overlap));
            let asking = (self.now >= overlap_end).then(|| after(self.now, self.timings.usage_report_period));
            times.extend([Some(overlap_end), Some(deadline), asking]);
        }
        times.into_iter().flatten().filter(|time| *time > self.now).min()
    }
}

/// The earliest time a value of an object created then may carry.
fn first_issue_time(created_at: Timestamp) -> Timestamp {
    after(created_at, Duration::from_secs(1))
}

fn after(from: Timestamp, period: Duration) -> Timestamp {
    from.saturating_add(period).unwrap_or(Timestamp::MAX)
}

/// The next whole second: values carry no less.
fn whole_second(time: Timestamp) -> Timestamp {
    let floor = Timestamp::from_second(time.as_second()).unwrap_or(time);
    if floor < time { after(floor, Duration::from_secs(1)) } else { floor }
}
