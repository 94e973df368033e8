//! The DNS names of Services, and the hosts of URLs.
//!
//! Flows in: a host or an audience as it was written. Flows out: the Service it names, if it is the name of one.

use crate::names::{Audience, Namespace, ObjectName};

/// `<svc>.<ns>`, `<svc>.<ns>.svc` and `<svc>.<ns>.svc.<cluster domain>`, without and therefore with any port.
pub fn service_hosts(service: &ObjectName, namespace: &Namespace, cluster_domain: &str) -> [String; 3] {
    service_spellings(&format!("{service}.{namespace}"), cluster_domain)
}

pub(super) fn service_spellings(base: &str, cluster_domain: &str) -> [String; 3] {
    [base.to_owned(), format!("{base}.svc"), format!("{base}.svc.{cluster_domain}")]
}

/// `<svc>.<ns>` of any spelling of a Service's name.
pub(super) fn service_base<'a>(host: &'a str, cluster_domain: &str) -> Option<&'a str> {
    let short = host.strip_suffix(cluster_domain).and_then(|rest| rest.strip_suffix('.'));
    let short = short.filter(|rest| rest.strip_suffix(".svc").is_some()).unwrap_or(host);
    let base = short.strip_suffix(".svc").filter(|base| base.contains('.')).unwrap_or(short);
    let (service, namespace) = base.split_once('.')?;
    let service = Namespace::new(service).is_ok();
    (service && Namespace::new(namespace).is_ok()).then_some(base)
}

/// The Service that an audience `https://<a Service's name>[:port][/path]` names.
pub fn audience_service(audience: &Audience, cluster_domain: &str) -> Option<(ObjectName, Namespace)> {
    let base = service_base(own_audience_host(audience.as_str())?, cluster_domain)?;
    let (service, namespace) = base.split_once('.')?;
    Some((ObjectName::new(service).ok()?, Namespace::new(namespace).ok()?))
}

/// The host of `https://host[:port][/path]`; an audience with user information, a query or a bad port has none.
pub(super) fn own_audience_host(audience: &str) -> Option<&str> {
    let rest = audience.strip_prefix("https://").filter(|rest| !rest.contains(['?', '@']))?;
    let authority = rest.split_once('/').map_or(rest, |(authority, _)| authority);
    let Some((host, port)) = authority.split_once(':') else { return Some(authority) };
    let digits = !port.is_empty() && !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && port.parse::<u16>().is_ok()).then_some(host)
}

/// The host of any URL, as whoever reads it most generously would understand it.
pub(super) fn host_of_url(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let host =
        if authority.starts_with('[') { authority.split_inclusive(']').next() } else { authority.split(':').next() };
    host.map(|host| host.trim_end_matches('.').to_ascii_lowercase()).filter(|host| !host.is_empty())
}

pub(super) fn is_below(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
}
