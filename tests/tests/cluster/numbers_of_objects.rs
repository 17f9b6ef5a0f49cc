//! OIDs of objects are other ones on each server: where one would be seen or given, it means what it means here, or the
//! statement is refused with a remedy.

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
    // What is decoded here has the numbers of here.
    client.batch_execute("COPY (SELECT ms FROM t) TO '/dev/null' (FORMAT binary)").unwrap();
}
