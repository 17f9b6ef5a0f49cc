//! The tests of django-tenants, as they are in its source package, on a cluster where every new schema is distributed.
//! Each has to end as it does on a plain server.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use helios_tests::{Cluster, PlainServer};
use testkit::cluster::DATABASE;
use testkit::server::Server;

/// Tests that do not end yet as on a plain server, with the reason. One that does must be taken off this list.
const KNOWN: &[(&str, &str)] = &[];

/// How each test ended: `ok`, `FAIL`, `ERROR`, `skipped …`.
type Results = BTreeMap<String, String>;

fn results(server: &Server, side: &str, python: &Path, source: &Path) -> (Results, String) {
    let mut command = Command::new(python);
    command.args(["-m", "django", "test", "--noinput", "--keepdb", "--verbosity", "2"]);
    command.args(["--settings", "django_tenants_settings", "django_tenants"]);
    let path =
        [source, &source.join("dts_test_project"), &crate::programs()].map(Path::to_path_buf);
    command.env("PYTHONPATH", std::env::join_paths(path).unwrap());
    command.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(source);
    command
        .env("DATABASE_HOST", testkit::server::HOST)
        .env("DATABASE_PORT", server.port.to_string());
    command.env("DATABASE_DB", DATABASE).env("DATABASE_PASSWORD", "");
    let text = crate::output(&mut command, side).text();
    (parsed(&text), text)
}

/// From lines like `test_name (module.Class.test_name) ... ok`; a test's output, or its description, may come in
/// between.
fn parsed(text: &str) -> Results {
    let mut results = Results::new();
    let mut current = None;
    for line in text.lines() {
        if let Some((_, name)) = line.split_once(" (").filter(|_| line.starts_with("test")) {
            current = name.split_once(')').map(|(name, _)| name.to_owned());
        }
        let end = line.rsplit_once("... ").map_or(line, |(_, end)| end);
        let is_end = ["ok", "FAIL", "ERROR"].contains(&end) || end.starts_with("skipped ");
        if let Some(name) = current.take_if(|_| is_end) {
            results.insert(name, end.to_owned());
        }
    }
    results
}

/// What was printed about a test that failed.
fn report<'a>(text: &'a str, name: &str) -> &'a str {
    let (heading, line) = (format!("({name})"), "=".repeat(70));
    let mut reports = text.split(line.as_str());
    reports
        .find(|report| report.contains(&heading) && report.contains("Traceback"))
        .unwrap_or_default()
}

#[test]
fn django_tenants_passes_its_own_tests() {
    let Some(python) = helios_tests::python() else { return };
    let Some(source) = helios_tests::django_tenants() else { return };
    let plain = PlainServer::start();
    let (expected, text) = results(&plain.server, "plain", &python, &source);
    let passed = expected.values().filter(|end| *end == "ok").count();
    assert!(passed >= 140, "{passed} tests passed on a plain server\n{text}");
    let cluster = Cluster::with_settings(3, &["helios.distribute_new_schemas = on"]);
    let (found, text) = results(cluster.coordinator(), "helios", &python, &source);
    let mut wrong = Vec::new();
    for (name, end) in &expected {
        let here = found.get(name).map_or("not run", String::as_str);
        let known = KNOWN.iter().find(|(known, _)| known == name);
        if (here == end) != known.is_none() {
            wrong.push(format!(
                "{name}: {end} on a plain server, {here} on Helios\n{}",
                report(&text, name)
            ));
        }
    }
    for (name, reason) in KNOWN {
        println!("known: {name}: {reason}");
    }
    println!("{passed} tests, {} differ", wrong.len());
    assert!(
        wrong.is_empty(),
        "{} of {} tests differ\n{}",
        wrong.len(),
        expected.len(),
        wrong.join("\n")
    );
}
