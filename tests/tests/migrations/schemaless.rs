//! Objects that belong to a schema without being in one: casts and transforms move along; others are reported before
//! the move.

use helios_tests::{define_on_node, refused, text};
use postgres::Client;

use crate::{cluster, finish, switch};

const MADE: &str = "
    CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\";
    CREATE TYPE t.mood AS ENUM ('sad', 'ok');
    CREATE TABLE t.a (id int PRIMARY KEY, m t.mood);
    CREATE FUNCTION t.number(t.mood) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 7';
    CREATE FUNCTION t.of_row(t.a) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ($1).id::text';
    CREATE CAST (t.mood AS int) WITH FUNCTION t.number(t.mood) AS IMPLICIT;
    CREATE CAST (t.mood AS text) WITH INOUT AS ASSIGNMENT;
    CREATE CAST (t.a AS text) WITH FUNCTION t.of_row(t.a);
    COMMENT ON CAST (t.mood AS int) IS E'it''s\\n--\\n-- Name: z; Type: FK CONSTRAINT';
    CREATE VIEW t.v AS SELECT m + 1 AS n, a::text AS s FROM t.a;
    ALTER TABLE t.a ADD n int GENERATED ALWAYS AS (m + 1) STORED;
    INSERT INTO t.a VALUES (1, 'ok');";

fn casts(client: &mut Client) -> Vec<String> {
    text(
        client,
        "SELECT format('%s %s %s %s %s', castsource::regtype, casttarget::regtype, castcontext, castmethod, obj_description(oid, 'pg_cast'))
           FROM pg_cast WHERE castsource::regtype::text LIKE 't.%' ORDER BY 1",
    )
}

fn definitions(client: &mut Client) -> Vec<String> {
    text(
        client,
        "SELECT detail FROM helios_check_cluster() WHERE \"check\" = 'definitions' AND NOT ok",
    )
}

#[test]
fn casts_move_with_their_types() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(MADE).unwrap();
    let all = casts(&mut client);
    assert_eq!(all.len(), 3, "{all:?}");
    let mut node = cluster.connect_to_node(1);
    define_on_node(&mut node, "DROP CAST (t.mood AS text)");
    assert!(definitions(&mut client)[0].contains("cast (t.mood AS text) is missing on the node"));
    define_on_node(&mut node, "CREATE CAST (t.mood AS text) WITH INOUT AS ASSIGNMENT");
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    assert_eq!(casts(&mut cluster.connect_to_node(2)), all);
    assert_eq!(casts(&mut cluster.connect_to_node(1)), [""; 0]);
    assert_eq!(definitions(&mut client), [""; 0]);
    assert_eq!(text(&mut client, "SELECT v.n, s, m + 2 FROM t.v, t.a"), ["8|1|9"]);
    // Back to this server, and to a node again.
    client.batch_execute("SELECT helios_undistribute_schema('t')").unwrap();
    let last = "SELECT max(id) FROM helios_migrations";
    let id: i64 = text(&mut client, last)[0].parse().unwrap();
    client.batch_execute(&format!("SELECT helios_wait_for_migration({id})")).unwrap();
    finish(&mut client, id);
    assert_eq!(casts(&mut client), all);
    client.batch_execute("SELECT helios_distribute_schema('t', 'node-1')").unwrap();
    let id: i64 = text(&mut client, last)[0].parse().unwrap();
    client.batch_execute(&format!("SELECT helios_wait_for_migration({id})")).unwrap();
    finish(&mut client, id);
    assert_eq!(casts(&mut cluster.connect_to_node(1)), all);
    assert_eq!(text(&mut client, "SELECT v.n, s, m + 2 FROM t.v, t.a"), ["8|1|9"]);
}

/// An object outside that refers to the schema on its node, the statement that drops it, and how it is reported.
const OUTSIDE: [(&str, &str, &str); 6] = [
    (
        "CREATE PUBLICATION p FOR TABLE t.a",
        "DROP PUBLICATION p",
        "publication of table t.a in publication p",
    ),
    (
        "CREATE PUBLICATION q FOR TABLES IN SCHEMA t",
        "DROP PUBLICATION q",
        "publication of schema t in publication q",
    ),
    (
        "CREATE FUNCTION t.fired() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER fires ON sql_drop EXECUTE FUNCTION t.fired()",
        "DROP EVENT TRIGGER fires; DROP FUNCTION t.fired()",
        "event trigger fires",
    ),
    (
        "CREATE SCHEMA other; CREATE STATISTICS other.s ON id, m FROM t.a",
        "DROP SCHEMA other CASCADE",
        "statistics object other.s",
    ),
    (
        "CREATE FUNCTION t.less(int, t.mood) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true';
         CREATE OPERATOR t.<< (LEFTARG = int, RIGHTARG = t.mood, FUNCTION = t.less);
         ALTER OPERATOR FAMILY integer_ops USING btree ADD OPERATOR 1 t.<< (int, t.mood)",
        "ALTER OPERATOR FAMILY integer_ops USING btree DROP OPERATOR 1 (int, t.mood); DROP OPERATOR t.<< (int, t.mood); DROP FUNCTION t.less(int, t.mood)",
        "operator 1",
    ),
    (
        "CREATE SCHEMA other; CREATE TEXT SEARCH DICTIONARY t.words (TEMPLATE = pg_catalog.simple); CREATE TEXT SEARCH CONFIGURATION other.c (PARSER = pg_catalog.default);
         ALTER TEXT SEARCH CONFIGURATION other.c ADD MAPPING FOR word WITH t.words",
        "DROP SCHEMA other CASCADE; DROP TEXT SEARCH DICTIONARY t.words",
        "text search configuration other.c",
    ),
];

#[test]
fn what_cannot_move_is_named() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client.batch_execute(MADE).unwrap();
    let mut node = cluster.connect_to_node(1);
    for (made, end, named) in OUTSIDE {
        define_on_node(&mut node, made);
        let id: i64 =
            text(&mut client, "SELECT helios_migrate_schema('t', 'node-2')")[0].parse().unwrap();
        let _ = client.batch_execute(&format!("SELECT helios_wait_for_migration({id})"));
        let seen = text(
            &mut client,
            &format!("SELECT state || ': ' || error FROM helios_migration({id})"),
        );
        assert!(seen[0].starts_with("failed") && seen[0].contains(named), "{made}: {seen:?}");
        define_on_node(&mut node, end);
    }
    assert_eq!(definitions(&mut client), [""; 0]);
    let id = switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    // The same for a schema of this server, immediately.
    client.batch_execute("CREATE SCHEMA home; CREATE TABLE home.a (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE home.a").unwrap();
    refused(
        &mut client,
        "SELECT helios_distribute_schema('home', 'node-1')",
        "55000",
        "without belonging to it cannot move",
    );
}
