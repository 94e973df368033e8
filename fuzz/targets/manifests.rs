//! Manifests, from a file's bytes to the Directory: read, held against the schemas, converted, compiled, claimed, granted.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use countersign::objects::folder::manifests::{Manifest, read};
use countersign_api::{NamespaceAllowance, OAuthClient, ScopePolicy, SigningKey, violations};
use countersign_core::bounds::AllowanceObject;
use countersign_core::client::ClientObject;
use countersign_core::directory::{Change, Conflicts, Directory, NamespaceObject, PolicyObject, RingObject, Settings};
use countersign_core::names::{IssuerName, Namespace};
use countersign_core::policy::{Answer, Reason, Selector, decide};
use countersign_core::request::{Request, RequestParts};
use countersign_core::token::TokenRefusal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::world::ISSUER;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder for manifests"));

pub fn run(data: &[u8]) {
    let Some(set) = manifests(data) else { return };
    let changes: Vec<Change> = set.iter().filter_map(change).collect();
    let settings = Settings::new(IssuerName::new("default").expect("a name"), ISSUER, "cluster.local", Vec::new());
    let empty = Directory::empty(Arc::new(Settings { conflicts: Conflicts::Error, ..settings }));
    let directory = empty.apply(changes.clone());
    assert!(directory == empty.apply(changes.into_iter().rev()), "every order gives the same Directory");
    judge(&directory, &set);
    for client in directory.clients() {
        let granted = directory.grants(client);
        let asked = client.accepted().map_or(0, |client| client.access.len());
        assert!(granted.granted.len() <= asked, "nothing is granted that was not asked for");
    }
}

fn manifests(data: &[u8]) -> Option<Vec<Manifest>> {
    let file: PathBuf = FOLDER.path().join(format!("{:?}.yaml", std::thread::current().id()));
    fs::write(&file, data).expect("write a manifest");
    let set = read(std::slice::from_ref(&file));
    match (&set, read(std::slice::from_ref(&file))) {
        (Ok(set), Ok(again)) => assert!(set.iter().map(|m| &m.object).eq(again.iter().map(|m| &m.object))),
        (Err(problems), again) => {
            assert_eq!(again.as_ref().err(), Some(problems), "one file, one reading");
            assert!(problems.to_string().len() < 64 << 10, "a complaint is bounded");
        }
        (Ok(_), Err(_)) => panic!("one file, one reading"),
    }
    set.ok()
}

/// As the data folder completes an object, and the snapshot converts it.
fn change(manifest: &Manifest) -> Option<Change> {
    let mut object = manifest.object.clone();
    assert!(violations(manifest.kind(), &object).is_empty(), "what was read fits its schema");
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    metadata.insert("uid".to_owned(), json!("2f9a2e4c-0000-4000-8000-000000000000"));
    metadata.insert("creationTimestamp".to_owned(), json!("2026-01-01T00:00:00Z"));
    let object_ref = || manifest.key.object_ref().ok();
    Some(match manifest.kind() {
        "OAuthClient" => {
            let object = ClientObject::try_from(&kind::<OAuthClient>(object)).ok()?;
            Change::Client(object_ref()?, Some(Arc::new(object)))
        }
        "ScopePolicy" => {
            let object = PolicyObject::try_from(&kind::<ScopePolicy>(object)).ok()?;
            Change::Policy(object_ref()?, Some(Arc::new(object)))
        }
        "NamespaceAllowance" => {
            let object = AllowanceObject::try_from(&kind::<NamespaceAllowance>(object)).ok()?;
            Change::Allowance(object.name.clone(), Some(Arc::new(object)))
        }
        "SigningKey" => {
            let object = RingObject::try_from(&kind::<SigningKey>(object)).ok()?;
            Change::Ring(object.name.clone(), Some(Arc::new(object)))
        }
        "Namespace" => {
            let name = Namespace::new(&manifest.key.name).ok()?;
            let labels = serde_json::from_value(object["metadata"]["labels"].clone()).unwrap_or_default();
            Change::Namespace(name.clone(), Some(Arc::new(NamespaceObject { name, labels, is_ending: false })))
        }
        _ => return None,
    })
}

fn kind<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("what was read is of its kind")
}

/// Without a token only a Public rule, a preflight that is allowed or a policy that does not enforce lets anything pass.
fn judge(directory: &Directory, set: &[Manifest]) {
    let policies = set.iter().filter(|manifest| manifest.kind() == "ScopePolicy");
    let policies: Vec<_> =
        policies.filter_map(|manifest| manifest.key.object_ref().ok()).map(Selector::Policy).collect();
    let headers: &[(&str, &str)] = &[];
    for target in ["/", "/orders/7", "/health", "/a/b/c?d=e"] {
        let parts = RequestParts { method: "GET", scheme: "https", host: "orders.shop.svc", target, headers: &headers };
        let request = Request::read(&parts).expect("a usual request");
        for set in policies.iter().filter_map(|policy| directory.policy_set(policy)) {
            let verdict = decide(set, &request, |_| Err(TokenRefusal::Malformed));
            if let Answer::Allow { .. } = verdict.answer {
                assert!(verdict.reason() == Reason::Public || verdict.not_enforced.is_some(), "{:?}", verdict.reason());
            }
        }
    }
}
