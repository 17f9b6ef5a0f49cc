//! Runs the SQL suite in `pg_regress/` with the server's own `pg_regress` against a cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Counts;
use testkit::cluster::{DATABASE, LocalCluster};
use testkit::command;
use testkit::paths;
use testkit::postgres::Postgres;
use testkit::scratch::Scratch;
use testkit::server::{HOST, ROLE};

/// Number of nodes of the cluster.
const NODES: u16 = 2;

/// Runs the scheduled tests whose names match a filter; all if there are no filters.
pub fn run(pg: &Postgres, filters: &[String]) -> Result<Counts> {
    let tests = chosen("schedule", filters)?;
    if tests.is_empty() {
        return Ok(Counts::default());
    }
    let scratch = Scratch::new(NODES + 1)?;
    let cluster = scratch.cluster(pg, NODES, &[])?;
    run_program(&pg.regress_dir.join("pg_regress"), pg, &cluster, &tests)
}

/// Returns the matching tests of a schedule in `pg_regress/`, in order. A schedule without tests is an error.
pub(super) fn chosen(schedule: &str, filters: &[String]) -> Result<Vec<String>> {
    let path = paths::workspace().join("pg_regress").join(schedule);
    let tests = listed(&path, filters)?;
    if tests.is_empty() && filters.is_empty() {
        bail!("{} lists no tests", path.display());
    }
    Ok(tests)
}

fn listed(schedule: &Path, filters: &[String]) -> Result<Vec<String>> {
    let text = fs::read_to_string(schedule).with_context(|| format!("{}", schedule.display()))?;
    let names = text.lines().filter_map(|line| line.strip_prefix("test:"));
    let names = names.flat_map(str::split_whitespace);
    let wanted =
        |name: &&str| filters.is_empty() || filters.iter().any(|part| name.contains(part.as_str()));
    Ok(names.filter(wanted).map(str::to_owned).collect())
}

/// Runs `pg_regress` or `pg_isolation_regress` on a cluster.
pub(super) fn run_program(
    program: &Path,
    pg: &Postgres,
    cluster: &LocalCluster,
    tests: &[String],
) -> Result<Counts> {
    let input = paths::workspace().join("pg_regress");
    let output: PathBuf = paths::target().join("pg_regress");
    fs::create_dir_all(&output)?;
    let mut regress = Command::new(program);
    regress.env_remove("PGDATABASE").env("LC_ALL", "C.UTF-8").current_dir(&input);
    regress.arg("--inputdir").arg(&input).arg("--outputdir").arg(&output);
    if pg.major >= 16 {
        regress.arg("--expecteddir").arg(&input);
    }
    regress.arg("--bindir").arg(&pg.bindir).args(["--use-existing", "--host", HOST]);
    regress.args(["--port", &cluster.shape.port.to_string(), "--user", ROLE]);
    regress.args(["--dbname", DATABASE]).args(tests);
    let out = command::capture(&mut regress)?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    print!("{text}{}", String::from_utf8_lossy(&out.stderr));
    let counts = count(&text);
    if counts.failed > 0 {
        let diffs = output.join("regression.diffs");
        let shown = fs::read(&diffs).with_context(|| format!("cannot read {}", diffs.display()))?;
        println!("{}", String::from_utf8_lossy(&shown));
    }
    if counts.passed + counts.failed != tests.len() as u64 {
        bail!("only {} of {} tests produced a result ({})", counts.passed, tests.len(), out.status);
    }
    if !out.status.success() && counts.failed == 0 {
        bail!("{} failed with {}", program.display(), out.status);
    }
    Ok(counts)
}

/// Returns the name of the failed test if a line reports a failure.
pub(super) fn failed_test(line: &str) -> Option<&str> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("not ok ") {
        // `not ok 2     - name   10 ms`; `+` instead of `-` marks a test of a parallel group.
        return rest.split_whitespace().nth(2);
    }
    let (name, result) = line.split_once(" ... ")?;
    result.starts_with("FAILED").then(|| name.trim_start_matches("test ").trim())
}

/// Counts results: `test NAME ... ok` up to PostgreSQL 15, TAP (`ok 1 - NAME`) since PostgreSQL 16.
pub(super) fn count(text: &str) -> Counts {
    let mut counts = Counts::default();
    for line in text.lines() {
        let line = line.trim();
        let old = line.split_once(" ... ").map(|(_, result)| result);
        if failed_test(line).is_some() {
            counts.failed += 1;
        } else if line.starts_with("ok ") || old.is_some_and(|result| result.starts_with("ok")) {
            counts.passed += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_results_are_counted() {
        let old = "============== running regression test queries        ==============\n\
            test schema                       ... ok           12 ms\n\
            parallel group (2 tests):  a b\n     a      ... ok    3 ms\n\
            test ddl                          ... FAILED       40 ms\n";
        assert_eq!(count(old), Counts { passed: 2, failed: 1, skipped: 0 });
        let tap = "# using postmaster on 127.0.0.1, port 1\nok 1         - schema   12 ms\n\
            not ok 2     - ddl       40 ms\n1..2\n# 1 of 2 tests failed.\n";
        assert_eq!(count(tap), Counts { passed: 1, failed: 1, skipped: 0 });
    }

    #[test]
    fn failed_tests_are_named() {
        assert_eq!(failed_test("     copy            ... FAILED     10 ms"), Some("copy"));
        assert_eq!(failed_test("test rules           ... FAILED     10 ms"), Some("rules"));
        assert_eq!(failed_test("test rules           ... ok         10 ms"), None);
        assert_eq!(failed_test("not ok 2     - copy            10 ms"), Some("copy"));
        assert_eq!(failed_test("not ok 21    + copy2           10 ms"), Some("copy2"));
        assert_eq!(failed_test("ok 21        + copy2           10 ms"), None);
    }

    #[test]
    fn schedule_is_read_in_order_and_filtered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("schedule");
        fs::write(&path, "# comment\ntest: one two\n\ntest: three\n").unwrap();
        let all = listed(&path, &[]).unwrap();
        let some = listed(&path, &["tw".to_owned(), "thr".to_owned()]).unwrap();
        assert_eq!(all, ["one", "two", "three"]);
        assert_eq!(some, ["two", "three"]);
    }
}
