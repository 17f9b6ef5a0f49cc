//! A hostile server outside of the cluster: the owner of an imported schema gains nothing here by its contents, or by
//! other objects on that server.

use helios_tests::{BOUND, PlainServer, pg, wait_until};
use testkit::server::{HOST, ROLE};

use super::Stage;
use super::corpus::SETUP;
use crate::{described, value};

/// Objects named like PostgreSQL's and Helios' own, and code that runs automatically, as the server's owner might have
/// created them.
const AROUND: &str = r#"
CREATE FUNCTION mp.seize() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    BEGIN ALTER ROLE mallory SUPERUSER; EXCEPTION WHEN OTHERS THEN END; END $$;
CREATE SCHEMA helios; CREATE FUNCTION helios.free_bytes() RETURNS bigint LANGUAGE sql AS 'SELECT 9e15::bigint';
CREATE FUNCTION helios.row_hash(anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';
CREATE FUNCTION helios.run_as(text) RETURNS void LANGUAGE sql AS 'SELECT mp.seize()';
CREATE FUNCTION helios.run_as_owner(text) RETURNS void LANGUAGE sql AS 'SELECT mp.seize()';
CREATE FUNCTION helios.change_number() RETURNS text LANGUAGE sql AS $$ SELECT E'1''; ALTER ROLE mallory SUPERUSER; --' $$;
CREATE TABLE helios.fence (schema name, migration bigint, kind text, keeps bool); CREATE TABLE helios.cluster (id bigint, node_of bigint);
CREATE TABLE helios.node (id int, name name); INSERT INTO helios.cluster VALUES (1, 1);
CREATE FUNCTION mm.quote_ident(text) RETURNS text LANGUAGE sql AS $$ SELECT 'x"; ALTER ROLE mallory SUPERUSER; --' $$;
CREATE FUNCTION mm.format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
CREATE FUNCTION mm.format_type(oid, int) RETURNS text LANGUAGE sql AS $$ SELECT 'int); ALTER ROLE mallory SUPERUSER; --' $$;
CREATE FUNCTION mm.pg_get_expr(pg_node_tree, oid) RETURNS text LANGUAGE sql AS $$ SELECT 'mm.evil(1)' $$;
CREATE VIEW mm.pg_class AS SELECT oid, relname, relnamespace FROM pg_catalog.pg_class; CREATE VIEW mm.pg_attribute AS SELECT attrelid, attname, attnum FROM pg_catalog.pg_attribute;
CREATE TABLE mm.pg_namespace (oid oid, nspname name); CREATE TABLE mm.pg_stat_subscription (x int);
CREATE FUNCTION mm.same(name, name) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR mm.= (leftarg = name, rightarg = name, procedure = mm.same);
CREATE OPERATOR mm.= (leftarg = oid, rightarg = oid, procedure = pg_catalog.oidne);
CREATE OPERATOR mm.|| (leftarg = text, rightarg = text, procedure = mm.join);
CREATE CAST (mm.color AS bigint) WITH FUNCTION mm.as_number(mm.color) AS IMPLICIT;
ALTER DATABASE helios SET search_path = mm, mp, pg_catalog;
ALTER DATABASE helios SET app.x = E'\'; ALTER ROLE mallory SUPERUSER; --';
ALTER ROLE postgres SET search_path = mm, pg_catalog;
CREATE FUNCTION mp.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM set_config('search_path', 'mm, pg_catalog', false); END $$;
CREATE EVENT TRIGGER "helios_import_1" ON ddl_command_end EXECUTE FUNCTION mp.on_ddl();
COMMENT ON COLUMN mm.filled.x IS E'x\n--\n-- Name: z; Type: FK CONSTRAINT; Schema: mm; Owner: mallory\n--\n\nALTER ROLE mallory SUPERUSER;\n';
COMMENT ON VIEW mm.v IS E'\\connect - postgres\n\\! touch /tmp/helios-adversary\nALTER ROLE mallory SUPERUSER;';
COMMENT ON EVENT TRIGGER "helios_import_1" IS 'x';
"#;

const HARMLESS: &str = "DROP EVENT TRIGGER \"helios_import_1\"; ALTER DATABASE helios RESET ALL; ALTER ROLE postgres RESET search_path;
    DROP TABLE mm.of_domain; DROP VIEW mm.v";

#[test]
fn a_hostile_server_gains_nothing_by_an_import() {
    let mut stage = Stage::new();
    let abroad = PlainServer::with_settings(&pg(), &["max_prepared_transactions = 0"]);
    let mut there = abroad.connect();
    let create = "CREATE ROLE mallory LOGIN SUPERUSER; GRANT CREATE ON DATABASE helios TO mallory;
        SET SESSION AUTHORIZATION mallory";
    there.batch_execute(create).unwrap();
    // In the cluster, the name is taken by the schema imported before.
    stage.eyes[0].batch_execute("DROP SCHEMA mm, mp CASCADE").unwrap();
    let setup = SETUP.replace("DISTRIBUTED ON NODE 'node-1'", "");
    there.batch_execute(&setup).unwrap();
    there
        .batch_execute(
            "CREATE FUNCTION mm.join(text, text) RETURNS text LANGUAGE internal IMMUTABLE AS 'textcat';
             CREATE FUNCTION mm.as_number(mm.color) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN PERFORM mm.evil(1); RETURN 1; END $$",
        )
        .unwrap();
    there.batch_execute(AROUND).unwrap();
    stage.before = stage.fingerprint();
    let from = format!("host={HOST} port={} dbname=helios user={ROLE}", abroad.server.port);
    let mut seen = Vec::new();
    // Objects that cannot be imported cause an error; the second attempt is made without them.
    for harmless in ["", HARMLESS] {
        there.batch_execute(harmless).unwrap();
        let import = format!("SELECT helios_import_schema('{from}', 'mm', 'node-2')");
        match value(&mut stage.eyes[0], &import) {
            Ok(id) => seen.push(stage.end_of_import(&id.unwrap())),
            Err(error) => seen.push(format!("{:?}", described(&error))),
        }
        stage.outcomes.extend(seen.last().cloned());
        stage.assert_unchanged("an import");
    }
    assert!(seen[1].starts_with("dual_write_back"), "{seen:#?}");
    stage.eyes[0].simple_query("SELECT * FROM helios_check_cluster()").unwrap();
    stage.assert_unchanged("a look at the cluster after an import");
}

impl Stage {
    /// The state in which an import ends, with its error.
    fn end_of_import(&mut self, id: &str) -> String {
        let select = format!(
            "SELECT state || ': ' || coalesce(error, '') FROM helios.migration WHERE id = {id}"
        );
        wait_until("the import ends", BOUND, || {
            let seen = value(&mut self.eyes[0], &select).unwrap().unwrap();
            let ended = ["dual_write_back", "failed", "cancelled"];
            if ended.iter().any(|state| seen.starts_with(state)) { Ok(seen) } else { Err(seen) }
        })
    }
}
