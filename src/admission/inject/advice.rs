//! What a pod with an agent will wait for.
//!
//! Flows in: the Directory, the pod. Flows out: warnings. No refusals: a client may be applied after the pod.

use countersign_api::metadata::oauth_name;
use countersign_core::client::Client;
use countersign_core::directory::Directory;
use countersign_core::names::{ObjectName, ObjectRef};
use k8s_openapi::api::core::v1::PodSpec;

pub(super) fn advice(
    directory: &Directory,
    namespace: Option<&str>,
    spec: &PodSpec,
    client: &ObjectName,
) -> Vec<String> {
    let Some(object) = namespace.and_then(|namespace| ObjectRef::new(namespace, client.as_str()).ok()) else {
        return Vec::new();
    };
    let map = oauth_name(client);
    let Some(view) = directory.client_of(&object) else {
        return vec![format!("there is no OAuthClient {object} yet: the pod waits for its ConfigMap {map}")];
    };
    let Some(client) = view.accepted() else {
        return vec![format!("OAuthClient {object} is not accepted: see its status; the pod gets no token until then")];
    };
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    told(&object, client, account, &map)
}

fn told(object: &ObjectRef, client: &Client, account: &str, map: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if client.secret().is_some() {
        warnings.push(format!(
            "OAuthClient {object} has a client secret, so that there is no ConfigMap {map}, which the pod waits for: give it the \
             method ServiceAccount alone"
        ));
    }
    if !client.service_accounts().iter().any(|name| name.as_str() == account) {
        warnings.push(format!(
            "OAuthClient {object} does not name ServiceAccount {account}: add it to its method ServiceAccount; the pod does not \
             start before"
        ));
    }
    warnings
}
