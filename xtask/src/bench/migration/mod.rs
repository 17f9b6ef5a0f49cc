//! Moves a tenant under load and measures how fast its rows are copied compared with `pg_dump | psql`, how long its
//! statements and those of another tenant take meanwhile, and whether every acknowledged write is present exactly once.

mod pgbench;
mod table;

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use postgres::Client;

use super::Options;
use pgbench::Application;
pub use table::{TITLE, table};
use testkit::cluster::{DATABASE, LocalCluster};
use testkit::command;
use testkit::ledger::{Account, Ledger, Statement, Written, now};
use testkit::migrations::{self, History};
use testkit::postgres::Postgres;
use testkit::progress::Step;
use testkit::scratch::Scratch;
use testkit::server::Server;

/// Scenario name on the command line and in the table.
pub const NAME: &str = "migration";

/// Number of moves of the small tenant.
const MOVES: usize = 20;
/// Size of the small tenant, in megabytes.
const SMALL: u32 = 64;
/// How long statements are timed while nothing moves.
const CALM: Duration = Duration::from_secs(15);
/// Pause between two statements of the other tenant's client, and of each ledger client.
const PAUSE: Duration = Duration::from_millis(10);

/// Start and end of a period, as time since the Unix epoch.
type Span = (Duration, Duration);

/// One move or rollback.
pub struct Move {
    /// Label of the move in the report.
    pub what: &'static str,
    /// From the request to the final state.
    pub span: Span,
    /// The states the migration went through, each with its period.
    pub states: Vec<(String, Span)>,
    /// The longest time a fence was held, in milliseconds.
    pub stall: Option<f64>,
}

impl Move {
    fn summary(&self) -> String {
        let total = (self.span.1 - self.span.0).as_secs_f64();
        let states = self.states.iter().map(|(state, (from, to))| {
            format!("{state} {:.1}", to.saturating_sub(*from).as_secs_f64())
        });
        format!(
            "{}: {total:.1} s ({}), fence {:.1} ms",
            self.what,
            states.collect::<Vec<_>>().join(", "),
            self.stall.unwrap_or(0.0)
        )
    }
}

/// Results of one tenant's moves.
pub struct Tenant {
    /// Size of the tenant, in megabytes.
    pub megabytes: f64,
    /// Number of rows.
    pub rows: i64,
    /// The tenant's moves.
    pub moves: Vec<Move>,
    /// Period in which nothing moved, for comparison.
    pub calm: Span,
    /// Statements of the tenant's own clients.
    pub own: Vec<Statement>,
    /// Statements of the other tenant's client.
    pub other: Vec<Statement>,
    /// Errors that clients saw.
    pub errors: usize,
    /// pgbench's rows: acknowledged, lost, and present without an acknowledgement.
    pub numbered: (usize, i64, i64),
    /// Account of the ledger, whose table has no key.
    pub account: Account,
}

/// All results of the migration benchmark.
pub struct Figures {
    /// Load averages of the machine before the run, over 1, 5 and 15 minutes.
    pub busy: String,
    /// Seconds taken by `pg_dump | psql` without concurrent writes.
    pub dump: f64,
    /// The move without concurrent writes.
    pub quiet: Move,
    /// The big tenant under load: moved, rolled back, moved again.
    pub big: Tenant,
    /// The small tenant, moved many times.
    pub small: Tenant,
}

/// Runs the benchmark on a private cluster.
pub fn measure(pg: &Postgres, options: &Options) -> Result<Figures> {
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let busy = busy.split(' ').take(3).collect::<Vec<_>>().join(", ");
    let scratch = Scratch::new(3)?;
    let settings =
        ["shared_buffers = 256MB", "max_wal_size = 16GB", "helios.rollback_window = 3600"];
    let cluster = scratch.cluster(pg, 2, &settings)?;
    let mut client = cluster.coordinator().connect(DATABASE)?;
    client.batch_execute("CREATE SCHEMA other DISTRIBUTED ON NODE \"node-1\"")?;

    let size = fill(&cluster, "big", options.megabytes)?;
    let dump = dump_and_restore(&cluster.nodes()[0], &cluster.nodes()[1], "big")?;
    let step = Step::start("moving the tenant without concurrent writes");
    let mut quiet = there(&mut client, "big", "node-2", "no load")?;
    end(&mut client, &mut quiet)?;
    step.done("");

    let big = under_load(&scratch, &cluster, "big", size, |client, step| {
        let first = there(client, "big", "node-1", "first")?;
        std::thread::sleep(Duration::from_secs(2));
        step.note(first.1.summary());
        let back = back(client, &first)?;
        step.note(back.summary());
        let mut again = there(client, "big", "node-1", "second")?;
        std::thread::sleep(Duration::from_secs(2));
        end(client, &mut again)?;
        step.note(again.1.summary());
        Ok(vec![first.1, back, again.1])
    })?;
    client.batch_execute("DROP SCHEMA big CASCADE")?;

    // Let the kernel write out its dirty pages first, so that the small moves do not pay for them.
    rustix::fs::sync();
    let size = fill(&cluster, "small", SMALL)?;
    let small = under_load(&scratch, &cluster, "small", size, |client, step| {
        let nodes = ["node-2", "node-1"].into_iter().cycle().take(MOVES);
        let one = |node| -> Result<Move> {
            let mut one = there(client, "small", node, "small")?;
            end(client, &mut one)?;
            step.note(one.1.summary());
            Ok(one.1)
        };
        nodes.map(one).collect()
    })?;
    Ok(Figures { busy, dump, quiet: quiet.1, big, small })
}

/// Creates a tenant on the first node, with rows of about 100 bytes to 1 kB. Returns its size in megabytes and its rows.
fn fill(cluster: &LocalCluster, schema: &str, megabytes: u32) -> Result<(f64, i64)> {
    const SOME: i64 = 50_000;
    let step = Step::start(format!("filling a tenant with {megabytes} MB"));
    let mut client = cluster.coordinator().connect(DATABASE)?;
    client.batch_execute(&format!(
        "CREATE SCHEMA {schema} DISTRIBUTED ON NODE \"node-1\";
         CREATE TABLE {schema}.entry (id bigint PRIMARY KEY, account int NOT NULL,
            changed timestamptz NOT NULL DEFAULT now(), body text NOT NULL);
         CREATE INDEX entry_account ON {schema}.entry (account)"
    ))?;
    let mut node = cluster.nodes()[0].connect(DATABASE)?;
    let mut rows = 0;
    loop {
        client.batch_execute(&format!(
            "INSERT INTO {schema}.entry (id, account, body)
             SELECT i, i * 7919 % 100000, left(repeat(md5(i::text), 30), (50 + i * 31 % 880)::int)
               FROM generate_series({rows} + 1, {rows} + {SOME}::bigint) i"
        ))?;
        rows += SOME;
        let size = format!("SELECT pg_table_size('{schema}.entry')");
        let size = node.query_one(&size, &[])?.get::<_, i64>(0) as f64 / f64::from(1 << 20);
        if size >= f64::from(megabytes) {
            client.batch_execute(&format!("ANALYZE {schema}.entry"))?;
            step.done(&format!("{rows} rows"));
            return Ok((size, rows));
        }
    }
}

/// Runs `pg_dump | psql` from one server to a new database on another, and returns the seconds it took.
fn dump_and_restore(from: &Server, to: &Server, schema: &str) -> Result<f64> {
    let step = Step::start("pg_dump | psql of the same schema");
    let mut client = to.connect("postgres")?;
    client.batch_execute("CREATE DATABASE copy")?;
    let began = Instant::now();
    let mut dump = from.client("pg_dump", DATABASE)?;
    dump.arg(format!("--schema={schema}")).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut dump = dump.spawn().context("cannot start pg_dump")?;
    let output = dump.stdout.take().context("pg_dump has no output")?;
    let mut psql = to.client("psql", "copy")?;
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"]);
    let status = psql.stdin(output).status().context("cannot run psql")?;
    if !status.success() || !dump.wait()?.success() {
        bail!("{} failed ({status})", command::shown(&psql));
    }
    let seconds = began.elapsed().as_secs_f64();
    client.batch_execute("DROP DATABASE copy")?;
    step.done("");
    Ok(seconds)
}

/// Moves the schema and waits for the switch.
fn there(client: &mut Client, schema: &str, node: &str, what: &'static str) -> Result<(i64, Move)> {
    let began = now();
    let id = migrations::begin(client, schema, node)?;
    let history = migrations::watch(client, id, "dual_write_back", |_| {})?;
    Ok((id, moved(client, id, what, began, &history)?))
}

fn back(client: &mut Client, first: &(i64, Move)) -> Result<Move> {
    let began = now();
    migrations::roll_back(client, first.0)?;
    let history = migrations::watch(client, first.0, "rolled_back", |_| {})?;
    moved(client, first.0, "rollback", began, &history)
}

/// Finishes the migration; removing the old copy counts as part of the move.
fn end(client: &mut Client, one: &mut (i64, Move)) -> Result<()> {
    migrations::finish(client, one.0)?;
    let before = now();
    migrations::watch(client, one.0, "finished", |_| {})?;
    one.1.states.push(("cleanup".into(), (before, now())));
    one.1.span.1 = now();
    Ok(())
}

fn moved(
    client: &mut Client,
    id: i64,
    what: &'static str,
    began: Duration,
    history: &History,
) -> Result<Move> {
    let ends = history.iter().skip(1).map(|(_, at)| *at);
    let ended = now();
    let states = history.iter().zip(ends.chain([ended]));
    let states = states.map(|((state, from), to)| (state.clone(), (*from, to)));
    let stall = migrations::status(client, id)?.stall;
    Ok(Move { what, span: (began, ended), states: states.collect(), stall })
}

/// Runs the moves while pgbench and the ledger's clients write to the tenant, and another client to another tenant.
fn under_load(
    scratch: &Scratch,
    cluster: &LocalCluster,
    schema: &str,
    (megabytes, rows): (f64, i64),
    moves: impl FnOnce(&mut Client, &Step) -> Result<Vec<Move>>,
) -> Result<Tenant> {
    let step = Step::start(format!("moving tenant \"{schema}\" under load"));
    let coordinator = cluster.coordinator();
    let mut client = coordinator.connect(DATABASE)?;
    client.batch_execute("DROP TABLE IF EXISTS other.ledger")?;
    let other = Ledger::start(coordinator, "other", 1, PAUSE)?;
    let ledger = Ledger::start(coordinator, schema, 2, PAUSE)?;
    let application = Application::start(coordinator, &scratch.dir, schema)?;
    std::thread::sleep(Duration::from_secs(1));
    let calm = now();
    std::thread::sleep(CALM);
    let calm = (calm, now());
    let moves = moves(&mut client, &step)?;
    let log = application.finish()?;
    let (written, other): (Written, Written) = (ledger.finish()?, other.finish()?);
    let (lost, more) = log.compare(&mut client)?;
    let account = written.account(&mut client, schema)?;
    step.done(&format!("{} rows written", log.count() + written.acknowledged.len()));
    let errors = written.errors.iter().chain(&other.errors);
    errors.for_each(|error| eprintln!("client error: {error}"));
    Ok(Tenant {
        megabytes,
        rows,
        moves,
        calm,
        numbered: (log.count(), lost, more),
        errors: log.errors + written.errors.len() + other.errors.len(),
        own: log.statements.into_iter().chain(written.statements).collect(),
        other: other.statements,
        account,
    })
}

impl Figures {
    /// Whether no write was lost or duplicated, and no client saw an error.
    pub fn is_good(&self) -> bool {
        [&self.big, &self.small].into_iter().all(|tenant| {
            let (_, lost, more) = tenant.numbered;
            let Account { lost: missing, repeated, .. } = tenant.account;
            lost == 0 && more == 0 && missing == 0 && repeated == 0 && tenant.errors == 0
        })
    }
}
