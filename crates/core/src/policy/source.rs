//! What a ScopePolicy says, typed, element by element.
//!
//! Flows in: the custom resource, converted once. Flows out: what `compile` and the Directory work on. An element that
//! cannot be understood is a [`Problem`] in its place, so that the rest serves and the status can name it.

use std::fmt;
use std::str::FromStr;

use super::{HostPattern, LabelSelector, Methods, Pattern};
use crate::names::{Audience, ClientId, NameError, Namespace, ObjectName, ObjectRef, ScopeName};
use crate::scope::ScopeSet;

/// Why an element of an object is not in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Problem {
    /// Where it is: `spec.rules[3].matches[0].path`.
    pub element: String,
    /// What is wrong, a CamelCase constant.
    pub reason: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    /// Puts the three together.
    pub fn new(element: impl Into<String>, reason: &'static str, message: impl Into<String>) -> Self {
        Self { element: element.into(), reason, message: message.into() }
    }
}

/// Whether an answer is enforced, or only counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Decide, count, let pass.
    Shadow,
    /// Decide and answer.
    #[default]
    Enforce,
}

/// What happens to a request no rule's path matches; ordered from lax to strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unmatched {
    /// Any token for the audience passes.
    Authenticated,
    /// Refused.
    #[default]
    Deny,
}

/// What happens to a CORS preflight; ordered from lax to strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cors {
    /// Passes without a credential.
    Allow,
    /// Is a request like any other.
    #[default]
    Deny,
}

/// Where a token may stand in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenSource {
    /// `Authorization: Bearer`.
    Header,
    /// `access_token` in a form body.
    Form,
    /// `access_token` in the query.
    Query,
    /// A cookie.
    Cookie,
    /// The password of HTTP Basic.
    Basic,
}

impl fmt::Display for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The typed source of a ScopePolicy. `Err` elements are out of force; [`RuleSource`] says what that means for rules. Once it
/// is compiled the rules are held as they are judged, and what is left of the source is a `Source<()>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source<Rules = Vec<RuleSource>> {
    /// The audience tokens must be for.
    pub audience: Result<Audience, Problem>,
    /// The objects that serve the audience.
    pub targets: Vec<Result<Target, Problem>>,
    /// Further names it is reached under.
    pub routes: Vec<Result<Route, Problem>>,
    /// Whether answers are enforced.
    pub mode: Mode,
    /// The scopes that exist.
    pub scopes: Vec<Result<ScopeDef, Problem>>,
    /// Who may be granted them.
    pub grants: Vec<Result<Grant, Problem>>,
    /// Own-namespace clients that may exchange this audience's tokens.
    pub resource_servers: Vec<Result<ClientId, Problem>>,
    /// What the scopes open.
    pub rules: Rules,
    /// What happens where no rule's path matches.
    pub unmatched: Unmatched,
    /// What happens to CORS preflights.
    pub cors_preflight: Cors,
    /// Where tokens are looked for; an empty list is `[Header]`.
    pub token_sources: Vec<Result<TokenSource, Problem>>,
    /// Set on what stands in for an object that could not be read as a whole: nothing passes where it has a say.
    pub unreadable: Option<Unreadable>,
}

impl Source {
    /// What is left once the rules are compiled.
    pub(crate) fn without_rules(self) -> Source<()> {
        let Self { audience, targets, routes, mode, scopes, grants, resource_servers, rules: _, .. } = self;
        let Self { unmatched, cors_preflight, token_sources, unreadable, .. } = self;
        Source {
            audience,
            targets,
            routes,
            mode,
            scopes,
            grants,
            resource_servers,
            rules: (),
            unmatched,
            cors_preflight,
            token_sources,
            unreadable,
        }
    }
}

/// How much is known of an object that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// What it protects, not what it demands there: nothing passes under its hosts and paths.
    Rules,
    /// Not even what it protects: nothing passes wherever its policy is among those that decide.
    Everything,
}

/// An object a policy attaches to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Claims all DNS spellings of the Service, with and without port.
    Service {
        /// A Service of the policy's namespace.
        name: ObjectName,
    },
    /// An HTTPRoute: where to attach; claims nothing.
    HttpRoute {
        /// An HTTPRoute of the policy's namespace.
        name: ObjectName,
    },
    /// A Gateway: where to attach; claims nothing.
    Gateway {
        /// A Gateway of the policy's namespace.
        name: ObjectName,
    },
}

/// Names a policy's audience is reached under.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The hosts.
    pub hosts: Vec<HostPattern>,
    /// The part of the path space that is meant, a [`Pattern::prefix`]; everything when absent.
    pub path_prefix: Option<Pattern>,
}

/// A scope an audience knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeDef {
    /// Its name.
    pub name: ScopeName,
    /// What it opens, for consent pages.
    pub description: Option<String>,
}

/// Scopes and who may be granted them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The scopes, each granted to each of `to`.
    pub scopes: ScopeSet,
    /// Who may have them.
    pub to: Vec<Grantee>,
}

/// Clients a grant is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grantee {
    /// All clients of these namespaces.
    Namespaces(NamespaceChoice),
    /// All clients of the namespaces with these labels.
    Selector(LabelSelector),
    /// One client.
    Client(ClientId),
}

/// Namespaces, without naming them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceChoice {
    /// The policy's own.
    Same,
    /// Every one.
    All,
}

/// One rule. A match that is `Err` is left out, the others of the rule serve. An effect that is `Err` denies what the rule
/// matches; so a match whose pattern can be read but which holds anything unknown is best `Ok` with an `Err` effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSource {
    /// What people call it.
    pub name: String,
    /// The requests it is about.
    pub matches: Vec<Result<Match, Problem>>,
    /// What they need.
    pub effect: Result<Effect, Problem>,
    /// Whether it takes part, or is only counted.
    pub mode: Mode,
}

/// Requests a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Match {
    /// Their methods.
    pub methods: Methods,
    /// Their paths.
    pub pattern: Pattern,
}

/// What a rule asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The kind of protection, with what it needs.
    pub protection: Protection,
}

/// How requests are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Not at all: no credential is read, no identity set.
    Public,
    /// By any token for the audience.
    Authenticated,
    /// By a token that satisfies one of these.
    Scoped(Vec<Allow>),
}

/// One way to be let in: all of the scopes, and the condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Scopes the token must all have.
    pub scopes: ScopeSet,
    /// A CEL expression that must be true.
    pub when: Option<String>,
}

/// Which policies decide, as the proxy's configuration names them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// `shop/orders`: that policy alone.
    Policy(ObjectRef),
    /// `shop/*`: any policy of the namespace.
    Namespace(Namespace),
    /// `by-host`: whichever claims the host and path, for gateways that own their virtual hosts.
    ByHost,
}

impl FromStr for Selector {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            None if text == "by-host" => Ok(Self::ByHost),
            Some((namespace, "*")) => Ok(Self::Namespace(Namespace::new(namespace)?)),
            _ => Ok(Self::Policy(text.parse()?)),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(object) => object.fmt(f),
            Self::Namespace(namespace) => write!(f, "{namespace}/*"),
            Self::ByHost => f.write_str("by-host"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_reads_back_as_it_prints_and_nothing_else_is_one() {
        for text in ["shop/orders", "shop/*", "by-host"] {
            assert_eq!(text.parse::<Selector>().expect("a selector").to_string(), text);
        }
        for text in ["", "*", "*/*", "*/orders", "shop", "shop/", "shop/a/b", "by-Host", "by-host/", "shop/orders "] {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_strictest_choice_is_the_greatest() {
        assert!(Mode::Enforce > Mode::Shadow && Unmatched::Deny > Unmatched::Authenticated && Cors::Deny > Cors::Allow);
        assert_eq!(
            (Mode::default(), Unmatched::default(), Cors::default()),
            (Mode::Enforce, Unmatched::Deny, Cors::Deny)
        );
    }
}
