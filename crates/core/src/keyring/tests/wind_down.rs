//! Rings whose SigningKey was deleted, and perhaps made again.

use super::*;

impl Bed {
    fn departed(&self) -> Departed {
        let witnesses = self.observed.witnesses.clone();
        Departed { witnesses, known_serial: 0, remembered: self.observed.remembered.clone() }
    }

    /// Winds the ring down as far as it goes now; whether it is over.
    fn wind(&mut self, now: i64) -> (bool, Option<i64>) {
        self.now = now;
        for _ in 0..20 {
            let next = wind_down(self.ring(), &self.departed(), at(self.now), &timings());
            self.deleted.extend(&next.delete_private_halves);
            let Some(ring) = next.ring else { return (next.over, next.wake_at.map(Timestamp::as_second)) };
            assert!(ring.serial > self.ring().serial, "the serial grows");
            self.ring = Some(ring);
        }
        panic!("the ring does not come to rest: {:?}", self.ring);
    }
}

#[test]
fn nothing_signs_at_once_and_what_was_signed_is_good_to_its_end() {
    use KeyState::{Removed, Retiring};
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("i", ReplicaRole::Issuer, bed.ring().serial)];
    assert_eq!(bed.wind(2000), (false, Some(2000 + PRIVATE)), "an issuer may be signing still");
    assert_eq!((bed.states(), bed.deleted.clone()), (vec![Retiring, Removed], vec![2]));
    bed.all_report();
    assert_eq!(bed.wind(2010), (false, Some(2000 + RETIRING)), "no issuer is");
    assert_eq!(bed.deleted, [2, 1]);
    assert_eq!(bed.wind(2000 + RETIRING - 1), (false, Some(2000 + RETIRING)));
    assert_eq!(bed.states(), [Retiring, Removed]);
    assert_eq!(bed.wind(2000 + RETIRING), (true, None));
    assert_eq!(bed.states(), [Removed, Removed]);
}

#[test]
fn an_issuer_that_never_reports_keeps_the_private_half_no_longer_than_it_may_sign() {
    let mut bed = Bed::booted();
    bed.observed.witnesses = vec![witness("i", ReplicaRole::Issuer, 1)];
    bed.wind(2000);
    bed.wind(2000 + PRIVATE - 1);
    assert_eq!(bed.deleted, [2]);
    bed.wind(2000 + PRIVATE);
    assert_eq!(bed.deleted, [2, 1]);
}

#[test]
fn a_ring_wanted_again_while_it_ends_goes_on_with_a_new_key() {
    use KeyState::{Active, Published, Removed, Retiring};
    let mut bed = Bed::booted();
    bed.wind(2000);
    bed.run_to(2050);
    assert_eq!(bed.states(), [Retiring, Removed, Active, Published]);
}

#[test]
fn a_ring_wanted_again_after_its_end_goes_on_where_it_ended_and_nobody_is_alarmed() {
    use KeyState::{Active, Published, Removed};
    let mut bed = Bed::booted();
    bed.wind(2000);
    assert_eq!(bed.wind(3000), (true, None));
    bed.observed.remembered = bed.ring.take();
    let step = bed.run_to(4000);
    assert_eq!(bed.states(), [Removed, Removed, Active, Published]);
    assert!(!step.findings.rollback && !step.findings.keyring_lost, "{:?}", step.findings);
}

#[test]
fn a_compromised_key_stays_revoked_and_a_restored_keyring_brings_no_key_back() {
    use KeyState::{Removed, Revoked};
    let mut bed = Bed::booted();
    let before = bed.ring.clone();
    bed.observed.spec.revoked.insert(bed.ring().keys[0].key_id().clone());
    bed.run_to(1500);
    bed.wind(2000);
    bed.wind(3000);
    assert_eq!(bed.states()[..2], [Revoked, Removed]);
    bed.observed.remembered = std::mem::replace(&mut bed.ring, before);
    assert!(bed.wind(3001).0);
    assert_eq!(bed.states()[..2], [Revoked, Removed]);
}
