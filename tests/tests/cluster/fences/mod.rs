//! Fences: while a migration holds one, nobody else can change the fenced schema on that server.

mod definitions;
mod migrations;
mod writes;

use helios_tests::Cluster;
use postgres::Client;
use postgres::error::DbError;

/// Creates schemas `f` and `other` on node 1 through the coordinator.
const SCHEMAS: &str = "
    CREATE SCHEMA f DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA other DISTRIBUTED ON NODE \"node-1\";
    CREATE TYPE f.mood AS ENUM ('sad'); CREATE DOMAIN f.small AS int;
    CREATE TABLE f.t (id int PRIMARY KEY, x int); INSERT INTO f.t SELECT i, i FROM generate_series(1, 10) i;
    CREATE TABLE f.log (t text);
    CREATE TABLE f.parted (i int) PARTITION BY LIST (i);
    CREATE TABLE f.part_1 PARTITION OF f.parted FOR VALUES IN (1);
    CREATE SEQUENCE f.s; CREATE INDEX i ON f.t (x);
    CREATE VIEW f.v AS SELECT * FROM f.t; CREATE MATERIALIZED VIEW f.m AS SELECT * FROM f.t;
    CREATE FUNCTION f.noop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER noop BEFORE INSERT ON f.t FOR EACH ROW EXECUTE FUNCTION f.noop();
    CREATE TABLE other.o (i int)";

fn cluster() -> Cluster {
    let cluster = Cluster::with_settings(2, &["wal_level = logical"]);
    cluster.connect().batch_execute(SCHEMAS).unwrap();
    cluster
}

fn fence(client: &mut Client, kind: &str) {
    client.execute("INSERT INTO helios.fence VALUES ('f', 7, $1)", &[&kind]).unwrap();
}

fn open(client: &mut Client) {
    client.batch_execute("DELETE FROM helios.fence").unwrap();
}

#[track_caller]
fn refused(client: &mut Client, sql: &str) -> DbError {
    let error = match client.batch_execute(sql) {
        Ok(()) => panic!("not refused: {sql}"),
        Err(error) => error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}")).clone(),
    };
    // Clients of a node cannot run DDL there anyway, fenced or not.
    if error.message() == "cannot execute DDL on a node" {
        assert_eq!(error.code().code(), "0A000", "{sql}: {error:?}");
    } else {
        assert_eq!(error.code().code(), "55006", "{sql}: {error:?}");
        assert!(error.message().contains("schema \"f\""), "{sql}: {error:?}");
        assert!(error.message().contains("migration 7"), "{sql}: {error:?}");
    }
    assert!(error.hint().is_some(), "{sql}: {error:?}");
    client.batch_execute("ROLLBACK").unwrap();
    error
}

/// The objects in schema f, with owners, privileges and comments.
fn definition(client: &mut Client) -> Vec<String> {
    let query = "
        SELECT format('%s %s %s %s', relname, relkind, relowner, relacl) FROM pg_class WHERE relnamespace = 'f'::regnamespace
        UNION ALL SELECT format('%s %s %s', attrelid::regclass, attname, atttypid::regtype) FROM pg_attribute
         WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'f'::regnamespace)
        UNION ALL SELECT format('%s %s', nspname, nspacl) FROM pg_namespace
        UNION ALL SELECT format('%s %s', proname, prosrc) FROM pg_proc WHERE pronamespace = 'f'::regnamespace
        UNION ALL SELECT typname FROM pg_type WHERE typnamespace = 'f'::regnamespace
        UNION ALL SELECT description FROM pg_description WHERE objoid = 'f.t'::regclass OR objoid = 'f'::regnamespace
        UNION ALL SELECT format('%s %s', tgname, tgenabled) FROM pg_trigger WHERE tgrelid = 'f.t'::regclass
        UNION ALL SELECT format('default rights %s', count(*)) FROM pg_default_acl
        ORDER BY 1";
    let rows = "SELECT format('%s rows', count(*)) FROM f.t";
    let all = [query, rows].map(|query| client.query(query, &[]).unwrap());
    all.iter().flatten().map(|row| row.get(0)).collect()
}
