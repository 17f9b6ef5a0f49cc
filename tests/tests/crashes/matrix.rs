//! The crash matrix: each fault at each failpoint. Afterwards both parts are committed or neither is, and within the
//! time limit nothing is prepared, locked or open that should not be.

use std::collections::BTreeSet;

use helios_tests::{Cluster, Proxy, Wire, descriptors, kill, wait_until};
use rustix::process::Pid;
use testkit::cluster::DATABASE;
use testkit::server::Server;

use crate::{RECOVERED, add_to, prepared, settled, tables};

/// The fault at the failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The step raises an error.
    Error,
    /// The process at the failpoint is killed by SIGKILL, which restarts the server's other processes.
    Backend,
    /// The coordinator is killed with all its processes.
    Coordinator,
    /// The first node is killed with all its processes.
    Node,
    /// The connections to the first node are cut.
    Cut,
}

/// The operation in which a failpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// A transaction on both nodes and this server.
    Everywhere,
    /// The same, failing when the second node prepares.
    Refused,
    /// The same, rolled back by the client.
    RolledBack,
    /// The same, prepared by the client and committed afterwards if PREPARE succeeded.
    UserPrepare,
    /// COMMIT PREPARED of such a transaction.
    UserCommit,
    /// ROLLBACK PREPARED of such a transaction.
    UserRollback,
    /// A transaction that writes on the first node and reads on the second.
    One,
    /// A transaction that only reads.
    Reads,
    /// An UPDATE on the first node with rows of this server and of the second, then changes elsewhere.
    UpdateFrom,
    /// An INSERT on the second node of rows of the first, then changes elsewhere.
    InsertSelect,
    /// The same INSERT alone.
    InsertAlone,
    /// DDL, in a block with the transaction on both nodes.
    Definition,
    /// Recovery of a transaction that was committed here.
    RecoverCommitted,
    /// Recovery of a transaction that was not.
    RecoverAborted,
}

const PLACES: &[(&str, Work)] = &[
    ("connect.before", Work::Everywhere),
    ("connect.after", Work::Everywhere),
    ("commit.before", Work::One),
    ("commit.sent", Work::One),
    ("commit.after", Work::One),
    ("release.before", Work::Reads),
    ("release.sent", Work::Reads),
    ("release.after", Work::Reads),
    ("release.before", Work::One),
    ("release.sent", Work::One),
    ("release.after", Work::One),
    ("prepare.before", Work::Everywhere),
    ("prepare.next", Work::Everywhere),
    ("prepare.sent", Work::Everywhere),
    ("prepare.after", Work::Everywhere),
    ("record.after", Work::Everywhere),
    ("commit_prepared.before", Work::Everywhere),
    ("commit_prepared.next", Work::Everywhere),
    ("commit_prepared.sent", Work::Everywhere),
    ("commit_prepared.after", Work::Everywhere),
    ("prepare.before", Work::UserPrepare),
    ("prepare.next", Work::UserPrepare),
    ("prepare.sent", Work::UserPrepare),
    ("prepare.after", Work::UserPrepare),
    ("record.after", Work::UserPrepare),
    ("user_prepare.after", Work::UserPrepare),
    ("recovery.before", Work::UserCommit),
    ("recovery.listed", Work::UserCommit),
    ("recovery_commit.before", Work::UserCommit),
    ("recovery_commit.after", Work::UserCommit),
    ("recovery.before", Work::UserRollback),
    ("recovery.listed", Work::UserRollback),
    ("recovery_rollback.before", Work::UserRollback),
    ("recovery_rollback.after", Work::UserRollback),
    ("rollback.before", Work::RolledBack),
    ("rollback.after", Work::RolledBack),
    ("rollback_prepared.before", Work::Refused),
    ("rollback_prepared.after", Work::Refused),
    ("recovery.before", Work::RecoverCommitted),
    ("recovery.listed", Work::RecoverAborted),
    ("recovery_commit.before", Work::RecoverCommitted),
    ("recovery_commit.after", Work::RecoverCommitted),
    ("recovery_rollback.before", Work::RecoverAborted),
    ("recovery_rollback.after", Work::RecoverAborted),
    ("recovery_forget.before", Work::RecoverCommitted),
    ("recovery_forget.after", Work::RecoverCommitted),
    ("ship.before", Work::UpdateFrom),
    ("ship.sent", Work::UpdateFrom),
    ("forget_rows.before", Work::UpdateFrom),
    ("ship.before", Work::InsertSelect),
    ("ship.sent", Work::InsertSelect),
    ("forget_rows.before", Work::InsertSelect),
    ("ship.before", Work::InsertAlone),
    ("ship.sent", Work::InsertAlone),
    ("forget_rows.before", Work::InsertAlone),
    ("definition.before", Work::Definition),
    ("definition.local", Work::Definition),
    ("definition.after", Work::Definition),
    ("definition_send.before", Work::Definition),
    ("definition_send.after", Work::Definition),
];

/// Adds one to row 1 on the first node; the condition needs rows of the other servers, which are sent there.
const UPDATE_FROM: &str = "UPDATE one.t SET x = one.t.x + 1 FROM here.t AS h, two.t AS w \
     WHERE h.id = one.t.id AND w.id = h.id AND h.id = 1";
/// The same here, with rows of both nodes.
const UPDATE_HERE: &str = "UPDATE here.t SET x = here.t.x + 1 FROM one.t AS o, two.t AS w WHERE o.id = here.t.id AND w.id = o.id AND o.id = 1";
/// Adds one to row 1 on the second node, for a row of the first.
const INSERT_SELECT: &str = "INSERT INTO two.t AS t SELECT id, x FROM one.t WHERE id = 1 \
     ON CONFLICT (id) DO UPDATE SET x = t.x + 1";

/// One cluster for all cases of a fault.
struct Stage {
    cluster: Cluster,
    proxy: Proxy,
    fault: Fault,
    /// Sessions and file descriptors before the first case.
    at_rest: usize,
}

#[test]
fn every_place_is_in_the_matrix() {
    let cluster = Cluster::with_failpoints(1, &[]);
    // Those of migrations have a separate matrix.
    let known: BTreeSet<String> =
        cluster.failpoints().into_iter().filter(|name| !name.starts_with("migration.")).collect();
    let tried = PLACES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(known, tried);
}

#[test]
fn errors_at_every_place() {
    run(Fault::Error);
}

#[test]
fn backends_killed_at_every_place() {
    run(Fault::Backend);
}

#[test]
fn coordinators_killed_at_every_place() {
    run(Fault::Coordinator);
}

#[test]
fn nodes_killed_at_every_place() {
    run(Fault::Node);
}

#[test]
fn connections_cut_at_every_place() {
    run(Fault::Cut);
}

fn run(fault: Fault) {
    let settings = ["helios.recovery_interval = '500ms'"];
    let cluster = Cluster::with_failpoints(2, &settings);
    let mut client = tables(&cluster);
    let late = "CREATE TABLE two.late (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)";
    client.batch_execute(&format!("{late}; CREATE TABLE one.old (i int)")).unwrap();
    drop(client);
    let proxy = Proxy::of_node(&cluster, 1);
    let mut stage = Stage { cluster, proxy, fault, at_rest: 0 };
    stage.at_rest = stage.open_files();
    let only = std::env::var("HELIOS_PLACE").unwrap_or_default();
    for &(place, work) in PLACES {
        if place.contains(&only) {
            eprintln!("{fault:?} at {place} ({work:?})");
            stage.case(place, work);
        }
    }
}

impl Stage {
    fn case(&self, place: &str, work: Work) {
        let before = self.rows();
        match work {
            Work::RecoverCommitted | Work::RecoverAborted => self.recover(place, work),
            _ => self.transact(place, work),
        }
        self.cluster.start_all(RECOVERED);
        self.look_for_prepared_every("500ms");
        for name in self.cluster.failpoints() {
            self.cluster.failpoint(&name, "off", 0, 0);
        }
        let was_prepared = self.commit_prepared_by_user();
        settled(&self.cluster);
        self.nothing_is_held();
        let after = self.rows();
        let grown: Vec<i32> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        let whole = match work {
            Work::One => grown[1..] == [0, 0] && (0..=1).contains(&grown[0]),
            Work::Reads | Work::Refused | Work::RolledBack => grown == [0, 0, 0],
            Work::RecoverCommitted => grown == [1, 1, 1],
            Work::Everywhere if place.starts_with("commit_prepared") => grown == [1, 1, 1],
            Work::RecoverAborted | Work::UserRollback => grown == [0, 0, 0],
            Work::UserCommit => grown == [1, 1, 1],
            Work::UserPrepare if was_prepared => grown == [1, 1, 1],
            Work::UserPrepare => grown == [0, 0, 0] && place != "user_prepare.after",
            Work::InsertAlone => grown == [0, 0, 0] || grown == [0, 1, 0],
            Work::Everywhere | Work::UpdateFrom | Work::InsertSelect | Work::Definition => {
                grown == [0, 0, 0] || grown == [1, 1, 1]
            }
        };
        assert!(whole, "{:?} at {place}: rows changed by {grown:?}", self.fault);
        self.same_definitions();
    }

    /// Runs a transaction into the fault.
    fn transact(&self, place: &str, work: Work) {
        let everywhere = add_to(&["one", "two", "here"]);
        let block = everywhere.strip_suffix("COMMIT").unwrap();
        let sql = match work {
            Work::UserPrepare => format!("{block} PREPARE TRANSACTION 'user'"),
            Work::UserCommit | Work::UserRollback => {
                // The worker does the same; it must not come first.
                self.look_for_prepared_every("1h");
                let mut client = self.cluster.connect();
                client.batch_execute(&format!("{block} PREPARE TRANSACTION 'user'")).unwrap();
                let verb = if work == Work::UserCommit { "COMMIT" } else { "ROLLBACK" };
                format!("{verb} PREPARED 'user'")
            }
            Work::Refused => format!("{block} INSERT INTO two.late VALUES (1), (1); COMMIT"),
            Work::RolledBack => format!("{block} ROLLBACK"),
            Work::One => {
                "BEGIN; SELECT 1 FROM two.t; UPDATE one.t SET x = x + 1 WHERE id = 1; COMMIT".into()
            }
            Work::Reads => "BEGIN; SELECT 1 FROM two.t; SELECT 1 FROM one.t; COMMIT".into(),
            Work::UpdateFrom => {
                format!("BEGIN; {UPDATE_FROM}; {UPDATE_HERE}; {INSERT_SELECT}; COMMIT")
            }
            Work::InsertSelect => {
                format!("BEGIN; {INSERT_SELECT}; {UPDATE_HERE}; {UPDATE_FROM}; COMMIT")
            }
            Work::InsertAlone => INSERT_SELECT.to_owned(),
            Work::Definition => {
                let table = "CREATE TABLE one.made (i int); DROP TABLE one.old; \
                             ALTER TABLE one.made RENAME TO old;";
                format!("{block} {table} COMMIT")
            }
            _ => everywhere,
        };
        let mut wire = Wire::connect(self.cluster.coordinator(), DATABASE);
        self.arm(place, wire.pid);
        wire.send_simple(&sql).unwrap();
        let pid = Pid::from_raw(wire.pid).unwrap();
        self.strike(place, Some(pid), 0);
        // Whatever the client is told, the final state is checked; the coordinator's exit is one of the possible responses.
        let _ = wire.until_ready(None);
        let _ = wire.simple("ROLLBACK", None);
    }

    /// Sets the worker's interval.
    fn look_for_prepared_every(&self, interval: &str) {
        let mut client = self.cluster.connect();
        let set = format!("ALTER SYSTEM SET helios.recovery_interval = '{interval}'");
        client.batch_execute(&set).unwrap();
        client.batch_execute("SELECT pg_reload_conf()").unwrap();
        wait_until("the configuration is read", RECOVERED, || {
            let query = "SELECT (setting || ' ms')::interval = $1::text::interval FROM pg_settings \
                         WHERE name = 'helios.recovery_interval'";
            let read: bool = client.query_one(query, &[&interval]).unwrap().get(0);
            if read { Ok(()) } else { Err("not yet".to_owned()) }
        });
    }

    /// Commits the transaction left prepared by a user; returns false if there is none.
    fn commit_prepared_by_user(&self) -> bool {
        let mut client = self.cluster.connect();
        let query = "SELECT FROM pg_prepared_xacts WHERE gid = 'user'";
        let there = !client.query(query, &[]).unwrap().is_empty();
        if there {
            client.batch_execute("COMMIT PREPARED 'user'").unwrap();
        }
        there
    }

    /// Leaves a transaction prepared on both nodes, and lets the worker run into the fault.
    fn recover(&self, place: &str, work: Work) {
        let (stop, goes_on) = match work {
            Work::RecoverCommitted => ("commit_prepared.before", "error"),
            _ => ("rollback_prepared.before", "error"),
        };
        let deaths = self.cluster.deaths();
        self.arm(place, 0);
        let mut wire = Wire::connect(self.cluster.coordinator(), DATABASE);
        self.cluster.failpoint(stop, goes_on, 0, wire.pid);
        if work == Work::RecoverAborted {
            self.cluster.failpoint("record.after", "error", 0, wire.pid);
        }
        let sql = add_to(&["one", "two", "here"]);
        // This fails for one of the operations; and the worker may die quickly, and take this session along.
        let _ = wire.simple(&sql, None);
        self.strike(place, None, deaths);
    }

    fn arm(&self, place: &str, process: i32) {
        let action = match self.fault {
            Fault::Error => "error",
            Fault::Backend if process == 0 => "die",
            _ => "hang",
        };
        // A worker must succeed when it tries again.
        self.cluster.failpoint(place, action, 1, process);
    }

    /// Waits until the failpoint is reached, and causes the fault. `process` is the one waiting there; without it,
    /// a worker is killed by itself, which increases `deaths`.
    fn strike(&self, place: &str, process: Option<Pid>, deaths: usize) {
        if self.fault == Fault::Backend && process.is_none() {
            return self.cluster.wait_for_death(place, deaths, RECOVERED);
        }
        self.cluster.wait_for_failpoint(place, RECOVERED);
        match self.fault {
            Fault::Error => {}
            Fault::Backend => kill(process.unwrap()),
            Fault::Coordinator => self.cluster.coordinator().kill().unwrap(),
            Fault::Node => self.cluster.kill_node(1),
            Fault::Cut => self.proxy.cut(),
        }
        if matches!(self.fault, Fault::Node | Fault::Cut) {
            self.cluster.failpoint(place, "off", 0, 0);
        }
    }

    /// Asserts that no locks except the query's own, no sessions on nodes, and no open files are left, on any server.
    fn nothing_is_held(&self) {
        let cluster = &self.cluster;
        for server in cluster.nodes().iter().chain([cluster.coordinator()]) {
            wait_until(&format!("{} is at rest", server.name), RECOVERED, || {
                let held = held(server)?;
                if held.is_empty() { Ok(()) } else { Err(held.join("; ")) }
            });
        }
        let most = self.at_rest + 4;
        wait_until("no descriptors are left open", RECOVERED, || {
            let open = self.open_files();
            if open <= most { Ok(()) } else { Err(format!("{open}, {most} at most")) }
        });
        assert_eq!(prepared(cluster), Vec::<String>::new());
    }

    /// File descriptors of the postmasters, which outlive every transaction.
    fn open_files(&self) -> usize {
        let servers = self.cluster.nodes().iter().chain([self.cluster.coordinator()]);
        servers.map(|server| descriptors(server.pid().unwrap())).sum()
    }

    /// Row 1 on each server, queried directly: sessions through the coordinator would stay on the nodes.
    fn rows(&self) -> [i32; 3] {
        let query = |server: &Server, schema: &str| -> i32 {
            let query = format!("SELECT x FROM {schema}.t WHERE id = 1");
            server.connect(DATABASE).unwrap().query_one(&query, &[]).unwrap().get(0)
        };
        let cluster = &self.cluster;
        [
            query(cluster.node(1), "one"),
            query(cluster.node(2), "two"),
            query(cluster.coordinator(), "here"),
        ]
    }

    /// Asserts that tables of the schema have the same columns here and on its node.
    fn same_definitions(&self) {
        let query = "SELECT coalesce(string_agg(format('%s.%s', c.relname, a.attname), ' ' \
                     ORDER BY c.relname, a.attnum), '') FROM pg_class c JOIN pg_attribute a \
                     ON a.attrelid = c.oid WHERE c.relnamespace = 'one'::regnamespace \
                     AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind = 'r'";
        let ask = |server: &Server| -> String {
            server.connect(DATABASE).unwrap().query_one(query, &[]).unwrap().get(0)
        };
        let (here, there) = (ask(self.cluster.coordinator()), ask(self.cluster.node(1)));
        assert_eq!(here, there, "definitions here and on the node");
    }
}

/// Locks and sessions of others on a server, except those of the query itself.
fn held(server: &Server) -> Result<Vec<String>, String> {
    let mut client = server.connect(DATABASE).map_err(|error| format!("{error:#}"))?;
    let query = "SELECT format('lock %s %s %s', locktype, mode, pid) FROM pg_locks \
                 WHERE pid IS DISTINCT FROM pg_backend_pid() AND locktype <> 'virtualxid' \
                 UNION ALL SELECT format('session %s %s', state, query) FROM pg_stat_activity \
                 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let rows = client.query(query, &[]).map_err(|error| error.to_string())?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
