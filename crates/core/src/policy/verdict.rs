//! The answer to one request.
//!
//! Flows in: the policies a proxy named, a canonical request, and a way to have a token checked. Flows out: a [`Verdict`],
//! always in this order: what can be read in two ways 400; where a policy that has a say cannot be read 503; a missing or
//! bad token 401, unless the rule is Public; then 403.
//!
//! ```text
//! host, path ─► group ─► preflight? ─► most specific pattern ─► rule for the method ─► token ─► audience ─► scopes ─► when
//! ```

use std::sync::Arc;

use super::answer::{Reason, Refusal, ShadowRule, Verdict};
use super::compile::{RuleEffect, Way};
use super::condition::Outcome;
use super::facts::Facts;
use super::set::{Chosen, Group, Member, PolicySet, Selected};
use super::{Cors, Methods, Mode, Unmatched};
use crate::request::{Credential, Request};
use crate::token::{AccessToken, TokenRefusal};

/// Judges a request. `authenticate` answers for everything about a token but its audience; it is called at most once, and
/// never where nothing but a Public rule is concerned.
pub fn decide<'s, F>(set: &'s PolicySet, request: &Request<'_>, authenticate: F) -> Verdict<'s>
where
    F: FnOnce(&str) -> Result<Arc<AccessToken>, TokenRefusal>,
{
    let group = set.group_at(&request.host, &request.path);
    if set.unreadable || group.is_some_and(|group| group.unreadable) {
        return Verdict::refused(Refusal::unavailable(Reason::PolicyUnreadable), None);
    }
    let mut judge = Judge { set, group, request, caller: Caller::Unasked(authenticate) };
    let Some(group) = group else {
        return Verdict::refused(judge.refuse(Reason::NotOfPolicy), None);
    };
    if request.preflight && group.cors_preflight == Cors::Allow {
        return Verdict::passed(Reason::Preflight, None, None);
    }
    let method = Methods::of(request.method);
    let mut verdict = judge.answer(group, method);
    if group.has_shadow_rules
        && let Some(shadow) = set.shadow_rule(group, &request.path, method)
    {
        let refusal = judge.by_rule(&shadow).err().map(|refusal| refusal.reason);
        verdict.shadow_rule = Some(ShadowRule { rule: shadow.reference(), refusal });
    }
    verdict
}

/// One request being judged.
struct Judge<'s, 'r, F> {
    set: &'s PolicySet,
    /// Absent when the host and path belong to none of the policies.
    group: Option<&'s Group>,
    request: &'r Request<'r>,
    caller: Caller<F>,
}

/// Who calls: found out when it first matters, once.
enum Caller<F> {
    Unasked(F),
    Known(Arc<AccessToken>),
    Refused(Refusal),
}

/// Why a request passes, and as whom.
type Passed = (Reason, Option<Arc<AccessToken>>);

// === impl Judge ===

impl<'s, F> Judge<'s, '_, F>
where
    F: FnOnce(&str) -> Result<Arc<AccessToken>, TokenRefusal>,
{
    fn answer(&mut self, group: &'s Group, method: Methods) -> Verdict<'s> {
        let chosen = self.set.choose(group, &self.request.path, method);
        let (mode, rule) = match &chosen {
            Chosen::Rule(selected) => (selected.member.policy.mode, Some(selected.reference())),
            Chosen::Unmatched | Chosen::NoMethod | Chosen::Ambiguous => (group.mode, None),
        };
        let judged = match &chosen {
            Chosen::Rule(selected) => self.by_rule(selected),
            Chosen::Unmatched => self.unmatched(group),
            Chosen::NoMethod => Err(self.refuse(Reason::NoRuleForMethod)),
            Chosen::Ambiguous => Err(self.refuse(Reason::AmbiguousRule)),
        };
        match judged {
            Ok((reason, identity)) => Verdict::passed(reason, identity, rule),
            Err(refusal) if mode == Mode::Shadow => Verdict::let_pass(refusal, self.known_to_group(), rule),
            Err(refusal) => Verdict::refused(refusal, rule),
        }
    }

    fn by_rule(&mut self, selected: &Selected<'s>) -> Result<Passed, Refusal> {
        if matches!(selected.rule.effect, RuleEffect::Public) {
            return Ok((Reason::Public, None));
        }
        let token = self.token()?;
        if selected.member.audience.as_ref() != Some(&token.audience) {
            return Err(Refusal::token(TokenRefusal::WrongAudience));
        }
        let reason = match &selected.rule.effect {
            RuleEffect::Public => Reason::Public,
            RuleEffect::Refused(_) => return Err(Refusal::forbidden(Reason::RuleNotUnderstood)),
            RuleEffect::Authenticated if token.scope.is_empty() => {
                return Err(Refusal::forbidden(Reason::NothingAllowed));
            }
            RuleEffect::Authenticated => Reason::Authenticated,
            RuleEffect::Scoped(ways) => self.by_scope(selected, ways, &token)?,
        };
        Ok((reason, Some(token)))
    }

    /// Any way that holds lets pass. Scopes the token lacks are asked for before a condition is blamed.
    fn by_scope(&self, selected: &Selected<'s>, ways: &[Way], token: &AccessToken) -> Result<Reason, Refusal> {
        let mut refusal = Refusal::forbidden(Reason::NothingAllowed);
        for way in ways {
            if !way.scopes.is_subset(&token.scope) {
                if refusal.reason != Reason::InsufficientScope {
                    refusal = Refusal::insufficient_scope(&way.scopes);
                }
                continue;
            }
            let outcome = way.when.as_ref().map_or(Outcome::Holds, |when| when.judge(&self.facts(selected, token)));
            let reason = match outcome {
                Outcome::Holds => return Ok(Reason::Scoped),
                Outcome::Fails => Reason::ConditionFalse,
                Outcome::Broken => Reason::ConditionBroken,
            };
            if matches!(refusal.reason, Reason::NothingAllowed | Reason::ConditionFalse) {
                refusal = Refusal::forbidden(reason);
            }
        }
        Err(refusal)
    }

    fn facts<'a>(&'a self, selected: &Selected<'a>, token: &'a AccessToken) -> Facts<'a> {
        Facts {
            claims: &token.claims,
            scope: &token.scope,
            client_id: token.client_id.as_str(),
            request: self.request,
            params: &selected.matched.params,
        }
    }

    /// Where nothing matches, policies that disagree about the audience leave no token that is good for all of them.
    fn unmatched(&mut self, group: &Group) -> Result<Passed, Refusal> {
        let token = self.token_of_group()?;
        let agreed = self.members().all(|member| member.audience.as_ref() == Some(&token.audience));
        match group.unmatched {
            Unmatched::Authenticated if agreed && !token.scope.is_empty() => Ok((Reason::Authenticated, Some(token))),
            Unmatched::Authenticated | Unmatched::Deny => Err(Refusal::forbidden(Reason::NoRule)),
        }
    }

    /// 403 for this reason, but only to a caller with a token for one of the policies concerned.
    fn refuse(&mut self, reason: Reason) -> Refusal {
        self.token_of_group().err().unwrap_or_else(|| Refusal::forbidden(reason))
    }

    fn token_of_group(&mut self) -> Result<Arc<AccessToken>, Refusal> {
        let token = self.token()?;
        if self.is_for_group(&token) { Ok(token) } else { Err(Refusal::token(TokenRefusal::WrongAudience)) }
    }

    fn is_for_group(&self, token: &AccessToken) -> bool {
        self.members().any(|member| member.audience.as_ref() == Some(&token.audience))
    }

    /// Who is let pass although refused: a caller with a good token keeps its identity.
    fn known_to_group(&self) -> Option<Arc<AccessToken>> {
        match &self.caller {
            Caller::Known(token) if self.is_for_group(token) => Some(Arc::clone(token)),
            _ => None,
        }
    }

    /// The policies that hold the host and path, or all of the set where none does.
    fn members(&self) -> impl Iterator<Item = &'s Member> {
        let set = self.set;
        let all = self.group.is_none().then(|| set.members()).into_iter().flatten();
        self.group.into_iter().flat_map(|group| &group.members).filter_map(|&id| set.member(id)).chain(all)
    }

    fn token(&mut self) -> Result<Arc<AccessToken>, Refusal> {
        let reads_header = self.group.map_or_else(
            || self.set.members().iter().all(|member| member.policy.reads_header),
            |group| group.reads_header,
        );
        let unasked = Caller::Refused(Refusal::no_credential());
        self.caller = match std::mem::replace(&mut self.caller, unasked) {
            Caller::Unasked(_) if !reads_header => Caller::Refused(Refusal::no_credential()),
            Caller::Unasked(authenticate) => match self.request.credential {
                Credential::None => Caller::Refused(Refusal::no_credential()),
                Credential::Ambiguous => Caller::Refused(Refusal::bad_request(Reason::AmbiguousCredential)),
                Credential::Bearer(text) => match authenticate(text) {
                    Ok(token) => Caller::Known(token),
                    Err(refusal) => Caller::Refused(Refusal::token(refusal)),
                },
            },
            asked => asked,
        };
        match &self.caller {
            Caller::Known(token) => Ok(Arc::clone(token)),
            Caller::Refused(refusal) => Err(refusal.clone()),
            Caller::Unasked(_) => Err(Refusal::no_credential()),
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
