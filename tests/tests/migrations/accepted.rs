//! Once a migration has been accepted, its schema cannot be changed in ways that would invalidate it until it ends.

use postgres::Client;

use crate::{begin_up_to, cluster_with_failpoints, finish, go_on, node_of, shown, text, wait};
use helios_tests::{BOUND, Cluster, assert_clean, wait_until};

/// Asserts that the statement is refused while the migration is in progress, with a hint.
#[track_caller]
fn refused(client: &mut Client, sql: &str, id: i64) {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    assert_eq!(error.code().code(), "55006", "{sql}: {error:?}");
    assert!(error.message().contains("\"t\""), "{sql}: {error:?}");
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains(&format!("helios_cancel_migration({id})")), "{sql}: {error:?}");
}

/// Statements that would rename, drop or replace the schema.
const CHANGES: [&str; 5] = [
    "ALTER SCHEMA t RENAME TO u",
    "DROP SCHEMA t CASCADE",
    "DROP SCHEMA t CASCADE; CREATE SCHEMA t",
    "DROP SCHEMA IF EXISTS other, t CASCADE",
    "DROP OWNED BY keeper CASCADE",
];

fn stage(cluster: &Cluster, create: &str) -> Client {
    let mut client = cluster.connect();
    client.batch_execute("CREATE ROLE keeper").unwrap();
    client.batch_execute(create).unwrap();
    client
        .batch_execute("CREATE TABLE t.a (id int PRIMARY KEY); INSERT INTO t.a VALUES (1), (2)")
        .unwrap();
    client
}

/// Permitted changes during the migration, which are carried over.
fn changes_that_come_along(client: &mut Client) {
    client
        .batch_execute(
            "ALTER SCHEMA t OWNER TO postgres; GRANT USAGE ON SCHEMA t TO keeper; COMMENT ON SCHEMA t IS 'moving';
             CREATE TABLE t.b (x int); INSERT INTO t.b VALUES (7); ALTER TABLE t.a ADD COLUMN y int DEFAULT 3",
        )
        .unwrap();
}

const CONTENTS: &str = "SELECT (SELECT string_agg(id || '/' || y, ',' ORDER BY id) FROM t.a), (SELECT sum(x) FROM t.b), \
                        obj_description('t'::regnamespace, 'pg_namespace')";

#[test]
fn a_schema_keeps_its_name_while_its_move_is_planned() {
    let cluster = cluster_with_failpoints(2, &[]);
    let create = "CREATE SCHEMA t AUTHORIZATION keeper DISTRIBUTED ON NODE \"node-1\"";
    let mut client = stage(&cluster, create);
    let id = begin_up_to(&cluster, "migration.step.before", "node-2");
    CHANGES.iter().for_each(|sql| refused(&mut client, sql, id));
    changes_that_come_along(&mut client);
    go_on(&cluster, "migration.step.before");
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    assert_eq!(text(&mut client, CONTENTS), ["1/3,2/3|7|moving"]);
    assert_clean(&cluster, &["t"]);
    client.batch_execute("ALTER SCHEMA t RENAME TO u; DROP SCHEMA u CASCADE").unwrap();
}

#[test]
fn a_plain_schema_keeps_its_name_while_it_becomes_a_distributed_one() {
    let cluster = cluster_with_failpoints(1, &[]);
    let mut client = stage(&cluster, "CREATE SCHEMA t AUTHORIZATION keeper");
    for is_kept in [false, true] {
        cluster.failpoint("migration.step.before", "hang", 0, 0);
        client.batch_execute("SELECT helios_distribute_schema('t', 'node-1')").unwrap();
        cluster.wait_for_failpoint("migration.step.before", BOUND);
        let id = crate::last_migration(&mut client);
        CHANGES.iter().for_each(|sql| refused(&mut client, sql, id));
        if is_kept {
            changes_that_come_along(&mut client);
        } else {
            client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
        }
        go_on(&cluster, "migration.step.before");
        if is_kept {
            assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
            finish(&mut client, id);
            assert_eq!(node_of(&mut client, "t").as_deref(), Some("node-1"));
        } else {
            assert_eq!(wait(&mut client, id), "cancelled");
            let known = "SELECT count(*) FROM helios.schema WHERE name IN ('t', 'u')";
            assert_eq!(text(&mut client, known), ["0"]);
            client.batch_execute("ALTER SCHEMA t RENAME TO u; ALTER SCHEMA u RENAME TO t").unwrap();
        }
    }
    assert_eq!(text(&mut client, CONTENTS), ["1/3,2/3|7|moving"]);
    assert_clean(&cluster, &["t"]);
}

/// An uncommitted rename and a new migration: the second one waits for the first.
#[test]
fn a_rename_under_way_and_a_move_exclude_each_other() {
    for (create, moves) in [
        (
            "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"",
            "SELECT helios_migrate_schema('t', 'node-2')",
        ),
        ("CREATE SCHEMA t", "SELECT helios_distribute_schema('t', 'node-2')"),
    ] {
        let cluster = cluster_with_failpoints(2, &[]);
        let mut client = stage(&cluster, create);
        for end in ["ROLLBACK", "COMMIT"] {
            let mut other = cluster.connect();
            client.batch_execute("BEGIN; ALTER SCHEMA t RENAME TO u").unwrap();
            let begun = std::thread::scope(|scope| {
                let begun = scope.spawn(|| other.batch_execute(moves));
                let mut third = cluster.connect();
                wait_until("the move waits", BOUND, || {
                    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT helios_%'";
                    let waiting = text(&mut third, waiting);
                    if waiting == ["1"] { Ok(()) } else { Err(waiting.concat()) }
                });
                client.batch_execute(end).unwrap();
                begun.join().unwrap()
            });
            if end == "COMMIT" {
                let error = begun.unwrap_err();
                assert_eq!(error.code().unwrap().code(), "3F000", "{error:?}");
                let states = "SELECT count(*) FROM helios_migrations WHERE state NOT IN ('rolled_back', 'cancelled')";
                assert_eq!(text(&mut client, states), ["0"]);
                assert_eq!(text(&mut client, "SELECT count(*) FROM u.a"), ["2"]);
                continue;
            }
            begun.unwrap();
            let id = crate::last_migration(&mut client);
            assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
            crate::roll_back(&mut client, id);
        }
    }
}

/// A requested replica refers to the schema by name, too.
#[test]
fn a_schema_keeps_its_name_while_a_copy_of_it_is_planned() {
    let cluster = cluster_with_failpoints(2, &[]);
    let mut client = stage(&cluster, "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"");
    cluster.failpoint("migration.step.before", "hang", 0, 0);
    client.batch_execute("SELECT helios_set_replicas('t', 2)").unwrap();
    cluster.wait_for_failpoint("migration.step.before", BOUND);
    let error = client.batch_execute("ALTER SCHEMA t RENAME TO u").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55006", "{error:?}");
    go_on(&cluster, "migration.step.before");
    let id = crate::last_migration(&mut client);
    crate::wait_to_show(&mut client, id, "in_step");
}
