//! The canonical reading of a request: lines of method, scheme, host and target, then `name: value` header lines.

use countersign_core::request::{Credential, Headers, Host, MAX_TARGET, Request, RequestParts, read_path};

struct Lines<'a>(Vec<(&'a str, &'a [u8])>);

impl Headers for Lines<'_> {
    fn visit<'a>(&'a self, each: &mut dyn FnMut(&'a str, &'a [u8])) {
        self.0.iter().for_each(|(name, value)| each(name, value));
    }
}

pub fn run(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut text = || lines.next().map(std::str::from_utf8);
    let (Some(Ok(method)), Some(Ok(scheme)), Some(Ok(host)), Some(Ok(target))) = (text(), text(), text(), text())
    else {
        return;
    };
    let headers = lines.filter_map(|line| {
        let colon = line.iter().skip(1).position(|byte| *byte == b':')? + 1;
        let (name, value) = line.split_at(colon);
        Some((std::str::from_utf8(name).ok()?, value[1..].trim_ascii()))
    });
    let headers = Lines(headers.collect());
    refusals_stay(target);
    let parts = RequestParts { method, scheme, host, target, headers: &headers };
    let Ok(request) = Request::read(&parts) else { return };
    is_canonical(&parts, &request);
    path_is_canonical(target, &request);
    credential_is_single(&request, &headers);
}

fn is_canonical(parts: &RequestParts<'_>, request: &Request<'_>) {
    assert!(!request.method.bytes().any(|byte| byte.is_ascii_lowercase() || byte <= b' '));
    let host = &request.host;
    assert!(
        !host.name.is_empty() && !host.name.bytes().any(|byte| byte.is_ascii_uppercase() || b"@/, ".contains(&byte))
    );
    let again = host.port.map_or(host.name.to_string(), |port| format!("{}:{port}", host.name));
    assert_eq!(Host::read(&again, parts.scheme).as_ref(), Ok(host), "read again, the same host");
    assert!(parts.target.len() <= MAX_TARGET);
}

/// What a backend could read otherwise never passes, and what passes reads the same again.
fn path_is_canonical(target: &str, request: &Request<'_>) {
    let (raw, query) = target.split_once('?').unwrap_or((target, ""));
    assert_eq!(request.query, query);
    assert!(!query.contains(['#', ' ']));
    let lower = raw.to_ascii_lowercase();
    for never in ["//", "/./", "/../", "\\", ";", "#", "%2f", "%5c", "%2e", "%00", "%25", "%3b", "%3f", "%23"] {
        assert!(!lower.contains(never), "{never} in {raw}");
    }
    let path = &*request.path;
    assert!(path.starts_with('/') && !path.contains(['?', '#', '\\', ';', '%']) && !path.contains("//"));
    assert!(!path.split('/').any(|segment| segment == "." || segment == ".."));
    assert!(!path.bytes().any(|byte| byte < b' ' || byte == 0x7f));
    assert_eq!(path.matches('/').count(), raw.matches('/').count(), "the same segments");
    let escaped: String = path
        .bytes()
        .map(|byte| if byte.is_ascii_graphic() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    assert_eq!(read_path(&escaped).as_deref(), Ok(path), "written again and read again, the same path");
    assert!(path.len() <= raw.len());
}

/// A path that is refused is not saved by what follows it.
fn refusals_stay(target: &str) {
    let path = target.split('?').next().unwrap_or_default();
    if path.starts_with('/') && read_path(path).is_err() {
        assert!(read_path(&format!("{path}/x")).is_err(), "{path} with a segment more");
        assert!(read_path(&format!("/x{path}")).is_err(), "{path} below another");
    }
}

fn credential_is_single(request: &Request<'_>, headers: &Lines<'_>) {
    let sent = headers.0.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).count();
    if let Credential::Bearer(token) = request.credential {
        assert_eq!(sent, 1);
        assert!(
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
        );
        assert!(!request.query.split('&').any(|pair| pair.split('=').next() == Some("access_token")));
    }
    assert!(sent < 2 || request.credential == Credential::Ambiguous);
    assert!(sent > 0 || request.credential == Credential::None);
}
