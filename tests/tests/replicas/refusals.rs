//! Operations that copies prevent, and invalid numbers of copies: a clear message, and nothing changes.

use helios_tests::{BOUND, refused, wait_until};

use crate::{assert_clean, cluster, in_step, replicate, text};

#[test]
fn wrong_arguments() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY); \
             CREATE SCHEMA plain; CREATE ROLE nobody LOGIN",
        )
        .unwrap();
    let empty =
        text(&mut client, "SELECT min(id) FROM helios.shard WHERE kind = 'pooled'").concat();
    for (sql, code, words) in [
        ("SELECT helios_set_replicas('t', 0)", "22023", "invalid number of copies: 0"),
        ("SELECT helios_set_replicas('t', -1)", "22023", "invalid number of copies"),
        ("SELECT helios_set_replicas('t', 3)", "55000", "cannot have 3 copies"),
        ("SELECT helios_set_replicas('t', NULL)", "22004", "copies"),
        ("SELECT helios_set_replicas(NULL::text, 2)", "22004", "schema"),
        ("SELECT helios_set_replicas(NULL::bigint, 2)", "22004", "shard"),
        ("SELECT helios_set_replicas('nowhere', 2)", "3F000", "does not exist"),
        ("SELECT helios_set_replicas('plain', 2)", "42809", "not a distributed schema"),
        ("SELECT helios_set_replicas(4711, 2)", "42704", "shard 4711 does not exist"),
        (&format!("SELECT helios_set_replicas({empty}, 2)"), "55000", "cannot have 2 copies"),
        ("SELECT * FROM helios_promote_replica('t')", "55000", "has no replica in sync"),
        ("SELECT * FROM helios_promote_replica('nowhere')", "3F000", "does not exist"),
        ("SELECT * FROM helios_promote_replica('t', 'node-9')", "42704", "node-9"),
        ("SELECT * FROM helios_promote_replica(4711)", "42704", "4711"),
        ("SELECT * FROM helios_promote_replica(NULL::text)", "22004", "schema"),
    ] {
        refused(&mut client, sql, code, words);
    }
    let mut nobody = cluster.connect_as("nobody");
    for sql in ["SELECT helios_set_replicas('t', 2)", "SELECT helios_promote_replica('t')"] {
        let error = nobody.batch_execute(sql).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{sql}");
    }
    assert_eq!(text(&mut nobody, "SELECT count(*) FROM helios_replicas"), ["0"]);
    cluster.kill_node(2);
    wait_until("the node is known to be gone", BOUND, || {
        let state = text(
            &mut client,
            "SELECT h.state FROM helios.node n, helios.node_health(n.id) h WHERE name = 'node-2'",
        );
        if state == ["offline"] { Ok(()) } else { Err(format!("{state:?}")) }
    });
    refused(
        &mut client,
        "SELECT helios_set_replicas('t', 2)",
        "55000",
        "not enough nodes for 1 more copy",
    );
    assert_eq!(text(&mut client, "SELECT max(replicas) FROM helios.shard"), ["1"]);
}

#[test]
fn what_copies_stand_in_the_way_of() {
    let cluster = cluster(3);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY); \
             CREATE SCHEMA pooled DISTRIBUTED; CREATE TABLE pooled.a (id int PRIMARY KEY); CREATE SCHEMA bare DISTRIBUTED ON NODE \"node-1\"",
        )
        .unwrap();
    replicate(&mut client, "t", 2);
    replicate(&mut client, "bare", 2);
    let copy = in_step(&mut client, "t", 1).concat();
    let shard =
        text(&mut client, "SELECT shard FROM helios_schemas WHERE schema = 'pooled'").concat();
    text(&mut client, &format!("SELECT helios_set_replicas({shard}, 2)"));
    in_step(&mut client, "pooled", 1);
    let id = text(&mut client, "SELECT migration FROM helios_replicas WHERE 't' = ANY (schemas)")
        .concat();
    for (sql, code, words) in [
        ("SELECT helios_migrate_schema('t', 'node-3')", "55000", "has replicas on other nodes"),
        ("SELECT helios_undistribute_schema('t')", "55000", "has replicas on other nodes"),
        ("SELECT helios_undistribute_schema('bare')", "55000", "has replicas on other nodes"),
        (
            &format!("SELECT helios_migrate_shard({shard}, 'node-3')"),
            "55000",
            "has replicas on other nodes",
        ),
        (&format!("SELECT helios_split_shard({shard})"), "55006", "while it has replicas"),
        (
            &format!("SELECT helios_merge_shards({shard}, {shard}::bigint + 1)"),
            "55006",
            "while it has replicas",
        ),
        ("SELECT helios_set_replicas('pooled', 3)", "55000", "belong to its shard"),
        ("DROP SCHEMA t CASCADE", "55006", "while it has replicas"),
        ("ALTER SCHEMA t RENAME TO u", "55006", "while it has replicas"),
        ("TRUNCATE t.a", "55006", "while it has replicas"),
        ("CREATE TABLE t.b (i int)", "55006", "while it has replicas"),
        ("SELECT helios_drain_node('node-1')", "55006", "cannot drain node \"node-1\""),
        (&format!("SELECT helios_drain_node('{copy}')"), "55006", "cannot drain"),
        (&format!("SELECT helios_remove_node('{copy}')"), "55006", "cannot remove"),
        (&format!("SELECT helios_cancel_migration({id})"), "55000", "maintains a replica"),
        (&format!("SELECT helios_finish_migration({id})"), "55000", "maintains a replica"),
        ("BEGIN; SELECT helios_promote_replica('t')", "25001", "transaction block"),
    ] {
        refused(&mut client, sql, code, words);
        client.batch_execute("ROLLBACK").unwrap();
    }
    in_step(&mut client, "t", 1);
    for schema in ["t", "bare"] {
        replicate(&mut client, schema, 1);
    }
    text(&mut client, &format!("SELECT helios_set_replicas({shard}, 1)"));
    in_step(&mut client, "pooled", 0);
    assert_clean(&cluster, &["t"]);
    client.batch_execute("DROP SCHEMA t, bare CASCADE").unwrap();
}
