//! Clients that insert numbered rows, and record which of them the server acknowledged and how long each statement
//! took. Afterwards every acknowledged number must be present exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use postgres::{Client, Config, NoTls};

use crate::cluster::DATABASE;
use crate::server::Server;

/// Pause between two attempts to reconnect.
const RECONNECT: Duration = Duration::from_millis(20);

/// A statement run by a client.
#[derive(Debug, Clone, Copy)]
pub struct Statement {
    /// When it ended, as time since the Unix epoch.
    pub ended: Duration,
    /// Time from sending it to receiving the response.
    pub took: Duration,
}

/// The current time, since the Unix epoch.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// State shared between the clients and their observer.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicI64,
    acknowledged: AtomicU64,
    longest_us: AtomicU64,
}

/// Record of one client, or of all clients together.
#[derive(Debug, Default)]
pub struct Written {
    /// Numbers whose statements were acknowledged.
    pub acknowledged: Vec<i64>,
    /// All statements.
    pub statements: Vec<Statement>,
    /// Errors that clients received.
    pub errors: Vec<String>,
}

/// Comparison of the table with the clients' record.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// Number of acknowledged rows.
    pub acknowledged: usize,
    /// Number of acknowledged rows that are missing.
    pub lost: usize,
    /// Number of rows that are present more than once.
    pub repeated: usize,
}

/// Running clients, until this is finished or dropped.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Result<Written>>>,
}

impl Ledger {
    /// Creates table `schema.ledger`, without a key so that duplicates are possible, and starts clients with this
    /// pause between two statements.
    pub fn start(server: &Server, schema: &str, clients: usize, pause: Duration) -> Result<Self> {
        server
            .connect(DATABASE)?
            .batch_execute(&format!("CREATE TABLE {schema}.ledger (number bigint NOT NULL)"))
            .with_context(|| format!("cannot create the ledger in schema {schema}"))?;
        Ok(Self::go_on(server, schema, clients, pause, 0))
    }

    /// Starts clients that write into an existing table, starting at this number.
    pub fn go_on(
        server: &Server,
        schema: &str,
        clients: usize,
        pause: Duration,
        first: i64,
    ) -> Self {
        let shared = Arc::new(Shared { next: first.into(), ..Shared::default() });
        let insert = format!("INSERT INTO {schema}.ledger (number) VALUES ($1)");
        let client = |_| {
            let (shared, insert) = (Arc::clone(&shared), insert.clone());
            let config = server.config(DATABASE);
            std::thread::spawn(move || work(&config, &insert, &shared, pause))
        };
        let clients = (0..clients).map(client).collect();
        Self { shared, clients }
    }

    /// Number of statements acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Returns the longest statement time since the last call.
    pub fn take_longest(&self) -> Duration {
        Duration::from_micros(self.shared.longest_us.swap(0, Ordering::Relaxed))
    }

    /// Stops the clients and returns their record.
    pub fn finish(mut self) -> Result<Written> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for client in std::mem::take(&mut self.clients) {
            let one = match client.join() {
                Ok(one) => one?,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            all.acknowledged.extend(one.acknowledged);
            all.statements.extend(one.statements);
            all.errors.extend(one.errors);
        }
        Ok(all)
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// Runs one client. On error, records it and continues with the next number: the row may or may not be present.
fn work(config: &Config, insert: &str, shared: &Shared, pause: Duration) -> Result<Written> {
    let connect = || -> Result<_> {
        let mut client = config.connect(NoTls).context("a client cannot connect")?;
        let insert = client.prepare(insert)?;
        Ok((client, insert))
    };
    let (mut client, mut statement) = connect()?;
    let mut written = Written::default();
    while !shared.stop.load(Ordering::Relaxed) {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let began = std::time::Instant::now();
        let result = client.execute(&statement, &[&number]);
        let took = began.elapsed();
        written.statements.push(Statement { ended: now(), took });
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        shared.longest_us.fetch_max(micros, Ordering::Relaxed);
        match result {
            Ok(_) => {
                written.acknowledged.push(number);
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                let told = error.as_db_error().map_or_else(|| error.to_string(), |e| e.to_string());
                written.errors.push(told);
                while client.is_closed() && !shared.stop.load(Ordering::Relaxed) {
                    // The server may be restarting.
                    match connect() {
                        Ok(again) => (client, statement) = again,
                        Err(_) => std::thread::sleep(RECONNECT),
                    }
                }
            }
        }
        std::thread::sleep(pause);
    }
    Ok(written)
}

impl Written {
    /// Compares the record with the table.
    pub fn account(&self, client: &mut Client, schema: &str) -> Result<Account> {
        let query = format!("SELECT number, count(*) FROM {schema}.ledger GROUP BY number");
        let rows = client.query(&query, &[])?;
        let there: BTreeMap<i64, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(self.compare(&there))
    }

    fn compare(&self, there: &BTreeMap<i64, i64>) -> Account {
        Account {
            acknowledged: self.acknowledged.len(),
            lost: self.acknowledged.iter().filter(|number| !there.contains_key(number)).count(),
            repeated: there.values().filter(|count| **count > 1).count(),
        }
    }
}

/// The longest statement that was running at some time between `from` and `to`.
pub fn longest(statements: &[Statement], from: Duration, to: Duration) -> Option<Statement> {
    let within = |s: &&Statement| s.ended >= from && s.ended.saturating_sub(s.took) <= to;
    statements.iter().filter(within).max_by_key(|statement| statement.took).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_and_repeated_numbers_are_counted() {
        let written = Written { acknowledged: vec![1, 2, 3], ..Written::default() };
        let there = BTreeMap::from([(1, 1), (3, 2), (4, 1)]);
        let account = written.compare(&there);
        assert_eq!(account, Account { acknowledged: 3, lost: 1, repeated: 1 });
    }

    #[test]
    fn a_statement_counts_where_it_was_under_way() {
        let s = Duration::from_secs;
        let all = [Statement { ended: s(10), took: s(4) }, Statement { ended: s(20), took: s(1) }];
        let longest = |from, to| longest(&all, s(from), s(to)).map(|found| found.took);
        assert_eq!(longest(7, 8), Some(s(4)));
        assert_eq!(longest(11, 30), Some(s(1)));
        assert_eq!(longest(21, 30), None);
    }
}
