//! pgbench with a tenant in the search_path: initialized there, run in every query mode, with
//! consistent balances afterwards.

use std::process::Command;

use helios_tests::Cluster;
use testkit::cluster::DATABASE;
use testkit::command;

/// Runs pgbench on a tenant's schema; returns its output.
fn pgbench(schema: &str, arguments: &[&str]) -> String {
    let mut program: Command = Cluster::shared().coordinator().client("pgbench", DATABASE).unwrap();
    program.env("PGOPTIONS", format!("-c search_path={schema}")).args(arguments);
    let out = command::capture(&mut program).unwrap();
    let text = [out.stdout, out.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(out.status.success(), "pgbench {arguments:?}\n{text}");
    text
}

fn figure(output: &str, name: &str) -> u64 {
    let line = output.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().split(['/', ' ', '(']).next().unwrap().parse().unwrap()
}

/// Creates a schema with pgbench's tables.
fn initialised(schema: &str, steps: &str) {
    let create = format!("CREATE SCHEMA {schema} DISTRIBUTED");
    Cluster::shared().connect().batch_execute(&create).unwrap();
    pgbench(schema, &["--initialize", "--quiet", "--init-steps", steps]);
}

/// TPC-B's invariant: the history adds up to the balances of accounts, tellers and branches,
/// and each transaction left one row in it. All of it on the tenant's node.
fn check_books(schema: &str, transactions: u64) {
    let query = format!(
        "SELECT (SELECT count(*) FROM {schema}.pgbench_history), \
                (SELECT sum(delta) FROM {schema}.pgbench_history)::bigint, \
                (SELECT sum(abalance) FROM {schema}.pgbench_accounts)::bigint, \
                (SELECT sum(tbalance) FROM {schema}.pgbench_tellers)::bigint, \
                (SELECT sum(bbalance) FROM {schema}.pgbench_branches)::bigint"
    );
    let cluster = Cluster::shared();
    let through = cluster.connect().query_one(&query, &[]).unwrap();
    let on_node =
        cluster.node_of(schema).connect(DATABASE).unwrap().query_one(&query, &[]).unwrap();
    let figures = |row: &postgres::Row| -> Vec<i64> { (0..5).map(|i| row.get(i)).collect() };
    let found = figures(&through);
    assert_eq!(found, figures(&on_node));
    assert_eq!(found[0], i64::try_from(transactions).unwrap(), "rows of history");
    assert!(found[1..].iter().all(|sum| *sum == found[1]), "sums differ: {found:?}");
}

#[test]
fn pgbench_tpcb_in_every_protocol() {
    let schema = "bench_tpcb";
    initialised(schema, "dtgvp");
    let mut transactions = 0;
    for protocol in ["simple", "extended", "prepared"] {
        let output = pgbench(
            schema,
            &["--protocol", protocol, "--client=4", "--transactions=200", "--no-vacuum"],
        );
        assert_eq!(figure(&output, "number of failed transactions:"), 0, "{output}");
        transactions += figure(&output, "number of transactions actually processed:");
    }
    assert_eq!(transactions, 2400);
    check_books(schema, transactions);
}

#[test]
fn pgbench_initialised_on_the_server_with_foreign_keys_and_partitions() {
    let schema = "bench_partitions";
    let create = format!("CREATE SCHEMA {schema} DISTRIBUTED");
    Cluster::shared().connect().batch_execute(&create).unwrap();
    let arguments = ["--initialize", "--quiet", "--partitions=3", "--init-steps=dtGvpf"];
    pgbench(schema, &arguments);
    let output = pgbench(schema, &["--client=2", "--transactions=100", "--protocol=prepared"]);
    check_books(schema, figure(&output, "number of transactions actually processed:"));
}

#[test]
fn pgbench_scripts_that_come_with_it() {
    let schema = "bench_scripts";
    initialised(schema, "dtgvp");
    for script in ["select-only", "simple-update"] {
        for protocol in ["simple", "prepared"] {
            let arguments = [
                "--builtin",
                script,
                "--protocol",
                protocol,
                "--client=3",
                "--transactions=200",
                "--no-vacuum",
            ];
            let output = pgbench(schema, &arguments);
            assert_eq!(figure(&output, "number of transactions actually processed:"), 600);
        }
    }
}

/// One connection per transaction: no state is kept on either side.
#[test]
fn pgbench_reconnecting_leaves_no_sessions() {
    let schema = "bench_connect";
    initialised(schema, "dtgvp");
    let cluster = Cluster::shared();
    pgbench(schema, &["--connect", "--client=2", "--transactions=50", "--select-only"]);
    let left = || -> Result<(), String> {
        let query = "SELECT query FROM pg_stat_activity WHERE datname = current_database() \
                     AND query LIKE '%bench_connect.%' AND pid <> pg_backend_pid()";
        let node = cluster.node_of(schema).connect(DATABASE).unwrap().query(query, &[]).unwrap();
        if node.is_empty() { Ok(()) } else { Err(format!("{} sessions", node.len())) }
    };
    helios_tests::wait_until("the node's sessions end", helios_tests::BOUND, left);
}
