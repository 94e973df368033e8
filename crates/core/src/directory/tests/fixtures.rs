//! Objects for tests: a good one each, changed by a closure.

use std::sync::Arc;

use jiff::Timestamp;

use crate::bounds::{AllowanceObject, Labels, NAME_LABEL};
use crate::client::{
    Access, Client, ClientObject, ClientSpec, ClientState, DeletionPolicy, GrantType, Method, Rotation,
};
use crate::client::{SecretKeys, SecretMode, SecretSettings, TokenFormat, TokenSettings};
use crate::directory::{Change, Conflicts, Directory, NamespaceObject, PolicyObject, Settings};
use crate::names::{Audience, ClientId, IssuerName, Namespace, ObjectName, ObjectRef, ScopeName, Uid};
use crate::policy::{
    Cors, Grant, Grantee, LabelSelector, Mode, NamespaceChoice, Route, ScopeDef, Source, Target, Unmatched,
};
use crate::scope::ScopeSet;

pub(crate) const ORDERS: &str = "https://orders.shop.svc";

pub(crate) fn settings(conflicts: Conflicts) -> Arc<Settings> {
    let name = IssuerName::new("default").expect("a name");
    let settings = Settings::new(name, "https://issuer.example.net", "cluster.local", Vec::new());
    Arc::new(Settings { conflicts, ..settings })
}

pub(crate) fn directory(changes: impl IntoIterator<Item = Change>) -> Directory {
    Directory::empty(settings(Conflicts::OldestWins)).apply(changes)
}

pub(crate) fn object(text: &str) -> ObjectRef {
    text.parse().expect("an object")
}

pub(crate) fn audience(text: &str) -> Audience {
    Audience::new(text).expect("an audience")
}

pub(crate) fn scopes(text: &str) -> ScopeSet {
    if text.is_empty() { ScopeSet::default() } else { ScopeSet::parse(text).expect("scopes") }
}

fn uid(object: &ObjectRef) -> Uid {
    Uid::new(&object.to_string().replace(['/', '.'], "-")).expect("a uid")
}

fn time(age: i64) -> Timestamp {
    Timestamp::from_second(age).expect("a time")
}

/// A policy with the audience of its name, the scopes `read` and `write`, and `read` granted to everyone.
pub(crate) fn policy(text: &str, created: i64, change: impl FnOnce(&mut Source)) -> Change {
    let object = object(text);
    let scope = |name| Ok(ScopeDef { name: ScopeName::new(name).expect("a scope"), description: None });
    let everyone = Grantee::Namespaces(NamespaceChoice::All);
    let mut source = Source {
        audience: Ok(audience(&format!("https://{}.{}.svc", object.name, object.namespace))),
        targets: vec![Ok(Target::Service { name: object.name.clone() })],
        routes: Vec::new(),
        mode: Mode::Enforce,
        scopes: vec![scope("read"), scope("write")],
        grants: vec![Ok(Grant { scopes: scopes("read"), to: vec![everyone] })],
        resource_servers: Vec::new(),
        rules: Vec::new(),
        unmatched: Unmatched::Deny,
        cors_preflight: Cors::Deny,
        token_sources: Vec::new(),
        unreadable: None,
    };
    change(&mut source);
    let policy = PolicyObject::new(object.clone(), uid(&object), time(created), 1, source);
    Change::Policy(object, Some(Arc::new(policy)))
}

pub(crate) fn route(host: &str, prefix: &str) -> Route {
    let path_prefix = Some(crate::policy::Pattern::prefix(prefix).expect("a prefix"));
    Route { hosts: vec![host.parse().expect("a host")], path_prefix }
}

pub(crate) fn access(audience_text: &str, names: &str) -> Access {
    Access { audience: audience(audience_text), scopes: scopes(names) }
}

pub(crate) fn secret(name: &str) -> SecretSettings {
    SecretSettings {
        name: ObjectName::new(name).expect("a name"),
        mode: SecretMode::Create,
        keys: SecretKeys::default(),
        labels: Labels::new(),
        annotations: Labels::new(),
        rotation: Rotation::default(),
        reject_issued_before: None,
    }
}

pub(crate) fn spec(object: &ObjectRef) -> ClientSpec {
    ClientSpec {
        client_id: ClientId::new(&format!("{}.{}", object.namespace, object.name)).expect("an id"),
        display_name: None,
        state: ClientState::Active,
        grant_types: vec![GrantType::ClientCredentials],
        access: vec![access(ORDERS, "read")],
        default_audience: None,
        redirect_uris: Vec::new(),
        authentication: vec![Method::ClientSecret(secret(&format!("{}-oauth", object.name)))],
        tokens: TokenSettings {
            access_token_lifetime: None,
            format: TokenFormat::Jwt,
            signing_key: ObjectName::new("default").expect("a name"),
            claims: serde_json::Map::new(),
        },
        tokens_not_before: None,
        deletion_policy: DeletionPolicy::Delete,
    }
}

/// A client that asks for `read` of [`ORDERS`].
pub(crate) fn client(text: &str, created: i64, change: impl FnOnce(&mut ClientSpec)) -> Change {
    let object = object(text);
    let mut spec = spec(&object);
    change(&mut spec);
    let client = ClientObject {
        uid: uid(&object),
        created_at: time(created),
        generation: 1,
        paused: false,
        client_id: Some(spec.client_id.clone()),
        spec: Client::accept(&object, spec, Vec::new()),
        epoch: 0,
        accepted_since: None,
        secret_issued_at: None,
        object: object.clone(),
    };
    Change::Client(object, Some(Arc::new(client)))
}

pub(crate) fn selector(label: &str, value: &str) -> LabelSelector {
    LabelSelector { match_labels: Labels::from([(label.to_owned(), value.to_owned())]), match_expressions: Vec::new() }
}

/// An allowance for the namespace of this name, or for all.
pub(crate) fn allowance(name: &str, namespace: Option<&str>, change: impl FnOnce(&mut AllowanceObject)) -> Change {
    let allowance = allowance_object(name, namespace, change);
    Change::Allowance(allowance.name.clone(), Some(allowance))
}

pub(crate) fn allowance_object(
    name: &str,
    namespace: Option<&str>,
    change: impl FnOnce(&mut AllowanceObject),
) -> Arc<AllowanceObject> {
    let mut allowance = AllowanceObject {
        name: ObjectName::new(name).expect("a name"),
        generation: 1,
        selector: Some(namespace.map_or_else(LabelSelector::default, |name| selector(NAME_LABEL, name))),
        hosts: Vec::new(),
        audiences: Vec::new(),
        redirect_hosts: Vec::new(),
        client_ids: Vec::new(),
        grant_types: Vec::new(),
        max_access_token_lifetime: None,
        problems: Vec::new(),
    };
    change(&mut allowance);
    Arc::new(allowance)
}

pub(crate) fn namespace(name: &str, team: &str) -> Change {
    let name = Namespace::new(name).expect("a namespace");
    let labels = [(NAME_LABEL, name.as_str()), ("team", team)];
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    Change::Namespace(name.clone(), Some(Arc::new(NamespaceObject { name, labels, is_ending: false })))
}

/// The same object, gone.
pub(crate) fn without(change: &Change) -> Change {
    match change.clone() {
        Change::Client(object, _) => Change::Client(object, None),
        Change::Policy(object, _) => Change::Policy(object, None),
        Change::Allowance(name, _) => Change::Allowance(name, None),
        Change::Namespace(name, _) => Change::Namespace(name, None),
        Change::Ring(name, _) => Change::Ring(name, None),
    }
}
