//! What a trusted proxy says the original request was.
//!
//! Flows in: the headers of a forward-auth or `auth_request` question. Flows out: the original method, scheme, host and
//! target, or nothing unless exactly the headers of that family are there, once each and in no other spelling.

use axum::http::HeaderMap;

/// The original request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Original<'a> {
    pub(super) method: &'a str,
    pub(super) scheme: &'a str,
    pub(super) host: &'a str,
    pub(super) target: &'a str,
}

/// What Traefik and Caddy send.
pub(super) const FORWARDED: [&str; 4] =
    ["x-forwarded-method", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-uri"];
/// What nginx is configured to send.
pub(super) const ORIGINAL: [&str; 2] = ["x-original-method", "x-original-url"];

/// Reads `X-Forwarded-Method`, `-Proto`, `-Host` and `-Uri`, as Traefik and Caddy send them.
pub(super) fn read_forwarded(headers: &HeaderMap) -> Option<Original<'_>> {
    let [method, scheme, host, target] = family(headers, FORWARDED)?;
    Some(Original { method, scheme: known_scheme(scheme)?, host, target })
}

/// Reads `X-Original-Method` and `X-Original-URL`, as nginx is configured to send them.
pub(super) fn read_original(headers: &HeaderMap) -> Option<Original<'_>> {
    let [method, url] = family(headers, ORIGINAL)?;
    let (scheme, rest) = url.split_once("://")?;
    let (host, target) = rest.split_at_checked(rest.find(['/', '?', '#'])?)?;
    Some(Original { method, scheme: known_scheme(scheme)?, host, target })
}

fn known_scheme(scheme: &str) -> Option<&str> {
    ["http", "https"].contains(&scheme).then_some(scheme)
}

/// The values of all headers of a family, if each is there once and none in another spelling.
fn family<'a, const N: usize>(headers: &'a HeaderMap, names: [&str; N]) -> Option<[&'a str; N]> {
    let alias = |name: &str| name.contains(['_', '.']) && names.contains(&name.replace(['_', '.'], "-").as_str());
    if headers.keys().any(|name| alias(name.as_str())) {
        return None;
    }
    let mut found = [""; N];
    for (slot, name) in found.iter_mut().zip(names) {
        let mut values = headers.get_all(name).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        *slot = value.to_str().ok()?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        };
        lines.iter().map(line).collect()
    }

    const LINES: [(&str, &str); 4] = [
        ("x-forwarded-method", "DELETE"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "orders.shop"),
        ("x-forwarded-uri", "/orders/7?a=b"),
    ];

    #[test]
    fn all_of_a_family_is_needed_each_once_and_in_one_spelling() {
        let expected = Original { method: "DELETE", scheme: "https", host: "orders.shop", target: "/orders/7?a=b" };
        assert_eq!(read_forwarded(&headers(&LINES)), Some(expected));
        for left_out in 0..LINES.len() {
            let lines: Vec<_> =
                LINES.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
            assert_eq!(read_forwarded(&headers(&lines)), None);
        }
        for extra in [("x-forwarded-uri", "/"), ("x_forwarded_uri", "/"), ("x-forwarded_host", "evil")] {
            assert_eq!(read_forwarded(&headers(&[LINES.as_slice(), &[extra]].concat())), None, "{extra:?}");
        }
        let other = [LINES.as_slice(), &[("x-original-url", "https://evil/"), ("forwarded", "host=evil")]].concat();
        assert_eq!(read_forwarded(&headers(&other)), Some(expected), "other families are ignored");
    }

    #[test]
    fn an_original_url_is_taken_apart_without_decoding() {
        let read = |url: &str| {
            let headers = headers(&[("x-original-method", "GET"), ("x-original-url", url)]);
            read_original(&headers).map(|original| format!("{} {} {}", original.scheme, original.host, original.target))
        };
        assert_eq!(read("https://orders.shop:8443/a%2fb?c=/d").as_deref(), Some("https orders.shop:8443 /a%2fb?c=/d"));
        assert_eq!(read("https://u@orders.shop/").as_deref(), Some("https u@orders.shop /"));
        for url in ["", "/orders", "ftp://a/", "https://orders.shop", "HTTPS://a/"] {
            assert_eq!(read(url), None, "{url}");
        }
    }
}
