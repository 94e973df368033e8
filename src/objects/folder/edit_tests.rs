//! What people and their editors do to the folders while they are followed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use countersign_api::OAuthClient;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;
use tokio::task::JoinHandle;

use super::super::{Error, Key, Objects, Preconditions, Selection};
use super::FolderStore;
use super::tests::{CLIENT, Folders, next, secret, value_of};

const OWN_SECRET: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: checkout-oauth, namespace: shop}\nstringData: {client_secret: mine}\n";

fn following(folder: &FolderStore) -> JoinHandle<()> {
    let folder = folder.clone();
    tokio::spawn(async move { folder.follow().await })
}

/// Opened again, once a look that was under way has let go of the data folder.
async fn reopened(folders: &Folders) -> FolderStore {
    loop {
        match folders.open() {
            Err(Error::Locked { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            opened => return opened.unwrap(),
        }
    }
}

fn problems(folders: &Folders) -> String {
    match folders.open() {
        Err(Error::Manifests(unreadable)) => unreadable.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => String::new(),
    }
}

#[tokio::test]
async fn a_manifest_named_like_a_secret_of_countersign_refuses_the_whole_set() {
    let folders = Folders::new();
    let folder = folders.open().unwrap();
    let mut problem = folder.problem();
    let task = following(&folder);
    let store = Objects::Folder(folder);
    let key = Key::namespaced("shop", "checkout-oauth");
    store.create(&secret("shop", "checkout-oauth", "ours")).await.unwrap();
    folders.write("client.yaml", CLIENT);
    folders.write("own.yaml", &format!("# mine\n---\n{OWN_SECRET}"));
    let told = problem.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().to_string();
    assert!(told.contains("own.yaml:3: metadata.name: Secret shop/checkout-oauth is written by Countersign"), "{told}");
    assert_eq!(value_of(&store.get::<Secret>(&key).await.unwrap().unwrap()), "ours");
    let client = store.get::<OAuthClient>(&Key::namespaced("shop", "checkout")).await.unwrap();
    assert!(client.is_none(), "nothing of the set is taken over");
    // Once Countersign has taken its Secret away, the same files are taken over without another edit.
    assert!(store.delete::<Secret>(&key, &Preconditions::default()).await.unwrap());
    problem.wait_for(Option::is_none).await.unwrap();
    assert_eq!(value_of(&store.get::<Secret>(&key).await.unwrap().unwrap()), "mine");
    task.abort();
}

#[tokio::test]
async fn at_the_start_such_a_manifest_is_refused_too() {
    let folders = Folders::new();
    let store = Objects::Folder(folders.open().unwrap());
    store.create(&secret("shop", "checkout-oauth", "ours")).await.unwrap();
    drop(store);
    folders.write("own.yaml", OWN_SECRET);
    let told = problems(&folders);
    assert!(told.contains("own.yaml:1: metadata.name: Secret shop/checkout-oauth is written by Countersign"), "{told}");
    let file = folders.data().join("secrets/shop/checkout-oauth/client_secret");
    assert_eq!(fs::read_to_string(file).unwrap(), "ours");
}

#[tokio::test]
async fn a_file_that_is_emptied_before_it_is_written_deletes_nothing_and_one_left_empty_does() {
    let folders = Folders::new();
    folders.write("client.yaml", CLIENT);
    let folder = folders.open().unwrap();
    let task = following(&folder);
    let store = Objects::Folder(folder);
    let mut watch = store.watch::<OAuthClient>(Selection::all());
    assert_eq!(next(&mut watch).await, "reset [\"shop/checkout\"]");
    // Long enough for the file to be found settled, full and then empty.
    tokio::time::sleep(Duration::from_millis(600)).await;
    folders.write("client.yaml", "");
    tokio::time::sleep(Duration::from_millis(600)).await;
    folders.write("client.yaml", &CLIENT.replace("spec:", "spec:\n  displayName: Checkout"));
    assert_eq!(next(&mut watch).await, "apply shop/checkout");
    folders.write("client.yaml", "");
    assert_eq!(next(&mut watch).await, "delete shop/checkout");
    task.abort();
}

#[tokio::test]
async fn a_file_left_empty_does_not_shorten_the_wait_for_the_next() {
    let folders = Folders::new();
    let other = CLIENT.replace("checkout", "other");
    folders.write("client.yaml", CLIENT);
    folders.write("other.yaml", &other);
    let folder = folders.open().unwrap();
    let task = following(&folder);
    let store = Objects::Folder(folder);
    let mut watch = store.watch::<OAuthClient>(Selection::all());
    assert!(next(&mut watch).await.starts_with("reset"));
    tokio::time::sleep(Duration::from_millis(600)).await;
    folders.write("client.yaml", "");
    assert_eq!(next(&mut watch).await, "delete shop/checkout");
    tokio::time::sleep(Duration::from_millis(600)).await;
    folders.write("other.yaml", "");
    tokio::time::sleep(Duration::from_millis(600)).await;
    folders.write("other.yaml", &other.replace("spec:", "spec:\n  displayName: Other"));
    assert_eq!(next(&mut watch).await, "apply shop/other");
    task.abort();
}

#[tokio::test]
async fn what_an_editor_leaves_behind_is_no_value_and_hides_no_edit() {
    let folders = Folders::new();
    let folder = folders.open().unwrap();
    let task = following(&folder);
    let store = Objects::Folder(folder);
    let key = Key::namespaced("shop", "a");
    store.create(&secret("shop", "a", "ours")).await.unwrap();
    let mut watch = store.watch::<Secret>(Selection::all());
    assert_eq!(next(&mut watch).await, "reset [\"shop/a\"]");
    let dir = folders.data().join("secrets/shop/a");
    let traces = ["client_secret~", "client_secret.swp", "#client_secret#", "4913", ".client_secret.swp", "my notes"];
    for trace in traces {
        fs::write(dir.join(trace), "old").unwrap();
    }
    fs::create_dir(dir.join("backup")).unwrap();
    fs::write(dir.join("client_secret"), "theirs").unwrap();
    assert_eq!(next(&mut watch).await, "apply shop/a");
    let seen: Secret = store.get(&key).await.unwrap().unwrap();
    assert_eq!(seen.data.as_ref().unwrap().keys().collect::<Vec<_>>(), ["client_secret"]);
    assert_eq!(value_of(&seen), "theirs");
    assert!(dir.join("client_secret~").exists(), "it is the editor's to remove");
    // What Countersign writes itself neither trips over them nor takes them for its own.
    let mut rotated = seen.clone();
    rotated.data = secret("shop", "a", "rotated").data;
    store.replace(&rotated).await.unwrap();
    assert_eq!(fs::read_to_string(dir.join("client_secret")).unwrap(), "rotated");
    task.abort();
    drop((store, watch));
    let store = Objects::Folder(reopened(&folders).await);
    assert_eq!(value_of(&store.get::<Secret>(&key).await.unwrap().unwrap()), "rotated");
    assert!(store.delete::<Secret>(&key, &Preconditions::default()).await.unwrap());
    assert!(!dir.exists(), "old values in backup files go with the Secret");
}

#[tokio::test]
async fn one_object_that_cannot_be_taken_over_does_not_keep_out_the_others() {
    let folders = Folders::new();
    let folder = folders.open().unwrap();
    let mut problem = folder.problem();
    // Where the record of the first client would lie there is a folder, which no file can replace.
    let blocked = folders.data().join("objects/oauthclients.countersign.dev/shop/broken.json");
    let store = Objects::Folder(folder.clone());
    let first: OAuthClient = serde_json::from_value(json!({
        "apiVersion": "countersign.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"name": "zero", "namespace": "shop"}, "spec": {}
    }))
    .unwrap();
    store.create(&first).await.unwrap();
    fs::create_dir(&blocked).unwrap();
    let task = following(&folder);
    folders.write("a.yaml", &CLIENT.replace("name: checkout", "name: broken"));
    folders.write("b.yaml", CLIENT);
    let told = problem.wait_for(Option::is_some).await.unwrap().as_ref().unwrap().to_string();
    assert!(told.contains("a.yaml:1: OAuthClient shop/broken is not in force as written: write"), "{told}");
    assert!(!told.contains("b.yaml"), "{told}");
    assert!(store.get::<OAuthClient>(&Key::namespaced("shop", "checkout")).await.unwrap().is_some());
    fs::remove_dir(&blocked).unwrap();
    problem.wait_for(Option::is_none).await.unwrap();
    assert!(store.get::<OAuthClient>(&Key::namespaced("shop", "broken")).await.unwrap().is_some());
    task.abort();
}

#[test]
fn folders_that_are_linked_into_themselves_are_read_once() {
    let folders = Folders::new();
    folders.write("client.yaml", CLIENT);
    let deep = folders.manifests().join("team");
    fs::create_dir(&deep).unwrap();
    fs::write(deep.join("till.yaml"), CLIENT.replace("name: checkout", "name: till")).unwrap();
    // Without a memory each look would follow 2^16 ways.
    for link in ["loop", "again"] {
        symlink(folders.manifests(), deep.join(link)).unwrap();
    }
    symlink(&deep, folders.manifests().join("same")).unwrap();
    assert_eq!(problems(&folders), "");
}

#[test]
fn folders_nested_without_end_are_refused() {
    let folders = Folders::new();
    let deep = (0..20).fold(folders.manifests(), |dir, _| dir.join("d"));
    fs::create_dir_all(&deep).unwrap();
    assert!(problems(&folders).contains("folders are nested too deeply"), "{}", problems(&folders));
}

/// A file of this size that takes no room on the disk.
fn sparse(path: &Path, size: u64) {
    fs::File::create(path).unwrap().set_len(size).unwrap();
}

#[tokio::test]
async fn a_file_that_is_too_large_is_named_and_not_read() {
    let folders = Folders::new();
    sparse(&folders.manifests().join("huge.yaml"), 64 << 30);
    let told = problems(&folders);
    assert!(told.contains("huge.yaml: it is larger than 16777216 bytes"), "{told}");
    fs::remove_file(folders.manifests().join("huge.yaml")).unwrap();

    let store = Objects::Folder(folders.open().unwrap());
    store.create(&secret("shop", "a", "ours")).await.unwrap();
    drop(store);
    sparse(&folders.data().join("secrets/shop/a/client_secret"), 64 << 30);
    let Err(Error::Io { path, source, .. }) = folders.open() else { panic!("it was read") };
    assert!(path.ends_with("secrets/shop/a/client_secret"), "{path:?}");
    assert_eq!(source.to_string(), "it is larger than 4194304 bytes");
}
