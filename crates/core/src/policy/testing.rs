//! Terse policies, tokens and requests for the tests of this module.

use std::sync::Arc;

use super::*;
use crate::names::{Audience, ClientId, KeyId, ObjectRef, TokenId};
use crate::request::{Headers, Request, RequestParts};
use crate::scope::ScopeSet;
use crate::token::{AccessToken, TokenRefusal};

pub(super) const ORDERS: &str = "https://orders.shop.svc";
pub(super) const HOST: &str = "orders.shop";

/// A policy being written.
#[derive(Clone)]
pub(super) struct Policy {
    pub(super) name: &'static str,
    pub(super) source: Source,
    pub(super) accepted: Accepted,
}

pub(super) fn policy(name: &'static str) -> Policy {
    let audience = Audience::new(ORDERS).expect("an audience");
    let source = Source {
        audience: Ok(audience.clone()),
        targets: vec![],
        routes: vec![],
        mode: Mode::Enforce,
        scopes: vec![],
        grants: vec![],
        resource_servers: vec![],
        rules: vec![],
        unmatched: Unmatched::Deny,
        cors_preflight: Cors::Deny,
        token_sources: vec![],
        unreadable: None,
    };
    Policy { name, source, accepted: Accepted { audience: Some(audience), hosts: vec![] } }
}

pub(super) fn pattern(text: &str) -> Pattern {
    let read = match text.strip_suffix("/*") {
        Some(prefix) => Pattern::prefix(prefix),
        None => Pattern::template(text),
    };
    read.expect("a pattern")
}

pub(super) fn scoped(allow: &[(&str, Option<&str>)]) -> Protection {
    let allow = allow.iter().map(|(scopes, when)| Allow {
        scopes: ScopeSet::parse(scopes).expect("scopes"),
        when: when.map(str::to_owned),
    });
    Protection::Scoped(allow.collect())
}

impl Policy {
    /// Holds this host and prefix, rather than all of [`HOST`].
    pub(super) fn host(mut self, host: &str, prefix: &str) -> Self {
        self.accepted.hosts.push((host.parse().expect("a host"), Pattern::prefix(prefix).expect("a prefix")));
        self
    }

    pub(super) fn audience(mut self, audience: &str) -> Self {
        self.accepted.audience = Some(Audience::new(audience).expect("an audience"));
        self
    }

    pub(super) fn rule(self, method: &str, path: &str, protection: Protection) -> Self {
        self.rule_in(Mode::Enforce, method, path, protection)
    }

    pub(super) fn rule_in(mut self, mode: Mode, method: &str, path: &str, protection: Protection) -> Self {
        let methods = Methods::from_names(method.split(' ').filter(|name| !name.is_empty())).expect("methods");
        let matches = vec![Ok(Match { methods, pattern: pattern(path) })];
        let name = format!("{method} {path}");
        self.source.rules.push(RuleSource { name, matches, effect: Ok(Effect { protection }), mode });
        self
    }

    pub(super) fn edit(mut self, edit: impl FnOnce(&mut Source)) -> Self {
        edit(&mut self.source);
        self
    }

    pub(super) fn compiled(&self) -> Compiled {
        compile(&ObjectRef::new("shop", self.name).expect("a name"), &self.source)
    }
}

pub(super) fn set(policies: &[Policy]) -> PolicySet {
    let placed: Vec<_> = policies
        .iter()
        .map(|policy| if policy.accepted.hosts.is_empty() { policy.clone().host(HOST, "/") } else { policy.clone() })
        .collect();
    PolicySet::build(placed.iter().map(|policy| (Arc::new(policy.compiled()), &policy.accepted)))
}

pub(super) fn token(scope: &str) -> AccessToken {
    let claims = serde_json::json!({"sub": "shop.checkout", "scope": scope});
    AccessToken {
        subject: "shop.checkout".into(),
        audience: Audience::new(ORDERS).expect("an audience"),
        client_id: ClientId::new("shop.checkout").expect("a client id"),
        scope: ScopeSet::parse(scope).expect("scopes"),
        expires_at: 2000,
        issued_at: 1000,
        not_before: None,
        token_id: TokenId::new("t").expect("an id"),
        client_uid: None,
        client_epoch: 0,
        subject_epoch: 0,
        key_id: KeyId::new(&"k".repeat(43)).expect("a key id"),
        exchanged: Box::default(),
        bound_to: None,
        claims: claims.as_object().cloned().expect("claims"),
    }
}

/// A call in words: `GET /orders/7`, `GET /orders/7 as orders:read`, `GET //other.shop/x as bad`.
pub(super) fn verdict<'s>(set: &'s PolicySet, call: &str) -> Verdict<'s> {
    verdict_with(set, call, &[], token)
}

pub(super) fn verdict_with<'s>(
    set: &'s PolicySet,
    call: &str,
    headers: &[(&str, &str)],
    token: impl Fn(&str) -> AccessToken,
) -> Verdict<'s> {
    let (line, scope) = call.split_once(" as ").unwrap_or((call, ""));
    let (method, url) = line.split_once(' ').expect("a method and a path");
    let (host, target) = match url.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').expect("a path")),
        None => (HOST, url),
    };
    let mut headers = headers.to_vec();
    if !scope.is_empty() {
        headers.push(("authorization", "Bearer t"));
    }
    let headers: &dyn Headers = &headers.as_slice();
    let parts = RequestParts { method, scheme: "https", host, target, headers };
    match Request::read(&parts) {
        Err(ambiguity) => Verdict::refused(Refusal::ambiguous(ambiguity), None),
        Ok(request) => decide(set, &request, |_| match scope {
            "bad" => Err(TokenRefusal::BadSignature),
            "keyless" => Err(TokenRefusal::NoKeys),
            scope => Ok(Arc::new(token(scope))),
        }),
    }
}

/// An answer in words: `200 Scoped`, `401 NoCredential`, `403 InsufficientScope insufficient_scope "orders:read"`.
pub(super) fn answer(set: &PolicySet, call: &str) -> String {
    describe(&verdict(set, call))
}

pub(super) fn describe(verdict: &Verdict<'_>) -> String {
    match &verdict.answer {
        Answer::Allow { reason, identity } => {
            let identity = identity.as_ref().map_or("nobody", |token| token.client_id.as_str());
            format!("200 {reason} {identity}")
        }
        Answer::Deny(refusal) => {
            let error = refusal.error.map(|error| format!(" {}", error.code())).unwrap_or_default();
            let scope = refusal.scope.as_ref().map(|scope| format!(" \"{scope}\"")).unwrap_or_default();
            format!("{} {}{error}{scope}", refusal.status.code(), refusal.reason)
        }
    }
}
