//! Linux's figures about a process.

use std::collections::BTreeMap;
use std::fs;

/// The nanoseconds that each thread of these processes has run, by thread id. The kernel counts
/// them exactly; the better known `utime` and `stime` have a resolution of a hundredth of a second.
pub(crate) fn thread_times(processes: &[u32]) -> BTreeMap<u32, u64> {
    let mut times = BTreeMap::new();
    for process in processes {
        let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let id = thread.file_name().to_string_lossy().parse().unwrap_or_default();
            let stat = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
            let ran = stat.split(' ').next().and_then(|ran| ran.parse().ok()).unwrap_or_default();
            times.insert(id, ran);
        }
    }
    times
}

/// The CPU nanoseconds between two readings. A thread that ended in between is missed; no function
/// measured here ends threads while it works.
pub(crate) fn ran_between(before: &BTreeMap<u32, u64>, after: &BTreeMap<u32, u64>) -> u64 {
    after.iter().map(|(id, ran)| ran - before.get(id).copied().unwrap_or_default()).sum()
}

/// A process's peak memory, in bytes.
pub(crate) fn peak_memory_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.trim().strip_suffix("kB"));
    kilobytes.and_then(|it| it.trim().parse::<u64>().ok()).unwrap_or_default() * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_uses_time_and_memory() {
        let this = [std::process::id()];
        let before = thread_times(&this);
        let mut work = vec![1_u64; 4_000_000];
        for round in 1..20 {
            for it in &mut work {
                *it = it.wrapping_mul(round);
            }
        }
        assert_eq!(work.len(), 4_000_000);
        if cfg!(target_os = "linux") {
            assert!(ran_between(&before, &thread_times(&this)) > 1_000_000);
            assert!(peak_memory_bytes(this[0]) > 32_000_000);
        }
    }

    #[test]
    fn a_new_thread_is_measured_from_its_start() {
        let (before, after) = ([(1, 10)].into(), [(1, 15), (2, 7)].into());
        assert_eq!(ran_between(&before, &after), 12);
    }
}
