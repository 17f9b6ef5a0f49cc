//! Process information from the kernel (`/proc`).

use std::fs;

use rustix::process::{Pid, test_kill_process};

fn file(pid: Pid, name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{}/{name}", pid.as_raw_nonzero())).ok()
}

/// The fields of `/proc/PID/stat` after the process name, which may contain any characters.
fn stat(pid: Pid) -> Option<Vec<String>> {
    let stat = file(pid, "stat")?;
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

/// Whether the process exists and is not a zombie.
pub fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok() && stat(pid).is_none_or(|fields| fields[0] != "Z")
}

/// Whether the process is a PostgreSQL server process.
pub fn is_postgres(pid: Pid) -> bool {
    is_alive(pid) && file(pid, "comm").is_some_and(|name| name.trim() == "postgres")
}

/// Direct children.
pub fn children(pid: Pid) -> Vec<Pid> {
    let raw = pid.as_raw_nonzero();
    let list = file(pid, &format!("task/{raw}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| Pid::from_raw(word.parse().ok()?)).collect()
}

/// CPU time in milliseconds used by a process, without its children.
fn own_cpu_ms(pid: Pid) -> f64 {
    let ticks = |fields: Vec<String>| -> Option<f64> {
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    };
    stat(pid).and_then(ticks).unwrap_or(0.0) * MS_PER_TICK
}

/// The kernel reports times to user space in hundredths of a second, whatever its internal tick rate.
const MS_PER_TICK: f64 = 10.0;

/// CPU time in milliseconds used by a server so far: the postmaster, all running children,
/// and all that have exited (the postmaster waits for every child, so the kernel adds their time
/// to the postmaster's child times).
pub fn tree_cpu_ms(postmaster: Pid) -> f64 {
    let ended = |fields: Vec<String>| -> Option<f64> {
        Some(fields.get(13)?.parse::<f64>().ok()? + fields.get(14)?.parse::<f64>().ok()?)
    };
    let ended = stat(postmaster).and_then(ended).unwrap_or(0.0) * MS_PER_TICK;
    let running: f64 = children(postmaster).into_iter().map(own_cpu_ms).sum();
    own_cpu_ms(postmaster) + ended + running
}

/// Value in kB of a line in `/proc/PID/status`, such as `RssAnon` or `VmHWM`.
pub fn status_kb(pid: Pid, name: &str) -> Option<u64> {
    let status = file(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Number of open file descriptors of a process, if permitted.
pub fn descriptors(pid: Pid) -> Option<usize> {
    Some(fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).ok()?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_children_count_as_the_parents_account() {
        let me = rustix::process::getpid();
        let before = tree_cpu_ms(me);
        let work = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
        let status = std::process::Command::new("sh").args(["-c", work]).status().unwrap();
        assert!(status.success());
        let used = tree_cpu_ms(me) - before;
        assert!(used >= 50.0, "CPU time of a busy child was {used} ms");
    }

    #[test]
    fn status_lines_are_read_by_name() {
        let me = rustix::process::getpid();
        assert!(status_kb(me, "VmHWM").unwrap() > 100);
        assert_eq!(status_kb(me, "NoSuchLine"), None);
        assert!(descriptors(me).unwrap() >= 3);
    }
}
