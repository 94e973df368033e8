//! A verifier over a hand-made snapshot, asked through each of its wires.

mod bound;
mod grpc;
mod http;
mod tokens;
#[cfg(feature = "otlp")]
mod traces;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::client_secret::VerifyingKeys;
use countersign_core::directory::{Change, Directory, NamespaceObject, PolicyObject, Settings as Installation};
use countersign_core::keyring::{KeyState, Keyring, RingKey};
use countersign_core::names::{Audience, IssuerName, Namespace, ObjectName, ObjectRef, Uid};
use countersign_core::policy::{
    Allow, Cors, Effect, Match, Methods, Mode, Pattern, Protection, RuleSource, Source, Target, Unmatched,
};
use countersign_core::revocation::{Entry, Revoked, Shard};
use countersign_core::scope::ScopeSet;
use countersign_core::token::{Algorithm, KeySet, PublicJwk};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::runtime::readiness::Readiness;

const ISSUER: &str = "https://issuer.example";
const NOW: i64 = 1_800_000_000;

struct Key {
    pair: Ed25519KeyPair,
    jwk: PublicJwk,
}

struct World {
    live: Live<Snapshot>,
    listed: Condition,
    clock: Clock,
    metrics: Metrics,
    verifier: Arc<Verifier>,
    key: Key,
}

// === impl Key ===

impl Key {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().expect("a key");
        let jwk = PublicJwk::from_public_key(Algorithm::EdDSA, pair.public_key().as_ref()).expect("a public key");
        Self { pair, jwk }
    }

    fn ring(&self, state: KeyState) -> Keyring {
        let published_at = Timestamp::from_second(NOW - 86_400).expect("a time");
        let key = RingKey {
            state,
            activated_at: Some(published_at),
            longest_lifetime: SignedDuration::from_hours(1),
            ..RingKey::published(1, self.jwk.clone(), (published_at, 1))
        };
        let ring = ObjectName::new("default").expect("a name");
        Keyring { serial: 1, next_key: 2, keys: vec![key], ..Keyring::empty(ring) }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes())))
    }

    fn header(&self) -> Value {
        json!({"alg": "EdDSA", "kid": self.jwk.key_id().as_str(), "typ": "at+jwt"})
    }
}

// === impl World ===

impl World {
    fn new() -> Self {
        let key = Key::new();
        let live = Live::new(snapshot(&[("shop", "orders"), ("other", "billing")], &[key.ring(KeyState::Active)]));
        let clock = Clock::fixed(Timestamp::from_second(NOW).expect("a time"));
        let metrics = Metrics::new();
        let trusted_proxies = vec!["10.0.0.0/8".parse().expect("a network")];
        let settings = Settings { trusted_proxies, ..Settings::default() };
        let listed = Readiness::new().condition("first-listing");
        listed.ready();
        let verifier = Verifier::new((live.clone(), listed.clone()), clock.clone(), &metrics, settings);
        Self { live, listed, clock, metrics, verifier, key }
    }

    fn claims(scope: &str) -> Value {
        json!({
            "iss": ISSUER, "sub": "shop.checkout", "client_id": "shop.checkout", "aud": "https://orders.shop.svc",
            "iat": NOW, "exp": NOW + 900, "jti": "t1", "scope": scope, "cuid": "u1", "cep": 1
        })
    }

    fn token(&self, scope: &str) -> String {
        self.key.sign(&self.key.header(), &Self::claims(scope))
    }

    fn bearer(&self, scope: &str) -> String {
        format!("Bearer {}", self.token(scope))
    }

    /// Publishes the snapshot with a part changed.
    fn change(&self, edit: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = (*self.live.load_full()).clone();
        edit(&mut snapshot);
        self.live.publish(snapshot);
    }

    fn revoke(&self, entry: Entry) {
        let now = self.clock.now();
        self.change(|snapshot| snapshot.revoked = Arc::new(Revoked::build([&Shard { entries: vec![entry] }], now)));
    }
}

fn snapshot(policies: &[(&str, &str)], rings: &[Keyring]) -> Snapshot {
    let issuer = IssuerName::new("default").expect("a name");
    let installation = Installation::new(issuer, ISSUER, "cluster.local", Vec::new());
    let changes = policies.iter().flat_map(|(namespace, name)| {
        let (namespace, object) =
            (Namespace::new(namespace).expect("a name"), ObjectRef::new(namespace, name).expect("a name"));
        let labels = BTreeMap::new();
        let of_namespace = Arc::new(NamespaceObject { name: namespace.clone(), labels, is_ending: false });
        let created_at = Timestamp::from_second(NOW - 1000).expect("a time");
        let uid = Uid::new("u").expect("a uid");
        let of_policy = Arc::new(PolicyObject::new(object.clone(), uid, created_at, 1, policy(&object)));
        [Change::Namespace(namespace, Some(of_namespace)), Change::Policy(object, Some(of_policy))]
    });
    let directory = Directory::empty(Arc::new(installation)).apply(changes);
    Snapshot {
        directory: Arc::new(directory),
        keys: Arc::new(KeySet::build(rings, [])),
        rings: Arc::default(),
        revoked: Arc::default(),
        client_secret_keys: Arc::new(VerifyingKeys::default()),
        private_keys: Arc::default(),
        records: Arc::default(),
        record_key: None,
    }
}

/// A policy for the Service of its own name.
fn policy(object: &ObjectRef) -> Source {
    let scoped = |scope: &str, when: Option<&str>| {
        let scopes = ScopeSet::parse(scope).expect("a scope");
        Protection::Scoped(vec![Allow { scopes, when: when.map(str::to_owned) }])
    };
    let rule = |methods: &[&str], pattern: Result<Pattern, _>, protection| {
        let methods = Methods::from_names(methods.iter().copied()).expect("methods");
        let matches = vec![Ok(Match { methods, pattern: pattern.expect("a pattern") })];
        RuleSource { name: "rule".to_owned(), matches, effect: Ok(Effect { protection }), mode: Mode::Enforce }
    };
    let service = format!("{}.{}.svc", object.name, object.namespace);
    Source {
        audience: Ok(Audience::new(&format!("https://{service}")).expect("an audience")),
        targets: vec![Ok(Target::Service { name: object.name.clone() })],
        routes: vec![],
        mode: Mode::Enforce,
        scopes: vec![],
        grants: vec![],
        resource_servers: vec![],
        rules: vec![
            rule(&["GET"], Pattern::template("/orders/{id}"), scoped("orders:read", None)),
            rule(&["DELETE"], Pattern::template("/orders/{id}"), scoped("orders:admin", None)),
            rule(
                &["GET"],
                Pattern::template("/tenants/{id}"),
                scoped("orders:read", Some("request.headers['x-tenant'] == path.id")),
            ),
            rule(&["GET"], Pattern::exact("/health"), Protection::Public),
            rule(&["POST"], Pattern::exact("/shop.Orders/Get"), scoped("orders:read", None)),
        ],
        unmatched: Unmatched::Deny,
        cors_preflight: Cors::Allow,
        token_sources: vec![],
        unreadable: None,
    }
}
