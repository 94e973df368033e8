//! What one selector means: policies merged by the hosts and paths they hold.
//!
//! ```text
//! host ──► exact name or wildcard, port ──► longest claimed path prefix ──► Group ──► trie of all rules of its policies
//! ```
//!
//! Flows in: compiled policies with what each of them holds. Flows out: an immutable look-up whose cost depends on the
//! host's labels and the path, not on how many policies, hosts or rules there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::compile::{Compiled, Rule, RuleMatch};
use super::routes::Trie;
use super::{Cors, HostPattern, Methods, Mode, Pattern, Problem, Unmatched, Unreadable};
use crate::directory::reason;
use crate::names::{Audience, ObjectRef};
use crate::request::Host;

/// What a policy holds of what it claims.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Its audience, where it may have it.
    pub audience: Option<Audience>,
    /// The hosts it is reached under, each with the path prefix it holds there ([`Pattern::everything`] for all of it).
    pub hosts: Vec<(HostPattern, Pattern)>,
}

/// The policies one selector means.
#[derive(Debug, Default)]
pub struct PolicySet {
    /// Nothing can be judged, whatever the host: all that decides could not be read, or some of it so little that it might
    /// have forbidden anything.
    pub(super) unreadable: bool,
    members: Vec<Member>,
    /// Names of which the same is claimed share one value: a Service is reached under five.
    hosts: HashMap<HostKey, Arc<ByPort>>,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) policy: Arc<Compiled>,
    pub(super) audience: Option<Audience>,
}

/// A name and whether names below it are meant.
type HostKey = (bool, Arc<str>);
/// What is claimed of one host by port; the last, without a port, stands for all others.
type ByPort = [(Option<u16>, Claimed)];
/// The groups of one host, by path prefix.
type Claimed = Trie<Option<Arc<Group>>>;
type MemberId = u32;

/// Policies that share a host and path prefix.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) members: Vec<MemberId>,
    /// The policy's own where there is only one: most policies share no host, and each rule is held once.
    routes: Arc<Routes>,
    pub(super) has_shadow_rules: bool,
    pub(super) mode: Mode,
    pub(super) unmatched: Unmatched,
    pub(super) cors_preflight: Cors,
    pub(super) reads_header: bool,
    /// One of its policies could not be read: nobody knows what it forbids here.
    pub(super) unreadable: bool,
}

/// The rules of some policies, by path.
pub(super) type Routes = Trie<Vec<Entry>>;

/// One match of one rule, where its pattern ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    methods: Methods,
    /// Which of the policies the rule is from.
    place: u32,
    rule: u32,
    matched: u32,
    /// A Shadow rule takes no part.
    takes_part: bool,
}

/// What the rules say about a path and a method.
pub(super) enum Chosen<'s> {
    /// No pattern means the path.
    Unmatched,
    /// The most specific pattern that does has no rule for the method.
    NoMethod,
    /// It has several.
    Ambiguous,
    /// It has one.
    Rule(Selected<'s>),
}

/// A rule, the match that led to it and the policy it is from.
#[derive(Clone, Copy)]
pub(super) struct Selected<'s> {
    pub(super) member: &'s Member,
    pub(super) rule: &'s Rule,
    pub(super) matched: &'s RuleMatch,
}

// === impl PolicySet ===

impl PolicySet {
    /// Merges policies. In what order they come plays no part in any answer.
    pub fn build<'a>(policies: impl IntoIterator<Item = (Arc<Compiled>, &'a Accepted)>) -> Self {
        let mut set = Self::default();
        let mut claims: BTreeMap<HostKey, Vec<Claim>> = BTreeMap::new();
        for ((policy, accepted), id) in policies.into_iter().zip(0..) {
            set.members.push(Member { policy, audience: accepted.audience.clone() });
            for (host, prefix) in &accepted.hosts {
                let claim = Claim { port: host.port, prefix: prefix.clone(), member: id };
                claims.entry((host.below, Arc::clone(&host.name))).or_default().push(claim);
            }
        }
        let mut known = set.members.iter().map(|member| member.policy.unreadable);
        set.unreadable = known.clone().any(|unreadable| unreadable == Some(Unreadable::Everything))
            || (!set.members.is_empty() && known.all(|unreadable| unreadable.is_some()));
        let mut groups = HashMap::new();
        let mut shared: HashMap<Vec<&Claim>, Arc<ByPort>> = HashMap::new();
        for key in claims.keys() {
            let all = covering(&claims, key);
            if let Some(known) = shared.get(&all) {
                set.hosts.insert(key.clone(), Arc::clone(known));
                continue;
            }
            // A port of its own is needed wherever some policy claims it, here or by a wildcard above.
            let ports: BTreeSet<Option<u16>> = all.iter().map(|claim| claim.port).chain([None]).collect();
            let by_port = ports.into_iter().rev().map(|port| {
                let here: Vec<_> =
                    all.iter().filter(|claim| claim.port.is_none() || claim.port == port).copied().collect();
                (port, set.claimed(&here, &mut groups))
            });
            let by_port: Arc<ByPort> = by_port.collect();
            set.hosts.insert(key.clone(), Arc::clone(&by_port));
            shared.insert(all, by_port);
        }
        set
    }

    fn claimed(&self, claims: &[&Claim], groups: &mut HashMap<Vec<MemberId>, Arc<Group>>) -> Claimed {
        let mut claimed = Claimed::default();
        for claim in claims {
            let sharing = claims.iter().filter(|other| other.prefix.covers(&claim.prefix)).map(|other| other.member);
            let members: Vec<MemberId> = sharing.collect::<BTreeSet<_>>().into_iter().collect();
            let group = groups.entry(members).or_insert_with_key(|members| Arc::new(self.group(members)));
            if let Some(slot) = claimed.slot(&claim.prefix) {
                *slot = Some(Arc::clone(group));
            }
        }
        claimed
    }

    fn group(&self, members: &[MemberId]) -> Group {
        let policies = || members.iter().filter_map(|&id| self.member(id)).map(|member| &*member.policy);
        let routes = match policies().next() {
            Some(only) if members.len() == 1 => Arc::clone(&only.routes),
            _ => Arc::new(routes(policies().map(|policy| &*policy.rules))),
        };
        Group {
            members: members.to_vec(),
            routes,
            has_shadow_rules: policies().flat_map(|policy| &*policy.rules).any(|rule| rule.mode == Mode::Shadow),
            mode: policies().map(|policy| policy.mode).max().unwrap_or_default(),
            unmatched: policies().map(|policy| policy.unmatched).max().unwrap_or_default(),
            cors_preflight: policies().map(|policy| policy.cors_preflight).max().unwrap_or_default(),
            reads_header: policies().all(|policy| policy.reads_header),
            unreadable: policies().any(|policy| policy.unreadable.is_some()),
        }
    }

    /// The policies that hold this host and path.
    pub(super) fn group_at(&self, host: &Host<'_>, path: &str) -> Option<&Group> {
        let claimed = self.claimed_at(host)?;
        claimed.find(path, Option::is_some)?.as_deref()
    }

    /// The entry of the most specific name: the host itself, then wildcards from the longest.
    fn claimed_at(&self, host: &Host<'_>) -> Option<&Claimed> {
        let at = |below: bool, name: &str| {
            let by_port = self.hosts.get(&(below, name) as &dyn HostName)?;
            by_port.iter().find(|(port, _)| port.is_none() || *port == host.port).map(|(_, claimed)| claimed)
        };
        let name: &str = &host.name;
        at(false, name).or_else(|| {
            let dots = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
            dots.filter_map(|(dot, _)| name.get(dot + 1..)).find_map(|suffix| at(true, suffix))
        })
    }

    pub(super) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(usize::try_from(id).ok()?)
    }

    /// The policies merged here.
    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    fn selected(&self, group: &Group, entry: Entry) -> Option<Selected<'_>> {
        let member = self.member(*group.members.get(usize::try_from(entry.place).ok()?)?)?;
        let rule = member.policy.rules.get(usize::try_from(entry.rule).ok()?)?;
        let matched = rule.matches.get(usize::try_from(entry.matched).ok()?)?;
        Some(Selected { member, rule, matched })
    }

    /// Rules that deny each other because they share a pattern and a method, with the policy each is in.
    pub fn ambiguities(&self) -> Vec<(ObjectRef, Problem)> {
        let groups =
            self.hosts.values().flat_map(|by_port| by_port.iter()).flat_map(|(_, claimed)| claimed.slots()).flatten();
        // A policy has several names, and one group under each of them.
        let groups: HashMap<_, _> = groups.map(|group| (Arc::as_ptr(group), &**group)).collect();
        let mut found = BTreeSet::new();
        for (group, slot) in groups.values().flat_map(|group| group.routes.slots().map(move |slot| (group, slot))) {
            let taking_part = || slot.iter().filter(|entry| entry.takes_part);
            for entry in taking_part() {
                let rival = taking_part().find(|other| other.rivals(entry));
                found.extend(rival.and_then(|rival| self.ambiguity(group, *entry, *rival)));
            }
        }
        found.into_iter().collect()
    }

    fn ambiguity(&self, group: &Group, entry: Entry, rival: Entry) -> Option<(ObjectRef, Problem)> {
        let (mine, other) = (self.selected(group, entry)?, self.selected(group, rival)?);
        let element = format!("spec.rules[{}].matches[{}]", entry.rule, mine.matched.index);
        let (rule, policy) = (&other.rule.name, &other.member.policy.object);
        let message = format!("rule {rule:?} of {policy} has the same path and method; both deny: change one of them");
        Some((mine.member.policy.object.clone(), Problem::new(element, reason::AMBIGUOUS_RULE, message)))
    }

    /// What the rules that take part say.
    pub(super) fn choose<'s>(&'s self, group: &'s Group, path: &str, method: Methods) -> Chosen<'s> {
        let slot = if group.has_shadow_rules {
            group.routes.find(path, |slot| slot.iter().any(|entry| entry.takes_part))
        } else {
            group.routes.find(path, |_| true)
        };
        let Some(slot) = slot else { return Chosen::Unmatched };
        let mut found: Option<&Entry> = None;
        for entry in slot.iter().filter(|entry| entry.methods.intersects(method)) {
            if group.has_shadow_rules && !entry.takes_part {
                continue;
            }
            if found.is_some_and(|found| found.rivals(entry)) {
                return Chosen::Ambiguous;
            }
            found = found.or(Some(entry));
        }
        found.and_then(|entry| self.selected(group, *entry)).map_or(Chosen::NoMethod, Chosen::Rule)
    }

    /// The Shadow rule that would decide, were it enforced.
    pub(super) fn shadow_rule<'s>(&'s self, group: &'s Group, path: &str, method: Methods) -> Option<Selected<'s>> {
        let slot = group.routes.find(path, |_| true)?;
        let mut shadows = slot.iter().filter(|entry| entry.methods.intersects(method) && !entry.takes_part);
        self.selected(group, *shadows.next()?)
    }
}

/// All rules of some policies by path, the place of each policy being its place in the order given.
pub(super) fn routes<'a>(policies: impl IntoIterator<Item = &'a [Rule]>) -> Routes {
    let mut routes = Routes::default();
    for (rules, place) in policies.into_iter().zip(0..) {
        for (rule, number) in rules.iter().zip(0..) {
            for (found, matched) in rule.matches.iter().zip(0..) {
                let takes_part = rule.mode == Mode::Enforce;
                let entry = Entry { methods: found.methods, place, rule: number, matched, takes_part };
                if let Some(slot) = routes.slot(&found.pattern) {
                    // Nearly all have one entry; room for four would outweigh it.
                    slot.reserve_exact(1);
                    slot.push(entry);
                }
            }
        }
    }
    routes.shrink_to_fit();
    routes
}

// === impl Entry ===

impl Entry {
    /// Whether both could decide one request and are not of one rule.
    fn rivals(&self, other: &Self) -> bool {
        (self.place, self.rule) != (other.place, other.rule) && self.methods.intersects(other.methods)
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Claim {
    port: Option<u16>,
    prefix: Pattern,
    member: MemberId,
}

/// The claims that hold for every host a key means: its own, and those of wildcards above.
fn covering<'a>(claims: &'a BTreeMap<HostKey, Vec<Claim>>, key: &HostKey) -> Vec<&'a Claim> {
    let (_, name) = key;
    let dots = name.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
    let above = dots.filter_map(|(dot, _)| name.get(dot + 1..)).map(|suffix| (true, Arc::from(suffix)));
    [key.clone()].into_iter().chain(above).filter_map(|key| claims.get(&key)).flatten().collect()
}

/// Lets a host be looked up by a borrowed name.
trait HostName {
    fn key(&self) -> (bool, &str);
}

impl HostName for (bool, Arc<str>) {
    fn key(&self) -> (bool, &str) {
        (self.0, &self.1)
    }
}

impl HostName for (bool, &str) {
    fn key(&self) -> (bool, &str) {
        *self
    }
}

impl<'a> std::borrow::Borrow<dyn HostName + 'a> for HostKey {
    fn borrow(&self) -> &(dyn HostName + 'a) {
        self
    }
}

impl std::hash::Hash for dyn HostName + '_ {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for dyn HostName + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn HostName + '_ {}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;
