//! pgbench in the role of a tenant's application: it inserts numbered rows at a steady rate, and its log says which of
//! them were acknowledged.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use postgres::Client;
use rustix::process::{Pid, Signal, kill_process};

use testkit::cluster::DATABASE;
use testkit::command;
use testkit::ledger::Statement;
use testkit::server::Server;

/// Rows per second.
pub const RATE: u32 = 500;
/// Number of sessions.
pub const CLIENTS: i64 = 8;
/// Size of the range of row numbers of one session.
const SPAN: i64 = 10_000_000;
/// The first row number pgbench uses; lower numbers belong to rows loaded beforehand.
const BASE: i64 = 1_000_000_000;

/// A running pgbench.
pub struct Application {
    child: Child,
    files: PathBuf,
    schema: String,
}

/// Results of a pgbench run.
pub struct Log {
    /// Its statements, without the time they waited for their scheduled start.
    pub statements: Vec<Statement>,
    /// Number of acknowledged rows per session.
    acknowledged: BTreeMap<i64, i64>,
    /// Number of sessions that aborted with an error.
    pub errors: usize,
    schema: String,
}

impl Application {
    /// Starts pgbench on `schema.entry`; its files go into `dir`.
    pub fn start(server: &Server, dir: &std::path::Path, schema: &str) -> Result<Self> {
        let files = dir.join(format!("pgbench-{schema}"));
        fs::create_dir(&files)?;
        let script = files.join("script.sql");
        fs::write(
            &script,
            format!(
                "\\set n :n + 1\n\\set id {BASE} + :client_id * {SPAN} + :n\n\
                 \\set account random(1, 100000)\n\\set size random(60, 950)\n\
                 INSERT INTO {schema}.entry (id, account, body) VALUES (:id, :account, repeat('w', :size));\n"
            ),
        )?;
        command::give_to_server_user(&files)?;
        let mut pgbench = server.client("pgbench", DATABASE)?;
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--define=n=0", "--time=86400"]);
        pgbench.arg(format!("--rate={RATE}")).arg(format!("--client={CLIENTS}"));
        pgbench.arg("--log").arg(format!("--log-prefix={}", files.join("log").display()));
        pgbench.arg("--file").arg(&script);
        let output = File::create(files.join("output"))?;
        pgbench.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = pgbench.spawn().context("cannot start pgbench")?;
        Ok(Self { child, files, schema: schema.to_owned() })
    }

    /// Stops pgbench with SIGALRM, which it takes for the end of `--time`, and reads its log.
    pub fn finish(mut self) -> Result<Log> {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            // If it has already exited, its output says why.
            let _ = kill_process(pid, Signal::ALARM);
        }
        let status = self.child.wait()?;
        let output = fs::read_to_string(self.files.join("output"))?;
        let errors = output.matches(" aborted in ").count();
        if !status.success() && errors == 0 {
            bail!("pgbench failed ({status})\n{output}");
        }
        let mut log = Log {
            statements: vec![],
            acknowledged: BTreeMap::new(),
            errors,
            schema: self.schema.clone(),
        };
        for file in fs::read_dir(&self.files)? {
            let path = file?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log.")) {
                for line in fs::read_to_string(&path)?.lines() {
                    log.add(line)
                        .with_context(|| format!("invalid line in pgbench's log: {line}"))?;
                }
            }
        }
        Ok(log)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        // Both fail if pgbench has exited, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Log {
    /// Adds a log line: session, number, latency in µs, script, end time in s and µs, schedule lag in µs.
    fn add(&mut self, line: &str) -> Result<()> {
        let fields: Vec<i64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let &[client, _, time, _, seconds, fraction, late] = fields.as_slice() else {
            bail!("unexpected number of fields: {}", fields.len());
        };
        let micros = |number: i64| Duration::from_micros(u64::try_from(number).unwrap_or(0));
        let ended = micros(seconds * 1_000_000 + fraction);
        self.statements.push(Statement { ended, took: micros(time - late) });
        *self.acknowledged.entry(client).or_default() += 1;
        Ok(())
    }

    /// Number of acknowledged rows.
    pub fn count(&self) -> usize {
        self.statements.len()
    }

    /// Counts the acknowledged rows that are missing, and the rows present without an acknowledgement.
    pub fn compare(&self, client: &mut Client) -> Result<(i64, i64)> {
        let (mut lost, mut more) = (0, 0);
        let query = format!(
            "SELECT count(*) FILTER (WHERE id <= $2), count(*) FILTER (WHERE id > $2)
               FROM {}.entry WHERE id > $1 AND id <= $3",
            self.schema
        );
        for number in 0..CLIENTS {
            let first = BASE + number * SPAN;
            let acknowledged = self.acknowledged.get(&number).copied().unwrap_or(0);
            let ends: [&(dyn postgres::types::ToSql + Sync); 3] =
                [&first, &(first + acknowledged), &(first + SPAN)];
            let row = client.query_one(&query, &ends)?;
            lost += acknowledged - row.get::<_, i64>(0);
            more += row.get::<_, i64>(1);
        }
        Ok((lost, more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_count_without_the_wait_for_their_turn() {
        let mut log = Log {
            statements: vec![],
            acknowledged: BTreeMap::new(),
            errors: 0,
            schema: "t".into(),
        };
        log.add("3 1 2500 0 1700000000 250000 500").unwrap();
        assert_eq!(log.statements[0].took, Duration::from_millis(2));
        assert_eq!(log.statements[0].ended, Duration::from_millis(1_700_000_000_250));
        assert_eq!(log.acknowledged, BTreeMap::from([(3, 1)]));
        assert!(log.add("3 2 skipped 0 1700000000 250000 500").is_err());
    }
}
