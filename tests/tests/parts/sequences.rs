//! Values of sequences on nodes, as the coordinator shows them.

use helios_tests::Cluster;
use postgres::Client;

use super::random::{Answer, plain, run};

fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    match run(client, sql) {
        (Answer::Rows(rows, _), _) => rows,
        (_, error) => panic!("{sql}: {error}"),
    }
}

#[test]
fn last_values_are_those_of_the_nodes() {
    let cluster = Cluster::shared();
    let mut helios = cluster.connect();
    let mut plain = plain("sequences_of_nodes");
    plain
        .batch_execute("CREATE SCHEMA seen_one; CREATE SCHEMA seen_two; CREATE SCHEMA seen_here")
        .unwrap();
    helios
        .batch_execute(
            "CREATE SCHEMA seen_one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA seen_here; \
             CREATE SCHEMA seen_two DISTRIBUTED ON NODE \"node-2\"",
        )
        .unwrap();
    let last_value = "SELECT x, pg_sequence_last_value(x::regclass) FROM unnest(ARRAY['seen_one.\"Odd name\"', 'seen_two.t_id_seq', 'seen_here.a']) AS x";
    for sql in [
        "CREATE SEQUENCE seen_one.a; CREATE SEQUENCE seen_one.\"Odd name\" START 7; CREATE SEQUENCE seen_one.unused; \
         CREATE SEQUENCE seen_two.a INCREMENT -1; CREATE SEQUENCE seen_here.a; CREATE TABLE seen_two.t (id serial, x bigint GENERATED ALWAYS AS IDENTITY)",
        "SELECT nextval('seen_one.\"Odd name\"'), nextval('seen_one.a'), nextval('seen_one.a')",
        "SELECT nextval('seen_two.a')",
        "SELECT nextval('seen_here.a')",
        "INSERT INTO seen_two.t (id) VALUES (DEFAULT), (DEFAULT), (DEFAULT)",
        "SELECT schemaname, sequencename, last_value FROM pg_sequences WHERE schemaname LIKE 'seen%'",
        "SELECT last_value FROM pg_sequences WHERE schemaname = 'seen_one' AND sequencename = 'a'",
        last_value,
        "SELECT last_value, is_called FROM seen_two.t_id_seq",
        "SELECT last_value, is_called FROM seen_one.unused",
        "SELECT sum(pg_sequence_last_value(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' AND nspname LIKE 'seen%'",
        // A value that this query changes itself.
        "SELECT nextval('seen_one.a'), g, pg_sequence_last_value(('seen_one.' || quote_ident(c))::regclass) \
           FROM unnest(ARRAY['a', 'Odd name', 'a', 'Odd name']) WITH ORDINALITY AS t (c, g)",
        "DO $$ DECLARE v bigint; BEGIN FOR i IN 1..4 LOOP PERFORM nextval('seen_one.a'); SELECT last_value INTO v FROM pg_sequences \
          WHERE schemaname = 'seen_one' AND sequencename = 'a'; PERFORM setval('seen_here.a', 100 + v); END LOOP; END $$",
        "SELECT last_value FROM seen_here.a",
        "SELECT setval('seen_two.a', -9)",
        "SELECT sequencename, last_value FROM pg_sequences WHERE schemaname LIKE 'seen%'",
    ] {
        let (expected, found) = (run(&mut plain, sql), run(&mut helios, sql));
        assert_eq!(found, expected, "{sql}");
    }
    helios.batch_execute("CREATE ROLE sees_nothing LOGIN").unwrap();
    let mut other = cluster.connect_as("sees_nothing");
    let hidden = rows(
        &mut other,
        "SELECT count(*), count(last_value) FROM pg_sequences WHERE schemaname LIKE 'seen%'",
    );
    assert_eq!(hidden, ["7 | 0"]);
    drop(other);
    helios.batch_execute("DROP SCHEMA seen_one, seen_two CASCADE").unwrap();
    helios.batch_execute("DROP SCHEMA seen_here CASCADE; DROP ROLE sees_nothing").unwrap();
}
