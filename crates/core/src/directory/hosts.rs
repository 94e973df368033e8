//! Who holds which paths of which hosts.
//!
//! Flows in: a namespace's claims, each a host or all hosts below a name, and a path prefix. Flows out: which of them it
//! holds, whose claims changed hands because of it, and the namespace that holds a request's host and path. Two claims
//! meet when some request is meant by both, ports aside: a host belongs to one namespace on all its ports. A claim is
//! held unless an older one that is held, of another namespace, meets it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::directory::Conflicts;
use crate::directory::claims::{Claim, Rank};
use crate::directory::map::Ordered;
use crate::names::{Namespace, ObjectRef};
use crate::policy::{HostPattern, Pattern};

/// What is claimed, in a form in which everything below a name or a path is one range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostKey {
    /// Labels from the last to the first, a wildcard's `*` at the end: `com.example.api`, `com.example.*`.
    host: Arc<str>,
    /// `/` or `/orders/`: one is a prefix of another exactly where the paths are.
    prefix: Arc<str>,
}

type Node = Ordered<Arc<str>, Arc<[Claim<Namespace>]>>;

/// All claims on hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HostClaims(Ordered<Arc<str>, Node>);

/// One claim in the order in which claims are judged: whom it depends on comes first.
type Turn = (Rank, HostKey, Namespace);

// === impl HostKey ===

impl HostKey {
    pub(crate) fn new(host: &HostPattern, path_prefix: &Pattern) -> Self {
        let mut reversed = reverse(host.name());
        if host.is_wildcard() {
            reversed.push_str(".*");
        }
        let prefix = path_prefix.to_string();
        Self { host: reversed.into(), prefix: prefix.trim_end_matches('*').into() }
    }
}

fn reverse(name: &str) -> String {
    let mut reversed = String::with_capacity(name.len() + 2);
    for label in name.rsplit('.') {
        if !reversed.is_empty() {
            reversed.push('.');
        }
        reversed.push_str(label);
    }
    reversed
}

/// The wildcards above a reversed name, the narrowest first: `com.example.*` and `com.*` for `com.example.api`.
fn wildcards_above(host: &str) -> impl Iterator<Item = String> {
    let below = host.strip_suffix(".*").unwrap_or(host);
    below.rmatch_indices('.').filter_map(|(dot, _)| below.get(..=dot)).map(|above| format!("{above}*"))
}

/// The prefixes above one, itself excluded: `/` for `/orders/`.
fn prefixes_above(prefix: &str) -> impl Iterator<Item = &str> {
    let below = prefix.strip_suffix('/').unwrap_or_default();
    below.rmatch_indices('/').filter_map(|(slash, _)| below.get(..=slash))
}

// === impl HostClaims ===

impl HostClaims {
    /// The namespace that holds a request's canonical host name and decoded path.
    pub(crate) fn holder(&self, host: &str, path: &str) -> Option<&Namespace> {
        let host = reverse(host);
        let path = if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
        let at = |host: &str| self.0.get(host).and_then(|node| holder_of_path(node, &path));
        at(&host).or_else(|| wildcards_above(&host).find_map(|wildcard| at(&wildcard)))
    }

    /// The oldest object that keeps the namespace from holding what it claims.
    pub(crate) fn rival(&self, key: &HostKey, namespace: &Namespace) -> Option<ObjectRef> {
        if self.claim(key, namespace).is_none_or(|claim| claim.held) {
            return None;
        }
        let mut rivals = BTreeSet::new();
        self.meeting(key, namespace, &mut |(rank, ..), _| {
            rivals.insert(rank);
        });
        rivals.pop_first().map(|rank| rank.object)
    }

    /// Sets (or, without a rank, withdraws) claims of a namespace; adds to `moved` those whose claims changed hands.
    pub(crate) fn set(
        &mut self,
        mode: Conflicts,
        namespace: &Namespace,
        changes: Vec<(HostKey, Option<Rank>)>,
        moved: &mut BTreeSet<Namespace>,
    ) {
        let mut turns = BTreeSet::new();
        for (key, rank) in changes {
            if let Some(rank) = &rank {
                turns.insert((rank.clone(), key.clone(), namespace.clone()));
            }
            self.meeting(&key, namespace, &mut |turn, _| {
                if mode == Conflicts::Error {
                    moved.insert(turn.2.clone()); // It may have another rival now.
                }
                turns.insert(turn);
            });
            self.write(&key, namespace, rank);
        }
        while let Some((rank, key, namespace)) = turns.pop_first() {
            let mut held = true;
            let mut younger = Vec::new();
            self.meeting(&key, &namespace, &mut |turn, other_held| {
                if mode == Conflicts::Error || (turn.0 < rank && other_held) {
                    held = false;
                } else if turn.0 > rank {
                    younger.push(turn);
                }
            });
            if self.hold(&key, &namespace, held) {
                moved.insert(namespace);
                turns.extend(younger);
            }
        }
    }

    fn claim(&self, key: &HostKey, namespace: &Namespace) -> Option<&Claim<Namespace>> {
        self.0.get(&*key.host)?.get(&*key.prefix)?.iter().find(|claim| claim.claimant == *namespace)
    }

    /// Calls `each` with the claims of other namespaces that meet this one, and whether they are held.
    fn meeting(&self, key: &HostKey, namespace: &Namespace, each: &mut impl FnMut(Turn, bool)) {
        let mut in_node = |host: &Arc<str>, node: &Node| {
            claims_on_path(node, &key.prefix, &mut |prefix, claim| {
                if claim.claimant != *namespace {
                    let key = HostKey { host: host.clone(), prefix: prefix.clone() };
                    each((claim.rank.clone(), key, claim.claimant.clone()), claim.held);
                }
            });
        };
        for wildcard in wildcards_above(&key.host) {
            if let Some(node) = self.0.get(&*wildcard) {
                in_node(&wildcard.into(), node);
            }
        }
        match key.host.strip_suffix('*') {
            // A wildcard itself lies in the range of what is below it.
            Some(below) => self
                .0
                .from(|probe| (**probe).cmp(below))
                .take_while(|(host, _)| host.starts_with(below))
                .for_each(|(host, node)| in_node(host, node)),
            None => self.0.get(&*key.host).into_iter().for_each(|node| in_node(&key.host, node)),
        }
    }

    fn write(&mut self, key: &HostKey, namespace: &Namespace, rank: Option<Rank>) {
        let mut node = self.0.get(&*key.host).cloned().unwrap_or_default();
        let old = node.get(&*key.prefix).cloned().unwrap_or_default();
        let held = old.iter().any(|claim| claim.claimant == *namespace && claim.held);
        let mine = rank.map(|rank| Claim { claimant: namespace.clone(), rank, held });
        let mut claims: Vec<_> = old.iter().filter(|claim| claim.claimant != *namespace).cloned().chain(mine).collect();
        claims.sort_by(|a, b| a.rank.cmp(&b.rank));
        if claims.is_empty() {
            node.remove(&*key.prefix);
        } else {
            node.insert(key.prefix.clone(), claims.into());
        }
        if node.is_empty() {
            self.0.remove(&*key.host);
        } else {
            self.0.insert(key.host.clone(), node);
        }
    }

    /// Notes whether a claim is held; tells whether that is new.
    fn hold(&mut self, key: &HostKey, namespace: &Namespace, held: bool) -> bool {
        if self.claim(key, namespace).is_none_or(|claim| claim.held == held) {
            return false;
        }
        let Some(node) = self.0.get(&*key.host) else { return false };
        let mut node = node.clone();
        let mut claims: Vec<_> = node.get(&*key.prefix).map(|claims| claims.to_vec()).unwrap_or_default();
        claims.iter_mut().filter(|claim| claim.claimant == *namespace).for_each(|claim| claim.held = held);
        node.insert(key.prefix.clone(), claims.into());
        self.0.insert(key.host.clone(), node);
        true
    }
}

fn claims_on_path(node: &Node, prefix: &str, each: &mut impl FnMut(&Arc<str>, &Claim<Namespace>)) {
    let above = prefixes_above(prefix).filter_map(|above| node.find(|probe| (**probe).cmp(above)));
    let below = node.from(|probe| (**probe).cmp(prefix)).take_while(|(probe, _)| probe.starts_with(prefix));
    above.chain(below).for_each(|(prefix, claims)| claims.iter().for_each(|claim| each(prefix, claim)));
}

/// The holder of the longest prefix of the path that is held; `path` ends with `/`.
///
/// Whatever sorts between a prefix of the path and the path begins with that prefix. So the nearest entry that does not
/// sort above the path is the answer, or shares with the path all that the answer can have.
fn holder_of_path<'a>(node: &'a Node, path: &str) -> Option<&'a Namespace> {
    let mut limit = path;
    loop {
        let (prefix, claims) = node.floor(|probe| (**probe).cmp(limit))?;
        if limit.starts_with(&**prefix) {
            if let Some(claim) = claims.iter().find(|claim| claim.held) {
                return Some(&claim.claimant);
            }
            limit = prefixes_above(prefix).next().and_then(|above| limit.get(..above.len()))?;
        } else {
            let shared = limit.bytes().zip(prefix.bytes()).take_while(|(a, b)| a == b).count();
            let slash = limit.as_bytes().get(..shared)?.iter().rposition(|byte| *byte == b'/')?;
            limit = limit.get(..=slash)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    type Made = (String, String, u8, i64);

    fn key(host: &str, prefix: &str) -> HostKey {
        HostKey::new(&host.parse().expect("a host"), &Pattern::prefix(prefix).expect("a prefix"))
    }

    fn namespace(number: u8) -> Namespace {
        Namespace::new(&format!("n{number}")).expect("a namespace")
    }

    fn rank(number: u8, age: i64) -> Rank {
        let object = ObjectRef::new(namespace(number).as_str(), "p").expect("an object");
        Rank { created_at: Timestamp::from_second(age).expect("a time"), object }
    }

    fn add(claims: &mut HostClaims, mode: Conflicts, (host, prefix, number, age): &Made) -> BTreeSet<Namespace> {
        let mut moved = BTreeSet::new();
        claims.set(mode, &namespace(*number), vec![(key(host, prefix), Some(rank(*number, *age)))], &mut moved);
        moved
    }

    /// What is held by the definition: each claim, from the oldest, unless it meets one already held.
    fn by_definition(all: &[Made], mode: Conflicts) -> Vec<Made> {
        let meets = |a: &Made, b: &Made| {
            let host = |made: &Made| made.0.parse::<HostPattern>().expect("a host");
            let prefix = |made: &Made| Pattern::prefix(&made.1).expect("a prefix");
            a.2 != b.2 && host(a).overlaps(&host(b)) && prefix(a).overlaps(&prefix(b))
        };
        if mode == Conflicts::Error {
            return all.iter().filter(|a| !all.iter().any(|b| meets(a, b))).cloned().collect();
        }
        let mut sorted = all.to_vec();
        sorted.sort_by_key(|made| rank(made.2, made.3));
        let mut held: Vec<Made> = Vec::new();
        for claim in sorted {
            if !held.iter().any(|other| meets(&claim, other)) {
                held.push(claim);
            }
        }
        held
    }

    fn made() -> impl Strategy<Value = Vec<Made>> {
        let host = prop::sample::select(vec!["a.x", "b.x", "*.x", "*.a.x", "c.a.x", "x", "a.y"]);
        let prefix = prop::sample::select(vec!["/", "/o", "/o/p", "/o-p", "/q"]);
        let one = (host.prop_map(str::to_owned), prefix.prop_map(str::to_owned), 0u8..4, 0i64..3);
        // One age for each claim of a namespace, as the Directory makes them.
        prop::collection::vec(one, 0..14).prop_map(|mut made| {
            made.sort();
            made.dedup_by(|a, b| (&a.0, &a.1, a.2) == (&b.0, &b.1, b.2));
            made
        })
    }

    proptest! {
        #[test]
        fn claims_settle_as_defined_whatever_came_first(
            made in made(), gone in made(), order in any::<prop::sample::Index>(), error in any::<bool>()
        ) {
            let mode = if error { Conflicts::Error } else { Conflicts::OldestWins };
            let mut claims = HostClaims::default();
            for claim in &gone {
                add(&mut claims, mode, claim);
            }
            let start = if made.is_empty() { 0 } else { order.index(made.len()) };
            for claim in made.iter().cycle().skip(start).take(made.len()) {
                add(&mut claims, mode, claim);
            }
            for (host, prefix, number, _) in gone.iter().filter(|gone| !made.iter().any(|made| (&made.0, &made.1, made.2) == (&gone.0, &gone.1, gone.2))) {
                claims.set(mode, &namespace(*number), vec![(key(host, prefix), None)], &mut BTreeSet::new());
            }
            let held: BTreeSet<_> = made.iter().filter(|made| claims.claim(&key(&made.0, &made.1), &namespace(made.2)).is_some_and(|claim| claim.held)).cloned().collect();
            prop_assert_eq!(held, by_definition(&made, mode).into_iter().collect());
        }

        #[test]
        fn a_request_goes_to_the_namespace_whose_claim_means_it(made in made(), host in r"([abc]\.)?(a\.)?[xy]", path in "/([op]|o-p)?(/[pz])?/?") {
            let mut claims = HostClaims::default();
            for claim in &made {
                add(&mut claims, Conflicts::OldestWins, claim);
            }
            let read = crate::request::Host::read(&host, "https").expect("a host");
            let means = |made: &&Made| {
                made.0.parse::<HostPattern>().expect("a host").matches(&read)
                    && Pattern::prefix(&made.1).expect("a prefix").matches(&path)
            };
            let expected: BTreeSet<_> =
                by_definition(&made, Conflicts::OldestWins).iter().filter(means).map(|made| namespace(made.2)).collect();
            prop_assert!(expected.len() <= 1, "no two namespaces hold one request");
            prop_assert_eq!(claims.holder(&host, &path), expected.first());
        }
    }

    #[test]
    fn only_those_whose_claims_changed_hands_are_named() {
        let mut claims = HostClaims::default();
        let mode = Conflicts::OldestWins;
        let claim = |host: &str, number, age| (host.to_owned(), "/".to_owned(), number, age);
        assert_eq!(add(&mut claims, mode, &claim("a.x", 1, 5)), BTreeSet::from([namespace(1)]));
        assert_eq!(add(&mut claims, mode, &claim("b.x", 2, 5)), BTreeSet::from([namespace(2)]));
        assert_eq!(add(&mut claims, mode, &claim("a.x", 3, 6)), BTreeSet::new(), "the younger claim moves nobody");
        assert_eq!(add(&mut claims, mode, &claim("a.x", 4, 1)), BTreeSet::from([namespace(1), namespace(4)]));
    }
}
