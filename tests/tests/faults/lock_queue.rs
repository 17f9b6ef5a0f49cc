//! Transactions that wait for each other meet in the coordinator's lock queue: those that PostgreSQL would let pass
//! continue, and nobody waits forever.

use helios_tests::wait_until;
use postgres::Client;

use crate::{BOUND, cluster_with_table};

const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

/// The session holds the locks taken by `sql`, another one waits for it to change the definition: then the session can
/// continue to use the table, as on one server, where it precedes the other one in the queue.
#[track_caller]
fn goes_on_after(clients: &mut [Client; 3], sql: &str, alter: &str, select: &str) {
    let [user, admin, watch] = clients;
    user.batch_execute("BEGIN; SET LOCAL statement_timeout = '10s'").unwrap();
    user.batch_execute(sql).unwrap();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| admin.batch_execute(alter));
        wait_until("the other one waits", BOUND, || {
            match watch.query_one(WAITING, &[]).unwrap().get::<_, i64>(0) {
                1 => Ok(()),
                seen => Err(format!("{seen} wait")),
            }
        });
        let went_on = user.batch_execute(select);
        user.batch_execute("ROLLBACK").unwrap();
        other.join().unwrap().unwrap();
        went_on.unwrap_or_else(|error| panic!("{sql}: {error}"));
    });
}

#[test]
fn statements_on_listed_tables_stand_in_the_lock_queue() {
    let (cluster, mut user) = cluster_with_table("l");
    let create = "CREATE MATERIALIZED VIEW l.m AS SELECT x FROM l.t; CREATE UNIQUE INDEX ON l.m (x); \
                  CREATE TABLE l.child (x int REFERENCES l.t); CREATE TABLE public.here (x int)";
    user.batch_execute(create).unwrap();
    let mut clients = [user, cluster.connect(), cluster.connect()];
    for sql in [
        "LOCK TABLE l.t IN ACCESS SHARE MODE",
        "LOCK TABLE l.t, public.here",
        "TRUNCATE l.child, l.t",
        "TRUNCATE l.t CASCADE",
        "TRUNCATE l.t RESTART IDENTITY CASCADE",
        "ANALYZE l.t",
        "REINDEX TABLE l.t",
        "REINDEX INDEX l.t_pkey",
        "CLUSTER l.t USING t_pkey",
    ] {
        let alter = "ALTER TABLE l.t ALTER COLUMN x SET DEFAULT 1";
        goes_on_after(&mut clients, sql, alter, "SELECT count(*) FROM l.t");
    }
    for sql in ["REFRESH MATERIALIZED VIEW l.m", "REFRESH MATERIALIZED VIEW CONCURRENTLY l.m"] {
        let alter = "ALTER MATERIALIZED VIEW l.m RENAME COLUMN x TO y; \
                     ALTER MATERIALIZED VIEW l.m RENAME COLUMN y TO x";
        goes_on_after(&mut clients, sql, alter, "SELECT count(*) FROM l.m");
    }
}

/// A deadlock that the coordinator can detect is detected.
#[test]
fn deadlock_of_table_locks_is_detected() {
    let (cluster, mut one) = cluster_with_table("l");
    let mut other = cluster.connect();
    one.batch_execute("CREATE TABLE l.u (x int)").unwrap();
    one.batch_execute("BEGIN; LOCK TABLE l.t").unwrap();
    other.batch_execute("BEGIN; LOCK TABLE l.u").unwrap();
    let outcomes = std::thread::scope(|scope| {
        let waits = scope.spawn(|| one.batch_execute("LOCK TABLE l.u"));
        let second = other.batch_execute("LOCK TABLE l.t");
        if second.is_err() {
            other.batch_execute("ROLLBACK").unwrap();
        }
        [waits.join().unwrap(), second]
    });
    let errors: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert_eq!(errors.len(), 1, "{outcomes:?}");
    assert_eq!(errors[0].code().map(|code| code.code()), Some("40P01"), "{errors:?}");
}

/// A role without the privilege to lock a table does not make others wait either.
#[test]
fn locks_need_the_rights_of_the_statement() {
    let (cluster, mut admin) = cluster_with_table("l");
    admin.batch_execute("CREATE ROLE mallory LOGIN; GRANT USAGE ON SCHEMA l TO mallory").unwrap();
    admin.batch_execute("BEGIN; SELECT count(*) FROM l.t").unwrap();
    let mut mallory = cluster.connect_as("mallory");
    for sql in ["TRUNCATE l.t", "LOCK TABLE l.t", "REINDEX TABLE l.t", "CLUSTER l.t USING t_pkey"] {
        let error = mallory.batch_execute(&format!("SET lock_timeout = '10s'; {sql}")).unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{sql}: {error}");
    }
}
