//! Requests to a migration at the very moment of its switch.

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{SETTINGS, assert_clean, begin, finish, node_of, roll_back, shown, switch, text, wait};

const TENANT: &str = "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\";
    CREATE TABLE t.nokey (x int); INSERT INTO t.nokey SELECT generate_series(1, 10)";

/// A migration that hangs at a failpoint.
fn held_at(place: &str) -> (Cluster, Client, i64) {
    let cluster = Cluster::with_failpoints(2, &SETTINGS);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    cluster.failpoint(place, "hang", 1, 0);
    let id = begin(&mut client, "t", "node-2");
    wait_until(&format!("{place} is reached"), BOUND, || match cluster.failpoint_hits(place) {
        0 => Err(shown(&mut client, id)),
        _ => Ok(()),
    });
    (cluster, client, id)
}

/// Replication to the new copy must be stopped before the reverse channel starts, also if nothing happens between the
/// switch and the request.
#[test]
fn rows_do_not_go_round_when_the_way_back_is_asked_for_right_after_the_switch() {
    let (cluster, mut client, id) = held_at("migration.switch.after");
    client.batch_execute("INSERT INTO t.nokey VALUES (11)").unwrap();
    client.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
    cluster.failpoint("migration.switch.after", "off", 0, 0);
    assert_eq!(wait(&mut client, id), "rolled_back", "{}", shown(&mut client, id));
    assert_eq!(text(&mut client, "SELECT count(*), sum(x) FROM t.nokey"), ["11|66"]);
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-1"));
    assert_clean(&cluster, &["t"]);
}

/// The cancel is requested before the switch is committed, so the switch does not happen.
#[test]
fn a_cancel_that_is_accepted_behind_the_fence_comes_true() {
    let (cluster, mut client, id) = held_at("migration.fence.after");
    client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
    cluster.failpoint("migration.fence.after", "off", 0, 0);
    assert_eq!(wait(&mut client, id), "cancelled", "{}", shown(&mut client, id));
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-1"));
    assert_clean(&cluster, &["t"]);
}

/// The cancel is requested when the switch can no longer be stopped; it waits for the switch, and is then refused.
#[test]
fn a_cancel_that_comes_with_the_flip_is_refused() {
    let (cluster, mut client, id) = held_at("migration.flip.before");
    let refused = std::thread::scope(|scope| {
        let cancel = scope.spawn(|| {
            let mut client = cluster.connect();
            client.batch_execute("SET application_name = 'canceller'").unwrap();
            client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap_err()
        });
        wait_until("the cancel waits for the flip", BOUND, || {
            let waits = "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE application_name = 'canceller'";
            let seen = text(&mut client, waits);
            if seen.iter().any(|row| row.starts_with("Lock|")) {
                Ok(())
            } else {
                Err(seen.join(" "))
            }
        });
        cluster.failpoint("migration.flip.before", "off", 0, 0);
        cancel.join().unwrap()
    });
    assert_eq!(refused.code().unwrap().code(), "55000", "{refused:?}");
    let hint = refused.as_db_error().unwrap().hint().unwrap_or_default();
    assert!(hint.contains("helios_rollback_migration"), "{hint}");
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    roll_back(&mut client, id);
    assert_clean(&cluster, &["t"]);
}

/// An expired rollback window does not end the migration during a comparison requested within the window.
#[test]
fn a_comparison_asked_for_at_the_end_of_the_window_is_made_first() {
    let (cluster, mut client, id) = held_at("migration.switch.after");
    client.batch_execute("ALTER SYSTEM SET helios.rollback_window = 0").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    let compared = std::thread::scope(|scope| {
        let compare = scope.spawn(|| {
            text(&mut cluster.connect(), "SELECT mismatches FROM helios_verify_schema('t')")
        });
        wait_until("the comparison is asked for", BOUND, || {
            let seen = shown(&mut client, id);
            if seen.contains("verify") { Ok(()) } else { Err(seen) }
        });
        cluster.failpoint("migration.switch.after", "off", 0, 0);
        compare.join().unwrap()
    });
    assert_eq!(compared, ["0"]);
    wait_until("the migration is finished", BOUND, || {
        let state = text(&mut client, "SELECT state FROM helios_migrations");
        if state == ["finished"] { Ok(()) } else { Err(state.join(" ")) }
    });
    assert_clean(&cluster, &["t"]);
}

/// A rollback is requested when the window has expired and the worker is about to record that.
#[test]
fn a_way_back_that_is_accepted_at_the_end_of_the_window_comes_true() {
    let (cluster, mut client, id) = held_at("migration.switch.after");
    client.batch_execute("ALTER SYSTEM SET helios.rollback_window = 0").unwrap();
    client.batch_execute("SELECT pg_reload_conf()").unwrap();
    cluster.failpoint("migration.step.before", "hang", 1, 0);
    cluster.failpoint("migration.switch.after", "off", 0, 0);
    wait_until("the next step begins", BOUND, || {
        match cluster.failpoint_hits("migration.step.before") {
            0 => Err(shown(&mut client, id)),
            _ => Ok(()),
        }
    });
    client.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
    cluster.failpoint("migration.step.before", "off", 0, 0);
    wait_until("the migration is over", BOUND, || {
        let state = text(&mut client, "SELECT state FROM helios_migrations");
        if state == ["rolled_back"] { Ok(()) } else { Err(state.join(" ")) }
    });
    assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-1"));
    assert_clean(&cluster, &["t"]);
}

/// A round that was counted has not created the definitions yet.
#[test]
fn a_schema_without_rows_moves_although_its_worker_is_killed() {
    let cluster = Cluster::with_failpoints(2, &SETTINGS);
    let mut client = cluster.connect();
    client.batch_execute("CREATE SCHEMA e DISTRIBUTED ON NODE \"node-1\"; CREATE FUNCTION e.f() RETURNS int LANGUAGE sql AS 'SELECT 7'").unwrap();
    cluster.failpoint("migration.slot.before", "die", 1, 0);
    let id = begin(&mut client, "e", "node-2");
    drop(client);
    let mut client = wait_until("the migration has switched", BOUND, || {
        let mut client =
            cluster.coordinator().connect(DATABASE).map_err(|error| format!("{error:#}"))?;
        let state = client.query_one("SELECT state FROM helios.migration WHERE id = $1", &[&id]);
        match state.map_err(|error| error.to_string())?.get::<_, String>(0) {
            state if state == "dual_write_back" => Ok(client),
            state => Err(state),
        }
    });
    finish(&mut client, id);
    assert_eq!(text(&mut client, "SELECT e.f()"), ["7"]);
    assert_eq!(node_of(&mut client, "e").as_deref(), Some("node-2"));
    assert_clean(&cluster, &["e"]);
}

/// The cleanup of a rollback reaches the node before the switch, which is prepared there, has been committed: recovery
/// is held back until then.
#[test]
fn a_copy_is_not_forgotten_while_its_fence_is_in_doubt() {
    let settings = [&SETTINGS[..], &["helios.recovery_interval = '500ms'"]].concat();
    let cluster = Cluster::with_failpoints(2, &settings);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    let id = switch(&mut client, "t", "node-2");
    // Recovery runs in the process that starts the worker, which must be running when recovery is held.
    let place = "migration.switch.before";
    cluster.failpoint(place, "hang", 0, 0);
    client.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
    cluster.wait_for_failpoint(place, BOUND);
    cluster.failpoint("recovery.before", "hang", 0, 0);
    cluster.failpoint("commit_prepared.before", "error", 1, 0);
    cluster.failpoint_off(place, BOUND);
    wait_until("the cleanup has reached the node in doubt", BOUND, || {
        let query =
            "SELECT state = 'rolled_back' OR state = 'cleanup' AND tries > 0 FROM helios.migration";
        let tried = text(&mut client, query) == ["t"];
        if tried { Ok(()) } else { Err(shown(&mut client, id)) }
    });
    cluster.failpoint("recovery.before", "off", 0, 0);
    wait_until("the migration is over", BOUND, || {
        let state = text(&mut client, "SELECT state FROM helios_migrations");
        if state == ["rolled_back"] { Ok(()) } else { Err(shown(&mut client, id)) }
    });
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.nokey"), ["10"]);
    assert_clean(&cluster, &["t"]);
}
