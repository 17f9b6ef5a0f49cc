//! Rows that one server pulls from another, as in a migration.

use std::sync::OnceLock;
use std::time::Duration;

use helios_tests::{BOUND, Cluster, backend, wait_until};
use postgres::Client;
use postgres::error::DbError;
use testkit::server::HOST;

/// Node 1 is the source, node 2 the target.
pub(crate) fn cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(2))
}

/// Creates the same definition on both nodes; returns connections to the source and to the target.
pub(crate) fn both(definition: &str) -> (Client, Client) {
    let (mut source, mut target) = (cluster().connect_to_node(1), cluster().connect_to_node(2));
    // Make OIDs of later objects differ between both.
    target.batch_execute("CREATE TYPE pg_temp.other AS ENUM ()").unwrap();
    for client in [&mut source, &mut target] {
        // How a superuser runs DDL on a node directly.
        client.batch_execute("SET helios.migration_session = on").unwrap();
        client.batch_execute(definition).unwrap();
    }
    (source, target)
}

pub(crate) fn source_address() -> String {
    format!(
        r#"{{"name": "node-1", "hosts": ["{HOST}"], "ports": [{}], "database": "helios", "user": "postgres"}}"#,
        cluster().node(1).port
    )
}

/// The columns that are not generated, and the function call that pulls them.
fn call(table: &str, snapshot: Option<&str>, range: (u32, Option<u32>), format: &str) -> String {
    let snapshot = snapshot.map_or("NULL".to_owned(), |name| format!("'{name}'"));
    let to = range.1.map_or("NULL".to_owned(), |to| to.to_string());
    format!(
        "SELECT rows, bytes FROM helios.pull_rows('{}', {snapshot}, '{table}', \
             ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass \
                    AND attnum > 0 AND NOT attisdropped AND attgenerated = ''), {}, {to}, {format})",
        source_address(),
        range.0
    )
}

/// Like the above, as a chunk of a large copy.
pub(crate) fn bulk(table: &str, snapshot: Option<&str>, range: (u32, Option<u32>)) -> String {
    call(table, snapshot, range, "NULL, bulk => true")
}

fn pull(target: &mut Client, table: &str) -> i64 {
    target.query_one(&call(table, None, (0, None), "NULL"), &[]).unwrap().get(0)
}

/// Every row of a table as text, in order.
pub(crate) fn rows(client: &mut Client, table: &str) -> Vec<String> {
    let query =
        format!("SELECT coalesce(t::text, '') FROM {table} AS t ORDER BY t::text COLLATE \"C\"");
    client.query(&query, &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

pub(crate) fn failure(target: &mut Client, sql: &str) -> DbError {
    let error = target.query(sql, &[]).unwrap_err();
    error.as_db_error().unwrap_or_else(|| panic!("no error of the server's: {error:?}")).clone()
}

fn no_session_is_left(what: &str) {
    wait_until(&format!("the source has no session left of {what}"), BOUND, || {
        let query = "SELECT format('%s %s: %s', pid, state, query) FROM pg_stat_activity \
                     WHERE application_name = 'helios' AND query LIKE '%' || $1 || '%'";
        let found = cluster().connect_to_node(1).query(query, &[&what]).unwrap();
        let found: Vec<String> = found.iter().map(|row| row.get(0)).collect();
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn every_type_arrives_as_it_was() {
    let (mut source, mut target) = both(
        r#"SET intervalstyle = 'sql_standard'; SET datestyle = 'SQL, DMY';
        CREATE SCHEMA "Odd ""Schema";
        SET search_path = "Odd ""Schema", public;
        CREATE TYPE mood AS ENUM ('sad', 'it''s, ok');
        CREATE TYPE pair AS (a int, b text);
        CREATE TYPE nested AS (p pair, m mood);
        CREATE DOMAIN small AS int CHECK (VALUE < 100);
        CREATE TYPE span AS RANGE (subtype = float8);
        CREATE TABLE plain_types (
            i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, b bool, t text, v varchar(9), c char(4),
            y bytea, d date, tm time, tz timetz, ts timestamp, tstz timestamptz, iv interval, u uuid, j json, jb jsonb,
            ai int[], at text[], ip inet, cd cidr, ma macaddr, bt bit(3), vb varbit, po point, pg polygon, r int4range,
            mr nummultirange, tv tsvector, tq tsquery, m money, nm name, lsn pg_lsn, x8 xid8, ch "char", o oid);
        CREATE TABLE own_types (
            m mood, ms mood[], p pair, ps pair[], nn nested, s small, ss small[], sp span, spm span_multirange,
            rc regclass, rp regproc, rt regtype, x xml);
        CREATE TABLE "T ""x"" \ y" (gone int, "a ""b" int, "Größe, 数" text, twice int GENERATED ALWAYS AS ("a ""b" * 2) STORED);
        ALTER TABLE "T ""x"" \ y" DROP COLUMN gone;
        CREATE TABLE nothing ();
        CREATE TABLE only_generated (g int GENERATED ALWAYS AS (7) STORED);
        CREATE TABLE empty (i int);
        CREATE UNLOGGED TABLE unlogged (i int);
        CREATE TABLE parted (i int, t text) PARTITION BY LIST (i);
        CREATE TABLE part_1 (t text, i int);
        ALTER TABLE parted ATTACH PARTITION part_1 FOR VALUES IN (1)"#,
    );
    source
        .batch_execute(
            r#"SET search_path = "Odd ""Schema", public;
            INSERT INTO plain_types VALUES (
                1, -2, 3, 'NaN', '-0', 1.500, true, E'tab\tnew\nline\\ \r "quoted" \u00e9', 'é', 'ab', '\x00ff',
                'infinity', '23:59:59.999999', '12:00+05:30', '-infinity', now(), '-1 mon +2 days -00:00:00.5',
                gen_random_uuid(), '{"a":  1, "a": 2}', '{"b": [1, null]}', '[0:1]={1,NULL}', '{"a,b","","NULL",NULL}',
                '::1', '10.0.0.0/8', '08:00:2b:01:02:03', '101', '', '(1,2)', '((0,0),(1,1))', '[1,5)',
                '{[1,2),(3,]}', 'a:1A b', 'a & !b', 12.34, 'name', '1/2', '77', 'x', 4294967295);
            INSERT INTO plain_types (f8, n) VALUES (1e-320, 'NaN'), ('Infinity', 'Infinity'), (0.1, 1e100), (1/3.0, 0.000);
            INSERT INTO plain_types DEFAULT VALUES;
            INSERT INTO own_types VALUES (
                'it''s, ok', '{sad,NULL}', '(1,"a ""b"", c")', ARRAY['(1,x)', NULL]::pair[], '("(1,)",sad)', 7, '{1,2}',
                '[1.5,2)', '{(,1],[3,4]}', 'parted', 'pg_catalog.int4in', 'mood[]', '<?xml version="1.0" encoding="UTF-8"?><a>é</a>');
            INSERT INTO own_types DEFAULT VALUES;
            INSERT INTO "T ""x"" \ y" SELECT i, repeat('größe ', i) FROM generate_series(1, 3000) AS i;
            INSERT INTO nothing SELECT FROM generate_series(1, 5);
            INSERT INTO only_generated DEFAULT VALUES;
            INSERT INTO unlogged VALUES (1), (2);
            INSERT INTO parted VALUES (1, 'x'), (1, NULL);
            RESET search_path; RESET datestyle; RESET intervalstyle"#,
        )
        .unwrap();
    // The sessions' settings must not matter.
    target.batch_execute("SET datestyle = 'German'; SET intervalstyle = 'iso_8601'; SET client_encoding = 'LATIN1'").unwrap();
    let tables = [
        "plain_types",
        "own_types",
        r#""T ""x"" \ y""#,
        "nothing",
        "only_generated",
        "empty",
        "unlogged",
        "part_1",
    ];
    for table in tables {
        let table = format!(r#""Odd ""Schema".{table}"#);
        let pulled = pull(&mut target, &table);
        let settings = "SELECT current_setting('client_encoding') || current_setting('datestyle')";
        let after: String = target.query_one(settings, &[]).unwrap().get(0);
        assert_eq!(after, "LATIN1German, DMY");
        let mut fresh = cluster().connect_to_node(2);
        let (sent, received) = (rows(&mut source, &table), rows(&mut fresh, &table));
        assert_eq!(sent, received, "{table}");
        assert_eq!(usize::try_from(pulled).unwrap(), sent.len(), "{table}");
        // The other format gives the same result.
        target.batch_execute(&format!("TRUNCATE {table}")).unwrap();
        target.query(&call(&table, None, (0, None), "'text'"), &[]).unwrap();
        assert_eq!(sent, rows(&mut fresh, &table), "{table} as text");
        target.batch_execute(&format!("TRUNCATE {table}")).unwrap();
        target.query(&bulk(&table, None, (0, None)), &[]).unwrap();
        assert_eq!(sent, rows(&mut fresh, &table), "{table} in bulk");
    }
}

#[test]
fn ranges_of_blocks_make_the_whole() {
    let (mut source, mut target) = both(
        "CREATE SCHEMA ranges; CREATE TABLE ranges.t (i int PRIMARY KEY, t text); CREATE TABLE ranges.child () INHERITS (ranges.t)",
    );
    source
        .batch_execute(
            "INSERT INTO ranges.t SELECT i, repeat('x', i % 300) FROM generate_series(1, 20000) i; \
             INSERT INTO ranges.child VALUES (1000000, 'not of the table itself')",
        )
        .unwrap();
    let (mut pulled, ranges) = (0, [(0, Some(7)), (7, Some(8)), (8, Some(300)), (300, None)]);
    for range in ranges {
        let call = call("ranges.t", None, range, "NULL");
        let row = target.query_one(&call, &[]).unwrap();
        assert!(row.get::<_, i64>(0) > 0 && row.get::<_, i64>(1) > 0, "{range:?}");
        pulled += row.get::<_, i64>(0);
    }
    assert_eq!(pulled, 20000);
    assert_eq!(rows(&mut source, "ONLY ranges.t"), rows(&mut target, "ranges.t"));
    let behind = call("ranges.t", None, (100_000, None), "NULL");
    assert_eq!(target.query_one(&behind, &[]).unwrap().get::<_, i64>(0), 0);
}

#[test]
fn the_exported_snapshot_is_what_arrives() {
    let (mut source, mut target) = both("CREATE SCHEMA snap; CREATE TABLE snap.t (i int)");
    source.batch_execute("INSERT INTO snap.t VALUES (1)").unwrap();
    source.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    let snapshot: String = source.query_one("SELECT pg_export_snapshot()", &[]).unwrap().get(0);
    cluster().connect_to_node(1).batch_execute("INSERT INTO snap.t VALUES (2)").unwrap();
    let under = call("snap.t", Some(&snapshot), (0, None), "NULL");
    target.query(&under, &[]).unwrap();
    assert_eq!(rows(&mut target, "snap.t"), ["(1)"]);
    source.batch_execute("COMMIT").unwrap();
    let gone = failure(&mut target, &under);
    assert_eq!(gone.code().code(), "22023", "{gone:?}");
    assert!(gone.detail().unwrap_or_default().contains("node \"node-1\""), "{gone:?}");
    assert_eq!(rows(&mut target, "snap.t"), ["(1)"]);
}

#[test]
fn no_trigger_fires_and_no_policy_hides() {
    let definition = "CREATE SCHEMA quiet; CREATE TABLE quiet.log (t text);
        CREATE TABLE quiet.parent (id int PRIMARY KEY);
        CREATE TABLE quiet.t (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED, parent int REFERENCES quiet.parent);
        CREATE FUNCTION quiet.tell() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO quiet.log VALUES (TG_NAME); RETURN NEW; END $$;
        CREATE TRIGGER ordinary BEFORE INSERT ON quiet.t FOR EACH ROW EXECUTE FUNCTION quiet.tell();
        CREATE TRIGGER always AFTER INSERT ON quiet.t FOR EACH ROW EXECUTE FUNCTION quiet.tell();
        CREATE TRIGGER replica AFTER INSERT ON quiet.t FOR EACH STATEMENT EXECUTE FUNCTION quiet.tell();
        ALTER TABLE quiet.t ENABLE ALWAYS TRIGGER always, ENABLE REPLICA TRIGGER replica;
        ALTER TABLE quiet.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        CREATE POLICY none ON quiet.t USING (false)";
    let (mut source, mut target) = both(definition);
    source
        .batch_execute(
            "INSERT INTO quiet.parent SELECT generate_series(1, 50); \
             INSERT INTO quiet.t SELECT i, i FROM generate_series(1, 50) i",
        )
        .unwrap();
    assert_eq!(pull(&mut target, "quiet.t"), 50);
    assert!(rows(&mut target, "quiet.log").is_empty());
    // The backend that pulled fires triggers again.
    target
        .batch_execute("INSERT INTO quiet.parent VALUES (99); INSERT INTO quiet.t VALUES (99, 99)")
        .unwrap();
    assert_eq!(rows(&mut target, "quiet.log"), ["always", "ordinary"]);
    // Also after a failure.
    target.query(&call("quiet.t", None, (0, None), "NULL"), &[]).unwrap_err();
    target
        .batch_execute("INSERT INTO quiet.parent VALUES (98); INSERT INTO quiet.t VALUES (98, 98)")
        .unwrap();
    assert_eq!(rows(&mut target, "quiet.log").len(), 4);
}

#[test]
fn expressions_of_a_table_run_as_its_owner() {
    let definition = "CREATE ROLE owner_of_code; CREATE SCHEMA code AUTHORIZATION owner_of_code;
        SET ROLE owner_of_code;
        CREATE FUNCTION code.who(text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN current_user = $1; END $$;
        CREATE TABLE code.t (i int CHECK (code.who('owner_of_code')));
        RESET ROLE";
    let (mut source, mut target) = both(definition);
    source
        .batch_execute("SET ROLE owner_of_code; INSERT INTO code.t VALUES (1); RESET ROLE")
        .unwrap();
    assert_eq!(pull(&mut target, "code.t"), 1);
    let user: String = target.query_one("SELECT current_user::text", &[]).unwrap().get(0);
    assert_eq!(user, "postgres");
}

#[test]
fn a_source_that_stands_still_is_left_at_once() {
    let (mut source, target) = both("CREATE SCHEMA still; CREATE TABLE still.t (i int)");
    source.batch_execute("INSERT INTO still.t VALUES (1); BEGIN; LOCK TABLE still.t").unwrap();
    for by in ["cancel", "statement_timeout", "pg_terminate_backend"] {
        let mut target = cluster().connect_to_node(2);
        let limit = if by == "statement_timeout" { "300ms" } else { "0" };
        target.batch_execute(&format!("SET statement_timeout = '{limit}'")).unwrap();
        let (pid, cancel) = (backend(&mut target), target.cancel_token());
        let pulling = std::thread::spawn(move || {
            target.query(&call("still.t", None, (0, None), "NULL"), &[]).unwrap_err()
        });
        wait_until("the source waits for the lock", BOUND, || {
            // Sizes are measured every minute, and that has to wait as well.
            let query = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) \
                WHERE NOT granted AND relation = 'still.t'::regclass AND query LIKE '%still%'";
            match cluster().connect_to_node(1).query_one(query, &[]).unwrap().get::<_, i64>(0) {
                0 if pulling.is_finished() => Ok(()),
                0 => Err("it does not".to_owned()),
                _ => Ok(()),
            }
        });
        match by {
            "cancel" => cancel.cancel_query(postgres::NoTls).unwrap(),
            "pg_terminate_backend" => {
                let stop = "SELECT pg_terminate_backend($1)";
                let pid = pid.as_raw_nonzero().get();
                cluster().connect_to_node(2).execute(stop, &[&pid]).unwrap();
            }
            _ => {}
        }
        wait_until(&format!("{by} ends it"), Duration::from_secs(20), || {
            if pulling.is_finished() { Ok(()) } else { Err("it still waits".to_owned()) }
        });
        let error = pulling.join().unwrap();
        let code = if by == "pg_terminate_backend" { "57P01" } else { "57014" };
        // The client library drops the server's last messages if the connection is closed at the same time.
        let ended = by == "pg_terminate_backend" && error.is_closed();
        assert!(ended || error.code().is_some_and(|found| found.code() == code), "{by}: {error:?}");
        no_session_is_left("still.t");
    }
    drop(target);
    source.batch_execute("ROLLBACK").unwrap();
}

#[test]
fn failures_name_what_failed_and_leave_nothing() {
    let (mut source, mut target) = both(
        "CREATE SCHEMA fails; CREATE TABLE fails.t (i int PRIMARY KEY, t text); CREATE ROLE nobody_special",
    );
    source
        .batch_execute(
            "INSERT INTO fails.t SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i",
        )
        .unwrap();
    target.batch_execute("INSERT INTO fails.t VALUES (4999)").unwrap();
    let whole = call("fails.t", None, (0, None), "NULL");
    let duplicate = failure(&mut target, &whole);
    assert_eq!(duplicate.code().code(), "23505", "{duplicate:?}");
    no_session_is_left("fails.t");
    assert_eq!(rows(&mut target, "fails.t").len(), 1);
    let cases = [
        (whole.replace("'fails.t'", "'fails.missing'"), "42P01"),
        (call("fails.t", None, (0, None), "'csv'"), "22023"),
        (whole.replace("\"user\": \"postgres\"", "\"user\": \"no such role\""), "08001"),
        (whole.replace(&format!("[{}]", cluster().node(1).port), "[1]"), "08001"),
        (whole.replace("\"ports\"", "\"sports\""), "22023"),
        (whole.replace("), 0, NULL", "), -1, NULL"), "22023"),
        (whole.replace("ARRAY(SELECT", "ARRAY['nonsense'] || ARRAY(SELECT"), "42703"),
    ];
    for (sql, code) in cases {
        let error = failure(&mut target, &sql);
        assert_eq!(error.code().code(), code, "{sql}: {error:?}");
    }
    target
        .batch_execute(
            "GRANT EXECUTE ON FUNCTION helios.pull_rows TO nobody_special; SET ROLE nobody_special",
        )
        .unwrap();
    assert_eq!(
        failure(&mut target, &whole.replace("'fails.t'::regclass", "'pg_class'::regclass"))
            .code()
            .code(),
        "42501"
    );
    // The source is killed in the middle.
    target.batch_execute("RESET ROLE; TRUNCATE fails.t").unwrap();
    source
        .batch_execute(
            "INSERT INTO fails.t SELECT i, repeat('x', 1000) FROM generate_series(10000, 40000) i",
        )
        .unwrap();
    let slow = call("fails.t", None, (0, None), "NULL, 2000");
    let pulling = std::thread::spawn(move || (failure(&mut target, &slow), target));
    let stop =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY fails.t%'";
    wait_until("the copy is under way and its source is ended", BOUND, || {
        match source.query(stop, &[]).unwrap().len() {
            0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
    let (error, mut target) = pulling.join().unwrap();
    assert!(["57P01", "08006"].contains(&error.code().code()), "{error:?}");
    assert!(rows(&mut target, "fails.t").is_empty());
}

#[test]
fn a_rate_is_kept() {
    let (mut source, mut target) = both("CREATE SCHEMA rate; CREATE TABLE rate.t (i int)");
    source.batch_execute("INSERT INTO rate.t SELECT generate_series(1, 3000)").unwrap();
    let start = std::time::Instant::now();
    target.query(&call("rate.t", None, (0, None), "NULL, 2000"), &[]).unwrap();
    assert!(start.elapsed() > Duration::from_millis(1400), "{:?}", start.elapsed());
    assert_eq!(rows(&mut target, "rate.t").len(), 3000);
}
