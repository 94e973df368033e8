//! A small map of small numbers, cheap to copy and to compare.

/// The most a number can be.
const MOST: usize = 16;

/// Numbers to numbers; zero is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in super::super) struct Slots([u8; MOST]);

impl Slots {
    pub(in super::super) fn get(&self, at: u8) -> Option<u8> {
        Some(self.0[usize::from(at)]).filter(|held| *held > 0)
    }

    pub(in super::super) fn put(&mut self, at: u8, held: u8) {
        self.0[usize::from(at)] = held;
    }

    pub(in super::super) fn remove(&mut self, at: u8) {
        self.put(at, 0);
    }

    pub(in super::super) fn iter(&self) -> impl Iterator<Item = (u8, u8)> {
        (0..).zip(self.0).filter(|(_, held)| *held > 0)
    }

    pub(in super::super) fn retain(&mut self, keep: impl Fn(u8, u8) -> bool) {
        for (at, held) in self.iter().collect::<Vec<_>>() {
            if !keep(at, held) {
                self.remove(at);
            }
        }
    }
}
