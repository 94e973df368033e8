//! The real API server as an owner of objects meets it: creates and changes many of them fast, and counts what everybody asked of it.
//!
//! Flows in: objects as JSON. Flows out: nothing but their being there; the API server's own request counters.

use crate::support::testbed::Testbed;
use futures::{StreamExt, stream};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::Value;
use std::collections::BTreeMap;

/// Creates under way at a time.
const AT_ONCE: usize = 8;

#[derive(Clone)]
pub struct Cluster(pub Client);

impl Cluster {
    pub async fn new(testbed: &Testbed) -> Self {
        Self(testbed.client().await)
    }

    /// Objects of a kind, in a namespace or, with none, in the cluster's scope or all over it.
    pub fn objects(&self, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let (group, version, plural) = match kind {
            "ScopePolicy" => ("countersign.dev", "v1alpha1", "scopepolicies"),
            "OAuthClient" => ("countersign.dev", "v1alpha1", "oauthclients"),
            "Namespace" => ("", "v1", "namespaces"),
            "Secret" => ("", "v1", "secrets"),
            other => panic!("no such kind here: {other}"),
        };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.0.clone(), namespace, &resource),
            None => Api::all_with(self.0.clone(), &resource),
        }
    }

    /// Creates them, several at a time, the first kind before the next.
    pub async fn create(&self, objects: Vec<Value>) {
        stream::iter(objects)
            .map(|object| async move {
                let kind = object["kind"].as_str().expect("a kind").to_owned();
                let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
                let object: DynamicObject = serde_json::from_value(object).expect("an object");
                let objects = self.objects(&kind, namespace.as_deref());
                objects.create(&PostParams::default(), &object).await.expect("create an object");
            })
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
    }

    /// Merges a change into an object; returns when the API server has answered.
    pub async fn change(&self, kind: &str, namespace: &str, name: &str, change: &Value) {
        let objects = self.objects(kind, Some(namespace));
        objects.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.expect("change an object");
    }

    /// How many objects of a kind have this condition with status True.
    pub async fn count_true(&self, kind: &str, namespace: Option<&str>, condition: &str) -> usize {
        let from_cache = ListParams::default().match_any();
        let all = self.objects(kind, namespace).list(&from_cache).await.expect("list");
        let holds = |object: &DynamicObject| {
            let conditions = object.data["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|held| held["type"] == condition && held["status"] == "True")
        };
        all.iter().filter(|object| holds(object)).count()
    }

    /// Requests so far, by verb and resource; watches and what tells of health left out.
    pub async fn requests(&self) -> BTreeMap<(String, String), f64> {
        let request = hyper::Request::get("/metrics").body(Vec::new()).expect("a request");
        let text = self.0.request_text(request).await.expect("the API server's metrics");
        let mut requests = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
            let Some((labels, count)) = line.split_once("} ") else { continue };
            let label = |name: &str| {
                let rest = labels.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| rest);
                rest.split('"').next().unwrap_or_default().to_owned()
            };
            let (verb, mut resource) = (label("verb"), label("resource"));
            if verb == "WATCH" || resource.is_empty() {
                continue;
            }
            if !label("subresource").is_empty() {
                resource = format!("{resource}/{}", label("subresource"));
            }
            *requests.entry((verb, resource)).or_default() += count.parse::<f64>().unwrap_or(0.0);
        }
        requests
    }
}

/// What was asked between two looks.
pub fn between(
    before: &BTreeMap<(String, String), f64>,
    after: &BTreeMap<(String, String), f64>,
) -> BTreeMap<(String, String), f64> {
    let more = |(key, count): (&(String, String), &f64)| {
        let more = count - before.get(key).copied().unwrap_or(0.0);
        (more > 0.0).then(|| (key.clone(), more))
    };
    after.iter().filter_map(more).collect()
}
