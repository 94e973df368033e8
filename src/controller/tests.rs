//! The whole controller over folders: YAML in, Secret files out, with real tasks and the real feed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_api::{OAuthClient, ScopePolicy};
use countersign_core::directory::Settings as DirectorySettings;
use countersign_core::names::{IssuerName, Namespace};
use countersign_core::timings::Timings;
use k8s_openapi::api::core::v1::Secret;

use super::conditions::find;
use super::connections::Connections;
use super::oauth_client::{Connection, SecretAccess};
use super::start::{Settings, start};
use super::*;
use crate::objects::layout::Layout;
use crate::objects::revocations;
use crate::objects::{FolderStore, Key, Objects, Preconditions, folder};
use crate::runtime::readiness::Readiness;
use crate::runtime::supervisor::{Grace, Supervisor};
use crate::snapshot::{Feed, Role, Sources};

const CLIENT: &str = "
apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: checkout, namespace: shop}
spec:
  access: [{audience: 'https://orders.shop.svc', scopes: ['orders:read']}]
";
const POLICY: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: countersign.dev/v1alpha1
kind: ScopePolicy
metadata: {name: orders, namespace: shop}
spec:
  audience: https://orders.shop.svc
  scopes: [{name: 'orders:read'}]
  grants: [{scopes: ['orders:read'], to: [{namespaces: Same}]}]
";

struct Standalone {
    manifests: PathBuf,
    data: PathBuf,
    objects: Objects,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Standalone {
    fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (manifests, data) = (folder.path().join("manifests"), folder.path().join("data"));
        fs::create_dir(&manifests).unwrap();
        fs::write(manifests.join("policy.yaml"), POLICY).unwrap();
        fs::write(manifests.join("client.yaml"), CLIENT).unwrap();
        let issuer = IssuerName::new("default").unwrap();
        let layout = Layout::new(issuer.clone(), &Namespace::new("countersign-system").unwrap()).unwrap();
        let clock = Clock::system();
        let settings = folder::Settings {
            manifests: Some(manifests.clone()),
            data: Some(data.clone()),
            period: Duration::from_millis(20),
            ..folder::Settings::new(layout.namespaces())
        };
        let store = FolderStore::open(settings, clock.clone()).unwrap();
        let objects = Objects::Folder(store.clone());
        let mut supervisor = Supervisor::new();
        let (shutdown, metrics, readiness) = (supervisor.shutdown(), Metrics::new(), Readiness::new());
        let settings = Arc::new(DirectorySettings::new(issuer, "https://issuer.example", "cluster.local", Vec::new()));
        let sources = Sources { objects: objects.clone(), layout: layout.clone(), settings, clock: clock.clone() };
        let feed = Feed::new(sources, Role::Controller, readiness.condition("listing"), &metrics);
        let (writer, sink) =
            revocations::Writer::new(&objects, &layout, "controller-0", clock.clone(), Timings::default());
        let settings = Settings {
            objects: objects.clone(),
            layout,
            clock,
            timings: Timings::default(),
            snapshot: feed.live(),
            gate: Gate::always(),
            sink: Arc::new(sink),
            access: SecretAccess::WATCHED,
            certificates: None,
            wiring: None,
            connections: Connections::known(Connection {
                issuer: "https://issuer.example".to_owned(),
                token_endpoint: "https://issuer.example/oauth2/token".to_owned(),
                jwks_uri: "https://issuer.example/oauth2/jwks".to_owned(),
                ca: None,
            }),
        };
        start(&mut supervisor, &metrics, &settings);
        supervisor.spawn("feed", feed.run(shutdown.clone()));
        supervisor.spawn("revocations", writer.run(shutdown.clone()));
        let task = tokio::spawn(async move {
            tokio::select! {
                ended = supervisor.run(&readiness, Grace::default()) => ended.unwrap(),
                () = store.follow() => {}
            }
        });
        Self { manifests, data, objects, shutdown, task, _folder: folder }
    }

    async fn until<T>(&self, what: &str, mut seen: impl AsyncFnMut(&Objects) -> Option<T>) -> T {
        let look = async {
            loop {
                if let Some(seen) = seen(&self.objects).await {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if let Ok(seen) = tokio::time::timeout(Duration::from_secs(10), look).await {
            return seen;
        }
        panic!("not seen: {what}; the client is {:?}", client(&self.objects).await.and_then(|client| client.status))
    }

    async fn end(self) {
        self.shutdown.request();
        self.task.await.unwrap();
    }
}

async fn client(objects: &Objects) -> Option<OAuthClient> {
    objects.get(&Key::namespaced("shop", "checkout")).await.unwrap()
}

async fn secret(objects: &Objects) -> Option<Secret> {
    objects.get(&Key::namespaced("shop", "checkout-oauth")).await.unwrap()
}

async fn ready(objects: &Objects) -> Option<OAuthClient> {
    let client = client(objects).await?;
    let ready = find(&client.status.as_ref()?.conditions, "Ready")?.status == "True";
    ready.then_some(client)
}

fn files_with(folder: &Path, text: &str) -> usize {
    let holds = |path: &Path| fs::read(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text));
    let count = |path: PathBuf| if path.is_dir() { files_with(&path, text) } else { usize::from(holds(&path)) };
    fs::read_dir(folder).unwrap().map(|entry| count(entry.unwrap().path())).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn yaml_in_a_folder_becomes_a_secret_and_follows_its_client() {
    let standalone = Standalone::open();
    let made = standalone.until("ready", ready).await;
    let value = secret(&standalone.objects).await.unwrap().data.unwrap()["client_secret"].0.clone();
    assert!(value.starts_with(b"cs1_"));
    assert!(files_with(&standalone.data, "cs1_") > 0, "the value lies in a file");
    let reported = async |objects: &Objects| {
        let policy: ScopePolicy = objects.get(&Key::namespaced("shop", "orders")).await.unwrap()?;
        policy.status.filter(|status| status.conditions.len() == 4)
    };
    standalone.until("the policy's four conditions", reported).await;

    let exactly = Preconditions::default();
    standalone.objects.delete::<Secret>(&Key::namespaced("shop", "checkout-oauth"), &exactly).await.unwrap();
    standalone.until("a new secret", secret).await;

    tokio::time::sleep(Duration::from_millis(300)).await;
    let versions = |client: Option<OAuthClient>, secret: Option<Secret>| {
        (client.and_then(|c| c.metadata.resource_version), secret.and_then(|s| s.metadata.resource_version))
    };
    let before = versions(client(&standalone.objects).await, secret(&standalone.objects).await);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = versions(client(&standalone.objects).await, secret(&standalone.objects).await);
    assert_eq!(before, after, "nothing is written at rest");

    fs::remove_file(standalone.manifests.join("client.yaml")).unwrap();
    standalone.until("the secret gone", async |objects: &Objects| secret(objects).await.is_none().then_some(())).await;
    assert!(made.metadata.uid.is_some());
    standalone.end().await;
}
