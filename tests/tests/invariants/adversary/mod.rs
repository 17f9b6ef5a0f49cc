//! An adversary: a role with only CREATE on the database tries everything in `corpus.rs`, on every server
//! and in every phase of a migration. Whatever the results, no privilege, role, owner or row of others may change.

mod abroad;
mod corpus;
mod held;

use std::time::Duration;

use corpus::{ADMINISTRATOR, ATTEMPTS, Attempt, ON_A_NODE, On, SETUP, WRITES};
use helios_tests::{Cluster, wait_until};
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;
use testkit::server::Server;

use crate::{described, value};

/// What must not change on a server. Roles that Helios creates for migrations are exempt as long as they have no privileges.
const FINGERPRINT: &str = "SELECT concat_ws(E'\\n',
    (SELECT string_agg(format('role %s %s %s', rolname, concat(rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls),
                              md5(coalesce(rolpassword, ''))), E'\\n' ORDER BY rolname)
       FROM pg_authid WHERE rolname !~ '^helios_apply_' OR rolsuper OR rolcreaterole OR rolbypassrls),
    (SELECT string_agg(format('member %s of %s', m.member::regrole, m.roleid::regrole), E'\\n' ORDER BY 1)
       FROM (SELECT DISTINCT member, roleid FROM pg_auth_members) m JOIN pg_roles r ON r.oid = m.member WHERE r.rolname !~ '^helios_apply_'),
    (SELECT string_agg(format('setting %s %s %s', setdatabase, setrole, setconfig), E'\\n' ORDER BY 1)
       FROM pg_db_role_setting WHERE setrole <> 'mallory'::regrole OR setconfig::text ~ 'migration_session|coordinator_proof'),
    (SELECT string_agg(format('database %s %s %s', datname, datdba::regrole, datacl), E'\\n' ORDER BY 1) FROM pg_database WHERE datname = current_database()),
    (SELECT string_agg(format('schema %s %s %s', nspname, nspowner::regrole, nspacl), E'\\n' ORDER BY 1) FROM pg_namespace WHERE nspowner <> 'mallory'::regrole
        AND nspname !~ '^(pg_temp|pg_toast_temp|helios_import_|mm$|mp$)'),
    (SELECT string_agg(format('relation %s %s %s %s', c.oid::regclass, c.relowner::regrole, regexp_replace(c.relacl::text, ',?helios_apply_[^,}]*', '', 'g'), c.relnatts), E'\\n' ORDER BY 1)
       FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname IN ('helios', 'victim', 'public') OR c.relname ~ '^helios_'),
    (SELECT string_agg(format('function %s %s %s', p.oid::regprocedure, p.proowner::regrole, p.proacl), E'\\n' ORDER BY 1)
       FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('helios', 'victim', 'public') OR p.proname ~ '^helios_'),
    (SELECT 'owned by others in mallory''s schemas: ' || string_agg(c.oid::regclass::text || ' ' || c.relowner::regrole, ' ' ORDER BY 1)
       FROM pg_class c WHERE c.relnamespace::regnamespace::text IN ('mm', 'mp') AND c.relowner <> 'mallory'::regrole),
    (SELECT 'parameters ' || string_agg(parname || paracl::text, ' ') FROM pg_parameter_acl),
    (SELECT 'languages ' || string_agg(lanname, ' ' ORDER BY 1) FROM pg_language),
    (SELECT 'extensions ' || string_agg(extname || extowner, ' ' ORDER BY 1) FROM pg_extension),
    (SELECT 'event triggers ' || string_agg(evtname || evtowner, ' ' ORDER BY 1) FROM pg_event_trigger),
    (SELECT format('cluster %s %s %s %s', c.id, c.database, c.node_of, md5(s::text)) FROM helios.cluster c, helios.identity s),
    (SELECT 'nodes ' || string_agg(n::text, ' ' ORDER BY id) FROM helios.node n),
    (SELECT 'references ' || string_agg(relation::text, ' ' ORDER BY 1) FROM helios.reference_table),
    (SELECT 'victim ' || count(*) FROM helios.fence WHERE schema = 'victim'),
    (SELECT 'shared ' || string_agg(id::text, ' ' ORDER BY id) FROM public.shared),
    (SELECT 'prepared ' || string_agg(gid, ' ') FROM pg_prepared_xacts WHERE owner <> 'mallory' AND gid !~ '^helios_'))";

/// What must not change on the coordinator, in addition.
const DIRECTORY: &str = "SELECT concat_ws(E'\\n',
    (SELECT string_agg(format('placed %s %s', name, shard), E'\\n' ORDER BY name) FROM helios.schema WHERE name = 'victim'),
    (SELECT 'credentials ' || count(*) FROM helios.credential))";

const VICTIM: &str =
    "SELECT 'rows of victim ' || string_agg(x::text, ' ' ORDER BY x) FROM victim.secret";

const SETTINGS: [&str; 3] =
    ["helios.rollback_window = 3600", "max_worker_processes = 24", "helios.replica_interval = 200"];

struct Stage {
    cluster: Cluster,
    /// The administrator's sessions, one per server, for inspection.
    eyes: Vec<Client>,
    /// mallory's sessions, one per server while open.
    hands: Vec<(Server, Option<Client>)>,
    before: Vec<String>,
    outcomes: Vec<String>,
    /// Maximum time an attempt may wait.
    limits: &'static str,
}

impl Stage {
    fn new() -> Self {
        Self::on(Cluster::with_settings(2, &SETTINGS))
    }

    fn on(cluster: Cluster) -> Self {
        cluster
            .connect()
            .batch_execute(
                "CREATE ROLE mallory LOGIN; GRANT CREATE ON DATABASE helios TO mallory;
                 CREATE ROLE victim LOGIN; CREATE SCHEMA victim DISTRIBUTED ON NODE \"node-1\";
                 CREATE TABLE victim.secret (x int); INSERT INTO victim.secret VALUES (42); CREATE SEQUENCE victim.s;
                 CREATE FUNCTION victim.f(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
                 ALTER SCHEMA victim OWNER TO victim; ALTER TABLE victim.secret OWNER TO victim;
                 CREATE TABLE public.shared (id int PRIMARY KEY); GRANT SELECT, INSERT, UPDATE, DELETE ON public.shared TO PUBLIC;
                 SELECT helios_create_reference_table('public.shared'); INSERT INTO public.shared VALUES (1)",
            )
            .unwrap();
        let mut mallory = cluster.connect_as("mallory");
        mallory.batch_execute(&SETUP.replace("NODE 'node-1'", "NODE \"node-1\"")).unwrap();
        let servers = [cluster.coordinator()].into_iter().chain(cluster.nodes());
        let eyes = servers.map(|server| server.connect(DATABASE).unwrap()).collect();
        let servers = [cluster.coordinator()].into_iter().chain(cluster.nodes());
        let hands = servers.map(|server| (server.clone(), None)).collect();
        let limits = "SET statement_timeout = '5s'; SET lock_timeout = '1s'";
        let (before, outcomes) = (Vec::new(), Vec::new());
        let mut stage = Self { cluster, eyes, hands, before, outcomes, limits };
        stage.before = stage.fingerprint();
        stage
    }

    fn fingerprint(&mut self) -> Vec<String> {
        let mut all: Vec<String> = self
            .eyes
            .iter_mut()
            .map(|client| value(client, FINGERPRINT).unwrap().unwrap())
            .collect();
        all.extend(
            [DIRECTORY, VICTIM].map(|query| value(&mut self.eyes[0], query).unwrap().unwrap()),
        );
        all
    }

    /// Reports what has changed, and the last attempt.
    #[track_caller]
    fn assert_unchanged(&mut self, tried: &str) {
        let now = self.fingerprint();
        let mut changes = Vec::new();
        for (number, (was, is)) in self.before.iter().zip(&now).enumerate() {
            changes.extend(
                is.lines()
                    .filter(|line| !was.contains(line))
                    .map(|l| format!("server {number}: now {l}")),
            );
            changes.extend(
                was.lines()
                    .filter(|line| !is.contains(line))
                    .map(|l| format!("server {number}: no longer {l}")),
            );
        }
        let said =
            self.outcomes.iter().rev().take(30).rev().cloned().collect::<Vec<_>>().join("\n");
        assert!(
            changes.is_empty(),
            "{tried} has changed:\n{}\nthe last attempts:\n{said}",
            changes.join("\n")
        );
    }

    fn attempt(&mut self, phase: &str, attempt: &Attempt) {
        for (number, (server, hand)) in self.hands.iter_mut().enumerate() {
            let on = if number == 0 { On::Coordinator } else { On::Node };
            if attempt.on != on && attempt.on != On::Both {
                continue;
            }
            let client = hand.get_or_insert_with(|| {
                server.config(DATABASE).user("mallory").connect(NoTls).unwrap()
            });
            client.simple_query(self.limits).unwrap();
            let outcome = match client.simple_query(attempt.sql) {
                Ok(_) => "accepted".to_owned(),
                Err(error) if error.as_db_error().is_none() => {
                    format!("the connection is lost: {error}")
                }
                Err(error) => {
                    let (code, text) = described(&error);
                    assert!(!code.starts_with("XX"), "{phase}, {}: {code} {text}", attempt.name);
                    format!("{code} {text}")
                }
            };
            let left =
                client.simple_query("ROLLBACK").and_then(|_| client.simple_query("DISCARD ALL"));
            if left.is_err() {
                *hand = None;
            }
            self.outcomes.push(format!("{phase}, {} on {}: {outcome}", attempt.name, server.name));
        }
    }

    /// Makes all attempts in one phase.
    fn perform(&mut self, phase: &str) {
        for some in ATTEMPTS.chunks(10) {
            some.iter().for_each(|attempt| self.attempt(phase, attempt));
            let last = some.last().map_or("", |attempt| attempt.name);
            self.assert_unchanged(&format!("{phase}: one of the ten up to \"{last}\""));
        }
        let mut mallory = self.cluster.connect_as("mallory");
        mallory.simple_query("SET statement_timeout = '10s'").unwrap();
        let written =
            mallory.simple_query(WRITES).map_or_else(|e| described(&e).1, |_| "done".into());
        self.outcomes.push(format!("{phase}, writes: {written}"));
        let mut admin = self.cluster.connect();
        admin.simple_query("SET statement_timeout = '5s'").unwrap();
        for sql in ADMINISTRATOR {
            let outcome =
                admin.simple_query(sql).map_or_else(|e| described(&e).1, |_| "done".into());
            self.outcomes.push(format!("{phase}, administrator: {sql}: {outcome}"));
            self.assert_no_code_of_mallory_ran_as_another(phase, sql);
        }
        self.assert_unchanged(&format!("{phase}: the administrator's work"));
    }

    #[track_caller]
    fn assert_no_code_of_mallory_ran_as_another(&mut self, phase: &str, sql: &str) {
        let query = "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper";
        for client in &mut self.eyes {
            let found = value(client, query).unwrap();
            let said =
                self.outcomes.iter().rev().take(30).rev().cloned().collect::<Vec<_>>().join("\n");
            assert_eq!(found.as_deref(), Some("postgres"), "{phase}: {sql}\n{said}");
        }
    }

    fn wait_for(&mut self, id: &str, state: &str) {
        let admin = &mut self.eyes[0];
        wait_until(&format!("migration {id} is {state}"), Duration::from_secs(60), || {
            let query = format!(
                "SELECT m.state || ' ' || coalesce(m.error, '') FROM helios.migration m WHERE id = {id}"
            );
            let seen = value(admin, &query).unwrap().unwrap_or_default();
            if seen.starts_with(state) { Ok(()) } else { Err(seen) }
        });
    }

    fn begin(&mut self, sql: &str) -> String {
        value(&mut self.eyes[0], sql).unwrap();
        value(&mut self.eyes[0], "SELECT max(id) FROM helios.migration").unwrap().unwrap()
    }

    fn set_rate(&mut self, rate: &str) {
        for sql in [
            format!("ALTER SYSTEM SET helios.migration_rate = {rate}"),
            "SELECT pg_reload_conf()".into(),
        ] {
            self.eyes[0].simple_query(&sql).unwrap();
        }
    }
}

#[test]
fn an_adversary_gains_nothing_before_and_during_a_copy() {
    let mut stage = Stage::new();
    stage.perform("before the move");
    // So slow that its copy takes long enough.
    stage.set_rate("1");
    let id = stage.begin("SELECT helios_migrate_schema('mm', 'node-2')");
    stage.wait_for(&id, "backfill");
    stage.perform("during the copy");
    stage.eyes[0].simple_query(&format!("SELECT helios_cancel_migration({id})")).unwrap();
    stage.set_rate("0");
    stage.wait_for(&id, "cancelled");
    stage.assert_unchanged("the end of the cancelled move");
}

#[test]
fn an_adversary_gains_nothing_after_a_switch() {
    let mut stage = Stage::new();
    let id = stage.begin("SELECT helios_migrate_schema('mm', 'node-2')");
    stage.wait_for(&id, "dual_write_back");
    stage.perform("after the switch");
    stage.eyes[0].simple_query(&format!("SELECT helios_finish_migration({id})")).unwrap();
    stage.wait_for(&id, "finished");
    stage.assert_unchanged("the end of the move");
    let id = stage.begin("SELECT helios_undistribute_schema('mm')");
    stage.wait_for(&id, "dual_write_back");
    stage.perform("on the way home");
    stage.eyes[0].simple_query(&format!("SELECT helios_finish_migration({id})")).unwrap();
    stage.wait_for(&id, "finished");
    stage.assert_unchanged("the end of the way home");
}

/// DDL on a node is accepted from the coordinator only.
#[test]
fn a_client_of_a_node_defines_nothing_there() {
    let stage = Stage::new();
    let mut mallory =
        stage.cluster.node(1).config(DATABASE).user("mallory").connect(NoTls).unwrap();
    let accepted: Vec<_> = ON_A_NODE
        .iter()
        .filter(|sql| {
            mallory.simple_query("BEGIN").unwrap();
            let accepted = mallory.simple_query(sql).is_ok();
            mallory.simple_query("ROLLBACK").unwrap();
            accepted
        })
        .collect();
    assert!(accepted.is_empty(), "accepted on a node: {accepted:#?}");
}
