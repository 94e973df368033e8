//! A folder store behaves like a small API server, and leaves nothing for others to read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;

use countersign_api::OAuthClient;
use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use serde_json::json;
use tempfile::TempDir;

use super::super::{Change, Error, Key, Object, Objects, Preconditions, Selection};
use super::{FolderStore, Settings};
use crate::runtime::clock::Clock;

pub(super) const CLIENT: &str = "apiVersion: countersign.dev/v1alpha1
kind: OAuthClient
metadata: {name: checkout, namespace: shop}
spec:
  access:
  - {audience: \"https://orders.shop.svc\", scopes: [\"orders:read\"]}
";

fn memory() -> Objects {
    Objects::Folder(FolderStore::in_memory(Clock::system()).unwrap())
}

/// Both folders, and stores over them.
pub(super) struct Folders(pub(super) TempDir);

impl Folders {
    pub(super) fn new() -> Self {
        let folders = Self(TempDir::new().unwrap());
        fs::create_dir(folders.manifests()).unwrap();
        folders
    }

    pub(super) fn manifests(&self) -> std::path::PathBuf {
        self.0.path().join("manifests")
    }

    pub(super) fn data(&self) -> std::path::PathBuf {
        self.0.path().join("data")
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        fs::write(self.manifests().join(file), text).unwrap();
    }

    pub(super) fn open(&self) -> Result<FolderStore, Error> {
        let settings = Settings {
            manifests: Some(self.manifests()),
            data: Some(self.data()),
            period: Duration::from_millis(10),
            ..Settings::new(vec!["system-keys".to_owned()])
        };
        FolderStore::open(settings, Clock::system())
    }
}

fn map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("system".to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("k".to_owned(), value.to_owned())].into()),
        ..ConfigMap::default()
    }
}

pub(super) fn secret(namespace: &str, name: &str, value: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([("client_secret".to_owned(), ByteString(value.as_bytes().to_vec()))].into()),
        ..Secret::default()
    }
}

pub(super) fn value_of(secret: &Secret) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()["client_secret"].0.clone()).unwrap()
}

pub(super) async fn next<K: Object>(watch: &mut BoxStream<'static, Change<K>>) -> String {
    let change = tokio::time::timeout(Duration::from_secs(10), watch.next()).await.unwrap().unwrap();
    match change {
        Change::Reset(all, _) => {
            format!("reset {:?}", all.iter().map(|object| Key::of(object.meta())).collect::<Vec<_>>())
        }
        Change::Apply(object) => format!("apply {}", Key::of(object.meta())),
        Change::Delete(gone) => format!("delete {}", gone.key),
        Change::Malformed(malformed) => format!("malformed {}", malformed.key),
    }
}

#[tokio::test]
async fn a_write_on_an_old_version_loses() {
    let store = memory();
    let created = store.create(&map("a", "1")).await.unwrap();
    assert!(created.uid().is_some() && created.creation_timestamp().is_some());
    assert!(matches!(store.create(&map("a", "1")).await, Err(Error::AlreadyExists { .. })));
    let mut next = created.clone();
    next.data = map("a", "2").data;
    let replaced = store.replace(&next).await.unwrap();
    assert_ne!(replaced.resource_version(), created.resource_version());
    assert!(matches!(store.replace(&next).await, Err(Error::Conflict { .. })));
    assert!(matches!(store.replace(&map("a", "3")).await, Err(Error::Malformed { .. })), "no version, no write");
    let as_first_seen = Preconditions::exactly(&created.metadata);
    let key = Key::of(&created.metadata);
    assert!(matches!(store.delete::<ConfigMap>(&key, &as_first_seen).await, Err(Error::Conflict { .. })));
    assert!(store.delete::<ConfigMap>(&key, &Preconditions::exactly(&replaced.metadata)).await.unwrap());
    assert!(!store.delete::<ConfigMap>(&key, &Preconditions::default()).await.unwrap());
    assert!(matches!(store.replace(&replaced).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn writing_what_holds_already_changes_no_version() {
    let store = memory();
    let created = store.create(&map("a", "1")).await.unwrap();
    assert_eq!(store.replace(&created).await.unwrap().resource_version(), created.resource_version());
}

#[tokio::test]
async fn generation_counts_changes_of_the_spec_and_status_is_written_apart() {
    let store = memory();
    let client: OAuthClient = serde_json::from_value(json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"displayName": "Checkout"}, "status": {"epoch": 7}
    }))
    .unwrap();
    let created = store.create(&client).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    assert!(created.status.is_none(), "create writes no status");
    let key = Key::of(&created.metadata);
    let version = created.resource_version();
    let patched: OAuthClient =
        store.patch_status(&key, version.as_deref(), &json!({"epoch": 3, "clientId": "shop.checkout"})).await.unwrap();
    let stale = store.patch_status::<OAuthClient>(&key, version.as_deref(), &json!({"epoch": 4})).await;
    assert!(matches!(stale, Err(Error::Conflict { .. })));
    let mut next = patched.clone();
    next.spec.display_name = Some("Till".to_owned());
    next.status = None;
    let replaced = store.replace(&next).await.unwrap();
    assert_eq!(replaced.metadata.generation, Some(2));
    assert_eq!(serde_json::to_value(&replaced.status).unwrap(), serde_json::to_value(&patched.status).unwrap());
}

#[tokio::test]
async fn apply_takes_back_what_its_manager_no_longer_sets() {
    let store = memory().managed_by("countersign/a");
    let other = store.managed_by("countersign/b");
    let key = Key::namespaced("system", "a");
    store.apply::<ConfigMap>(&key, &json!({"data": {"x": "1", "y": "1"}})).await.unwrap();
    other.apply::<ConfigMap>(&key, &json!({"data": {"z": "1"}})).await.unwrap();
    let applied: ConfigMap = store.apply(&key, &json!({"data": {"x": "2"}})).await.unwrap();
    let expected = [("x", "2"), ("z", "1")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(applied.data, Some(expected.into()));
}

#[tokio::test]
async fn a_watch_sees_what_its_selection_covers_and_what_leaves_it() {
    let store = memory();
    store.create(&map("a", "1")).await.unwrap();
    let mut all = store.watch::<ConfigMap>(Selection::namespace("system"));
    let mut labelled = store.watch::<ConfigMap>(Selection::all().labelled("l", "1"));
    assert_eq!(next(&mut all).await, "reset [\"system/a\"]");
    assert_eq!(next(&mut labelled).await, "reset []");
    let mut b = map("b", "1");
    b.metadata.labels = Some([("l".to_owned(), "1".to_owned())].into());
    let mut b = store.create(&b).await.unwrap();
    b.metadata.labels = None;
    store.replace(&b).await.unwrap();
    store.delete::<ConfigMap>(&Key::namespaced("system", "a"), &Preconditions::default()).await.unwrap();
    for expected in ["apply system/b", "apply system/b", "delete system/a"] {
        assert_eq!(next(&mut all).await, expected);
    }
    for expected in ["apply system/b", "delete system/b"] {
        assert_eq!(next(&mut labelled).await, expected);
    }
}

#[tokio::test]
async fn manifests_are_read_only_and_keep_identity_and_status_over_restarts_and_edits() {
    let folders = Folders::new();
    folders.write("client.yaml", CLIENT);
    let key = Key::namespaced("shop", "checkout");
    let first: OAuthClient = {
        let store = Objects::Folder(folders.open().unwrap());
        let client: OAuthClient = store.get(&key).await.unwrap().unwrap();
        assert!(matches!(store.replace(&client).await, Err(Error::ReadOnly { .. })));
        let gone = store.delete::<OAuthClient>(&key, &Preconditions::default()).await;
        assert!(matches!(gone, Err(Error::ReadOnly { .. })));
        store.patch_status(&key, None, &json!({"epoch": 5})).await.unwrap()
    };
    folders.write("client.yaml", &CLIENT.replace("orders:read", "orders:write"));
    let store = Objects::Folder(folders.open().unwrap());
    let second: OAuthClient = store.get(&key).await.unwrap().unwrap();
    assert_eq!(second.uid(), first.uid());
    assert_eq!(second.metadata.creation_timestamp, first.metadata.creation_timestamp);
    assert_eq!(second.metadata.generation, Some(2));
    assert_eq!(serde_json::to_value(second.status).unwrap(), serde_json::to_value(first.status).unwrap());
    let namespace: PartialObjectMeta<Namespace> = store.get(&Key::cluster("shop")).await.unwrap().unwrap();
    assert_eq!(namespace.labels()["kubernetes.io/metadata.name"], "shop");
}

#[tokio::test]
async fn an_edit_reaches_watches_and_an_unreadable_one_leaves_the_last_good_set() {
    let folders = Folders::new();
    folders.write("client.yaml", CLIENT);
    let folder = folders.open().unwrap();
    let mut problem = folder.problem();
    let following = tokio::spawn({
        let folder = folder.clone();
        async move { folder.follow().await }
    });
    let store = Objects::Folder(folder);
    let mut watch = store.watch::<OAuthClient>(Selection::all());
    assert_eq!(next(&mut watch).await, "reset [\"shop/checkout\"]");
    folders.write("more.yaml", &CLIENT.replace("name: checkout", "name: till"));
    assert_eq!(next(&mut watch).await, "apply shop/till");
    folders.write("more.yaml", "kind: [");
    problem.wait_for(Option::is_some).await.unwrap();
    assert!(store.get::<OAuthClient>(&Key::namespaced("shop", "till")).await.unwrap().is_some());
    fs::remove_file(folders.manifests().join("more.yaml")).unwrap();
    assert_eq!(next(&mut watch).await, "delete shop/till");
    problem.wait_for(Option::is_none).await.unwrap();
    following.abort();
}

#[tokio::test]
async fn user_secrets_are_files_nobody_else_reads_and_no_record_holds_their_value() {
    let folders = Folders::new();
    let store = Objects::Folder(folders.open().unwrap());
    store.create(&secret("shop", "checkout-oauth", "tops3cret")).await.unwrap();
    let file = folders.data().join("secrets/shop/checkout-oauth/client_secret");
    assert_eq!(fs::read_to_string(&file).unwrap(), "tops3cret");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&file), mode(file.parent().unwrap()), mode(&folders.data())), (0o600, 0o700, 0o700));
    let record = fs::read_to_string(folders.data().join("objects/secrets/shop/checkout-oauth.json")).unwrap();
    assert!(!record.contains("dG9wczNjcmV0"), "{record}");
    store.create(&secret("system-keys", "default-1", "key")).await.unwrap();
    assert!(!folders.data().join("secrets/system-keys").exists());
    drop(store);
    let store = Objects::Folder(folders.open().unwrap());
    let again: Secret = store.get(&Key::namespaced("shop", "checkout-oauth")).await.unwrap().unwrap();
    assert_eq!(value_of(&again), "tops3cret");
    assert!(store.delete::<Secret>(&Key::of(&again.metadata), &Preconditions::default()).await.unwrap());
    assert!(!file.parent().unwrap().exists());
}

#[tokio::test]
async fn a_secret_edited_or_deleted_by_hand_is_noticed() {
    let folders = Folders::new();
    let folder = folders.open().unwrap();
    let following = tokio::spawn({
        let folder = folder.clone();
        async move { folder.follow().await }
    });
    let store = Objects::Folder(folder);
    store.create(&secret("shop", "a", "ours")).await.unwrap();
    let mut watch = store.watch::<Secret>(Selection::all());
    assert_eq!(next(&mut watch).await, "reset [\"shop/a\"]");
    let dir = folders.data().join("secrets/shop/a");
    fs::write(dir.join("client_secret"), "theirs").unwrap();
    assert_eq!(next(&mut watch).await, "apply shop/a");
    let seen: Secret = store.get(&Key::namespaced("shop", "a")).await.unwrap().unwrap();
    assert_eq!(value_of(&seen), "theirs");
    fs::remove_dir_all(dir).unwrap();
    assert_eq!(next(&mut watch).await, "delete shop/a");
    following.abort();
}

#[tokio::test]
async fn links_and_names_that_climb_are_refused() {
    let folders = Folders::new();
    let outside = folders.0.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let store = Objects::Folder(folders.open().unwrap());
    fs::create_dir_all(folders.data().join("secrets")).unwrap();
    fs::set_permissions(folders.data().join("secrets"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&outside, folders.data().join("secrets/shop")).unwrap();
    let written = store.create(&secret("shop", "a", "v")).await;
    assert!(matches!(written, Err(Error::UnsafePath { .. })), "{written:?}");
    for (namespace, name) in [("..", "a"), ("web", ".."), ("web", "a/b"), ("web/x", "a")] {
        let written = store.create(&secret(namespace, name, "v")).await;
        assert!(matches!(written, Err(Error::UnsafePath { .. })), "{namespace} {name}");
    }
    let mut climbing = secret("web", "a", "v");
    climbing.data = Some([("../../x".to_owned(), ByteString(Vec::new()))].into());
    assert!(matches!(store.create(&climbing).await, Err(Error::UnsafePath { .. })));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_data_folder_is_one_processes_and_nobody_elses_to_enter() {
    let folders = Folders::new();
    let store = folders.open().unwrap();
    assert!(matches!(folders.open(), Err(Error::Locked { .. })));
    drop(store);
    fs::set_permissions(folders.data(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(folders.open(), Err(Error::UnsafePath { .. })));
}

#[test]
fn an_unreadable_manifest_names_file_line_and_field() {
    for (text, line, field, says) in [
        ("a: b\n---\nkind: [\n", 3, "", "unclosed"),
        (&*CLIENT.replace("scopes: [\"orders:read\"]", "scopes: 5"), 6, "spec.access", ""),
        (&*CLIENT.replace("OAuthClient", "OAuthCleint"), 1, "kind", "OAuthCleint is not known"),
        (&*CLIENT.replace("name: checkout,", ""), 3, "metadata.name", "name"),
        (&*format!("{CLIENT}---\n{CLIENT}"), 10, "metadata.name", "also written at"),
        ("metadata: {}\n", 1, "", "apiVersion and kind"),
    ] {
        let folders = Folders::new();
        folders.write("client.yaml", text);
        let Err(Error::Manifests(unreadable)) = folders.open() else { panic!("{text} was read") };
        let problem = unreadable.problems.iter().find(|problem| problem.message.contains(says)).unwrap();
        let place = (problem.place.line, problem.place.file.file_name().unwrap().to_str().unwrap());
        assert_eq!(place, (line, "client.yaml"), "{unreadable}");
        assert!(problem.field.starts_with(field), "{unreadable}");
    }
}

#[tokio::test]
async fn other_kinds_are_passed_over_and_namespaces_read_with_their_labels() {
    let folders = Folders::new();
    let text = "kind: Namespace\napiVersion: v1\nmetadata: {name: web, labels: {team: web}}\n---\n# nothing\n---\n\
                apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n";
    folders.write("all.yml", text);
    let store = Objects::Folder(folders.open().unwrap());
    let namespace: Namespace = store.get(&Key::cluster("web")).await.unwrap().unwrap();
    assert_eq!(namespace.labels()["team"], "web");
    assert_eq!(namespace.labels()["kubernetes.io/metadata.name"], "web");
}

#[test]
fn a_bad_data_key_refuses_the_whole_set_and_names_the_file() {
    let folders = Folders::new();
    folders
        .write("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: shop}\nstringData: {'a~': x}\n");
    let error = folders.open().err().expect("the set is refused");
    assert!(error.to_string().contains("a.yaml") && error.to_string().contains("a~"), "{error}");
    assert!(!folders.data().join("secrets").exists(), "nothing of it was written");
}

#[test]
fn the_data_folder_may_not_lie_among_the_manifests() {
    let folders = Folders::new();
    let settings = Settings {
        manifests: Some(folders.manifests()),
        data: Some(folders.manifests().join("data")),
        ..Settings::new(Vec::new())
    };
    let error = FolderStore::open(settings, Clock::system()).err().expect("refused");
    assert!(error.to_string().contains("must not lie in the folder of manifests"), "{error}");
}
