//! References from a schema to objects outside of it are checked when its migration is requested, not in the middle of it.

use postgres::Client;

use crate::{cluster, finish, shown, text, wait};
use helios_tests::assert_clean;

/// Objects outside of the schema.
const AROUND: &str = "CREATE SCHEMA pl; CREATE SEQUENCE pl.numbers; CREATE TABLE pl.country (id int PRIMARY KEY);
    INSERT INTO pl.country VALUES (1); CREATE TABLE pl.parent (id int, x int); CREATE TABLE pl.parts (id int) PARTITION BY LIST (id);
    CREATE VIEW pl.shown AS SELECT 1 AS one; CREATE TYPE pl.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN pl.small AS int CHECK (VALUE < 100);
    CREATE FUNCTION pl.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2'";

/// An object in the schema, the name that the error must mention, and the remedy that the hint must give, after which
/// the move is accepted.
const NEEDS: [(&str, &str, &str); 7] = [
    (
        "CREATE TABLE t.a (id int DEFAULT nextval('pl.numbers'))",
        "sequence pl.numbers",
        "ALTER SEQUENCE pl.numbers SET SCHEMA t;",
    ),
    (
        "CREATE TABLE t.a (id int REFERENCES pl.country)",
        "table pl.country",
        "SELECT helios_create_reference_table('pl.country');",
    ),
    (
        "CREATE TABLE t.a () INHERITS (pl.parent)",
        "table pl.parent",
        "ALTER TABLE t.a NO INHERIT pl.parent;",
    ),
    (
        "CREATE TABLE t.a PARTITION OF pl.parts FOR VALUES IN (1)",
        "table pl.parts",
        "ALTER TABLE pl.parts DETACH PARTITION t.a;",
    ),
    (
        "CREATE VIEW t.v AS SELECT * FROM pl.country",
        "table pl.country",
        "SELECT helios_create_reference_table('pl.country');",
    ),
    (
        "CREATE VIEW t.v AS SELECT * FROM pl.shown",
        "view pl.shown",
        "ALTER VIEW pl.shown SET SCHEMA t;",
    ),
    (
        "CREATE FUNCTION t.f() RETURNS SETOF pl.country LANGUAGE sql AS 'SELECT 1'",
        "type pl.country",
        "SELECT helios_create_reference_table('pl.country');",
    ),
];

#[track_caller]
fn refused(client: &mut Client, sql: &str, code: &str, words: &str) -> String {
    let error = client.batch_execute(sql).expect_err(sql);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
    assert_eq!(error.code().code(), code, "{sql}: {error:?}");
    let said = format!("{} {}", error.message(), error.detail().unwrap_or_default());
    assert!(said.contains(words), "{words}: {error:?}");
    error.hint().unwrap_or_default().to_owned()
}

#[test]
fn what_a_schema_needs_is_named_before_it_becomes_a_distributed_one() {
    let cluster = cluster(1);
    let mut client = cluster.connect();
    client.batch_execute(AROUND).unwrap();
    let distribute = "SELECT helios_distribute_schema('t', 'node-1')";
    for (inside, named, remedy) in NEEDS {
        client
            .batch_execute(&format!("CREATE SCHEMA t; CREATE TABLE t.own (i int); {inside}"))
            .unwrap();
        let hint = refused(&mut client, distribute, "0A000", named);
        if !inside.contains("SETOF") {
            assert!(hint.contains(remedy), "{inside}: {hint}");
        }
        let begun = "SELECT count(*) FROM helios_migrations";
        assert_eq!(text(&mut client, begun), ["0"], "{inside}");
        // Also in the transaction that creates what is refused.
        client.batch_execute("DROP SCHEMA t CASCADE").unwrap();
        let all =
            format!("BEGIN; CREATE SCHEMA t; CREATE TABLE t.own (i int); {inside}; {distribute}");
        refused(&mut client, &all, "0A000", named);
        client.batch_execute("ROLLBACK").unwrap();
    }
    // All at once, each with its remedy; after following the hint, the schema moves.
    client.batch_execute("CREATE SCHEMA t").unwrap();
    let together = "CREATE TABLE t.a (id int DEFAULT nextval('pl.numbers'), country int REFERENCES pl.country, m pl.mood, s pl.small,
                        g int GENERATED ALWAYS AS (pl.twice(1)) STORED);
                    CREATE TABLE t.b () INHERITS (pl.parent); CREATE TABLE t.c PARTITION OF pl.parts FOR VALUES IN (1);
                    INSERT INTO t.a (country, m, s) VALUES (1, 'ok', 5)";
    client.batch_execute(together).unwrap();
    let hint = refused(&mut client, distribute, "0A000", "pl.numbers");
    client.batch_execute(&hint).unwrap_or_else(|error| panic!("{hint}: {error:?}"));
    client.batch_execute(distribute).unwrap();
    let id = crate::last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    assert_eq!(text(&mut client, "SELECT country, m, s, g FROM t.a"), ["1|ok|5|2"]);
    assert_clean(&cluster, &["t"]);
}

#[test]
fn views_that_look_in_stay_and_go_on() {
    let cluster = cluster(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA t; CREATE TYPE t.mood AS ENUM ('sad', 'ok'); CREATE TABLE t.a (id int PRIMARY KEY, m t.mood); INSERT INTO t.a VALUES (1, 'ok');
             CREATE VIEW public.looks AS SELECT id, m FROM t.a; CREATE VIEW public.further AS SELECT count(*) FROM public.looks;
             CREATE MATERIALIZED VIEW public.kept AS SELECT id FROM t.a",
        )
        .unwrap();
    client.batch_execute("SELECT helios_distribute_schema('t', 'node-1')").unwrap();
    let id = crate::last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    client
        .batch_execute("INSERT INTO t.a VALUES (2, 'sad'); REFRESH MATERIALIZED VIEW public.kept")
        .unwrap();
    let looks = |client: &mut Client| {
        [
            "SELECT string_agg(id || ' ' || m, ',' ORDER BY id) FROM looks",
            "TABLE further",
            "SELECT count(*) FROM kept",
        ]
        .map(|query| text(client, query).concat())
    };
    assert_eq!(looks(&mut client), ["1 ok,2 sad", "2", "2"]);
    client.batch_execute("SELECT helios_undistribute_schema('t')").unwrap();
    let id = crate::last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
    assert_eq!(looks(&mut client), ["1 ok,2 sad", "2", "2"]);
    // What would break remains refused, immediately.
    client.batch_execute("CREATE TABLE public.outer (m t.mood)").unwrap();
    let distribute = "SELECT helios_distribute_schema('t', 'node-1')";
    refused(&mut client, distribute, "55000", "outer");
    client
        .batch_execute(
            "DROP TABLE public.outer; CREATE TABLE public.refers (id int REFERENCES t.a)",
        )
        .unwrap();
    refused(&mut client, distribute, "55000", "refers");
}

#[test]
fn a_move_names_what_the_other_node_lacks() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TYPE public.mood AS ENUM ('sad'); CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (m public.mood)",
        )
        .unwrap();
    cluster
        .connect_to_node(2)
        .batch_execute("SET helios.migration_session = on; DROP TYPE public.mood")
        .unwrap();
    let moves = "SELECT helios_migrate_schema('t', 'node-2')";
    refused(&mut client, moves, "0A000", "type public.mood");
    assert_eq!(text(&mut client, "SELECT count(*) FROM helios_migrations"), ["0"]);
    cluster
        .connect_to_node(2)
        .batch_execute("SET helios.migration_session = on; CREATE TYPE public.mood AS ENUM ('sad')")
        .unwrap();
    client.batch_execute(moves).unwrap();
    let id = crate::last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    finish(&mut client, id);
}
