//! Certificates over a store in memory: made, renewed, repaired, and shown to real TLS clients second by second.

mod handshakes;
mod webhook;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_api::metadata::ROTATE_AT;
use countersign_core::names::{IssuerName, Namespace};
use k8s_openapi::ByteString;
use kube::ResourceExt;

use super::*;
use crate::controller::Gate;
use crate::controller::oauth_client::Connection;
use crate::objects::layout::{AUTHORITIES_DATA, CA_DATA, CERTIFICATE_DATA, CERTIFICATE_KEY_DATA, PART, SERIAL};
use crate::objects::{FolderStore, Key, Preconditions};

const TIMINGS: CertificateTimings = CertificateTimings {
    authority_lifetime: Duration::from_secs(144),
    leaf_lifetime: Duration::from_secs(36),
    pre_publish: Duration::from_secs(4),
    clock_skew: Duration::from_secs(1),
};
/// The configuration that is kept where there is one.
const WEBHOOK: &str = "countersign-admission";
const NAMES: [&str; 2] = ["tokens.cs.svc", "127.0.0.1"];

/// A store, a clock, and what clients are told.
struct Bed {
    objects: Objects,
    layout: Layout,
    clock: Clock,
    connections: Connections,
}

impl Bed {
    fn new() -> Self {
        let clock = Clock::fixed(Timestamp::from_second(1_800_000_000).unwrap());
        let objects = Objects::Folder(FolderStore::in_memory(clock.clone()).unwrap());
        let layout =
            Layout::new(IssuerName::new("default").unwrap(), &Namespace::new("countersign-system").unwrap()).unwrap();
        let url = "https://tokens.cs.svc".to_owned();
        let connection = Connection { issuer: url.clone(), token_endpoint: url.clone(), jwks_uri: url, ca: None };
        Self { objects, layout, clock, connections: Connections::awaiting_trust(connection) }
    }

    /// A controller that remembers nothing.
    fn process(&self, gate: Gate) -> Certificates {
        let servers = vec![(Server::Issuer, NAMES.map(str::to_owned).to_vec())];
        let parts = Parts {
            objects: self.objects.clone(),
            writer: Writer::new(&self.objects, gate, "certificates"),
            layout: self.layout.clone(),
            clock: self.clock.clone(),
            settings: Settings { servers, timings: TIMINGS, for_clients: true, webhook: Some(WEBHOOK.to_owned()) },
            connections: self.connections.clone(),
        };
        Certificates::new(parts, &Metrics::new())
    }

    /// One that has looked.
    async fn begun() -> (Self, Certificates) {
        let bed = Self::new();
        let process = bed.process(Gate::always());
        look(&process).await;
        (bed, process)
    }

    async fn map(&self) -> Option<ConfigMap> {
        self.objects.get(&self.layout.ca_bundle()).await.unwrap()
    }

    async fn bundle(&self) -> Bundle {
        observe::bundle(&self.map().await.unwrap()).unwrap()
    }

    async fn secret(&self) -> Option<Secret> {
        self.objects.get(&self.layout.certificate(Server::Issuer)).await.unwrap()
    }

    async fn key(&self, number: u64) -> Option<Secret> {
        self.objects.get(&self.layout.ca_key(number)).await.unwrap()
    }

    /// Whether a client of the bundle takes the leaf that is there.
    async fn is_good(&self) -> bool {
        let (bundle, secret) = (self.bundle().await, self.secret().await.unwrap());
        let candidates = observe::candidates(&bundle, &[]);
        observe::leaf(&secret, candidates, &NAMES.map(str::to_owned), self.clock.now()).is_some()
    }

    /// Who is trusted, and who of them signs.
    async fn authorities(&self) -> (Vec<u64>, Option<u64>) {
        let bundle = self.bundle().await;
        (bundle.authorities.iter().map(|each| each.number).collect(), bundle.active().map(|active| active.number))
    }

    async fn versions(&self) -> Vec<Option<String>> {
        let map = self.map().await.and_then(|map| map.resource_version());
        let secret = self.secret().await.and_then(|secret| secret.resource_version());
        let key = self.key(1).await.and_then(|secret| secret.resource_version());
        vec![map, secret, key]
    }

    async fn edit_map(&self, edit: impl FnOnce(&mut ConfigMap)) {
        let mut map = self.map().await.unwrap();
        edit(&mut map);
        self.objects.replace(&map).await.unwrap();
    }

    async fn edit_secret(&self, edit: impl FnOnce(&mut Secret)) {
        let mut secret = self.secret().await.unwrap();
        edit(&mut secret);
        self.objects.replace(&secret).await.unwrap();
    }

    async fn delete<K: crate::objects::Object>(&self, key: &Key) {
        assert!(self.objects.delete::<K>(key, &Preconditions::default()).await.unwrap());
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

async fn look(process: &Certificates) -> Timestamp {
    process.reconcile(&CERTIFICATES).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_first_look_makes_everything_and_later_ones_write_nothing() {
    let (bed, process) = Bed::begun().await;
    assert_eq!(bed.authorities().await, (vec![1], Some(1)));
    assert!(bed.is_good().await);
    assert_eq!(bed.connections.ca(), bed.map().await.unwrap().data.unwrap().remove(CA_DATA));
    let secret = bed.secret().await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    let keys: BTreeSet<_> = secret.data.unwrap().into_keys().collect();
    assert_eq!(keys, [CERTIFICATE_DATA.to_owned(), CERTIFICATE_KEY_DATA.to_owned()].into());
    let before = bed.versions().await;
    look(&process).await;
    look(&bed.process(Gate::always())).await;
    assert_eq!(bed.versions().await, before);
    assert!(before.iter().all(Option::is_some));
}

#[tokio::test]
async fn a_look_is_due_when_the_leaf_is() {
    let (bed, process) = Bed::begun().await;
    let begun = bed.clock.now();
    bed.pass(1);
    assert_eq!(look(&process).await.duration_since(begun).as_secs(), 23, "a third of 37 s is left at second 23.67");
}

#[tokio::test]
async fn what_is_deleted_or_edited_is_put_back() {
    let (bed, process) = Bed::begun().await;
    let trusted = bed.bundle().await.certificates();
    let other = Bed::begun().await.0.secret().await.unwrap();
    let (other, garbage) = (other.data.unwrap(), ByteString(b"garbage".to_vec()));
    for fault in 0..9 {
        let data = |secret: &mut Secret, key: &str, value: &ByteString| {
            drop(secret.data.get_or_insert_default().insert(key.to_owned(), value.clone()));
        };
        match fault {
            0 => bed.delete::<ConfigMap>(&bed.layout.ca_bundle()).await,
            1 => bed.edit_map(|map| drop(map.data.as_mut().unwrap().remove(CA_DATA))).await,
            2 => bed.edit_map(|map| map.data = None).await,
            3 => {
                let text = "{\"serial\": \"x\"}".to_owned();
                bed.edit_map(|map| drop(map.data.as_mut().unwrap().insert(AUTHORITIES_DATA.to_owned(), text))).await;
            }
            4 => bed.delete::<Secret>(&bed.layout.certificate(Server::Issuer)).await,
            5 => bed.edit_secret(|secret| data(secret, CERTIFICATE_DATA, &garbage)).await,
            6 => bed.edit_secret(|secret| data(secret, CERTIFICATE_KEY_DATA, &other[CERTIFICATE_KEY_DATA])).await,
            7 => bed.edit_secret(|secret| secret.data = Some(other.clone())).await,
            _ => bed.edit_secret(|secret| secret.data = None).await,
        }
        look(&process).await;
        assert_eq!(bed.bundle().await.certificates(), trusted, "fault {fault}");
        assert!(bed.is_good().await, "fault {fault}");
        assert!(observe::is_as_written(&bed.map().await.unwrap(), &bed.bundle().await), "fault {fault}");
    }
}

#[tokio::test]
async fn a_lost_bundle_is_put_together_again_by_whoever_leads() {
    let (bed, _) = Bed::begun().await;
    let trusted = bed.bundle().await.certificates();
    bed.delete::<ConfigMap>(&bed.layout.ca_bundle()).await;
    look(&bed.process(Gate::always())).await;
    assert_eq!((bed.bundle().await.certificates(), bed.authorities().await.1), (trusted, Some(1)));
}

#[tokio::test]
async fn a_secret_of_somebody_else_is_left_alone_and_told_of() {
    let (bed, process) = Bed::begun().await;
    bed.edit_secret(|secret| {
        drop(secret.metadata.labels.as_mut().unwrap().remove(PART));
        secret.data = Some([("mine".to_owned(), ByteString(b"kept".to_vec()))].into());
    })
    .await;
    let failure = process.reconcile(&CERTIFICATES).await.unwrap_err();
    assert_eq!((failure.class, failure.category), (crate::objects::Class::User, "not_ours"));
    let said = failure.source.to_string();
    assert!(said.contains("countersign-system/issuer-certificate") && said.contains("delete or rename"), "{said}");
    assert!(bed.secret().await.unwrap().data.unwrap().contains_key("mine"));
    bed.edit_map(|map| drop(map.metadata.labels.as_mut().unwrap().remove(PART))).await;
    bed.edit_map(|map| map.data = None).await;
    assert_eq!(process.reconcile(&CERTIFICATES).await.unwrap_err().category, "not_ours");
}

#[tokio::test]
async fn a_stop_after_any_write_leaves_nothing_that_the_next_controller_cannot_go_on_from() {
    // Up to the first successor signing: 1 key, 4 writes of the bundle, the leaves.
    for writes in 0..10 {
        let bed = Bed::new();
        let left = Arc::new(AtomicUsize::new(writes));
        let count = Arc::clone(&left);
        let gate =
            Gate::new(move || count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok());
        let stopping = bed.process(gate);
        let mut stopped = 0;
        for second in 0..110 {
            let process = if stopped > 0 { &bed.process(Gate::always()) } else { &stopping };
            let looked = process.reconcile(&CERTIFICATES).await;
            if let Err(failure) = looked {
                assert_eq!(failure.category, "not_leader");
                stopped += 1;
                look(&bed.process(Gate::always())).await;
            }
            assert!(bed.is_good().await, "second {second} after {writes} writes");
            bed.pass(1);
        }
        assert!(stopped <= 1, "{stopped}");
        assert_eq!(bed.authorities().await, (vec![1, 2], Some(2)), "after {writes} writes");
    }
}

#[tokio::test]
async fn a_rotation_is_asked_for_by_an_annotation() {
    let (bed, process) = Bed::begun().await;
    bed.pass(2);
    let now = bed.clock.now().to_string();
    bed.edit_map(|map| drop(map.annotations_mut().insert(ROTATE_AT.to_owned(), now))).await;
    look(&process).await;
    assert_eq!(bed.authorities().await, (vec![1, 2], Some(1)), "published");
    bed.pass(6);
    look(&process).await;
    assert_eq!(bed.authorities().await, (vec![1, 2], Some(2)), "signs once every client knows it");
    assert!(bed.is_good().await);
    bed.pass(20);
    look(&process).await;
    assert_eq!(bed.authorities().await, (vec![1, 2], Some(2)), "asked for once");
    bed.edit_map(|map| drop(map.annotations_mut().insert(ROTATE_AT.to_owned(), "soon".to_owned()))).await;
    look(&process).await;
    assert_eq!(bed.authorities().await.1, Some(2), "a time that is none asks for nothing");
}

#[tokio::test]
async fn an_authority_whose_key_is_lost_or_unreadable_signs_no_more_and_stays_trusted() {
    let (bed, process) = Bed::begun().await;
    bed.delete::<Secret>(&bed.layout.ca_key(1)).await;
    look(&process).await;
    assert_eq!(bed.authorities().await, (vec![1, 2], None), "nobody signs before every client knows the new one");
    bed.pass(6);
    look(&process).await;
    assert_eq!(bed.authorities().await, (vec![1, 2], Some(2)));
    assert!(bed.is_good().await);
}

#[tokio::test]
async fn a_secret_that_takes_an_authoritys_name_is_told_of() {
    let bed = Bed::new();
    let mut metadata = bed.layout.meta(&bed.layout.ca_key(1), Part::CaKey);
    metadata.labels.as_mut().unwrap().insert(SERIAL.to_owned(), "1".to_owned());
    bed.objects.create(&Secret { metadata, ..Secret::default() }).await.unwrap();
    let failure = bed.process(Gate::always()).reconcile(&CERTIFICATES).await.unwrap_err();
    assert_eq!(failure.source.to_string(), "Secret countersign-system/ca-key-1 holds no authority: delete it");
}

#[tokio::test]
async fn a_backup_that_is_put_back_takes_no_trust_away() {
    let (bed, process) = Bed::begun().await;
    let (map, key) = (bed.map().await.unwrap(), bed.key(1).await.unwrap());
    // Until the first authority is forgotten: its last leaf has ended.
    for _ in 0..150 {
        bed.pass(1);
        look(&process).await;
    }
    assert_eq!(bed.authorities().await, (vec![2], Some(2)));
    assert!(bed.key(1).await.is_none(), "its private half went with it");
    let backup = |mut object: Secret| {
        object.metadata.resource_version = None;
        object.metadata.uid = None;
        object
    };
    bed.objects.create(&backup(key)).await.unwrap();
    bed.edit_map(|now| now.data = map.data).await;
    look(&process).await;
    let (trusted, signs) = bed.authorities().await;
    assert!(trusted.contains(&2) && signs == Some(2), "{trusted:?} {signs:?}");
    assert!(bed.is_good().await);
}

#[tokio::test]
async fn a_process_that_does_not_lead_knows_the_bundle() {
    let (bed, _) = Bed::begun().await;
    let follower = Bed { connections: Connections::awaiting_trust((*bed.connections.now()).clone()), ..bed };
    let process = Arc::new(follower.process(Gate::new(|| false)));
    let (queue, shutdown) = (Queue::default(), Shutdown::new());
    let task = tokio::spawn(Arc::clone(&process).follow(queue.clone(), shutdown.clone()));
    while !follower.connections.are_known() {
        queue.offered().await;
    }
    assert_eq!(follower.connections.ca().unwrap(), follower.bundle().await.certificates());
    shutdown.request();
    task.await.unwrap().unwrap();
}

#[test]
fn the_name_of_an_authority_never_changes() {
    let issuer = IssuerName::new("default").unwrap();
    assert_eq!(make::authority_name(&issuer, 7), "Countersign CA 7 (default)");
}

#[test]
fn openssl_takes_what_is_made() {
    let issuer = IssuerName::new("default").unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let life = make::Life { not_before: at("2026-01-01T00:00:00Z"), not_after: at("2086-01-01T00:00:00Z") };
    let authority = make::authority(&issuer, 1, life).unwrap();
    let leaf = make::leaf((&issuer, 1, &authority.key), &NAMES.map(str::to_owned), life).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.crt", &authority.certificate);
    write("tls.crt", &leaf.certificate);
    write("tls.key", &make::key_pem(&leaf.key));
    let run = |args: &str| {
        let done = std::process::Command::new("openssl").args(args.split(' ')).current_dir(folder.path()).output();
        let done = done.expect("run openssl");
        (done.status.success(), String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let verify = "verify -x509_strict -purpose sslserver -CAfile ca.crt";
    assert!(run(&format!("{verify} -verify_hostname tokens.cs.svc tls.crt")).0);
    assert!(run(&format!("{verify} -verify_ip 127.0.0.1 tls.crt")).0);
    assert!(!run(&format!("{verify} -verify_hostname other.cs.svc tls.crt")).0);
    assert_eq!(run("x509 -in tls.crt -noout -pubkey").1, run("pkey -in tls.key -pubout").1);
    assert!(run("x509 -in ca.crt -noout -ext basicConstraints").1.contains("CA:TRUE, pathlen:0"));
}
