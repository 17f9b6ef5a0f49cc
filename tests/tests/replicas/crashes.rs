//! A promotion without its primary continues wherever it was interrupted.

use helios_tests::{BOUND, Cluster, wait_until};

use crate::{SETTINGS, assert_clean, node_of, replicate, same_there, text};

/// Failpoints at which the worker is killed, and the server restarts.
const PLACES: [&str; 4] = [
    "migration.switch.before",
    "migration.fence.after",
    "migration.flip.before",
    "migration.switch.after",
];

#[test]
fn a_promotion_that_is_killed_is_finished() {
    for place in PLACES {
        let cluster = Cluster::with_failpoints(2, &SETTINGS);
        let mut client = cluster.connect();
        client
            .batch_execute(
                "CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id serial PRIMARY KEY, v int); \
                 INSERT INTO t.a (v) SELECT i FROM generate_series(1, 1000) i",
            )
            .unwrap();
        replicate(&mut client, "t", 2);
        client
            .batch_execute("INSERT INTO t.a (v) SELECT i FROM generate_series(1, 100) i")
            .unwrap();
        same_there(&cluster, &mut client, 2, "SELECT count(*) FROM t.a");
        cluster.kill_node(1);
        cluster.failpoint(place, "die", 1, 0);
        wait_until("the copy is promoted", BOUND, || {
            let mut client = cluster
                .coordinator()
                .connect(testkit::cluster::DATABASE)
                .map_err(|error| format!("{error:#}"))?;
            let home = "SELECT helios_node_for_schema('t')";
            let home = client.query_one(home, &[]).map_err(|error| format!("{error:?}"))?;
            if home.get::<_, String>(0) == "node-2" {
                return Ok(());
            }
            let promote = client.simple_query("SELECT * FROM helios_promote_replica('t')");
            Err(format!("{:?}", promote.map(|_| ())))
        });
        let mut client = cluster.connect();
        assert_eq!(
            text(&mut client, "SELECT count(*), count(DISTINCT id) FROM t.a"),
            ["1100|1100"],
            "{place}"
        );
        client.batch_execute("INSERT INTO t.a (v) VALUES (-1)").unwrap();
        cluster.start_node(1);
        replicate(&mut client, "t", 1);
        assert_clean(&cluster, &["t"]);
        assert_eq!(node_of(&mut client, "t"), "node-2");
    }
}
