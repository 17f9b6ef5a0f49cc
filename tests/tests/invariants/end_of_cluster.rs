//! DROP EXTENSION affects nodes when it commits, and only if the role may drop the extension.

use std::time::Duration;

use helios_tests::{Cluster, wait_until};

use crate::{described, refused, value};

const HOLDER: &str = "SELECT coalesce(node_of::text, 'nobody') || ' ' || \
     (SELECT coordinator IS NOT NULL FROM helios.identity) FROM helios.cluster";

fn holder(cluster: &Cluster, node: usize) -> String {
    value(&mut cluster.connect_to_node(node), HOLDER).unwrap().unwrap()
}

#[test]
fn a_drop_that_is_rolled_back_lets_no_node_go() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    let before = [holder(&cluster, 1), holder(&cluster, 2)];
    for script in [
        "BEGIN; DROP EXTENSION helios CASCADE; ROLLBACK",
        "BEGIN; SAVEPOINT s; DROP EXTENSION helios CASCADE; ROLLBACK TO s; COMMIT",
        "BEGIN; SAVEPOINT s; DROP EXTENSION helios CASCADE; RELEASE s; ROLLBACK",
    ] {
        client.batch_execute(script).unwrap();
        assert_eq!([holder(&cluster, 1), holder(&cluster, 2)], before, "{script}");
    }
    for script in [
        "BEGIN; DROP EXTENSION helios CASCADE; SELECT 1/0; COMMIT",
        "DROP EXTENSION helios, nothing_there CASCADE",
        "DO $$BEGIN EXECUTE 'DROP EXTENSION helios CASCADE'; RAISE 'no'; END$$",
    ] {
        client.batch_execute(script).unwrap_err();
        client.batch_execute("ROLLBACK").unwrap();
        assert_eq!([holder(&cluster, 1), holder(&cluster, 2)], before, "{script}");
    }
    // Nothing of a DROP is prepared: no one would release the nodes.
    client.batch_execute("BEGIN; DROP EXTENSION helios CASCADE").unwrap();
    refused(&mut client, "PREPARE TRANSACTION 'gone'", "0A000", &["DROP EXTENSION helios"]);
    assert_eq!([holder(&cluster, 1), holder(&cluster, 2)], before);
    // The cluster is intact: it still works.
    client.batch_execute("CREATE SCHEMA still DISTRIBUTED; CREATE TABLE still.t (x int)").unwrap();
    refused(&mut client, "DROP EXTENSION helios CASCADE", "2BP01", &["still"]);
    client.batch_execute("BEGIN; DROP SCHEMA still CASCADE").unwrap();
    refused(&mut client, "DROP EXTENSION helios CASCADE", "55000", &["Commit the transaction"]);
    client.batch_execute("DROP SCHEMA still CASCADE").unwrap();
    client.batch_execute("DROP EXTENSION helios CASCADE").unwrap();
    for node in [1, 2] {
        wait_until("the node is free", Duration::from_secs(10), || {
            let holder = holder(&cluster, node);
            if holder == "nobody false" { Ok(()) } else { Err(holder) }
        });
    }
}

#[test]
fn a_node_that_is_down_does_not_keep_the_extension() {
    let cluster = Cluster::start(2);
    cluster.kill_node(2);
    let mut client = cluster.connect();
    client.batch_execute("DROP EXTENSION helios CASCADE").unwrap();
    assert_eq!(holder(&cluster, 1), "nobody false");
}

#[test]
fn whoever_may_not_drop_the_extension_learns_and_does_nothing() {
    let cluster = Cluster::start(1);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE mallory LOGIN CREATEDB CREATEROLE; GRANT CREATE ON DATABASE helios TO mallory;
             CREATE ROLE other LOGIN SUPERUSER; CREATE SCHEMA confidential DISTRIBUTED",
        )
        .unwrap();
    let before = holder(&cluster, 1);
    let mut mallory = cluster.connect_as("mallory");
    for sql in [
        "DROP EXTENSION helios",
        "DROP EXTENSION helios CASCADE",
        "DROP EXTENSION IF EXISTS helios CASCADE",
        "DROP EXTENSION nothing_there, helios CASCADE",
        "ALTER EXTENSION helios UPDATE",
        "ALTER EXTENSION helios DROP TABLE helios.node",
        "ALTER EXTENSION helios SET SCHEMA public",
        "DROP SCHEMA helios CASCADE",
        "ALTER SCHEMA helios RENAME TO mine",
        "DROP TABLE helios.node CASCADE",
        "DROP FUNCTION helios.directory_changed() CASCADE",
        "DROP VIEW helios_nodes CASCADE",
        "DROP OWNED BY postgres CASCADE",
        "REASSIGN OWNED BY postgres TO mallory",
        "DROP DATABASE helios",
        "ALTER DATABASE helios OWNER TO mallory",
    ] {
        let error = described(&mallory.batch_execute(sql).unwrap_err());
        assert!(
            ["42501", "42704", "55006", "0A000", "2BP01"].contains(&error.0.as_str()),
            "{sql}: {error:?}"
        );
        assert!(
            !error.1.contains("confidential") && !error.1.contains("node-1"),
            "{sql}: {error:?}"
        );
        assert_eq!(holder(&cluster, 1), before, "{sql}");
    }
    // A superuser who owns it gets an error, because DROP OWNED would skip the checks of DROP EXTENSION.
    admin
        .batch_execute(
            "DROP SCHEMA confidential; UPDATE pg_extension SET extowner = 'other'::regrole WHERE extname = 'helios'",
        )
        .unwrap();
    refused(
        &mut admin,
        "DROP OWNED BY other CASCADE",
        "2BP01",
        &["other", "DROP EXTENSION helios"],
    );
    assert_eq!(holder(&cluster, 1), before);
}
