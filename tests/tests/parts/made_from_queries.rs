//! Tables and views that are made from tables elsewhere: temporary, on the coordinator, or in a distributed schema.

use helios_tests::Cluster;

use super::random::{plain, run};

const SETUP: &str = "
CREATE TABLE made_one.t (id int PRIMARY KEY, s text, k serial); INSERT INTO made_one.t (id, s) SELECT g, 's' || g FROM generate_series(1, 20) AS g;
CREATE TABLE made_two.u (id int, n numeric(6,2)); INSERT INTO made_two.u SELECT g, g / 4.0 FROM generate_series(5, 30) AS g;
CREATE TABLE made_here.l (id int, d date); INSERT INTO made_here.l SELECT g, date '2024-01-01' + g FROM generate_series(1, 12) AS g;
CREATE TEMPORARY TABLE mine (id int, w text); INSERT INTO mine VALUES (1, 'one'), (7, 'seven')";

/// Each is run on both servers; `@t` is the table that it makes.
const STATEMENTS: [&str; 23] = [
    "CREATE TEMP TABLE made (LIKE made_one.t INCLUDING ALL EXCLUDING DEFAULTS); INSERT INTO made (id, s, k) SELECT * FROM made_one.t; SELECT * FROM made",
    "CREATE TEMP TABLE made (LIKE made_two.u INCLUDING ALL, extra int DEFAULT 3); INSERT INTO made SELECT id, n FROM made_two.u; SELECT * FROM made",
    "SELECT a.id, a.s, b.n INTO TEMP made FROM made_one.t a JOIN made_two.u b USING (id); SELECT * FROM made",
    "CREATE TEMP TABLE made AS SELECT * FROM made_one.t JOIN mine USING (id); SELECT * FROM made",
    "CREATE TEMP TABLE made ON COMMIT PRESERVE ROWS AS SELECT id FROM made_one.t UNION ALL SELECT id FROM made_here.l; SELECT * FROM made",
    "CREATE TABLE made_here.made AS SELECT a.*, b.n FROM made_one.t a LEFT JOIN made_two.u b USING (id); SELECT * FROM made_here.made",
    "SELECT * INTO made_here.made FROM made_two.u WHERE id < 9; SELECT * FROM made_here.made",
    "CREATE TABLE made_one.made AS SELECT * FROM made_two.u; SELECT * FROM made_one.made",
    "CREATE TABLE made_one.made AS SELECT a.s, b.n FROM made_one.t a JOIN made_two.u b USING (id); SELECT * FROM made_one.made",
    "CREATE TABLE made_one.made (x, y) WITH (fillfactor = 60) AS SELECT l.id, t.s FROM made_here.l l JOIN made_one.t t USING (id); SELECT * FROM made_one.made",
    "CREATE TABLE made_two.made AS SELECT * FROM mine; SELECT * FROM made_two.made",
    "CREATE UNLOGGED TABLE made_two.made AS TABLE made_here.l WITH NO DATA; SELECT * FROM made_two.made",
    "CREATE TABLE made_two.made AS WITH c AS (SELECT id FROM made_one.t WHERE id > 15) SELECT count(*) AS n, sum(id) FROM c; SELECT * FROM made_two.made",
    "SELECT id, d INTO made_one.made FROM made_here.l; SELECT * FROM made_one.made",
    "CREATE TABLE IF NOT EXISTS made_one.t AS SELECT * FROM made_two.u; SELECT count(*) FROM made_one.t",
    "CREATE TABLE made_one.made AS VALUES (1, 'a'), (2, 'b'); SELECT * FROM made_one.made",
    "CREATE MATERIALIZED VIEW made_here.made AS SELECT a.id, b.n FROM made_one.t a JOIN made_two.u b USING (id); SELECT * FROM made_here.made",
    "CREATE MATERIALIZED VIEW made_here.made AS SELECT id FROM made_one.t; INSERT INTO made_one.t (id) VALUES (99); REFRESH MATERIALIZED VIEW made_here.made; SELECT * FROM made_here.made",
    "CREATE MATERIALIZED VIEW made_here.made AS SELECT id FROM made_one.t; CREATE UNIQUE INDEX ON made_here.made (id); DELETE FROM made_one.t WHERE id < 5; REFRESH MATERIALIZED VIEW CONCURRENTLY made_here.made; SELECT * FROM made_here.made",
    "CREATE TEMP VIEW made AS SELECT a.id, b.n, m.w FROM made_one.t a JOIN made_two.u b USING (id) LEFT JOIN mine m USING (id); SELECT * FROM made",
    "CREATE VIEW made_here.made AS SELECT id FROM made_one.t EXCEPT SELECT id FROM made_two.u; SELECT * FROM made_here.made",
    "DO $$ BEGIN CREATE TABLE made_two.made AS SELECT id FROM made_one.t; END $$; SELECT * FROM made_two.made",
    "CREATE TEMP TABLE made (id int) INHERITS (mine); INSERT INTO made VALUES (44, 'x'); SELECT * FROM mine",
];

#[test]
fn what_is_made_from_queries_is_the_same() {
    let cluster = Cluster::shared();
    let mut helios = cluster.connect();
    let mut plain = plain("made_from_queries");
    plain
        .batch_execute("CREATE SCHEMA made_one; CREATE SCHEMA made_two; CREATE SCHEMA made_here")
        .unwrap();
    helios
        .batch_execute(
            "CREATE SCHEMA made_one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA made_here; \
             CREATE SCHEMA made_two DISTRIBUTED ON NODE \"node-2\"",
        )
        .unwrap();
    for client in [&mut plain, &mut helios] {
        client.batch_execute(SETUP).unwrap();
    }
    let mut report = String::new();
    for sql in STATEMENTS {
        let [expected, found] = [&mut plain, &mut helios].map(|client| {
            client.batch_execute("BEGIN").unwrap();
            let answers: Vec<_> = sql.split("; ").map(|part| run(client, part)).collect();
            client.batch_execute("ROLLBACK").unwrap();
            answers
        });
        if expected.iter().map(|(answer, _)| answer).ne(found.iter().map(|(answer, _)| answer)) {
            report.push_str(&format!("{sql}\n  plain:  {expected:?}\n  helios: {found:?}\n"));
        }
    }
    assert!(report.is_empty(), "{report}");
    helios.batch_execute("DROP SCHEMA made_one, made_two CASCADE").unwrap();
    helios.batch_execute("DROP SCHEMA made_here CASCADE").unwrap();
}

/// A child that is elsewhere would be left out when its parent is read on the node.
#[test]
fn children_elsewhere_are_refused() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute("CREATE SCHEMA parents DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE parents.t (x int); CREATE TEMP TABLE child_later (x int)")
        .unwrap();
    for sql in [
        "CREATE TEMP TABLE child () INHERITS (parents.t)",
        "CREATE TABLE public.child () INHERITS (parents.t)",
        "ALTER TABLE child_later INHERIT parents.t",
    ] {
        let error = client.batch_execute(sql).expect_err(sql);
        assert_eq!(error.as_db_error().unwrap().code().code(), "0A000", "{sql}: {error:?}");
    }
    client.batch_execute("DROP SCHEMA parents CASCADE").unwrap();
}
