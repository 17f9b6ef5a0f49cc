//! A cluster whose tenants' code records in the servers' logs who runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use helios_tests::Cluster;
use postgres::Client;
use testkit::server::HOST;

const SETTINGS: [&str; 6] = [
    // Planning evaluates constant expressions in checks, too.
    "constraint_exclusion = on",
    "max_worker_processes = 32",
    "helios.rollback_window = 3600",
    "helios.recovery_interval = '500ms'",
    "helios.replica_interval = 100",
    "helios.health_interval = 500",
];

const CODE: &str = include_str!("code.sql");

/// Kinds of code that run when rows are written or read.
pub const OF_TABLES: [&str; 10] = [
    "check",
    "constant check",
    "default",
    "generated column",
    "domain",
    "index",
    "constant index",
    "predicate",
    "operator",
    "sql function",
];

/// Casts.
pub const CASTS: [&str; 4] =
    ["cast of an enum", "cast of a composite", "cast of an enum to jsonb", "cast of a row"];

/// Additional kinds for schemas.
pub const OF_SCHEMAS: [&str; 20] = [
    "subtype difference",
    "statistics",
    "constant statistics",
    "constant predicate",
    "aggregate",
    "policy",
    "rule",
    "partition key",
    "view",
    "view with a sequence",
    "materialized view",
    "index of a materialized view",
    "trigger o_before_row",
    "trigger o_after_row",
    "trigger o_before_statement",
    "trigger o_after_statement",
    "trigger a_before_row",
    "trigger a_after_row",
    "trigger a_before_statement",
    "trigger a_after_statement",
];

/// One call of a tenant's code.
pub struct Call {
    server: String,
    kind: String,
    user: String,
    session: String,
    superuser: bool,
}

pub struct Watched {
    pub cluster: Cluster,
    pub admin: Client,
    pub tenant: Client,
    read: BTreeMap<PathBuf, usize>,
    seen: BTreeSet<String>,
    written: i32,
}

impl Watched {
    pub fn start(nodes: usize) -> Self {
        let cluster = Cluster::with_settings(nodes, &SETTINGS);
        let mut admin = cluster.connect();
        admin
            .batch_execute("CREATE ROLE tenant LOGIN; GRANT CREATE ON DATABASE helios TO tenant")
            .unwrap();
        let tenant = cluster.connect_as("tenant");
        let (read, seen) = (BTreeMap::new(), BTreeSet::new());
        Self { cluster, admin, tenant, read, seen, written: 100 }
    }

    /// Creates a schema with code of every kind.
    pub fn tenant(&mut self, schema: &str) {
        self.tenant.batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
        self.define(schema);
    }

    pub fn define(&mut self, schema: &str) {
        let code = Self::code(schema);
        self.tenant.batch_execute(&code).unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// The statements that create such a schema's code and tables.
    pub fn code(schema: &str) -> String {
        let mut code = CODE.replace('@', schema);
        for table in ["fired", "guarded"] {
            for (state, enable) in
                [("o", "ENABLE"), ("a", "ENABLE ALWAYS"), ("r", "ENABLE REPLICA")]
            {
                for time in ["before", "after"] {
                    for level in ["row", "statement"] {
                        let name = format!("{state}_{time}_{level}");
                        code.push_str(&format!(
                            "CREATE TRIGGER {name} {time} INSERT OR UPDATE OR DELETE ON {schema}.{table} \
                             FOR EACH {level} EXECUTE FUNCTION {schema}.fires(); \
                             ALTER TABLE {schema}.{table} {enable} TRIGGER {name};"
                        ));
                    }
                }
            }
        }
        code
    }

    /// Everything that a tenant does with its tables.
    pub fn write(&mut self, schema: &str) {
        self.written += 1;
        let work = "INSERT INTO @.a (id, x, o) VALUES (-#, #, #); UPDATE @.a SET x = x + 1, r = '[2,7)' WHERE id = -#; \
            INSERT INTO @.fired VALUES (1, -#); INSERT INTO @.keyless VALUES (#); DELETE FROM @.a WHERE id = -#; \
            INSERT INTO @.unlogged VALUES (#); INSERT INTO @.guarded VALUES (#, #); UPDATE @.guarded SET x = 1 WHERE id = #; \
            INSERT INTO @.ruled VALUES (#); INSERT INTO @.parted VALUES (1, #); UPDATE @.parted SET x = x + 1 WHERE x = #; \
            SELECT count(t), count(x) FROM @.v; SELECT count(x) FROM @.numbered; REFRESH MATERIALIZED VIEW @.m; \
            SELECT count(e::text), count(c::text), count(a::text) FROM @.a";
        let work = work.replace('@', schema).replace('#', &self.written.to_string());
        self.tenant.batch_execute(&work).unwrap_or_else(|error| panic!("{error:?}"));
    }

    /// Uses casts that would be errors without those of the schema.
    pub fn cast(&mut self, schema: &str) {
        self.tenant.batch_execute(&format!("SELECT count(e::jsonb) FROM {schema}.a")).unwrap();
    }

    /// Everything that an administrator does with a schema in place.
    pub fn maintain(&mut self, schema: &str) {
        for work in [
            "ANALYZE @.a",
            "VACUUM ANALYZE @.a, @.guarded",
            "VACUUM FULL @.a",
            "REINDEX SCHEMA @",
            "CLUSTER @.a USING a_pkey",
            "REFRESH MATERIALIZED VIEW @.m",
            "SELECT helios_measure_sizes()",
            "SELECT * FROM helios_schema_statistics",
            "SELECT * FROM helios_check_cluster()",
            "SELECT * FROM helios_rebalance_plan()",
            "SELECT * FROM helios_balance()",
            "SELECT * FROM helios_nodes",
            "SELECT helios_cluster_stats()",
        ] {
            let work = work.replace('@', schema);
            self.admin.simple_query(&work).unwrap_or_else(|error| panic!("{work}: {error:?}"));
        }
    }

    pub fn node_address(&self, number: usize) -> (&'static str, u16) {
        (HOST, self.cluster.node(number).port)
    }

    /// Runs an operation, and asserts that the tenant's code run by it runs as the tenant, or as a role with only the
    /// tenant's privileges.
    #[track_caller]
    pub fn phase(&mut self, name: &str, work: impl FnOnce(&mut Self)) {
        work(self);
        let calls = self.calls();
        self.seen.extend(calls.iter().map(|call| call.kind.clone()));
        let right = |call: &Call| {
            !call.superuser && (call.user == "tenant" || call.user.starts_with("helios_apply_"))
        };
        let wrong: BTreeSet<String> = calls
            .iter()
            .filter(|call| !right(call))
            .map(|Call { server, kind, user, session, superuser }| {
                format!("{kind} as {user} (session {session}, superuser {superuser}) on {server}")
            })
            .collect();
        assert!(wrong.is_empty(), "phase \"{name}\": {wrong:#?}");
    }

    /// Asserts that every kind of code ran somewhere: otherwise the test would prove nothing.
    #[track_caller]
    pub fn assert_seen(&self, kinds: &[&str]) {
        let missing: Vec<_> = kinds.iter().filter(|kind| !self.seen.contains(**kind)).collect();
        assert!(missing.is_empty(), "never ran: {missing:?}");
    }

    /// What the servers have logged since the last call.
    pub fn calls(&mut self) -> Vec<Call> {
        let mut calls = Vec::new();
        let servers = self.cluster.nodes().iter().chain([self.cluster.coordinator()]);
        for server in servers {
            let log = std::fs::read(server.log()).unwrap();
            let from = self.read.insert(server.log(), log.len()).unwrap_or(0);
            for line in String::from_utf8_lossy(&log[from..]).lines() {
                let Some((_, told)) = line.split_once("LOG:  WHO<") else { continue };
                let told: Vec<&str> = told.trim_end_matches('>').split('|').collect();
                let [kind, user, session, superuser] = told[..] else { panic!("{line}") };
                calls.push(Call {
                    server: server.name.clone(),
                    kind: kind.to_owned(),
                    user: user.to_owned(),
                    session: session.to_owned(),
                    superuser: superuser != "f",
                });
            }
        }
        calls
    }
}
