//! What the kernel says of a process: processor time and memory.

use std::path::Path;
use std::time::Duration;

/// The processor time that all threads of a process have used.
///
/// By the threads' own run time in nanoseconds; that of threads which ended is not in it.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let nanoseconds = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("schedstat")).ok())
        .filter_map(|text| text.split_whitespace().next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanoseconds)
}

/// A line of the status of a process that counts kilobytes, as mebibytes.
fn mebibytes(pid: u32, name: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|rest| {
        rest.trim_start_matches(':')
            .trim()
            .strip_suffix(" kB")?
            .parse::<f64>()
            .ok()
    });
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// The memory in use.
pub(crate) fn resident(pid: u32) -> f64 {
    mebibytes(pid, "VmRSS")
}

/// The most memory in use since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> f64 {
    mebibytes(pid, "VmHWM")
}

/// Begins to look for the most memory in use anew.
pub(crate) fn forget_peak(pid: u32) {
    // 5 resets the high-water mark: proc(5).
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is ours");
}

/// The size of a file in megabytes.
pub(crate) fn megabytes(file: &Path) -> f64 {
    std::fs::metadata(file).map_or(f64::NAN, |found| found.len() as f64 / 1e6)
}
