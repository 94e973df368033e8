//! What the Directory knows of one client.
//!
//! Flows in: the object, its namespace's bounds, and whether it holds its client id and its Secret's name. Flows out: a
//! [`ClientView`], accepted or with all that is wrong.

use std::sync::Arc;
use std::time::Duration;

use crate::bounds::Bounds;
use crate::client::{Client, ClientObject, ClientState, Method, RegisteredKeys};
use crate::directory::claims::Rank;
use crate::directory::{Settings, reason};
use crate::names::{ClientId, ObjectName};
use crate::policy::Problem;

/// A client, and what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientView {
    /// The object.
    pub object: Arc<ClientObject>,
    /// Why it is not accepted; empty when it is.
    pub problems: Vec<Problem>,
    /// Why its Secret is not written although it is accepted.
    pub secret_conflict: Option<Problem>,
    /// The longest life of its access tokens, where an allowance names one.
    pub max_access_token_lifetime: Option<Duration>,
}

/// What others have to say about a client's claims.
#[derive(Default)]
pub(super) struct Contested {
    pub(super) client_id: Option<Problem>,
    pub(super) secret_name: Option<Problem>,
    pub(super) method: Option<Problem>,
}

impl ClientView {
    /// The spec, if nothing is wrong with it and it holds its client id.
    pub fn accepted(&self) -> Option<&Client> {
        self.object.spec.as_ref().ok().filter(|_| self.problems.is_empty())
    }

    /// The spec of a client that may be used: accepted and not suspended.
    pub fn usable(&self) -> Option<&Client> {
        self.accepted().filter(|spec| spec.state == ClientState::Active)
    }

    /// A client whose claims nobody has settled yet: with a problem, so that it cannot be used.
    pub(super) fn unsettled(object: Arc<ClientObject>) -> Self {
        let problems = vec![Problem::new("spec", reason::CONFLICT, "not settled yet")];
        Self { object, problems, secret_conflict: None, max_access_token_lifetime: None }
    }

    pub(super) fn settled(object: &Arc<ClientObject>, bounds: &Bounds, contested: Contested) -> Self {
        let mut problems = match &object.spec {
            Ok(_) => Vec::new(),
            Err(problems) => problems.clone(),
        };
        problems.extend(out_of_bounds(object, bounds));
        problems.extend(contested.client_id);
        problems.extend(contested.method);
        Self {
            object: object.clone(),
            problems,
            secret_conflict: contested.secret_name,
            max_access_token_lifetime: bounds.max_access_token_lifetime(),
        }
    }

    /// The client id it claims within its bounds.
    pub(super) fn claimed_id(&self, bounds: &Bounds) -> Option<ClientId> {
        self.object.client_id.clone().filter(|id| bounds.client_id(&self.object.object, id))
    }

    /// The Secret it wants to write.
    pub(super) fn secret_name(&self) -> Option<&ObjectName> {
        self.object.spec.as_ref().ok().and_then(|spec| spec.secret()).map(|secret| &secret.name)
    }

    pub(super) fn rank(&self) -> Rank {
        Rank { created_at: self.object.created_at, object: self.object.object.clone() }
    }
}

/// What the installation cannot do for a client with keys of its own, or does not.
pub(super) fn own_keys(client: &ClientObject, settings: &Settings) -> Option<Problem> {
    let methods = &client.spec.as_ref().ok()?.authentication;
    let found = methods.iter().enumerate().find_map(|(index, method)| match method {
        Method::PrivateKeyJwt(keys) => Some((format!("spec.authentication.methods[{index}]"), keys)),
        _ => None,
    });
    let (element, keys) = found?;
    if !settings.notes_uses {
        let message =
            "issuers must note which assertions were used: give them a store (--store), or use another method";
        return Some(Problem::new(format!("{element}.type"), reason::NEEDS_SHARED_STORE, message));
    }
    let RegisteredKeys::Published(uri) = keys else { return None };
    if uri.is_public(&settings.cluster_domain) || settings.key_hosts.contains(uri.host()) {
        return None;
    }
    let message = format!(
        "{} is no public host: write the keys into jwks, or have the platform team allow it (--client-keys-host)",
        uri.host()
    );
    Some(Problem::new(format!("{element}.keys.jwksUri"), reason::NOT_ALLOWED, message))
}

fn out_of_bounds(object: &ClientObject, bounds: &Bounds) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(id) = object.client_id.as_ref().filter(|id| !bounds.client_id(&object.object, id)) {
        let message = format!(
            "{id:?} needs a NamespaceAllowance with this client id: without one, leave clientId out and be {}.{}",
            object.object.namespace, object.object.name
        );
        problems.push(Problem::new("spec.clientId", reason::NOT_ALLOWED, message));
    }
    let grants = object.spec.iter().flat_map(|spec| spec.grant_types.iter().enumerate());
    for (index, grant) in grants.filter(|(_, grant)| !bounds.grant_type(**grant)) {
        let message = format!("{} needs a NamespaceAllowance with this grant type", grant.as_str());
        problems.push(Problem::new(format!("spec.grantTypes[{index}]"), reason::NOT_ALLOWED, message));
    }
    problems
}
