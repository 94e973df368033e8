//! What must hold in every state, from each state to the next, and in the end.

use super::*;

impl Bench {
    pub(super) fn breaks(world: &World) -> Option<&'static str> {
        let World { object, view, content, .. } = world;
        let compromised = |value: u8| value < object.reject || value < view.reject;
        // A new object takes an older one's value up once its status says so.
        let not_yet = |value: u8| [object, view].iter().any(|seen| seen.since == 0 && value <= seen.created);
        if let Content::Value(value) = *content {
            // What somebody else put there is put right.
            if !world.put_back && !not_yet(value) && !compromised(value) && !view.accepts(value) {
                return Some("an issuer refuses the value in the Secret");
            }
        }
        let (older, until) = world.older;
        let promised = older > 0 && world.now < until && view.uid == object.uid;
        if promised && !not_yet(older) && !compromised(older) && !view.accepts(older) {
            return Some("an issuer refuses the value before the last within its overlap");
        }
        None
    }

    pub(super) fn takes_back(before: &World, after: &World) -> Option<&'static str> {
        let same = before.lost == after.lost;
        // Where status says nothing yet, what it will say may be that an older value is taken up.
        if same && before.object.since > 0 && after.object.not_before() < before.object.not_before() {
            return Some("a value refused before is accepted again");
        }
        (same && after.object.issued < before.object.issued).then_some("issue times went back")
    }

    /// Once faults end, the Secret holds a good value, and no other is accepted once its overlap is over.
    pub(super) fn recovers(&self, world: &World) -> Option<String> {
        let mut after = *world;
        after.deposed = Flight::Gone;
        // Each value put back in a hurry is issued a second after the last one, so that their times run ahead of the clock.
        let hurried = world.object.issued.saturating_sub(world.now);
        for _ in 0..=OVERLAP + AHEAD + 1 + hurried {
            self.settle(&mut after);
            after.now += 1;
        }
        let rest = after;
        self.settle(&mut after);
        if (rest.object, rest.content) != (after.object, after.content) {
            return Some("the secret does not come to rest".to_owned());
        }
        let Content::Value(value) = after.content else { return Some("there is no value in the end".to_owned()) };
        let not_before = after.object.not_before();
        let told = || format!("the end is {value}, accepted from {not_before}: {after:?}");
        (value != not_before || after.object.issued != value).then(told)
    }
}
