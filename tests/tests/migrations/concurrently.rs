//! The remains of a failed CONCURRENTLY look as on one PostgreSQL server, here and on the node, and can be removed in
//! the same way.

use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{finish, shown, switch, text};
use helios_tests::{BOUND, Cluster, PlainServer, assert_clean, wait_until};

/// Indexes and partitions as shown by PostgreSQL; names of TOAST indexes contain OIDs.
const SHOWN: &str = "SELECT format('%s on %s: %s %s %s', i.relname, t.relname, x.indisvalid, x.indisready, x.indislive)
       FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid WHERE t.relnamespace = 't'::regnamespace
     UNION ALL SELECT format('%s below %s: %s', inhrelid::regclass::text, inhparent::regclass::text, inhdetachpending) FROM pg_inherits
      JOIN pg_class c ON c.oid = inhrelid WHERE c.relnamespace = 't'::regnamespace AND c.relkind IN ('r', 'p')
     UNION ALL SELECT format('%s: %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 't'::regnamespace AND contype <> 'n' ORDER BY 1";

const TABLES: &str = "CREATE TABLE t.a (id int PRIMARY KEY, x int, y text); INSERT INTO t.a SELECT i, i % 10, i FROM generate_series(1, 100) i;
    CREATE INDEX there ON t.a (y);
    CREATE TABLE t.p (id int) PARTITION BY RANGE (id); CREATE TABLE t.p1 PARTITION OF t.p FOR VALUES FROM (1) TO (100);
    CREATE TABLE t.p2 PARTITION OF t.p FOR VALUES FROM (100) TO (200); INSERT INTO t.p SELECT generate_series(1, 150)";

/// How a statement is interrupted once it waits for a transaction that has locked the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Cancel,
    Timeout,
    Terminate,
    /// The statement fails by itself.
    Fails,
}

struct Side {
    client: Client,
    /// Holds the table's lock in another transaction, on the server with the rows.
    holder: Client,
    connect: Box<dyn Fn() -> Client>,
}

impl Side {
    /// Runs a statement that fails.
    fn fail(&mut self, sql: &str, end: End) -> String {
        if end == End::Fails {
            return code(&self.client.batch_execute(sql).expect_err(sql));
        }
        self.holder
            .batch_execute(
                "BEGIN; LOCK TABLE t.a IN ROW EXCLUSIVE MODE; LOCK TABLE t.p IN ROW EXCLUSIVE MODE",
            )
            .unwrap();
        let mut other = (self.connect)();
        if end == End::Timeout {
            other.batch_execute("SET statement_timeout = '2s'").unwrap();
        }
        let pid: i32 = other.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
        let failed = std::thread::scope(|scope| {
            let failed = scope.spawn(|| code(&other.batch_execute(sql).expect_err(sql)));
            if end != End::Timeout {
                wait_until("the statement waits for the other transaction", BOUND, || {
                    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'virtualxid'";
                    let waits = text(&mut self.holder, waits);
                    if waits == ["0"] { Err(waits.concat()) } else { Ok(()) }
                });
                let stop =
                    if end == End::Cancel { "pg_cancel_backend" } else { "pg_terminate_backend" };
                self.client.query_one(&format!("SELECT {stop}($1)"), &[&pid]).unwrap();
            }
            failed.join().unwrap()
        });
        self.holder.batch_execute("COMMIT").unwrap();
        if end == End::Terminate {
            wait_until("nobody builds an index any more", BOUND, || {
                let busy = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%CONCURRENTLY%'";
                let busy = text(&mut self.holder, busy);
                if busy == ["0"] { Ok(()) } else { Err(busy.concat()) }
            });
        }
        // The server's last message may be lost when it closes the connection.
        if end == End::Terminate && failed == "lost" { "57P01".to_owned() } else { failed }
    }
}

fn code(error: &postgres::Error) -> String {
    error.code().map_or_else(|| "lost".to_owned(), |code| code.code().to_owned())
}

/// What fails, how, and how to repair it.
const CASES: [(&str, End, &str); 16] = [
    ("CREATE UNIQUE INDEX CONCURRENTLY u ON t.a (x)", End::Fails, "DROP INDEX t.u"),
    ("CREATE UNIQUE INDEX CONCURRENTLY u ON t.a (x)", End::Fails, "DROP INDEX CONCURRENTLY t.u"),
    (
        "CREATE UNIQUE INDEX CONCURRENTLY u ON t.a (x)",
        End::Fails,
        "UPDATE t.a SET x = id; REINDEX INDEX t.u; DROP INDEX t.u; UPDATE t.a SET x = id % 10",
    ),
    ("CREATE INDEX CONCURRENTLY ON t.a ((1 / (id - 50)))", End::Fails, "DROP INDEX t.a_expr_idx"),
    (
        "CREATE INDEX CONCURRENTLY c ON t.a (x)",
        End::Cancel,
        "DROP INDEX t.c; CREATE INDEX c ON t.a (x); DROP INDEX t.c",
    ),
    (
        "CREATE INDEX CONCURRENTLY c ON t.a (x) WHERE x > 3",
        End::Timeout,
        "DROP INDEX CONCURRENTLY t.c",
    ),
    ("CREATE INDEX CONCURRENTLY c ON t.a (x)", End::Terminate, "DROP INDEX t.c"),
    (
        "CREATE INDEX CONCURRENTLY c ON t.a (x)",
        End::Terminate,
        "REINDEX INDEX CONCURRENTLY t.c; DROP INDEX t.c",
    ),
    ("REINDEX INDEX CONCURRENTLY t.there", End::Cancel, "DROP INDEX t.there_ccnew"),
    (
        "REINDEX TABLE CONCURRENTLY t.a",
        End::Timeout,
        "DROP INDEX IF EXISTS t.there_ccnew; DROP INDEX IF EXISTS t.a_pkey_ccnew",
    ),
    (
        "REINDEX SCHEMA CONCURRENTLY t",
        End::Cancel,
        "DROP INDEX IF EXISTS t.there_ccnew; DROP INDEX IF EXISTS t.a_pkey_ccnew",
    ),
    (
        "DROP INDEX CONCURRENTLY t.there",
        End::Cancel,
        "DROP INDEX t.there; CREATE INDEX there ON t.a (y)",
    ),
    ("DROP INDEX CONCURRENTLY t.there", End::Timeout, "REINDEX INDEX t.there"),
    (
        "ALTER TABLE t.p DETACH PARTITION t.p1 CONCURRENTLY",
        End::Cancel,
        "ALTER TABLE t.p DETACH PARTITION t.p1 FINALIZE; ALTER TABLE t.p ATTACH PARTITION t.p1 FOR VALUES FROM (1) TO (100)",
    ),
    (
        "ALTER TABLE t.p DETACH PARTITION t.p1 CONCURRENTLY",
        End::Timeout,
        "ALTER TABLE t.p DETACH PARTITION t.p1 FINALIZE; DROP TABLE t.p1; CREATE TABLE t.p1 PARTITION OF t.p FOR VALUES FROM (1) TO (100)",
    ),
    (
        "ALTER TABLE t.p DETACH PARTITION t.p1 CONCURRENTLY",
        End::Terminate,
        "ALTER TABLE t.p DETACH PARTITION t.p1 FINALIZE",
    ),
];

#[test]
fn what_fails_leaves_what_one_server_shows() {
    let cluster = Cluster::with_settings(2, &crate::SETTINGS);
    let plain = PlainServer::start();
    let mut here = Side {
        client: cluster.connect(),
        holder: cluster.connect_to_node(1),
        connect: Box::new({
            let server = cluster.coordinator().clone();
            move || server.connect(DATABASE).unwrap()
        }),
    };
    let mut one = Side {
        client: plain.connect(),
        holder: plain.connect(),
        connect: Box::new({
            let server = plain.server.clone();
            move || server.connect(DATABASE).unwrap()
        }),
    };
    here.client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"").unwrap();
    one.client.batch_execute("CREATE SCHEMA t").unwrap();
    for side in [&mut here, &mut one] {
        side.client.batch_execute(TABLES).unwrap();
    }
    let mut node = cluster.connect_to_node(1);
    for (sql, end, mend) in CASES {
        let codes = [here.fail(sql, end), one.fail(sql, end)];
        assert_eq!(codes[0], codes[1], "{sql} {end:?}");
        let expected = text(&mut one.client, SHOWN);
        assert_eq!(text(&mut node, SHOWN), expected, "{sql} {end:?}: the node");
        if end == End::Terminate {
            // Nobody was left to report it to; the next such statement makes up for it.
        } else {
            assert_eq!(text(&mut here.client, SHOWN), expected, "{sql} {end:?}: the shell");
            let again =
                sql.contains("CREATE").then(|| code(&here.client.batch_execute(sql).unwrap_err()));
            assert!(
                again.is_none_or(|code| code == "42P07" || sql.contains("ON t.a ((")),
                "{sql} {end:?}"
            );
            if sql.contains("((") {
                here.client.batch_execute("DROP INDEX t.a_expr_idx1").unwrap();
            }
            let error = here.client.batch_execute("SELECT helios_migrate_schema('t', 'node-2')");
            if let Err(error) = error {
                assert_eq!(code(&error), "55000", "{sql}: {error:?}");
            } else {
                let id = crate::last_migration(&mut here.client);
                assert_eq!(
                    crate::wait(&mut here.client, id),
                    "failed",
                    "{}",
                    shown(&mut here.client, id)
                );
                let seen = shown(&mut here.client, id);
                assert!(
                    ["u", "_ccnew", "t.c", "t.there", "t.p1", "expr_idx"]
                        .iter()
                        .any(|name| seen.contains(name)),
                    "{seen}"
                );
                assert!(seen.contains("cannot move"), "{seen}");
            }
        }
        for side in [&mut here, &mut one] {
            for statement in mend.split("; ") {
                let done = side.client.batch_execute(statement);
                done.unwrap_or_else(|error| panic!("{sql} {end:?}: {statement}: {error:?}"));
            }
        }
        let expected = text(&mut one.client, SHOWN);
        assert_eq!(text(&mut node, SHOWN), expected, "{sql} {end:?} {mend}: the node");
        assert_eq!(text(&mut here.client, SHOWN), expected, "{sql} {end:?} {mend}: the shell");
    }
    // Success looks the same, too, and then the schema moves.
    for side in [&mut here, &mut one] {
        side.client.batch_execute("ALTER TABLE t.p DETACH PARTITION t.p2 CONCURRENTLY").unwrap();
    }
    let expected = text(&mut one.client, SHOWN);
    assert_eq!(text(&mut node, SHOWN), expected);
    let id = switch(&mut here.client, "t", "node-2");
    finish(&mut here.client, id);
    assert_clean(&cluster, &["t"]);
}
