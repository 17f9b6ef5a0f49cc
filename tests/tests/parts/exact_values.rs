//! Values that contain times and floating-point numbers are what they were, whatever the client's settings.

use helios_tests::Cluster;

use super::random::{Answer, plain, run};

const TABLES: &str = "
    CREATE TYPE xt.at AS (t timestamptz, n int); CREATE TYPE xt.weight AS (f float8, d date); CREATE TYPE xt.span AS RANGE (subtype = float8);
    CREATE DOMAIN xt.moment AS timestamptz;
    CREATE TABLE xa.t (id int, c xt.at, w xt.weight, s xt.span, m xt.moment, cs xt.at[], f float8, r tstzrange, i interval);
    INSERT INTO xa.t SELECT g, ROW('2024-06-01 12:00:00+00'::timestamptz + g * interval '1 h', g)::xt.at, ROW(0.1::float8 + 0.2::float8, '2024-02-01')::xt.weight,
        xt.span(0.1::float8 + 0.2::float8, 1), '2024-06-01 12:00:00+00', ARRAY[ROW('2024-01-01 00:00:00+00', 1)::xt.at], 0.1::float8 + 0.2::float8,
        tstzrange('2024-06-01 12:00:00+00', NULL), '-1 day +02:03:04' FROM generate_series(1, 3) g;
    CREATE TABLE xb.t (id int, c xt.at, w xt.weight, s xt.span, m xt.moment, cs xt.at[], f float8, r tstzrange, i interval);
    CREATE TABLE xl.t AS SELECT * FROM xa.t; CREATE TABLE xl.id AS SELECT id FROM xa.t";

const SETTINGS: [&str; 5] = [
    "SET datestyle = ISO",
    "SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata'",
    "SET datestyle = 'Postgres, MDY'; SET timezone = 'Asia/Kolkata'; SET intervalstyle = sql_standard",
    "SET datestyle = German; SET timezone = 'America/New_York'",
    "SET datestyle = ISO; SET extra_float_digits = 0",
];

const STATEMENTS: [&str; 9] = [
    "INSERT INTO xb.t SELECT * FROM xl.t",
    "INSERT INTO xb.t SELECT * FROM xa.t",
    "INSERT INTO xb.t (id, m, f, r, i) SELECT id, m, f, r, i FROM xa.t",
    "INSERT INTO xl.t SELECT * FROM xa.t WHERE id = 1",
    "UPDATE xb.t SET s = a.s FROM xa.t a WHERE a.id = xb.t.id",
    "UPDATE xl.t SET w = a.w FROM xa.t a WHERE a.id = xl.t.id",
    "SELECT id, extract(epoch FROM (a.c).t), extract(epoch FROM a.m), extract(epoch FROM lower(a.r)) FROM xa.t a JOIN xl.id USING (id)",
    "SELECT count(*) FROM xa.t a JOIN xl.t l ON l.s = a.s AND l.f = a.f AND l.w = a.w AND l.i = a.i",
    "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM xa.t LOOP INSERT INTO xl.t VALUES (r.id, r.c, r.w, r.s, r.m, r.cs, r.f, r.r, r.i); END LOOP; END $$",
];

/// What is stored, whatever the settings.
const STORED: &str = "SET datestyle = ISO; SET timezone = 'UTC'; SET extra_float_digits = 3; \
    SELECT 'b', t::text FROM xb.t UNION ALL SELECT 'l', t::text FROM xl.t t";

#[test]
fn values_are_exact_under_all_settings() {
    let cluster = Cluster::shared();
    let (mut helios, mut plain) = (cluster.connect(), plain("exact_values"));
    helios
        .batch_execute(
            "CREATE SCHEMA xt; CREATE SCHEMA xa; CREATE SCHEMA xb DISTRIBUTED ON NODE \"node-2\"; CREATE SCHEMA xl",
        )
        .unwrap();
    plain
        .batch_execute("CREATE SCHEMA xt; CREATE SCHEMA xa; CREATE SCHEMA xb; CREATE SCHEMA xl")
        .unwrap();
    for client in [&mut helios, &mut plain] {
        client.batch_execute(TABLES).unwrap_or_else(|error| panic!("{error:?}"));
    }
    let mut refused = 0;
    for place in ["local", "distributed"] {
        if place == "distributed" {
            helios.batch_execute("SELECT helios_distribute_schema('xa', 'node-1')").unwrap();
        }
        for settings in SETTINGS {
            for statement in STATEMENTS {
                let mut answers = Vec::new();
                for client in [&mut plain, &mut helios] {
                    client.batch_execute(&format!("RESET ALL; {settings}; BEGIN")).unwrap();
                    let (answer, error) = run(client, statement);
                    if matches!(answer, Answer::Rows(..)) {
                        answers.push((answer, error, run(client, STORED).0));
                    } else {
                        assert!(
                            error.contains("cannot exchange values of type xt."),
                            "{statement}: {error}"
                        );
                        refused += 1;
                    }
                    client.batch_execute("ROLLBACK").unwrap();
                }
                if let [expected, found] = &answers[..] {
                    assert_eq!(found.0, expected.0, "{place}, {settings}: {statement}");
                    assert_eq!(found.2, expected.2, "stored, {place}, {settings}: {statement}");
                }
            }
        }
    }
    assert!((1..60).contains(&refused), "{refused} of 90 were refused");
}
