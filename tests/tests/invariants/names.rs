//! Invariant 4: names are the same everywhere. Invariant 6: errors are passed on as they were raised.

use helios_tests::{Cluster, PlainServer};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::command;
use testkit::server::Server;

const DEFINITIONS: &str = r#"
    CREATE TYPE n.kind AS ENUM ('a', 'b');
    CREATE DOMAIN n.positive AS int CHECK (VALUE > 0);
    CREATE TYPE n.pair AS (x int, y text);
    CREATE TABLE n.users (id serial PRIMARY KEY, name text NOT NULL UNIQUE, kind n.kind DEFAULT 'a',
        size n.positive, pair n.pair, upper text GENERATED ALWAYS AS (upper(name)) STORED);
    CREATE TABLE n."Odd Name" (id bigint GENERATED ALWAYS AS IDENTITY, "user" int
        CONSTRAINT "Odd Key" REFERENCES n.users ON DELETE CASCADE DEFERRABLE, CHECK ("user" <> 5));
    CREATE TABLE n.events (at date NOT NULL, what jsonb) PARTITION BY RANGE (at);
    CREATE TABLE n.events_2024 PARTITION OF n.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    CREATE TABLE n.events_rest PARTITION OF n.events DEFAULT;
    CREATE INDEX ON n.events (at);
    CREATE INDEX by_name ON n.users (lower(name) DESC) WHERE size > 3;
    CREATE STATISTICS n.related (dependencies) ON name, kind FROM n.users;
    CREATE SEQUENCE n.own START 5 INCREMENT 3;
    CREATE FUNCTION n.count_users(k n.kind DEFAULT 'a') RETURNS bigint LANGUAGE sql STABLE
        AS 'SELECT count(*) FROM n.users WHERE kind = k';
    CREATE PROCEDURE n.nothing() LANGUAGE plpgsql AS 'BEGIN NULL; END';
    CREATE FUNCTION n.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER note AFTER INSERT ON n.users FOR EACH ROW EXECUTE FUNCTION n.note();
    CREATE AGGREGATE n.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
    CREATE VIEW n.named WITH (security_barrier) AS SELECT id, name FROM n.users WHERE size > 1;
    CREATE MATERIALIZED VIEW n.counted AS SELECT kind, count(*) FROM n.users GROUP BY kind;
    CREATE RULE ignore AS ON DELETE TO n.named DO INSTEAD NOTHING;
    ALTER TABLE n.users ENABLE ROW LEVEL SECURITY;
    CREATE POLICY all_of_it ON n.users USING (true);
    COMMENT ON TABLE n.users IS 'people'; COMMENT ON COLUMN n.users.name IS 'who';
    GRANT SELECT ON n.users TO PUBLIC;
    ALTER TABLE n.users ADD COLUMN later int DEFAULT 1, ALTER size SET DEFAULT 2;
    ALTER TABLE n.users RENAME COLUMN later TO late; DROP INDEX n.by_name;
"#;

/// The schema's definition according to `pg_dump`, without what depends on the server.
fn dump(server: &Server) -> String {
    let mut dump = server.client("pg_dump", DATABASE).unwrap();
    let text = command::output(dump.args(["--schema=n", "--schema-only"])).unwrap();
    let noise = |line: &&str| line.starts_with("\\restrict") || line.starts_with("\\unrestrict");
    text.lines().filter(|line| !noise(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn names_are_the_same_everywhere() {
    let (cluster, plain) = (Cluster::start(2), PlainServer::start());
    plain.connect().batch_execute(&format!("CREATE SCHEMA n; {DEFINITIONS}")).unwrap();
    let create = format!("CREATE SCHEMA n DISTRIBUTED ON NODE \"node-2\"; {DEFINITIONS}");
    cluster.connect().batch_execute(&create).unwrap();
    let expected = dump(&plain.server);
    assert!(expected.contains("CREATE TABLE n.\"Odd Name\""), "{expected}");
    for server in [cluster.node(2), cluster.coordinator()] {
        let found = dump(server);
        let different: Vec<_> = expected
            .lines()
            .filter(|line| !found.contains(line))
            .map(|line| format!("- {line}"))
            .chain(found.lines().filter(|l| !expected.contains(l)).map(|line| format!("+ {line}")))
            .collect();
        assert!(different.is_empty(), "{}:\n{}", server.name, different.join("\n"));
    }
    // psql's descriptions, which also show what pg_dump does not (TOAST, access methods).
    let described = |server: &Server| -> String {
        let mut psql = server.client("psql", DATABASE).unwrap();
        psql.args(["--no-psqlrc", "--command", "\\d+ n.*", "--command", "\\df+ n.*"]);
        command::output(&mut psql).unwrap()
    };
    assert_eq!(described(cluster.node(2)), described(&plain.server));
    assert_eq!(described(cluster.coordinator()), described(&plain.server));
    // The other node does not have it.
    assert_eq!(user_schemas(&mut cluster.connect_to_node(1)), ["helios", "public"]);
}

fn user_schemas(client: &mut Client) -> Vec<String> {
    let query = "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' \
                 AND nspname <> 'information_schema' ORDER BY 1";
    client.query(query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// The node has nothing besides the tenant's objects: nothing hidden, no helper left behind.
#[test]
fn nothing_extra_is_on_the_node() {
    let cluster = Cluster::start(1);
    let objects = "SELECT c.relnamespace::regnamespace || '.' || relname || ' ' || relkind::text \
                   FROM pg_class c WHERE c.oid >= 16384 \
                   AND c.relnamespace::regnamespace::text NOT IN ('helios', 'pg_toast') \
                   UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.oid >= 16384 \
                   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e') \
                   UNION ALL SELECT rolname FROM pg_roles WHERE oid >= 16384 ORDER BY 1";
    let list = |client: &mut Client| -> Vec<String> {
        client.query(objects, &[]).unwrap().iter().map(|row| row.get(0)).collect()
    };
    let before = list(&mut cluster.connect_to_node(1));
    let mut client = cluster.connect();
    let use_it = "CREATE SCHEMA n DISTRIBUTED; CREATE TABLE n.t (x int); INSERT INTO n.t VALUES (1); \
                  BEGIN; UPDATE n.t SET x = 2; SAVEPOINT s; DELETE FROM n.t; ROLLBACK TO s; COMMIT; \
                  CREATE VIEW n.v AS SELECT * FROM n.t";
    client.batch_execute(use_it).unwrap();
    let mut with_schema = before.clone();
    with_schema.extend(["n.t r".to_owned(), "n.v v".to_owned()]);
    with_schema.sort();
    let mut found = list(&mut cluster.connect_to_node(1));
    found.sort();
    assert_eq!(found, with_schema);
    client.batch_execute("DROP SCHEMA n CASCADE").unwrap();
    assert_eq!(list(&mut cluster.connect_to_node(1)), before);
    assert_eq!(user_schemas(&mut cluster.connect_to_node(1)), ["helios", "public"]);
}

#[test]
fn errors_arrive_as_they_were_raised_and_name_the_node() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    let setup = "CREATE SCHEMA e DISTRIBUTED ON NODE \"node-2\"; \
                 CREATE TABLE e.t (x int CONSTRAINT positive CHECK (x > 0))";
    client.batch_execute(setup).unwrap();
    let error = client.execute("INSERT INTO e.t VALUES ($1)", &[&-1]).unwrap_err();
    let db = error.as_db_error().unwrap();
    assert_eq!(db.code().code(), "23514");
    assert_eq!(db.message(), "new row for relation \"t\" violates check constraint \"positive\"");
    assert_eq!(db.detail(), Some("Failing row contains (-1)."));
    assert_eq!(
        (db.schema(), db.table(), db.constraint()),
        (Some("e"), Some("t"), Some("positive"))
    );
    assert!(db.where_().unwrap_or_default().contains("node-2"), "{:?}", db.where_());
}
