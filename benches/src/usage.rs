//! What a process uses: CPU time and memory, as the kernel counts them.
//!
//! Flows in: a process id. Flows out: CPU time of all its threads in nanoseconds, resident memory in bytes.

use std::fs;
use std::time::Duration;

/// CPU time of a process, threads that ended included.
///
/// `/proc/<pid>/stat` counts ended threads too but in ticks of 10 ms; `schedstat` of each thread counts nanoseconds. Servers here keep
/// their threads while they are measured, so the finer one is used.
pub fn cpu_time(process: u32) -> Duration {
    let mut nanos = 0;
    for task in fs::read_dir(format!("/proc/{process}/task")).expect("the process lives").flatten() {
        // A thread may end while we look.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        nanos += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
    }
    Duration::from_nanos(nanos)
}

/// CPU time of the thread that asks.
pub fn own_cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel says so");
    Duration::from_nanos(text.split(' ').next().and_then(|first| first.parse().ok()).expect("a number"))
}

/// CPU time a process spent since it had spent so much.
pub fn cpu_since(process: u32, before: Duration) -> Duration {
    cpu_time(process).saturating_sub(before)
}

/// Resident memory in MiB.
pub fn resident(process: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says so");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("a number") / 1024.0
}

/// The middle of some numbers; the mean of both middles when they are even in number.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// The value below which so many per cent lie.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1).expect("some values");
    let at = percent / 100.0 * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - at.floor())
}
