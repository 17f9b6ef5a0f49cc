//! Comparison of two copies of a schema: differences are found for all data types, and reported by key.

use std::sync::OnceLock;

use helios_tests::Cluster;
use postgres::Client;
use testkit::server::HOST;

/// Node 1 is the source, node 2 the target.
fn cluster() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(2))
}

/// Creates the same definition and rows on both; returns connections to the source and to the target.
fn both(sql: &str) -> (Client, Client) {
    let (mut source, mut target) = (cluster().connect_to_node(1), cluster().connect_to_node(2));
    // Make OIDs of later objects differ between both.
    target.batch_execute("CREATE TYPE pg_temp.other AS ENUM ()").unwrap();
    for client in [&mut source, &mut target] {
        // How a superuser runs DDL on a node directly.
        client.batch_execute("SET helios.migration_session = on").unwrap();
        client.batch_execute(sql).unwrap();
    }
    (source, target)
}

fn address(number: usize) -> String {
    let port = cluster().node(number).port;
    format!(
        r#"{{"name": "node-{number}", "hosts": ["{HOST}"], "ports": [{port}], "database": "helios", "user": "postgres"}}"#
    )
}

/// The differences: `table: kind key (of n)`, in order. Queried on the coordinator, which is neither end.
fn differences(schema: &str) -> Vec<String> {
    let query = format!(
        "SELECT format('%s: %s %s', relation, kind, key) || CASE WHEN mismatches > 1 THEN format(' of %s', mismatches) ELSE '' END
           FROM helios.compare_copies('{}', '{}', '{}') WHERE mismatches > 0",
        address(1),
        address(2),
        schema.replace('\'', "''")
    );
    // The session's settings must not matter.
    let mut client = cluster().connect();
    client.batch_execute("SET datestyle = 'German'; SET extra_float_digits = -5").unwrap();
    let mut found: Vec<String> =
        client.query(&query, &[]).unwrap().iter().map(|row| row.get(0)).collect();
    found.sort();
    found
}

fn same(schema: &str) {
    assert_eq!(differences(schema), Vec::<String>::new());
}

#[test]
fn a_changed_a_missing_an_extra_and_a_duplicated_row_are_named() {
    let (_, mut target) = both(
        "CREATE SCHEMA named;
         CREATE TABLE named.keyed (id int PRIMARY KEY, x text, j json);
         INSERT INTO named.keyed SELECT i, md5(i::text), '{\"a\": 1}' FROM generate_series(1, 30000) i;
         CREATE TABLE named.two (a text, b date, x int, PRIMARY KEY (b, a));
         INSERT INTO named.two SELECT 'k' || i, '2020-01-01'::date + i, i FROM generate_series(1, 100) i;
         CREATE TABLE named.keyless (i int, t text);
         INSERT INTO named.keyless SELECT i % 50, 't' FROM generate_series(1, 5000) i",
    );
    same("named");
    target
        .batch_execute(
            "UPDATE named.keyed SET x = 'changed' WHERE id = 17;
             UPDATE named.keyed SET j = '{\"a\":1}' WHERE id = 18;
             DELETE FROM named.keyed WHERE id = 29999;
             INSERT INTO named.keyed VALUES (77777, 'more');
             ALTER TABLE named.keyed DROP CONSTRAINT keyed_pkey;
             INSERT INTO named.keyed SELECT * FROM named.keyed WHERE id = 4;
             UPDATE named.two SET x = -1 WHERE a = 'k7';
             UPDATE named.keyless SET t = 'other' WHERE ctid = (SELECT min(ctid) FROM named.keyless WHERE i = 3);
             DELETE FROM named.keyless WHERE ctid = (SELECT min(ctid) FROM named.keyless WHERE i = 5);
             INSERT INTO named.keyless VALUES (7, 't'), (7, 't')",
        )
        .unwrap();
    let expected = [
        "named.keyed: changed (id)=(17) of 5",
        "named.keyed: changed (id)=(18) of 5",
        "named.keyed: duplicate (id)=(4) of 5",
        "named.keyed: extra (id)=(77777) of 5",
        "named.keyed: missing (id)=(29999) of 5",
        "named.keyless: duplicate (7,t) of 5",
        "named.keyless: extra (3,other) of 5",
        "named.keyless: missing (3,t) of 5",
        "named.keyless: missing (5,t) of 5",
        "named.two: changed (a, b)=(k7,2020-01-08)",
    ];
    assert_eq!(differences("named"), expected);
}

/// Each line is a type and two values that are equal, or almost, according to it.
const NEARLY: [(&str, &str, &str); 24] = [
    ("float8", "0", "'-0'"),
    ("float8", "'NaN'", "'Infinity'"),
    ("float8", "0.1", "0.1 + 1e-17 * 2"),
    ("float4", "1", "1.0000001"),
    ("numeric", "1.0", "1.00"),
    ("numeric", "'NaN'", "NULL"),
    ("json", "'{\"a\": 1}'", "'{\"a\":1}'"),
    ("jsonb", "'1.0'", "'1.00'"),
    ("interval", "'1 month'", "'30 days'"),
    ("timetz", "'12:00+00'", "'13:00+01'"),
    ("text", "'a'", "'a '"),
    ("text", "''", "NULL"),
    ("text COLLATE near.loose", "'a'", "'A'"),
    ("bytea", "'\\x00'", "'\\x0000'"),
    ("xml", "'<a/>'", "'<a></a>'"),
    ("near.mood", "'sad'", "'ok'"),
    ("near.mood[]", "'{sad}'", "'{ok}'"),
    ("int[]", "'{1}'", "'[0:0]={1}'"),
    ("near.pair", "'(1,sad)'", "'(1,)'"),
    ("near.pair", "'(,)'", "NULL"),
    ("int4range", "'[1,2)'", "'[1,3)'"),
    ("inet", "'10.0.0.1/8'", "'10.0.0.1/9'"),
    ("regclass", "'pg_class'", "'pg_proc'"),
    ("money", "1.00", "1.01"),
];

#[test]
fn what_a_type_takes_for_equal_is_a_difference() {
    let (mut source, mut target) = both(
        "CREATE SCHEMA near;
         CREATE TYPE near.mood AS ENUM ('sad', 'ok');
         CREATE TYPE near.pair AS (a int, m near.mood);
         CREATE COLLATION near.loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
    );
    for (i, (of_type, one, other)) in NEARLY.into_iter().enumerate() {
        let create = |value: &str| {
            format!(
                "CREATE TABLE near.t{i:02} (id int PRIMARY KEY, v {of_type}); \
                 INSERT INTO near.t{i:02} VALUES (1, {one}), (2, {value}), (3, NULL)"
            )
        };
        source.batch_execute(&create(one)).unwrap();
        target.batch_execute(&create(other)).unwrap();
    }
    let expected: Vec<String> =
        (0..NEARLY.len()).map(|i| format!("near.t{i:02}: changed (id)=(2)")).collect();
    assert_eq!(differences("near"), expected);
}

#[test]
fn equal_copies_are_equal_whatever_they_are_made_of() {
    let (mut source, mut target) = both(
        r#"CREATE SCHEMA "it's ""equal""";
           SET search_path = "it's ""equal""", public;
           CREATE TYPE mood AS ENUM ('sad', 'ok');
           CREATE TYPE pair AS (a int, m mood);
           CREATE DOMAIN small AS int;
           CREATE TABLE nothing (); CREATE TABLE empty (i int PRIMARY KEY);
           CREATE TABLE parted (i int, t text) PARTITION BY RANGE (i);
           CREATE TABLE part_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
           CREATE TABLE parent (i int); CREATE TABLE child () INHERITS (parent);
           CREATE SEQUENCE s; SELECT nextval('s');"#,
    );
    let table = r#"CREATE TABLE "it's ""equal"""."T ""x""" ("a ""b" int, "ü" text, m mood, ms mood[], p pair, n numeric, f float8, s small,
                   r regclass, g int GENERATED ALWAYS AS ("a ""b" * 2) STORED, UNIQUE (m, "a ""b"))"#;
    source.batch_execute(table).unwrap();
    // Give the other copy a history: a dropped column, another physical order of rows, other blocks.
    target
        .batch_execute(&format!(
            r#"CREATE TYPE later AS ENUM ('x'); {}; ALTER TABLE "T ""x""" DROP COLUMN gone"#,
            table.replacen("(\"a", "(gone int, \"a", 1)
        ))
        .unwrap();
    let rows = r#"INSERT INTO "T ""x""" ("a ""b", "ü", m, ms, p, n, f, s, r)
                  SELECT i, repeat('größe', i % 7), 'ok', '{sad,NULL}', '(1,ok)', i / 7.0, i / 3.0, i, 'parted' FROM generate_series(1, 2000) i"#;
    source.batch_execute(rows).unwrap();
    target
        .batch_execute(&format!(r#"{rows} ORDER BY i DESC; UPDATE "T ""x""" SET n = n"#))
        .unwrap();
    for client in [&mut source, &mut target] {
        client
            .batch_execute(
                "INSERT INTO nothing SELECT FROM generate_series(1, 3); INSERT INTO parted VALUES (1, 'x'); \
                 INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2)",
            )
            .unwrap();
    }
    same("it's \"equal\"");
    target
        .batch_execute(
            "INSERT INTO nothing DEFAULT VALUES; UPDATE parted SET t = NULL; DELETE FROM ONLY parent; \
             SELECT setval('s', 5)",
        )
        .unwrap();
    let expected = [
        r#""it's ""equal""".nothing: duplicate ()"#,
        r#""it's ""equal""".parent: missing (1)"#,
        r#""it's ""equal""".part_1: extra (1,)"#,
        r#""it's ""equal""".part_1: missing (1,x)"#,
        r#""it's ""equal""".s: position last_value, is_called: (1, t) on the source, (5, t) on the target"#,
    ];
    let found: Vec<String> =
        differences("it's \"equal\"").iter().map(|line| line.replace(" of 2", "")).collect();
    assert_eq!(found, expected);
}

#[test]
fn all_differences_are_counted_and_some_are_kept() {
    let (_, mut target) = both(
        "CREATE SCHEMA many; CREATE TABLE many.t (id int PRIMARY KEY, x int);
         INSERT INTO many.t SELECT i, i FROM generate_series(1, 20000) i;
         CREATE TABLE many.other (i int); CREATE TABLE many.gone (i int); CREATE SEQUENCE many.s",
    );
    target
        .batch_execute(
            "UPDATE many.t SET x = -x WHERE id <= 12345; ALTER TABLE many.other ALTER i TYPE bigint; \
             DROP TABLE many.gone; DROP SEQUENCE many.s",
        )
        .unwrap();
    let found = differences("many");
    let (rows, others): (Vec<_>, Vec<_>) = found.iter().partition(|line| line.contains("many.t:"));
    assert_eq!(rows.len(), 100);
    assert!(
        rows.iter().all(|line| line.contains("changed") && line.ends_with(" of 12345")),
        "{rows:?}"
    );
    let expected = [
        "many.gone: definition table does not exist on the target",
        "many.other: definition the target has no column i integer",
        "many.s: definition sequence does not exist on the target",
    ];
    assert_eq!(others, expected.iter().collect::<Vec<_>>());
}

/// A user-defined cast would run as the superuser that compares.
#[test]
fn no_code_of_users_runs_when_copies_are_compared() {
    let (_, mut target) = both(
        "CREATE SCHEMA trap; CREATE TYPE trap.mood AS ENUM ('sad');
         CREATE FUNCTION trap.evil(trap.mood) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
         CREATE CAST (trap.mood AS text) WITH FUNCTION trap.evil(trap.mood);
         CREATE TABLE trap.t (m trap.mood PRIMARY KEY, j json); INSERT INTO trap.t VALUES ('sad', '1')",
    );
    same("trap");
    target.batch_execute("UPDATE trap.t SET j = '2'").unwrap();
    assert_eq!(differences("trap"), ["trap.t: changed (m)=(sad)"]);
}
