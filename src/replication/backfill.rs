//! Initial copy of rows: the target copies them from the source in ranges of blocks, in several parallel sessions.
//!
//! A table is recorded as copied when all of its ranges are complete. An interrupted range leaves some of its rows
//! behind, so a table that is not recorded is emptied and copied again in another round.

use crate::catalog::NodeId;
use crate::catalog::migration::{self, Migration};
use crate::catalog::migration_table::{self, MovingTable};
use crate::error::{Error, Result};
use crate::failpoint;
use crate::pg::ipc::worker;
use crate::remote::{Answer, Session, wait_for_any};
use crate::replication::endpoint::Endpoint;
use crate::replication::endpoints::{self, Endpoints, column, identifier, literal};
use crate::replication::fence::Fence;
use crate::replication::interruptible::Interruptible;
use crate::replication::pull::Address;
use crate::replication::relay::relay;
use crate::replication::source_catalogs;
use crate::settings;
use helios_core::migration::ranges;
use pgrx::pg_sys::errcodes::PgSqlErrorCode as Code;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Blocks per range: large enough to make its separate connection negligible, small enough to show progress.
const STEP: u64 = 4096;
/// Bytes of a block.
const BLOCK: u64 = pgrx::pg_sys::BLCKSZ as u64;
/// Pause between two updates of the progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(500);

/// A part of a table.
struct Range {
    table: usize,
    from: u64,
    to: Option<u64>,
    rows: u64,
}

/// One of the copying sessions.
struct Stream {
    session: Session,
    answer: Answer,
    range: Option<Range>,
}

/// A copy in progress.
struct Copying<'a> {
    migration: &'a Migration,
    tables: &'a [MovingTable],
    columns: Vec<Vec<String>>,
    source: String,
    /// Whether its description contains a password.
    is_secret: bool,
    snapshot: &'a str,
    round: i32,
    queue: VecDeque<Range>,
    /// Number of unfinished ranges of each table.
    left: Vec<usize>,
    /// Tables whose ranges are finished, but which are not recorded yet.
    done: Vec<usize>,
    rows: u64,
    bytes: u64,
    began: Instant,
    /// Number of rows requested so far.
    asked: u64,
}

/// Copies the tables using a snapshot of the source.
pub fn copy(
    migration: &Migration,
    endpoints: &mut Endpoints,
    all: &[MovingTable],
    round: i32,
    snapshot: &str,
) -> Result<Interruptible> {
    let Endpoints { source, target } = endpoints;
    let done = all.iter().filter(|table| table.round.is_some());
    let (rows, bytes) = done.fold((0, 0), |(r, b), t| (r + t.rows, b + t.blocks * BLOCK));
    let open: Vec<MovingTable> =
        all.iter().filter(|table| table.round.is_none() && table.logged).cloned().collect();
    let columns =
        open.iter().map(|t| source_catalogs::columns(source, t)).collect::<Result<Vec<_>>>()?;
    let unplannable = source_catalogs::unplannable(source, &migration.schemas)?;
    let source_address = worker::attempt(|| Endpoint::of(migration.source).address())?;
    let mut copying = Copying {
        migration,
        tables: &open,
        columns,
        is_secret: source_address.is_secret(),
        source: description(&source_address)?,
        snapshot,
        round,
        queue: VecDeque::new(),
        left: vec![0; open.len()],
        done: Vec::new(),
        rows,
        bytes,
        began: Instant::now(),
        asked: 0,
    };
    copying.fill_queue(&unplannable);
    copying.run(target)
}

impl Copying<'_> {
    fn fill_queue(&mut self, unplannable: &[String]) {
        let rate = rate();
        for (table, moving) in self.tables.iter().enumerate() {
            // With a rate limit, use small ranges to keep the pauses between them short.
            let a_block = (moving.rows / moving.blocks.max(1)).max(1);
            let step = rate.map_or(STEP, |rate| (rate / 2 / a_block).clamp(1, STEP));
            // Whole tables are copied without a query.
            let all = match unplannable.contains(&moving.qualified()) {
                true => vec![(0, None)],
                false => ranges(moving.blocks, step),
            };
            for (from, to) in all {
                let blocks = to.unwrap_or(moving.blocks).saturating_sub(from);
                self.queue.push_back(Range { table, from, to, rows: blocks * a_block });
                self.left[table] += 1;
            }
        }
    }

    fn run(&mut self, target: &mut Session) -> Result<Interruptible> {
        let count = usize::try_from(settings::MIGRATION_STREAMS.get()).unwrap_or(1);
        let count = count.min(self.queue.len()).max(1);
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut session = worker::attempt(|| Endpoint::of(self.migration.target).session())?;
            sign(self.migration, &mut session)?;
            session.query("SET synchronous_commit = off")?; // see `report_progress`
            if self.is_secret {
                endpoints::keep_secret(&mut session)?;
            }
            streams.push(Stream { session, answer: Answer::default(), range: None });
        }
        let mut reported = Instant::now();
        loop {
            for stream in &mut streams {
                self.drive(stream)?;
            }
            if streams.iter().all(|stream| stream.range.is_none()) && self.queue.is_empty() {
                self.report_progress(target)?;
                return Ok(Interruptible::Completed(()));
            }
            if reported.elapsed() > REPORT_INTERVAL {
                reported = Instant::now();
                self.report_progress(target)?;
                if worker::attempt(|| migration::load(self.migration.id))?.request.is_some() {
                    streams.iter().for_each(|stream| {
                        stream.session.request_cancel();
                    });
                    return Ok(Interruptible::Interrupted);
                }
            }
            let busy: Vec<&Session> =
                streams.iter().filter(|s| s.range.is_some()).map(|s| &s.session).collect();
            wait_for_any(&busy, Duration::from_millis(50));
        }
    }

    /// Processes what a stream has finished, and assigns the next range to it.
    fn drive(&mut self, stream: &mut Stream) -> Result<()> {
        if let Some(range) = &stream.range {
            let Some(rows) = stream.session.poll_query(&mut stream.answer)? else { return Ok(()) };
            let row = rows.first().map(|row| &**row).unwrap_or_default();
            self.rows += column::<u64>(row, 0).unwrap_or(0);
            self.bytes += range.to.map_or(0, |to| (to - range.from) * BLOCK);
            let table = range.table;
            stream.range = None;
            self.left[table] -= 1;
            if self.left[table] == 0 {
                self.done.push(table);
            }
        }
        if !self.may_ask() {
            return Ok(());
        }
        let Some(range) = self.queue.pop_front() else { return Ok(()) };
        self.asked += range.rows;
        let table = &self.tables[range.table];
        let columns: Vec<_> = self.columns[range.table].iter().map(|c| literal(c)).collect();
        stream.session.start_query(&format!(
            "SELECT rows, bytes FROM helios.pull_rows({}, {}, {}, ARRAY[{}]::text[], {}, {}, bulk => true)",
            self.source,
            literal(self.snapshot),
            literal(&table.qualified()),
            columns.join(", "),
            range.from,
            range.to.map_or("NULL".to_owned(), |to| to.to_string()),
        ))?;
        stream.range = Some(range);
        Ok(())
    }

    /// Whether the limit on rows per second allows another range.
    fn may_ask(&self) -> bool {
        let allowed = |rate: u64| (self.began.elapsed().as_secs_f64() * rate as f64) as u64;
        rate().is_none_or(|rate| self.asked <= allowed(rate))
    }

    /// Records the progress and the tables that are finished.
    fn report_progress(&mut self, target: &mut Session) -> Result<()> {
        let id = self.migration.id;
        let done = std::mem::take(&mut self.done);
        if !done.is_empty() {
            endpoints::flush(target)?; // the ranges were committed without waiting for the disk
            failpoint::hit(failpoint::MIGRATION_TABLE_COPIED)?;
        }
        worker::attempt(|| {
            done.iter().try_for_each(|at| {
                migration_table::set_copied(id, &self.tables[*at], self.round)
            })?;
            migration::progress(id, self.rows, self.bytes)
        })
    }
}

fn rate() -> Option<u64> {
    u64::try_from(settings::MIGRATION_RATE.get()).ok().filter(|rate| *rate > 0)
}

/// Describes the source for `helios.pull_rows`.
fn description(source: &Address) -> Result<String> {
    Ok(format!("{}::jsonb", literal(&source.to_json()?)))
}

/// Empties tables that an interrupted round has copied in part.
pub fn empty(target: &mut Session, tables: &[MovingTable]) -> Result<()> {
    for table in tables.iter().filter(|table| table.round.is_none()) {
        let there = format!("SELECT to_regclass({})", literal(&table.qualified()));
        let rows = target.query(&there)?;
        if rows.first().and_then(|row| row.first()).is_some_and(Option::is_some) {
            target.query(&clear(&table.qualified()))?;
        }
    }
    Ok(())
}

/// Statements that delete all rows of a table without firing triggers. TRUNCATE is not used: a shell is in use, so it
/// would have to wait even for an empty table, and it would object to the shell's foreign keys. The table's name does
/// not appear in a planned query, because planning runs code that its owner has written into indexes, rules and
/// policies.
fn clear(table: &str) -> String {
    let body = format!(
        "BEGIN
           IF EXISTS (SELECT FROM pg_constraint WHERE confrelid = {0}::regclass AND contype = 'f') THEN
             PERFORM helios.delete_rows({0});
           ELSIF helios.has_rows({0}) THEN
             SET LOCAL session_replication_role = replica;
             TRUNCATE ONLY {table};
             SET LOCAL session_replication_role = origin;
           END IF;
         END",
        literal(table)
    );
    format!("DO {}", literal(&body))
}

/// Copies the tables that logical replication does not replicate, while a fence is held that limits the time for each.
///
/// 55P03 or 57014 if the time is not sufficient.
pub fn unlogged(
    migration: &Migration,
    endpoints: &mut Endpoints,
    (from, to): (NodeId, NodeId),
    fence: &Fence,
) -> Result<()> {
    let all = migration_table::of_migration(migration.id)?;
    let mut unlogged = all.iter().filter(|table| !table.logged).peekable();
    if unlogged.peek().is_none() {
        return Ok(());
    }
    let address = Endpoint::of(from).address()?;
    if address.is_secret() {
        endpoints::keep_secret(endpoints.to(to, migration))?;
    }
    let source = description(&address)?;
    for table in unlogged {
        let columns = source_catalogs::columns(endpoints.to(from, migration), table)?;
        let name = table.qualified();
        let copied = if Endpoint::of(to).is_foreign() {
            relay(&mut endpoints.target, &mut endpoints.source, &name, &columns, fence.left())
        } else {
            let columns: Vec<_> = columns.iter().map(|column| literal(column)).collect();
            let left = fence.left().max(Duration::from_millis(1)).as_millis();
            // Not TRUNCATE: sessions waiting for the fence may have locked the table already.
            let copy = format!(
                "BEGIN; SET LOCAL lock_timeout = {left}; SET LOCAL statement_timeout = {left};
                 SELECT helios.delete_rows({0});
                 SELECT rows FROM helios.pull_rows({source}, NULL, {0}, ARRAY[{1}]::text[], 0, NULL); COMMIT",
                literal(&name),
                columns.join(", ")
            );
            endpoints.to(to, migration).query(&copy).map(|_| ())
        };
        if copied.is_err() {
            endpoints.roll_back()?;
        }
        copied?;
    }
    Ok(())
}

/// Terminates sessions of an earlier worker that may still be active on the target.
pub fn end_stray_copies(migration: &Migration, target: &mut Session) -> Result<()> {
    let name = literal(&format!("helios migration {}", migration.id));
    let ask = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = {name} AND pid <> pg_backend_pid()"
    );
    let until = Instant::now() + Duration::from_secs(30);
    while !target.query(&ask)?.is_empty() {
        if Instant::now() >= until {
            return Err(Error::new(
                Code::ERRCODE_OBJECT_IN_USE,
                format!("sessions of migration {} are still running on its target", migration.id),
            ));
        }
        worker::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Marks a session so that [`end_stray_copies`] finds it.
pub fn sign(migration: &Migration, session: &mut Session) -> Result<()> {
    let name = identifier(&format!("helios migration {}", migration.id));
    session.query(&format!("SET application_name = {name}"))?;
    Ok(())
}
