//! Everything an installation and its tenant came to, less what must differ from run to run: times, values, names of keys,
//! versions.
//!
//! Flows in: the objects. Flows out: a map of texts that two runs may be compared by.

use super::Bed;
use crate::support::http::Request;
use countersign_api::{OAuthClient, ScopePolicy, SigningKey};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

pub type State = BTreeMap<String, Value>;

/// What differs, one line each.
pub fn difference(expected: &State, seen: &State) -> Vec<String> {
    let names: BTreeSet<_> = expected.keys().chain(seen.keys()).collect();
    let differs = names.into_iter().filter(|name| expected.get(*name) != seen.get(*name));
    differs.map(|name| format!("{name}: expected {:?}, is {:?}", expected.get(name), seen.get(name))).collect()
}

impl Bed {
    pub async fn state(&self) -> State {
        let system = self.installation.system_namespace();
        let mut state = State::new();
        let secrets: Vec<Secret> = self.list(&self.namespace).await;
        for client in self.list::<OAuthClient>(&self.namespace).await {
            state.insert(format!("client {}", client.name_any()), client_state(&client));
            let epoch = client.status.as_ref().and_then(|status| serde_json::to_value(status).ok()?["epoch"].as_u64());
            state.insert(format!("epoch of {}", client.name_any()), json!(epoch.unwrap_or(0)));
        }
        for policy in self.list::<ScopePolicy>(&self.namespace).await {
            let conditions = conditions(&serde_json::to_value(&policy.status).unwrap());
            state.insert(format!("policy {}", policy.name_any()), conditions);
        }
        for secret in &secrets {
            state.insert(format!("secret {}", secret.name_any()), secret_state(secret));
            state.insert(format!("token by {}", secret.name_any()), self.token_state(secret).await);
        }
        state.insert("token by the value of before".to_owned(), self.former_token_state().await);
        for ring in self.list::<SigningKey>(&system).await {
            let conditions = conditions(&serde_json::to_value(&ring.status).unwrap());
            state.insert(format!("ring {}", ring.name_any()), conditions);
        }
        self.keys(&mut state, &system).await;
        self.revocations(&mut state, &system).await;
        let text = serde_json::to_string(&state).unwrap();
        let neutral = text.replace(&self.namespace, "$NS").replace(&self.installation.issuer_name, "$I");
        serde_json::from_str(&neutral).unwrap()
    }

    pub async fn list<K>(&self, namespace: &str) -> Vec<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + DeserializeOwned
            + Debug,
    {
        let objects: Api<K> = Api::namespaced(self.client.clone(), namespace);
        objects.list(&ListParams::default()).await.expect("list").items
    }

    async fn token_state(&self, secret: &Secret) -> Value {
        let text = |key: &str| {
            let bytes = secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
            String::from_utf8(bytes.unwrap_or_default()).unwrap()
        };
        self.ask(&text("client_id"), &text("client_secret")).await
    }

    async fn former_token_state(&self) -> Value {
        match &self.former {
            Some((id, secret)) => self.ask(id, secret).await,
            None => Value::Null,
        }
    }

    /// What the issuer says to these credentials.
    async fn ask(&self, id: &str, secret: &str) -> Value {
        let request = Request::form("/oauth2/token", &[("grant_type", "client_credentials")]).basic(id, secret);
        match request.send(self.issuer.issuer).await {
            Ok(answer) => json!([answer.status, answer.json()["error"]]),
            Err(error) => json!(error.to_string()),
        }
    }

    /// Both keyrings, and for each private half whether the keyring knows it.
    async fn keys(&self, state: &mut State, system: &str) {
        let mut held = Vec::new();
        let maps: Vec<ConfigMap> = self.list(system).await;
        for map in maps {
            let data = map.data.clone().unwrap_or_default();
            let ring: Value =
                data.get("keyring.json").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            let all = |list: &str, member: &str| -> Vec<Value> {
                ring[list].as_array().into_iter().flatten().map(|one| one[member].clone()).collect()
            };
            if map.name_any().starts_with("keyring-") {
                let keys = ring["keys"].as_array().cloned().unwrap_or_default();
                held.extend(
                    keys.iter().filter(|key| key["privateHalf"] == "Held").map(|key| key["serial"].to_string()),
                );
            }
            let summary = json!({
                "states": all("keys", "state"), "private": all("keys", "privateHalf"), "versions": all("versions", "state"),
                "lost": ring["lostAt"].is_string(), "rollback": ring["rollbackAt"].is_string(),
            });
            state.insert(format!("map {}", map.name_any()), summary);
        }
        let halves: Vec<Secret> = self.list(&format!("{system}-keys")).await;
        let known = |secret: &Secret| {
            let serial = secret.labels().get("countersign.dev/serial").cloned().unwrap_or_default();
            if held.contains(&serial) { "in the ring".to_owned() } else { format!("extra: {}", secret.name_any()) }
        };
        state.insert("private halves".to_owned(), halves.iter().map(known).collect());
        let signers: Vec<Secret> = self.list(system).await;
        state.insert("signer keys".to_owned(), signers.iter().map(ResourceExt::name_any).collect());
    }

    /// The highest epoch of each client, whoever wrote it.
    async fn revocations(&self, state: &mut State, system: &str) {
        let mut epochs: BTreeMap<String, u64> = BTreeMap::new();
        let shards: Vec<ConfigMap> = self.list(&format!("{system}-replicas")).await;
        for shard in shards {
            let text = shard.data.unwrap_or_default().remove("revocations.json").unwrap_or_default();
            let shard: Value = serde_json::from_str(&text).unwrap_or_default();
            for entry in shard["entries"].as_array().into_iter().flatten() {
                let client = self.client_names.get(entry["client"].as_str().unwrap_or_default());
                let name =
                    format!("{} {}", client.map_or("?", String::as_str), entry["audience"].as_str().unwrap_or("all"));
                let epoch = entry["epoch"].as_u64().unwrap_or_default();
                let highest = epochs.entry(name).or_default();
                *highest = epoch.max(*highest);
            }
        }
        state.extend(epochs.into_iter().map(|(name, epoch)| (format!("epoch revoked of {name}"), json!(epoch))));
    }
}

pub fn client_state(client: &OAuthClient) -> Value {
    let status = serde_json::to_value(&client.status).unwrap();
    let secret: Vec<_> = status["secret"].as_object().into_iter().flat_map(|secret| secret.keys().cloned()).collect();
    json!({
        "clientId": status["clientId"], "observed": status["observedGeneration"],
        "granted": status["granted"], "refused": status["refused"], "secret": secret, "conditions": conditions(&status),
    })
}

pub fn conditions(status: &Value) -> Value {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    conditions.map(|one| format!("{}={} {}", text(&one["type"]), text(&one["status"]), text(&one["reason"]))).collect()
}

pub fn secret_state(secret: &Secret) -> Value {
    let keys: Vec<_> = secret.data.iter().flat_map(|data| data.keys()).collect();
    json!({"keys": keys, "owner": secret.annotations().get("countersign.dev/owner")})
}
