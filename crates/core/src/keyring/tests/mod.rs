//! Rings driven through their lives by the production [`step`].

mod emergencies;
mod life;
mod properties;
mod restores;
mod search;
mod wind_down;
mod world;

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jiff::Timestamp;

use super::*;
use crate::names::ObjectName;
use crate::timings::Timings;
use crate::token::{Algorithm, PublicJwk};

/// Seconds instead of hours: P = 10, G + W = 101, T = 10, a key retires for 101 + 10 + 2 + 4 = 117.
pub(super) fn timings() -> Timings {
    let seconds = Duration::from_secs;
    Timings {
        max_access_token_lifetime: seconds(10),
        leeway: seconds(2),
        clock_skew: seconds(2),
        jwks_max_age: seconds(3),
        propagation: seconds(1),
        offline_grace: seconds(100),
        heartbeat_period: seconds(5),
        ..Timings::default()
    }
}

pub(super) const PERIOD: i64 = 1000;
pub(super) const RETIRING: i64 = 117;
pub(super) const PRIVATE: i64 = 101;

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

/// A public key for a number, the same each time; of a cheap algorithm.
pub(super) fn jwk(number: u64) -> PublicJwk {
    static KEYS: LazyLock<Vec<PublicJwk>> = LazyLock::new(|| {
        let make = |number: u8| {
            let key = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a key");
            PublicJwk::from_public_key(Algorithm::EdDSA, key.public_key().as_ref()).expect("a public key")
        };
        (0..=255).map(make).collect()
    });
    KEYS[usize::try_from(number % 256).expect("small")].clone()
}

/// A public key of another algorithm for a number.
pub(super) fn es256(number: u64) -> PublicJwk {
    static KEYS: LazyLock<Vec<PublicJwk>> = LazyLock::new(|| {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
        let make = |_| {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
            PublicJwk::from_public_key(Algorithm::ES256, key.public_key().as_ref()).expect("a public key")
        };
        (0..=255).map(make).collect()
    });
    KEYS[usize::try_from(number % 256).expect("small")].clone()
}

pub(super) fn observed() -> Observed {
    Observed {
        spec: RingSpec {
            ring: ObjectName::new("default").expect("a name"),
            algorithm: Algorithm::EdDSA,
            period: Duration::from_secs(PERIOD.unsigned_abs()),
            pre_publish: Duration::from_secs(10),
            revoked: BTreeSet::new(),
            rotate_at: None,
            accept_restore: None,
            paused: false,
        },
        witnesses: Vec::new(),
        known_serial: 0,
        remembered: None,
        new_key: None,
    }
}

pub(super) fn witness(name: &str, role: ReplicaRole, serial: u64) -> Witness {
    Witness { name: name.to_owned(), role, serial: Some(serial) }
}

/// A ring with its controller, which makes a key whenever one is asked for.
pub(super) struct Bed {
    pub(super) ring: Option<Keyring>,
    pub(super) observed: Observed,
    pub(super) now: i64,
    pub(super) deleted: Vec<u64>,
    pub(super) writes: usize,
    pub(super) last: Option<Step>,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self { ring: None, observed: observed(), now: 1000, deleted: Vec::new(), writes: 0, last: None }
    }

    /// Past first boot: an Active key and a standby.
    pub(super) fn booted() -> Self {
        let mut bed = Self::new();
        bed.settle();
        bed
    }

    pub(super) fn settle(&mut self) -> Step {
        for _ in 0..20 {
            let step = step(self.ring.as_ref(), &self.observed, at(self.now), &timings());
            self.observed.new_key = None;
            self.deleted.extend(&step.delete_private_halves);
            if let Some(ring) = &step.ring {
                assert!(ring.serial > self.ring.as_ref().map_or(0, |ring| ring.serial), "the serial grows");
                let text = ring.to_json().expect("a document");
                assert_eq!(&Keyring::parse(&text).expect("it reads back"), ring);
                self.ring = Some(ring.clone());
                self.writes += 1;
            } else if let Some(need) = step.need_key {
                let jwk = if need.algorithm == Algorithm::ES256 { es256(need.serial) } else { jwk(need.serial) };
                self.observed.new_key = Some(NewKey { serial: need.serial, jwk });
            } else {
                assert_eq!(step.delete_private_halves, [0; 0], "nothing is deleted without being recorded");
                self.last = Some(step.clone());
                return step;
            }
        }
        panic!("the ring does not come to rest: {:?}", self.ring);
    }

    pub(super) fn run_to(&mut self, now: i64) -> Step {
        self.now = now;
        self.settle()
    }

    pub(super) fn ring(&self) -> &Keyring {
        self.ring.as_ref().expect("a ring")
    }

    pub(super) fn states(&self) -> Vec<KeyState> {
        self.ring().keys.iter().map(|key| key.state).collect()
    }

    /// All witnesses report what is stored now.
    pub(super) fn all_report(&mut self) {
        let serial = self.ring().serial;
        for witness in &mut self.observed.witnesses {
            witness.serial = Some(serial);
        }
    }
}
