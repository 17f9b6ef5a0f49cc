//! Tenants' triggers do not run with the privileges of migrations, which are a superuser's.

use std::sync::atomic::{AtomicBool, Ordering};

use helios_tests::{BOUND, Cluster, Stop};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{
    cluster_with_failpoints, end_worker, finish, last_migration, roll_back, shown, switch, text,
    wait,
};

/// Makes its tenant a superuser if run by a superuser, whatever fires it.
const SEIZE: &str = "CREATE FUNCTION t.seize() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
      EXECUTE format('ALTER ROLE intruder SUPERUSER CONNECTION LIMIT %s', length(TG_NAME || TG_OP));
    END IF;
    RETURN coalesce(NEW, OLD); END $$";

/// Triggers of every kind on a table, in every state.
fn triggers(table: &str) -> String {
    let mut all = String::new();
    for (state, enable) in [("o", "ENABLE"), ("a", "ENABLE ALWAYS"), ("r", "ENABLE REPLICA")] {
        for time in ["BEFORE", "AFTER"] {
            for (level, events) in [
                ("ROW", "INSERT OR UPDATE OR DELETE"),
                ("STATEMENT", "INSERT OR UPDATE OR DELETE OR TRUNCATE"),
            ] {
                let name = format!("{state}_{time}_{level}");
                all.push_str(&format!(
                    "CREATE TRIGGER {name} {time} {events} ON {table} FOR EACH {level} EXECUTE FUNCTION t.seize();
                     ALTER TABLE {table} {enable} TRIGGER {name};"
                ));
            }
        }
    }
    all
}

fn tenant(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE ROLE intruder LOGIN; CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; ALTER SCHEMA t OWNER TO intruder")
        .unwrap();
    let mut intruder = cluster.connect_as("intruder");
    intruder.batch_execute(SEIZE).unwrap();
    for (table, kind, columns) in [
        ("t.a", "", "x int PRIMARY KEY, v text"),
        ("t.b", "", "x int PRIMARY KEY REFERENCES t.a ON DELETE CASCADE, v text"),
        ("t.nokey", "", "x int, v text"),
        ("t.u", "UNLOGGED", "x int, v text"),
    ] {
        intruder.batch_execute(&format!("CREATE {kind} TABLE {table} ({columns})")).unwrap();
        intruder
            .batch_execute(&format!(
                "INSERT INTO {table} SELECT i, 'x' FROM generate_series(-20, -1) i"
            ))
            .unwrap();
        intruder.batch_execute(&triggers(table)).unwrap();
    }
    client
}

/// Writes in every way during an operation.
fn while_written(cluster: &Cluster, what: impl FnOnce(&mut Client)) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut intruder = cluster.connect_as("intruder");
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                for table in ["t.a", "t.nokey", "t.u"] {
                    let work = format!(
                        "INSERT INTO {table} VALUES ({number}, 'new'); UPDATE {table} SET v = 'old' WHERE x = {number}; \
                         DELETE FROM {table} WHERE x = {number}"
                    );
                    intruder.batch_execute(&work).unwrap();
                }
            }
        });
        let halt = Stop(&stop);
        what(&mut cluster.connect());
        drop(halt);
        writer.join().unwrap();
    });
}

#[track_caller]
fn assert_not_seized(cluster: &Cluster) {
    for server in cluster.nodes().iter().chain([cluster.coordinator()]) {
        let mut client = server.connect(DATABASE).unwrap();
        let role = "SELECT rolsuper, rolconnlimit FROM pg_roles WHERE rolname = 'intruder'";
        assert_eq!(text(&mut client, role), ["f|-1"], "on {}", server.name);
    }
    let kept = "SELECT count(*) FILTER (WHERE tgenabled = 'O'), count(*) FILTER (WHERE tgenabled = 'A'), \
        count(*) FILTER (WHERE tgenabled = 'R') FROM pg_trigger WHERE tgfoid = 't.seize'::regproc";
    assert_eq!(text(&mut cluster.connect(), kept), ["16|16|16"]);
}

#[test]
fn triggers_of_tenants_never_run_as_superuser() {
    let cluster = cluster_with_failpoints(2, &[]);
    let mut client = tenant(&cluster);
    while_written(&cluster, |client| {
        let id = twice(&cluster, client, "SELECT helios_migrate_schema('t', 'node-2')");
        assert_eq!(wait(client, id), "dual_write_back", "{}", shown(client, id));
        roll_back(client, id);
        assert_not_seized(&cluster);
        let id = switch(client, "t", "node-2");
        finish(client, id);
    });
    assert_not_seized(&cluster);
    let home = "SELECT helios_undistribute_schema('t')";
    let away = "SELECT helios_distribute_schema('t', 'node-1')";
    for (function, ends_there) in [(home, false), (home, true), (away, false), (away, true)] {
        while_written(&cluster, |client| {
            let id = twice(&cluster, client, function);
            assert_eq!(wait(client, id), "dual_write_back", "{}", shown(client, id));
            if ends_there { finish(client, id) } else { roll_back(client, id) }
        });
        assert_not_seized(&cluster);
    }
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["20"]);
}

/// Starts a migration whose copy is interrupted once it has rows, and starts it again.
fn twice(cluster: &Cluster, client: &mut Client, function: &str) -> i64 {
    let place = "migration.table.copied";
    cluster.failpoint(place, "hang", 0, 0);
    client.batch_execute(function).unwrap();
    cluster.wait_for_failpoint(place, BOUND);
    end_worker(client);
    cluster.failpoint_off(place, BOUND);
    last_migration(client)
}
