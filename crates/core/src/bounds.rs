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
    /// Grant types besides `ClientCredentials`.
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
        grant == GrantType::ClientCredentials
            || self.allowances.iter().any(|allowance| allowance.grant_types.contains(&grant))
    }

    /// Whether a browser may be sent back to the host.
    pub fn redirect_host(&self, host: &HostPattern) -> bool {
        self.allowances.iter().any(|allowance| allowance.redirect_hosts.iter().any(|allowed| allowed.covers(host)))
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

/// `<svc>.<ns>`, `<svc>.<ns>.svc` and `<svc>.<ns>.svc.<cluster domain>`, without and therefore with any port.
pub fn service_hosts(service: &ObjectName, namespace: &Namespace, cluster_domain: &str) -> [String; 3] {
    service_spellings(&format!("{service}.{namespace}"), cluster_domain)
}

fn service_spellings(base: &str, cluster_domain: &str) -> [String; 3] {
    [base.to_owned(), format!("{base}.svc"), format!("{base}.svc.{cluster_domain}")]
}

/// `<svc>.<ns>` of any spelling of a Service's name.
fn service_base<'a>(host: &'a str, cluster_domain: &str) -> Option<&'a str> {
    let short = host.strip_suffix(cluster_domain).and_then(|rest| rest.strip_suffix('.'));
    let short = short.filter(|rest| rest.ends_with(".svc")).unwrap_or(host);
    let base = short.strip_suffix(".svc").filter(|base| base.contains('.')).unwrap_or(short);
    let (service, namespace) = base.split_once('.')?;
    let service = Namespace::new(service).is_ok();
    (service && Namespace::new(namespace).is_ok()).then_some(base)
}

/// The host of `https://host[:port][/path]`; an audience with user information, a query or a bad port has none.
fn own_audience_host(audience: &str) -> Option<&str> {
    let rest = audience.strip_prefix("https://").filter(|rest| !rest.contains(['?', '@']))?;
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let Some((host, port)) = authority.split_once(':') else { return Some(authority) };
    let digits = !port.is_empty() && !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && port.parse::<u16>().is_ok()).then_some(host)
}

/// The host of any URL, as whoever reads it most generously would understand it.
fn host_of_url(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let host =
        if authority.starts_with('[') { authority.split_inclusive(']').next() } else { authority.split(':').next() };
    host.map(|host| host.trim_end_matches('.').to_ascii_lowercase()).filter(|host| !host.is_empty())
}

fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
}

fn is_default_id(object: &ObjectRef, id: &ClientId) -> bool {
    let rest = id.as_str().strip_prefix(object.namespace.as_str()).and_then(|rest| rest.strip_prefix('.'));
    rest == Some(object.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "cluster.local";

    fn allowance(change: impl FnOnce(&mut AllowanceObject)) -> Arc<AllowanceObject> {
        let mut allowance = AllowanceObject {
            name: ObjectName::new("shop-public").expect("a name"),
            generation: 1,
            selector: Some(LabelSelector {
                match_labels: Labels::from([(NAME_LABEL.to_owned(), "shop".to_owned())]),
                match_expressions: Vec::new(),
            }),
            hosts: Vec::new(),
            audiences: Vec::new(),
            redirect_hosts: Vec::new(),
            client_ids: Vec::new(),
            grant_types: Vec::new(),
            max_access_token_lifetime: None,
            problems: Vec::new(),
        };
        change(&mut allowance);
        Arc::new(allowance)
    }

    fn bounds(allowances: &[Arc<AllowanceObject>]) -> Bounds {
        let labels = Labels::from([(NAME_LABEL.to_owned(), "shop".to_owned())]);
        Bounds::new(&Namespace::new("shop").expect("a namespace"), Some(&labels), allowances)
    }

    fn reserved() -> Reserved {
        Reserved::new("https://issuer.countersign-system.svc:8443/a", DOMAIN, ["https://api.example.org".to_owned()])
    }

    fn audience(bounds: &Bounds, text: &str) -> Result<(), OutOfBounds> {
        let reserved = reserved();
        let limits = Limits { reserved: &reserved, cluster_domain: DOMAIN };
        bounds.audience(&Audience::new(text).expect("an audience"), &limits)
    }

    fn host(bounds: &Bounds, text: &str) -> Result<(), OutOfBounds> {
        let reserved = reserved();
        let limits = Limits { reserved: &reserved, cluster_domain: DOMAIN };
        let claim: AllowedHost = text.parse().expect("a host");
        bounds.host(&claim.host, &claim.path_prefix, &limits)
    }

    #[test]
    fn a_namespace_may_claim_its_own_services_names_and_audiences() {
        let bounds = bounds(&[]);
        for name in ["orders.shop", "orders.shop.svc", "orders.shop.svc.cluster.local"] {
            assert_eq!(host(&bounds, name), Ok(()), "{name}");
            assert_eq!(host(&bounds, &format!("{name}:8443/v1")), Ok(()), "{name}");
            for audience_of in ["https://{}", "https://{}:8443", "https://{}/v1/orders", "https://{}:8443/"] {
                assert_eq!(audience(&bounds, &audience_of.replace("{}", name)), Ok(()), "{name}");
            }
        }
    }

    #[test]
    fn nothing_else_is_a_services_name() {
        let bounds = bounds(&[]);
        for name in [
            "shop",
            "shop.svc",
            "orders.web",
            "orders.web.svc",
            "a.orders.shop",
            "orders.shop.svc.example.com",
            "orders.shop.cluster.local",
            "orders.shop.com",
            "*.shop",
            "*.shop.svc",
            "api.example.com",
        ] {
            assert_eq!(host(&bounds, name), Err(OutOfBounds::NotAllowed), "{name}");
        }
        for text in [
            "http://orders.shop.svc",
            "https://orders.web.svc",
            "https://orders.shop.svc@evil.example",
            "https://orders.shop?x",
            "https://orders.shop:",
            "https://orders.shop:0",
            "https://orders.shop:65536",
            "https://Orders.shop",
            "urn:orders.shop",
            "https://evil.example/orders.shop.svc",
            "https://orders.shop.svc.",
        ] {
            assert_eq!(audience(&bounds, text), Err(OutOfBounds::NotAllowed), "{text}");
        }
    }

    #[test]
    fn an_allowance_adds_hosts_with_their_paths_and_audiences() {
        let first = allowance(|a| a.hosts = vec!["api.example.com/orders".parse().expect("a host")]);
        let second = allowance(|a| {
            a.hosts = vec!["*.orders.example.com".parse().expect("a host")];
            a.audiences = vec![Audience::new("https://api.example.com/orders").expect("an audience")];
        });
        let bounds = bounds(&[first, second]);
        for good in [
            "api.example.com/orders",
            "api.example.com/orders/v1",
            "api.example.com:8443/orders",
            "eu.orders.example.com",
            "*.orders.example.com",
            "*.eu.orders.example.com/x",
        ] {
            assert_eq!(host(&bounds, good), Ok(()), "{good}");
        }
        for bad in [
            "api.example.com",
            "api.example.com/ordersx",
            "orders.example.com",
            "*.example.com",
            "x.example.com/orders",
        ] {
            assert_eq!(host(&bounds, bad), Err(OutOfBounds::NotAllowed), "{bad}");
        }
        assert_eq!(audience(&bounds, "https://api.example.com/orders"), Ok(()));
        assert_eq!(audience(&bounds, "https://api.example.com/orders/"), Err(OutOfBounds::NotAllowed));
    }

    #[test]
    fn an_allowance_counts_only_where_it_selects_and_labels_are_known() {
        let all = allowance(|a| {
            a.selector = Some(LabelSelector::default());
            a.client_ids = vec![ClientId::new("legacy").expect("an id")];
        });
        let unreadable = allowance(|a| {
            a.selector = None;
            a.grant_types = vec![GrantType::RefreshToken];
        });
        let shop = Namespace::new("shop").expect("a namespace");
        let object = ObjectRef::new("shop", "checkout").expect("an object");
        let id = ClientId::new("legacy").expect("an id");
        assert!(Bounds::new(&shop, Some(&Labels::new()), [&all]).client_id(&object, &id));
        assert!(!Bounds::new(&shop, None, [&all]).client_id(&object, &id));
        assert!(!bounds(&[unreadable]).grant_type(GrantType::RefreshToken));
    }

    #[test]
    fn the_issuers_and_the_api_servers_names_can_never_be_claimed() {
        let generous = allowance(|a| {
            a.selector = Some(LabelSelector::default());
            a.hosts = vec!["*.svc".parse().expect("a host"), "*.countersign-system".parse().expect("a host")];
            a.audiences =
                ["https://api.example.org", "https://kubernetes.default.svc", "HTTPS://Issuer.countersign-system/x"]
                    .map(|text| Audience::new(text).expect("an audience"))
                    .to_vec();
        });
        let bounds = bounds(std::slice::from_ref(&generous));
        for text in &generous.audiences {
            assert_eq!(audience(&bounds, text.as_str()), Err(OutOfBounds::Reserved), "{text}");
        }
        for name in [
            "kubernetes.default.svc",
            "issuer.countersign-system.svc:1",
            "*.svc",
            "*.default.svc",
            "issuer.countersign-system",
        ] {
            assert_eq!(host(&bounds, name), Err(OutOfBounds::Reserved), "{name}");
        }
        assert_eq!(host(&bounds, "other.countersign-system"), Ok(()));
    }

    #[test]
    fn another_client_id_and_more_grant_types_need_an_allowance() {
        let object = ObjectRef::new("shop", "checkout").expect("an object");
        let id = |text| ClientId::new(text).expect("an id");
        let allowed = allowance(|a| {
            a.client_ids = vec![id("9f2b")];
            a.grant_types = vec![GrantType::AuthorizationCode];
            a.max_access_token_lifetime = Some(Duration::from_mins(30));
        });
        let longer = allowance(|a| a.max_access_token_lifetime = Some(Duration::from_mins(45)));
        let (plain, more) = (bounds(&[]), bounds(&[allowed, longer]));
        assert!(plain.client_id(&object, &id("shop.checkout")) && !plain.client_id(&object, &id("shop.other")));
        assert!(!plain.client_id(&object, &id("9f2b")) && more.client_id(&object, &id("9f2b")));
        assert!(!plain.grant_type(GrantType::AuthorizationCode) && more.grant_type(GrantType::AuthorizationCode));
        assert!(plain.grant_type(GrantType::ClientCredentials) && plain.max_access_token_lifetime().is_none());
        assert_eq!(more.max_access_token_lifetime(), Some(Duration::from_mins(45)));
    }
}
