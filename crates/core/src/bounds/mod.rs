//! What a namespace may claim.
//!
//! Flows in: a namespace's name and labels, the [`AllowanceObject`]s and what nobody may claim ([`Reserved`]). Flows out:
//! [`Bounds`], asked for each claim. Without an allowance a namespace may claim the names of its own Services
//! (`<svc>.<ns>`, `.svc`, `.svc.<cluster domain>`) with any path and port, and audiences `https://<such a name>`, with an
//! optional port and path but no query. Whether the Service exists is not asked: nobody else could have its name.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::client::GrantType;
use crate::names::{Audience, ClientId, Namespace, ObjectName, ObjectRef};
use crate::policy::{HostPattern, LabelSelector, Pattern, Problem};

mod dns;
#[cfg(test)]
mod tests;

pub use dns::{audience_service, service_hosts};
use dns::{host_of_url, is_below, own_audience_host, service_base, service_spellings};

/// The label by which Kubernetes makes a namespace's name selectable.
pub const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// A NamespaceAllowance as the Directory holds it. What could not be read is left out, and is among the problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowanceObject {
    /// Its name.
    pub name: ObjectName,
    /// `metadata.generation`.
    pub generation: i64,
    /// The namespaces it is for; none when the selector could not be read.
    pub selector: Option<LabelSelector>,
    /// Hosts, each with a part of its path space.
    pub hosts: Vec<AllowedHost>,
    /// Audiences, exactly.
    pub audiences: Vec<Audience>,
    /// Hosts a browser may be sent back to.
    pub redirect_hosts: Vec<HostPattern>,
    /// Client ids other than `<namespace>.<name>`.
    pub client_ids: Vec<ClientId>,
    /// Grant types besides `ClientCredentials` and `TokenExchange`.
    pub grant_types: Vec<GrantType>,
    /// The longest life of an access token.
    pub max_access_token_lifetime: Option<Duration>,
    /// What was left out.
    pub problems: Vec<Problem>,
}

/// A host, or all below a name, and the part of its path space that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHost {
    /// The host.
    pub host: HostPattern,
    /// The paths.
    pub path_prefix: Pattern,
}

impl FromStr for AllowedHost {
    type Err = String;

    /// Reads `api.example.com`, `api.example.com/orders` or `*.example.com`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (host, path) = text.find('/').map_or((text, "/"), |at| text.split_at(at));
        let host = host.parse::<HostPattern>().map_err(|error| error.to_string())?;
        let path_prefix = Pattern::prefix(path).map_err(|error| error.to_string())?;
        Ok(Self { host, path_prefix })
    }
}

/// What nobody may claim: the issuer's own URLs and the API server's audiences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    audiences: BTreeSet<String>,
    hosts: BTreeSet<String>,
}

/// Why a claim is out of bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfBounds {
    /// It belongs to the issuer or to the API server.
    #[error("this belongs to the issuer or the API server and can never be claimed")]
    Reserved,
    /// Nothing allows it.
    #[error(
        "a namespace may claim its own Services' names (https://<service>.<namespace>.svc as an audience); \
         anything else needs a NamespaceAllowance that selects this namespace"
    )]
    NotAllowed,
}

/// What one namespace may claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    namespace: Namespace,
    allowances: Vec<Arc<AllowanceObject>>,
}

// === impl Reserved ===

impl Reserved {
    /// Reserves the issuer's URL with its host, in every DNS spelling if it is a Service's, the API server's Service and
    /// the given audiences.
    pub fn new(issuer_url: &str, cluster_domain: &str, audiences: impl IntoIterator<Item = String>) -> Self {
        let mut reserved = Self { audiences: audiences.into_iter().collect(), hosts: BTreeSet::new() };
        reserved.audiences.insert(issuer_url.to_owned());
        for host in host_of_url(issuer_url).into_iter().chain(["kubernetes.default".to_owned()]) {
            let base = service_base(&host, cluster_domain).map(str::to_owned);
            reserved.hosts.insert(host);
            if let Some(base) = base {
                reserved.hosts.extend(service_spellings(&base, cluster_domain));
            }
        }
        reserved
    }

    fn has_audience(&self, audience: &str) -> bool {
        self.audiences.contains(audience) || host_of_url(audience).is_some_and(|host| self.hosts.contains(&host))
    }

    fn overlaps(&self, host: &HostPattern) -> bool {
        self.hosts.contains(host.name()) && !host.is_wildcard()
            || host.is_wildcard() && self.hosts.iter().any(|reserved| is_below(reserved, host.name()))
    }
}

// === impl Bounds ===

impl Bounds {
    /// Adds up the allowances that select the namespace. One whose labels are not known is selected by none.
    pub fn new<'a>(
        namespace: &Namespace,
        labels: Option<&Labels>,
        allowances: impl IntoIterator<Item = &'a Arc<AllowanceObject>>,
    ) -> Self {
        let selects = |allowance: &&Arc<AllowanceObject>| {
            labels.is_some_and(|labels| allowance.selector.as_ref().is_some_and(|selector| selector.matches(labels)))
        };
        Self { namespace: namespace.clone(), allowances: allowances.into_iter().filter(selects).cloned().collect() }
    }

    /// Whether the namespace may claim the audience.
    pub fn audience(&self, audience: &Audience, settings: &Limits<'_>) -> Result<(), OutOfBounds> {
        if settings.reserved.has_audience(audience.as_str()) {
            return Err(OutOfBounds::Reserved);
        }
        let own =
            own_audience_host(audience.as_str()).is_some_and(|host| self.is_own_service(host, settings.cluster_domain));
        let allowed = || self.allowances.iter().any(|allowance| allowance.audiences.contains(audience));
        if own || allowed() { Ok(()) } else { Err(OutOfBounds::NotAllowed) }
    }

    /// Whether the namespace may claim these paths of the host.
    pub fn host(&self, host: &HostPattern, path_prefix: &Pattern, settings: &Limits<'_>) -> Result<(), OutOfBounds> {
        if settings.reserved.overlaps(host) {
            return Err(OutOfBounds::Reserved);
        }
        let own = !host.is_wildcard() && self.is_own_service(host.name(), settings.cluster_domain);
        let covers = |allowed: &AllowedHost| allowed.host.covers(host) && allowed.path_prefix.covers(path_prefix);
        let allowed = || self.allowances.iter().any(|allowance| allowance.hosts.iter().any(covers));
        if own || allowed() { Ok(()) } else { Err(OutOfBounds::NotAllowed) }
    }

    /// Whether the object may have the client id.
    pub fn client_id(&self, object: &ObjectRef, id: &ClientId) -> bool {
        is_default_id(object, id) || self.allowances.iter().any(|allowance| allowance.client_ids.contains(id))
    }

    /// Whether clients of the namespace may obtain tokens this way.
    pub fn grant_type(&self, grant: GrantType) -> bool {
        // Service grants: a token exchange is bounded by those who own the audiences at both its ends.
        matches!(grant, GrantType::ClientCredentials | GrantType::TokenExchange)
            || self.allowances.iter().any(|allowance| allowance.grant_types.contains(&grant))
    }

    /// The longest life of an access token: the most that an allowance names, the installation's limit where none does.
    pub fn max_access_token_lifetime(&self) -> Option<Duration> {
        self.allowances.iter().filter_map(|allowance| allowance.max_access_token_lifetime).max()
    }

    fn is_own_service(&self, host: &str, cluster_domain: &str) -> bool {
        service_base(host, cluster_domain)
            .and_then(|base| base.split_once('.'))
            .is_some_and(|(_, namespace)| namespace == self.namespace.as_str())
    }
}

/// What the installation, rather than a namespace, says about claims.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// What nobody may claim.
    pub reserved: &'a Reserved,
    /// The cluster's DNS domain.
    pub cluster_domain: &'a str,
}

fn is_default_id(object: &ObjectRef, id: &ClientId) -> bool {
    let rest = id.as_str().strip_prefix(object.namespace.as_str()).and_then(|rest| rest.strip_prefix('.'));
    rest == Some(object.name.as_str())
}
