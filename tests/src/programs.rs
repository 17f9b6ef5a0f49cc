//! PostgreSQL's own client programs, run against a server of a test.

use std::io::Write;
use std::process::Stdio;

use xtask::server::Server;

/// What a program printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status 0?
    pub success: bool,
}

impl Output {
    /// Standard output of a program that must have succeeded.
    ///
    /// # Panics
    /// When it failed; shows all that it printed.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(self.success, "the program failed\n{}{}", self.stdout, self.stderr);
        self.stdout
    }
}

fn run(server: &Server, program: &str, database: &str, args: &[&str], input: &[u8]) -> Output {
    let mut command = server.client(program, database).unwrap();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let out = std::thread::scope(|scope| {
        // A program that ends early closes its input; its exit status tells the story.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    Output {
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        success: out.status.success(),
    }
}

/// Runs a script in `psql`, as a file on standard input: unaligned rows without headings, stopping
/// at the first error, errors with all their fields.
pub fn psql(server: &Server, database: &str, script: &str) -> Output {
    let args = [
        "--no-psqlrc",
        "--quiet",
        "--no-align",
        "--tuples-only",
        "--set=ON_ERROR_STOP=1",
        "--set=VERBOSITY=verbose",
        "--file=-",
    ];
    run(server, "psql", database, &args, script.as_bytes())
}

/// What a run of `pgbench` came to.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Transactions that were processed.
    pub transactions: u64,
    /// Transactions that failed.
    pub failed: u64,
    /// Transactions a second, without the time to connect.
    pub tps: f64,
    /// All that it printed.
    pub output: String,
}

/// Runs `pgbench` with arguments.
///
/// # Panics
/// When it fails, or prints no figures although it was not asked to initialise.
#[track_caller]
pub fn pgbench(server: &Server, database: &str, args: &[&str]) -> Bench {
    let out = run(server, "pgbench", database, args, b"");
    let output = format!("{}{}", out.stdout, out.stderr);
    assert!(out.success, "pgbench {args:?} failed\n{output}");
    let figure = |name: &str| -> Option<&str> {
        let line = output.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.split(['/', ' ', '(']).find(|word| !word.is_empty())
    };
    let number = |name: &str| figure(name).and_then(|word| word.parse().ok());
    let only_initialises = args.iter().any(|arg| arg.starts_with("-i") || *arg == "--initialize");
    let transactions = number("number of transactions actually processed:");
    assert!(only_initialises || transactions.is_some(), "pgbench printed no figures\n{output}");
    Bench {
        transactions: transactions.unwrap_or(0),
        failed: number("number of failed transactions:").unwrap_or(0),
        tps: figure("tps =").and_then(|word| word.parse().ok()).unwrap_or(0.0),
        output,
    }
}
