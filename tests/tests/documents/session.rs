//! A `psql` that runs a page's blocks one after the other.

use std::io::{BufRead, BufReader, PipeReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use testkit::command;
use testkit::server::Server;

/// Maximum run time of a block.
const BOUND: Duration = Duration::from_secs(120);

/// Printed after the output of a block.
const END: &str = "--- the block ends here";

/// A running `psql`; errors and results are received in the order in which it prints them.
pub struct Session {
    psql: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Session {
    /// Connects to a database. Command tags (`CREATE TABLE`) are not printed.
    pub fn start(server: &Server, database: &str) -> Self {
        let psql = server.client("psql", database).unwrap();
        // psql buffers its results if the output is not a terminal.
        let mut command = command::as_server_user("stdbuf").unwrap();
        command.arg("-oL").arg(psql.get_program()).args(["--no-psqlrc", "--quiet"]);
        for (name, value) in psql.get_envs() {
            command.env(name, value.unwrap());
        }
        let (output, writer) = std::io::pipe().unwrap();
        command.stdin(Stdio::piped()).stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut psql = command.spawn().unwrap();
        // psql holds the other end of the pipe.
        drop(command);
        let input = psql.stdin.take().unwrap();
        Self { psql, input, lines: listen(output) }
    }

    /// Runs a block and returns its output.
    pub fn run(&mut self, code: &str) -> String {
        writeln!(self.input, "{code}\n\\echo {END}").unwrap();
        self.input.flush().unwrap();
        let mut printed = String::new();
        loop {
            match self.lines.recv_timeout(BOUND) {
                Ok(line) if line == END => return printed,
                Ok(line) => printed = printed + &line + "\n",
                Err(error) => panic!("{code}\n{error}; printed until then:\n{printed}"),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

fn listen(output: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}
