//! System catalogs together with tenants' rows: a node's catalogs differ from this server's, so statements that need catalogs
//! run here, over the node's rows.

use helios_tests::{Cluster, text};
use postgres::Client;

fn schema(name: &str) -> Client {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-2\"; SET search_path = {name}; \
             CREATE TABLE t (id int PRIMARY KEY, c regclass, o oid, at timestamptz DEFAULT now()); INSERT INTO t VALUES (1, 't', 7); \
             CREATE VIEW tables AS SELECT oid, relname::text FROM pg_class WHERE relnamespace = '{name}'::regnamespace; \
             CREATE VIEW mixed AS SELECT t.id, c.oid FROM t, pg_class c WHERE c.oid = t.c; \
             CREATE FUNCTION f(oid) RETURNS oid LANGUAGE sql AS 'SELECT $1'"
        ))
        .unwrap();
    client
}

/// Catalogs are this server's, whatever rows of a node stand beside them: the answers are those for a copy of the rows here.
#[test]
fn catalogs_beside_rows_of_a_node_are_this_servers() {
    let mut client = schema("beside");
    client
        .batch_execute(
            "CREATE SCHEMA beside_copy; CREATE TABLE beside_copy.t AS SELECT * FROM beside.t; \
             CREATE VIEW beside_copy.tables AS SELECT * FROM beside.tables; \
             CREATE VIEW beside_copy.mixed AS SELECT t.id, c.oid FROM beside_copy.t, pg_class c WHERE c.oid = t.c",
        )
        .unwrap();
    for query in [
        "SELECT t.id, c.oid FROM t JOIN pg_class c ON c.relname = 't' ORDER BY 2",
        "SELECT id FROM t WHERE c IN (SELECT oid FROM pg_class)",
        "SELECT id, (SELECT count(*) > 0 FROM pg_stat_activity) FROM t",
        "SELECT t.id, s.setting FROM t, pg_settings s WHERE s.name = 'port'",
        "SELECT t.id, d.datname FROM t LEFT JOIN pg_database d ON true ORDER BY 2",
        "SELECT t.id, y.typname FROM t LEFT JOIN pg_type y ON y.oid = t.o",
        "SELECT t.id, r.rolname FROM t, pg_roles r WHERE r.rolname LIKE 'pg_%' ORDER BY 2",
        "SELECT id FROM t UNION ALL SELECT count(*) FROM pg_proc WHERE proname = 'lower' ORDER BY 1",
        "WITH c AS (SELECT relname FROM pg_class WHERE relname = 'pg_class') SELECT t.id FROM t, c",
        "SELECT t.id, v.oid FROM t, tables v ORDER BY 2",
        "SELECT * FROM mixed",
    ] {
        let answers = ["beside", "beside_copy"].map(|schema| {
            client.batch_execute(&format!("SET search_path = {schema}")).unwrap();
            text(&mut client, query)
        });
        assert_eq!(answers[0], answers[1], "{query}");
    }
    client.batch_execute("SET search_path = beside").unwrap();
    for (statement, changed) in [
        ("INSERT INTO t (id, o) SELECT 2, oid FROM pg_class WHERE oid = 'beside.t'::regclass", 1),
        ("UPDATE t SET o = (SELECT oid FROM pg_class WHERE oid = 'beside.t'::regclass)", 2),
        ("DELETE FROM t USING pg_class x WHERE x.relname = 'pg_class' AND t.id = 3", 0),
    ] {
        assert_eq!(client.execute(statement, &[]).unwrap(), changed, "{statement}");
    }
    let own = text(&mut client, "SELECT 't'::regclass::oid");
    assert_eq!(text(&mut client, "SELECT o FROM t WHERE id = 2"), own);
    client.batch_execute("DROP SCHEMA beside CASCADE; DROP SCHEMA beside_copy CASCADE").unwrap();
}

#[test]
fn catalogs_alone_and_what_is_the_same_everywhere_stay_as_they_were() {
    let mut client = schema("alone");
    let here = text(&mut client, "SELECT 'alone.t'::regclass::oid").remove(0);
    for (query, answer) in [
        // A tenant's views on catalogs show those of this server.
        ("SELECT oid FROM tables WHERE relname = 't'", here.as_str()),
        ("SELECT v.oid FROM tables v JOIN pg_class c USING (oid) WHERE c.relname = 't'", &here),
        ("SELECT oid FROM (SELECT * FROM tables OFFSET 0) v WHERE relname = 't'", &here),
        ("SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1", "id"),
        (
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'alone' AND table_type = 'BASE TABLE'",
            "t",
        ),
        ("SELECT count(*) FROM pg_index WHERE indrelid = 't'::regclass", "1"),
        // Names, and functions that look up objects by name.
        ("SELECT c FROM t", "t"),
        ("SELECT id FROM t WHERE c = 't'::regclass", "1"),
        ("SELECT has_table_privilege('t', 'SELECT') FROM t", "t"),
        ("SELECT id FROM t WHERE pg_catalog.pg_table_is_visible('t'::regclass)", "1"),
        ("SELECT pg_catalog.format_type('int4'::regtype, NULL) FROM t", "integer"),
        // Time zones are the same on every server.
        ("SELECT count(*) FROM t JOIN pg_timezone_names z ON z.name = 'Europe/Berlin'", "1"),
    ] {
        assert_eq!(text(&mut client, query), [answer], "{query}");
    }
    let name = client.query_one("SELECT relname FROM tables WHERE oid = 't'::regclass", &[]);
    assert_eq!(name.unwrap().get::<_, String>(0), "t");
}

#[test]
fn policies_may_ask_for_roles() {
    let mut client = schema("asks_roles");
    client
        .batch_execute(
            "CREATE ROLE reads_by_policy LOGIN; GRANT USAGE ON SCHEMA asks_roles TO reads_by_policy; \
             GRANT SELECT, INSERT ON t TO reads_by_policy; ALTER TABLE t ENABLE ROW LEVEL SECURITY; \
             CREATE POLICY p ON t USING (id IN (SELECT 1 FROM pg_roles WHERE rolname = current_user)) \
                 WITH CHECK (EXISTS (SELECT FROM pg_roles WHERE rolname = current_user))",
        )
        .unwrap();
    let mut reader = Cluster::shared().connect_as("reads_by_policy");
    reader.batch_execute("SET search_path = asks_roles; INSERT INTO t (id) VALUES (2)").unwrap();
    assert_eq!(text(&mut reader, "SELECT id FROM t"), ["1"]);
    let both = "SELECT t.id FROM t, pg_roles WHERE rolname = current_user";
    assert_eq!(text(&mut reader, both), ["1"]);
    client.batch_execute("DROP SCHEMA asks_roles CASCADE; DROP ROLE reads_by_policy").unwrap();
}
