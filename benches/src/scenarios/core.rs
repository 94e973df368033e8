//! The core alone: what `core`, the divan binary beside this one, prints.

use crate::figures::Report;
use std::process::Command;

pub fn measure(report: &mut Report) {
    let program = std::env::current_exe().expect("this program has a path").with_file_name("core");
    let output =
        Command::new(program).args(["--bench", "--max-time", "1"]).output().expect("run the core's benchmarks");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    report.text("core", String::from_utf8_lossy(&output.stdout).trim_end());
}
