//! Temporary objects come first in a search_path that does not name `pg_temp`, and anybody can create them: none may mask
//! a catalog in a function of the extension.

use helios_tests::{Cluster, define_on_node, text};

use crate::described;

#[test]
fn every_function_of_the_extension_looks_at_temporary_objects_last() {
    let mut client = Cluster::shared().connect();
    // Functions parsed when called. An SQL-standard body resolves its objects at creation.
    let select = "SELECT p.oid::regprocedure::text, coalesce(p.proconfig::text, ''), p.prosrc
          FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
               JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
               JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'helios'
         WHERE l.lanname NOT IN ('c', 'internal') AND p.prosqlbody IS NULL";
    let rows = client.query(select, &[]).unwrap();
    assert!(rows.len() > 5, "{}", rows.len());
    for row in rows {
        let (name, settings, body): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        // A single statement with qualified names can be inlined, which a SET clause would prevent.
        let in_full = body == "SELECT helios.routed_relation_size($1, 'main')";
        let safe = settings.contains("search_path=pg_catalog, pg_temp");
        assert!(safe || in_full, "{name}: {settings}: {body}");
    }
    let definers =
        "SELECT count(*) FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.deptype = 'e'
         JOIN pg_extension e ON e.oid = d.refobjid WHERE e.extname = 'helios' AND p.prosecdef";
    assert_eq!(text(&mut client, definers), ["0"]);
}

#[test]
fn markers_are_not_forged_with_a_temporary_table_of_roles() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE ROLE helios_apply_9_900007_forward LOGIN; \
             GRANT SELECT, UPDATE ON helios.migration_marker TO helios_apply_9_900007_forward; \
             INSERT INTO helios.migration_marker VALUES (900007, 'forward', 1), (900008, 'forward', 1)",
        )
        .unwrap();
    let mut forger = cluster.connect_as("helios_apply_9_900007_forward");
    forger
        .batch_execute(
            "UPDATE helios.migration_marker SET token = 2 WHERE migration = 900007; \
             CREATE TEMP TABLE pg_roles (rolname name, rolsuper boolean); \
             INSERT INTO pg_roles VALUES (current_user, true)",
        )
        .unwrap();
    let others = "UPDATE helios.migration_marker SET token = 3 WHERE migration = 900008";
    let error = forger.batch_execute(others).unwrap_err();
    assert_eq!(described(&error).0, "42501", "{error:?}");
    drop(forger);
    client
        .batch_execute(
            "DELETE FROM helios.migration_marker WHERE migration > 900000; \
             DROP OWNED BY helios_apply_9_900007_forward; DROP ROLE helios_apply_9_900007_forward",
        )
        .unwrap();
}

/// A role that may create reference tables, and nothing else, tries it with temporary views that mask catalogs.
#[test]
fn temporary_views_do_not_run_while_a_reference_table_is_made() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE ROLE makes_references LOGIN; CREATE SCHEMA of_makes_references AUTHORIZATION makes_references; \
             GRANT CREATE ON DATABASE helios TO makes_references; \
             GRANT EXECUTE ON FUNCTION helios_create_reference_table(text) TO makes_references",
        )
        .unwrap();
    for number in 1..=2 {
        let mut node = cluster.connect_to_node(number);
        let grant = "GRANT EXECUTE ON FUNCTION helios.reference_copy() TO makes_references";
        define_on_node(&mut node, grant);
    }
    let mut maker = cluster.connect_as("makes_references");
    maker
        .batch_execute(
            "CREATE TABLE of_makes_references.r (id int PRIMARY KEY); CREATE SEQUENCE of_makes_references.ran; \
             CREATE FUNCTION of_makes_references.run() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN \
                 PERFORM nextval('of_makes_references.ran'); \
                 RETURN (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) IS NOT NULL; END $$",
        )
        .unwrap();
    for catalog in ["pg_class", "pg_constraint", "pg_namespace", "pg_index"] {
        let view = format!(
            "CREATE TEMP VIEW {catalog} AS SELECT * FROM pg_catalog.{catalog} WHERE of_makes_references.run()"
        );
        maker.batch_execute(&view).unwrap();
    }
    maker.batch_execute("SELECT helios_create_reference_table('of_makes_references.r')").unwrap();
    let ran = "SELECT is_called FROM of_makes_references.ran";
    assert_eq!(text(&mut client, ran), ["f"]);
    drop(maker);
    client
        .batch_execute(
            "SELECT helios_undistribute_table('of_makes_references.r'); DROP SCHEMA of_makes_references CASCADE; \
             REVOKE CREATE ON DATABASE helios FROM makes_references",
        )
        .unwrap();
    for number in 1..=2 {
        let mut node = cluster.connect_to_node(number);
        let revoke = "REVOKE EXECUTE ON FUNCTION helios.reference_copy() FROM makes_references";
        define_on_node(&mut node, revoke);
    }
    client
        .batch_execute(
            "REVOKE EXECUTE ON FUNCTION helios_create_reference_table(text) FROM makes_references; \
             DROP ROLE makes_references",
        )
        .unwrap();
}
