//! `helios_repair_schema` synchronizes shells with changes made by a superuser on their node, or on the coordinator only.

use helios_tests::{BOUND, Cluster, refused, text, wait_until};
use postgres::Client;

use super::definitions_compared::found;
use super::smoke_definitions::{EVERYTHING, run};

/// The server on which a change is made manually.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Node,
    Shells,
}

use Side::{Node, Shells};

/// Every kind of difference, on either side.
const CHANGES: &[(Side, &str)] = &[
    (Node, "ALTER TABLE log ADD more int"),
    (
        Node,
        "ALTER TABLE users ADD \"Odd \"\"name\" text DEFAULT 'x', ADD twice int GENERATED ALWAYS AS (years * 2) STORED",
    ),
    (Node, "ALTER TABLE users DROP years CASCADE"),
    (Node, "ALTER TABLE log ALTER what TYPE varchar(9)"),
    (Node, "ALTER TABLE users ALTER mail SET DEFAULT 'x'"),
    (Node, "ALTER TABLE users ALTER made DROP DEFAULT"),
    (Node, "ALTER TABLE users ALTER level SET NOT NULL"),
    (Node, "ALTER TABLE users RENAME made TO created"),
    (Node, "CREATE INDEX extra_index ON users (mail)"),
    (Node, "DROP INDEX docs"),
    (Node, "CREATE INDEX more_log ON log (what)"),
    (Node, "ALTER TABLE users ADD CONSTRAINT c CHECK (id < 9)"),
    (Node, "ALTER TABLE orders DROP CONSTRAINT positive"),
    (Node, "ALTER TABLE orders DROP CONSTRAINT orders_owner_fkey"),
    (Node, "ALTER TABLE users DISABLE TRIGGER stamp"),
    (Node, "DROP TRIGGER stamp ON users"),
    (Node, "DROP RULE quiet ON log"),
    (Node, "ALTER POLICY mine ON orders USING (true)"),
    (Node, "ALTER TABLE orders DISABLE ROW LEVEL SECURITY"),
    (
        Node,
        "CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1'; COMMENT ON FUNCTION one() IS 'new'",
    ),
    (
        Node,
        "CREATE OR REPLACE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ),
    (Node, "ALTER TYPE level RENAME VALUE 'low' TO 'lower'"),
    (Node, "ALTER TYPE level ADD VALUE 'higher'"),
    (Node, "ALTER DOMAIN email ADD CHECK (length(VALUE) > 2)"),
    (Node, "CREATE TYPE pair AS (a int, b level); CREATE TABLE pairs (p pair, q pair[])"),
    (Node, "GRANT DELETE ON users TO PUBLIC; GRANT INSERT (id) ON orders TO PUBLIC"),
    (Node, "REVOKE SELECT (mail) ON users FROM PUBLIC"),
    (
        Node,
        "GRANT USAGE ON TYPE level TO repairer; REVOKE EXECUTE ON FUNCTION stamp() FROM repairer; GRANT EXECUTE ON FUNCTION stamp() TO repairer WITH GRANT OPTION",
    ),
    (
        Node,
        "GRANT SELECT ON orders TO repairer WITH GRANT OPTION; SET ROLE repairer; GRANT SELECT ON orders TO repaired; RESET ROLE",
    ),
    (
        Node,
        "ALTER TABLE users OWNER TO repairer; ALTER FUNCTION stamp() OWNER TO repairer; ALTER TYPE level OWNER TO repairer",
    ),
    (
        Node,
        "ALTER SCHEMA everything OWNER TO repairer; GRANT CREATE ON SCHEMA everything TO repaired",
    ),
    (
        Node,
        "ALTER DEFAULT PRIVILEGES IN SCHEMA everything REVOKE SELECT ON TABLES FROM PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA everything GRANT EXECUTE ON FUNCTIONS TO repaired",
    ),
    (
        Node,
        "COMMENT ON TABLE users IS 'persons'; COMMENT ON COLUMN users.doc IS NULL; COMMENT ON TYPE level IS 'it''s'; COMMENT ON FUNCTION stamp() IS NULL; COMMENT ON POLICY mine ON orders IS 'p'; COMMENT ON INDEX extra_index IS 'j'",
    ),
    (Node, "ALTER TABLE users SET (fillfactor = 80)"),
    (Node, "ALTER SEQUENCE extra INCREMENT 4"),
    (Node, "DROP SEQUENCE extra; CREATE SEQUENCE another"),
    (
        Node,
        "CREATE OR REPLACE VIEW recent AS SELECT u.mail, (o.net + 1)::numeric(10,2) AS net FROM users u JOIN orders o ON o.owner = u.id",
    ),
    (Node, "DROP VIEW recent"),
    (
        Node,
        "DROP MATERIALIZED VIEW sums; CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM orders",
    ),
    (
        Node,
        "CREATE TABLE \"New; \"\"table\" (\"a b\" int PRIMARY KEY, c int REFERENCES \"New; \"\"table\"); COMMENT ON COLUMN \"New; \"\"table\".\"a b\" IS E'x\\n--\\n-- Name: z'",
    ),
    (Node, "DROP TABLE copy"),
    (Node, "CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')"),
    (
        Node,
        "CREATE TABLE log_3 (LIKE log); ALTER TABLE log ATTACH PARTITION log_3 FOR VALUES FROM ('2032-01-01') TO ('2033-01-01')",
    ),
    (Node, "CREATE TABLE child (own int) INHERITS (pairs)"),
    (Node, "DROP STATISTICS dep; CREATE STATISTICS depp ON id, mail FROM users"),
    (
        Node,
        "CREATE FUNCTION to_int(level) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE CAST (level AS int) WITH FUNCTION to_int(level) AS ASSIGNMENT",
    ),
    (
        Node,
        "CREATE FUNCTION same(level, level) RETURNS boolean LANGUAGE sql AS 'SELECT true'; CREATE OPERATOR === (LEFTARG = level, RIGHTARG = level, FUNCTION = same)",
    ),
    (
        Node,
        "CREATE COLLATION plain_c (locale = 'C'); CREATE TEXT SEARCH CONFIGURATION words (COPY = pg_catalog.simple)",
    ),
    (Shells, "ALTER TABLE users ADD here_only int; CREATE INDEX here_index ON users (here_only)"),
    (
        Shells,
        "ALTER TABLE users OWNER TO repaired; GRANT ALL ON orders TO repairer; COMMENT ON TABLE log IS 'here'",
    ),
    (Shells, "CREATE TABLE here_only (x int); CREATE VIEW here_view AS SELECT * FROM here_only"),
    (Shells, "DROP TABLE users CASCADE"),
    (Shells, "DROP FUNCTION stamp() CASCADE; DROP TYPE level CASCADE"),
    (Shells, "CREATE FUNCTION here_only(int) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
    (Shells, "ALTER TABLE orders DROP CONSTRAINT orders_pkey, ALTER net TYPE int, DROP gross"),
];

/// Views in another schema that refer to this one, with all their properties.
const VIEWS: &str = "
    CREATE SCHEMA looking; GRANT USAGE, CREATE ON SCHEMA looking TO repairer;
    CREATE VIEW looking.people AS SELECT id, mail::text AS mail, doc FROM everything.users WHERE id > 0 WITH LOCAL CHECK OPTION;
    CREATE VIEW looking.twice AS SELECT p.id, o.net FROM looking.people p JOIN everything.orders o ON o.owner = p.id;
    COMMENT ON VIEW looking.people IS 'of people'; COMMENT ON COLUMN looking.people.doc IS 'doc';
    GRANT SELECT ON looking.people TO repaired; ALTER VIEW looking.twice OWNER TO repairer;
    ALTER VIEW looking.people ALTER doc SET DEFAULT '{}';";

/// All properties of the views.
const LOOKING: &str = "SELECT concat_ws(' ', c.oid, c.relname, c.relowner::regrole, c.reloptions, c.relacl, pg_get_viewdef(c.oid),
        (SELECT string_agg(description, ',' ORDER BY description) FROM pg_description WHERE objoid = c.oid),
        (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = c.oid))
   FROM pg_class c WHERE c.relnamespace = 'looking'::regnamespace ORDER BY 1";

fn rows(client: &mut Client, query: &str) -> Vec<String> {
    let format = |row: &postgres::Row| {
        (0..row.len()).map(|at| row.get::<_, String>(at)).collect::<Vec<_>>().join(" | ")
    };
    client
        .query(query, &[])
        .unwrap_or_else(|e| panic!("{e:?} in {query}"))
        .iter()
        .map(format)
        .collect()
}

fn by_hand(cluster: &Cluster) -> [Client; 2] {
    let node = cluster.node_of("everything").connect(testkit::cluster::DATABASE).unwrap();
    let mut both = [cluster.connect(), node];
    for client in &mut both {
        client
            .batch_execute("SET helios.migration_session = on; SET search_path = everything")
            .unwrap();
    }
    both
}

/// Number of changes repaired together.
const TOGETHER: usize = 14;

#[test]
fn every_kind_of_difference_is_repaired() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    client.batch_execute("CREATE ROLE repairer; CREATE ROLE repaired").unwrap();
    run(&mut client, EVERYTHING);
    client.batch_execute(VIEWS).unwrap();
    let mut looking = text(&mut client, LOOKING);
    assert_eq!(looking.len(), 2, "{looking:?}");
    let [mut here, mut node] = by_hand(&cluster);
    let repair = "SELECT * FROM helios_repair_schema('everything')";
    assert_eq!(rows(&mut client, repair), [""; 0], "nothing was changed");
    for group in CHANGES.chunks(TOGETHER) {
        let mut views_go = false;
        for (side, change) in group {
            // Here the views are dropped along with the objects they refer to.
            if *side == Shells && change.contains("CASCADE") && !views_go {
                client.batch_execute("DROP SCHEMA looking CASCADE").unwrap();
                views_go = true;
            }
            let hand = if *side == Node { &mut node } else { &mut here };
            hand.batch_execute(change).unwrap_or_else(|e| panic!("{e:?} in {change}"));
        }
        let before = found(&mut client);
        assert_eq!(before.len(), 1, "{group:?}");
        let dry = rows(&mut client, &repair.replace("')", "', dry_run => true)"));
        assert!(dry.len() >= group.len(), "{group:?}: {dry:?}");
        assert_eq!(found(&mut client), before, "a dry run of {group:?}");
        assert_eq!(rows(&mut client, repair), dry, "{group:?}");
        assert_eq!(found(&mut client), [""; 0], "{group:?}: {dry:?}");
        if views_go {
            client.batch_execute(VIEWS).unwrap();
            looking = text(&mut client, LOOKING);
        }
        assert_eq!(text(&mut client, LOOKING), looking, "{group:?}");
        client
            .batch_execute(
                "BEGIN; INSERT INTO everything.users (mail, doc) VALUES ('a@b', '{}');
                 INSERT INTO everything.log (at, what) VALUES (now(), 'w'); ROLLBACK;
                 SELECT * FROM everything.users; SELECT * FROM everything.orders; SELECT * FROM everything.log;
                 SELECT * FROM looking.people",
            )
            .unwrap_or_else(|e| panic!("{e:?} after {group:?}"));
    }
}

#[test]
fn what_cannot_be_repaired_is_told_with_the_remedy() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    run(&mut client, EVERYTHING);
    client
        .batch_execute(
            "CREATE ROLE owner_here LOGIN; GRANT EXECUTE ON FUNCTION helios_repair_schema TO owner_here; CREATE ROLE nobody_here LOGIN;
             CREATE SCHEMA local_one; CREATE TABLE local_one.kept (l everything.level); INSERT INTO local_one.kept VALUES ('low');
             CREATE VIEW local_one.years AS SELECT years FROM everything.users; CREATE SCHEMA plain",
        )
        .unwrap();
    let [_, mut node] = by_hand(&cluster);
    let repair = "SELECT * FROM helios_repair_schema('everything')";
    // A composite type used by a table in another schema.
    node.batch_execute("ALTER TYPE level ADD VALUE 'more'").unwrap();
    refused(&mut client, repair, "2BP01", "objects in other schemas depend");
    client.batch_execute("ALTER TABLE local_one.kept ALTER l TYPE text").unwrap();
    assert!(!text(&mut client, repair).is_empty());
    assert_eq!(text(&mut client, "SELECT l FROM local_one.kept"), ["low"]);
    // A view on an object that no longer exists.
    node.batch_execute("ALTER TABLE users DROP years").unwrap();
    refused(&mut client, repair, "2BP01", "view local_one.years depends");
    assert_eq!(found(&mut client).len(), 1);
    client.batch_execute("DROP VIEW local_one.years").unwrap();
    assert!(!text(&mut client, repair).is_empty());
    assert_eq!(found(&mut client), [""; 0]);
    // Names, privileges, transactions.
    refused(&mut client, "SELECT * FROM helios_repair_schema('plain')", "42809", "has no shells");
    for (call, code) in
        [("'none such'", "3F000"), ("NULL", "22004"), ("''", "42602"), ("'helios'", "42939")]
    {
        let error = client
            .simple_query(&format!("SELECT * FROM helios_repair_schema({call})"))
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error.code().unwrap().code(), code, "{call}: {error:?}");
    }
    refused(
        &mut client,
        &format!("BEGIN; INSERT INTO everything.copy (id) VALUES (1); {repair}"),
        "25001",
        "used node",
    );
    client.batch_execute("ROLLBACK").unwrap();
    let code = |user: &str| {
        let mut other = cluster.connect_as(user);
        other.simple_query(repair).map(|_| ()).unwrap_err().code().unwrap().code().to_owned()
    };
    assert_eq!(code("nobody_here"), "42501");
    assert_eq!(code("owner_here"), "42501");
}

#[test]
fn repair_waits_for_clients_and_keeps_away_from_migrations() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE SCHEMA \"Odd; \"\"one\" DISTRIBUTED; CREATE TABLE \"Odd; \"\"one\".\"t '\" (id int PRIMARY KEY)")
        .unwrap();
    let schema = "Odd; \"one";
    let mut node = cluster.node_of(schema).connect(testkit::cluster::DATABASE).unwrap();
    node.batch_execute("SET helios.migration_session = on; ALTER TABLE \"Odd; \"\"one\".\"t '\" ADD \"x \"\"\" int DEFAULT 7").unwrap();
    let repair = "SELECT * FROM helios_repair_schema('Odd; \"one')";
    let mut user = cluster.connect();
    user.batch_execute("BEGIN; SELECT FROM \"Odd; \"\"one\".\"t '\"").unwrap();
    refused(&mut client, repair, "55P03", "could not lock");
    user.batch_execute("COMMIT").unwrap();
    assert!(!text(&mut client, repair).is_empty());
    client.batch_execute("INSERT INTO \"Odd; \"\"one\".\"t '\" VALUES (1)").unwrap();
    assert_eq!(text(&mut client, "TABLE \"Odd; \"\"one\".\"t '\""), ["1|7"]);
    assert_eq!(text(&mut user, "TABLE \"Odd; \"\"one\".\"t '\""), ["1|7"]);
    let source = text(&mut client, "SELECT helios_node_for_schema('Odd; \"one')").remove(0);
    let target = if source == "node-1" { "node-2" } else { "node-1" };
    let id = text(&mut client, &format!("SELECT helios_migrate_schema('Odd; \"one', '{target}')"))
        .remove(0);
    refused(&mut client, repair, "55006", "migration");
    client
        .batch_execute(&format!(
            "SELECT helios_wait_for_migration({id}); SELECT helios_finish_migration({id})"
        ))
        .unwrap();
    wait_until("the migration's end", BOUND, || {
        let state =
            text(&mut client, &format!("SELECT state FROM helios_migration({id})")).remove(0);
        if state == "finished" { Ok(()) } else { Err(state) }
    });
    assert_eq!(text(&mut client, repair), [""; 0]);
    cluster.kill_node(target.trim_start_matches("node-").parse().unwrap());
    let error = client.simple_query(repair).map(|_| ()).unwrap_err();
    assert!(error.code().unwrap().code().starts_with("08"), "{error:?}");
}

#[test]
fn code_of_the_owner_runs_with_no_more_than_his_rights() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE ROLE tenant LOGIN; CREATE SCHEMA t AUTHORIZATION tenant DISTRIBUTED")
        .unwrap();
    const EVIL: &str = "CREATE FUNCTION t.evil(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN RAISE EXCEPTION 'evil runs as %', current_user; END IF;
        RETURN $1; END $$;";
    const TABLES: &str = "CREATE DOMAIN t.d AS int DEFAULT t.evil(1) CHECK (t.evil(1) > 0);
        CREATE TABLE t.a (id int PRIMARY KEY, g int GENERATED ALWAYS AS (id + t.evil(1)) STORED, d t.d, e int DEFAULT t.evil(1), CHECK (t.evil(1) > 0));
        ALTER TABLE t.a ADD CONSTRAINT more CHECK (t.evil(2) > 0) NOT VALID;
        CREATE INDEX ON t.a ((t.evil(3)));
        CREATE TABLE t.p (id int, k int) PARTITION BY RANGE ((k + t.evil(1)));
        CREATE TABLE t.p1 PARTITION OF t.p (CHECK (t.evil(1) > 0)) FOR VALUES FROM (1) TO (5);
        CREATE TABLE t.b (id int REFERENCES t.a);
        CREATE STATISTICS t.s ON (id + t.evil(1)), d FROM t.a;
        CREATE POLICY x ON t.a USING (t.evil(1) > 0);
        CREATE MATERIALIZED VIEW t.m AS SELECT t.evil(1) FROM t.a;";
    let mut tenant = cluster.connect_as("tenant");
    run(&mut tenant, EVIL);
    run(&mut tenant, TABLES);
    client.batch_execute("REVOKE ALL ON SCHEMA t FROM tenant").unwrap();
    let mut here = cluster.connect();
    here.batch_execute("SET helios.migration_session = on").unwrap();
    for change in [
        "DROP TABLE t.a, t.b CASCADE",
        "DROP TABLE t.p",
        "DROP DOMAIN t.d CASCADE",
        "DROP FUNCTION t.evil CASCADE",
    ] {
        here.batch_execute(change).unwrap();
        let repair = "SELECT * FROM helios_repair_schema('t')";
        let error = client.simple_query(repair).map(|_| ()).unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code().code(), "55000", "{change}: {error:?}");
        assert_eq!(error.hint(), Some("GRANT CREATE, USAGE ON SCHEMA t TO tenant"), "{change}");
        client.batch_execute("GRANT CREATE, USAGE ON SCHEMA t TO tenant").unwrap();
        assert!(!text(&mut client, repair).is_empty());
        assert_eq!(found(&mut client), [""; 0], "{change}");
        client.batch_execute("REVOKE ALL ON SCHEMA t FROM tenant").unwrap();
    }
    // The function reports it.
    let error = here.batch_execute("ALTER TABLE t.a ADD CHECK (t.evil(4) > 0)").unwrap_err();
    assert!(error.as_db_error().unwrap().message().contains("evil runs as"), "{error:?}");
}
