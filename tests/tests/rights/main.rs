//! Whatever Helios does with a schema, the code in it runs as its owner, or as the client who calls it, and never as a role
//! with more privileges.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails by panicking"
)]

mod change_copy;
mod cursors;
mod harness;
mod imports;
mod masked_names;
mod moves;
mod parsed_code;
mod passed_values;
mod reading;
mod referential;
mod referring_code;
mod session_user;
mod shared;
mod shipped_rows;

use helios_tests::text;

use harness::Watched;

#[test]
fn code_of_a_reference_table_never_runs_as_a_superuser() {
    let mut watched = Watched::start(2);
    watched.tenant("pl");
    watched.phase("create", |w| {
        // A function that names the row type of a table on one server only cannot exist on another.
        w.tenant.batch_execute("DROP FUNCTION pl.row_text(pl.a) CASCADE").unwrap();
        for table in ["a", "keyless"] {
            if table == "keyless" {
                w.tenant.batch_execute("ALTER TABLE pl.keyless ADD PRIMARY KEY (x)").unwrap();
            }
            let create = format!("SELECT helios_create_reference_table('pl.{table}')");
            w.admin.batch_execute(&create).unwrap();
        }
    });
    watched.phase("write", |w| w.write("pl"));
    watched.phase("check", |w| {
        let wrong =
            "SELECT * FROM helios_check_cluster() WHERE NOT ok AND \"check\" = 'reference tables'";
        assert!(text(&mut w.admin, wrong).is_empty());
    });
    watched.phase("alter", |w| {
        w.admin.batch_execute("ALTER TABLE pl.keyless ADD COLUMN more int DEFAULT 7").unwrap();
        w.tenant.batch_execute("ALTER TABLE pl.keyless DROP COLUMN more").unwrap();
        w.write("pl");
        let same = "SELECT bool_and(ok), max(detail) FROM helios_check_cluster() WHERE \"check\" = 'reference tables'";
        assert_eq!(text(&mut w.admin, same), ["t|All 2 reference tables match the coordinator."]);
    });
    watched.phase("add a node", |w| {
        let (host, port) = w.node_address(2);
        w.admin.batch_execute("SELECT helios_remove_node('node-2')").unwrap();
        let add = format!("SELECT helios_add_node('node-2', '{host}', {port})");
        w.admin.batch_execute(&add).unwrap();
    });
    watched.phase("undistribute", |w| {
        w.admin.batch_execute("SELECT helios_undistribute_table('pl.a')").unwrap();
    });
    watched.assert_seen(&harness::OF_TABLES);
}

#[test]
fn code_of_a_schema_at_rest_never_runs_as_a_superuser() {
    let mut watched = Watched::start(3);
    watched
        .admin
        .batch_execute("CREATE SCHEMA t AUTHORIZATION tenant DISTRIBUTED ON NODE \"node-1\"")
        .unwrap();
    watched.phase("define", |w| w.define("t"));
    watched.phase("use", |w| {
        w.write("t");
        w.cast("t");
    });
    watched.phase("maintain", |w| w.maintain("t"));
    watched.phase("sequences", |w| {
        let advance = "SELECT helios.advance_sequences('{t}', 100)";
        let mut node = w.cluster.connect_to_node(1);
        let before = "SELECT last_value FROM t.a_id_seq";
        let last: i64 = text(&mut node, before)[0].parse().unwrap();
        assert_eq!(text(&mut node, advance), ["2"]);
        assert!(text(&mut node, before)[0].parse::<i64>().unwrap() >= last + 100);
    });
    watched.assert_seen(&harness::OF_TABLES);
    watched.assert_seen(&harness::OF_SCHEMAS);
    watched.assert_seen(&harness::CASTS);
}
