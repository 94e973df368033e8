//! What a condition may know about a request: `token`, `request`, `path` and `client`.
//!
//! Flows in: a verified token, a canonical request, the parameters a template matched. Flows out: values, of no more than
//! what the expression names, or nothing when one of them is too large or can be read in two ways.

use std::collections::HashMap;
use std::sync::Arc;

use super::condition::{Given, json, list, map, text};
use super::pattern::path_segments;
use crate::request::Request;
use crate::scope::ScopeSet;

/// Everything there is to know when a condition is judged.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// The claims of the token.
    pub claims: &'a serde_json::Map<String, serde_json::Value>,
    /// Its scopes.
    pub scope: &'a ScopeSet,
    /// The client it was issued to.
    pub client_id: &'a str,
    /// The request.
    pub request: &'a Request<'a>,
    /// Which segment of the path is which parameter.
    pub params: &'a [(usize, Arc<str>)],
}

/// How much of a map an expression names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Uses {
    #[default]
    Nothing,
    Fields(Vec<String>),
    Everything,
}

/// What an expression names, by variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Roots {
    token: Uses,
    request: Uses,
    headers: Uses,
    path: bool,
    client: bool,
}

// === impl Uses ===

impl Uses {
    fn note(&mut self, field: Option<&&str>) {
        match (&mut *self, field) {
            (Self::Everything, _) => {}
            (_, None) => *self = Self::Everything,
            (Self::Nothing, Some(field)) => *self = Self::Fields(vec![(*field).to_owned()]),
            (Self::Fields(fields), Some(field)) if !fields.iter().any(|known| known == field) => {
                fields.push((*field).to_owned());
            }
            (Self::Fields(_), Some(_)) => {}
        }
    }

    fn wants(&self, field: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Fields(fields) => fields.iter().any(|known| known == field),
            Self::Everything => true,
        }
    }
}

// === impl Roots ===

impl Roots {
    /// Whether headers are named, or the whole request.
    pub(super) fn reads_headers(&self) -> bool {
        self.headers != Uses::Nothing
    }

    /// Notes that `root.fields…` is named; an error when there is no such variable.
    pub(super) fn note(&mut self, root: &str, fields: &[&str]) -> Result<(), ()> {
        match root {
            "token" => self.token.note(fields.first()),
            "request" => {
                self.request.note(fields.first());
                if fields.first().is_none_or(|field| *field == "headers") {
                    self.headers.note(fields.get(1));
                }
            }
            "path" => self.path = true,
            "client" => self.client = true,
            _ => return Err(()),
        }
        Ok(())
    }
}

// === impl Facts ===

impl Facts<'_> {
    /// The variables that are named. `None` when one cannot be given.
    pub(super) fn values(&self, uses: &Roots) -> Option<Vec<(&'static str, Given)>> {
        let mut values = Vec::with_capacity(4);
        if uses.token != Uses::Nothing {
            values.push(("token", self.token(&uses.token)?));
        }
        if uses.request != Uses::Nothing {
            values.push(("request", self.request(uses)?));
        }
        if uses.path {
            values.push(("path", self.path()?));
        }
        if uses.client {
            values.push(("client", map(HashMap::from([("id".to_owned(), text(self.client_id)?)]))?));
        }
        Some(values)
    }

    fn token(&self, uses: &Uses) -> Option<Given> {
        let mut members = HashMap::new();
        let mut give = |name: &str, value: &serde_json::Value| -> Option<()> {
            let value = if name == "scope" { self.scopes()? } else { json(value)? };
            members.insert(name.to_owned(), value);
            Some(())
        };
        match uses {
            Uses::Nothing => {}
            Uses::Everything => self.claims.iter().try_for_each(|(name, value)| give(name, value))?,
            Uses::Fields(fields) => fields
                .iter()
                .filter_map(|field| self.claims.get_key_value(field))
                .try_for_each(|(name, value)| give(name, value))?,
        }
        map(members)
    }

    fn scopes(&self) -> Option<Given> {
        list(self.scope.iter().map(|scope| text(scope.as_str())))
    }

    fn request(&self, uses: &Roots) -> Option<Given> {
        let mut members = HashMap::new();
        for (name, value) in [
            ("method", self.request.method),
            ("host", &self.request.host.name),
            ("path", &self.request.path),
            ("query", self.request.query),
        ] {
            if uses.request.wants(name) {
                members.insert(name.to_owned(), text(value)?);
            }
        }
        if uses.request.wants("headers") {
            members.insert("headers".to_owned(), self.headers(&uses.headers)?);
        }
        map(members)
    }

    /// Lower case, each named once; a named header that is repeated or no text leaves nothing to judge by.
    fn headers(&self, uses: &Uses) -> Option<Given> {
        let mut members = Some(HashMap::new());
        self.request.headers.visit(&mut |name, value| {
            let Some(found) = &mut members else { return };
            let name = name.to_ascii_lowercase();
            if !uses.wants(&name) || is_withheld(&name) {
                return;
            }
            let value = std::str::from_utf8(value).ok().and_then(text);
            let again = value.is_none_or(|value| found.insert(name, value).is_some());
            if again {
                members = None;
            }
        });
        map(members?)
    }

    fn path(&self) -> Option<Given> {
        let mut members = HashMap::new();
        for (at, name) in self.params {
            members.insert(name.to_string(), text(path_segments(&self.request.path).nth(*at)?)?);
        }
        map(members)
    }
}

/// Headers that are credentials, or words a caller could put into a proxy's mouth, in any spelling a backend might accept.
fn is_withheld(name: &str) -> bool {
    let name = name.replace(['_', '.'], "-");
    matches!(name.as_str(), "authorization" | "proxy-authorization" | "cookie" | "forwarded")
        || [":", "x-forwarded-", "x-countersign-"].iter().any(|prefix| name.starts_with(prefix))
}
