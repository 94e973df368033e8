//! One life step by step, and what holds in every life.

use proptest::prelude::*;

use super::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn asked_at(now: Duration) -> Life<u32> {
    let mut life = Life::new(s(30));
    assert!(life.begin(now));
    life
}

#[test]
fn the_first_request_is_due_at_once_and_only_one_is_under_way() {
    let mut life = Life::<u32>::new(s(30));
    assert_eq!(life.rest(s(0)), s(0));
    assert!(life.begin(s(0)));
    assert!(!life.begin(s(5)));
    assert_eq!(life.rest(s(5)), Duration::MAX);
}

#[test]
fn a_token_is_renewed_at_two_thirds_and_withdrawn_before_its_end() {
    for (jitter, renewal) in [(0.0, 540), (0.5, 600), (1.0, 660)] {
        let mut life = asked_at(s(100));
        life.obtained(1, s(900), jitter);
        assert_eq!(life.rest(s(102)), s(100 + renewal - 102), "{jitter}");
        assert_eq!(life.token(s(102)), Some((&1, s(868))), "its time counts from the request, less half a minute");
        assert!(!life.begin(s(100 + renewal - 1)) && life.begin(s(100 + renewal)));
        assert!(!life.withdraw(s(969)) && life.withdraw(s(970)) && !life.withdraw(s(971)));
        assert_eq!(life.token(s(970)), None);
    }
}

#[test]
fn short_lives_have_a_short_margin_and_a_pace() {
    let mut life = asked_at(s(0));
    life.obtained(1, s(10), 0.5);
    assert_eq!((life.token(s(0)), life.token(s(9))), (Some((&1, s(9))), None));
    let mut life = asked_at(s(0));
    life.obtained(1, s(1), 0.0);
    assert_eq!((life.begin(Duration::from_millis(999)), life.begin(s(1))), (false, true));
}

#[test]
fn a_token_that_came_too_late_is_never_given() {
    let mut life = asked_at(s(0));
    life.obtained(1, s(5), 0.0);
    assert_eq!(life.token(s(6)), None);
}

#[test]
fn back_off_doubles_up_to_its_bound_and_ends_with_success() {
    let mut life = asked_at(s(0));
    let mut now = s(0);
    for wait in [1, 2, 4, 8, 16, 30, 30] {
        life.failed(now, None, 1.0);
        assert_eq!(life.rest(now), s(wait));
        now += s(wait);
        assert!(life.begin(now));
    }
    life.obtained(1, s(900), 0.0);
    assert!(life.begin(now + s(540)));
    life.failed(now + s(540), None, 1.0);
    assert_eq!(life.rest(now + s(540)), s(1));
}

#[test]
fn full_jitter_still_keeps_the_pace() {
    let mut life = asked_at(s(0));
    life.failed(s(0), None, 0.0);
    assert_eq!(life.rest(s(0)), s(1));
    assert!(life.begin(s(1)));
    life.failed(s(11), None, 0.0);
    assert_eq!(life.rest(s(11)), s(0), "the request itself took longer than the pace");
}

#[test]
fn retry_after_is_honoured_within_reason() {
    for (asked_for, waits) in [(20, 21), (86_400, 301)] {
        let mut life = asked_at(s(0));
        life.failed(s(0), Some(s(asked_for)), 1.0);
        assert_eq!(life.rest(s(0)), s(waits));
    }
}

#[test]
fn a_wish_for_a_newer_token_is_granted_once() {
    let mut life = asked_at(s(0));
    assert_eq!(life.refresh(s(0)), Refresh::Asking, "joins the request under way");
    life.obtained(1, s(900), 0.0);
    assert_eq!(life.refresh(s(9)), Refresh::Current);
    assert_eq!(life.refresh(s(10)), Refresh::Asking);
    assert!(life.begin(s(10)) && !life.begin(s(10)));
    life.failed(s(10), None, 1.0);
    assert_eq!(life.refresh(s(10)), Refresh::Later(s(1)));
    assert_eq!(life.token(s(10)).map(|(token, _)| *token), Some(1), "the old one is given on");
    assert_eq!(life.refresh(s(11)), Refresh::Asking);
}

#[test]
fn changed_credentials_end_the_back_off() {
    let mut life = asked_at(s(0));
    life.failed(s(0), Some(s(200)), 1.0);
    life.hurry(s(5));
    assert!(life.begin(s(5)));
    life.hurry(s(5));
    assert!(!life.begin(s(6)), "one request at a time");
}

/// What may happen to a life.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Obtain { life: u64, jitter: f64 },
    Fail { retry_after: Option<u64>, jitter: f64 },
    Refresh,
    Hurry,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u64..200_000).prop_map(Step::Pass),
        3 => (0_u64..4_000_000, 0.0..1.0).prop_map(|(life, jitter)| Step::Obtain { life, jitter }),
        3 => (prop::option::of(0_u64..1_000_000), 0.0..1.0)
            .prop_map(|(retry_after, jitter)| Step::Fail { retry_after, jitter }),
        1 => Just(Step::Refresh),
        1 => Just(Step::Hurry),
    ]
}

proptest! {
    /// Whatever happens, in milliseconds: no token is given at or after its end, requests keep their pace, one is under way at
    /// most, and a life that waits always has a moment to go on at.
    #[test]
    fn no_token_is_given_after_its_end(steps in prop::collection::vec(step(), 1..200)) {
        let ms = Duration::from_millis;
        let (mut life, mut now) = (Life::new(s(30)), Duration::ZERO);
        let mut under_way: Option<Duration> = None;
        let mut last_begun: Option<Duration> = None;
        for step in steps {
            match (step, under_way) {
                (Step::Pass(time), _) => now += ms(time),
                (Step::Obtain { life: lives, jitter }, Some(asked)) => {
                    // The token is its own end.
                    life.obtained(asked + ms(lives), ms(lives), jitter);
                    under_way = None;
                }
                (Step::Fail { retry_after, jitter }, Some(_)) => {
                    life.failed(now, retry_after.map(ms), jitter);
                    prop_assert!(life.due.unwrap() <= now + LONGEST_RETRY_AFTER + s(30) + PACE);
                    under_way = None;
                }
                (Step::Refresh, _) => drop(life.refresh(now)),
                (Step::Hurry, _) => life.hurry(now),
                _ => {}
            }
            if let Some((ends, rest)) = life.token(now) {
                prop_assert!(now + rest <= *ends && now < *ends);
            }
            if life.withdraw(now) {
                prop_assert!(life.token(now).is_none());
            }
            prop_assert_eq!(life.due.is_none(), under_way.is_some());
            if life.begin(now) {
                prop_assert!(under_way.is_none());
                prop_assert!(last_begun.is_none_or(|last| now >= last + PACE));
                (under_way, last_begun) = (Some(now), Some(now));
            }
        }
    }
}
