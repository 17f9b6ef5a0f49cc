//! Literals of types that contain domains are checked while a definition is parsed, before PostgreSQL switches to the owner
//! of the table. So definitions that Helios repeats on another server are parsed with their owner's privileges.

use helios_tests::{Cluster, refused, text};
use postgres::Client;

/// What a role with only CREATE on the database may do; the domain's check makes it a superuser wherever a superuser runs it.
const HOSTILE: &str = "
    CREATE SCHEMA mp;
    CREATE FUNCTION mp.chk(int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
            UPDATE pg_catalog.pg_authid SET rolsuper = true WHERE rolname = 'mallory';
        END IF;
        RETURN true;
    END $$;
    CREATE DOMAIN mp.d AS int CHECK (mp.chk(VALUE));
    CREATE TYPE mp.c AS (x mp.d);
    CREATE FUNCTION mp.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE SCHEMA m1 DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA m2 DISTRIBUTED ON NODE \"node-2\"";

/// Everything of a table that may contain a literal.
const TABLE: &str = "
    CREATE TABLE @ (id int PRIMARY KEY, a mp.d[] DEFAULT '{1}', c mp.c DEFAULT '(1)', r int4range,
        g boolean GENERATED ALWAYS AS (a = '{1}'::mp.d[]) STORED, CHECK (a <> '{9}'::mp.d[]),
        CONSTRAINT #_apart EXCLUDE USING gist (r WITH &&) WHERE (a = '{1}'::mp.d[]));
    CREATE INDEX #_expression ON @ ((a = '{1}'::mp.d[]));
    CREATE INDEX #_composite ON @ ((c = '(1)'::mp.c));
    CREATE UNIQUE INDEX \"#_Odd name\" ON @ USING btree (id DESC NULLS LAST) INCLUDE (r) WITH (fillfactor = 70) WHERE a = '{1}'::mp.d[];
    CREATE STATISTICS #_s ON id, (a = '{1}'::mp.d[]) FROM @;
    CREATE TRIGGER fires BEFORE UPDATE ON @ FOR EACH ROW WHEN (NEW.a = '{1}'::mp.d[]) EXECUTE FUNCTION mp.fires();
    COMMENT ON INDEX %#_expression IS 'a comment';
    INSERT INTO @ (id, r) VALUES (1, '[1,2)'), (2, '[2,3)')";

/// Indexes and constraints of a table.
const DEFINED: &str = "
    SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = '@'::regclass
    UNION ALL SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '@'::regclass ORDER BY 1";

struct Stage {
    cluster: Cluster,
    admin: Client,
    mallory: Client,
}

impl Stage {
    fn start() -> Self {
        let cluster = Cluster::with_settings(2, &["helios.rollback_window = 0"]);
        let mut admin = cluster.connect();
        admin
            .batch_execute("CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE helios TO mallory")
            .unwrap();
        let mut mallory = cluster.connect_as("mallory");
        mallory.batch_execute(HOSTILE).unwrap();
        Self { cluster, admin, mallory }
    }

    fn table(&mut self, schema: &str, name: &str) {
        let create = TABLE
            .replace('@', &format!("{schema}.{name}"))
            .replace("STATISTICS #", &format!("STATISTICS {schema}.#"))
            .replace('%', &format!("{schema}."))
            .replace('#', name);
        self.mallory.batch_execute(&create).unwrap();
    }

    #[track_caller]
    fn assert_powerless(&mut self, what: &str) {
        for server in [self.cluster.coordinator()].into_iter().chain(self.cluster.nodes()) {
            let supers = "SELECT rolname FROM pg_roles WHERE rolsuper AND rolname = 'mallory'";
            let found = text(&mut server.connect("helios").unwrap(), supers);
            assert!(found.is_empty(), "{what}: mallory is a superuser on {}", server.name);
        }
    }

    /// Asserts that mallory gained nothing, and that the node has the table with its rows and what belongs to it.
    #[track_caller]
    fn assert_copied(&mut self, table: &str, node: usize) {
        self.assert_powerless(table);
        let mut there = self.cluster.connect_to_node(node);
        let defined = DEFINED.replace('@', table);
        let here = text(&mut self.admin, &defined);
        assert!(here.len() >= 8, "{here:?}");
        assert_eq!(text(&mut there, &defined), here, "{table} on node-{node}");
        let rows = format!("SELECT id, a, c, r, g FROM {table} ORDER BY id");
        assert_eq!(
            text(&mut there, &rows),
            ["1|{1}|(1)|[1,2)|t", "2|{1}|(1)|[2,3)|t"],
            "{table} on node-{node}"
        );
        let clash = format!("INSERT INTO {table} (id, r) VALUES (3, '[1,3)')");
        let error = self.mallory.batch_execute(&clash).expect_err(&clash);
        let code = error.as_db_error().map(|error| error.code().code().to_owned());
        assert_eq!(code.as_deref(), Some("23P01"), "{clash}: {error:?}");
        let write = format!("UPDATE {table} SET r = '[5,6)' WHERE id = 1");
        self.mallory.batch_execute(&write).unwrap();
        let moved = format!("SELECT r FROM {table} WHERE id = 1");
        assert_eq!(text(&mut there, &moved), ["[5,6)"], "{table} on node-{node}");
        self.mallory.batch_execute(&write.replace("5,6", "1,2")).unwrap();
        self.assert_powerless(table);
    }
}

#[test]
fn definitions_of_reference_tables_are_parsed_as_their_owner() {
    let mut stage = Stage::start();
    stage.table("mp", "asked");
    stage.admin.batch_execute("SELECT helios_create_reference_table('mp.asked')").unwrap();
    stage.assert_copied("mp.asked", 1);
    stage.assert_copied("mp.asked", 2);

    stage.mallory.batch_execute("DROP SCHEMA m2").unwrap();
    stage.admin.batch_execute("SELECT helios_remove_node('node-2')").unwrap();
    let node = stage.cluster.node(2);
    let add =
        format!("SELECT helios_add_node('node-2', '{}', {})", testkit::server::HOST, node.port);
    stage.admin.batch_execute(&add).unwrap();
    stage.assert_copied("mp.asked", 2);
    let wrong = "SELECT * FROM helios_check_cluster() WHERE NOT ok";
    assert!(text(&mut stage.admin, wrong).is_empty());
    stage.assert_powerless("the check of the cluster");
}

#[test]
fn what_the_coordinator_follows_and_restores_is_parsed_as_its_owner() {
    let mut stage = Stage::start();
    stage
        .mallory
        .batch_execute(
            "CREATE TABLE m1.p (a mp.d[], x int) PARTITION BY LIST (a);
             CREATE TABLE m1.p1 PARTITION OF m1.p FOR VALUES IN ('{1}');
             CREATE TABLE m1.r (id int);
             CREATE VIEW mp.seen AS SELECT id, '{1}'::mp.d[] AS a FROM m1.r",
        )
        .unwrap();
    let detach = "ALTER TABLE m1.p DETACH PARTITION m1.p1 CONCURRENTLY";
    stage.admin.batch_execute(detach).unwrap();
    stage.assert_powerless(detach);
    let checks = "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'm1.p1'::regclass";
    let mut there = stage.cluster.connect_to_node(1);
    let expected = text(&mut there, checks);
    assert_eq!(expected.len(), 1, "{expected:?}");
    assert_eq!(text(&mut stage.admin, checks), expected);

    let view = "SELECT pg_get_viewdef('mp.seen')";
    let seen = text(&mut stage.admin, view);
    there
        .batch_execute("SET helios.migration_session = on; ALTER TABLE m1.r ADD COLUMN y int")
        .unwrap();
    let repair = "SELECT count(*) > 0 FROM helios_repair_schema('m1')";
    assert_eq!(text(&mut stage.admin, repair), ["t"]);
    stage.assert_powerless("the repair");
    assert_eq!(text(&mut stage.admin, view), seen);
    stage.mallory.batch_execute("REVOKE CREATE ON SCHEMA mp FROM mallory").unwrap();
    there.batch_execute("ALTER TABLE m1.r ADD COLUMN z int").unwrap();
    refused(&mut stage.admin, repair, "55000", "create view mp.seen");
}
