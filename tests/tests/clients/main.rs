//! Unmodified client programs: each runs against a plain server and against a distributed schema,
//! and must print the same output, up to its end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod django_tenants;
mod pgbench;

use std::io::{Read, Seek};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use helios_tests::{Cluster, PlainServer};
use testkit::cluster::DATABASE;
use testkit::server::Server;

/// Directory of the client programs.
fn programs() -> std::path::PathBuf {
    std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Maximum run time of a program, which only one that hangs reaches: django-tenants' tests take minutes on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Creates an empty schema with this name on each of the two servers. Apart from `pg_my_temp_schema` and
/// the like, a client cannot distinguish them.
fn tenants(schema: &str) -> [(&'static Server, &'static str); 2] {
    let plain = PlainServer::shared();
    let helios = Cluster::shared();
    plain.connect().batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
    helios.connect().batch_execute(&format!("CREATE SCHEMA {schema} DISTRIBUTED")).unwrap();
    [(&plain.server, "plain"), (helios.coordinator(), "helios")]
}

/// The last line printed by every program. If a program stopped early on both sides, the outputs would otherwise
/// not differ.
const END: &str = "== the end";

/// Runs a program on both sides and compares its output; it must run to its end and exit with this
/// status.
fn same_on_both(schema: &str, status: i32, program: impl Fn(&Server) -> Command) {
    let [plain, helios] = tenants(schema).map(|(server, side)| {
        let mut command = program(server);
        command.env("DATABASE_URL", server.url(DATABASE)).env("TENANT", schema);
        let output = output(&mut command, side);
        let text = output.text();
        assert_eq!(output.stdout.lines().last(), Some(END), "{side}: stopped early\n{text}");
        assert_eq!(output.status.code(), Some(status), "{side}: {}\n{text}", output.status);
        without_node(&text)
    });
    let report = differences(&plain, &helios);
    assert!(report.is_empty(), "{schema}: the program saw something else:\n{report}");
}

/// Removes the context that Helios adds to nodes' errors, the only permitted difference.
fn without_node(text: &str) -> String {
    let is_context = |line: &str| line.starts_with("CONTEXT:  node \"node-");
    text.split_inclusive('\n').filter(|line| !is_context(line)).collect()
}

/// Output and exit status of a program.
struct Output {
    stdout: String,
    stderr: String,
    status: ExitStatus,
}

impl Output {
    fn text(&self) -> String {
        format!("{}--- standard error\n{}", self.stdout, self.stderr)
    }
}

/// Runs a program to its end.
fn output(command: &mut Command, side: &str) -> Output {
    // Not pipes: processes left running by the program may hold them open.
    let files = [tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    let [out, err] = files.each_ref().map(|file| file.try_clone().unwrap());
    let mut child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().unwrap();
    let until = Instant::now() + TIMEOUT;
    let mut late = false;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > until => {
                late = true;
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let [stdout, stderr] = files.map(|mut file| {
        let mut text = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let output = Output { stdout, stderr, status };
    assert!(!late, "{side}: still running after {TIMEOUT:?}\n{}", output.text());
    output
}

/// The parts in which two texts differ, with the line before each.
fn differences(plain: &str, helios: &str) -> String {
    let (plain, helios): (Vec<&str>, Vec<&str>) =
        (plain.lines().collect(), helios.lines().collect());
    let mut report = String::new();
    let (mut i, mut j) = (0, 0);
    while i < plain.len() || j < helios.len() {
        if i < plain.len() && j < helios.len() && plain[i] == helios[j] {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        if i > 0 {
            report.push_str(&format!("        {}\n", shortened(plain[i - 1])));
        }
        let (next_i, next_j) = meet(&plain[i..], &helios[j..]);
        for line in &plain[i..i + next_i] {
            report.push_str(&format!("plain:  {}\n", shortened(line)));
        }
        for line in &helios[j..j + next_j] {
            report.push_str(&format!("helios: {}\n", shortened(line)));
        }
        (i, j) = (i + next_i, j + next_j);
    }
    report
}

/// How many lines to skip on each side until both have the same line again.
fn meet(a: &[&str], b: &[&str]) -> (usize, usize) {
    for distance in 1..a.len() + b.len() {
        for i in 0..=distance.min(a.len()) {
            let j = distance - i;
            if i < a.len() && j < b.len() && a[i] == b[j] {
                return (i, j);
            }
        }
    }
    (a.len(), b.len())
}

fn shortened(line: &str) -> String {
    line.chars().take(600).collect()
}

fn python(schema: &str, file: &str, environment: &[(&str, &str)]) {
    let Some(interpreter) = helios_tests::python() else { return };
    same_on_both(schema, 0, |_| {
        let mut command = Command::new(&interpreter);
        command.arg(programs().join(file)).env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(environment.iter().copied());
        command
    });
}

#[test]
fn psycopg() {
    python("tenant_psycopg", "psycopg_client.py", &[]);
}

#[test]
fn sqlalchemy() {
    python("tenant_sqlalchemy", "sqlalchemy_client.py", &[]);
}

#[test]
fn django() {
    python("tenant_django", "django_client.py", &[]);
}

#[test]
fn django_with_server_side_binding() {
    python("tenant_django_bound", "django_client.py", &[("SERVER_SIDE_BINDING", "1")]);
}

#[test]
fn node_postgres() {
    let Some(modules) = helios_tests::node_modules() else { return };
    same_on_both("tenant_node", 0, |_| {
        let mut command = Command::new("node");
        command.arg("--no-deprecation").arg(programs().join("node_client.js"));
        command.env("NODE_PATH", &modules);
        command
    });
}

#[test]
fn psql() {
    let schema = "tenant_psql";
    let file = "psql_client.sql";
    // The script's last statement fails with ON_ERROR_STOP, which gives status 3.
    same_on_both(schema, 3, |server| {
        // A copy in the server's directory, because its user may not be able to read the checkout. psql prints
        // the file name in its messages, so the name must be the same on both sides.
        std::fs::copy(programs().join(file), server.sockets.join(file)).unwrap();
        let mut command = server.client("psql", DATABASE).unwrap();
        command.args(["--no-psqlrc", "--variable", &format!("TENANT={schema}"), "--file", file]);
        command.current_dir(&server.sockets).env("PGOPTIONS", format!("-c search_path={schema}"));
        command
    });
}

#[test]
fn differences_are_found_and_aligned() {
    assert_eq!(differences("a\nb\nc\n", "a\nb\nc\n"), "");
    assert_eq!(
        differences("a\nb\nc\n", "a\nx\ny\nc\n"),
        "        a\nplain:  b\nhelios: x\nhelios: y\n"
    );
    assert_eq!(differences("a\n", "a\nz\n"), "        a\nhelios: z\n");
}
