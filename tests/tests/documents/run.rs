//! Runs the steps of one page on a private cluster.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use helios_tests::{Cluster, PlainServer};
use testkit::cluster::DATABASE;
use testkit::server::{HOST, ROLE, Server, Shutdown};

use crate::output;
use crate::page::{self, Block, Step};
use crate::session::Session;

/// Results of a page's examples.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Number of blocks that ran.
    pub examples: usize,
    /// Differences and errors, with their places.
    pub problems: Vec<String>,
}

/// The port of the coordinator in pages; the nodes have the following ones.
const SHOWN_PORT: u16 = 9800;

/// A change to a page: these lines are replaced by others.
type Edit = (std::ops::Range<usize>, Vec<String>);

/// Runs a page's examples. If `UPDATE_EXPECT` is set, rewrites the page where the output differs.
pub fn page(path: &Path) -> Outcome {
    let text = std::fs::read_to_string(path).unwrap();
    let shown = path.strip_prefix(crate::root()).unwrap_or(path).display().to_string();
    let steps = match page::steps(&text) {
        Ok(steps) => steps,
        Err(error) => return Outcome { examples: 0, problems: vec![format!("{shown}, {error}")] },
    };
    if !steps.iter().any(|step| matches!(step, Step::Run { .. })) {
        return Outcome::default();
    }
    let mut run = Run::start(shown);
    for step in steps {
        run.step(step);
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() && !run.edits.is_empty() {
        std::fs::write(path, edited(&text, &run.edits)).unwrap();
        run.outcome.problems.clear();
    }
    run.outcome
}

/// A page that is being run.
struct Run {
    page: String,
    outcome: Outcome,
    edits: Vec<Edit>,
    /// The reason why its shell commands cannot run here.
    no_commands: bool,
    python: Option<PathBuf>,
    sessions: HashMap<String, Session>,
    /// Servers outside of the cluster, by their names in the page.
    foreign: Vec<(String, PlainServer)>,
    cluster: Cluster,
}

impl Run {
    fn start(page: String) -> Self {
        Self {
            page,
            outcome: Outcome::default(),
            edits: Vec::new(),
            no_commands: false,
            python: None,
            sessions: HashMap::new(),
            foreign: Vec::new(),
            cluster: Cluster::start(2),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Run { block, on, shown, varies } => {
                self.outcome.examples += 1;
                let on = on.unwrap_or_else(|| "coordinator".into());
                let printed = if block.kind == "sql" {
                    self.sql(&on, &block.code)
                } else if self.no_commands {
                    return;
                } else {
                    self.commands(&block.code)
                };
                let printed = output::readable(&self.as_shown(printed));
                self.compare(&block, shown.as_ref(), &printed, &varies);
            }
            Step::Hidden(code) => {
                let printed = output::readable(&self.sql("coordinator", &code));
                if printed.contains("ERROR:") || printed.contains("FATAL:") {
                    self.problem(&format!("hidden statement: {code}"), &printed);
                }
            }
            Step::File(name, code) => {
                let path = self.directory().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, code + "\n").unwrap();
            }
            Step::Stop(node) => self.cluster.node_named(&node).stop(Shutdown::Fast).unwrap(),
            Step::Start(node) => self.cluster.node_named(&node).start().unwrap(),
            Step::Foreign(host, database) => self.start_foreign(host, &database),
            Step::Skip(reason, line) => {
                // Not eprintln: the output of passing tests is hidden.
                let mut stderr = std::io::stderr().lock();
                writeln!(stderr, "{}, line {line}: not run: {reason}", self.page).unwrap();
            }
            Step::NeedsPython => {
                self.python = helios_tests::python();
                self.no_commands = self.python.is_none();
            }
        }
    }

    fn directory(&self) -> PathBuf {
        let directory = self.cluster.dir().join("page");
        std::fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn start_foreign(&mut self, host: String, database: &str) {
        let plain = PlainServer::start();
        let create = format!("CREATE DATABASE {database}");
        plain.server.connect("postgres").unwrap().batch_execute(&create).unwrap();
        self.sessions.insert(host.clone(), Session::start(&plain.server, database));
        self.foreign.push((host, plain));
    }

    /// The page's code with the actual addresses of its servers.
    fn as_here(&self, code: &str) -> String {
        let mut code = code.to_owned();
        for (host, plain) in &self.foreign {
            let here = format!("host={HOST} port={}", plain.server.port);
            code = code.replace(&format!("host={host}"), &here);
        }
        code
    }

    /// The output with the addresses used in the page.
    fn as_shown(&self, printed: String) -> String {
        let mut printed = printed;
        for (host, plain) in &self.foreign {
            let here = format!("{HOST}:{}", plain.server.port);
            printed = printed.replace(&here, &format!("{host}:5432"));
        }
        let coordinator = std::iter::once(self.cluster.coordinator());
        for (server, port) in coordinator.chain(self.cluster.nodes()).zip(SHOWN_PORT..) {
            for host in [HOST, "localhost"] {
                let here = format!("{host}:{}", server.port);
                printed = printed.replace(&here, &format!("{host}:{port}"));
            }
        }
        printed
    }

    fn sql(&mut self, on: &str, code: &str) -> String {
        let code = self.as_here(code);
        if !self.sessions.contains_key(on) {
            let server: &Server = match on {
                "coordinator" => self.cluster.coordinator(),
                node => self.cluster.node_named(node),
            };
            let session = Session::start(server, DATABASE);
            self.sessions.insert(on.to_owned(), session);
        }
        self.sessions.get_mut(on).unwrap().run(&code)
    }

    /// Runs shell commands with PostgreSQL's programs, and Python's if the page needs it, in the path.
    fn commands(&self, code: &str) -> String {
        let server = self.cluster.coordinator();
        let mut path: Vec<PathBuf> = Vec::new();
        path.extend(self.python.as_deref().and_then(Path::parent).map(Path::to_owned));
        path.extend(server.pg.program("psql").parent().map(Path::to_owned));
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        let mut shell = Command::new("sh");
        shell.args(["-euc", &format!("exec 2>&1\n{}", self.as_here(code))]);
        shell.current_dir(self.directory()).env("PATH", std::env::join_paths(path).unwrap());
        shell.env("PGHOST", HOST).env("PGPORT", server.port.to_string());
        shell.env("PGUSER", ROLE).env("PGDATABASE", DATABASE).env("PYTHONDONTWRITEBYTECODE", "1");
        shell.env("DATABASE_URL", server.url(DATABASE)).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        let out = shell.output().unwrap();
        let mut printed = String::from_utf8_lossy(&out.stdout).into_owned();
        if !out.status.success() {
            printed.push_str(&format!("{}\n", out.status));
        }
        printed
    }

    fn compare(&mut self, block: &Block, shown: Option<&Block>, printed: &str, varies: &[String]) {
        let text = shown.map_or("", |shown| shown.code.as_str());
        if output::same(text, printed, varies) {
            return;
        }
        let place = format!("line {}:\n{}\n--- the page shows\n{text}", block.line, block.code);
        self.problem(&place, printed);
        let indent = " ".repeat(block.indent);
        let lines: Vec<String> =
            printed.lines().map(|line| format!("{indent}{line}").trim_end().to_owned()).collect();
        self.edits.push(match shown {
            Some(shown) => (shown.lines.clone(), lines),
            None => {
                let fence = |mark| vec![format!("{indent}{mark}")];
                let lines = [vec![String::new()], fence("```text"), lines, fence("```")].concat();
                (block.lines.end + 1..block.lines.end + 1, lines)
            }
        });
    }

    fn problem(&mut self, place: &str, printed: &str) {
        let problem = format!("{}, {place}\n--- what is printed\n{printed}\n", self.page);
        self.outcome.problems.push(problem);
    }
}

/// Replaces some lines of a text.
fn edited(text: &str, edits: &[Edit]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (range, new) in edits.iter().rev() {
        lines.splice(range.clone(), new.iter().cloned());
    }
    lines.join("\n") + "\n"
}

#[test]
fn edits_leave_other_lines_alone() {
    let new = |text: &str| vec![text.to_owned()];
    assert_eq!(edited("a\nb\nc\nd\n", &[(1..2, new("x")), (3..3, new("y"))]), "a\nx\nc\ny\nd\n");
}
