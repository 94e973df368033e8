//! What the tests ask: an issuer of its own, its clients and their secrets.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method as Verb, Request, StatusCode, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_core::client::{
    Access, Client, ClientObject, ClientSpec, ClientState, DeletionPolicy, GrantType, Method, Rotation, SecretKeys,
    SecretMode, SecretSettings, TokenFormat, TokenSettings,
};
use countersign_core::client_secret::{RecordKey, SignerKeyring, VerifyingKeys, message, value};
use countersign_core::directory::{Change, Directory, NamespaceObject, PolicyObject, Settings as DirectorySettings};
use countersign_core::keyring::{KeyState, Keyring, RingKey};
use countersign_core::names::{Audience, ClientId, IssuerName, Namespace, ObjectName, ObjectRef, ScopeName, Uid};
use countersign_core::policy::{Cors, Grant, Grantee, Mode, NamespaceChoice, ScopeDef, Source, Unmatched};
use countersign_core::revocation::{Entry, Revoked, Shard, Sink, SinkError};
use countersign_core::scope::ScopeSet;
use countersign_core::timings::Timings;
use countersign_core::token::{Algorithm, KeySet, PublicJwk};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tower::ServiceExt;

use super::around::Around;
use crate::http::body::BodyLimits;
use crate::issuer::keeper::{Keeper, Watched};
use crate::issuer::signer::Signers;
use crate::issuer::usage::SecretUsage;
use crate::issuer::{Parts, Settings, router};
use crate::runtime::clock::Clock;
use crate::runtime::contact::Contact;
use crate::runtime::live::Live;
use crate::runtime::metrics::Metrics;
use crate::runtime::readiness::Readiness;
use crate::runtime::serve::Peer;
use crate::runtime::tls::ClientJudge;
use crate::snapshot::{PrivateKey, Snapshot};

pub(super) const ISSUER: &str = "https://auth.example.com";
pub(super) const AUDIENCE: &str = "https://orders.shop.svc";
pub(super) const BEGAN: i64 = 1_800_000_000;

/// An issuer and everything around it.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) contact: Contact,
    pub(super) live: Live<Snapshot>,
    pub(super) usage: SecretUsage,
    pub(super) sink: Arc<TestSink>,
    pub(super) readiness: Readiness,
    pub(super) keeper: Keeper,
    pub(super) router: Router,
    secret_signer: Ed25519KeyPair,
}

/// What came back.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

/// Keeps what it is told, unless it is to fail.
#[derive(Default)]
pub(super) struct TestSink {
    pub(super) entries: Mutex<Vec<Entry>>,
    pub(super) fails: Mutex<bool>,
}

impl Sink for TestSink {
    fn revoke(&self, entry: Entry) -> Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + '_>> {
        Box::pin(async move {
            if *self.fails.lock().unwrap() {
                return Err(SinkError::NotWritten);
            }
            self.entries.lock().unwrap().push(entry);
            Ok(())
        })
    }
}

// === impl World ===

impl World {
    /// `shop.checkout`, `shop.orders` (confidential) and `shop.app` (public) beside the policy; `web.frontend` elsewhere.
    pub(super) fn new() -> Self {
        Self::with(BodyLimits::default(), Around::default())
    }

    pub(super) fn with(body: BodyLimits, around: Around) -> Self {
        Self::at(Clock::fixed(at(0)), body, around)
    }

    pub(super) fn at(clock: Clock, body: BodyLimits, around: Around) -> Self {
        let Around { cluster_keys, pods, store, published } = around;
        let timings = Timings::default();
        let contact = Contact::never();
        contact.touch(clock.now());
        let secret_signer = Ed25519KeyPair::generate().unwrap();
        let live = Live::new(snapshot(&secret_signer));
        let signers = Live::new(Signers::default());
        let (usage, sink, readiness) = (SecretUsage::default(), Arc::new(TestSink::default()), Readiness::new());
        let watched = Watched {
            snapshot: live.clone(),
            signers: signers.clone(),
            clock: clock.clone(),
            contact: contact.clone(),
            timings,
            default_ring: ObjectName::new("default").unwrap(),
        };
        let keeper = Keeper::new(watched, &readiness);
        keeper.keep();
        let parts = Parts {
            settings: Settings {
                issuer_name: IssuerName::new("default").unwrap(),
                issuer_url: ISSUER.to_owned(),
                timings,
                body,
            },
            snapshot: live.clone(),
            signers,
            clock: clock.clone(),
            contact: contact.clone(),
            sink: sink.clone(),
            usage: usage.clone(),
            cluster_keys,
            pods,
            clients: Some(ClientJudge::of(include_bytes!("../../../tests/certificates/clients.crt.pem"))),
            store,
            published_keys: published,
        };
        let router = router(parts, &Metrics::new());
        Self { clock, contact, live, usage, sink, readiness, keeper, router, secret_signer }
    }

    /// A value the controller would have signed so many seconds after the beginning.
    pub(super) fn secret(&self, client_id: &str, issued: i64) -> String {
        self.secret_of_version(1, client_id, issued)
    }

    pub(super) fn secret_of_version(&self, version: u32, client_id: &str, issued: i64) -> String {
        let installation = IssuerName::new("default").unwrap();
        let client_id = ClientId::new(client_id).unwrap();
        let signature = self.secret_signer.sign(&message(&installation, &client_id, version, at(issued)));
        value(version, at(issued), signature.as_ref().try_into().unwrap())
    }

    /// The signer's keyring after this many versions, all of the one key.
    pub(super) fn signer_keys(&self, versions: usize) -> Arc<VerifyingKeys> {
        let public = self.secret_signer.public_key().as_ref().try_into().unwrap();
        let ring = (0..versions).fold(SignerKeyring::default(), |ring, _| ring.with_version(public, at(0)));
        Arc::new(VerifyingKeys::new(&ring))
    }

    /// Changes the snapshot.
    pub(super) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut snapshot = Snapshot::clone(&self.live.load());
        change(&mut snapshot);
        self.live.publish(snapshot);
        self.keeper.keep();
    }

    /// Changes one client's object.
    pub(super) fn change_client(&self, name: &str, change: impl FnOnce(&mut ClientObject)) {
        let mut object = ClientObject::clone(&self.live.load().directory.client(name).unwrap().object);
        change(&mut object);
        self.put_client(object);
    }

    /// Changes the spec of one client.
    pub(super) fn change_spec(&self, name: &str, change: impl FnOnce(&mut ClientSpec)) {
        self.change_client(name, |object| {
            let mut spec = ClientSpec::clone(object.spec.as_ref().unwrap());
            change(&mut spec);
            object.spec = Client::accept(&object.object, spec, Vec::new());
            assert!(object.spec.is_ok(), "{:?}", object.spec);
        });
    }

    pub(super) fn put_client(&self, object: ClientObject) {
        self.apply(Change::Client(object.object.clone(), Some(Arc::new(object))));
    }

    pub(super) fn apply(&self, change: Change) {
        self.change(|snapshot| snapshot.directory = Arc::new(snapshot.directory.apply([change])));
    }

    /// Revokes in the snapshot, as the watch would.
    pub(super) fn learn(&self, entries: Vec<Entry>) {
        let revoked = Revoked::build([&Shard { entries }], self.clock.now());
        self.change(|snapshot| snapshot.revoked = Arc::new(revoked));
    }

    pub(super) async fn send(&self, mut request: Request<Body>, from: &str) -> Answer {
        request.extensions_mut().insert(Peer { address: format!("{from}:1234").parse().unwrap() });
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap_or(Value::Null) };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A form request with the credentials in the Authorization header.
    pub(super) async fn post(&self, path: &str, who: (&str, &str), form: &[(&str, &str)]) -> Answer {
        self.send(basic(path, who, encode(form)), "192.0.2.1").await
    }

    /// A token request as `shop.checkout` with a good secret.
    pub(super) async fn token(&self, form: &[(&str, &str)]) -> Answer {
        let form = [&[("grant_type", "client_credentials")], form].concat();
        self.post("/oauth2/token", ("shop.checkout", &self.secret("shop.checkout", 0)), &form).await
    }

    /// An access token of `shop.checkout`.
    pub(super) async fn access_token(&self) -> String {
        let answer = self.token(&[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["access_token"].as_str().unwrap().to_owned()
    }
}

// === impl Answer ===

impl Answer {
    pub(super) fn error(&self) -> (u16, &str) {
        (self.status.as_u16(), self.body["error"].as_str().unwrap_or_default())
    }
}

/// The form as it is sent.
pub(super) fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

pub(super) fn basic(path: &str, (id, secret): (&str, &str), body: String) -> Request<Body> {
    let credentials = STANDARD.encode(format!("{}:{}", encode_one(id), encode_one(secret)));
    Request::builder()
        .method(Verb::POST)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::AUTHORIZATION, format!("Basic {credentials}"))
        .body(Body::from(body))
        .unwrap()
}

fn encode_one(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BEGAN + second).unwrap()
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text).unwrap()
}

fn snapshot(secret_signer: &Ed25519KeyPair) -> Snapshot {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let pkcs8 = pair.to_pkcs8v1().unwrap();
    let jwk = PublicJwk::from_public_key(Algorithm::ES256, pair.public_key().as_ref()).unwrap();
    let ring = Keyring { keys: vec![ring_key(1, jwk.clone(), KeyState::Active)], ..empty_ring() };
    let public = secret_signer.public_key().as_ref().try_into().unwrap();
    Snapshot {
        directory: Arc::new(directory()),
        keys: Arc::new(KeySet::build([&ring], [])),
        rings: Arc::new([(ring.ring.clone(), Arc::new(ring))].into()),
        private_keys: Arc::new([(jwk.key_id().clone(), PrivateKey::new(pkcs8.as_ref().to_vec()))].into()),
        client_secret_keys: Arc::new(VerifyingKeys::new(&SignerKeyring::default().with_version(public, at(0)))),
        revoked: Arc::default(),
        records: Arc::default(),
        record_key: Some(Arc::new(record_key())),
    }
}

pub(super) fn empty_ring() -> Keyring {
    Keyring { serial: 1, next_key: 2, ..Keyring::empty(ObjectName::new("default").unwrap()) }
}

pub(super) fn ring_key(serial: u64, jwk: PublicJwk, state: KeyState) -> RingKey {
    RingKey {
        state,
        activated_at: Some(at(0)),
        longest_lifetime: SignedDuration::from_hours(1),
        ..RingKey::published(serial, jwk, (at(0), 1))
    }
}

fn directory() -> Directory {
    let issuer = IssuerName::new("default").unwrap();
    let settings = DirectorySettings::new(issuer, ISSUER, "cluster.local", Vec::new());
    let namespace = |name: &str| {
        let name = Namespace::new(name).unwrap();
        let labels = BTreeMap::default();
        Change::Namespace(name.clone(), Some(Arc::new(NamespaceObject { name, labels, is_ending: false })))
    };
    let client = |object: ClientObject| Change::Client(object.object.clone(), Some(Arc::new(object)));
    let mut public = client_object("shop", "app");
    let spec = ClientSpec { authentication: vec![Method::None], ..ClientSpec::clone(public.spec.as_ref().unwrap()) };
    public.spec = Client::accept(&public.object, spec, Vec::new());
    Directory::empty(Arc::new(settings)).apply([
        namespace("shop"),
        namespace("web"),
        policy(),
        client(client_object("shop", "checkout")),
        client(client_object("shop", "orders")),
        client(client_object("web", "frontend")),
        client(public),
    ])
}

fn policy() -> Change {
    let object = ObjectRef::new("shop", "orders").unwrap();
    let scope = |name: &str| Ok(ScopeDef { name: ScopeName::new(name).unwrap(), description: None });
    let source = Source {
        audience: Ok(Audience::new(AUDIENCE).unwrap()),
        targets: Vec::new(),
        routes: Vec::new(),
        mode: Mode::Enforce,
        scopes: vec![scope("orders:read"), scope("orders:write"), scope("orders:admin")],
        grants: vec![Ok(Grant {
            scopes: scopes("orders:read orders:write"),
            to: vec![Grantee::Namespaces(NamespaceChoice::Same)],
        })],
        resource_servers: Vec::new(),
        rules: Vec::new(),
        unmatched: Unmatched::Deny,
        cors_preflight: Cors::Deny,
        token_sources: Vec::new(),
        unreadable: None,
    };
    let uid = Uid::new("policy-1").unwrap();
    let policy = PolicyObject::new(object.clone(), uid, at(-100), 1, source);
    Change::Policy(object, Some(Arc::new(policy)))
}

/// A client with a secret, created 100 s before the beginning.
pub(super) fn client_object(namespace: &str, name: &str) -> ClientObject {
    let object = ObjectRef::new(namespace, name).unwrap();
    let client_id = ClientId::new(&format!("{namespace}.{name}")).unwrap();
    let spec = ClientSpec {
        client_id: client_id.clone(),
        display_name: None,
        state: ClientState::Active,
        grant_types: vec![GrantType::ClientCredentials],
        access: vec![Access {
            audience: Audience::new(AUDIENCE).unwrap(),
            scopes: scopes("orders:read orders:write orders:admin"),
        }],
        default_audience: None,
        redirect_uris: Vec::new(),
        authentication: vec![Method::ClientSecret(secret_settings(name, SecretMode::Create))],
        tokens: TokenSettings {
            access_token_lifetime: None,
            format: TokenFormat::Jwt,
            signing_key: ObjectName::new("default").unwrap(),
            claims: serde_json::Map::new(),
        },
        tokens_not_before: None,
        deletion_policy: DeletionPolicy::Delete,
    };
    ClientObject {
        uid: Uid::new(&format!("uid-{namespace}-{name}")).unwrap(),
        created_at: at(-100),
        generation: 1,
        paused: false,
        client_id: Some(client_id),
        spec: Client::accept(&object, spec, Vec::new()),
        object,
        epoch: 1,
        accepted_since: None,
        secret_issued_at: Some(at(0)),
    }
}

pub(super) fn secret_settings(name: &str, mode: SecretMode) -> SecretSettings {
    SecretSettings {
        name: ObjectName::new(&format!("{name}-oauth")).unwrap(),
        mode,
        keys: SecretKeys::default(),
        labels: BTreeMap::default(),
        annotations: BTreeMap::default(),
        rotation: Rotation::default(),
        reject_issued_before: None,
    }
}

pub(super) fn record_key() -> RecordKey {
    RecordKey::new(&[7; 32])
}
