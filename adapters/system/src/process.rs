//! This process as the kernel sees it.

use domain::stats::ProcessStats;

/// The figures of now; zero what the kernel does not tell, all of them where it is not Linux. Reads a few small files of
/// the kernel's, which takes some tens of microseconds and never waits for a disk.
pub fn process_stats() -> ProcessStats {
    read()
}

#[cfg(target_os = "linux")]
fn read() -> ProcessStats {
    use procfs::process::{LimitValue, Process};
    use procfs::{CurrentSI, WithCurrentSystemInfo};

    let Ok(process) = Process::myself() else {
        return ProcessStats::default();
    };
    let mut stats = ProcessStats {
        open_files: process.fd_count().map_or(0, |count| count as u64),
        ..ProcessStats::default()
    };
    if let Ok(limits) = process.limits() {
        stats.max_files = match limits.max_open_files.soft_limit {
            LimitValue::Value(most) => most,
            LimitValue::Unlimited => u64::MAX,
        };
    }
    if let Ok(stat) = process.stat() {
        let ticks = procfs::ticks_per_second();
        stats.resident_bytes = stat.rss_bytes().get();
        stats.virtual_bytes = stat.vsize;
        stats.cpu_micros = (stat.utime + stat.stime).saturating_mul(1_000_000) / ticks;
        stats.threads = u64::try_from(stat.num_threads).unwrap_or(0);
        // The kernel counts from its own start, in ticks.
        if let Ok(kernel) = procfs::KernelStats::current() {
            stats.started_at_ms = kernel.btime * 1_000 + stat.starttime.saturating_mul(1_000) / ticks;
        }
    }
    stats
}

#[cfg(not(target_os = "linux"))]
fn read() -> ProcessStats {
    ProcessStats::default()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_memory_threads_and_files() {
        let stats = process_stats();
        assert!(
            stats.resident_bytes > 100_000 && stats.virtual_bytes > stats.resident_bytes,
            "{stats:?}"
        );
        assert!(stats.threads >= 1, "{stats:?}");
        assert!(
            stats.open_files >= 3 && stats.max_files >= stats.open_files,
            "{stats:?}"
        );
        assert!(stats.started_at_ms > 1_700_000_000_000, "{stats:?}");
    }

    #[test]
    fn open_files_are_counted() {
        let before = process_stats().open_files;
        let held: Vec<_> = (0..64)
            .map(|_| std::fs::File::open("/proc/self/stat").unwrap())
            .collect();
        assert!(process_stats().open_files >= before + 32);
        drop(held);
    }
}
