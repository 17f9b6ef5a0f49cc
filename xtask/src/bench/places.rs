//! Statements over several places: tables of three nodes, of the coordinator and of the session, compared with one plain
//! server that has all of them, and with foreign tables of the nodes on the coordinator.

use std::fmt::Write;
use std::time::Instant;

use anyhow::{Context, Result};
use postgres::{Client, SimpleQueryMessage};

use super::{Options, median};
use testkit::cluster::{DATABASE, LocalCluster};
use testkit::postgres::Postgres;
use testkit::progress::Step;
use testkit::scratch::Scratch;
use testkit::server::{HOST, ROLE, Server};

/// Scenario name on the command line.
pub const NAME: &str = "several-places";

/// Title of the table.
pub const TITLE: &str = "## Statements over several places";

const FDW_DATABASE: &str = "fdw";
const NODES: u32 = 3;

/// A statement to measure.
struct Scenario {
    name: &'static str,
    /// Run before each execution, not measured.
    before: &'static str,
    statement: String,
    /// Number of rows, where the rate is of interest.
    rows: Option<u32>,
    /// Too slow, or impossible, through postgres_fdw.
    without_fdw: bool,
}

/// One row of the table.
pub struct Row {
    scenario: &'static str,
    /// Seconds on one plain server, through Helios, through postgres_fdw.
    seconds: [Option<f64>; 3],
    /// Seconds of the slowest node alone.
    node: Option<f64>,
    /// Milliseconds of planning through Helios.
    planning: Option<f64>,
}

/// Sizes of the tables, all in proportion to that of the joined tables.
#[derive(Clone, Copy)]
struct Sizes {
    joined: u32,
    large: u32,
    small: u32,
    copied: u32,
    tenants: u32,
}

impl Sizes {
    fn new(rows: u32) -> Self {
        Self {
            joined: rows,
            large: rows * 100,
            small: (rows / 100).max(1),
            copied: rows * 10,
            tenants: (rows / 100).max(NODES),
        }
    }
}

fn scenarios(sizes: Sizes) -> Vec<Scenario> {
    let joined_by_key = |table: &str| {
        format!("SELECT count(*), sum(l.v) FROM {table} s JOIN a.large l ON l.id = s.key")
    };
    let temporary = "CREATE TEMPORARY TABLE IF NOT EXISTS keys AS TABLE public.keys; ANALYZE keys";
    let of_tenant = |i: u32| format!("SELECT 't{i}' AS tenant, x FROM t{i}.t");
    let all: Vec<String> = (0..sizes.tenants).map(of_tenant).collect();
    let all = all.join(" UNION ALL ");
    let scenario = |name, before, statement| Scenario {
        name,
        before,
        statement,
        rows: None,
        without_fdw: false,
    };
    vec![
        scenario(
            "join of two tenants, aggregate",
            "",
            "SELECT c.region, count(*), sum(o.amount) FROM a.orders o JOIN b.customers c ON c.id = o.customer
              GROUP BY c.region"
                .to_owned(),
        ),
        scenario("local table joined by key", "", joined_by_key("public.keys")),
        scenario("temporary table joined by key", temporary, joined_by_key("keys")),
        Scenario {
            without_fdw: true,
            ..scenario(
                "UPDATE FROM a temporary table",
                "CREATE TEMPORARY TABLE IF NOT EXISTS amounts AS SELECT id, amount + 1 AS amount FROM a.orders;
                 ANALYZE amounts",
                "UPDATE a.orders o SET amount = t.amount FROM amounts t WHERE t.id = o.id".to_owned(),
            )
        },
        Scenario {
            rows: Some(sizes.copied),
            ..scenario(
                "INSERT INTO local SELECT",
                // So that no target has to make new WAL segments while others use old ones again.
                "TRUNCATE public.copied; CHECKPOINT",
                "INSERT INTO public.copied SELECT * FROM a.source".to_owned(),
            )
        },
        Scenario {
            rows: Some(sizes.copied),
            ..scenario(
                "INSERT INTO tenant SELECT of another node",
                "TRUNCATE b.copied",
                "INSERT INTO b.copied SELECT * FROM a.source".to_owned(),
            )
        },
        scenario("UNION ALL of all tenants", "", format!("SELECT count(*), sum(x) FROM ({all}) AS u")),
        scenario(
            "view over all tenants, one asked for",
            "",
            "SELECT count(*), sum(x) FROM public.everything WHERE tenant = 't1'".to_owned(),
        ),
    ]
}

/// Creates and fills everything on a server; `place` gives the clause for a schema on a node (0 is the first one).
fn fill(client: &mut Client, sizes: Sizes, place: &dyn Fn(u32) -> String) -> Result<()> {
    let Sizes { joined, large, small, copied, tenants } = sizes;
    client.batch_execute(&format!("CREATE SCHEMA a{}; CREATE SCHEMA b{}", place(0), place(1)))?;
    client.batch_execute(&format!(
        "CREATE TABLE a.orders (id int PRIMARY KEY, customer int NOT NULL, amount numeric(12,2) NOT NULL, note text);
         INSERT INTO a.orders SELECT i, (i * 7919::bigint) % {joined} + 1, i % 1000 / 10.0, 'order ' || i FROM generate_series(1, {joined}) i;
         CREATE TABLE b.customers (id int PRIMARY KEY, region int NOT NULL, name text);
         INSERT INTO b.customers SELECT i, i % 20, 'customer ' || i FROM generate_series(1, {joined}) i;
         CREATE TABLE a.large (id int PRIMARY KEY, v int NOT NULL);
         INSERT INTO a.large SELECT i, i % 1000 FROM generate_series(1, {large}) i;
         CREATE TABLE a.source (id int NOT NULL, n bigint NOT NULL, word text);
         INSERT INTO a.source SELECT i, i * 3, 'word number ' || i FROM generate_series(1, {copied}) i;
         CREATE TABLE b.copied (id int NOT NULL, n bigint NOT NULL, word text);
         CREATE TABLE public.copied (id int NOT NULL, n bigint NOT NULL, word text);
         CREATE TABLE public.keys (key int NOT NULL);
         INSERT INTO public.keys SELECT (i * 7919::bigint) % {large} + 1 FROM generate_series(1, {small}) i"
    ))?;
    for i in 0..tenants {
        client.batch_execute(&format!("CREATE SCHEMA t{i}{}", place(i % NODES)))?;
        client.batch_execute(&format!(
            "CREATE TABLE t{i}.t (id int PRIMARY KEY, x int NOT NULL);
             INSERT INTO t{i}.t SELECT g, g % 100 FROM generate_series(1, 1000) g"
        ))?;
    }
    view(client, sizes)
}

fn view(client: &mut Client, sizes: Sizes) -> Result<()> {
    let of_tenant = |i: u32| format!("SELECT 't{i}' AS tenant, x FROM t{i}.t");
    let all: Vec<String> = (0..sizes.tenants).map(of_tenant).collect();
    client
        .batch_execute(&format!("CREATE VIEW public.everything AS {}", all.join(" UNION ALL ")))?;
    Ok(())
}

/// Foreign tables on the coordinator for everything that nodes have, and local tables like those of the other database.
fn fill_foreign(cluster: &LocalCluster, sizes: Sizes) -> Result<()> {
    cluster
        .coordinator()
        .connect(DATABASE)?
        .batch_execute(&format!("CREATE DATABASE {FDW_DATABASE}"))?;
    let mut client = cluster.coordinator().connect(FDW_DATABASE)?;
    client.batch_execute("CREATE EXTENSION postgres_fdw")?;
    for (i, node) in cluster.nodes().iter().enumerate() {
        client.batch_execute(&format!(
            "CREATE SERVER node_{i} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{HOST}', port '{}', dbname '{DATABASE}',
                 batch_size '1000', fetch_size '10000', async_capable 'true');
             CREATE USER MAPPING FOR {ROLE} SERVER node_{i} OPTIONS (user '{ROLE}')",
            node.port
        ))?;
    }
    let import = |client: &mut Client, schema: &str, node: u32| {
        client.batch_execute(&format!(
            "CREATE SCHEMA {schema}; IMPORT FOREIGN SCHEMA {schema} FROM SERVER node_{node} INTO {schema}"
        ))
    };
    import(&mut client, "a", 0)?;
    import(&mut client, "b", 1)?;
    for i in 0..sizes.tenants {
        import(&mut client, &format!("t{i}"), i % NODES)?;
    }
    // So that its plan for the large table is the good one.
    client.batch_execute(
        "ALTER FOREIGN TABLE a.large OPTIONS (ADD use_remote_estimate 'true');
         CREATE TABLE public.copied (id int NOT NULL, n bigint NOT NULL, word text);
         CREATE TABLE public.keys (key int NOT NULL)",
    )?;
    let (large, small) = (sizes.large, sizes.small);
    client.batch_execute(&format!(
        "INSERT INTO public.keys SELECT (i * 7919::bigint) % {large} + 1 FROM generate_series(1, {small}) i"
    ))?;
    view(&mut client, sizes)?;
    client.batch_execute("ANALYZE public.keys")?;
    Ok(())
}

/// Measures all scenarios, alternating between the targets.
pub fn measure(pg: &Postgres, options: &Options, failures: &mut Vec<String>) -> Result<Vec<Row>> {
    let sizes = Sizes::new(options.rows);
    let step = Step::start(format!("{NAME}: filling tables"));
    let scratch = Scratch::new(NODES as u16 + 2)?;
    let settings =
        ["shared_buffers = 256MB", "autovacuum = off", "max_locks_per_transaction = 4096"];
    let cluster = scratch.cluster(pg, NODES as u16, &settings)?;
    let plain = scratch.plain_server(pg, NODES as u16 + 1, &settings)?;
    plain.connect("postgres")?.batch_execute(&format!("CREATE DATABASE {DATABASE}")).or_else(
        |error| match plain.connect(DATABASE) {
            Ok(_) => Ok(()),
            Err(_) => Err(error),
        },
    )?;
    fill(&mut plain.connect(DATABASE)?, sizes, &|_| String::new())?;
    fill(&mut cluster.coordinator().connect(DATABASE)?, sizes, &|node| {
        format!(" DISTRIBUTED ON NODE \"node-{}\"", node + 1)
    })?;
    fill_foreign(&cluster, sizes)?;
    let servers: Vec<&Server> = cluster.servers.iter().chain([&plain]).collect();
    for server in servers {
        let mut client = server.connect(DATABASE)?;
        client.batch_execute("VACUUM ANALYZE")?;
        client.batch_execute("CHECKPOINT")?;
    }
    step.done("");
    let mut clients = [
        plain.connect(DATABASE)?,
        cluster.coordinator().connect(DATABASE)?,
        cluster.coordinator().connect(FDW_DATABASE)?,
    ];
    let mut rows = Vec::new();
    for scenario in scenarios(sizes) {
        let step = Step::start(scenario.name);
        let mut times: [Vec<f64>; 3] = Default::default();
        for round in 0..=options.rounds {
            for (i, (client, times)) in clients.iter_mut().zip(&mut times).enumerate() {
                // The first round warms up; what takes very long is not repeated.
                let hopeless = times.iter().any(|seconds| *seconds > 20.0);
                if hopeless || i == 2 && scenario.without_fdw {
                    continue;
                }
                match one(client, &scenario) {
                    Ok(seconds) if round > 0 || seconds > 20.0 => times.push(seconds),
                    Ok(_) => {}
                    Err(error) => {
                        let target = ["plain", "helios", "postgres_fdw"][i];
                        failures.push(format!("{} on {target}: {error:#}", scenario.name));
                    }
                }
            }
        }
        let alone = scenario.name.starts_with("UNION");
        let node = if alone { Some(slowest_node(&cluster, sizes, options)?) } else { None };
        let planning = planning(&mut clients[1], &scenario.statement).ok();
        step.done("");
        let seconds = times.map(|mut times| median(&mut times));
        rows.push(Row { scenario: scenario.name, seconds, node, planning });
        if let (Some(count), [Some(plain), Some(helios), _]) = (scenario.rows, seconds) {
            eprintln!(
                "{}: {:.0} rows/s plain, {:.0} helios",
                scenario.name,
                f64::from(count) / plain,
                f64::from(count) / helios
            );
        }
    }
    Ok(rows)
}

fn one(client: &mut Client, scenario: &Scenario) -> Result<f64> {
    if !scenario.before.is_empty() {
        client.batch_execute(scenario.before)?;
    }
    let start = Instant::now();
    client.batch_execute(&scenario.statement)?;
    Ok(start.elapsed().as_secs_f64())
}

/// The same aggregate over the tenants of one node, asked there.
fn slowest_node(cluster: &LocalCluster, sizes: Sizes, options: &Options) -> Result<f64> {
    let mut slowest = 0.0;
    for (n, server) in (0..NODES).zip(cluster.nodes()) {
        let tenants = (0..sizes.tenants).filter(|i| i % NODES == n);
        let all: Vec<String> = tenants.map(|i| format!("SELECT x FROM t{i}.t")).collect();
        let statement = format!("SELECT count(*), sum(x) FROM ({}) AS u", all.join(" UNION ALL "));
        let mut client = server.connect(DATABASE)?;
        client.batch_execute(&statement)?;
        let mut times = Vec::new();
        for _ in 0..options.rounds {
            let start = Instant::now();
            client.batch_execute(&statement)?;
            times.push(start.elapsed().as_secs_f64());
        }
        slowest = median(&mut times).unwrap_or_default().max(slowest);
    }
    Ok(slowest)
}

/// Milliseconds that EXPLAIN names for planning.
fn planning(client: &mut Client, statement: &str) -> Result<f64> {
    let sql = format!("EXPLAIN (SUMMARY, FORMAT JSON) {statement}");
    let messages = client.simple_query(&sql)?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let json: serde_json::Value = serde_json::from_str(&rows.collect::<String>())?;
    json[0]["Planning Time"].as_f64().context("EXPLAIN names no planning time")
}

/// The table.
pub fn table(rows: &[Row], size: u32) -> String {
    let mut text = format!(
        "\n{TITLE}\n\n{size} rows in each of the tables that are joined; 100 times as many in \
         the large one, 10 times as many to be copied, a hundredth of them in the small ones, as many tenants, with 1,000 rows each, on three nodes. \
         \"plain\" is one server with all tables, \"postgres_fdw\" has foreign tables of the nodes on the \
         coordinator. Times in ms.\n\n\
         | work | plain | helios | postgres_fdw | helios / plain | postgres_fdw / helios | slowest node alone | planning |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for row in rows {
        let ms = |seconds: Option<f64>| super::report::number(seconds.map(|s| s * 1000.0), 1);
        let [plain, helios, fdw] = row.seconds;
        let ratio =
            |a: Option<f64>, b: Option<f64>| super::report::number(a.zip(b).map(|(a, b)| a / b), 2);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            row.scenario,
            ms(plain),
            ms(helios),
            ms(fdw),
            ratio(helios, plain),
            ratio(fdw, helios),
            ms(row.node),
            super::report::number(row.planning, 1),
        );
    }
    text
}
