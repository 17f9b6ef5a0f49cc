//! Colocated schemas refer to each other, and whatever moves one of them moves all.

use helios_tests::{BOUND, Cluster, assert_clean, node_of, refused, text, wait_until};
use postgres::Client;
use postgres::error::SqlState;

use crate::{begin, cluster, finish, roll_back, shown, switch, wait};

/// Two schemas on one node, each in a shard of its own.
fn two_schemas(cluster: &Cluster) -> Client {
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA a DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA b DISTRIBUTED ON NODE \"node-1\";
             CREATE TABLE a.t (id int PRIMARY KEY, x text);
             INSERT INTO a.t SELECT i, 'a' || i FROM generate_series(1, 20) i",
        )
        .unwrap();
    client
}

const TRIGGER: &str =
    "CREATE TRIGGER changed AFTER INSERT ON a.t FOR EACH ROW EXECUTE FUNCTION b.changed()";

/// What of schema `b` refers to schema `a`, of every kind.
fn refer(client: &mut Client) {
    client
        .batch_execute(
            "CREATE TYPE a.mood AS ENUM ('good', 'bad');
             CREATE TABLE b.u (id int PRIMARY KEY, t int REFERENCES a.t ON DELETE CASCADE, m a.mood);
             INSERT INTO b.u SELECT id, id, 'good' FROM a.t;
             CREATE VIEW b.v AS SELECT u.id, t.x FROM b.u JOIN a.t ON t.id = u.t;
             CREATE TABLE b.like_t (LIKE a.t INCLUDING ALL);
             CREATE TABLE b.child (y int) INHERITS (a.t);
             INSERT INTO b.child VALUES (100, 'child', 1);
             CREATE TABLE a.p (k int, v text) PARTITION BY LIST (k);
             CREATE TABLE b.p1 PARTITION OF a.p FOR VALUES IN (1);
             INSERT INTO a.p VALUES (1, 'one');
             CREATE FUNCTION a.twice(i int) RETURNS int LANGUAGE sql AS 'SELECT 2 * i';
             CREATE FUNCTION b.count_t() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM a.t); END';
             CREATE FUNCTION b.changed() RETURNS trigger LANGUAGE plpgsql AS
                 'BEGIN INSERT INTO b.log VALUES (NEW.id); RETURN NEW; END';
             CREATE TABLE b.log (id int)",
        )
        .unwrap();
    client.batch_execute(TRIGGER).unwrap();
}

/// Uses all that [`refer`] created, and leaves the rows as they were.
#[track_caller]
fn use_all(client: &mut Client) {
    client
        .batch_execute("INSERT INTO a.t VALUES (21, 'new'); INSERT INTO b.u VALUES (21, 21, 'bad')")
        .unwrap();
    assert_eq!(text(client, "SELECT x FROM b.v WHERE id = 21"), ["new"]);
    assert_eq!(text(client, "SELECT v FROM b.p1"), ["one"]);
    assert_eq!(text(client, "SELECT x FROM a.t WHERE id = 100"), ["child"]);
    assert_eq!(text(client, "SELECT b.count_t()::text FROM b.u LIMIT 1"), ["22"]);
    assert_eq!(text(client, "SELECT a.twice(id)::text FROM b.u WHERE id = 21"), ["42"]);
    assert_eq!(text(client, "SELECT count(*)::text FROM b.log WHERE id = 21"), ["1"]);
    let dangling = client.batch_execute("INSERT INTO b.u VALUES (22, 4711, NULL)").unwrap_err();
    assert_eq!(dangling.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
    client.batch_execute("DELETE FROM a.t WHERE id = 21; DELETE FROM b.log").unwrap();
    assert_eq!(text(client, "SELECT count(*)::text FROM b.u"), ["20"]);
}

fn shards(client: &mut Client) -> String {
    let query = "SELECT count(DISTINCT shard) || ' ' || string_agg(DISTINCT kind, ',') || ' ' || string_agg(DISTINCT node, ',')
                   FROM helios_schemas WHERE schema IN ('a', 'b')";
    text(client, query).concat()
}

#[test]
fn colocated_schemas_move_together_with_all_that_refers_between_them() {
    let cluster = cluster(2);
    let mut client = two_schemas(&cluster);
    refer(&mut client);
    assert_eq!(shards(&mut client), "2 dedicated node-1");
    assert_eq!(
        text(&mut client, "SELECT coalesce(helios_colocate('b', 'a')::text, 'done')"),
        ["done"]
    );
    assert_eq!(shards(&mut client), "1 dedicated node-1");
    // The second time there is nothing to do.
    assert_eq!(
        text(&mut client, "SELECT coalesce(helios_colocate('a', 'b')::text, 'done')"),
        ["done"]
    );
    use_all(&mut client);
    let id = switch(&mut client, "b", "node-2");
    assert_eq!(shards(&mut client), "1 dedicated node-2");
    use_all(&mut client);
    roll_back(&mut client, id);
    assert_eq!(shards(&mut client), "1 dedicated node-1");
    use_all(&mut client);
    let id = switch(&mut client, "a", "node-2");
    finish(&mut client, id);
    assert_eq!(shards(&mut client), "1 dedicated node-2");
    use_all(&mut client);
    assert_clean(&cluster, &["a", "b"]);
    // A pattern that one of them matches takes both.
    let moved = "SELECT array_agg(m)::text FROM helios_migrate('node-2', 'node-1', 'a') m";
    let ids = text(&mut client, moved).concat();
    let id: i64 = ids.trim_matches(['{', '}']).parse().unwrap();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    assert_eq!(shards(&mut client), "1 dedicated node-1");
    client.batch_execute("DROP SCHEMA b CASCADE; INSERT INTO a.t VALUES (22, 'alone')").unwrap();
    client.batch_execute("DROP SCHEMA a CASCADE").unwrap();
    let left = "SELECT count(*)::text FROM helios_shards WHERE kind = 'dedicated'";
    assert_eq!(text(&mut client, left), ["0"]);
}

#[test]
fn references_between_shards_prevent_a_move_and_the_hint_lets_both_move() {
    let cluster = cluster(2);
    let mut client = two_schemas(&cluster);
    refer(&mut client);
    let hint = |client: &mut Client, sql: &str| {
        let error = client.batch_execute(sql).unwrap_err();
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).clone();
        assert_eq!(error.code().code(), "0A000", "{error:?}");
        error.hint().unwrap_or_default().to_owned()
    };
    let needs = hint(&mut client, "SELECT helios_migrate_schema('b', 'node-2')");
    assert!(needs.contains("SELECT helios_colocate('b', 'a');"), "{needs}");
    let needs_too = hint(&mut client, "SELECT helios_migrate_schema('a', 'node-2')");
    assert!(needs_too.contains("SELECT helios_colocate('a', 'b');"), "{needs_too}");
    // Without the trigger, it would only leave behind what refers to it.
    client.batch_execute("DROP TRIGGER changed ON a.t").unwrap();
    let id = begin(&mut client, "a", "node-2");
    assert_eq!(wait(&mut client, id), "failed", "{}", shown(&mut client, id));
    let error = text(&mut client, "SELECT error FROM helios_migrations ORDER BY id DESC LIMIT 1");
    assert!(error.concat().contains("SELECT helios_colocate('b', 'a');"), "{error:?}");
    assert_clean(&cluster, &["a", "b"]);
    client.batch_execute(&needs).unwrap();
    let id = switch(&mut client, "a", "node-2");
    finish(&mut client, id);
    client.batch_execute(TRIGGER).unwrap();
    use_all(&mut client);
    // Nor does one of them leave the shard.
    refused(
        &mut client,
        "SELECT helios_undistribute_schema('a')",
        "55000",
        "cannot take schema \"a\" away from the schemas that it is colocated with",
    );
    assert_eq!(shards(&mut client), "1 dedicated node-2");
}

#[test]
fn schemas_on_two_nodes_meet_on_one() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA a DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA b DISTRIBUTED ON NODE \"node-2\";
             CREATE TABLE a.t (id int PRIMARY KEY); CREATE TABLE b.u (id int, t int);
             INSERT INTO a.t SELECT generate_series(1, 5000); INSERT INTO b.u VALUES (1, 1)",
        )
        .unwrap();
    let reference = "ALTER TABLE b.u ADD FOREIGN KEY (t) REFERENCES a.t";
    let error = client.batch_execute(reference).unwrap_err();
    let error = error.as_db_error().unwrap().clone();
    assert!(
        error.hint().unwrap_or_default().contains("SELECT helios_colocate('b', 'a')"),
        "{error:?}"
    );
    let id: i64 = client.query_one("SELECT helios_colocate('a', 'b')", &[]).unwrap().get(0);
    refused(&mut client, "SELECT helios_colocate('a', 'b')", "55006", "is already being moved");
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    // The smaller one has moved, whichever was named first.
    assert_eq!(node_of(&mut client, "b").as_deref(), Some("node-1"));
    finish(&mut client, id);
    wait_until("both share a shard", BOUND, || {
        let seen = shards(&mut client);
        if seen == "1 dedicated node-1" { Ok(()) } else { Err(seen) }
    });
    client.batch_execute(reference).unwrap();
    let id = switch(&mut client, "b", "node-2");
    finish(&mut client, id);
    assert_eq!(shards(&mut client), "1 dedicated node-2");
    let dangling = client.batch_execute("INSERT INTO b.u VALUES (2, 99999)").unwrap_err();
    assert_eq!(dangling.code(), Some(&SqlState::FOREIGN_KEY_VIOLATION));
}

#[test]
fn pooled_schemas_get_a_shard_of_their_own() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA a DISTRIBUTED WITH (key = 'k'); CREATE SCHEMA b DISTRIBUTED WITH (key = 'k');
             CREATE SCHEMA c DISTRIBUTED WITH (key = 'k'); CREATE SCHEMA plain;
             CREATE TABLE a.t (id int PRIMARY KEY); CREATE TABLE b.u (t int REFERENCES a.t)",
        )
        .unwrap();
    for (sql, code, words) in [
        ("SELECT helios_colocate('a', 'a')", "22023", "with itself"),
        ("SELECT helios_colocate('a', 'nowhere')", "3F000", "does not exist"),
        ("SELECT helios_colocate('plain', 'a')", "42809", "not a distributed schema"),
        ("SELECT helios_colocate(NULL, 'a')", "22004", "schema"),
        ("SELECT helios_colocate('a', NULL)", "22004", "with"),
    ] {
        refused(&mut client, sql, code, words);
    }
    client.batch_execute("CREATE ROLE nobody LOGIN").unwrap();
    let denied = cluster.connect_as("nobody").batch_execute("SELECT helios_colocate('a', 'b')");
    assert_eq!(denied.unwrap_err().code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));
    // A transaction that uses the pooled shard has read the placement of its schemas.
    let mut other = cluster.connect();
    other.batch_execute("BEGIN; INSERT INTO a.t VALUES (1)").unwrap();
    refused(&mut client, "SELECT helios_colocate('b', 'a')", "55P03", "could not lock shard");
    other.batch_execute("COMMIT").unwrap();
    client.batch_execute("SELECT helios_colocate('b', 'a')").unwrap();
    let kinds =
        "SELECT string_agg(schema || ' ' || kind, ', ' ORDER BY schema) FROM helios_schemas";
    assert_eq!(text(&mut client, kinds), ["a dedicated, b dedicated, c pooled"]);
    client.batch_execute("INSERT INTO b.u VALUES (1)").unwrap();
    // What joins brings the schemas that it is colocated with.
    client.batch_execute("SELECT helios_colocate('a', 'c')").unwrap();
    let query = "SELECT count(DISTINCT shard)::text FROM helios_schemas";
    assert_eq!(text(&mut client, query), ["1"]);
    client
        .batch_execute(
            "ALTER SCHEMA b RENAME TO d; DROP SCHEMA a CASCADE; INSERT INTO d.u VALUES (7)",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT count(*)::text FROM d.u"), ["2"]);
    // The shard does not keep the name of a schema that has left it.
    client
        .batch_execute("DROP SCHEMA c; SELECT helios_create_schema('c', helios_node_for_schema('d')); SELECT helios_colocate('c', 'd')")
        .unwrap();
    assert_eq!(text(&mut client, query), ["1"]);
    client.batch_execute("SELECT helios_undistribute_schema('c')").unwrap();
    assert_eq!(text(&mut client, "SELECT schema::text FROM helios_schemas"), ["d"]);
}
