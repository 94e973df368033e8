//! The request that is asked about, in the form in which a proxy would pass it on.
//!
//! Flows in: a method, a URL and header lines as a person writes them. Flows out: the parts the verifier reads. Nothing is
//! normalised here: what the verifier refuses is to be refused here too.

use anyhow::{Context, Result, bail};
use countersign_core::request::{Headers, RequestParts};

/// A request as it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) method: String,
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Call {
    pub(super) fn new(method: &str, url: &str, headers: &[String]) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").context("the URL must begin with https:// or http://")?;
        if !["http", "https"].contains(&scheme) {
            bail!("the URL must begin with https:// or http://");
        }
        // A client never sends what follows #.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let headers = headers.iter().map(|line| header(line)).collect::<Result<_>>()?;
        Ok(Self { method: method.to_owned(), scheme: scheme.to_owned(), host: host.to_owned(), target, headers })
    }

    /// With a bearer token.
    pub(super) fn with_token(mut self, token: &str) -> Self {
        self.headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        self
    }

    pub(super) fn parts(&self) -> RequestParts<'_> {
        let Self { method, scheme, host, target, headers: _ } = self;
        RequestParts { method, scheme, host, target, headers: self }
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.target)
    }
}

impl Headers for Call {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.headers.iter().for_each(|(name, value)| each(name, value.as_bytes()));
    }
}

fn header(line: &str) -> Result<(String, String)> {
    let (name, value) = line.split_once(':').with_context(|| "a header is written `Name: value`".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_left_as_it_is() {
        for (url, host, target) in [
            ("https://orders.shop.svc/orders/7?x=1#y", "orders.shop.svc", "/orders/7?x=1"),
            ("http://Orders.shop:8080", "Orders.shop:8080", "/"),
            ("https://a?x", "a", "/?x"),
            ("https://a//b/../%2e", "a", "//b/../%2e"),
        ] {
            let call = Call::new("GET", url, &[]).unwrap();
            assert_eq!((call.host.as_str(), call.target.as_str()), (host, target), "{url}");
        }
        assert!(Call::new("GET", "orders.shop.svc/orders", &[]).is_err());
        assert!(Call::new("GET", "ftp://orders.shop.svc/orders", &[]).is_err());
        assert!(Call::new("GET", "https://a/", &["no colon".to_owned()]).is_err());
        let headers = Call::new("GET", "https://a/", &["X-Tier:  gold".to_owned()]).unwrap().headers;
        assert_eq!(headers, [("X-Tier".to_owned(), "gold".to_owned())]);
    }
}
