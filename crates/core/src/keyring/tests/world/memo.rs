//! Keyrings by number, and answers of production code already known: the same questions come again in many states.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use super::*;

/// A keyring by its number here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct RingId(u16);

/// What there is to know of a keyring, without looking at keys again.
pub(super) struct Known {
    pub(super) ring: Keyring,
    pub(super) serial: u8,
    /// The number and the half of the key that signs.
    pub(super) active: Option<(u8, u8)>,
    /// Numbers, halves and states.
    pub(super) keys: Vec<(u8, u8, KeyState)>,
    /// Whether it can be stored: one key signs at most, no number and no key is there twice.
    pub(super) sound: bool,
}

impl Known {
    fn new(ring: Keyring) -> Self {
        let small = |number: u64| u8::try_from(number).expect("a small world");
        let half = |key: &RingKey| (1..32).find(|half| jwk((*half).into()) == key.jwk).expect("a key of this world");
        let keys: Vec<_> = ring.keys.iter().map(|key| (small(key.serial), half(key), key.state)).collect();
        let active =
            keys.iter().find(|(.., state)| *state == KeyState::Active).map(|(number, half, _)| (*number, *half));
        let sound = Keyring::parse(&ring.to_json().expect("a document")).is_ok();
        Self { serial: small(ring.serial), active, keys, sound, ring }
    }

    /// The state of the key with this half.
    pub(super) fn state(&self, half: u8) -> Option<KeyState> {
        self.keys.iter().find(|(_, of, _)| *of == half).map(|(.., state)| *state)
    }
}

/// What a step asked for.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) delete: Vec<u8>,
    pub(super) ring: Option<RingId>,
    pub(super) need: Option<u8>,
}

/// A question to [`step`]: what was seen, when, and the number and half of a new key.
pub(super) type Question = (Seen, u8, Option<(u8, u8)>);

#[derive(Default)]
pub(in super::super) struct Memo {
    rings: RefCell<Vec<Rc<Known>>>,
    numbers: RefCell<HashMap<Ring, RingId>>,
    answers: RefCell<HashMap<Question, Answer>>,
    merged: RefCell<HashMap<(RingId, RingId), RingId>>,
    /// States from which recovery was seen.
    pub(super) recovered: RefCell<std::collections::HashSet<u64>>,
}

/// A keyring that hashes by what differs.
#[derive(PartialEq, Eq)]
struct Ring(Keyring);

impl Hash for Ring {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.0.serial.hash(hasher);
        for key in &self.0.keys {
            (key.serial, key.state, key.activated_at, key.published_at).hash(hasher);
        }
    }
}

impl Memo {
    pub(super) fn ring(&self, id: RingId) -> Rc<Known> {
        Rc::clone(&self.rings.borrow()[usize::from(id.0)])
    }

    pub(super) fn keep(&self, ring: Keyring) -> RingId {
        *self.numbers.borrow_mut().entry(Ring(ring.clone())).or_insert_with(|| {
            let mut rings = self.rings.borrow_mut();
            rings.push(Rc::new(Known::new(ring)));
            RingId(u16::try_from(rings.len() - 1).expect("a small world"))
        })
    }

    pub(super) fn serial(&self, id: RingId) -> u8 {
        self.rings.borrow()[usize::from(id.0)].serial
    }

    pub(super) fn merged(&self, one: RingId, other: RingId) -> RingId {
        if let Some(known) = self.merged.borrow().get(&(one, other)) {
            return *known;
        }
        let merged = self.keep(self.ring(one).ring.merged(&self.ring(other).ring));
        self.merged.borrow_mut().insert((one, other), merged);
        merged
    }

    pub(super) fn answer(&self, question: Question, ask: impl FnOnce() -> Step) -> Answer {
        if let Some(known) = self.answers.borrow().get(&question) {
            return known.clone();
        }
        let small = |number: u64| u8::try_from(number).expect("a small world");
        let Step { delete_private_halves, ring, need_key, .. } = ask();
        let answer = Answer {
            delete: delete_private_halves.into_iter().map(small).collect(),
            ring: ring.map(|ring| self.keep(ring)),
            need: need_key.map(|need| small(need.serial)),
        };
        self.answers.borrow_mut().insert(question, answer.clone());
        answer
    }
}
