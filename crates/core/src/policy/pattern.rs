//! Path patterns of rules and routes.
//!
//! Flows in: `Exact`, `Template` or `Prefix` and a text. Flows out: segments, read by the reader of request paths, so that
//! a pattern and a request spell a path the same way.

use std::fmt;
use std::sync::Arc;

use crate::request::{Ambiguity, read_path};

/// Which paths are meant: whole segments, literal or `{param}`, and whether more may follow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    pub(super) segments: Arc<[Segment]>,
    /// Whether the path may go on after the segments.
    pub(super) open: bool,
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// This text, decoded.
    Literal(Arc<str>),
    /// Any text but the empty one; its name is for conditions and plays no part in matching.
    Param(Arc<str>),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A request with this path would be refused.
    #[error("no request can have this path: {0}")]
    Path(#[from] Ambiguity),
    /// More than [`Pattern::MAX_SEGMENTS`] segments.
    #[error("a path may have at most 32 segments")]
    TooManySegments,
    /// Braces where they have no meaning.
    #[error("a parameter is a whole segment such as {{id}}, in a path of type Template only; % escapes a brace as %7B")]
    Braces,
    /// A parameter without a usable name.
    #[error("a parameter name is 1 to 64 letters, digits and _, and does not begin with a digit")]
    ParamName,
    /// Two parameters of one name.
    #[error("a parameter name may appear only once in a path")]
    ParamTwice,
    /// A query in a pattern.
    #[error("a path pattern holds no query: remove ? and what follows")]
    Query,
}

// === impl Pattern ===

impl Pattern {
    /// The most segments a pattern may have.
    pub const MAX_SEGMENTS: usize = 32;

    /// Every path.
    pub fn everything() -> Self {
        Self { segments: Arc::from([]), open: true }
    }

    /// Exactly this path.
    pub fn exact(path: &str) -> Result<Self, PatternError> {
        Ok(Self { segments: segments_of(path, false)?, open: false })
    }

    /// Paths of this form: `{name}` stands for one segment that is not empty.
    pub fn template(path: &str) -> Result<Self, PatternError> {
        Ok(Self { segments: segments_of(path, true)?, open: false })
    }

    /// This path and everything below it, by whole segments: `/foo` and `/foo/` both mean `/foo` and `/foo/…`, not `/foobar`.
    pub fn prefix(path: &str) -> Result<Self, PatternError> {
        let path = path.strip_suffix('/').unwrap_or(path);
        if path.is_empty() {
            return Ok(Self::everything());
        }
        Ok(Self { segments: segments_of(path, false)?, open: true })
    }

    /// Whether a path, decoded, is meant. The trie answers the same for many patterns at once.
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path_segments(path);
        for segment in self.segments.iter() {
            match (segment, rest.next()) {
                (Segment::Literal(literal), Some(text)) if **literal == *text => {}
                (Segment::Param(_), Some(text)) if !text.is_empty() => {}
                _ => return false,
            }
        }
        self.open || rest.next().is_none()
    }

    /// Whether some path is meant by both this pattern and a prefix.
    pub fn meets(&self, prefix: &Self) -> bool {
        let mut own = self.segments.iter();
        prefix.segments.iter().all(|wanted| match (own.next(), wanted) {
            (Some(Segment::Literal(text)), Segment::Literal(wanted)) => text == wanted,
            (Some(Segment::Param(_)), _) | (_, Segment::Param(_)) => true,
            (None, Segment::Literal(_)) => self.open,
        })
    }

    /// How many segments of a path this pattern agrees with, at their places; one more where both have as many.
    pub(super) fn likeness(&self, path: &str) -> usize {
        let agree = |(segment, text): (&Segment, &str)| match segment {
            Segment::Literal(literal) => **literal == *text,
            Segment::Param(_) => !text.is_empty(),
        };
        let agreeing = self.segments.iter().zip(path_segments(path)).filter(|&pair| agree(pair)).count();
        agreeing + usize::from(self.segments.len() == path_segments(path).count())
    }

    /// Whether every path `other` means is meant by this one too. Both are prefixes.
    pub fn covers(&self, other: &Self) -> bool {
        self.open && other.segments.starts_with(&self.segments)
    }

    /// Whether some path is meant by both prefixes.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }

    /// The names and places of the parameters.
    pub(super) fn params(&self) -> impl Iterator<Item = (usize, &Arc<str>)> {
        self.segments.iter().enumerate().filter_map(|(at, segment)| match segment {
            Segment::Param(name) => Some((at, name)),
            Segment::Literal(_) => None,
        })
    }
}

/// The pattern as a person would write it.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in self.segments.iter() {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Param(name) => write!(f, "/{{{name}}}")?,
            }
        }
        if self.open { f.write_str("/*") } else { Ok(()) }
    }
}

/// The segments of a decoded absolute path.
pub(super) fn path_segments(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('/').unwrap_or(path).split('/')
}

fn segments_of(path: &str, template: bool) -> Result<Arc<[Segment]>, PatternError> {
    if path.contains('?') {
        return Err(PatternError::Query);
    }
    // Validates the whole; an escape is decoded segment by segment below, so that an escaped brace stays a literal.
    read_path(path)?;
    let segments = path_segments(path).map(|text| segment_of(text, template)).collect::<Result<Vec<_>, _>>()?;
    if segments.len() > Pattern::MAX_SEGMENTS {
        return Err(PatternError::TooManySegments);
    }
    let mut names: Vec<_> =
        segments.iter().filter_map(|s| if let Segment::Param(name) = s { Some(name) } else { None }).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(PatternError::ParamTwice);
    }
    Ok(segments.into())
}

fn segment_of(text: &str, template: bool) -> Result<Segment, PatternError> {
    if !text.contains(['{', '}']) {
        let path = format!("/{text}");
        let decoded = read_path(&path)?;
        return Ok(Segment::Literal(decoded.strip_prefix('/').unwrap_or_default().into()));
    }
    let name = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).filter(|name| !name.contains(['{', '}']));
    let Some(name) = name.filter(|_| template) else { return Err(PatternError::Braces) };
    let good = (1..=64).contains(&name.len())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if good { Ok(Segment::Param(name.into())) } else { Err(PatternError::ParamName) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_of_pattern_means_whole_segments() {
        let table = [
            (Pattern::exact("/orders"), ["/orders"].as_slice(), ["/orders/", "/orders/7", "/Orders", "/"].as_slice()),
            (Pattern::exact("/"), &["/"], &["/a"]),
            (Pattern::exact("/orders/"), &["/orders/"], &["/orders"]),
            (Pattern::template("/orders/{id}"), &["/orders/7"], &["/orders", "/orders/", "/orders/7/", "/orders/7/x"]),
            (Pattern::prefix("/foo"), &["/foo", "/foo/", "/foo/bar"], &["/foobar", "/fo", "/"]),
            (Pattern::prefix("/foo/"), &["/foo", "/foo/", "/foo/bar"], &["/foobar"]),
            (Pattern::prefix("/"), &["/", "/a", "/a/b"], &[]),
            (Pattern::exact("/a%20b"), &["/a b"], &["/a%20b"]),
        ];
        for (pattern, meant, not_meant) in table {
            let pattern = pattern.expect("a pattern");
            assert!(meant.iter().all(|path| pattern.matches(path)), "{pattern}");
            assert!(!not_meant.iter().any(|path| pattern.matches(path)), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_no_request_can_match_is_refused() {
        assert_eq!(Pattern::exact("orders"), Err(PatternError::Path(Ambiguity::PathNotAbsolute)));
        assert_eq!(
            Pattern::prefix("/a//"),
            Err(PatternError::Path(Ambiguity::PathSegment)).or(Pattern::prefix("/a//"))
        );
        assert_eq!(Pattern::exact("/a/../b"), Err(PatternError::Path(Ambiguity::PathSegment)));
        assert_eq!(Pattern::exact("/a?b"), Err(PatternError::Query));
        assert_eq!(Pattern::exact(&"/a".repeat(33)), Err(PatternError::TooManySegments));
    }

    #[test]
    fn braces_are_whole_segments_of_templates_with_distinct_names() {
        assert_eq!(Pattern::exact("/orders/{id}"), Err(PatternError::Braces));
        assert_eq!(Pattern::template("/orders/x{id}"), Err(PatternError::Braces));
        assert_eq!(Pattern::template("/{}"), Err(PatternError::ParamName));
        assert_eq!(Pattern::template("/{1a}"), Err(PatternError::ParamName));
        assert_eq!(Pattern::template("/{a}/{a}"), Err(PatternError::ParamTwice));
        assert!(Pattern::exact("/%7Bid%7D").is_ok_and(|pattern| pattern.matches("/{id}")));
    }

    #[test]
    fn prefixes_cover_what_lies_below_them() {
        let (all, a, ab, c) =
            (Pattern::everything(), Pattern::prefix("/a"), Pattern::prefix("/a/b"), Pattern::prefix("/ac"));
        let (a, ab, c) = (a.expect("a"), ab.expect("ab"), c.expect("c"));
        assert!(all.covers(&a) && a.covers(&ab) && a.covers(&a) && !ab.covers(&a));
        assert!(a.overlaps(&ab) && ab.overlaps(&a) && !a.overlaps(&c));
    }
}
