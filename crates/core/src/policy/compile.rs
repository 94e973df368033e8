//! One ScopePolicy made ready: conditions compiled, problems collected, independent of every other object.
//!
//! Flows in: a [`Source`]. Flows out: a [`Compiled`] to build [`super::PolicySet`]s from; it changes only with its object.

use std::sync::Arc;

use super::set::{Routes, routes};
use super::{
    Condition, Cors, Methods, Mode, Pattern, Problem, Protection, RuleSource, Source, TokenSource, Unmatched,
    Unreadable,
};
use crate::directory::reason;
use crate::names::ObjectRef;
use crate::scope::ScopeSet;

/// A policy's own part of every set it is in; of its rules the one form that is kept.
#[derive(Debug)]
pub struct Compiled {
    pub(super) object: ObjectRef,
    pub(super) mode: Mode,
    pub(super) unmatched: Unmatched,
    pub(super) cors_preflight: Cors,
    /// Whether tokens are read from the `Authorization` header, the one source there is so far.
    pub(super) reads_header: bool,
    /// Whether it stands in for an object that could not be read.
    pub(super) unreadable: Option<Unreadable>,
    pub(super) rules: Box<[Rule]>,
    /// The same by path, for every set in which the policy shares its hosts with no other.
    pub(super) routes: Arc<Routes>,
    problems: Vec<Problem>,
}

/// A rule as it is judged.
#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) mode: Mode,
    pub(super) matches: Box<[RuleMatch]>,
    pub(super) effect: RuleEffect,
}

/// Requests a rule is about.
#[derive(Debug, PartialEq)]
pub(super) struct RuleMatch {
    /// Where it stands in the source, for problems found later.
    pub(super) index: usize,
    pub(super) methods: Methods,
    pub(super) pattern: Pattern,
    /// The parameters of the pattern; empty where no condition could ask for them.
    pub(super) params: Box<[(usize, Arc<str>)]>,
}

/// What a rule asks for, compiled.
#[derive(Debug, PartialEq)]
pub(super) enum RuleEffect {
    Public,
    Authenticated,
    Scoped(Box<[Way]>),
    /// It could not be understood or compiled: whatever it matches is refused. The scopes it names are for reports.
    Refused(Box<[ScopeSet]>),
}

/// One way to be let in.
#[derive(Debug, PartialEq)]
pub(super) struct Way {
    pub(super) scopes: ScopeSet,
    pub(super) when: Option<Arc<Condition>>,
}

// === impl Compiled ===

impl Compiled {
    /// The object this was compiled from.
    pub fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Whether the policy's answers are enforced.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Everything in the source that is not in force, in the order of the source's fields.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many rules there are, in force or not.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// The rules that are only counted: where each stands, and its name.
    pub fn shadow_rules(&self) -> impl Iterator<Item = (usize, &str)> {
        let shadows = self.rules.iter().enumerate().filter(|(_, rule)| rule.mode == Mode::Shadow);
        shadows.map(|(index, rule)| (index, &*rule.name))
    }

    /// The paths rules match: which rule, which of its matches, the path.
    pub(crate) fn patterns(&self) -> impl Iterator<Item = (usize, usize, &Pattern)> {
        let rules = self.rules.iter().enumerate();
        rules.flat_map(|(rule, of)| of.matches.iter().map(move |found| (rule, found.index, &found.pattern)))
    }

    /// The scopes rules ask for: which rule, which of its `allow`, the scopes.
    pub(crate) fn wanted_scopes(&self) -> impl Iterator<Item = (usize, usize, &ScopeSet)> {
        self.rules.iter().enumerate().flat_map(|(rule, of)| {
            let (ways, refused) = match &of.effect {
                RuleEffect::Scoped(ways) => (&**ways, &[][..]),
                RuleEffect::Refused(scopes) => (&[][..], &**scopes),
                RuleEffect::Public | RuleEffect::Authenticated => (&[][..], &[][..]),
            };
            let scopes = ways.iter().map(|way| &way.scopes).chain(refused);
            scopes.enumerate().map(move |(at, scopes)| (rule, at, scopes))
        })
    }

    /// The conditions of rules: which rule, which of its `allow`, the condition.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = (usize, usize, &Condition)> {
        self.rules.iter().enumerate().flat_map(|(rule, of)| {
            let ways = if let RuleEffect::Scoped(ways) = &of.effect { &**ways } else { &[] };
            ways.iter().enumerate().filter_map(move |(at, way)| Some((rule, at, way.when.as_deref()?)))
        })
    }
}

/// `routes` follow from the rules.
impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        let Self { object, mode, unmatched, cors_preflight, reads_header, unreadable, rules, routes: _, problems } =
            self;
        (object, mode, unmatched, cors_preflight)
            == (&other.object, &other.mode, &other.unmatched, &other.cors_preflight)
            && (reads_header, unreadable) == (&other.reads_header, &other.unreadable)
            && (rules, problems) == (&other.rules, &other.problems)
    }
}

/// Compiles a policy. What cannot be is a problem, and denies what it would have matched; nothing else suffers.
pub fn compile(object: &ObjectRef, source: &Source) -> Compiled {
    let mut problems = Vec::new();
    keep(&mut problems, std::slice::from_ref(&source.audience));
    keep(&mut problems, &source.targets);
    keep(&mut problems, &source.routes);
    keep(&mut problems, &source.scopes);
    keep(&mut problems, &source.grants);
    keep(&mut problems, &source.resource_servers);
    let rules: Box<[_]> =
        source.rules.iter().enumerate().map(|(at, rule)| compile_rule(at, rule, &mut problems)).collect();
    let reads_header = token_sources(&source.token_sources, &mut problems);
    Compiled {
        object: object.clone(),
        mode: source.mode,
        unmatched: source.unmatched,
        cors_preflight: source.cors_preflight,
        reads_header,
        unreadable: source.unreadable,
        routes: Arc::new(routes([&*rules])),
        rules,
        problems,
    }
}

fn keep<T>(problems: &mut Vec<Problem>, elements: &[Result<T, Problem>]) {
    problems.extend(elements.iter().filter_map(|element| element.as_ref().err().cloned()));
}

fn compile_rule(at: usize, rule: &RuleSource, problems: &mut Vec<Problem>) -> Rule {
    keep(problems, &rule.matches);
    keep(problems, std::slice::from_ref(&rule.effect));
    let has_conditions = match rule.effect.as_ref().map(|effect| &effect.protection) {
        Ok(Protection::Scoped(allow)) => allow.iter().any(|allow| allow.when.is_some()),
        _ => false,
    };
    let matches = rule.matches.iter().enumerate().filter_map(|(index, found)| {
        let found = found.as_ref().ok()?;
        let params = found.pattern.params().filter(|_| has_conditions).map(|(at, name)| (at, Arc::clone(name)));
        let params = params.collect();
        Some(RuleMatch { index, methods: found.methods, pattern: found.pattern.clone(), params })
    });
    let matches = matches.collect();
    let effect = match rule.effect.as_ref().map(|effect| &effect.protection) {
        Ok(Protection::Public) => RuleEffect::Public,
        Ok(Protection::Authenticated) => RuleEffect::Authenticated,
        Ok(Protection::Scoped(allow)) => compile_ways(at, allow, problems),
        Err(_) => RuleEffect::Refused(Box::default()),
    };
    Rule { name: rule.name.as_str().into(), mode: rule.mode, matches, effect }
}

/// All ways or none: a rule one of whose conditions does not compile denies.
fn compile_ways(rule: usize, allow: &[super::Allow], problems: &mut Vec<Problem>) -> RuleEffect {
    let mut ways = Vec::with_capacity(allow.len());
    for (at, entry) in allow.iter().enumerate() {
        let element = || format!("spec.rules[{rule}].allow[{at}]");
        if entry.scopes.is_empty() {
            let message = "name at least one scope; use protection Authenticated where any token will do";
            problems.push(Problem::new(format!("{}.scopes", element()), reason::INVALID, message));
            continue;
        }
        match entry.when.as_deref().map(Condition::compile).transpose() {
            Ok(when) => ways.push(Way { scopes: entry.scopes.clone(), when }),
            Err(error) => {
                problems.push(Problem::new(
                    format!("{}.when", element()),
                    reason::INVALID_CONDITION,
                    error.to_string(),
                ));
            }
        }
    }
    if ways.len() < allow.len() {
        return RuleEffect::Refused(allow.iter().map(|entry| entry.scopes.clone()).collect());
    }
    RuleEffect::Scoped(ways.into())
}

/// Whether `Header` is among the sources; every other one is named as a problem and reads nothing.
fn token_sources(sources: &[Result<TokenSource, Problem>], problems: &mut Vec<Problem>) -> bool {
    keep(problems, sources);
    for (at, source) in sources.iter().enumerate() {
        if let Ok(source) = source
            && *source != TokenSource::Header
        {
            let message = format!("tokens are not read from {source} yet; remove it, Header works");
            problems.push(Problem::new(format!("spec.tokenSources[{at}]"), reason::NOT_IMPLEMENTED, message));
        }
    }
    sources.is_empty() || sources.contains(&Ok(TokenSource::Header))
}
