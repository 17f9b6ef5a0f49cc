//! Table owners with fewer privileges than usual: their tables move like any others. Only code that runs as the owner
//! requires the owner's privileges.

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{begin, cluster, finish, last_migration, roll_back, shown, switch, text, wait};

/// Owners without privileges on the schema or on their own tables, without LOGIN, without the privileges of roles they
/// are members of.
const TABLES: &str = "
    CREATE ROLE no_usage LOGIN; CREATE ROLE no_select LOGIN; CREATE ROLE no_login NOLOGIN NOINHERIT;
    CREATE ROLE group_of_all; CREATE ROLE no_inherit NOINHERIT; GRANT group_of_all TO no_inherit;
    CREATE SCHEMA os DISTRIBUTED ON NODE \"node-1\"; GRANT USAGE, CREATE ON SCHEMA os TO group_of_all;
    CREATE TYPE os.mood AS ENUM ('good', 'bad');
    CREATE FUNCTION os.twice(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN 2 * x; END';
    CREATE DOMAIN os.small AS int CHECK (VALUE < 1000000);
    CREATE TABLE os.plain (x serial PRIMARY KEY, at timestamptz DEFAULT now(), note text CHECK (note <> ''), m os.mood DEFAULT 'good',
        s os.small DEFAULT 1, a os.small[] DEFAULT '{1,2}', g int GENERATED ALWAYS AS (length(note)) STORED);
    CREATE INDEX ON os.plain (lower(note)); CREATE INDEX ON os.plain (os.twice(s)) WHERE os.twice(s) > 0;
    CREATE STATISTICS os.stats ON note, m FROM os.plain;
    CREATE TABLE os.root (x int PRIMARY KEY); INSERT INTO os.root SELECT generate_series(1, 999);
    CREATE TABLE os.blind (x int PRIMARY KEY, plain int REFERENCES os.root, v text);
    CREATE TABLE os.keyless (v text);
    CREATE TABLE os.parent (x int, v text, PRIMARY KEY (x)) PARTITION BY RANGE (x);
    CREATE TABLE os.part_1 PARTITION OF os.parent FOR VALUES FROM (0) TO (10);
    CREATE TABLE os.part_2 PARTITION OF os.parent DEFAULT;
    CREATE UNLOGGED TABLE os.unlogged (x int, v text);
    CREATE TABLE os.plain_2 (x int PRIMARY KEY); CREATE POLICY p ON os.plain_2 USING (x > 0); ALTER TABLE os.plain_2 ENABLE ROW LEVEL SECURITY;
    CREATE VIEW os.view AS SELECT x, note FROM os.plain;
    ALTER TABLE os.plain OWNER TO no_usage; ALTER TABLE os.part_1 OWNER TO no_usage; ALTER TABLE os.part_2 OWNER TO no_select;
    ALTER TABLE os.parent OWNER TO no_login; ALTER TABLE os.blind OWNER TO no_select; ALTER TABLE os.keyless OWNER TO no_login;
    ALTER TABLE os.unlogged OWNER TO no_select; ALTER TABLE os.plain_2 OWNER TO no_inherit; ALTER VIEW os.view OWNER TO no_usage;
    REVOKE ALL ON os.blind, os.part_2, os.unlogged FROM no_select; REVOKE SELECT, UPDATE ON os.keyless FROM no_login;
    REVOKE INSERT ON os.plain FROM no_usage; REVOKE SELECT ON SEQUENCE os.plain_x_seq FROM no_usage";

/// Rows are inserted and updated by a role with the privileges.
fn write(client: &mut Client, from: i32) {
    client
        .batch_execute(&format!(
            "INSERT INTO os.plain (x, note) SELECT i, 'n' || i FROM generate_series({from}, {from} + 9) i;
             INSERT INTO os.blind SELECT i, i, 'b' FROM generate_series({from}, {from} + 9) i;
             UPDATE os.blind SET v = 'c' WHERE x = {from}; DELETE FROM os.blind WHERE x = {from} + 1;
             INSERT INTO os.keyless SELECT i FROM generate_series({from}, {from} + 9) i; UPDATE os.keyless SET v = 'x' WHERE v = '{from}';
             INSERT INTO os.parent SELECT i, 'p' FROM generate_series({from}, {from} + 9) i; UPDATE os.parent SET v = 'q' WHERE x = {from};
             INSERT INTO os.unlogged SELECT i FROM generate_series({from}, {from} + 9) i;
             INSERT INTO os.plain_2 SELECT i FROM generate_series({from}, {from} + 9) i"
        ))
        .unwrap();
}

#[track_caller]
fn assert_rows(client: &mut Client, times: i64) {
    let count = "SELECT (SELECT count(*) FROM os.plain), (SELECT count(*) FROM os.blind), (SELECT count(*) FROM os.keyless),
        (SELECT count(*) FROM os.parent), (SELECT count(*) FROM os.unlogged), (SELECT count(*) FROM os.plain_2)";
    let (ten, nine) = (10 * times, 9 * times);
    assert_eq!(text(client, count), [format!("{ten}|{nine}|{ten}|{ten}|{ten}|{ten}")]);
}

/// Owners, grants, and properties of constraints and indexes that could get lost.
fn rights(cluster: &Cluster, node: usize) -> Vec<String> {
    let select = "SELECT relname || ' ' || relowner::regrole || ' ' || coalesce(relacl::text, '') FROM pg_class
         WHERE relnamespace = 'os'::regnamespace
        UNION ALL SELECT conname || ' ' || convalidated || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
         WHERE connamespace = 'os'::regnamespace
        UNION ALL SELECT coalesce(nspacl::text, '') FROM pg_namespace WHERE nspname = 'os' ORDER BY 1";
    text(&mut cluster.connect_to_node(node), select)
}

#[track_caller]
fn assert_same(client: &mut Client) {
    let verify = "SELECT * FROM helios_verify_schema('os') WHERE mismatches > 0";
    assert_eq!(text(client, verify), [""; 0]);
}

#[test]
fn owners_who_lack_rights_keep_no_schema_from_moving() {
    let cluster = cluster(2);
    let mut admin = cluster.connect();
    admin.batch_execute(TABLES).unwrap();
    write(&mut admin, 1);
    let before = rights(&cluster, 1);
    let id = switch(&mut admin, "os", "node-2");
    write(&mut admin, 101);
    assert_same(&mut admin);
    roll_back(&mut admin, id);
    assert_eq!(rights(&cluster, 1), before);
    assert_rows(&mut admin, 2);
    let id = switch(&mut admin, "os", "node-2");
    write(&mut admin, 201);
    assert_same(&mut admin);
    finish(&mut admin, id);
    assert_eq!(rights(&cluster, 2), before);
    assert_rows(&mut admin, 3);
}

#[test]
fn owners_who_lack_rights_keep_no_schema_from_having_copies_or_coming_home() {
    let cluster = cluster(2);
    let mut admin = cluster.connect();
    admin.batch_execute(TABLES).unwrap();
    write(&mut admin, 1);
    let before = rights(&cluster, 1);
    admin.batch_execute("SELECT helios_set_replicas('os', 2)").unwrap();
    wait_until("the copy is in sync", BOUND, || {
        let states = text(&mut admin, "SELECT state FROM helios_replicas");
        let all = text(&mut admin, "SELECT m::text FROM helios.migration m");
        if states == ["in_step"] { Ok(()) } else { Err(format!("{states:?}: {all:?}")) }
    });
    write(&mut admin, 101);
    assert_same(&mut admin);
    admin.batch_execute("SELECT helios_set_replicas('os', 1)").unwrap();
    wait_until("the copy is gone", BOUND, || {
        let all = text(&mut admin, "SELECT state FROM helios_replicas");
        if all.is_empty() { Ok(()) } else { Err(format!("{all:?}")) }
    });
    admin.batch_execute("SELECT helios_undistribute_schema('os')").unwrap();
    let id = last_migration(&mut admin);
    assert_eq!(wait(&mut admin, id), "dual_write_back", "{}", shown(&mut admin, id));
    write(&mut admin, 201);
    finish(&mut admin, id);
    assert_rows(&mut admin, 3);
    admin.batch_execute("SELECT helios_distribute_schema('os', 'node-1')").unwrap();
    let id = last_migration(&mut admin);
    assert_eq!(wait(&mut admin, id), "dual_write_back", "{}", shown(&mut admin, id));
    write(&mut admin, 301);
    finish(&mut admin, id);
    assert_rows(&mut admin, 4);
    assert_eq!(rights(&cluster, 1), before);
}

/// Only where a definition runs its owner's code, the owner needs the privileges required to create it; otherwise an
/// error says so.
#[test]
fn a_definition_that_runs_code_needs_rights_of_its_owner() {
    let cluster = cluster(2);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE maker LOGIN; CREATE ROLE writer LOGIN; CREATE SCHEMA os DISTRIBUTED ON NODE \"node-1\";
             CREATE FUNCTION os.same(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN x; END';
             CREATE TABLE os.made (x int PRIMARY KEY, g int GENERATED ALWAYS AS (os.same(x)) STORED);
             CREATE TABLE os.other (x int PRIMARY KEY REFERENCES os.made);
             CREATE INDEX ON os.made (os.same(x));
             INSERT INTO os.made SELECT generate_series(1, 9); INSERT INTO os.other SELECT generate_series(1, 5);
             ALTER TABLE os.made OWNER TO maker; ALTER FUNCTION os.same(int) OWNER TO writer; REVOKE EXECUTE ON FUNCTION os.same(int) FROM PUBLIC",
        )
        .unwrap();
    for (lacking, grant) in [
        ("os.same(integer) for maker", "GRANT EXECUTE ON FUNCTION os.same(integer) TO maker"),
        ("table os.made of maker", "GRANT CREATE, USAGE ON SCHEMA os TO maker"),
    ] {
        let id = begin(&mut admin, "os", "node-2");
        assert_eq!(wait(&mut admin, id), "failed", "{}", shown(&mut admin, id));
        let told = shown(&mut admin, id);
        assert!(told.contains(lacking) && told.contains(grant), "{told}");
        admin.batch_execute(grant).unwrap();
    }
    let id = switch(&mut admin, "os", "node-2");
    finish(&mut admin, id);
    let same = "SELECT count(*), sum(g), (SELECT count(*) FROM os.other) FROM os.made";
    assert_eq!(text(&mut admin, same), ["9|45|5"]);
    let key = "SELECT bool_and(convalidated) FROM pg_constraint WHERE contype = 'f'";
    assert_eq!(text(&mut cluster.connect_to_node(2), key), ["t"]);
    let orphan = admin.batch_execute("INSERT INTO os.other VALUES (77)").unwrap_err();
    assert_eq!(orphan.code().unwrap().code(), "23503");
}
