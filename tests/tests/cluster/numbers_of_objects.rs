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
    for query in [
        "SELECT tableoid FROM p".to_owned(),
        "SELECT p.tableoid, p.* FROM p".to_owned(),
        format!("SELECT id FROM p WHERE tableoid = {own}"),
        format!("SELECT id FROM p WHERE tableoid IN ({own}, 1)"),
        "SELECT tableoid::text FROM p".to_owned(),
        "UPDATE p SET id = id RETURNING tableoid".to_owned(),
    ] {
        refused(&mut client, &query, "0A000", "tableoid");
    }
    let by_parameter = client.query("SELECT id FROM p WHERE tableoid = $1", &[&own]).unwrap_err();
    assert_eq!(by_parameter.code().unwrap().code(), "0A000");
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
        ("SELECT 't'::regclass::oid FROM t", seen),
        ("SELECT 't'::regclass::int8 FROM t", seen),
        ("SELECT 't'::regclass::oid::int8 + 1 FROM t", seen),
        ("SELECT 't'::regclass::int FROM t", seen),
        ("SELECT nullif(c::oid, 0) FROM t", seen),
        ("SELECT coalesce(c::oid, 0) FROM t", seen),
        ("SELECT CASE WHEN id = 1 THEN c::oid END FROM t", seen),
        ("SELECT c::oid FROM t", seen),
        ("SELECT ARRAY[c]::oid[] FROM t", seen),
        ("SELECT array_agg(c::oid) FROM t", seen),
        ("SELECT to_regclass('t')::oid FROM t", seen),
        ("SELECT pg_typeof(pair)::oid FROM t", seen),
        ("SELECT 'mood'::regtype::oid FROM t", seen),
        ("SELECT current_user::regrole::oid FROM t", seen),
        ("SELECT tableoid::regclass::oid FROM t", seen),
        ("SELECT id FROM t ORDER BY c::oid", seen),
        ("SELECT max(c::oid) FROM t GROUP BY id", seen),
        ("SELECT row(c::oid) FROM t", seen),
        ("SELECT x.* FROM t, LATERAL (SELECT c::oid) x", seen),
        ("SELECT id FROM t WHERE c = 999999", seen),
        ("SELECT id FROM t WHERE c::oid = ANY ('{999999}'::oid[])", seen),
        ("UPDATE t SET id = c::int RETURNING id", seen),
        ("INSERT INTO t (id) VALUES ('t'::regclass::int)", seen),
        ("CREATE TABLE made AS SELECT c::oid FROM t", seen),
        ("CREATE TEMP TABLE made AS SELECT c::oid FROM t", seen),
        ("COPY (SELECT c::oid FROM t) TO STDOUT", seen),
        ("DO $$ DECLARE n oid; BEGIN SELECT c::oid INTO n FROM numbers.t; END $$", seen),
        ("SELECT 999999::regclass FROM t", given),
        ("SELECT 999999::oid::regtype FROM t", given),
        ("SELECT id::regclass FROM t", given),
        ("INSERT INTO t (c) VALUES (999999)", given),
        ("SELECT format_type(999999, NULL) FROM t", given),
        ("SELECT pg_get_viewdef(999999) FROM t", given),
        ("SELECT has_table_privilege(999999, 'SELECT') FROM t", given),
        ("SELECT pg_describe_object('pg_class'::regclass, 999999, 0) FROM t", given),
        ("DO $$ DECLARE n oid := 999999; BEGIN PERFORM n::regclass FROM numbers.t; END $$", given),
    ] {
        refused(&mut client, query, "0A000", words);
    }
    for statement in ["SELECT $1::oid::regclass FROM t", "SELECT pg_table_is_visible($1) FROM t"] {
        let error = client.query(statement, &[&own]).expect_err(statement);
        assert_eq!(error.code().unwrap().code(), "0A000", "{statement}");
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
