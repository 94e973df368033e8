//! What keeps a client from a token, and from the scopes the rule asks for.
//!
//! Flows in: a client, and the rule that decides. Flows out: every step that is needed, in order.

use std::sync::Arc;

use countersign_core::client::Access;
use countersign_core::directory::ClientView;
use countersign_core::names::{Audience, ScopeName};
use countersign_core::policy::{Considered, Needs, Problem, Wanted};

use super::caller::find_client;
use super::next::{Findings, capital, listed};

/// How many letters a mistyped name may differ in.
const LETTERS: usize = 2;

// === impl Findings ===

impl Findings<'_> {
    /// What a client has to do first that the issuer gives no token.
    pub(super) fn issuer(&self) -> Vec<String> {
        let Some(failure) = &self.caller.issuer else { return Vec::new() };
        let Some(view) = self.client else {
            let ids = self.known.directory().clients().filter_map(|client| client.object.client_id.as_ref());
            return vec![format!("Correct the client id; there are {}", listed(ids.map(ToString::to_string)))];
        };
        let mut said = self.unusable(view);
        if view.accepted().is_none() {
            return said;
        }
        let decides = self.deciding().and_then(|rule| rule.audience);
        let any = || self.explanation.and_then(|explanation| explanation.audiences.first().copied());
        if let Some(audience) = decides.or_else(any) {
            said.extend(self.mistyped_audience(view, audience));
            let scopes = self.scopes(audience, view);
            let named = access_meant(self, view, audience).is_some();
            if scopes.is_empty() && !named {
                let object = self.object("OAuthClient", &view.object.object, "spec.access");
                said.push(format!("Add an entry with audience {audience} to spec.access of {object}"));
            }
            said.extend(scopes);
        }
        if said.is_empty() {
            said.push(format!("The issuer says {}: {}", failure.reason, failure.meaning));
        }
        said
    }

    /// What keeps a client from being of any use.
    pub(super) fn unusable(&self, view: &ClientView) -> Vec<String> {
        let object = &view.object.object;
        let correct = |problem: &Problem| {
            let place = self.object("OAuthClient", object, &problem.element);
            format!("Correct {} of {place}: {}", problem.element, problem.message)
        };
        let suspended = || {
            let place = self.object("OAuthClient", object, "spec.state");
            format!("Set spec.state: Active in {place}: a suspended client is as good as none")
        };
        let problems = view.problems.iter().map(correct);
        problems.chain((view.accepted().is_some() && view.usable().is_none()).then(suspended)).collect()
    }

    fn mistyped_audience(&self, view: &ClientView, audience: &Audience) -> Option<String> {
        let (at, access) = access_meant(self, view, audience).filter(|(_, access)| access.audience != *audience)?;
        let field = format!("spec.access[{at}].audience");
        let object = self.object("OAuthClient", &view.object.object, &field);
        Some(format!("Correct {field} of {object}: no policy has {}; did you mean {audience}?", access.audience))
    }

    /// What keeps a client from the scopes it asks for, or else the rule does, and for which it might ask instead.
    fn scopes(&self, audience: &Audience, view: &Arc<ClientView>) -> Vec<String> {
        let Some(asked) = self.scope else {
            let by_rule = self.scopes_of_rule(Some(view), |_| None);
            if !by_rule.is_empty() {
                return by_rule;
            }
            let access = access_meant(self, view, audience);
            let scopes = access.into_iter().flat_map(|(_, access)| access.scopes.iter());
            return scopes.filter_map(|scope| self.obtain(scope, audience, view)).collect();
        };
        let each = asked.split(' ').filter_map(|scope| match ScopeName::new(scope) {
            Ok(scope) => self.obtain(&scope, audience, view),
            Err(error) => Some(format!("Correct --scope {scope:?}: {error}")),
        });
        let mut said: Vec<_> = each.collect();
        let granted = self.known.directory().granted(view, audience.as_str());
        if !said.is_empty() && !granted.is_empty() {
            said.push(format!(
                "Or leave --scope out: without, it gets {}",
                listed(granted.iter().map(ToString::to_string))
            ));
        }
        said
    }

    pub(super) fn insufficient_scope(&self) -> Vec<String> {
        let known = || find_client(self.known.directory(), self.caller.client.as_deref()?).cloned();
        let client = self.client.cloned().or_else(known);
        self.scopes_of_rule(client.as_ref(), |scope| {
            Some(format!(
                "Get a token with {scope}: the client may have it; ask for it with scope={scope}, or leave scope out"
            ))
        })
    }

    /// All that is needed for the rule that decides; `may` says what there is to say of a scope the client may have.
    fn scopes_of_rule(
        &self,
        client: Option<&Arc<ClientView>>,
        may: impl Fn(&ScopeName) -> Option<String>,
    ) -> Vec<String> {
        let Some((rule, ways, audience)) = self.scoped() else { return Vec::new() };
        let nearest = ways.iter().enumerate().min_by_key(|(_, way)| way.missing.len());
        let Some((at, way)) = nearest else { return Vec::new() };
        let mut said = Vec::new();
        for scope in &way.missing {
            said.extend(match client {
                Some(client) => self.obtain(scope, audience, client).or_else(|| may(scope)),
                None => Some(format!("Use a token with {scope} for {audience}: the client needs it in spec.access, and a policy has to grant it")),
            });
            said.extend(self.mistyped_scope(rule, at, scope));
        }
        if said.is_empty() {
            return said;
        }
        let field = format!("spec.rules[{}].allow[{at}].when", rule.index);
        let place = || self.object("ScopePolicy", rule.rule.policy, &field);
        said.extend(way.when.map(|when| format!("Then `{when}` has to be true too: {field} of {}", place())));
        if ways.len() > 1 {
            said.push(format!("Or satisfy another entry of allow in rule {}", rule.rule.rule));
        }
        said
    }

    /// Scopes of the rule that decides which no token can have.
    pub(super) fn mistyped_scopes(&self) -> Vec<String> {
        let Some((rule, ways, _)) = self.scoped() else { return Vec::new() };
        let each = ways.iter().enumerate().flat_map(|(at, way)| way.scopes.iter().map(move |scope| (at, scope)));
        each.filter_map(|(at, scope)| self.mistyped_scope(rule, at, scope)).collect()
    }

    /// A scope the rule asks for and no policy of its audience defines.
    fn mistyped_scope(&self, rule: &Considered<'_>, at: usize, scope: &ScopeName) -> Option<String> {
        let audience = self.known.directory().audience(rule.audience?.as_str())?;
        if audience.defines(scope) {
            return None;
        }
        let field = format!("spec.rules[{}].allow[{at}].scopes", rule.index);
        let object = self.object("ScopePolicy", rule.rule.policy, &field);
        let near = nearest(scope.as_str(), audience.scopes().map(ScopeName::as_str));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Some(format!("Or correct {field} of {object} (rule {}): there is no scope {scope}{near}", rule.rule.rule))
    }

    fn scoped(&self) -> Option<(&Considered<'_>, &[Wanted<'_>], &Audience)> {
        let rule = self.deciding()?;
        let Needs::Scoped(ways) = &rule.needs else { return None };
        Some((rule, ways, rule.audience?))
    }

    /// What keeps a client from a scope; nothing where it may have it.
    fn obtain(&self, scope: &ScopeName, audience: &Audience, client: &ClientView) -> Option<String> {
        let directory = self.known.directory();
        let object = &client.object.object;
        let policy = self.explanation.and_then(|explanation| explanation.policies.first().copied());
        let policy = |field: &str| {
            policy.map_or_else(
                || format!("a ScopePolicy of {audience}"),
                |policy| self.object("ScopePolicy", policy, field),
            )
        };
        let id = client.object.client_id.as_ref().map_or_else(|| object.to_string(), ToString::to_string);
        let mut steps = Vec::new();
        if !directory.audience(audience.as_str()).is_some_and(|audience| audience.defines(scope)) {
            steps.push(format!("define the scope {scope} in spec.scopes of {}", policy("spec.scopes")));
        }
        if !directory.would_grant(client, audience, scope) {
            steps.push(format!("grant {scope} to {id} in spec.grants of {}", policy("spec.grants")));
        }
        match access_meant(self, client, audience) {
            Some((_, access)) if access.scopes.contains(scope.as_str()) => {}
            Some((at, _)) => {
                let field = format!("spec.access[{at}].scopes");
                steps.push(format!("add {scope} to {field} of {}", self.object("OAuthClient", object, &field)));
            }
            None => steps.push(format!(
                "add an entry with audience {audience} and scope {scope} to spec.access of {}",
                self.object("OAuthClient", object, "spec.access")
            )),
        }
        (!steps.is_empty()).then(|| capital(&steps.join(", and ")))
    }
}

/// The entry of `spec.access` for an audience: the one that names it, or one whose audience no policy has and that is
/// likely to mean it.
fn access_meant<'a>(
    findings: &Findings<'_>,
    client: &'a ClientView,
    audience: &Audience,
) -> Option<(usize, &'a Access)> {
    let all = || client.accepted().into_iter().flat_map(|spec| spec.access.iter().enumerate());
    let exists = |audience: &Audience| findings.known.directory().audience(audience.as_str()).is_some();
    let alike = |access: &Access| nearest(access.audience.as_str(), std::iter::once(audience.as_str())).is_some();
    all()
        .find(|(_, access)| access.audience == *audience)
        .or_else(|| all().find(|(_, access)| !exists(&access.audience) && alike(access)))
}

/// The name most like a word, if it is like it.
fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (distance(word, name), name)).filter(|(letters, _)| *letters <= LETTERS);
    near.min().map(|(_, name)| name)
}

/// How many letters must be changed, added or left out to get from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (number, x) in a.chars().enumerate() {
        let mut left = number + 1;
        let mut next = vec![left];
        for ((y, diagonal), above) in b.chars().zip(&row).zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_near_when_two_letters_differ_at_most() {
        for (word, near) in [("raed", Some("read")), ("reads", Some("read")), ("writ", Some("write")), ("delete", None)]
        {
            assert_eq!(nearest(word, ["read", "write"].into_iter()), near, "{word}");
        }
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("kitten", "sitting")), (3, 3, 3));
    }
}
