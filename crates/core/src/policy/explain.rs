//! What [`super::decide`] looked at, for a person who asks why.
//!
//! Flows in: the policies a proxy named, a canonical request, and the token where one is good. Flows out: the rule that
//! decides with what it wants and what of that is missing, and the other rules, the nearest first. No answer is made
//! here, and the look-ups are those of the verdict. It walks over every rule, so it is no part of a request's way.

use std::cmp::Reverse;

use super::answer::RuleRef;
use super::compile::{Rule, RuleEffect, RuleMatch, Way};
use super::condition::Outcome;
use super::facts::Facts;
use super::pattern::path_segments;
use super::set::{Chosen, Member, PolicySet, Selected};
use super::{Methods, Mode, Pattern, Unmatched};
use crate::names::{Audience, ObjectRef, ScopeName};
use crate::request::Request;
use crate::scope::ScopeSet;
use crate::token::AccessToken;

/// What there is to say about a request to a host and path that some policy holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation<'s> {
    /// The policies that hold the host and path.
    pub policies: Vec<&'s ObjectRef>,
    /// The audiences of their tokens.
    pub audiences: Vec<&'s Audience>,
    /// What holds where no rule decides: whether refusals are enforced.
    pub mode: Mode,
    /// What happens where no rule's path matches.
    pub unmatched: Unmatched,
    /// Whether some rule decides, or why none does.
    pub choice: Choice,
    /// Every match of every rule, the nearest first: the one that decides, if there is one, leads.
    pub rules: Vec<Considered<'s>>,
}

/// Whether some rule decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// One does.
    Rule,
    /// No rule's path matches.
    Unmatched,
    /// The most specific path has no rule for the method.
    NoMethod,
    /// The most specific path has several rules for the method.
    Ambiguous,
}

/// One match of one rule, held against the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Considered<'s> {
    /// The rule and its policy.
    pub rule: RuleRef<'s>,
    /// Where the rule stands in `spec.rules`.
    pub index: usize,
    /// Where the match stands in its `matches`.
    pub matched: usize,
    /// The methods it is about.
    pub methods: Methods,
    /// The paths it is about.
    pub pattern: &'s Pattern,
    /// The audience of the tokens it takes.
    pub audience: Option<&'s Audience>,
    /// How it stands to the request.
    pub standing: Standing,
    /// The parameters of its path, as the request has them; empty where the path is another.
    pub params: Vec<(&'s str, String)>,
    /// What it asks for.
    pub needs: Needs<'s>,
}

/// How a rule stands to a request; from near to far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It decides.
    Decides,
    /// Another rule has the same path and method, so both deny.
    Ambiguous,
    /// It matches, and being a Shadow rule only counts.
    Shadow,
    /// Its path matches, its methods do not.
    OtherMethod,
    /// It matches, and a more specific path decides.
    LessSpecific,
    /// Its path does not match.
    OtherPath,
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Needs<'s> {
    /// Nothing.
    Public,
    /// Any token for the audience.
    Authenticated,
    /// Any of these.
    Scoped(Vec<Wanted<'s>>),
    /// It could not be understood or compiled: it refuses.
    NotUnderstood,
}

/// One way to be let in, held against the token.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted<'s> {
    /// The scopes it wants, all of them.
    pub scopes: &'s ScopeSet,
    /// Those the token lacks; all where there is no token.
    pub missing: Vec<&'s ScopeName>,
    /// Its condition.
    pub when: Option<&'s str>,
    /// How the condition came out; absent where it is not judged, since there is no token or scopes are missing.
    pub outcome: Option<Outcome>,
}

/// Explains how the policies see a request; nothing where none of them holds its host and path.
pub fn explain<'s>(set: &'s PolicySet, request: &Request<'_>, token: Option<&AccessToken>) -> Option<Explanation<'s>> {
    let group = set.group_at(&request.host, &request.path)?;
    let chosen = set.choose(group, &request.path, Methods::of(request.method));
    let look = Look { request, token, method: Methods::of(request.method), chosen: &chosen };
    let members: Vec<_> = group.members.iter().filter_map(|&id| set.member(id)).collect();
    let mut rules: Vec<_> = members.iter().flat_map(|member| look.member(member)).collect();
    rules.sort_by_key(|rule| (rule.standing, Reverse(likeness(rule, request)), rule.index));
    let mut audiences: Vec<_> = members.iter().filter_map(|member| member.audience.as_ref()).collect();
    audiences.dedup();
    Some(Explanation {
        policies: members.iter().map(|member| member.policy.object()).collect(),
        audiences,
        mode: group.mode,
        unmatched: group.unmatched,
        choice: Choice::of(&chosen),
        rules,
    })
}

/// What every rule is held against.
struct Look<'a, 's> {
    request: &'a Request<'a>,
    token: Option<&'a AccessToken>,
    method: Methods,
    chosen: &'a Chosen<'s>,
}

// === impl Look ===

impl<'s> Look<'_, 's> {
    fn member(&self, member: &'s Member) -> Vec<Considered<'s>> {
        let rules = member.policy.rules.iter().enumerate();
        let matches = rules.flat_map(|(index, rule)| rule.matches.iter().map(move |matched| (index, rule, matched)));
        matches.map(|(index, rule, matched)| self.consider(member, index, (rule, matched))).collect()
    }

    fn consider(&self, member: &'s Member, index: usize, (rule, matched): (&'s Rule, &'s RuleMatch)) -> Considered<'s> {
        let standing = self.standing(rule, matched);
        let selected = Selected { member, rule, matched };
        let segments = || path_segments(&self.request.path);
        let params = matched.pattern.params().filter(|_| standing != Standing::OtherPath);
        Considered {
            rule: selected.reference(),
            index,
            matched: matched.index,
            methods: matched.methods,
            pattern: &matched.pattern,
            audience: member.audience.as_ref(),
            standing,
            params: params.filter_map(|(at, name)| Some((&**name, segments().nth(at)?.to_owned()))).collect(),
            needs: match &rule.effect {
                RuleEffect::Public => Needs::Public,
                RuleEffect::Authenticated => Needs::Authenticated,
                RuleEffect::Refused(_) => Needs::NotUnderstood,
                RuleEffect::Scoped(ways) => {
                    Needs::Scoped(ways.iter().map(|way| self.wanted(way, matched, standing)).collect())
                }
            },
        }
    }

    fn standing(&self, rule: &Rule, matched: &RuleMatch) -> Standing {
        if !matched.pattern.matches(&self.request.path) {
            return Standing::OtherPath;
        }
        let decides = matches!(self.chosen, Chosen::Rule(chosen) if std::ptr::eq(chosen.matched, matched));
        match (matched.methods.intersects(self.method), rule.mode, self.chosen) {
            _ if decides => Standing::Decides,
            (false, _, _) => Standing::OtherMethod,
            (true, Mode::Shadow, _) => Standing::Shadow,
            (true, Mode::Enforce, Chosen::Ambiguous) => Standing::Ambiguous,
            (true, Mode::Enforce, _) => Standing::LessSpecific,
        }
    }

    fn wanted(&self, way: &'s Way, matched: &RuleMatch, standing: Standing) -> Wanted<'s> {
        let has = |scope: &ScopeName| self.token.is_some_and(|token| token.scope.contains(scope.as_str()));
        let missing: Vec<_> = way.scopes.iter().filter(|scope| !has(scope)).collect();
        let judged = missing.is_empty() && standing <= Standing::Shadow;
        let outcome = self.token.filter(|_| judged).and_then(|token| {
            let facts = Facts {
                claims: &token.claims,
                scope: &token.scope,
                client_id: token.client_id.as_str(),
                request: self.request,
                params: &matched.params,
            };
            way.when.as_ref().map(|when| when.judge(&facts))
        });
        Wanted { scopes: &way.scopes, missing, when: way.when.as_ref().map(|when| when.source()), outcome }
    }
}

// === impl Choice ===

impl Choice {
    fn of(chosen: &Chosen<'_>) -> Self {
        match chosen {
            Chosen::Rule(_) => Self::Rule,
            Chosen::Unmatched => Self::Unmatched,
            Chosen::NoMethod => Self::NoMethod,
            Chosen::Ambiguous => Self::Ambiguous,
        }
    }
}

/// How much a rule's path and method are like the request's: what somebody who mistyped one of them may have meant.
fn likeness(rule: &Considered<'_>, request: &Request<'_>) -> usize {
    let method = usize::from(rule.methods.intersects(Methods::of(request.method)));
    rule.pattern.likeness(&request.path) * 2 + method
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
