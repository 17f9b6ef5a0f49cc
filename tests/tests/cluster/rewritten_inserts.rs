//! INSERT through views of plain schemas, whose text for the node is deparsed, and lastval() after sequences of several servers.

use helios_tests::{Cluster, refused, text};

#[test]
fn values_find_their_columns_through_a_view() {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(
            "CREATE SCHEMA rewritten DISTRIBUTED ON NODE \"node-1\"; \
             CREATE TABLE rewritten.t (id serial, a int, b int DEFAULT 7, c varchar(3)); \
             CREATE VIEW public.rewritten_v AS SELECT a, b, c FROM rewritten.t; \
             CREATE VIEW public.rewritten_checked AS SELECT a, b FROM rewritten.t WHERE b < 100 WITH CHECK OPTION",
        )
        .unwrap();
    for (insert, row) in [
        ("INSERT INTO public.rewritten_v (b, a) SELECT 1, 2 RETURNING a, b", "2|1"),
        ("INSERT INTO public.rewritten_v (b, a) VALUES (1, 2), (1, 2) RETURNING a, b", "2|1"),
        ("INSERT INTO public.rewritten_v (a) SELECT 5 RETURNING a, b", "5|7"),
        (
            "INSERT INTO public.rewritten_v (c, a) VALUES ('x', 5), (DEFAULT, 5) RETURNING a, b",
            "5|7",
        ),
        (
            "WITH i AS (INSERT INTO public.rewritten_v (b, a) SELECT 3, 4 RETURNING *) SELECT a, b FROM i",
            "4|3",
        ),
    ] {
        let rows = client.query(insert, &[]).unwrap_or_else(|error| panic!("{insert}: {error:?}"));
        assert!(!rows.is_empty(), "{insert}");
        for found in rows {
            let found: (i32, i32) = (found.get(0), found.get(1));
            assert_eq!(format!("{}|{}", found.0, found.1), row, "{insert}");
        }
    }
    // What does not fit is not cut off.
    let long =
        client.batch_execute("INSERT INTO public.rewritten_v (c, a) SELECT 'long', 1").unwrap_err();
    assert_eq!(long.code().map(|code| code.code()), Some("22001"), "{long:?}");
    let checked = "WITH i AS (INSERT INTO public.rewritten_checked SELECT 1, 1000 RETURNING *) SELECT * FROM i";
    refused(&mut client, checked, "0A000", "through this view");
    client.batch_execute("DROP VIEW public.rewritten_v, public.rewritten_checked").unwrap();
}

#[test]
fn lastval_is_that_of_the_sequence_used_last() {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(
            "CREATE SCHEMA last_one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA last_two DISTRIBUTED ON NODE \"node-2\"; \
             CREATE SEQUENCE last_one.s START 100; CREATE SEQUENCE last_two.s START 200; \
             CREATE TABLE last_one.t (id int DEFAULT nextval('last_one.s')); CREATE TABLE last_two.t (id int); \
             CREATE TABLE public.last_here (id serial)",
        )
        .unwrap();
    client.batch_execute("INSERT INTO last_one.t DEFAULT VALUES").unwrap();
    assert_eq!(text(&mut client, "SELECT lastval()"), ["100"]);
    client.batch_execute("INSERT INTO public.last_here DEFAULT VALUES").unwrap();
    assert_eq!(text(&mut client, "SELECT lastval()"), ["1"]);
    client.batch_execute("SELECT nextval('last_one.s'); SELECT currval('last_one.s')").unwrap();
    assert_eq!(text(&mut client, "SELECT lastval()"), ["101"]);
    // This server does not know it.
    refused(&mut client, "INSERT INTO public.last_here VALUES (lastval())", "0A000", "");
    client.batch_execute("INSERT INTO last_one.t VALUES (lastval())").unwrap();
    assert_eq!(text(&mut client, "SELECT max(id) FROM last_one.t"), ["101"]);
    // Nor does another node, which is sent the value.
    client.batch_execute("INSERT INTO last_two.t VALUES (lastval())").unwrap();
    assert_eq!(text(&mut client, "SELECT id FROM last_two.t"), ["101"]);
    client.batch_execute("DROP TABLE public.last_here").unwrap();
}
