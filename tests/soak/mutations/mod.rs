//! F19: each single change of a valid object comes to what creating it so comes to, or is refused with a message.
//!
//! ```text
//! one place:  the good object ─► at rest ─► one field changed ─► state ─► the change undone ─► at rest as before
//! another:                      the changed object created fresh ─► the same state
//! ```
//! Flows in: merge patches, one field each, of every kind. Flows out: how many came to the same, how many were refused.

mod changes;
mod rings;

use self::changes::{allowance_changes, changes, merge, tenant};
use crate::crash_points::state::{client_state, conditions, secret_state};
use crate::report::Case;
use crate::support::await_condition;
use crate::support::installation::{Installation, Role};
use crate::support::testbed::Testbed;
use countersign_api::{NamespaceAllowance, OAuthClient, ScopePolicy};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::ApiResource;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const FAULT: &str = "F19 spec mutation";
const TRIED: &str = "One field of a valid object is changed in one place, and in another the changed object is created fresh:
    both must come to the same, or both be refused by the API server with a message; and a change that was accepted and then
    undone must leave what was before. Of a tenant, conditions, grants, refusals and Secrets are compared; a client that is
    not ready keeps the Secret it has until there is another, and one whose value was replaced accepts the older for an
    overlap: these two may differ. Of a ring of keys, conditions, the keys that sign or wait to, their algorithms and private
    halves, whether the JWKS has them and for how long the next one signs, all after a rotation was asked for and, where it
    may, came. Identifiers and numbers of keys differ, the keys of before the change stay until their last token has ended,
    and a ring whose spec is refused keeps the keys it has where a new one makes none: these three may differ.";
const SETTLED: Duration = Duration::from_secs(40);
/// What is at rest may still have to hear of another object's change.
const LATE: Duration = Duration::from_secs(15);

/// What the changes of a story came to.
#[derive(Default)]
struct Tally {
    same: usize,
    refused: usize,
    only_in_place: usize,
    wrong: Vec<String>,
}

struct Bench {
    client: Client,
    issuer_name: String,
    testbed: Testbed,
}

// === impl Tally ===

impl Tally {
    /// Takes in what changing it and creating it changed came to.
    fn judge(&mut self, change: &str, changed: Result<Value, String>, fresh: Result<Value, String>) {
        match (changed, fresh) {
            (Ok(changed), Ok(fresh)) if changed == fresh => self.same += 1,
            (Err(_), Err(_)) => self.refused += 1,
            // What cannot change once it is there.
            (Err(why), Ok(_)) if why.contains("cannot change") => self.only_in_place += 1,
            (changed, fresh) => self.differs(change, &changed, &fresh),
        }
    }

    fn differs(&mut self, what: &str, one: &Result<Value, String>, other: &Result<Value, String>) {
        println!("{what}: {one:#?} but {other:#?}");
        self.wrong.push(what.to_owned());
    }

    fn held(self, mut case: Case, changes: usize) {
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        case.figure("changes", changes);
        case.figure("same state", self.same);
        case.figure("refused both ways", self.refused);
        case.figure("refused as immutable", self.only_in_place);
        case.held();
    }
}

// === impl Bench ===

impl Bench {
    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let namespaced = |resource| Api::namespaced_with(self.client.clone(), namespace, &resource);
        match kind {
            "OAuthClient" => namespaced(ApiResource::erase::<OAuthClient>(&())),
            "ScopePolicy" => namespaced(ApiResource::erase::<ScopePolicy>(&())),
            _ => Api::all_with(self.client.clone(), &ApiResource::erase::<NamespaceAllowance>(&())),
        }
    }

    /// The tenant as it is, once it is the same at two looks and every object was seen to by the controller.
    async fn settled(&self, namespace: &str) -> Value {
        let look = async || {
            let before = self.state(namespace).await;
            tokio::time::sleep(Duration::from_millis(900)).await;
            let (state, current) = self.state(namespace).await;
            (current && state == before.0).then_some(state).ok_or(before)
        };
        comparable(await_condition("rest", SETTLED, look, Result::is_ok).await.expect("accepted as rest"))
    }

    /// The same, looked at until it is as expected or will never be.
    async fn settled_as(&self, namespace: &str, expected: &Value) -> Value {
        let begun = Instant::now();
        loop {
            let state = self.settled(namespace).await;
            if state == *expected || begun.elapsed() > LATE {
                return state;
            }
        }
    }

    async fn state(&self, namespace: &str) -> (Value, bool) {
        let clients: Api<OAuthClient> = Api::namespaced(self.client.clone(), namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let parameters = ListParams::default();
        let mut state = BTreeMap::new();
        let mut current = true;
        for client in clients.list(&parameters).await.expect("list") {
            let mut seen = client_state(&client);
            let ours = client.spec.issuer == self.issuer_name;
            current &= !ours || seen["observed"] == json!(client.metadata.generation);
            seen["observed"] = Value::Null;
            state.insert(format!("client {}", client.name_any()), seen);
        }
        for kind in ["ScopePolicy", "NamespaceAllowance"] {
            let named = ListParams::default().fields(&format!("metadata.name={namespace}"));
            let which = if kind == "ScopePolicy" { &parameters } else { &named };
            for object in self.api(kind, namespace).list(which).await.expect("list") {
                let status = &object.data["status"];
                let ours = object.data["spec"]["issuer"] == self.issuer_name;
                current &= !ours || status["observedGeneration"] == json!(object.metadata.generation);
                state.insert(format!("{kind} {}", object.name_any()), json!([conditions(status), status["problems"]]));
            }
        }
        for secret in secrets.list(&parameters).await.expect("list") {
            state.insert(format!("secret {}", secret.name_any()), secret_state(&secret));
        }
        let text = serde_json::to_string(&state)
            .expect("JSON")
            .replace(namespace, "$NS")
            .replace("True Rotating", "True Written");
        (serde_json::from_str(&text).expect("JSON"), current)
    }

    async fn create(&self, objects: &BTreeMap<&str, Value>, namespace: &str) -> Result<Value, String> {
        let mut created = Ok(());
        for (kind, object) in objects {
            let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
            let answer = self.api(kind, namespace).create(&PostParams::default(), &object).await;
            created = created.and(answer.map(drop).map_err(|error| refusal(&error)));
        }
        created?;
        Ok(self.settled(namespace).await)
    }

    /// Changes one field here, and creates it so there.
    async fn compare(&self, kind: &str, change: &Value, tally: &mut Tally) {
        let [changed, fresh] = [self.testbed.namespace("changed").await, self.testbed.namespace("fresh").await];
        let fill = |namespace: &str| -> Value {
            serde_json::from_str(&change.to_string().replace("$NS", namespace)).expect("JSON")
        };
        let good = tenant(kind, &self.issuer_name, &changed);
        let before = self.create(&good, &changed).await.expect("good objects");
        let name = good[kind]["metadata"]["name"].as_str().expect("a name");
        let objects = self.api(kind, &changed);
        let patch = Patch::Merge(json!({"spec": fill(&changed)}));
        let patched = objects.patch(name, &PatchParams::default(), &patch).await.map_err(|error| refusal(&error));

        let mut mutant = tenant(kind, &self.issuer_name, &fresh);
        merge(&mut mutant.get_mut(kind).expect("a kind of the tenant")["spec"], &fill(&fresh));
        let second = self.create(&mutant, &fresh).await;
        let first = match (&patched, &second) {
            (Ok(_), Ok(second)) => Ok(self.settled_as(&changed, second).await),
            (Ok(_), Err(_)) => Ok(self.settled(&changed).await),
            (Err(why), _) => Err(why.clone()),
        };
        let what = format!("{kind} {change}");
        tally.judge(&what, first, second);
        if patched.is_ok() {
            undo(&objects, name, &good[kind]["spec"]).await;
            let after = self.settled_as(&changed, &before).await;
            if after != before {
                tally.differs(&format!("{what} undone"), &Ok(after), &Ok(before));
            }
        }
        for namespace in [&changed, &fresh] {
            // Of the kinds, this one is not bound to a namespace, and may have come to concern others.
            drop(self.api("NamespaceAllowance", "").delete(namespace, &DeleteParams::default()).await);
        }
    }
}

/// Gives an object the spec it had.
async fn undo(objects: &Api<DynamicObject>, name: &str, spec: &Value) {
    let look = async || {
        let mut object = objects.get(name).await?;
        object.data["spec"] = spec.clone();
        objects.replace(name, &PostParams::default(), &object).await.map(drop)
    };
    // The controller may write its status in between.
    await_condition("the change to be undone", SETTLED, look, Result::is_ok).await.expect("accepted as undone");
}

/// The state, less what a client that is not ready still has.
fn comparable(mut state: Value) -> Value {
    let client = &state["client checkout"]["conditions"];
    let ready = client.as_array().is_some_and(|all| all.iter().any(|one| one == "Ready=True Ready"));
    if !ready {
        for left in ["granted", "refused", "secret"] {
            state["client checkout"][left] = Value::Null;
        }
        let members = state.as_object_mut().expect("a map");
        members.retain(|name, _| !name.starts_with("secret "));
    }
    state
}

/// What the API server says against an object; anything else is no refusal.
fn refusal(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 422 && !status.message.is_empty() => status.message.clone(),
        error => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_single_change_comes_to_what_creating_it_so_comes_to() {
    told("OAuthClient, ScopePolicy", changes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_single_change_of_an_allowance_comes_to_what_creating_it_so_comes_to() {
    told("NamespaceAllowance", allowance_changes()).await;
}

async fn told(name: &str, changes: Vec<(&str, Value)>) {
    let case = Case::begin(FAULT, TRIED, name);
    let testbed = Testbed::shared();
    let installation = Installation::new(&testbed, &[]);
    let _controller = installation.start(Role::Controller).await;
    let bench = Bench { client: testbed.client().await, issuer_name: installation.issuer_name.clone(), testbed };
    let mut tally = Tally::default();
    for (kind, change) in &changes {
        bench.compare(kind, change, &mut tally).await;
    }
    tally.held(case, changes.len());
}
