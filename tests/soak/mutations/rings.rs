//! The same for rings of keys, which live in the installation's own namespace and take their time.
//!
//! ```text
//! a good ring ─► at rest ─► one field changed ─┐
//! a changed ring, created fresh ───────────────┴─► at rest ─► a rotation asked for ─► at rest ─► the same state?
//! ```
//! Flows in: changes, timings of a second. Flows out: what of the rings is comparable: of keys neither identifiers nor numbers,
//! nor those of before; and nothing about keys where the spec is refused.

use super::changes::{merge, ring, ring_changes};
use super::{FAULT, SETTLED, TRIED, Tally, refusal, undo};
use crate::crash_points::state::conditions;
use crate::report::Case;
use crate::shop::{Plan, Shop};
use crate::support::await_condition;
use crate::support::http::Request;
use crate::support::testbed::Testbed;
use countersign_api::SigningKey;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// A rotation that may come has come by then: what waits for more waits for half an hour.
const ROTATES: Duration = Duration::from_secs(20);
/// How many changes are tried at a time.
const ABREAST: usize = 4;

struct Rings {
    shop: Shop,
}

/// How a change fared: itself and created fresh, and what was before it and is after it was undone.
struct Fared {
    change: Value,
    states: [Result<Value, String>; 2],
    undone: Option<[Value; 2]>,
}

impl Rings {
    fn objects(&self) -> Api<DynamicObject> {
        let resource = ApiResource::erase::<SigningKey>(&());
        Api::namespaced_with(self.shop.client.clone(), &self.shop.system(), &resource)
    }

    async fn create(&self, name: &str, spec: &Value) -> Result<(), String> {
        let ring = json!({"apiVersion": "countersign.dev/v1alpha1", "kind": "SigningKey", "metadata": {"name": name}, "spec": spec});
        let ring = serde_json::from_value(ring).expect("an object");
        let created = self.objects().create(&PostParams::default(), &ring).await;
        created.map(drop).map_err(|error| refusal(&error))
    }

    /// The ring as it is, once it is the same at several looks and was seen to by the controller.
    async fn settled(&self, name: &str) -> Value {
        let look = async || {
            let before = self.state(name).await;
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_millis(700)).await;
                let now = self.state(name).await;
                if now != before || !now.1 {
                    return Err([before, now]);
                }
            }
            Ok(before.0)
        };
        await_condition("rest", SETTLED, look, Result::is_ok).await.expect("accepted as rest")
    }

    /// What is comparable of it, and whether the controller has seen it as it is.
    async fn state(&self, name: &str) -> (Value, bool) {
        let object = self.objects().get(name).await.expect("get the ring");
        let status = &object.data["status"];
        if object.data["spec"]["issuer"] != self.shop.installation.issuer_name {
            return (json!({"conditions": conditions(status)}), true);
        }
        let current = status["observedGeneration"] == json!(object.metadata.generation);
        let conditions = conditions(status);
        let accepted = conditions.as_array().is_some_and(|all| all.iter().any(|one| one == "Accepted=True Accepted"));
        if !accepted {
            let said = status["conditions"].as_array().into_iter().flatten();
            let said: Vec<_> = said.filter(|one| one["type"] == "Accepted").map(|one| one["message"].clone()).collect();
            return (json!({"refused": said}), current);
        }
        let state = json!({
            "conditions": conditions, "keys": self.keys(name, status).await, "signs for": signs_for(status),
            "not in the JWKS": self.unknown(status).await,
        });
        (state, current)
    }

    /// The keys that sign or wait to, the oldest first, and where their private halves are; what other halves there are.
    async fn keys(&self, name: &str, status: &Value) -> Value {
        let (system, client) = (self.shop.system(), &self.shop.client);
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &system);
        let halves: Api<Secret> = Api::namespaced(client.clone(), &format!("{system}-keys"));
        let map = maps.get_opt(&format!("keyring-{name}")).await.expect("get the keyring");
        let text = map.and_then(|map| map.data?.remove("keyring.json")).unwrap_or_default();
        let keyring: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut held: BTreeSet<String> = halves
            .list(&ListParams::default())
            .await
            .expect("list")
            .items
            .into_iter()
            .filter_map(|half| half.metadata.name?.strip_prefix(&format!("{name}-")).map(str::to_owned))
            .collect();
        let algorithm = |key_id: &Value| {
            let told = status["keys"].as_array().into_iter().flatten().find(|key| key["keyId"] == *key_id);
            told.map_or(Value::Null, |key| key["algorithm"].clone())
        };
        let mut keys = Vec::new();
        for key in keyring["keys"].as_array().into_iter().flatten().filter(|key| is_alive(key)) {
            let half = held.remove(&key["serial"].to_string());
            let jwk = &key["jwk"];
            keys.push(json!([key["state"], algorithm(&jwk["kid"]), jwk["alg"], half]));
        }
        json!({"keys": keys, "halves of others": held.len()})
    }

    /// How many keys that verify tokens the issuer does not publish.
    async fn unknown(&self, status: &Value) -> usize {
        let answer = Request::get("/oauth2/jwks").send(self.shop.issuers[0].replica.issuer).await.expect("the JWKS");
        let jwks = answer.json();
        let published: Vec<_> = jwks["keys"].as_array().into_iter().flatten().map(|key| &key["kid"]).collect();
        let keys = status["keys"].as_array().into_iter().flatten();
        let good = keys.filter(|key| is_alive(key) || key["state"] == "Retiring");
        good.filter(|key| !published.contains(&&key["keyId"])).count()
    }

    /// Asks for another key and says whether it came, and what the ring is then.
    async fn rotated(&self, name: &str) -> Value {
        let signs =
            async || self.objects().get(name).await.expect("get the ring").data["status"]["activeKeyId"].clone();
        let at_rest = self.settled(name).await;
        if at_rest["keys"].is_null() {
            return at_rest;
        }
        let before = signs().await;
        let asked = json!({"metadata": {"annotations": {"countersign.dev/rotate-at": self.shop.now().to_string()}}});
        self.objects().patch(name, &PatchParams::default(), &Patch::Merge(asked)).await.expect("annotate the ring");
        let begun = Instant::now();
        let mut rotated = false;
        while !rotated && begun.elapsed() < ROTATES {
            tokio::time::sleep(Duration::from_millis(200)).await;
            rotated = signs().await != before;
        }
        let mut state = self.settled(name).await;
        // What was asked for and does not come is the end of the signing key's time too.
        state["signs for"] = at_rest["signs for"].clone();
        state["rotated"] = json!(rotated);
        state
    }

    async fn fares(&self, index: usize, change: Value) -> Fared {
        let good = ring(&self.shop.installation.issuer_name);
        let [changed, fresh] = ["changed", "fresh"].map(|which| format!("{which}-{index}"));
        self.create(&changed, &good).await.expect("a good ring");
        let before = self.settled(&changed).await;
        let signs = self.objects().get(&changed).await.expect("get the ring").data["status"]["activeKeyId"].clone();
        let filled = change.to_string().replace("$KID", signs.as_str().unwrap_or_default());
        let filled: Value = serde_json::from_str(&filled).expect("JSON");
        let patch = Patch::Merge(json!({"spec": filled}));
        let patched = self.objects().patch(&changed, &PatchParams::default(), &patch).await;
        let mut mutant = good.clone();
        merge(&mut mutant, &filled);
        let first = async {
            match &patched {
                Ok(_) => Ok(self.rotated(&changed).await),
                Err(error) => Err(refusal(error)),
            }
        };
        let second = async {
            self.create(&fresh, &mutant).await?;
            Ok(self.rotated(&fresh).await)
        };
        let states: (Result<Value, String>, Result<Value, String>) = tokio::join!(first, second);
        let mut undone = None;
        if patched.is_ok() {
            undo(&self.objects(), &changed, &good).await;
            let mut after = self.rotated(&changed).await;
            drop(after.as_object_mut().expect("a map").remove("rotated"));
            undone = Some([before, after]);
        }
        for name in [&changed, &fresh] {
            drop(self.objects().delete(name, &DeleteParams::default()).await);
        }
        Fared { change, states: states.into(), undone }
    }
}

fn is_alive(key: &Value) -> bool {
    key["state"] == "Active" || key["state"] == "Published"
}

/// From the signing key's first day to its last, in seconds.
fn signs_for(status: &Value) -> Option<i64> {
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let active = status["keys"].as_array()?.iter().find(|key| key["state"] == "Active")?;
    Some(time(&status["nextRotation"])?.duration_since(time(&active["activatedAt"])?).as_secs())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_single_change_of_a_ring_comes_to_what_creating_it_so_comes_to() {
    let case = Case::begin(FAULT, TRIED, "SigningKey");
    let testbed = Testbed::shared();
    let rings = Rings { shop: Shop::open(&testbed, Plan { replicas: [1, 1, 1], ..Plan::default() }).await };
    let changes = ring_changes();
    let tried = changes.iter().cloned().enumerate().map(|(index, change)| rings.fares(index, change));
    let mut tally = Tally::default();
    for Fared { change, states: [changed, fresh], undone } in
        stream::iter(tried).buffer_unordered(ABREAST).collect::<Vec<_>>().await
    {
        let what = format!("SigningKey {change}");
        tally.judge(&what, changed, fresh);
        if let Some([before, after]) = undone.filter(|[before, after]| before != after) {
            tally.differs(&format!("{what} undone"), &Ok(after), &Ok(before));
        }
    }
    tally.held(case, changes.len());
}
