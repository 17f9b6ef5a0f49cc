//! Parameters of user-defined types, whose OIDs differ between servers.

use helios_tests::{Cluster, text};

#[test]
fn parameters_of_user_types_stay_where_they_are_known() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TYPE public.mood AS ENUM ('low', 'high'); \
             CREATE SCHEMA one DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA two DISTRIBUTED ON NODE \"node-2\"; \
             CREATE TYPE two.kind AS ENUM ('a', 'b'); CREATE TABLE two.c (id int, k two.kind); INSERT INTO two.c VALUES (2, 'a'), (3, 'b'); \
             CREATE TABLE one.a AS SELECT g AS id FROM generate_series(1, 5) g; CREATE TABLE one.b AS SELECT id FROM one.a; \
             CREATE TABLE public.moods (id int, m mood); INSERT INTO moods VALUES (2, 'low'), (3, 'high'), (4, 'high'); \
             SET plan_cache_mode = force_generic_plan",
        )
        .unwrap();
    for (of_type, value, sql, expected) in [
        // Two parts on one node.
        (
            "mood",
            "high",
            "SELECT id FROM one.a JOIN one.b USING (id) JOIN moods USING (id) WHERE m = $1 AND b.id >= $2",
            "3,4",
        ),
        // A type that the node of the other parameter does not have.
        (
            "two.kind",
            "b",
            "SELECT id FROM one.a JOIN two.c USING (id) WHERE k = $1 AND a.id >= $2",
            "3",
        ),
        (
            "two.kind",
            "a",
            "SELECT id FROM one.a JOIN one.b USING (id) JOIN two.c USING (id) WHERE k = $1 AND a.id >= $2",
            "2",
        ),
    ] {
        client.batch_execute(&format!("PREPARE s ({of_type}, int) AS {sql} ORDER BY 1")).unwrap();
        for _ in 0..2 {
            let found = text(&mut client, &format!("EXECUTE s ('{value}', 2)")).join(",");
            assert_eq!(found, expected, "{sql}");
        }
        client.batch_execute("DEALLOCATE s").unwrap();
    }
}
