//! The paths a Rust source file names outside its tests, read without a compiler.
//!
//! Flows in: source text and how deep its module lies. Flows out: each path used, `use` trees unfolded, with `super` resolved so far
//! that a path leaving the crate's top-level module begins with `crate`.

/// What matters of the source: names, `::`, and the punctuation that ends or groups paths.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Colons,
    Mark(char),
}

/// Every path in the text, as its segments. `depth` is the number of modules above the file's content: 1 for `src/a.rs` and `src/a/mod.rs`.
pub fn paths(source: &str, depth: usize) -> Vec<Vec<String>> {
    let tokens = tokens(source);
    let mut reader = Reader { tokens: &tokens, at: 0, blocks: Vec::new(), depth, found: Vec::new() };
    reader.run();
    reader.found
}

struct Reader<'a> {
    tokens: &'a [Token],
    at: usize,
    /// Open braces; true where the brace opened an inline module.
    blocks: Vec<bool>,
    depth: usize,
    found: Vec<Vec<String>>,
}

impl Reader<'_> {
    fn run(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            match token {
                Token::Name(name) if name == "use" => {
                    self.at += 1;
                    self.tree(&[]);
                }
                Token::Name(name) if name == "mod" && self.opens_tests() => self.skip_block(),
                Token::Name(name) if name == "mod" && self.tokens.get(self.at + 2) == Some(&Token::Mark('{')) => {
                    self.blocks.push(true);
                    self.at += 3;
                }
                Token::Name(_) => {
                    let path = self.path();
                    if path.len() > 1 {
                        self.keep(path);
                    }
                }
                Token::Mark('{') => {
                    self.blocks.push(false);
                    self.at += 1;
                }
                Token::Mark('}') => {
                    self.blocks.pop();
                    self.at += 1;
                }
                Token::Colons | Token::Mark(_) => self.at += 1,
            }
        }
    }

    /// Whether `mod tests {` stands here: tests of a module may use what it may not.
    fn opens_tests(&self) -> bool {
        let rest = [Token::Name("tests".to_owned()), Token::Mark('{')];
        self.tokens.get(self.at + 1..self.at + 3) == Some(&rest)
    }

    /// Past the block that opens next.
    fn skip_block(&mut self) {
        let mut open = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match token {
                Token::Mark('{') => open += 1,
                Token::Mark('}') if open == 1 => return,
                Token::Mark('}') => open -= 1,
                _ => {}
            }
        }
    }

    /// `a::b::c`, as far as it goes without a group.
    fn path(&mut self) -> Vec<String> {
        let mut path = Vec::new();
        while let Some(Token::Name(name)) = self.tokens.get(self.at) {
            path.push(name.clone());
            self.at += 1;
            let goes_on = self.tokens.get(self.at) == Some(&Token::Colons)
                && matches!(self.tokens.get(self.at + 1), Some(Token::Name(_)));
            if !goes_on {
                break;
            }
            self.at += 1;
        }
        path
    }

    /// One `use` tree behind `prefix`: `a::b`, `a::{b, c::d}`, `a::*`, `a as b`.
    fn tree(&mut self, prefix: &[String]) {
        if self.tokens.get(self.at) == Some(&Token::Colons) {
            self.at += 1;
        }
        let whole = [prefix, &self.path()].concat();
        let group = if self.tokens.get(self.at) == Some(&Token::Colons) { self.at + 1 } else { self.at };
        if self.tokens.get(group) != Some(&Token::Mark('{')) {
            self.keep(whole);
            return self.skip_to_end_of_tree();
        }
        self.at = group + 1;
        while self.tokens.get(self.at).is_some_and(|token| *token != Token::Mark('}')) {
            self.tree(&whole);
            if self.tokens.get(self.at) == Some(&Token::Mark(',')) {
                self.at += 1;
            }
        }
        self.at += 1;
    }

    /// Past a glob or a renaming.
    fn skip_to_end_of_tree(&mut self) {
        let ends = |token: &Token| matches!(token, Token::Mark(',' | '}' | ';'));
        while self.tokens.get(self.at).is_some_and(|token| !ends(token)) {
            self.at += 1;
        }
    }

    fn keep(&mut self, path: Vec<String>) {
        let ups = path.iter().take_while(|name| *name == "super").count();
        let depth = self.depth + self.blocks.iter().filter(|module| **module).count();
        if ups == 0 {
            self.found.push(path);
        } else if ups >= depth {
            self.found.push([&["crate".to_owned()], &path[ups..]].concat());
        }
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => string(rest),
            'r' if rest[1..].trim_start_matches('#').starts_with('"') && raw_identifier(rest).is_none() => {
                raw_string(rest)
            }
            '\'' => character(rest),
            ':' if rest.starts_with("::") => {
                tokens.push(Token::Colons);
                2
            }
            _ if first.is_alphanumeric() || first == '_' => {
                let end = rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len());
                tokens.push(Token::Name(rest[..end].to_owned()));
                end
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Mark(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    tokens
}

/// `r#name`, which is no raw string.
fn raw_identifier(rest: &str) -> Option<()> {
    rest.strip_prefix("r#")?.starts_with(char::is_alphabetic).then_some(())
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|next| *next == '#').count();
    let end = format!("\"{}", "#".repeat(hashes));
    let begin = hashes + 2;
    rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
}

/// A character literal, or the quote of a lifetime.
fn character(rest: &str) -> usize {
    let mut next = rest.chars().skip(1);
    match (next.next(), next.next()) {
        (Some('\\'), _) => rest[3..].find('\'').map_or(rest.len(), |at| at + 4),
        (Some(one), Some('\'')) => one.len_utf8() + 2,
        _ => 1,
    }
}

#[test]
fn use_trees_unfold_and_nested_modules_count() {
    let source = r#"
        use crate::{a::{B, c::*}, d as e}; // crate::comment
        use std::env;
        fn f<'a>(x: &'a str) -> kube::Client { "crate::text"; r"crate::raw"; '"'; x.foo(); self::g() }
        mod inner { use super::*; use super::super::h::I; fn i() { super::super::j() } }
        mod tests { use crate::anything; fn n() { tokio::spawn() } }
        fn k() { super::l() }
    "#;
    let found: Vec<_> = paths(source, 1).iter().map(|path| path.join("::")).collect();
    let expected = [
        "crate::a::B",
        "crate::a::c",
        "crate::d",
        "std::env",
        "kube::Client",
        "self::g",
        "crate::h::I",
        "crate::j",
        "crate::l",
    ];
    assert_eq!(found, expected);
}
