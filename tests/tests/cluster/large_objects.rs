//! Large objects are stored on the coordinator only, whichever way they are accessed.

use helios_tests::{Cluster, refused, text};
use postgres::Client;

/// A distributed schema with a table `t (id, object)` of one row.
fn schema(name: &str) -> Client {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-1\"; \
             CREATE TABLE {name}.t (id int PRIMARY KEY, object oid); INSERT INTO {name}.t VALUES (1)"
        ))
        .unwrap();
    client
}

/// Asserts that no node has a large object.
fn nodes_have_none() {
    for number in [1, 2] {
        let mut node = Cluster::shared().connect_to_node(number);
        assert_eq!(text(&mut node, "SELECT count(*) FROM pg_largeobject_metadata"), ["0"]);
    }
}

#[test]
fn objects_are_here_and_their_oids_in_a_tenants_table() {
    let mut client = schema("lo_kept");
    let object = text(&mut client, "SELECT lo_from_bytea(0, 'content')").remove(0);
    client
        .batch_execute(&format!(
            "BEGIN; UPDATE lo_kept.t SET object = {object}; SELECT lo_put({object}, 7, '!'); COMMIT; \
             COMMENT ON LARGE OBJECT {object} IS 'kept'; GRANT SELECT ON LARGE OBJECT {object} TO PUBLIC; \
             ALTER LARGE OBJECT {object} OWNER TO postgres"
        ))
        .unwrap();
    let kept = text(&mut client, "SELECT object FROM lo_kept.t");
    assert_eq!(kept, [object.as_str()]);
    let content = format!("SELECT convert_from(lo_get({object}), 'UTF8')");
    assert_eq!(text(&mut client, &content), ["content!"]);
    // A function in a plain schema runs here and reads the table there.
    client
        .batch_execute(
            "CREATE FUNCTION public.lo_of(key int) RETURNS bytea LANGUAGE plpgsql AS $$ \
             DECLARE o oid; BEGIN SELECT object INTO o FROM lo_kept.t WHERE id = key; RETURN lo_get(o); END $$",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT convert_from(public.lo_of(1), 'UTF8')"), ["content!"]);
    client.batch_execute(&format!("SELECT lo_unlink({object})")).unwrap();
    nodes_have_none();
}

#[test]
fn functions_of_large_objects_run_here_over_rows_of_a_node() {
    let mut client = schema("lo_beside");
    client.batch_execute("UPDATE lo_beside.t SET object = NULL").unwrap();
    client
        .batch_execute(
            "INSERT INTO lo_beside.t VALUES (2, lo_from_bytea(0, 'two')); \
             INSERT INTO lo_beside.t VALUES (3, lo_create(0)), (4, lo_creat(-1)); \
             WITH o AS (SELECT lo_from_bytea(0, 'five') AS o) INSERT INTO lo_beside.t SELECT 5, o FROM o; \
             SELECT lo_put(object, 0, 'three') FROM lo_beside.t WHERE id = 3; \
             SELECT lo_unlink(object) FROM lo_beside.t WHERE id = 4",
        )
        .unwrap();
    let read = "SELECT convert_from(lo_get(object), 'UTF8') FROM lo_beside.t WHERE id IN (2, 3, 5) ORDER BY id";
    assert_eq!(text(&mut client, read), ["two", "three", "five"]);
    for catalog in [
        "pg_largeobject_metadata o ON o.oid",
        "(SELECT DISTINCT loid FROM pg_largeobject) o ON o.loid",
    ] {
        let sql = format!("SELECT count(*) FROM lo_beside.t JOIN {catalog} = t.object");
        assert_eq!(text(&mut client, &sql), ["3"], "{sql}");
    }
    // Row by row, within a change of the node's rows.
    let sql = "UPDATE lo_beside.t SET object = lo_create(0)";
    refused(&mut client, sql, "0A000", "in a statement with a distributed table");
    nodes_have_none();
}

/// Triggers, functions and defaults of a distributed schema run on the node.
#[test]
fn code_on_a_node_makes_no_large_object_there() {
    let mut client = schema("lo_code");
    client
        .batch_execute(
            "CREATE FUNCTION lo_code.made() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN NEW.object := lo_create(0); RETURN NEW; END $$; \
             CREATE TABLE lo_code.by_trigger (id int, object oid); \
             CREATE TRIGGER made BEFORE INSERT ON lo_code.by_trigger FOR EACH ROW EXECUTE FUNCTION lo_code.made(); \
             CREATE FUNCTION lo_code.sql() RETURNS oid LANGUAGE sql AS 'SELECT lo_from_bytea(0, ''x'')'; \
             CREATE FUNCTION lo_code.dynamic() RETURNS oid LANGUAGE plpgsql AS \
             $$ DECLARE o oid; BEGIN EXECUTE 'SELECT lo_creat(-1)' INTO o; RETURN o; END $$; \
             CREATE PROCEDURE lo_code.p() LANGUAGE plpgsql AS 'BEGIN PERFORM lo_create(0); END'; \
             CREATE TABLE lo_code.by_default (id int, object oid DEFAULT lo_create(0))",
        )
        .unwrap();
    for sql in [
        "INSERT INTO lo_code.by_trigger VALUES (1)",
        "SELECT lo_code.sql()",
        "SELECT lo_code.dynamic() FROM lo_code.t",
        "CALL lo_code.p()",
        "COPY lo_code.by_default (id) FROM PROGRAM 'echo 1'",
    ] {
        refused(&mut client, sql, "0A000", "lo_");
    }
    // A default of a row that the statement itself gives is computed here.
    client.batch_execute("INSERT INTO lo_code.by_default VALUES (1)").unwrap();
    assert_eq!(text(&mut client, "SELECT lo_unlink(object) FROM lo_code.by_default"), ["1"]);
    nodes_have_none();
}

/// The trigger of extension lo removes objects, but a tenant's trigger runs on a node that does not have them.
#[test]
fn the_trigger_of_extension_lo_is_refused_on_a_tenants_table() {
    let mut client = schema("lo_trigger");
    client.batch_execute("CREATE EXTENSION lo SCHEMA public").unwrap();
    client.batch_execute("CREATE TABLE lo_trigger.docs (id int, object public.lo)").unwrap();
    refused(
        &mut client,
        "CREATE TRIGGER t BEFORE UPDATE OR DELETE ON lo_trigger.docs FOR EACH ROW \
         EXECUTE FUNCTION public.lo_manage(object)",
        "0A000",
        "lo_manage",
    );
    client.batch_execute("CREATE TABLE public.lo_docs (id int, object public.lo)").unwrap();
    client
        .batch_execute(
            "CREATE TRIGGER t BEFORE UPDATE OR DELETE ON public.lo_docs FOR EACH ROW \
             EXECUTE FUNCTION public.lo_manage(object); \
             INSERT INTO public.lo_docs VALUES (1, lo_create(0)); DELETE FROM public.lo_docs; \
             DROP TABLE public.lo_docs; DROP TABLE lo_trigger.docs; DROP EXTENSION lo",
        )
        .unwrap();
}
