//! OIDs of objects differ between servers: where one is returned or passed, it refers to the object on this server, or the
//! statement is refused with a hint.

use helios_tests::{Cluster, refused, text};
use postgres::Client;

fn schema(name: &str) -> Client {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-2\"; SET search_path = {name}; \
             CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TYPE pair AS (a int, m mood); \
             CREATE TABLE p (id int, m mood) PARTITION BY LIST (m); \
             CREATE TABLE p_ok PARTITION OF p FOR VALUES IN ('ok'); \
             CREATE TABLE p_sad PARTITION OF p FOR VALUES IN ('sad'); INSERT INTO p VALUES (1, 'ok'), (2, 'sad'); \
             CREATE TABLE t (id int, ms mood[], pair pair, c regclass, r int4range, ok mood); \
             INSERT INTO t VALUES (1, '{{ok}}', '(1,sad)', 't', '[1,2)', 'ok')"
        ))
        .unwrap();
    client
}

#[test]
fn the_number_of_a_table_is_a_name_or_refused() {
    let mut client = schema("table_number");
    for (query, answer) in [
        ("SELECT tableoid::regclass FROM p WHERE id = 1", "p_ok"),
        ("SELECT id FROM p WHERE tableoid = 'p_sad'::regclass", "2"),
        ("SELECT a.id FROM p a JOIN p b ON a.tableoid = b.tableoid WHERE b.id = 2", "2"),
        ("SELECT max(tableoid::regclass::text) FROM p", "p_sad"),
        ("SELECT id FROM p ORDER BY tableoid::regclass::text LIMIT 1", "1"),
    ] {
        assert_eq!(text(&mut client, query), [answer], "{query}");
    }
    let own: u32 = client.query_one("SELECT 'p_ok'::regclass::oid", &[]).unwrap().get(0);
    // A number is this server's, and is computed here.
    for (query, answer) in [
        ("SELECT tableoid FROM p WHERE id = 1".to_owned(), own.to_string()),
        (format!("SELECT id FROM p WHERE tableoid = {own}"), "1".to_owned()),
        (format!("SELECT id FROM p WHERE tableoid IN ({own}, 1)"), "1".to_owned()),
        ("SELECT tableoid::text FROM p WHERE id = 1".to_owned(), own.to_string()),
    ] {
        assert_eq!(text(&mut client, &query), [answer], "{query}");
    }
    let by_parameter = client.query("SELECT id FROM p WHERE tableoid = $1", &[&own]).unwrap();
    assert_eq!(by_parameter.len(), 1);
    refused(&mut client, "UPDATE p SET id = id RETURNING tableoid", "0A000", "tableoid");
}

#[test]
fn binary_data_with_numbers_of_types_is_not_copied() {
    let mut client = schema("type_number");
    for column in ["ms", "pair", "c"] {
        for way in ["TO", "FROM"] {
            let sql = format!("COPY t (id, {column}) {way} '/dev/null' (FORMAT binary)");
            refused(&mut client, &sql, "0A000", &format!("\"{column}\""));
        }
        client.batch_execute(&format!("COPY t ({column}) TO '/dev/null'")).unwrap();
    }
    client.batch_execute("COPY t (id, r, ok) TO '/dev/null' (FORMAT binary)").unwrap();
    // What is decoded here has the OIDs of this server.
    client.batch_execute("COPY (SELECT ms FROM t) TO '/dev/null' (FORMAT binary)").unwrap();
}

/// Queries on the OID of an object: they return a result without OIDs, or are refused with these words.
#[test]
fn names_are_names_and_numbers_are_refused() {
    let mut client = schema("numbers");
    let own: u32 = client.query_one("SELECT 't'::regclass::oid", &[]).unwrap().get(0);
    let seen = "cannot use the OID of an object as a number";
    let given = "cannot use a number as the OID of an object";
    for (query, words) in [
        ("UPDATE t SET id = c::int RETURNING id", seen),
        ("INSERT INTO t (id) VALUES ('t'::regclass::int)", seen),
        ("INSERT INTO t (c) VALUES (999999)", given),
    ] {
        refused(&mut client, query, "0A000", words);
    }
    // What only reads is computed here, with the numbers of this server.
    let own_text = own.to_string();
    for (query, answer) in [
        ("SELECT DISTINCT 't'::regclass::oid FROM t", &*own_text),
        ("SELECT DISTINCT 't'::regclass::int8 FROM t", &*own_text),
        ("SELECT DISTINCT to_regclass('t')::oid FROM t", &*own_text),
        ("SELECT DISTINCT 999999::regclass FROM t", "999999"),
        ("SELECT count(*) FROM t WHERE c = 999999", "0"),
        ("SELECT count(*) FROM t WHERE c::oid = ANY ('{999999}'::oid[])", "0"),
        ("SELECT DISTINCT format_type(999999, NULL) FROM t", "???"),
        ("SELECT count(DISTINCT current_user::regrole::oid) FROM t", "1"),
    ] {
        assert_eq!(text(&mut client, query), [answer], "{query}");
    }
    for statement in [
        "SELECT DISTINCT $1::oid::regclass::text FROM t",
        "SELECT DISTINCT CASE WHEN pg_table_is_visible($1) THEN 't' END FROM t",
    ] {
        let row = client.query_one(statement, &[&own]).expect(statement);
        assert_eq!(row.get::<_, String>(0), "t", "{statement}");
    }
    for (query, answer) in [
        ("SELECT c FROM t", "t"),
        ("SELECT ARRAY[c] FROM t", "{t}"),
        ("SELECT to_json(c) FROM t", "\"t\""),
        ("SELECT id FROM t WHERE c = 't'::regclass", "1"),
        ("SELECT id FROM t WHERE c IN ('t', 'p')", "1"),
        ("SELECT id FROM t WHERE c = ANY ('{p,t}'::regclass[])", "1"),
        ("SELECT id FROM t WHERE c IS DISTINCT FROM 'p'::regclass", "1"),
        ("SELECT a.id FROM t a JOIN t b ON a.c = b.c", "1"),
        ("SELECT pg_typeof(pair) = 'pair'::regtype FROM t", "t"),
        ("SELECT format_type(pg_typeof(ok), NULL) FROM t", "mood"),
        ("SELECT format_type('mood'::regtype::oid, NULL) FROM t", "mood"),
        ("SELECT obj_description('t'::regclass, 'pg_class') IS NULL FROM t", "t"),
        ("SELECT pg_get_userbyid(current_user::regrole) = current_user FROM t", "t"),
        ("SELECT 'int4'::regtype::oid FROM t", "23"),
        ("SELECT 23::regtype FROM t", "integer"),
        ("SELECT 7::oid FROM t", "7"),
        ("SELECT concat(999999::oid) FROM t", "999999"),
        ("SELECT id FROM t WHERE 5::oid < 999999::oid", "1"),
    ] {
        assert_eq!(text(&mut client, query), [answer], "{query}");
    }
    let sent = client.query_one("SELECT id FROM t WHERE c = $1::text::regclass", &[&"t"]);
    assert_eq!(sent.unwrap().get::<_, i32>(0), 1);
}
