//! What cannot be read is left out and named, and forbids no less than before.

use std::borrow::Cow;
use std::marker::PhantomData;

use countersign_api::NamespaceAllowance;
use countersign_core::policy::Unreadable;
use kube::api::ObjectMeta;
use serde::{Deserialize, Serialize};

use super::*;

#[tokio::test]
async fn a_malformed_object_is_left_out_and_named() {
    let world = World::start(Role::Verifier);
    let key = world.layout.keyring("default");
    let metadata = world.layout.meta(&key, Part::Keyring);
    let data = Some([(KEYRING_DATA.to_owned(), "{".to_owned())].into());
    world.objects.create(&ConfigMap { metadata, data, ..ConfigMap::default() }).await.unwrap();
    let policy: ScopePolicy = object("ScopePolicy", "shop", "orders", &json!({"audience": "https://orders.shop.svc"}));
    world.objects.create(&policy).await.unwrap();
    world.until("the policy behind it", |s| s.directory.policies().count() == 1).await;
    world.until_refused("ConfigMap", &key).await;
}

/// An object of a kind with whatever spec.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Loose<K> {
    metadata: ObjectMeta,
    spec: serde_json::Value,
    #[serde(skip)]
    kind: PhantomData<K>,
}

impl<K: Object> kube::Resource for Loose<K> {
    type DynamicType = ();
    type Scope = kube::core::NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }
    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }
    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }
    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl World {
    /// Edits the spec of an object into what may not be readable.
    async fn spoil<K: Object>(&self, key: &Key, edit: impl FnOnce(&mut serde_json::Value)) {
        let mut object: Loose<K> = self.objects.get(key).await.unwrap().unwrap();
        edit(&mut object.spec);
        self.objects.replace(&object).await.unwrap();
    }

    async fn until_refused(&self, kind: &'static str, key: &Key) {
        for _ in 0..500 {
            if self.refused.load().contains_key(&(kind, key.clone())) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{kind} {key} is not refused: {:?}", self.refused.load());
    }
}

fn standing(snapshot: &Snapshot) -> Result<Option<Unreadable>, &'static str> {
    snapshot.directory.policies().next().map(|policy| policy.object.source.unreadable).ok_or("no policy")
}

#[tokio::test]
async fn a_policy_that_becomes_unreadable_goes_on_as_it_was_and_one_never_read_denies() {
    let world = World::start(Role::Verifier);
    let spec = json!({
        "audience": "https://orders.shop.svc", "targetRefs": [{"group": "", "kind": "Service", "name": "orders"}]
    });
    world.objects.create(&object::<ScopePolicy>("ScopePolicy", "shop", "orders", &spec)).await.unwrap();
    world.until("the policy", |s| standing(s).is_ok()).await;
    let key = Key::namespaced("shop", "orders");
    world.spoil::<ScopePolicy>(&key, |spec| spec["rules"] = json!("none")).await;
    world.until_refused("ScopePolicy", &key).await;
    assert_eq!(standing(&world.live.load()), Ok(None));

    let fresh = World::over(world.objects.clone(), Role::Verifier);
    fresh.until("the stand-in", |s| standing(s) == Ok(Some(Unreadable::Rules))).await;
    let owner = |host| fresh.live.load().directory.host_owner(host, "/").map(ToString::to_string);
    assert_eq!(owner("orders.shop.svc").as_deref(), Some("shop"));
    fresh.spoil::<ScopePolicy>(&key, |spec| spec["targetRefs"] = json!("none")).await;
    fresh.until("less to be known", |s| standing(s) == Ok(Some(Unreadable::Everything))).await;
    fresh.spoil::<ScopePolicy>(&key, |spec| *spec = json!({"audience": "https://orders.shop.svc"})).await;
    fresh.until("the policy put right", |s| standing(s) == Ok(None)).await;
    fresh.objects.delete::<ScopePolicy>(&key, &Preconditions::default()).await.unwrap();
    fresh.until("the deletion", |s| standing(s).is_err()).await;
}

#[tokio::test]
async fn keys_declared_dead_by_what_cannot_be_read_are_dead() {
    let world = World::start(Role::Verifier);
    let [first, second] =
        [7, 8].map(|byte| PublicJwk::from_public_key(Algorithm::EdDSA, &[byte; 32]).unwrap().key_id().clone());
    let spec = json!({"algorithm": "EdDSA", "revokedKeyIds": [first.as_str()]});
    world.objects.create(&object::<SigningKey>("SigningKey", "system", "default", &spec)).await.unwrap();
    world.until("the first", |s| is_dead(s, &first)).await;
    let both = json!({"revokedKeyIds": [second.as_str(), 7], "rotation": "never"});
    world.spoil::<SigningKey>(&Key::namespaced("system", "default"), |spec| *spec = both).await;
    world.until("the second", |s| is_dead(s, &second)).await;
    assert!(is_dead(&world.live.load(), &first));
    let fresh = World::over(world.objects.clone(), Role::Verifier);
    fresh.until("the second alone", |s| is_dead(s, &second)).await;
}

#[tokio::test]
async fn an_unreadable_client_gets_no_token_and_its_epoch_does_not_shrink_meanwhile() {
    let world = World::start(Role::Issuer);
    let created = world.objects.create(&client("checkout")).await.unwrap();
    let key = Key::of(&created.metadata);
    let epoch = |s: &Snapshot| s.directory.clients().next().map(|client| client.object.epoch);
    world.objects.patch_status::<OAuthClient>(&key, None, &json!({"epoch": 5})).await.unwrap();
    world.until("epoch 5", |s| epoch(s) == Some(5)).await;
    world.spoil::<OAuthClient>(&key, |spec| *spec = json!({"access": "all"})).await;
    world.until("it to go", |s| epoch(s).is_none()).await;
    world.objects.patch_status::<Loose<OAuthClient>>(&key, None, &json!({"epoch": 2})).await.unwrap();
    world.spoil::<OAuthClient>(&key, |spec| *spec = json!({})).await;
    world.until("it to be back", |s| epoch(s).is_some()).await;
    assert_eq!(epoch(&world.live.load()), Some(5));
}

#[tokio::test]
async fn an_unreadable_allowance_goes_on_as_it_was() {
    let world = World::start(Role::Verifier);
    let spec = json!({"namespaceSelector": {}, "hosts": ["api.example.com"]});
    world.objects.create(&object::<NamespaceAllowance>("NamespaceAllowance", "", "all", &spec)).await.unwrap();
    let hosts = |s: &Snapshot| s.directory.allowances().next().map(|allowance| allowance.hosts.len());
    world.until("the allowance", |s| hosts(s) == Some(1)).await;
    let key = Key::cluster("all");
    world.spoil::<NamespaceAllowance>(&key, |spec| spec["hosts"] = json!(7)).await;
    world.until_refused("NamespaceAllowance", &key).await;
    assert_eq!(hosts(&world.live.load()), Some(1));
    let fresh = World::over(world.objects.clone(), Role::Verifier);
    fresh.until_refused("NamespaceAllowance", &key).await;
    assert_eq!(hosts(&fresh.live.load()), None, "nobody knows what it allowed");
}
