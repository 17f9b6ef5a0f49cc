//! Schemas of a plain PostgreSQL server, which does not know Helios, are imported while in use.

mod bad_input;
mod contents;
mod crashes;
mod passwords;
mod requests;
mod under_load;

use helios_tests::{BOUND, Cluster, PlainServer, pg, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::postgres::Postgres;
use testkit::server::{HOST, ROLE};

use crate::{assert_clean, shown, text, wait};

/// A server outside of the cluster.
pub struct Abroad(pub PlainServer);

impl Abroad {
    pub fn start() -> Self {
        Self::with_settings(&["max_prepared_transactions = 0"])
    }

    /// Starts one with additional configuration lines. `HELIOS_FOREIGN_PG` selects another version than the cluster's.
    fn with_settings(settings: &[&str]) -> Self {
        let major = std::env::var("HELIOS_FOREIGN_PG").map(|major| major.parse().unwrap());
        let pg = major.map_or_else(|_| pg(), |major| Postgres::require(major).unwrap());
        Self(PlainServer::with_settings(&pg, settings))
    }

    pub fn connect(&self) -> Client {
        self.0.connect()
    }

    pub fn conninfo(&self) -> String {
        format!("host={HOST} port={} dbname={DATABASE} user={ROLE}", self.0.server.port)
    }

    /// Asserts that nothing of any import is left here.
    #[track_caller]
    fn assert_clean(&self) {
        let mut client = self.connect();
        wait_until("nothing of an import is left on the foreign server", BOUND, || {
            let left = text(&mut client, TRACES);
            if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
        });
    }
}

const TRACES: &str = "SELECT 'slot ' || slot_name FROM pg_replication_slots \
    UNION ALL SELECT 'subscription ' || subname FROM pg_subscription \
    UNION ALL SELECT 'publication ' || pubname FROM pg_publication \
    UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin \
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE 'helios%' \
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE 'helios%' \
    UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger \
    UNION ALL SELECT 'identity of ' || oid::regclass FROM pg_class WHERE relreplident <> 'd' \
                AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'pg_toast'::regnamespace) \
                AND relkind IN ('r', 'p') AND relname !~ 'identity' \
    UNION ALL SELECT 'session ' || application_name || ': ' || query FROM pg_stat_activity \
               WHERE application_name LIKE 'helios%'";

/// Starts an import.
fn begin(client: &mut Client, from: &str, schema: &str, node: &str) -> i64 {
    let query = "SELECT helios_import_schema($1, $2, $3)";
    let begun = client.query_one(query, &[&from, &schema, &node]);
    begun.unwrap_or_else(|error| panic!("{error:?}")).get(0)
}

/// Imports up to the switch.
#[track_caller]
pub fn switch(client: &mut Client, abroad: &Abroad, schema: &str, node: &str) -> i64 {
    let id = begin(client, &abroad.conninfo(), schema, node);
    assert_eq!(wait(client, id), "dual_write_back", "{}", shown(client, id));
    id
}

/// Asserts the state after an import that left nothing: no schema here, none on the nodes.
#[track_caller]
fn assert_gone(cluster: &Cluster, schema: &str) {
    assert_clean(cluster, &[]);
    for number in 0..=cluster.nodes().len() {
        let mut client =
            if number == 0 { cluster.connect() } else { cluster.connect_to_node(number) };
        let there = "SELECT nspname::text FROM pg_namespace WHERE nspname = $1 OR nspname LIKE 'helios\\_%'";
        let there = client.query(there, &[&schema]).unwrap();
        assert!(there.is_empty(), "on server {number}: {:?}", there[0].get::<_, String>(0));
    }
    let known = "SELECT count(*) FROM helios.schema WHERE name = $1";
    let known: i64 = cluster.connect().query_one(known, &[&schema]).unwrap().get(0);
    assert_eq!(known, 0);
}

/// Waits until the migration's row contains these words.
#[track_caller]
fn reaches(client: &mut Client, id: i64, words: &str) {
    wait_until(&format!("the migration shows \"{words}\""), BOUND, || {
        let seen = shown(client, id);
        if seen.contains(words) { Ok(()) } else { Err(seen) }
    });
}

/// Waits until the migration is in this state.
#[track_caller]
fn reaches_state(client: &mut Client, id: i64, state: &str) {
    wait_until(&format!("the migration is in state {state}"), BOUND, || {
        let query = "SELECT state FROM helios.migration WHERE id = $1";
        let now: String = client.query_one(query, &[&id]).unwrap().get(0);
        if now == state { Ok(()) } else { Err(shown(client, id)) }
    });
}
