//! Calls to the API server.
//!
//! Flows in: typed objects and what must hold of those they replace. Flows out: the object as the server then has it, or
//! a typed error. kube-client has no deadline of its own, so each call gets one here.

use std::future::Future;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, PostParams, Preconditions as KubePreconditions};
use kube::client::ClientBuilder;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::core::Request;
use kube::{Client, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::answers::AnswerLayer;
use super::events::{self, Recorder};
use super::{Error, Key, Object, Preconditions};
use crate::runtime::clock::Clock;
use crate::runtime::contact::Contact;

/// How long calls may take.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// From the call to the whole answer.
    pub deadline: Duration,
    /// How long the server keeps one watch request open; a connection that died in silence is noticed this late.
    pub watch_period: Duration,
    /// Whether the server's `Date` corrects the clock; off where tests shift it.
    pub corrects_clock: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), watch_period: Duration::from_secs(90), corrects_clock: true }
    }
}

/// Objects of an API server.
#[derive(Clone)]
pub struct KubeStore {
    pub(super) client: Client,
    pub(super) options: Options,
    manager: Arc<str>,
    contact: Contact,
    recorder: Recorder,
}

/// That there is no kubeconfig, in one line, if that is what is wrong.
fn missing(error: &KubeconfigError) -> Option<Error> {
    match error {
        KubeconfigError::ReadConfig(error, path) if error.kind() == ErrorKind::NotFound => {
            Some(Error::NoCluster(format!("there is no kubeconfig {}", path.display())))
        }
        KubeconfigError::FindPath => {
            Some(Error::NoCluster("there is no home folder to find a kubeconfig in".to_owned()))
        }
        _ => None,
    }
}

impl KubeStore {
    /// Connects as the kubeconfig says, else as the environment does: `KUBECONFIG`, `~/.kube/config`, the pod's own.
    pub async fn connect(kubeconfig: Option<&Path>, clock: Clock, options: Options) -> Result<Self, Error> {
        let connect = |error: Box<dyn std::error::Error + Send + Sync>| Error::Connect(error);
        let config = match kubeconfig {
            Some(path) => {
                let file =
                    Kubeconfig::read_from(path).map_err(|error| missing(&error).unwrap_or(connect(error.into())))?;
                Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                    .await
                    .map_err(|error| connect(error.into()))?
            }
            None => Config::infer().await.map_err(|error| {
                // A pod that cannot read its own token is in a cluster: no kubeconfig would cure that.
                let is_pod = !matches!(Config::incluster_env(), Err(InClusterError::ReadEnvironmentVariable(_)));
                if is_pod {
                    return connect(error.into());
                }
                let kubeconfig = std::error::Error::source(&error).and_then(<dyn std::error::Error>::downcast_ref);
                kubeconfig.and_then(missing).unwrap_or(connect(error.into()))
            })?,
        };
        Self::with_config(config, clock, options)
    }

    /// The same from a ready configuration.
    pub fn with_config(mut config: Config, clock: Clock, options: Options) -> Result<Self, Error> {
        // A list whose body stalls ends with this; a healthy watch is renewed by the server before.
        config.read_timeout = Some(options.watch_period + options.deadline);
        config.reset_reader_on_write = true;
        let contact = Contact::never();
        let layer = AnswerLayer {
            contact: contact.clone(),
            clock: clock.clone(),
            corrects: options.corrects_clock,
            deadline: options.deadline,
        };
        let builder = ClientBuilder::try_from(config).map_err(|error| Error::Connect(error.into()))?;
        let client = builder.with_layer(&layer).build();
        Ok(Self { client, options, manager: "countersign".into(), contact, recorder: Recorder::new(clock) })
    }

    pub(super) fn managed_by(&self, manager: &str) -> Self {
        Self { manager: manager.into(), ..self.clone() }
    }

    pub(super) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// The client itself, for what no method here covers (discovery, tests).
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(super) async fn serves<K: Object>(&self) -> Result<bool, Error> {
        let call = Call::new::<K>("look for the kind", &Key::cluster(&K::plural(&())));
        let path = format!("/apis/{}/{}", K::group(&()), K::version(&()));
        let request = http::Request::get(path).body(Vec::new()).map_err(kube::core::request::Error::BuildRequest);
        let list: APIResourceList = match self.send(&call, request).await {
            Ok(list) => list,
            Err(Error::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(list.resources.iter().any(|resource| resource.name == K::plural(&())))
    }

    pub(super) async fn get<K: Object>(&self, key: &Key) -> Result<Option<K>, Error> {
        let call = Call::new::<K>("get", key);
        let request = if K::metadata_api() {
            call.target.get_metadata(&key.name, &GetParams::default())
        } else {
            call.target.get(&key.name, &GetParams::default())
        };
        match self.send(&call, request).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn create<K: Object>(&self, object: &K) -> Result<K, Error> {
        let call = Call::new::<K>("create", &Key::of(object.meta()));
        let body = call.body(object)?;
        let request = call.target.create(&self.post_params(), body);
        self.send(&call, request).await
    }

    pub(super) async fn replace<K: Object>(&self, object: &K) -> Result<K, Error> {
        let call = Call::new::<K>("replace", &Key::of(object.meta()));
        let body = call.body(object)?;
        let request = call.target.replace(&call.key.name, &self.post_params(), body);
        self.send(&call, request).await
    }

    pub(super) async fn replace_status<K: Object>(&self, object: &K) -> Result<K, Error> {
        let call = Call::new::<K>("replace the status of", &Key::of(object.meta()));
        let body = call.body(object)?;
        let request = call.target.replace_subresource("status", &call.key.name, &self.post_params(), body);
        self.send(&call, request).await
    }

    pub(super) async fn apply<K: Object>(
        &self,
        key: &Key,
        intent: &(impl Serialize + std::fmt::Debug + Sync),
    ) -> Result<K, Error> {
        let call = Call::new::<K>("apply", key);
        let mut intent = call.value(intent)?;
        name_object::<K>(&mut intent, key);
        let params = PatchParams::apply(&self.manager).force();
        let request = call.target.patch(&key.name, &params, &Patch::Apply(&intent));
        self.send(&call, request).await
    }

    pub(super) async fn patch_status<K: Object>(
        &self,
        key: &Key,
        version: Option<&str>,
        status: &(impl Serialize + Sync),
    ) -> Result<K, Error> {
        let call = Call::new::<K>("patch the status of", key);
        let mut patch = json!({ "status": call.value(status)? });
        if let (Some(version), Some(patch)) = (version, patch.as_object_mut()) {
            patch.insert("metadata".to_owned(), json!({ "resourceVersion": version }));
        }
        let params = PatchParams { field_manager: Some(self.manager.to_string()), ..PatchParams::default() };
        let request = call.target.patch_subresource("status", &key.name, &params, &Patch::Merge(&patch));
        self.send(&call, request).await
    }

    pub(super) async fn delete<K: Object>(&self, key: &Key, preconditions: &Preconditions) -> Result<bool, Error> {
        let call = Call::new::<K>("delete", key);
        let Preconditions { uid, resource_version } = preconditions.clone();
        let params = DeleteParams::background().preconditions(KubePreconditions { uid, resource_version });
        let request = call.target.delete(&key.name, &params);
        // The answer is the object or a Status, by kind; neither matters.
        match self.send::<Value>(&call, request).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn event(&self, event: events::Event) {
        self.recorder.record(self, event).await;
    }

    fn post_params(&self) -> PostParams {
        PostParams { field_manager: Some(self.manager.to_string()), ..PostParams::default() }
    }

    /// A document of the API server that is no object, such as its JWKS.
    pub async fn document(&self, path: &str) -> Result<String, Error> {
        let call =
            Call { verb: "get", kind: "document".to_owned(), key: Key::cluster(path), target: Request::new(path) };
        let request = http::Request::get(path).body(Vec::new());
        let request = request
            .map_err(|error| call.failed(kube::Error::BuildRequest(kube::core::request::Error::BuildRequest(error))))?;
        self.within_deadline(&call, self.client.request_text(request)).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        call: &Call,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<T, Error> {
        let request = request.map_err(|error| call.failed(kube::Error::BuildRequest(error)))?;
        let text = self.within_deadline(call, self.client.request_text(request)).await?;
        // Not `Client::request`: it logs the whole answer when it does not fit, a Secret's values with it.
        serde_json::from_str(&text).map_err(|error| call.malformed(&error))
    }

    async fn within_deadline<T>(&self, call: &Call, answer: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        let after = self.options.deadline;
        if let Ok(answer) = tokio::time::timeout(after, answer).await {
            return answer.map_err(|error| call.failed(error));
        }
        let Call { verb, kind, key, .. } = call.clone();
        Err(Error::TimedOut { verb, kind, key, after })
    }
}

/// One call: what it does to which object, and where.
#[derive(Clone)]
struct Call {
    verb: &'static str,
    kind: String,
    key: Key,
    target: Request,
}

impl Call {
    fn new<K: Object>(verb: &'static str, key: &Key) -> Self {
        let target = Request::new(K::url_path(&(), key.namespace.as_deref()));
        Self { verb, kind: K::kind(&()).into_owned(), key: key.clone(), target }
    }

    fn value(&self, content: &impl Serialize) -> Result<Value, Error> {
        serde_json::to_value(content).map_err(|error| self.malformed(&error))
    }

    fn body(&self, object: &impl Serialize) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(object).map_err(|error| self.malformed(&error))
    }

    fn malformed(&self, error: &serde_json::Error) -> Error {
        // The place only: serde's text may quote values.
        let message = format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column());
        Error::Malformed { kind: self.kind.clone(), key: self.key.clone(), message }
    }

    fn failed(&self, error: kube::Error) -> Error {
        let Self { verb, kind, key, .. } = self.clone();
        let kube::Error::Api(status) = &error else {
            return Error::Call { verb, kind, key, source: Box::new(error) };
        };
        let message = status.message.clone();
        match (status.code, status.reason.as_str()) {
            (404, _) => Error::NotFound { kind, key },
            (409, "AlreadyExists") => Error::AlreadyExists { kind, key },
            (409, _) => Error::Conflict { kind, key },
            (401 | 403, _) => Error::Forbidden { verb, kind, key, message },
            (400 | 405 | 413 | 415 | 422, _) => Error::Invalid { verb, kind, key, message },
            _ => Error::Call { verb, kind, key, source: Box::new(error) },
        }
    }
}

/// Puts apiVersion, kind, name and namespace into an intent, so that callers state only what they set.
pub(super) fn name_object<K: Object>(intent: &mut Value, key: &Key) {
    let Some(object) = intent.as_object_mut() else { return };
    object.insert("apiVersion".to_owned(), K::api_version(&()).into());
    object.insert("kind".to_owned(), K::kind(&()).into());
    let meta = object.entry("metadata").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("name".to_owned(), (*key.name).into());
        if let Some(namespace) = &key.namespace {
            meta.insert("namespace".to_owned(), (**namespace).into());
        }
    }
}
