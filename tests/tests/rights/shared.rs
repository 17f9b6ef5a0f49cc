//! Plain schemas, whose definitions are sent to nodes: when a node joins, and when a schema becomes plain again.

use helios_tests::text;

use crate::harness::Watched;

/// `ok` refuses to run as a superuser; later definitions call it while they are created.
const HOSTILE: &str = "
    CREATE FUNCTION mm.ok(v int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
            RAISE EXCEPTION 'ran as superuser %', current_user;
        END IF;
        RETURN true;
    END $$;
    CREATE DOMAIN mm.d AS int CHECK (mm.ok(VALUE));
    CREATE DOMAIN mm.dd AS mm.d[] DEFAULT '{1}';
    CREATE FUNCTION mm.with_default(v mm.d[] DEFAULT '{2}') RETURNS int LANGUAGE sql RETURN cardinality(v);
    CREATE FUNCTION mm.step(s mm.d, v int) RETURNS mm.d LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE AGGREGATE mm.agg(int) (SFUNC = mm.step, STYPE = mm.d, INITCOND = '3')";

/// The schema's objects and their owners.
const PARTS: &str = "
    SELECT format('%s %s %s', typname, typowner::regrole, typdefault) FROM pg_type WHERE typnamespace = 'mm'::regnamespace AND typtype = 'd'
    UNION ALL SELECT format('%s %s', proname, proowner::regrole) FROM pg_proc WHERE pronamespace = 'mm'::regnamespace
    ORDER BY 1";

#[test]
fn definitions_of_plain_schemas_run_no_code_as_a_superuser_on_nodes() {
    let mut w = Watched::start(2);
    w.admin.batch_execute("CREATE SCHEMA mm AUTHORIZATION tenant").unwrap();
    w.tenant.batch_execute(HOSTILE).unwrap();
    let same = "CREATE DOMAIN mm.other AS mm.d[] DEFAULT '{1}'";
    let ran = w.admin.batch_execute(same).unwrap_err();
    let said = ran.as_db_error().map(|error| error.message().to_owned());
    assert_eq!(said.as_deref(), Some("ran as superuser postgres"), "the code does not run at once");

    w.admin.batch_execute("SELECT helios_remove_node('node-2')").unwrap();
    // Objects that the node still has would not be created again.
    let mut there = w.cluster.connect_to_node(2);
    let drop = "SET helios.migration_session = on; DROP SCHEMA IF EXISTS mm CASCADE";
    there.batch_execute(drop).unwrap();
    // The node could not be told of its release, so it accepts DDL from nobody else.
    let id = text(&mut w.admin, "SELECT id FROM helios.cluster").remove(0);
    there.batch_execute(&format!("UPDATE helios.cluster SET node_of = {id}")).unwrap();
    let (host, port) = w.node_address(2);
    let add = format!("SELECT helios_add_node('node-2', '{host}', {port})");
    w.admin.batch_execute(&add).unwrap();
    let parts = text(&mut w.admin, PARTS);
    assert_eq!(parts.len(), 6, "{parts:?}");
    assert_eq!(text(&mut there, PARTS), parts);

    w.distribute("mm");
    w.admin.batch_execute("SELECT helios_undistribute_schema('mm')").unwrap();
    let id = w.switched();
    w.finish(id);
    for number in [1, 2] {
        assert_eq!(text(&mut w.cluster.connect_to_node(number), PARTS), parts, "node-{number}");
    }
}
