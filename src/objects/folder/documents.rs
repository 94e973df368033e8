//! The documents of YAML files, whatever kinds they hold.
//!
//! Flows in: folders, files and texts. Flows out: each document as JSON with its place, or why it cannot be read, in the
//! order of the files.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{self, Found};
use super::yaml::{self, documents, field_at, first_line, line_of};

/// The largest file: many objects, and no more memory than that.
const LARGEST_FILE: u64 = 16 << 20;

/// One document of a file.
#[derive(Debug)]
pub struct Document {
    pub place: Place,
    /// As it is written.
    pub text: String,
    /// As JSON; never null.
    pub value: Value,
}

/// Where something is written; line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub file: PathBuf,
    pub line: usize,
}

/// Why one place cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The field, such as `spec.access[0].scopes`; empty where it is the whole.
    pub field: String,
    pub message: String,
}

/// The places of a document's fields.
#[derive(Debug)]
pub struct Fields {
    lines: yaml::Lines,
    place: Place,
}

/// What there was to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many files and texts were read.
    pub files: usize,
    /// Whether trying again may help although nothing is edited.
    pub may_pass: bool,
}

/// Hands over every document of the folders and files, and of texts under a name each.
pub fn read(paths: &[PathBuf], texts: &[(PathBuf, String)], visit: &mut dyn FnMut(Result<Document, Problem>)) -> Tally {
    let mut reader = Reader { visit, tally: Tally::default() };
    let found = Found::below(paths);
    for (path, error) in found.troubles {
        reader.trouble(&path, &error);
    }
    for file in found.files {
        reader.file(&file);
    }
    for (name, text) in texts {
        reader.text(name, text);
    }
    reader.tally
}

struct Reader<'a> {
    visit: &'a mut dyn FnMut(Result<Document, Problem>),
    tally: Tally,
}

// === impl Document ===

impl Document {
    /// Where its fields stand.
    pub fn fields(&self) -> Fields {
        Fields::of(&self.text, &self.place)
    }
}

// === impl Place ===

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, field, message } = self;
        if field.is_empty() { write!(f, "{place}: {message}") } else { write!(f, "{place}: {field}: {message}") }
    }
}

// === impl Fields ===

impl Fields {
    /// Of a document that begins there.
    pub(super) fn of(text: &str, place: &Place) -> Self {
        Self { lines: yaml::Lines::read(text), place: place.clone() }
    }

    /// Where a field such as `spec.access[0].scopes` stands; where it would, if it is missing.
    pub fn place(&self, field: &str) -> Place {
        let line = self.lines.find(field).map_or(0, |line| line - 1);
        Place { line: self.place.line + line, file: self.place.file.clone() }
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn file(&mut self, file: &Path) {
        let bytes = match files::read(file, LARGEST_FILE) {
            Ok(bytes) => bytes,
            Err(error) => return self.trouble(file, &error),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            let place = Place { file: file.to_owned(), line: 0 };
            return self.blame(place, String::new(), "it is not UTF-8 text".to_owned());
        };
        self.text(file, &text);
    }

    fn text(&mut self, file: &Path, text: &str) {
        self.tally.files += 1;
        for (line, document) in documents(text) {
            self.document(Place { file: file.to_owned(), line }, document);
        }
    }

    fn document(&mut self, place: Place, text: String) {
        match serde_saphyr::from_str(&text) {
            Ok(Value::Null) => {}
            Ok(value) => (self.visit)(Ok(Document { place, text, value })),
            Err(error) => {
                let line = line_of(&error).unwrap_or(1);
                let field = field_at(&text, line);
                self.blame(Place { line: place.line + line - 1, ..place }, field, first_line(&error));
            }
        }
    }

    fn trouble(&mut self, path: &Path, error: &io::Error) {
        self.tally.may_pass |= files::may_pass(error);
        self.blame(Place { file: path.to_owned(), line: 0 }, String::new(), error.to_string());
    }

    fn blame(&mut self, place: Place, field: String, message: String) {
        (self.visit)(Err(Problem { place, field, message }));
    }
}
