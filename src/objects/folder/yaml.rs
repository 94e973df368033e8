//! YAML as files hold it: documents, and the lines of their fields.
//!
//! Flows in: the text of a file. Flows out: its documents, each with its first line; for a field such as
//! `spec.rules[3].path` the line it stands on, and for a line the field it belongs to.

use std::fmt;

use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The documents of a file, each with the number of its first line.
pub(super) fn documents(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (at, line) in text.lines().enumerate() {
        let separator = line == "---" || line.starts_with("--- ") || line.starts_with("---\t");
        if separator || documents.is_empty() {
            documents.push((at + 2, String::new()));
        } else if let Some((_, document)) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents.retain(|(_, document)| document.lines().any(|line| !line.trim().is_empty() && !line.starts_with('#')));
    documents
}

/// The field a line of block-style YAML belongs to, read off its indentation.
pub(super) fn field_at(text: &str, line: usize) -> String {
    let lines: Vec<_> = text.lines().take(line).collect();
    let mut path = Vec::new();
    let mut bound = usize::MAX;
    for line in lines.iter().rev().filter(|line| !line.trim().is_empty() && !line.trim().starts_with('#')) {
        let content = line.trim_start_matches([' ', '-']);
        let indent = line.len() - content.len();
        let name = content.split(':').next().unwrap_or_default().trim();
        if indent < bound && content.contains(':') && !name.is_empty() && !name.contains(['{', '[', '"', ' ']) {
            path.push(name);
            bound = line.len() - line.trim_start().len();
            if line.trim_start().starts_with('-') {
                bound += 1;
            }
        }
        if bound == 0 {
            break;
        }
    }
    path.reverse();
    path.join(".")
}

/// The line an error of the parser is about.
pub(super) fn line_of(error: &serde_saphyr::Error) -> Option<usize> {
    error.location().and_then(|location| usize::try_from(location.line()).ok()).filter(|line| *line > 0)
}

/// The message without the excerpt: the place is told apart, and an excerpt may hold more than the reader should see.
pub(super) fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or(line).to_owned()
}

/// Where each field of a document stands. Knows nothing of a document that cannot be read.
#[derive(Debug, Default)]
pub(super) struct Lines(Option<Node>);

#[derive(Debug)]
struct Node {
    line: usize,
    inside: Inside,
}

#[derive(Debug)]
enum Inside {
    Nothing,
    List(Vec<Node>),
    Fields(Vec<(String, Node)>),
}

// === impl Lines ===

impl Lines {
    pub(super) fn read(text: &str) -> Self {
        Self(serde_saphyr::from_str(text).ok())
    }

    /// The line of a field, counted from the document's first; of what would hold it where it is not written.
    pub(super) fn find(&self, field: &str) -> Option<usize> {
        let mut node = self.0.as_ref()?;
        let mut rest = field;
        while let Some((inner, after)) = node.step(rest) {
            (node, rest) = (inner, after);
        }
        // The whole document has no line of its own worth telling.
        (rest.len() < field.len()).then_some(node.line)
    }
}

impl Node {
    /// One step down a path, and what is left of it. Names of fields may hold points and brackets themselves.
    fn step<'a, 'p>(&'a self, path: &'p str) -> Option<(&'a Self, &'p str)> {
        match &self.inside {
            Inside::Nothing => None,
            Inside::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                Some((items.get(index.parse::<usize>().ok()?)?, rest))
            }
            Inside::Fields(fields) => {
                let bracketed = path.strip_prefix('[');
                let name = bracketed.or(path.strip_prefix('.')).unwrap_or(path);
                let fitting = fields.iter().filter_map(|(key, node)| {
                    let rest = name.strip_prefix(key.as_str())?;
                    let rest = if bracketed.is_some() { rest.strip_prefix(']')? } else { rest };
                    (rest.is_empty() || rest.starts_with(['.', '['])).then_some((node, rest))
                });
                fitting.min_by_key(|(_, rest)| rest.len())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Inside>::deserialize(deserializer)?;
        Ok(Self { line: usize::try_from(referenced.line()).unwrap_or(0), inside: value })
    }
}

impl<'de> Deserialize<'de> for Inside {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InsideVisitor)
    }
}

struct InsideVisitor;

/// Scalars of every type are alike: only where they stand matters.
macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Inside, E> { Ok(Inside::Nothing) })*
    };
}

impl<'de> Visitor<'de> for InsideVisitor {
    type Value = Inside;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_none<E>(self) -> Result<Inside, E> {
        Ok(Inside::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Inside, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Inside::List(list))
    }

    /// A field stands where its name does, which may be lines above its value.
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Inside, A::Error> {
        let mut fields = Vec::new();
        while let Some(Spanned { value: name, referenced, .. }) = members.next_key::<Spanned<String>>()? {
            let inside = members.next_value()?;
            fields.push((name, Node { line: usize::try_from(referenced.line()).unwrap_or(0), inside }));
        }
        Ok(Inside::Fields(fields))
    }

    fn visit_newtype_struct<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Inside, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Inside::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
metadata:
  name: orders
  annotations:
    countersign.dev/rotate-at: soon
spec:
  audience: https://a.b
  scopes:
  - name: read
    description: >-
      two
      lines
  - {name: write}
  rules:
  - name: one
    matches:
    - path: {type: Exact, value: /}
    - path:
        type: Exact
        value: /a
    protection: Public
  claims: {a.b: 1, a: {b: true}}
";

    #[test]
    fn a_field_is_found_on_its_line_and_a_missing_one_where_it_would_be() {
        let lines = Lines::read(TEXT);
        for (field, line) in [
            ("metadata.name", Some(2)),
            ("metadata.annotations[countersign.dev/rotate-at]", Some(4)),
            ("spec", Some(5)),
            ("spec.scopes[1].name", Some(12)),
            ("spec.scopes[1].description", Some(12)),
            ("spec.scopes[0]", Some(8)),
            ("spec.scopes[7]", Some(7)),
            ("spec.rules[0].matches[1].path.value", Some(19)),
            ("spec.rules[0].allow[0].when", Some(14)),
            ("spec.claims.a.b", Some(21)),
            ("status", None),
            ("", None),
        ] {
            assert_eq!(lines.find(field), line, "{field}");
        }
    }

    #[test]
    fn a_document_that_cannot_be_read_has_no_lines() {
        assert_eq!(Lines::read("a: [").find("a"), None);
    }
}
