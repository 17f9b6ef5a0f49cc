//! Rust's own test runner: shows results while it runs, and counts them from its JSON output
//! (docs/decisions/test-results-as-json.md).

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use super::Counts;
use super::checks::EXTENSION;
use testkit::command;
use testkit::processes;

/// Tests mostly wait, so more of them run concurrently than there are processors.
const THREADS: &str = "--test-threads=4";

/// The runner's JSON output is unstable. The variable that enables it is set for the test programs only: set for the
/// compiler, it would cause a full rebuild.
const JSON: [&str; 3] = ["-Zunstable-options", "--format=json", THREADS];
const RUNNER: &str = r#"target."cfg(all())".runner = ["env", "RUSTC_BOOTSTRAP=1"]"#;

/// After this long without output, the running tests are considered hung. Builds are silent as well.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Runs the tests of one package that match a filter; all if there are no filters.
pub fn run(package: &str, environment: &[(&str, String)], filters: &[String]) -> Result<Counts> {
    // Without doctests, of which there are none: rustdoc does not support the runner setting.
    run_selected(&["--tests", "--package", package], environment, filters)
}

/// Runs the unit tests in the extension's sources. They run without a server, so they cannot
/// call server functions.
pub fn run_extension(pg_config: &Path, filters: &[String]) -> Result<Counts> {
    let selected = [&EXTENSION[..], &["--lib"]].concat();
    let bindings = ("PGRX_PG_CONFIG_PATH", pg_config.display().to_string());
    run_selected(&selected, &[bindings], filters)
}

fn run_selected(
    selected: &[&str],
    environment: &[(&str, String)],
    filters: &[String],
) -> Result<Counts> {
    let skips = tempfile::NamedTempFile::new()?;
    let mut cargo = command::cargo();
    cargo.args(["test", "--no-fail-fast", "--config", RUNNER]).args(selected);
    cargo.arg("--").args(JSON).args(filters);
    cargo
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("HELIOS_SKIPS", skips.path());
    let mut child =
        cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let lines = lines(child.stdout.take().context("no output")?);
    let tally = listen(&lines, TIMEOUT, || end_programs(&child))?;
    let success = child.wait()?.success();
    let skipped =
        std::fs::read_to_string(skips.path()).context("cannot read which tests were skipped")?;
    for line in skipped.lines() {
        println!("skipped {line}");
    }
    Ok(tally.finish(success, skipped.lines().count() as u64))
}

/// Reads the lines of an output stream as they arrive.
fn lines(output: impl Read + Send + 'static) -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(output).split(b'\n');
        lines.try_for_each(|line| sender.send(line))
    });
    receiver
}

/// Shows lines and counts the results. After `patience` without a line, kills the running programs.
fn listen(
    lines: &Receiver<std::io::Result<Vec<u8>>>,
    patience: Duration,
    end: impl Fn(),
) -> Result<Tally> {
    let mut tally = Tally::default();
    loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line?).into_owned();
                if let Some(shown) = tally.read(&line) {
                    println!("{shown}");
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let slow = tally.slow.join(", ");
                println!("no output for {patience:?}, giving up; tests still running: {slow}");
                end();
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(tally),
        }
    }
}

/// Kills the programs run by cargo, which then continues with the next one. The servers of
/// a program are stopped with it.
fn end_programs(cargo: &Child) {
    let Some(cargo) = i32::try_from(cargo.id()).ok().and_then(Pid::from_raw) else { return };
    for program in processes::children(cargo) {
        if let Err(error) = kill_process(program, Signal::ABORT) {
            println!("cannot kill process {}: {error}", program.as_raw_nonzero());
        }
    }
}

/// Sums of the results of several test programs.
#[derive(Default)]
struct Tally {
    counts: Counts,
    started: u64,
    ended: u64,
    /// Tests reported as running for a long time.
    slow: Vec<String>,
}

/// One line of the runner's output.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    event: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    passed: u64,
    #[serde(default)]
    failed: u64,
    #[serde(default)]
    ignored: u64,
    #[serde(default)]
    exec_time: f64,
}

impl Tally {
    /// Reads one line; returns the text to show for it, if any.
    fn read(&mut self, line: &str) -> Option<String> {
        let Ok(event) = serde_json::from_str::<Event>(line) else {
            return (!line.is_empty()).then(|| line.to_owned());
        };
        match (event.kind.as_str(), event.event.as_str()) {
            ("suite", "started") => {
                self.started += 1;
                self.slow.clear();
                None
            }
            ("suite", _) => self.add(&event),
            ("test", "started") => None,
            ("test", "timeout") => {
                let shown = format!("test {} has been running for a long time", event.name);
                self.slow.push(event.name);
                Some(shown)
            }
            ("test", outcome) => {
                self.slow.retain(|slow| *slow != event.name);
                let output = [event.message, event.stdout].join("");
                let output =
                    if outcome == "failed" { format!("\n{output}") } else { String::new() };
                Some(format!("test {} ... {outcome}{output}", event.name).trim_end().to_owned())
            }
            _ => None,
        }
    }

    /// Adds the summary of a test program.
    fn add(&mut self, summary: &Event) -> Option<String> {
        self.ended += 1;
        let (passed, failed, skipped) = (summary.passed, summary.failed, summary.ignored);
        let counts = Counts { passed, failed, skipped };
        self.counts.add(counts);
        let seconds = summary.exec_time;
        (counts != Counts::default())
            .then(|| format!("test result: {}. {counts} in {seconds:.2} s", summary.event))
    }

    /// Returns the totals. A program without a summary has crashed; a failure that no
    /// program reported is a build failure. Both count as one failed test. Tests that skipped
    /// themselves do not count as passed.
    fn finish(mut self, success: bool, skipped: u64) -> Counts {
        self.counts.failed += self.started.saturating_sub(self.ended);
        if !success && self.counts.failed == 0 {
            self.counts.failed = 1;
        }
        self.counts.passed = self.counts.passed.saturating_sub(skipped);
        self.counts.skipped += skipped;
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str, success: bool, skipped: u64) -> Counts {
        let mut tally = Tally::default();
        for line in text.lines() {
            tally.read(line);
        }
        tally.finish(success, skipped)
    }

    const STARTED: &str = r#"{ "type": "suite", "event": "started", "test_count": 3 }"#;
    const GOOD: &str = r#"{ "type": "suite", "event": "started", "test_count": 3 }
        { "type": "test", "event": "started", "name": "a" }
        { "type": "test", "name": "a", "event": "ok", "exec_time": 0.1 }
        { "type": "test", "name": "b", "event": "ignored", "message": "no network" }
        { "type": "suite", "event": "ok", "passed": 2, "failed": 0, "ignored": 1, "measured": 0, "filtered_out": 0, "exec_time": 0.1 }"#;

    #[test]
    fn summaries_are_added_up() {
        let text = format!("{GOOD}\n{GOOD}");
        assert_eq!(tally(&text, true, 0), Counts { passed: 4, failed: 0, skipped: 2 });
    }

    #[test]
    fn failures_are_counted() {
        let ended =
            r#"{ "type": "suite", "event": "failed", "passed": 1, "failed": 1, "ignored": 0 }"#;
        assert_eq!(
            tally(&format!("{STARTED}\n{ended}"), false, 0),
            Counts { passed: 1, failed: 1, skipped: 0 }
        );
    }

    #[test]
    fn crashed_program_counts_as_failed() {
        let text = format!(
            "{GOOD}\n{STARTED}\n{{ \"type\": \"test\", \"name\": \"c\", \"event\": \"ok\" }}"
        );
        assert_eq!(tally(&text, false, 0), Counts { passed: 2, failed: 1, skipped: 1 });
    }

    #[test]
    fn program_that_hangs_is_ended_and_counts_as_failed() {
        let event =
            |name, event| format!(r#"{{ "type": "test", "event": "{event}", "name": "{name}" }}"#);
        let lines =
            [STARTED.to_owned(), event("a", "timeout"), event("b", "timeout"), event("a", "ok")];
        let (sender, receiver) = mpsc::channel();
        for line in lines {
            sender.send(Ok(line.into())).unwrap();
        }
        let sender = std::cell::RefCell::new(Some(sender));
        let end = || drop(sender.take());
        let tally = listen(&receiver, Duration::from_millis(50), end).unwrap();
        assert_eq!(tally.slow, ["b"]);
        assert_eq!(tally.finish(false, 0), Counts { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn failures_are_shown_with_what_they_printed() {
        let mut tally = Tally::default();
        let failed =
            r#"{ "type": "test", "name": "a", "event": "failed", "stdout": "panicked at\nb" }"#;
        assert_eq!(tally.read(failed).unwrap(), "test a ... failed\npanicked at\nb");
        assert_eq!(tally.read("not of the runner").unwrap(), "not of the runner");
        assert_eq!(tally.read(STARTED), None);
    }

    #[test]
    fn build_that_fails_counts_as_failed() {
        assert_eq!(tally("", false, 0), Counts { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn tests_that_skip_themselves_did_not_pass() {
        assert_eq!(tally(GOOD, true, 1), Counts { passed: 1, failed: 0, skipped: 2 });
    }
}
