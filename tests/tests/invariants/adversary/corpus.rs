//! Attempts by an unprivileged role. To add one, add a line with a name and a script, which may fail. What matters is
//! that nothing protected has changed afterwards; see `fingerprint` in `mod.rs`.

use On::{Both, Coordinator, Node};

/// Where an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Coordinator,
    /// On the nodes, bypassing the coordinator.
    Node,
    Both,
}

pub struct Attempt {
    pub name: &'static str,
    pub on: On,
    pub sql: &'static str,
}

const fn attempt(name: &'static str, on: On, sql: &'static str) -> Attempt {
    Attempt { name, on, sql }
}

/// Objects initially owned by `mallory`. `mm` is distributed, `mp` is plain.
pub const SETUP: &str = r#"
CREATE SCHEMA mm DISTRIBUTED ON NODE 'node-1';
CREATE SCHEMA mp;
CREATE TABLE mm.seen (who text);
GRANT USAGE ON SCHEMA mm TO PUBLIC; GRANT USAGE ON SCHEMA mp TO PUBLIC; GRANT ALL ON mm.seen TO PUBLIC;
CREATE FUNCTION mm.deed() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        BEGIN ALTER ROLE mallory SUPERUSER; EXCEPTION WHEN OTHERS THEN END;
    END IF; END $$;
CREATE FUNCTION mm.evil(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM mm.deed(); RETURN true; END $$;
CREATE FUNCTION mp.deed() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        BEGIN ALTER ROLE mallory SUPERUSER; EXCEPTION WHEN OTHERS THEN END;
    END IF; END $$;
CREATE FUNCTION mp.evil(int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM mp.deed(); RETURN true; END $$;
CREATE TABLE mm.filled (x int PRIMARY KEY, v text);
INSERT INTO mm.filled SELECT i, 'x' FROM generate_series(1, 400) i;
CREATE TABLE mm.checked (x int PRIMARY KEY CHECK (mm.evil(x)));
CREATE TABLE mm.defaulted (x int PRIMARY KEY, b boolean DEFAULT mm.evil(1));
CREATE TABLE mm.generated (x int PRIMARY KEY, b boolean GENERATED ALWAYS AS (mm.evil(x)) STORED);
CREATE TABLE mm.indexed (x int PRIMARY KEY); CREATE INDEX ON mm.indexed (mm.evil(x));
CREATE DOMAIN mm.dom AS int CHECK (mm.evil(VALUE)); CREATE TABLE mm.of_domain (x mm.dom);
CREATE TABLE mm.guarded (x int PRIMARY KEY); ALTER TABLE mm.guarded ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON mm.guarded USING (mm.evil(x)) WITH CHECK (mm.evil(x));
CREATE FUNCTION mm.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM mm.evil(1); RETURN coalesce(NEW, OLD); END $$;
CREATE TABLE mm.triggered (x int PRIMARY KEY); CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON mm.triggered FOR EACH ROW EXECUTE FUNCTION mm.fire();
ALTER TABLE mm.triggered ENABLE ALWAYS TRIGGER t;
CREATE VIEW mm.v AS SELECT x, mm.evil(x) AS e FROM mm.filled;
CREATE MATERIALIZED VIEW mm.mv AS SELECT x, mm.evil(x) AS e FROM mm.filled WHERE x < 3;
CREATE SEQUENCE mm.s; ALTER VIEW mm.v ALTER COLUMN x SET DEFAULT nextval('mm.s');
CREATE TYPE mm.color AS ENUM ('red'); CREATE TABLE mm.colored (id int PRIMARY KEY, c mm.color);
CREATE FUNCTION mm.as_text(mm.color) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM mm.evil(1); RETURN 'x'; END $$;
CREATE CAST (mm.color AS text) WITH FUNCTION mm.as_text(mm.color) AS ASSIGNMENT;
CREATE TYPE mp.color AS ENUM ('red');
CREATE FUNCTION mp.as_text(mp.color) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM mp.evil(1); RETURN 'x'; END $$;
CREATE CAST (mp.color AS text) WITH FUNCTION mp.as_text(mp.color) AS ASSIGNMENT;
CREATE TABLE mp.ref (id int PRIMARY KEY CHECK (mp.evil(id)), c mp.color);
CREATE FUNCTION mp.row_text(mp.ref) RETURNS text LANGUAGE plpgsql AS $$ BEGIN PERFORM mp.evil(1); RETURN 'x'; END $$;
CREATE CAST (mp.ref AS text) WITH FUNCTION mp.row_text(mp.ref) AS ASSIGNMENT;
INSERT INTO mp.ref VALUES (1, 'red');
CREATE FUNCTION mm.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM mm.evil(1); RETURN true; END $$;
CREATE OPERATOR mm.= (leftarg = text, rightarg = text, procedure = mm.eq);
INSERT INTO mm.checked VALUES (1); INSERT INTO mm.defaulted VALUES (1); INSERT INTO mm.generated VALUES (1);
INSERT INTO mm.indexed VALUES (1); INSERT INTO mm.of_domain VALUES (1); INSERT INTO mm.guarded VALUES (1);
INSERT INTO mm.triggered VALUES (1); INSERT INTO mm.colored VALUES (1, 'red');
COMMENT ON SCHEMA mm IS E'x\n--\n-- Name: z; Type: FK CONSTRAINT; Schema: mm; Owner: mallory\n--\n\nALTER ROLE mallory SUPERUSER;\n';
COMMENT ON TABLE mm.filled IS E'x\n--\n-- Name: z; Type: TABLE; Schema: mm; Owner: mallory\n--\n\nALTER ROLE mallory SUPERUSER;\n\\! touch x\n';
COMMENT ON COLUMN mm.filled.v IS E'\'; ALTER ROLE mallory SUPERUSER; --';
COMMENT ON INDEX mm.filled_pkey IS E'x\n--\n-- Name: z; Type: FK CONSTRAINT; Schema: mm; Owner: mallory\n--\n\nALTER ROLE mallory SUPERUSER;\n';
CREATE TABLE mm.E1 (x int); ALTER TABLE mm.e1 RENAME TO "a'; ALTER ROLE mallory SUPERUSER; --";
"#;

/// Written in each phase: replicated to whichever copy is not in use.
pub const WRITES: &str = "
INSERT INTO mm.checked SELECT max(x) + 1 FROM mm.checked; INSERT INTO mm.defaulted (x) SELECT max(x) + 1 FROM mm.defaulted;
INSERT INTO mm.generated (x) SELECT max(x) + 1 FROM mm.generated; INSERT INTO mm.indexed SELECT max(x) + 1 FROM mm.indexed;
INSERT INTO mm.of_domain VALUES (2); INSERT INTO mm.guarded SELECT coalesce(max(x), 0) + 1 FROM mm.guarded;
INSERT INTO mm.triggered SELECT max(x) + 1 FROM mm.triggered; INSERT INTO mm.colored SELECT max(id) + 1, 'red' FROM mm.colored;
UPDATE mm.checked SET x = x; UPDATE mm.filled SET v = v WHERE x = 1";

/// Statements run by the unsuspecting administrator in the meantime.
pub const ADMINISTRATOR: [&str; 12] = [
    "SELECT * FROM helios_check_cluster()",
    "SELECT helios_measure_sizes()",
    "SELECT * FROM helios_recover_transactions()",
    "SELECT * FROM helios_nodes",
    "SELECT * FROM helios_balance()",
    "SELECT * FROM helios_rebalance_plan()",
    "SELECT * FROM helios_verify_schema('mm')",
    "SELECT helios_create_reference_table('mp.ref')",
    "SELECT helios_undistribute_table('mp.ref')",
    "SELECT * FROM helios_schema_statistics",
    "ANALYZE",
    "SELECT * FROM helios_check_cluster()",
];

#[rustfmt::skip] // keep the table
pub const ATTEMPTS: &[Attempt] = &[
    // The SQL API.
    attempt("label", Both, "SECURITY LABEL FOR helios ON SCHEMA mp IS 'distributed'"),
    attempt("label in a function", Both, "DO $$BEGIN EXECUTE 'SECURITY LABEL FOR helios ON SCHEMA mp IS ''distributed'''; END$$"),
    attempt("label away", Both, "SECURITY LABEL FOR helios ON SCHEMA mm IS NULL"),
    attempt("label of another", Both, "SECURITY LABEL FOR helios ON SCHEMA victim IS NULL"),
    attempt("label on a table", Both, "SECURITY LABEL FOR helios ON TABLE mm.filled IS 'distributed'"),
    attempt("label on a role", Both, "SECURITY LABEL FOR helios ON ROLE mallory IS 'distributed'"),
    attempt("distribute", Both, "SELECT helios_distribute_schema('mp')"),
    attempt("distribute catalogs", Both, "SELECT helios_distribute_schema('helios')"),
    attempt("undistribute", Both, "SELECT helios_undistribute_schema('mm')"),
    attempt("undistribute another", Both, "SELECT helios_undistribute_schema('victim')"),
    attempt("migrate", Both, "SELECT helios_migrate_schema('mm', 'node-2')"),
    attempt("migrate shard", Both, "SELECT helios_migrate_shard(1, 'node-2')"),
    attempt("cancel", Both, "SELECT helios_cancel_migration(id) FROM helios_migrations"),
    attempt("roll back", Both, "SELECT helios_rollback_migration(id) FROM helios_migrations"),
    attempt("finish", Both, "SELECT helios_finish_migration(id) FROM helios_migrations"),
    attempt("clean up", Both, "SELECT helios_cleanup_migrations('0')"),
    attempt("import", Both, "SELECT helios_import_schema('host=127.0.0.1 user=postgres', 'x')"),
    attempt("replicas", Both, "SELECT helios_set_replicas('mm', 2)"),
    attempt("promote", Both, "SELECT helios_promote_replica('mm')"),
    attempt("add node", Both, "SELECT helios_add_node('evil', '127.0.0.1', 1)"),
    attempt("remove node", Both, "SELECT helios_remove_node('node-2')"),
    attempt("adopt", Both, "SELECT helios_adopt_nodes()"),
    attempt("drain", Both, "SELECT helios_drain_node('node-1')"),
    attempt("rebalance", Both, "SELECT helios_rebalance()"),
    attempt("split", Both, "SELECT helios_split_shard(1)"),
    attempt("merge", Both, "SELECT * FROM helios_merge_shards(1, 2)"),
    attempt("slots", Both, "SELECT helios_assign_slots(0, 1, 'node-2')"),
    attempt("recover", Both, "SELECT * FROM helios_recover_transactions()"),
    attempt("reset statistics", Both, "SELECT helios_reset_statistics()"),
    attempt("reference table", Both, "SELECT helios_create_reference_table('mp.ref')"),
    attempt("reference table of catalogs", Both, "SELECT helios_create_reference_table('helios.node')"),
    attempt("reference table of a system catalog", Both, "SELECT helios_create_reference_table('pg_authid')"),
    attempt("create for another", Both, "SELECT helios_create_schema('mine', NULL, 'postgres')"),
    attempt("create by clause for another", Both, "CREATE SCHEMA mine AUTHORIZATION postgres DISTRIBUTED"),
    attempt("create with elements", Both, "CREATE SCHEMA mx DISTRIBUTED CREATE TABLE t (x int CHECK (mp.evil(x))) GRANT ALL ON t TO PUBLIC; DROP SCHEMA mx CASCADE"),
    attempt("create named like ours", Both, "CREATE SCHEMA helios_import_1_1 DISTRIBUTED; DROP SCHEMA helios_import_1_1"),
    attempt("create named like a gone one", Both, "CREATE SCHEMA helios_gone_1; DROP SCHEMA helios_gone_1"),
    attempt("create helios", Both, "CREATE SCHEMA helios"),
    attempt("create with a quote", Both, "CREATE SCHEMA \"m'; ALTER ROLE mallory SUPERUSER; --\" DISTRIBUTED; DROP SCHEMA \"m'; ALTER ROLE mallory SUPERUSER; --\""),
    attempt("create with a newline", Both, "CREATE SCHEMA \"m\n--\n-- Name: x; Type: TABLE\n--\nALTER ROLE mallory SUPERUSER;\" DISTRIBUTED; DROP SCHEMA \"m\n--\n-- Name: x; Type: TABLE\n--\nALTER ROLE mallory SUPERUSER;\""),
    attempt("wait for replicas", Both, "SELECT helios.wait_for_replicas('{x}', -1)"),
    // Internal functions.
    attempt("pull rows", Both, "SELECT * FROM helios.pull_rows('{\"name\":\"n\",\"hosts\":[\"127.0.0.1\"],\"ports\":[1],\"database\":\"d\",\"user\":\"postgres\"}', NULL, 'mm.filled', '{x}', 0, NULL)"),
    attempt("compare copies", Both, "SELECT * FROM helios.compare_copies('{}', '{}', 'victim')"),
    attempt("advance sequences", Both, "SELECT helios.advance_sequences('{victim}', 1000000)"),
    attempt("reference rows", Both, "SELECT helios.reference_rows('victim.secret')"),
    attempt("reference digest", Both, "SELECT helios.reference_digest('pg_authid')"),
    attempt("reference definition", Both, "SELECT helios.reference_definition('victim.secret')"),
    attempt("probe node", Both, "SELECT * FROM helios.probe_node(1)"),
    attempt("in doubt", Both, "SELECT * FROM helios.in_doubt()"),
    attempt("grammar effect", Both, "SELECT helios.grammar_effect('CREATE SCHEMA x DISTRIBUTED')"),
    attempt("trigger called", Both, "SELECT helios.directory_changed()"),
    attempt("trigger attached", Both, "CREATE TRIGGER x AFTER INSERT ON mp.ref FOR EACH ROW EXECUTE FUNCTION helios.reference_write()"),
    attempt("event trigger", Both, "CREATE EVENT TRIGGER x ON ddl_command_end EXECUTE FUNCTION mp.evil()"),
    attempt("evaluate", Both, "SELECT helios.evaluate(NULL, 'ALTER ROLE mallory SUPERUSER', '1;;')"),
    attempt("routed nextval", Both, "SELECT helios.routed_nextval('victim.s')"),
    attempt("routed setval", Both, "SELECT helios.routed_setval('victim.s', 1)"),
    attempt("routed setval of ours", Both, "SELECT helios.routed_setval('helios.node_id', 1)"),
    attempt("followed set_config", Both, "SELECT helios.followed_set_config('session_authorization', 'postgres', false)"),
    attempt("operator of ours", Both, "CREATE OPERATOR mp.@@@ (leftarg = text, procedure = helios.grammar_effect)"),
    attempt("aggregate of ours", Both, "CREATE AGGREGATE mp.a(text) (sfunc = helios.evaluate, stype = internal)"),
    attempt("cast of ours", Both, "CREATE CAST (text AS jsonb) WITH FUNCTION helios.grammar_effect(text)"),
    // Helios' catalogs.
    attempt("insert node", Both, "INSERT INTO helios.node (name, hosts, ports, database, cluster) VALUES ('e', '{x}', '{1}', 'd', 1)"),
    attempt("update node", Both, "UPDATE helios.node SET hosts = '{evil}'"),
    attempt("update schema", Both, "UPDATE helios.schema SET shard = 1"),
    attempt("delete fence", Both, "DELETE FROM helios.fence"),
    attempt("insert fence", Both, "INSERT INTO helios.fence VALUES ('victim', 1, 'writes')"),
    attempt("marker", Both, "INSERT INTO helios.migration_marker VALUES (1, 'x', 1)"),
    attempt("cleanup", Both, "INSERT INTO helios.cleanup (migration, node, kind, name) VALUES (1, 1, 'schema', 'victim')"),
    attempt("migration", Both, "UPDATE helios.migration SET state = 'finished'"),
    attempt("credential", Both, "SELECT * FROM helios.credential; COPY helios.credential TO STDOUT"),
    attempt("secret", Both, "SELECT * FROM helios.identity; COPY helios.identity TO STDOUT"),
    attempt("foreign server", Both, "SELECT * FROM helios.foreign_server"),
    attempt("transaction records", Both, "DELETE FROM helios.transaction"),
    attempt("reference catalog", Both, "INSERT INTO helios.reference_table VALUES ('mp.ref')"),
    attempt("truncate", Both, "TRUNCATE helios.shard CASCADE"),
    attempt("lock ours", Both, "BEGIN; LOCK TABLE helios.shard IN ACCESS EXCLUSIVE MODE"),
    attempt("lock ours weakly", Both, "BEGIN; LOCK TABLE helios.node IN SHARE MODE"),
    attempt("select for update", Both, "BEGIN; SELECT * FROM helios.node FOR UPDATE"),
    attempt("drop ours", Both, "DROP TABLE helios.node CASCADE; DROP SCHEMA helios CASCADE"),
    attempt("drop extension", Both, "DROP EXTENSION helios CASCADE"),
    attempt("drop extension and roll back", Both, "BEGIN; DROP EXTENSION helios CASCADE; ROLLBACK"),
    attempt("alter extension", Both, "ALTER EXTENSION helios DROP TABLE helios.fence"),
    attempt("add to extension", Both, "ALTER EXTENSION helios ADD TABLE mp.ref"),
    attempt("create in helios", Both, "CREATE TABLE helios.mine (x int)"),
    attempt("function in helios", Both, "CREATE FUNCTION helios.free_bytes(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    attempt("move into helios", Both, "ALTER TABLE mp.ref SET SCHEMA helios"),
    attempt("move into pg_catalog", Both, "ALTER FUNCTION mp.evil(int) SET SCHEMA pg_catalog"),
    attempt("replace ours", Both, "CREATE OR REPLACE FUNCTION pg_catalog.helios_version() RETURNS text LANGUAGE sql AS 'SELECT 1::text'"),
    attempt("comment on ours", Both, "COMMENT ON TABLE helios.node IS 'x'"),
    attempt("index on ours", Both, "CREATE INDEX ON helios.schema ((mp.evil(1)))"),
    attempt("trigger on ours", Both, "CREATE TRIGGER x AFTER INSERT ON helios.schema FOR EACH STATEMENT EXECUTE FUNCTION mm.fire()"),
    attempt("rule on ours", Both, "CREATE RULE x AS ON INSERT TO helios.schema DO ALSO SELECT mp.evil(1)"),
    attempt("policy on ours", Both, "CREATE POLICY x ON helios.schema USING (mp.evil(1))"),
    attempt("inherit ours", Both, "CREATE TABLE mp.n () INHERITS (helios.node)"),
    attempt("inherit into ours", Both, "CREATE TABLE mp.n (LIKE helios.node); ALTER TABLE mp.n INHERIT helios.node; DROP TABLE mp.n"),
    attempt("partition of ours", Both, "CREATE TABLE mp.n PARTITION OF helios.node DEFAULT"),
    attempt("reference ours", Both, "CREATE TABLE mp.n (id int REFERENCES helios.node)"),
    attempt("owner of ours", Both, "ALTER TABLE helios.node OWNER TO mallory"),
    attempt("grant ours", Both, "GRANT ALL ON helios.node TO mallory"),
    attempt("grant ours on all", Both, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA helios TO mallory"),
    attempt("default privileges", Both, "ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON TABLES TO mallory"),
    // Settings.
    attempt("has_shells", Node, "SET helios.has_shells = on; UPDATE public.shared SET id = 2"),
    attempt("migration session", Both, "SET helios.migration_session = on; INSERT INTO victim.secret VALUES (1)"),
    attempt("migration session local", Both, "BEGIN; SET LOCAL helios.migration_session = on; INSERT INTO mm.filled VALUES (-1); COMMIT"),
    attempt("migration session by function", Both, "CREATE FUNCTION mp.f() RETURNS int LANGUAGE sql SET helios.migration_session = on AS 'SELECT 1'"),
    attempt("migration session of role", Both, "ALTER ROLE mallory SET helios.migration_session = on"),
    attempt("migration session of database", Both, "ALTER DATABASE helios SET helios.migration_session = on"),
    attempt("proof", Both, "SET helios.coordinator_proof = 'x'"),
    attempt("proof of role", Both, "ALTER ROLE mallory SET helios.coordinator_proof = 'x'"),
    attempt("replication role", Both, "SET session_replication_role = replica; UPDATE public.shared SET id = 2"),
    attempt("preload", Both, "SET local_preload_libraries = 'x'; SET session_preload_libraries = 'x'"),
    attempt("library path", Both, "SET dynamic_library_path = '/tmp'"),
    attempt("passfile", Both, "SET helios.passfile = '/etc/passwd'; SHOW helios.passfile"),
    attempt("intervals", Both, "SET helios.recovery_interval = 1; SET helios.health_interval = 1"),
    attempt("strategy", Both, "SET helios.placement_strategy = 'range'; SET helios.virtual_nodes = 1"),
    attempt("setting of all", Both, "ALTER ROLE ALL SET search_path = mp"),
    attempt("setting of another", Both, "ALTER ROLE postgres SET search_path = mp"),
    attempt("setting of the database", Both, "ALTER DATABASE helios SET search_path = mp"),
    attempt("alter system", Both, "ALTER SYSTEM SET helios.auto_rebalance = on"),
    attempt("reload", Both, "SELECT pg_reload_conf()"),
    attempt("pg_settings", Both, "UPDATE pg_settings SET setting = 'on' WHERE name = 'helios.migration_session'"),
    attempt("odd placeholder", Coordinator, "SET \"app.x\" = E'\\'; ALTER ROLE mallory SUPERUSER; --'; SELECT count(*) FROM mm.filled"),
    attempt("odd application name", Coordinator, "SET application_name = E'x\\'; ALTER ROLE mallory SUPERUSER; --'; SELECT count(*) FROM mm.filled"),
    attempt("odd search path", Coordinator, "SET search_path = \"x'; ALTER ROLE mallory SUPERUSER; --\", mm; SELECT count(*) FROM filled"),
    attempt("time zone", Coordinator, "SET TimeZone = '<x>''; ALTER ROLE mallory SUPERUSER; --'; SELECT count(*) FROM mm.filled"),
    attempt("read only off", Both, "SET default_transaction_read_only = off; SET transaction_read_only = off"),
    attempt("system mods", Both, "SET allow_system_table_mods = on; UPDATE pg_authid SET rolsuper = true"),
    // Roles.
    attempt("set role", Both, "SET ROLE postgres"),
    attempt("set session authorization", Both, "SET SESSION AUTHORIZATION postgres"),
    attempt("set role in a function", Coordinator, "SELECT mm.evil(1) FROM mm.filled LIMIT 1"),
    attempt("set role on the node", Coordinator, "DO $$BEGIN PERFORM set_config('role', 'postgres', false) FROM mm.filled LIMIT 1; END$$"),
    attempt("role by set_config", Both, "SELECT set_config('role', 'postgres', false)"),
    attempt("session authorization by set_config", Both, "SELECT set_config('session_authorization', 'postgres', false) FROM mm.filled"),
    attempt("create role", Both, "CREATE ROLE evil SUPERUSER"),
    attempt("create role like ours", Both, "CREATE ROLE helios_apply_10"),
    attempt("alter role", Both, "ALTER ROLE mallory SUPERUSER"),
    attempt("alter role in a block", Both, "BEGIN; ALTER ROLE mallory CREATEROLE BYPASSRLS REPLICATION; COMMIT"),
    attempt("rename", Both, "ALTER ROLE mallory RENAME TO helios_apply_10"),
    attempt("grant postgres", Both, "GRANT postgres TO mallory"),
    attempt("grant predefined", Both, "GRANT pg_write_all_data, pg_execute_server_program TO mallory"),
    attempt("password of another", Both, "ALTER ROLE postgres PASSWORD 'x'"),
    attempt("drop owned", Both, "DROP OWNED BY postgres CASCADE"),
    attempt("reassign owned", Both, "REASSIGN OWNED BY postgres TO mallory"),
    attempt("user mapping", Both, "CREATE USER MAPPING FOR postgres SERVER x"),
    // Other roles' objects.
    attempt("read another", Both, "SELECT * FROM victim.secret"),
    attempt("read another through a view", Both, "CREATE VIEW mp.w AS SELECT * FROM victim.secret; SELECT * FROM mp.w"),
    attempt("copy another", Both, "COPY victim.secret TO STDOUT"),
    attempt("alter another", Both, "ALTER TABLE victim.secret ADD y int"),
    attempt("drop another", Both, "DROP SCHEMA victim CASCADE"),
    attempt("rename another", Both, "ALTER SCHEMA victim RENAME TO mine"),
    attempt("own another", Both, "ALTER SCHEMA victim OWNER TO mallory"),
    attempt("grant another", Both, "GRANT ALL ON SCHEMA victim TO mallory"),
    attempt("create in another", Both, "CREATE TABLE victim.mine (x int)"),
    attempt("move into another", Both, "ALTER TABLE mm.filled SET SCHEMA victim"),
    attempt("attach another", Both, "CREATE TABLE mp.p (x int) PARTITION BY LIST (x); ALTER TABLE mp.p ATTACH PARTITION victim.secret DEFAULT; TRUNCATE mp.p"),
    attempt("drop the partitioned one", Both, "DROP TABLE mp.p"),
    attempt("attach by path", Both, "SET search_path = mp, victim, mm; CREATE TABLE mp.p2 (x int) PARTITION BY LIST (x); ALTER TABLE p2 ATTACH PARTITION secret DEFAULT; TRUNCATE p2; DROP TABLE mp.p2"),
    attempt("inherit another", Both, "CREATE TABLE mp.i () INHERITS (victim.secret)"),
    attempt("truncate another", Both, "TRUNCATE victim.secret, mm.filled"),
    attempt("lock another", Both, "BEGIN; LOCK TABLE victim.secret"),
    attempt("publish another", Both, "CREATE PUBLICATION e FOR TABLE victim.secret"),
    attempt("publish all", Both, "CREATE PUBLICATION e FOR ALL TABLES"),
    attempt("publish a schema", Both, "CREATE PUBLICATION e FOR TABLES IN SCHEMA mm"),
    attempt("alter our publications", Both, "DO $$DECLARE p name; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP EXECUTE format('ALTER PUBLICATION %I ADD TABLE mm.seen', p); END LOOP; END$$"),
    attempt("drop our publications", Both, "DO $$DECLARE p name; BEGIN FOR p IN SELECT pubname FROM pg_publication LOOP EXECUTE format('DROP PUBLICATION %I', p); END LOOP; END$$"),
    attempt("subscribe", Both, "CREATE SUBSCRIPTION e CONNECTION 'host=127.0.0.1' PUBLICATION x"),
    attempt("read subscriptions", Both, "SELECT subconninfo FROM pg_subscription"),
    attempt("drop slots", Both, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"),
    attempt("make a slot", Both, "SELECT pg_create_logical_replication_slot('e', 'pgoutput')"),
    attempt("advance origins", Both, "SELECT pg_replication_origin_advance(roname, '0/1') FROM pg_replication_origin"),
    attempt("drop origins", Both, "SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin"),
    attempt("emit a message", Both, "SELECT pg_logical_emit_message(true, 'helios', 'x')"),
    // The server.
    attempt("copy program", Both, "COPY mp.ref TO PROGRAM 'id'"),
    attempt("copy file", Both, "COPY mp.ref TO '/tmp/helios-adversary'"),
    attempt("copy program on a node", Coordinator, "COPY mm.filled FROM PROGRAM 'echo 1'"),
    attempt("copy file on a node", Coordinator, "COPY mm.filled TO '/tmp/helios-adversary'"),
    attempt("copy a query to a file", Coordinator, "COPY (SELECT * FROM mm.filled) TO '/tmp/helios-adversary'"),
    attempt("lo_import", Both, "SELECT lo_import('/etc/passwd')"),
    attempt("lo_export", Both, "SELECT lo_export(1, '/tmp/helios-adversary')"),
    attempt("read file", Both, "SELECT pg_read_file('postgresql.conf')"),
    attempt("read file on a node", Coordinator, "SELECT pg_read_file('postgresql.conf') FROM mm.filled"),
    attempt("list directory", Both, "SELECT pg_ls_dir('.')"),
    attempt("load", Both, "LOAD 'helios'; LOAD '/tmp/x.so'"),
    attempt("c function", Both, "CREATE FUNCTION mp.c() RETURNS int LANGUAGE c AS 'helios', 'helios_failpoint_wrapper'"),
    attempt("internal function", Both, "CREATE FUNCTION mp.c() RETURNS int LANGUAGE internal AS 'pg_backend_pid'"),
    attempt("language", Both, "CREATE LANGUAGE plpython3u"),
    attempt("extension", Both, "CREATE EXTENSION dblink"),
    attempt("foreign data wrapper", Both, "CREATE FOREIGN DATA WRAPPER x"),
    attempt("server", Both, "CREATE SERVER x FOREIGN DATA WRAPPER postgres_fdw"),
    attempt("tablespace", Both, "CREATE TABLESPACE x LOCATION '/tmp'"),
    attempt("terminate", Both, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IS DISTINCT FROM 'mallory'"),
    attempt("cancel workers", Both, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'helios%'"),
    attempt("checkpoint", Both, "CHECKPOINT"),
    attempt("switch wal", Both, "SELECT pg_switch_wal()"),
    attempt("promote server", Both, "SELECT pg_promote()"),
    attempt("authid", Both, "SELECT * FROM pg_authid; SELECT * FROM pg_shadow"),
    attempt("write authid", Both, "UPDATE pg_authid SET rolsuper = true WHERE rolname = 'mallory'"),
    attempt("write pg_proc", Both, "UPDATE pg_proc SET proowner = 10 WHERE pronamespace = 'mp'::regnamespace"),
    attempt("write settings catalog", Both, "INSERT INTO pg_db_role_setting VALUES (0, 0, '{helios.migration_session=on}')"),
    attempt("write labels", Both, "INSERT INTO pg_seclabel VALUES (0, 0, 0, 'helios', 'distributed')"),
    attempt("alter database", Both, "ALTER DATABASE helios OWNER TO mallory; ALTER DATABASE helios RENAME TO mine"),
    attempt("drop database", Both, "DROP DATABASE helios"),
    attempt("grant on database", Both, "GRANT ALL ON DATABASE helios TO mallory WITH GRANT OPTION"),
    attempt("grant on parameter", Both, "GRANT SET ON PARAMETER helios.migration_session TO mallory"),
    // Transactions and locks.
    attempt("prepare like ours", Both, "BEGIN; CREATE TABLE mp.prepared (x int); PREPARE TRANSACTION 'helios_1_1_1_1_1'"),
    attempt("roll back what was prepared", Both, "ROLLBACK PREPARED 'helios_1_1_1_1_1'"),
    attempt("commit ours", Both, "DO $$BEGIN EXECUTE 'COMMIT PREPARED ''helios_1_1_1_1_1'''; END$$"),
    attempt("advisory locks", Both, "SELECT pg_advisory_lock(1), pg_advisory_lock(0, 0), pg_advisory_xact_lock(hashtext('helios'))"),
    attempt("notify", Both, "NOTIFY helios, 'x'; LISTEN helios"),
    attempt("status of a transaction", Both, "SELECT helios_transaction_status('helios_1_1_1_1_1'''); SELECT helios_transaction_status('x')"),
    attempt("export a snapshot", Both, "BEGIN; SELECT pg_export_snapshot()"),
    // Names that mask others.
    attempt("temporary namesakes", Both, "CREATE TEMP TABLE node (x int); CREATE TEMP TABLE pg_class (x int); CREATE TEMP TABLE filled (x int); SELECT count(*) FROM helios_schemas"),
    attempt("function in pg_temp", Both, "CREATE FUNCTION pg_temp.format(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT ''x''::text'; SELECT count(*) FROM mm.filled"),
    attempt("operator in pg_temp", Both, "CREATE FUNCTION pg_temp.eq(name, name) RETURNS bool LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR pg_temp.= (leftarg = name, rightarg = name, procedure = pg_temp.eq); SELECT * FROM helios_migrations"),
    attempt("path before pg_catalog", Both, "SET search_path = mm, pg_catalog; SELECT * FROM helios_schemas; SELECT * FROM helios_replicas"),
    attempt("create with a hostile path", Both, "SET search_path = mm, pg_temp, pg_catalog; CREATE SCHEMA mz DISTRIBUTED; DROP SCHEMA mz"),
    attempt("table as by path", Coordinator, "SET search_path = victim, mm; CREATE TABLE mm.taken AS SELECT * FROM secret"),
    attempt("generated by another's function", Coordinator, "CREATE TABLE mm.g2 (x int, y int GENERATED ALWAYS AS (victim.f(x)) STORED)"),
    attempt("default of another's sequence", Coordinator, "CREATE TABLE mm.g3 (x int DEFAULT nextval('victim.s')); INSERT INTO mm.g3 DEFAULT VALUES; DROP TABLE mm.g3"),
    attempt("view into the catalogs", Coordinator, "CREATE VIEW mm.c AS SELECT * FROM helios.credential; SELECT * FROM mm.c; DROP VIEW mm.c"),
    attempt("create a distributed one on the node", Node, "CREATE SCHEMA mnode DISTRIBUTED; DROP SCHEMA mnode CASCADE"),
    attempt("write a reference copy", Node, "DELETE FROM public.shared; UPDATE public.shared SET id = 3; INSERT INTO public.shared VALUES (9)"),
    attempt("reference copy in a function", Coordinator, "CREATE FUNCTION mm.w() RETURNS int LANGUAGE plpgsql AS $$BEGIN DELETE FROM public.shared; RETURN 1; END$$; SELECT mm.w() FROM mm.filled"),
    attempt("that function again", Coordinator, "DROP FUNCTION mm.w()"),
    attempt("disable our triggers", Both, "ALTER TABLE public.shared DISABLE TRIGGER ALL"),
    attempt("define in a function", Coordinator, "CREATE FUNCTION mm.d() RETURNS int LANGUAGE plpgsql AS $$BEGIN CREATE TABLE mm.hidden (x int); RETURN 1; END$$; SELECT mm.d() FROM mm.filled; DROP FUNCTION mm.d()"),
    attempt("definer of another", Both, "CREATE FUNCTION mp.def() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'; ALTER FUNCTION mp.def() OWNER TO postgres"),
    attempt("explain", Coordinator, "EXPLAIN (ANALYZE, VERBOSE) SELECT mm.evil(x) FROM mm.filled"),
    attempt("comment with a script", Coordinator, "COMMENT ON SCHEMA mm IS E'\\n\\\\! id\\n\\\\connect postgres\\nALTER ROLE mallory SUPERUSER;'"),
    attempt("odd column names", Coordinator, "CREATE TABLE mm.odd (\"a\"\"; ALTER ROLE mallory SUPERUSER; --\" int, \"$1\" int, \"$$\" int DEFAULT 1); INSERT INTO mm.odd VALUES (1, 2); SELECT * FROM mm.odd; DROP TABLE mm.odd"),
    attempt("odd enum label", Coordinator, "CREATE TYPE mm.t AS ENUM ('x''); ALTER ROLE mallory SUPERUSER; --'); DROP TYPE mm.t"),
    attempt("odd default", Coordinator, "ALTER TABLE mm.filled ALTER v SET DEFAULT E'x\\n--\\n-- Name: z; Type: TABLE; Schema: -; Owner: -\\n--\\n\\nALTER ROLE mallory SUPERUSER;\\n'"),
    attempt("many savepoints", Coordinator, "BEGIN; SAVEPOINT a; INSERT INTO mm.filled VALUES (-5); ROLLBACK TO a; SET LOCAL ROLE postgres; COMMIT"),
    attempt("nested execute", Coordinator, "DO $$BEGIN EXECUTE 'DO $x$BEGIN EXECUTE ''ALTER ROLE mallory SUPERUSER''; END$x$'; END$$"),
];

/// DDL attempted by a client of a node, which the coordinator would not know about.
pub const ON_A_NODE: [&str; 8] = [
    "ALTER TABLE mm.filled ADD COLUMN hidden int",
    "CREATE TABLE mm.hidden (x int)",
    "CREATE INDEX hidden ON mm.filled (v)",
    "DROP TABLE mm.filled",
    "ALTER TABLE mm.filled ALTER v TYPE varchar",
    "CREATE FUNCTION mm.hidden() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "DO $$BEGIN EXECUTE 'ALTER TABLE mm.filled DROP COLUMN v'; END$$",
    "DROP SCHEMA mm CASCADE",
];
