//! The seeds of the fuzz targets, replayed: what `make fuzz` begins with, and what it once found.
//!
//! The targets are those of `fuzz/`, the same files; here without libFuzzer, and with a stable compiler.

#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use crate::support::root;
use std::fs;
use std::thread;

/// What the parser of conditions takes without optimisation; with it, a fortieth of that.
const STACK: usize = 32 << 20;

type Target = (&'static str, fn(&[u8]));

const TARGETS: [Target; 11] = [
    ("basic", targets::basic::run),
    ("check_request", targets::check_request::run),
    ("client_secret", targets::client_secret::run),
    ("condition", targets::condition::run),
    ("documents", targets::documents::run),
    ("form", targets::form::run),
    ("injection", targets::injection::run),
    ("manifests", targets::manifests::run),
    ("request", targets::request::run),
    ("review", targets::review::run),
    ("token", targets::token::run),
];

#[test]
fn fuzz_seeds_hold_what_their_targets_ask() {
    for (name, run) in TARGETS {
        let folder = root().join("fuzz/seeds").join(name);
        let seeds: Vec<_> =
            fs::read_dir(&folder).expect("a folder of seeds").map(|seed| seed.unwrap().path()).collect();
        assert!(seeds.len() >= 3, "{name} has {} seeds", seeds.len());
        for seed in seeds {
            let data = fs::read(&seed).expect("read a seed");
            let replay = thread::Builder::new().stack_size(STACK).spawn(move || run(&data)).expect("a thread");
            assert!(replay.join().is_ok(), "{}", seed.display());
        }
    }
}

#[test]
fn fuzz_targets_are_all_built_and_all_replayed() {
    let names: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let folder = |name: &str, suffix: &str| {
        let files = fs::read_dir(root().join("fuzz").join(name)).expect("a folder of the fuzz crate");
        let name = |file: std::io::Result<fs::DirEntry>| file.unwrap().file_name().into_string().unwrap();
        let mut names: Vec<_> = files.map(|file| name(file).trim_end_matches(suffix).to_owned()).collect();
        names.retain(|name| !["mod", "webhook", "world"].contains(&name.as_str()));
        names.sort();
        names
    };
    assert_eq!(folder("targets", ".rs"), names);
    assert_eq!(folder("fuzz_targets", ".rs"), names);
    assert_eq!(folder("seeds", ""), names);
}
