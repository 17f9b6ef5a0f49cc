//! Timeouts that servers, databases and roles set for their clients do not apply to migrations.

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;

use crate::{SETTINGS, assert_clean, begin, finish, roll_back, shown, text, wait};

/// So short that a session of a migration that used it would not live long.
const TIMEOUTS: [(&str, &str); 7] = [
    ("statement_timeout", "150ms"),
    ("lock_timeout", "20ms"),
    ("idle_session_timeout", "100ms"),
    ("idle_in_transaction_session_timeout", "100ms"),
    ("wal_sender_timeout", "500ms"),
    ("wal_receiver_timeout", "500ms"),
    ("transaction_timeout", "200ms"),
];

/// Those that this version of PostgreSQL has.
fn timeouts() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    let major = helios_tests::pg().major;
    TIMEOUTS
        .into_iter()
        .filter(move |(setting, _)| major >= 17 || *setting != "transaction_timeout")
}

/// Settings that only servers can have.
fn is_of_servers(setting: &str) -> bool {
    setting == "wal_receiver_timeout"
}

/// Where the timeouts are set.
#[derive(Clone, Copy, Debug)]
enum Level {
    Server,
    Database,
    Role,
}

impl Level {
    fn set(self, setting: &str, value: &str) -> String {
        match self {
            Level::Server => format!("ALTER SYSTEM SET {setting} = '{value}'"),
            Level::Database => format!("ALTER DATABASE helios SET {setting} = '{value}'"),
            Level::Role => format!("ALTER ROLE postgres SET {setting} = '{value}'"),
        }
    }

    fn reset(self, setting: &str) -> String {
        match self {
            Level::Server => format!("ALTER SYSTEM RESET {setting}"),
            Level::Database => format!("ALTER DATABASE helios RESET {setting}"),
            Level::Role => format!("ALTER ROLE postgres RESET {setting}"),
        }
    }
}

/// A session without any of them, wherever they are set.
fn patient(client: &mut Client) {
    for (setting, _) in timeouts().filter(|(setting, _)| !is_of_servers(setting)) {
        client.batch_execute(&format!("SET {setting} = 0")).unwrap();
    }
}

/// Runs statements on every server directly.
fn everywhere(clients: &mut [Client], statements: &[String]) {
    for client in clients {
        // Connect to the nodes directly: what the coordinator forwards is not tested here.
        for statement in statements {
            client.batch_execute(statement).unwrap();
        }
        client.batch_execute("SELECT pg_reload_conf()").unwrap();
    }
}

#[test]
fn no_timeout_of_servers_databases_or_roles_ends_a_move() {
    // The copy takes a few seconds: far longer than any of the timeouts.
    let settings = [&SETTINGS[..], &["helios.migration_rate = 5000"]].concat();
    let cluster = Cluster::with_settings(2, &settings);
    let mut client = cluster.connect();
    patient(&mut client);
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int PRIMARY KEY, v text); \
        INSERT INTO t.a SELECT i, md5(i::text) FROM generate_series(1, 15000) i; CREATE TABLE t.nokey (x int); \
        CREATE MATERIALIZED VIEW t.slow AS SELECT 1 AS one FROM pg_sleep(0.4)").unwrap();
    let mut servers: Vec<Client> = (1..=2).map(|node| cluster.connect_to_node(node)).collect();
    servers.push(cluster.connect());
    servers.iter_mut().for_each(patient);
    for level in [Level::Server, Level::Database, Level::Role] {
        let all = timeouts()
            .filter(|(setting, _)| matches!(level, Level::Server) || !is_of_servers(setting));
        let set: Vec<String> =
            all.clone().map(|(setting, value)| level.set(setting, value)).collect();
        let reset: Vec<String> = all.map(|(setting, _)| level.reset(setting)).collect();
        everywhere(&mut servers, &set);
        // Verify that the timeouts are in effect.
        wait_until("a session with these timeouts is cancelled", BOUND, || {
            let mut other = cluster.connect_to_node(1);
            let slept = other.batch_execute("SELECT pg_sleep(1)");
            if slept.is_err() { Ok(()) } else { Err(format!("not yet: {level:?}")) }
        });
        let id = begin(&mut client, "t", "node-2");
        assert_eq!(
            wait(&mut client, id),
            "dual_write_back",
            "{level:?}: {}",
            shown(&mut client, id)
        );
        let tries = "SELECT round, tries FROM helios.migration ORDER BY id DESC LIMIT 1";
        assert_eq!(text(&mut client, tries), ["1|0"], "{level:?}: one go");
        client.batch_execute("INSERT INTO t.nokey VALUES (1)").unwrap();
        roll_back(&mut client, id);
        everywhere(&mut servers, &reset);
        wait_until("no session is cancelled any more", BOUND, || {
            let slept = cluster.connect_to_node(1).batch_execute("SELECT pg_sleep(0.4)");
            slept.map_err(|error| error.to_string())
        });
        assert_clean(&cluster, &["t"]);
    }
    let id = crate::switch(&mut client, "t", "node-2");
    finish(&mut client, id);
    let rows = "SELECT (SELECT count(*) FROM t.a), (SELECT count(*) FROM t.nokey)";
    assert_eq!(text(&mut client, rows), ["15000|3"]);
    assert_clean(&cluster, &["t"]);
}
