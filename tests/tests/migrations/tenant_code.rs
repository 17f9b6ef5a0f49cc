//! Tenants' code in every place where PostgreSQL accepts code: whatever a migration does with it, it never runs with more
//! privileges than its owner has.

use helios_tests::Cluster;
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{cluster, finish, last_migration, roll_back, shown, switch, text, wait};

/// The places, by the numbers passed to `seize`.
const PLACES: [&str; 18] = [
    "check",
    "generated column",
    "index expression",
    "constant in an index expression",
    "index predicate",
    "constant in an index predicate",
    "domain",
    "constant of an array of a domain",
    "partition key",
    "constant in a partition key",
    "statistics",
    "constant in statistics",
    "check of whole rows",
    "rule",
    "policy",
    "materialized view",
    "unlogged table",
    "aggregate",
];

/// A schema of mallory's. `evil` is declared immutable, and makes her a superuser if run by one.
const CODE: &str = "
    CREATE FUNCTION mm.seize(place int) RETURNS bool LANGUAGE plpgsql VOLATILE AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
          EXECUTE format('ALTER ROLE mallory SUPERUSER CONNECTION LIMIT %s', 100 + place);
        END IF;
        BEGIN
          EXECUTE 'RESET SESSION AUTHORIZATION';
          EXECUTE 'RESET ROLE';
          EXECUTE format('ALTER ROLE mallory SUPERUSER CONNECTION LIMIT %s', 100 + place);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        RETURN true; END $$;
    CREATE FUNCTION mm.ok(x int, place int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        PERFORM mm.seize(place); RETURN true; END $$;
    CREATE FUNCTION mm.same(x int, place int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        PERFORM mm.seize(place); RETURN x; END $$;
    CREATE DOMAIN mm.d AS int CHECK (mm.ok(VALUE, 6));
    CREATE DOMAIN mm.dc AS int CHECK (mm.ok(VALUE, 7));
    CREATE DOMAIN mm.da AS int CHECK (mm.ok(VALUE, 17));
    CREATE FUNCTION mm.add(s mm.da, x int) RETURNS mm.da LANGUAGE sql AS $$SELECT (s + x)::mm.da$$;
    CREATE AGGREGATE mm.total(int) (sfunc = mm.add, stype = mm.da, initcond = '1');
    CREATE TABLE mm.t (
        x int PRIMARY KEY CHECK (mm.ok(x, 0)), g int GENERATED ALWAYS AS (mm.same(x, 1)) STORED, d mm.d,
        a mm.dc[] DEFAULT '{1}'::mm.dc[], v int);
    CREATE FUNCTION mm.whole(r mm.t) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        PERFORM mm.seize(12); RETURN true; END $$;
    ALTER TABLE mm.t ADD CONSTRAINT whole CHECK (mm.whole(t.*));
    CREATE INDEX ON mm.t ((mm.same(v, 2)));
    CREATE INDEX ON mm.t ((v + mm.same(1, 3)));
    CREATE INDEX ON mm.t (v) WHERE mm.ok(v, 4);
    CREATE INDEX ON mm.t (v) WHERE mm.same(1, 5) = v;
    CREATE STATISTICS mm.s ON (mm.same(v, 10)), (v + mm.same(1, 11)) FROM mm.t;
    CREATE TABLE mm.p (k mm.dc, v int) PARTITION BY RANGE (mm.same(v, 8), (v + mm.same(1, 9)), k);
    CREATE TABLE mm.p1 PARTITION OF mm.p FOR VALUES FROM (MINVALUE, MINVALUE, MINVALUE) TO (100, 100, 100);
    CREATE TABLE mm.p2 PARTITION OF mm.p DEFAULT;
    CREATE TABLE mm.nokey (x int CHECK (mm.ok(x, 0)), v int);
    CREATE INDEX ON mm.nokey ((x + mm.same(1, 3)));
    CREATE UNLOGGED TABLE mm.u (x int CHECK (mm.ok(x, 16)), v int);
    CREATE RULE r AS ON INSERT TO mm.t DO ALSO SELECT mm.seize(13);
    CREATE RULE r AS ON DELETE TO mm.u DO ALSO SELECT mm.seize(13);
    ALTER TABLE mm.t ENABLE ALWAYS RULE r;
    ALTER TABLE mm.u ENABLE ALWAYS RULE r;
    ALTER TABLE mm.t ENABLE ROW LEVEL SECURITY;
    ALTER TABLE mm.nokey ENABLE ROW LEVEL SECURITY;
    ALTER TABLE mm.nokey FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON mm.t USING (mm.ok(x, 14) AND '{1}'::mm.dc[] IS NOT NULL);
    CREATE POLICY p ON mm.nokey USING (mm.ok(x, 14));
    CREATE VIEW mm.w AS SELECT x, '{1,2}'::mm.dc[] AS c FROM mm.t;
    CREATE MATERIALIZED VIEW mm.m AS SELECT mm.same(x, 15) AS x FROM mm.t";

/// Rows of every table.
fn write(client: &mut Client, from: i32) {
    client
        .batch_execute(&format!(
            "INSERT INTO mm.t (x, d, v) SELECT i, 1, i FROM generate_series({from}, {from} + 9) i;
             INSERT INTO mm.p SELECT i, i * 20 FROM generate_series(1, 9) i;
             INSERT INTO mm.nokey SELECT i, i FROM generate_series({from}, {from} + 9) i;
             UPDATE mm.nokey SET v = v + 1 WHERE x = {from}; DELETE FROM mm.nokey WHERE x = {from} + 1;
             INSERT INTO mm.u SELECT i, i FROM generate_series({from}, {from} + 9) i;
             UPDATE mm.t SET v = 1 WHERE x = {from}; DELETE FROM mm.t WHERE x = {from} + 1"
        ))
        .unwrap();
}

/// Creates mallory, who has CREATE on the database, and her schema with rows.
fn tenant(cluster: &Cluster, head: &str) -> Client {
    let mut admin = cluster.connect();
    admin
        .batch_execute(&format!(
            "CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE {DATABASE} TO mallory"
        ))
        .unwrap();
    let mut mallory = cluster.connect_as("mallory");
    mallory.batch_execute(head).unwrap();
    mallory.batch_execute(CODE).unwrap();
    write(&mut mallory, 1);
    mallory
}

/// Asserts that no role has gained attributes on any server, and that nothing of a migration's own roles is left.
#[track_caller]
fn assert_not_seized(cluster: &Cluster, when: &str) {
    for server in cluster.nodes().iter().chain([cluster.coordinator()]) {
        let mut client = server.connect(DATABASE).unwrap();
        let supers = "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolsuper AND oid <> 10";
        let row = client.query_opt(supers, &[]).unwrap();
        if let Some(row) = row {
            let (name, place): (&str, i32) = (row.get(0), row.get(1));
            let place = usize::try_from(place - 100).ok().and_then(|at| PLACES.get(at));
            panic!("{name} is a superuser on {} after {when}: {place:?}", server.name);
        }
    }
}

/// Roles that apply changes are dropped with their subscriptions.
#[track_caller]
fn assert_no_roles_left(cluster: &Cluster) {
    for server in cluster.nodes().iter().chain([cluster.coordinator()]) {
        let mut client = server.connect(DATABASE).unwrap();
        let left = "SELECT rolname FROM pg_roles WHERE rolname LIKE 'helios%'";
        assert_eq!(text(&mut client, left), [""; 0], "on {}", server.name);
    }
}

#[test]
fn code_of_tenants_never_runs_as_superuser_when_a_schema_moves() {
    let cluster = cluster(2);
    let mut mallory = tenant(&cluster, "CREATE SCHEMA mm DISTRIBUTED ON NODE \"node-1\"");
    let mut admin = cluster.connect();
    let id = switch(&mut admin, "mm", "node-2");
    assert_not_seized(&cluster, "the switch");
    write(&mut mallory, 101);
    roll_back(&mut admin, id);
    assert_not_seized(&cluster, "the way back");
    write(&mut mallory, 201);
    let id = switch(&mut admin, "mm", "node-2");
    write(&mut mallory, 301);
    finish(&mut admin, id);
    assert_not_seized(&cluster, "a finished move");
    assert_no_roles_left(&cluster);
    assert_eq!(text(&mut mallory, "SELECT count(*) FROM mm.t"), ["36"]);
    let forced = "SELECT relforcerowsecurity FROM pg_class WHERE oid = 'mm.nokey'::regclass";
    assert_eq!(text(&mut admin, forced), ["t"]);
    assert_eq!(text(&mut cluster.connect_to_node(2), forced), ["t"]);
}

#[test]
fn code_of_tenants_never_runs_as_superuser_when_a_schema_comes_from_here_or_goes_home() {
    let cluster = cluster(1);
    let mut mallory = tenant(&cluster, "CREATE SCHEMA mm");
    let mut admin = cluster.connect();
    let mut at = 1;
    for (function, ends_there) in [
        ("SELECT helios_distribute_schema('mm', 'node-1')", false),
        ("SELECT helios_distribute_schema('mm', 'node-1')", true),
        ("SELECT helios_undistribute_schema('mm')", false),
        ("SELECT helios_undistribute_schema('mm')", true),
    ] {
        admin.batch_execute(function).unwrap();
        let id = last_migration(&mut admin);
        assert_eq!(wait(&mut admin, id), "dual_write_back", "{}", shown(&mut admin, id));
        assert_not_seized(&cluster, function);
        at += 100;
        write(&mut mallory, at);
        if ends_there {
            finish(&mut admin, id)
        } else {
            roll_back(&mut admin, id)
        }
        assert_not_seized(&cluster, function);
    }
    assert_no_roles_left(&cluster);
    assert_eq!(text(&mut mallory, "SELECT count(*) FROM mm.t"), ["45"]);
}

/// Two owners in one schema: the code of neither runs with the privileges of the other.
#[test]
fn each_owner_s_code_runs_with_that_owner_s_rights() {
    let cluster = cluster(2);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE alice LOGIN; CREATE ROLE \"b\"\"ob; --\" LOGIN; CREATE ROLE boss LOGIN SUPERUSER;
             CREATE SCHEMA mm DISTRIBUTED ON NODE \"node-1\";
             CREATE FUNCTION mm.tell(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
                 RETURN (SELECT (pg_has_role(current_user, 'alice', 'usage'))::int
                              + 10 * pg_has_role(current_user, 'b\"ob; --', 'usage')::int
                              + 100 * (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)::int); END $$;
             CREATE TABLE mm.a (x int PRIMARY KEY, who int GENERATED ALWAYS AS (mm.tell(x)) STORED);
             CREATE TABLE mm.b (x int PRIMARY KEY REFERENCES mm.a, who int GENERATED ALWAYS AS (mm.tell(x)) STORED);
             CREATE TABLE mm.c (x int PRIMARY KEY);
             CREATE TABLE mm.e (x int PRIMARY KEY);
             ALTER TABLE mm.a OWNER TO alice; ALTER TABLE mm.b OWNER TO \"b\"\"ob; --\"; ALTER TABLE mm.c OWNER TO boss;
             GRANT USAGE ON SCHEMA mm TO alice; GRANT REFERENCES, SELECT ON mm.a TO \"b\"\"ob; --\"",
        )
        .unwrap();
    let id = switch(&mut admin, "mm", "node-2");
    admin
        .batch_execute(
            "INSERT INTO mm.a SELECT generate_series(1, 5); INSERT INTO mm.b SELECT generate_series(1, 5);
             INSERT INTO mm.c SELECT generate_series(1, 5); INSERT INTO mm.e SELECT generate_series(1, 5)",
        )
        .unwrap();
    roll_back(&mut admin, id);
    let who = "SELECT (SELECT string_agg(DISTINCT who::text, ',') FROM mm.a), (SELECT string_agg(DISTINCT who::text, ',') FROM mm.b),
                      (SELECT count(*) FROM mm.c), (SELECT count(*) FROM mm.e)";
    assert_eq!(text(&mut admin, who), ["1|10|5|5"]);
    let id = switch(&mut admin, "mm", "node-2");
    finish(&mut admin, id);
    assert_no_roles_left(&cluster);
    let owners = "SELECT string_agg(relowner::regrole::text, ' ' ORDER BY relname) FROM pg_class
                   WHERE relnamespace = 'mm'::regnamespace AND relkind = 'r'";
    let on_node = text(&mut cluster.connect_to_node(2), owners);
    assert_eq!(on_node, ["alice \"b\"\"ob; --\" boss postgres"]);
    let grants = "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'mm'";
    assert_eq!(text(&mut cluster.connect_to_node(2), grants), text(&mut admin, grants));
}
