//! The core alone, timed by divan: what a verdict is made of, and how its cost depends on the number of rules.
//!
//! Flows in: nothing; keys, policies and tokens are made here. Flows out: divan's table.

#![allow(clippy::cast_possible_truncation, reason = "numbers of rules are small")]

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_core::directory::{Change, Directory, NamespaceObject, PolicyObject, Settings};
use countersign_core::keyring::{KeyState, Keyring, RingKey};
use countersign_core::names::{Audience, IssuerName, Namespace, ObjectName, ObjectRef, ScopeName, Uid};
use countersign_core::policy::{
    Allow, Cors, Effect, Match, Methods, Mode, Pattern, Protection, RuleSource, ScopeDef, Selector, Source, Target,
    Unmatched, decide,
};
use countersign_core::request::{Headers, Request, RequestParts};
use countersign_core::revocation::Revoked;
use countersign_core::scope::ScopeSet;
use countersign_core::token::{AccessToken, Algorithm, KeySet, PublicJwk, verify};
use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};

const ISSUER: &str = "https://issuer.example";
const NOW: i64 = 1_800_000_000;
/// A policy holds at most 256.
const RULES_OF_POLICY: usize = 100;
const POLICIES_OF_NAMESPACE: usize = 10;
const RULES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

fn main() {
    divan::main();
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

// === keys and tokens ===

enum Pair {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

struct Key {
    pair: Pair,
    public: Vec<u8>,
    jwk: PublicJwk,
}

impl Key {
    fn new(algorithm: Algorithm) -> Self {
        let (pair, public) = if algorithm == Algorithm::EdDSA {
            let pair = Ed25519KeyPair::generate().expect("a key");
            let public = pair.public_key().as_ref().to_vec();
            (Pair::Ed25519(pair), public)
        } else {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
            let public = pair.public_key().as_ref().to_vec();
            (Pair::Ecdsa(pair), public)
        };
        let jwk = PublicJwk::from_public_key(algorithm, &public).expect("a public key");
        Self { pair, public, jwk }
    }

    fn sign(&self, text: &str) -> Vec<u8> {
        match &self.pair {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), text.as_bytes()).expect("sign").as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(text.as_bytes()).as_ref().to_vec(),
        }
    }

    fn token(&self) -> String {
        let header =
            format!(r#"{{"alg":"{}","kid":"{}","typ":"at+jwt"}}"#, self.jwk.algorithm(), self.jwk.key_id().as_str());
        let claims = format!(
            r#"{{"iss":"{ISSUER}","sub":"shop.checkout","client_id":"shop.checkout","aud":"https://p0.n0.svc","iat":{NOW},"exp":{},"jti":"t1","scope":"orders:read","cuid":"u1","cep":1}}"#,
            NOW + 900
        );
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.sign(&signed)))
    }

    fn keys(&self) -> KeySet {
        let published_at = Timestamp::from_second(NOW - 86_400).expect("a time");
        let key = RingKey {
            state: KeyState::Active,
            activated_at: Some(published_at),
            longest_lifetime: SignedDuration::from_hours(1),
            ..RingKey::published(1, self.jwk.clone(), (published_at, 1))
        };
        let ring = ObjectName::new("default").expect("a name");
        let ring = Keyring { serial: 1, next_key: 2, keys: vec![key], ..Keyring::empty(ring) };
        KeySet::build([&ring], [])
    }

    fn verified(&self) -> Arc<AccessToken> {
        let settings = settings();
        Arc::new(verify(&self.token(), &self.keys(), ISSUER, now(), &settings.timings).expect("a good token"))
    }
}

const ALGORITHMS: [Algorithm; 2] = [Algorithm::ES256, Algorithm::EdDSA];

#[divan::bench(args = ALGORITHMS)]
fn token_verify(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let key = Key::new(algorithm);
    let (token, keys, settings) = (key.token(), key.keys(), settings());
    bencher.bench_local(|| verify(black_box(&token), &keys, ISSUER, now(), &settings.timings).expect("a good token"));
}

#[divan::bench(args = ALGORITHMS)]
fn token_bare_signature(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let key = Key::new(algorithm);
    let token = key.token();
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
    let parsed = match algorithm {
        Algorithm::EdDSA => ParsedPublicKey::new(&ED25519, &key.public),
        _ => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &key.public),
    };
    let parsed = parsed.expect("a key");
    bencher.bench_local(|| parsed.verify_sig(black_box(signed.as_bytes()), &signature).expect("a good signature"));
}

#[divan::bench]
fn token_known_check(bencher: Bencher<'_, '_>) {
    let key = Key::new(Algorithm::ES256);
    let (token, keys, revoked) = (key.verified(), key.keys(), Revoked::default());
    bencher.bench_local(|| black_box(&token).check(&keys, &revoked, NOW, 60));
}

// === policies and requests ===

fn settings() -> Settings {
    Settings::new(IssuerName::new("default").expect("a name"), ISSUER, "cluster.local", Vec::new())
}

/// Policy number `number` of all: `RULES_OF_POLICY` rules, a Service of its own, ten policies a namespace.
fn policy(number: usize, rules: usize, generation: i64) -> (ObjectRef, PolicyObject) {
    let namespace = Namespace::new(&format!("n{}", number / POLICIES_OF_NAMESPACE)).expect("a name");
    let object = ObjectRef::new(namespace.as_str(), &format!("p{number}")).expect("a name");
    let rule = |at: usize| {
        let pattern = Pattern::template(&format!("/p{number}/r{at}/{{id}}")).expect("a pattern");
        let scopes = ScopeSet::parse("orders:read").expect("a scope");
        let methods = Methods::from_names(["GET", "HEAD"]).expect("methods");
        RuleSource {
            name: format!("rule-{at}"),
            matches: vec![Ok(Match { methods, pattern })],
            effect: Ok(Effect { protection: Protection::Scoped(vec![Allow { scopes, when: None }]) }),
            mode: Mode::Enforce,
        }
    };
    let source = Source {
        audience: Ok(Audience::new(&format!("https://{}.{namespace}.svc", object.name)).expect("an audience")),
        targets: vec![Ok(Target::Service { name: object.name.clone() })],
        routes: vec![],
        mode: Mode::Enforce,
        scopes: vec![Ok(ScopeDef { name: ScopeName::new("orders:read").expect("a scope"), description: None })],
        grants: vec![],
        resource_servers: vec![],
        rules: (0..rules).map(rule).collect(),
        unmatched: Unmatched::Deny,
        cors_preflight: Cors::Deny,
        token_sources: vec![],
        unreadable: None,
    };
    let uid = Uid::new(&format!("u{number}")).expect("a uid");
    let object = PolicyObject::new(object.clone(), uid, now(), generation, source);
    (object.object.clone(), object)
}

/// All policies, each with its namespace.
fn changes(rules: usize) -> Vec<Change> {
    let policies = rules.div_ceil(RULES_OF_POLICY);
    let change = |number| {
        let (object, policy) = policy(number, RULES_OF_POLICY.min(rules), 1);
        let namespace = object.namespace.clone();
        let of_namespace = NamespaceObject { name: namespace.clone(), labels: BTreeMap::new(), is_ending: false };
        [Change::Namespace(namespace, Some(Arc::new(of_namespace))), Change::Policy(object, Some(Arc::new(policy)))]
    };
    (0..policies).flat_map(change).collect()
}

fn directory(rules: usize) -> Directory {
    Directory::empty(Arc::new(settings())).apply(changes(rules))
}

struct Lines([(&'static str, String); 6]);

impl Headers for Lines {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.0.iter().for_each(|(name, value)| each(name, value.as_bytes()));
    }
}

fn lines() -> Lines {
    let line = |name, value: &str| (name, value.to_owned());
    Lines([
        line(":method", "GET"),
        line("accept", "*/*"),
        line("user-agent", "divan"),
        line("x-request-id", "6f0c2f6e-3d7d-4d4a-9a39-0b8f4a5f1c11"),
        line("x-forwarded-proto", "http"),
        line("authorization", "Bearer abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz"),
    ])
}

fn parts(headers: &Lines) -> RequestParts<'_> {
    RequestParts { method: "GET", scheme: "http", host: "p0.n0.svc", target: "/p0/r7/42", headers }
}

#[divan::bench]
fn request_read(bencher: Bencher<'_, '_>) {
    let headers = lines();
    bencher.bench_local(|| Request::read(black_box(&parts(&headers))).is_ok());
}

/// Finding the policy the proxy names and deciding, with the token already known.
#[divan::bench(args = RULES)]
fn verdict_among_rules(bencher: Bencher<'_, '_>, rules: usize) {
    verdict(bencher, rules, "n0/p0");
}

/// The same where the request's host chooses the policy.
#[divan::bench(args = RULES)]
fn verdict_by_host_among_rules(bencher: Bencher<'_, '_>, rules: usize) {
    verdict(bencher, rules, "by-host");
}

fn verdict(bencher: Bencher<'_, '_>, rules: usize, named: &str) {
    let (directory, headers, token) = (directory(rules), lines(), Key::new(Algorithm::ES256).verified());
    bencher.bench_local(|| {
        let request = Request::read(&parts(&headers)).ok()?;
        let set = match named.parse().ok()? {
            Selector::ByHost => directory.by_host(&request.host.name, &request.path),
            selector => directory.policy_set(&selector),
        };
        let verdict = decide(set?, &request, |_| Ok(Arc::clone(&token)));
        assert_eq!(verdict.reason().name(), "Scoped");
        Some(())
    });
}

/// One policy of a hundred rules changed among so many rules.
#[divan::bench(args = RULES)]
fn change_among_rules(bencher: Bencher<'_, '_>, rules: usize) {
    let directory = directory(rules);
    let (object, policy) = policy(0, RULES_OF_POLICY.min(rules), 2);
    let policy = Arc::new(policy);
    bencher.bench_local(|| directory.apply([Change::Policy(object.clone(), Some(Arc::clone(&policy)))]));
}

/// Everything from nothing, as at the start of a process.
#[divan::bench(args = [1_000, 10_000, 100_000], sample_count = 5)]
fn build_all(bencher: Bencher<'_, '_>, rules: usize) {
    let settings = Arc::new(settings());
    bencher
        .with_inputs(|| changes(rules))
        .bench_local_values(|changes| Directory::empty(Arc::clone(&settings)).apply(changes));
}
