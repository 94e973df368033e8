//! A client's secret driven through its life by the production [`step`].

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use crate::client_secret::{
    AtDeadline, Found, Mode, Observed, Retirement, Rotation, SecretSpec, SecretState, SecretStep, Usage, step,
};
use crate::timings::Timings;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

/// Periods of 1000 s, overlaps of 100 to 500 s, disuse after 50.
fn timings() -> Timings {
    let seconds = Duration::from_secs;
    Timings {
        unused_for: seconds(50),
        usage_report_period: seconds(10),
        reject_ahead: seconds(200),
        ..Timings::default()
    }
}

/// A client, its Secret and its status; the controller writes both.
#[derive(Clone)]
struct Bed {
    spec: SecretSpec,
    state: SecretState,
    observed: Observed,
    now: i64,
    writes: usize,
}

impl Bed {
    fn new() -> Self {
        let seconds = Duration::from_secs;
        let rotation = Rotation {
            period: Some(seconds(1000)),
            overlap: seconds(100),
            retirement: Retirement::AfterOverlap,
            max_overlap: seconds(500),
            at_deadline: AtDeadline::KeepAndWarn,
        };
        let spec =
            SecretSpec { mode: Mode::Create, rotation, reject_issued_before: None, rotate_at: None, paused: false };
        let observed = Observed {
            created_at: at(990),
            former_issued_at: None,
            found: Found::Absent,
            usage: Usage::default(),
            version: 1,
        };
        Self { spec, state: SecretState::default(), observed, now: 1000, writes: 0 }
    }

    fn booted() -> Self {
        let mut bed = Self::new();
        bed.settle();
        bed
    }

    fn settle(&mut self) -> SecretStep {
        for _ in 0..5 {
            let step = step(&self.spec, &self.state, &self.observed, at(self.now), &timings());
            self.state = step.state;
            let Some(write) = step.write else { return step };
            self.writes += 1;
            self.observed.found = Found::Ours { issued_at: write.issued_at, version: write.version };
        }
        panic!("the secret does not come to rest: {:?}", self.state);
    }

    fn run_to(&mut self, now: i64) -> SecretStep {
        self.now = now;
        self.settle()
    }

    /// The earliest issue time issuers accept.
    fn not_before(&self) -> Timestamp {
        self.state.not_before(self.observed.created_at, self.spec.reject_issued_before)
    }

    fn accepts(&self, issued_at: i64) -> bool {
        at(issued_at) >= self.not_before()
    }
}

#[test]
fn the_first_value_is_the_only_one() {
    let bed = Bed::booted();
    let expected = SecretState {
        issued_at: Some(at(1000)),
        accepted_since: Some(at(1000)),
        previous_last_used_at: None,
        next_rotation: Some(at(2000)),
    };
    assert_eq!((bed.state, bed.writes), (expected, 1));
}

/// The API server tells a creation in whole seconds, rounded down.
#[test]
fn a_value_of_an_earlier_client_of_the_name_is_refused_before_status_says_anything() {
    let mut first = Bed::new();
    let made = at(1000).checked_add(Duration::from_millis(200)).expect("a time");
    let written = step(&first.spec, &first.state, &first.observed, made, &timings()).write.expect("a first value");
    assert_eq!(written.issued_at, at(1001));
    first.observed.created_at = at(1001);
    assert!(!first.accepts(1001));

    let fresh =
        step(&first.spec, &first.state, &first.observed, at(1001), &timings()).write.expect("a value of its own");
    assert!(first.accepts(fresh.issued_at.as_second()), "{fresh:?}");
}

/// The version before gave the first value the creation's own second, and may have told status no more than that.
#[test]
fn the_creations_own_second_is_good_where_status_calls_it_the_newest() {
    let mut bed = Bed::new();
    bed.observed.created_at = at(1000);
    bed.observed.found = Found::Ours { issued_at: at(1000), version: 1 };
    bed.state.issued_at = Some(at(1000));
    assert!(bed.accepts(1000) && !bed.accepts(999));
    bed.settle();
    assert_eq!((bed.writes, bed.accepts(1000)), (0, true));
}

/// Such as one whose `rejectIssuedBefore` lay ahead: an issue time says nothing of the object it was made for.
#[test]
fn the_first_value_is_later_than_the_newest_of_an_earlier_client_of_the_name() {
    let mut bed = Bed::new();
    bed.observed.former_issued_at = Some(at(1500));
    bed.settle();
    assert_eq!((bed.state.accepted_since, bed.accepts(1500)), (Some(at(1501)), false));
    // Status was not written, or lost.
    for found in [bed.observed.found, Found::Damaged] {
        (bed.state, bed.observed.found) = (SecretState::default(), found);
        bed.settle();
        assert!(
            !bed.accepts(1500) && bed.accepts(bed.state.issued_at.unwrap().as_second()),
            "{found:?}: {:?}",
            bed.state
        );
    }
    // The old Secret came back with its owner record.
    (bed.state, bed.observed.found) = (SecretState::default(), Found::Ours { issued_at: at(1500), version: 1 });
    bed.settle();
    assert!(bed.accepts(1500));
}

#[test]
fn a_rotation_keeps_both_for_the_overlap_and_then_the_new_one() {
    let mut bed = Bed::booted();
    bed.run_to(1999);
    assert_eq!(bed.writes, 1);
    let step = bed.run_to(2000);
    assert!(step.findings.rotating && bed.accepts(1000) && bed.accepts(2000));
    assert_eq!(step.wake_at, Some(at(2100)));
    bed.run_to(2099);
    assert!(bed.accepts(1000));
    let step = bed.run_to(2100);
    assert!(!step.findings.rotating && !bed.accepts(1000) && bed.accepts(2000));
    assert_eq!((bed.writes, step.wake_at), (2, Some(at(3000))));
}

#[test]
fn an_old_value_in_use_waits_for_disuse_until_the_deadline() {
    for (deadline, ends) in [(AtDeadline::KeepAndWarn, false), (AtDeadline::Reject, true)] {
        let mut bed = Bed::booted();
        bed.spec.rotation.retirement = Retirement::WhenUnused;
        bed.spec.rotation.at_deadline = deadline;
        bed.run_to(2000);
        bed.observed.usage = Usage { all_reported: true, last_used_at: Some(at(2190)) };
        assert_eq!(bed.run_to(2200).state.previous_last_used_at, Some(at(2190)));
        assert!(bed.accepts(1000));
        bed.observed.usage.last_used_at = Some(at(2499));
        assert!(!bed.run_to(2499).findings.overdue);
        let step = bed.run_to(2500);
        assert_eq!((step.findings.overdue, bed.accepts(1000)), (!ends, !ends));
    }
}

#[test]
fn an_old_value_nobody_uses_ends_only_when_every_live_issuer_said_so() {
    let mut bed = Bed::booted();
    bed.spec.rotation.retirement = Retirement::WhenUnused;
    bed.run_to(2000);
    bed.run_to(2400);
    assert!(bed.accepts(1000), "no issuer has reported");
    bed.observed.usage = Usage { all_reported: true, last_used_at: Some(at(2390)) };
    bed.run_to(2439);
    assert!(bed.accepts(1000), "it was used not long ago");
    bed.run_to(2440);
    assert!(!bed.accepts(1000));
    assert_eq!(bed.state.previous_last_used_at, None);
}

#[test]
fn silence_about_an_old_value_counts_once_it_was_old_for_long_enough() {
    let mut bed = Bed::booted();
    bed.spec.rotation = Rotation { overlap: Duration::ZERO, retirement: Retirement::WhenUnused, ..bed.spec.rotation };
    bed.observed.usage = Usage { all_reported: true, last_used_at: None };
    bed.run_to(2000);
    bed.run_to(2049);
    assert!(bed.accepts(1000) && bed.accepts(2000), "issuers report what they know to be old");
    bed.run_to(2050);
    assert!(!bed.accepts(1000) && bed.accepts(2000));
}

#[test]
fn a_periodic_rotation_waits_for_the_last_one_and_a_forced_one_does_not() {
    let mut bed = Bed::booted();
    bed.spec.rotation.retirement = Retirement::WhenUnused;
    bed.run_to(2000);
    bed.run_to(3100);
    assert_eq!(bed.writes, 2, "the first value is still accepted");
    bed.spec.rotate_at = Some(at(3200));
    bed.run_to(3199);
    assert_eq!(bed.writes, 2);
    bed.run_to(3200);
    assert_eq!((bed.writes, bed.state.issued_at), (3, Some(at(3200))));
    assert!(bed.accepts(1000) && bed.accepts(2000) && bed.accepts(3200));
    bed.run_to(3300);
    assert_eq!(bed.writes, 3, "asked for once, done once");
}

#[test]
fn a_compromise_refuses_at_once_and_makes_a_fresh_value() {
    let mut bed = Bed::booted();
    bed.spec.reject_issued_before = Some(at(1500));
    assert!(!bed.accepts(1000), "issuers read the spec itself");
    bed.run_to(1500);
    assert_eq!((bed.writes, bed.state.issued_at), (2, Some(at(1500))));
    assert!(!bed.accepts(1499) && bed.accepts(1500));
    let mut ahead = Bed::booted();
    ahead.spec.reject_issued_before = Some(at(1700));
    ahead.run_to(1500);
    assert_eq!(ahead.state.issued_at, Some(at(1700)), "a value must be acceptable from the first instant");
}

#[test]
fn a_rejection_too_far_ahead_is_refused_and_changes_nothing() {
    let mut bed = Bed::booted();
    bed.spec.reject_issued_before = Some(at(1701));
    let step = bed.run_to(1500);
    assert!(step.findings.reject_too_far_ahead);
    assert_eq!((bed.writes, step.wake_at), (1, Some(at(1501))));
}

#[test]
fn a_deleted_or_edited_secret_comes_back_fresh_and_the_old_value_has_its_overlap() {
    for found in [Found::Absent, Found::Damaged, Found::Ours { issued_at: at(1000), version: 1 }] {
        let mut bed = Bed::booted();
        bed.run_to(2000);
        bed.run_to(2100);
        bed.observed.found = found;
        bed.run_to(2200);
        assert_eq!((bed.writes, bed.state.issued_at), (3, Some(at(2200))), "{found:?}");
        assert!(bed.accepts(2000) && !bed.accepts(1000));
        bed.run_to(2300);
        assert!(!bed.accepts(2000));
    }
}

#[test]
fn a_crash_between_secret_and_status_loses_no_value() {
    let mut bed = Bed::booted();
    bed.now = 2000;
    let before = bed.state;
    bed.settle();
    bed.state = before;
    bed.run_to(2001);
    assert_eq!((bed.writes, bed.state.issued_at), (2, Some(at(2000))));
    assert!(bed.accepts(1000));
}

#[test]
fn a_secret_restored_with_its_record_is_taken_up_by_a_new_object() {
    let mut bed = Bed::new();
    bed.observed.found = Found::Ours { issued_at: at(500), version: 1 };
    bed.settle();
    assert_eq!((bed.writes, bed.state.accepted_since, bed.state.issued_at), (0, Some(at(500)), Some(at(500))));
    assert!(bed.accepts(500) && !bed.accepts(499));
    let mut rejected = Bed::new();
    rejected.spec.reject_issued_before = Some(at(600));
    rejected.observed.found = Found::Ours { issued_at: at(500), version: 1 };
    rejected.settle();
    assert_eq!((rejected.writes, rejected.accepts(500)), (1, false), "a compromise outlives a restore");
}

#[test]
fn an_old_secret_put_over_a_newer_one_ends_with_a_value_that_works() {
    let mut bed = Bed::booted();
    bed.observed.found = Found::Ours { issued_at: at(500), version: 1 };
    bed.run_to(1100);
    assert_eq!(bed.observed.found, Found::Ours { issued_at: at(1100), version: 1 });
    assert!(bed.accepts(1100) && !bed.accepts(500));
}

#[test]
fn lost_status_is_built_again_from_the_secret() {
    let mut bed = Bed::booted();
    bed.run_to(2000);
    bed.state = SecretState::default();
    bed.run_to(2050);
    assert!(bed.accepts(1000), "older values keep one overlap");
    bed.run_to(2100);
    assert!(!bed.accepts(1000) && bed.accepts(2000));
    assert_eq!(bed.writes, 2);
}

#[test]
fn an_adopted_value_stays_good_beside_the_signed_one() {
    let mut bed = Bed::new();
    bed.observed.found = Found::Foreign;
    bed.settle();
    assert_eq!(bed.writes, 0, "not ours, not asked for");
    bed.spec.mode = Mode::Adopt;
    let answer = step(&bed.spec, &bed.state, &bed.observed, at(1000), &timings());
    assert_eq!(answer.write.and_then(|write| write.keep_foreign_until), Some(at(1100)));
    bed.settle();
    assert_eq!(bed.writes, 1);
}

#[test]
fn another_signing_version_reissues_and_a_pause_writes_nothing() {
    let mut bed = Bed::booted();
    bed.observed.version = 2;
    bed.spec.paused = true;
    bed.run_to(1100);
    assert_eq!(bed.writes, 1);
    bed.spec.paused = false;
    bed.settle();
    assert_eq!(bed.observed.found, Found::Ours { issued_at: at(1100), version: 2 });
    assert!(bed.accepts(1000));
}

proptest! {
    #[test]
    fn the_newest_value_is_always_accepted_and_issue_times_only_grow(
        events in proptest::collection::vec((0u8..7, 1i64..400), 1..40)
    ) {
        let mut bed = Bed::booted();
        for (event, amount) in events {
            let before = bed.clone();
            bed.now += amount;
            match event {
                0 => bed.spec.rotate_at = Some(at(bed.now)),
                1 => bed.spec.reject_issued_before = Some(at(bed.now - amount / 2)),
                2 => bed.observed.found = Found::Absent,
                3 => bed.observed.found = Found::Damaged,
                4 => bed.observed.usage = Usage { all_reported: true, last_used_at: Some(at(bed.now - amount)) },
                5 => bed.state = before.state,
                _ => {}
            }
            let step = bed.settle();
            let Found::Ours { issued_at, .. } = bed.observed.found else { panic!("there is a value") };
            prop_assert_eq!(Some(issued_at), bed.state.issued_at);
            prop_assert!(issued_at >= bed.not_before());
            prop_assert!(bed.state.issued_at >= before.state.issued_at);
            prop_assert!(bed.not_before() >= before.not_before());
            if let Some(wake) = step.wake_at {
                prop_assert!(wake > at(bed.now));
                let just_before = Timestamp::from_second(wake.as_second() - 1).expect("a time");
                if just_before > at(bed.now) {
                    let idle = super::super::step(&bed.spec, &bed.state, &bed.observed, just_before, &timings());
                    prop_assert_eq!((idle.write, idle.state), (None, bed.state));
                }
            }
        }
    }
}
