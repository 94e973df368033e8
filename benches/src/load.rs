//! Load by generators that people know: wrk for HTTP/1.1, h2load for gRPC.
//!
//! Flows in: where to, what, for how long, and the processes to watch meanwhile. Flows out: requests a second, latencies, and the CPU
//! time each process spent per request. A run in which anything but a good answer came back is no measurement: it panics.

use crate::support::root;
use crate::usage::{cpu_since, cpu_time, median};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What one run showed.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub requests: f64,
    /// Requests a second.
    pub rate: f64,
    /// Microseconds.
    pub p50: f64,
    pub p99: f64,
    /// CPU microseconds a request, by watched process.
    pub cpu: Vec<f64>,
}

/// Several runs of one thing.
#[derive(Clone, Debug, Default)]
pub struct Runs(pub Vec<Run>);

impl Runs {
    pub fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    pub fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(&self.0.iter().map(of).collect::<Vec<_>>())
    }

    /// The median of the ratios of runs made next to each other.
    pub fn ratio(&self, floor: &Self, of: impl Fn(&Run) -> f64) -> f64 {
        median(&self.0.iter().zip(&floor.0).map(|(ours, floor)| of(ours) / of(floor)).collect::<Vec<_>>())
    }
}

/// Runs `work`, which says how many requests it made, and reports what the processes spent for each.
fn watched<T>(processes: &[u32], work: impl FnOnce() -> (f64, T)) -> (Vec<f64>, T) {
    let before: Vec<_> = processes.iter().map(|process| cpu_time(*process)).collect();
    let (requests, outcome) = work();
    let spent = |(process, before): (&u32, Duration)| cpu_since(*process, before).as_secs_f64() * 1e6 / requests;
    (processes.iter().zip(before).map(spent).collect(), outcome)
}

/// Token requests with this body.
pub fn tokens(to: SocketAddr, form: &str, connections: u32, seconds: u64, watch: &[u32]) -> Run {
    let url = format!("http://{to}/oauth2/token");
    wrk(&url, "token.lua", &[("FORM", form)], (connections, seconds), watch)
}

/// `GET /orders/42` with the tokens of a file in turn.
pub fn bearers(to: SocketAddr, tokens: &Path, skip: usize, connections: u32, seconds: u64, watch: &[u32]) -> Run {
    let url = format!("http://{to}/orders/42");
    let tokens = tokens.to_str().expect("the path is text");
    wrk(&url, "bearer.lua", &[("TOKENS", tokens), ("SKIP", &skip.to_string())], (connections, seconds), watch)
}

fn wrk(url: &str, script: &str, env: &[(&str, &str)], (connections, seconds): (u32, u64), watch: &[u32]) -> Run {
    let lua = root().join("benches/lua");
    let mut command = Command::new("wrk");
    command
        .args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency", "-s"])
        .args([lua.join(script).as_os_str(), url.as_ref()])
        .env("REPORT", lua.join("report.lua"))
        .envs(env.iter().copied());
    let (cpu, seen) = watched(watch, || {
        let output = command.output().expect("wrk is installed (make bench says how)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().rev().find(|line| line.starts_with('{'));
        let seen: Value = line
            .and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_else(|| panic!("wrk said no JSON:\n{text}\n{}", String::from_utf8_lossy(&output.stderr)));
        (number(&seen, "requests"), seen)
    });
    assert_eq!((number(&seen, "refused"), number(&seen, "broken")), (0.0, 0.0), "{url} {script}: {seen}");
    let requests = number(&seen, "requests");
    Run {
        requests,
        rate: requests / number(&seen, "micros") * 1e6,
        p50: number(&seen, "p50"),
        p99: number(&seen, "p99"),
        cpu,
    }
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Calls of `Authorization/Check` with one prepared message, length prefix included, from a file.
pub fn checks(to: SocketAddr, message: &Path, (connections, streams): (u32, u32), seconds: u64, watch: &[u32]) -> Run {
    let mut command = Command::new("h2load");
    command
        .args([
            format!("-c{connections}"),
            format!("-m{streams}"),
            format!("-D{seconds}"),
            "-t1".to_owned(),
            "-d".to_owned(),
        ])
        .arg(message)
        .args(["-H", "content-type: application/grpc", "-H", "te: trailers"])
        .arg(format!("http://{to}/envoy.service.auth.v3.Authorization/Check"));
    let (cpu, text) = watched(watch, || {
        let output = command.output().expect("h2load is installed (make bench says how)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (after(&text, "status codes: "), text)
    });
    let (good, failed) = (after(&text, "status codes: "), between(&text, "succeeded, ", " failed"));
    assert!(good > 0.0 && failed == 0.0, "{text}");
    // h2load tells no percentiles.
    Run { requests: good, rate: good / seconds as f64, p50: f64::NAN, p99: f64::NAN, cpu }
}

/// The number that follows `mark`.
fn after(text: &str, mark: &str) -> f64 {
    let rest = text.split_once(mark).unwrap_or_else(|| panic!("{mark} in {text}")).1;
    rest.split(|c: char| !c.is_ascii_digit() && c != '.').next().and_then(|n| n.parse().ok()).expect("a number")
}

fn between(text: &str, mark: &str, end: &str) -> f64 {
    let rest = text.split_once(mark).unwrap_or_else(|| panic!("{mark} in {text}")).1;
    rest.split_once(end).and_then(|(n, _)| n.trim().parse().ok()).expect("a number")
}
