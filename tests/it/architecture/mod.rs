//! Which module may use which: the table of the architecture, held against the source.
//!
//! Inside the crate a module names who it may use; outside crates are free unless named as never. A module that wants to reach across
//! asks for a value or a trait of core, not for the other module.

mod paths;

use crate::support::root;
use std::fs;
use std::path::Path;

struct Module {
    /// A folder or a `.rs` file, below the root of the clone.
    place: &'static str,
    /// Top-level modules of its own crate, and crates of this workspace. `*` is everything.
    may_use: &'static [&'static str],
    /// Paths, and all below them.
    never: &'static [&'static str],
}

const KUBERNETES: [&str; 2] = ["kube", "k8s_openapi"];
const IO: [&str; 16] = [
    "tokio",
    "axum",
    "hyper",
    "tonic",
    "rustls",
    "tracing",
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::ToSocketAddrs",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];
/// Spans are made by `runtime::traces`, which knows builds without them.
const TRACES: [&str; 4] = ["opentelemetry", "opentelemetry_http", "opentelemetry_otlp", "opentelemetry_sdk"];
const CHANCE: [&str; 3] = ["rand", "aws_lc_rs::rand", "Timestamp::now"];

const MODULES: [Module; 14] = [
    Module { place: "crates/core/src", may_use: &["*"], never: &[] },
    Module {
        place: "crates/api/src",
        may_use: &["*", "countersign_core"],
        never: &["kube::Client", "kube::Api", "kube::client", "kube::runtime", "kube::api::Api"],
    },
    Module { place: "src/runtime", may_use: &[], never: &KUBERNETES },
    Module { place: "src/objects", may_use: &["runtime", "countersign_api", "countersign_core"], never: &[] },
    Module {
        place: "src/snapshot",
        may_use: &["objects", "runtime", "countersign_api", "countersign_core"],
        never: &["axum", "tonic"],
    },
    Module {
        place: "src/controller",
        may_use: &["objects", "snapshot", "runtime", "countersign_api", "countersign_core"],
        never: &["axum", "tonic"],
    },
    Module { place: "src/http", may_use: &["runtime", "countersign_core"], never: &KUBERNETES },
    Module { place: "src/store", may_use: &["runtime", "countersign_core"], never: &KUBERNETES },
    Module {
        place: "src/issuer",
        may_use: &["http", "store", "snapshot", "runtime", "countersign_core"],
        never: &KUBERNETES,
    },
    Module {
        place: "src/verifier",
        may_use: &["http", "store", "snapshot", "runtime", "countersign_core"],
        never: &KUBERNETES,
    },
    Module {
        place: "src/admission",
        may_use: &["http", "snapshot", "runtime", "countersign_api", "countersign_core"],
        never: &[],
    },
    Module { place: "src/agent", may_use: &["runtime", "countersign_core"], never: &KUBERNETES },
    Module { place: "src/bin", may_use: &[], never: &KUBERNETES },
    Module { place: "src/cli", may_use: &["*", "countersign_api", "countersign_core"], never: &[] },
];

impl Module {
    fn name(&self) -> &'static str {
        self.place.rsplit('/').find(|part| *part != "src").unwrap_or(self.place)
    }

    /// Why this path may not be named here, if it may not.
    fn objection(&self, path: &[String]) -> Option<String> {
        let (first, second) = (path.first()?.as_str(), path.get(1).map(String::as_str));
        let used = match (first, second) {
            ("crate", Some(module)) => module,
            ("countersign_core" | "countersign_api", _) => first,
            _ => "",
        };
        let own = used.is_empty() || used == self.name() || (first == "crate" && self.may_use.contains(&"*"));
        if !own && !self.may_use.contains(&used) {
            let allowed = if self.may_use.is_empty() { "nothing" } else { &self.may_use.join(", ") };
            return Some(format!("uses {}, but {} may use {allowed} of this project", path.join("::"), self.name()));
        }
        let written = path.join("::");
        let pure = if self.name() == "core" { [&KUBERNETES[..], &IO, &CHANCE].concat() } else { Vec::new() };
        let traces = if self.name() == "runtime" { &TRACES[..0] } else { &TRACES };
        let never = self.never.iter().copied().chain(pure).chain(traces.iter().copied());
        let hit = never.into_iter().find(|ban| written == *ban || written.starts_with(&format!("{ban}::")))?;
        Some(format!("uses {written}, and {} never uses {hit}", self.name()))
    }
}

/// Every objection to a file of this module, as lines for a person.
fn objections(module: &Module, file: &str, source: &str, depth: usize) -> Vec<String> {
    let paths = paths::paths(source, depth);
    paths.iter().filter_map(|path| module.objection(path)).map(|why| format!("{file} {why}")).collect()
}

/// `tests.rs`, `tests/`, `routes_tests.rs`: what no release holds.
fn is_test(path: &Path) -> bool {
    path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

/// All source files of a module with their depth: 1 for the module's own file.
fn files(place: &Path, depth: usize, into: &mut Vec<(std::path::PathBuf, usize)>) {
    if place.with_extension("rs").is_file() {
        into.push((place.with_extension("rs"), depth));
    }
    let Ok(entries) = fs::read_dir(place) else { return };
    for path in entries.map(|entry| entry.unwrap().path()).filter(|path| !is_test(path)) {
        if path.is_dir() {
            files(&path, depth + 1, into);
        } else if path.file_name().is_some_and(|name| name == "mod.rs") {
            into.push((path, depth));
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.with_extension("").is_dir() {
            into.push((path, depth + 1));
        }
    }
}

#[test]
fn modules_use_only_what_the_architecture_allows() {
    let mut found = Vec::new();
    for module in &MODULES {
        let mut sources = Vec::new();
        // A crate's own `src` is its root: its files are one module deep at `lib.rs` plus one.
        files(&root().join(module.place), usize::from(!module.place.ends_with("/src")), &mut sources);
        for (file, depth) in sources {
            let name = file.strip_prefix(root()).unwrap().display().to_string();
            found.extend(objections(module, &name, &fs::read_to_string(&file).unwrap(), depth));
        }
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "ask for a value or a trait of core instead:\n{}", found.join("\n"));
}

#[test]
fn every_module_of_the_crate_is_in_the_table() {
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path().with_extension("");
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let listed = MODULES.iter().any(|module| module.place == format!("src/{name}"));
        assert!(listed || name == "main" || name == "lib", "src/{name} has no line in the table: say what it may use");
    }
}

#[test]
fn a_reach_across_is_told() {
    let module = |name: &str| MODULES.iter().find(|module| module.name() == name).unwrap();
    let cases = [
        (
            "issuer",
            "use crate::objects::Objects;",
            "x.rs uses crate::objects::Objects, but issuer may use http, store, snapshot, runtime, countersign_core of this project",
        ),
        (
            "issuer",
            "use crate::{http::Answer, verifier};",
            "x.rs uses crate::verifier, but issuer may use http, store, snapshot, runtime, countersign_core of this project",
        ),
        ("verifier", "fn f() -> kube::Client {}", "x.rs uses kube::Client, and verifier never uses kube"),
        (
            "runtime",
            "use countersign_core::names::ClientId;",
            "x.rs uses countersign_core::names::ClientId, but runtime may use nothing of this project",
        ),
        (
            "controller",
            "use super::super::issuer::signer;",
            "x.rs uses crate::issuer::signer, but controller may use objects, snapshot, runtime, countersign_api, countersign_core of this project",
        ),
        (
            "verifier",
            "use opentelemetry::trace::Span;",
            "x.rs uses opentelemetry::trace::Span, and verifier never uses opentelemetry",
        ),
        ("core", "use std::{env, fmt};", "x.rs uses std::env, and core never uses std::env"),
        ("core", "fn f() { Timestamp::now(); }", "x.rs uses Timestamp::now, and core never uses Timestamp::now"),
        (
            "http",
            "use crate::cli::Flags;",
            "x.rs uses crate::cli::Flags, but http may use runtime, countersign_core of this project",
        ),
    ];
    for (name, source, why) in cases {
        assert_eq!(objections(module(name), "x.rs", source, 2), [why]);
    }
    let runtime = objections(module("runtime"), "x.rs", "use opentelemetry::trace::Span;", 2);
    assert_eq!(runtime, Vec::<String>::new());
    let fine = "use crate::issuer::signer; use crate::http::Answer; use super::token; use countersign_core::names; use std::fmt;";
    assert_eq!(objections(module("issuer"), "x.rs", fine, 2), Vec::<String>::new());
}
