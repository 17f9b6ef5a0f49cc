//! Statements over several places take `work_mem` and what rows are under way, on every server, however many rows there are.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use helios_tests::Cluster;
use postgres::NoTls;
use rustix::process::Pid;
use testkit::cluster::DATABASE;
use testkit::processes::{children, status_kb};
use testkit::server::Server;

/// Rows of each table, of 200 bytes and more.
const ROWS: u32 = 200_000;
/// The most private memory that a statement may add to a process: rows are fetched by 4 MB, and sent in as many.
const MOST_KB: u64 = 16 * 1024;

/// The largest growth of private memory among the processes of some servers.
struct Growth<'a> {
    servers: Vec<&'a Server>,
    before: HashMap<Pid, u64>,
    largest: (u64, String),
}

impl<'a> Growth<'a> {
    fn new(servers: Vec<&'a Server>) -> Self {
        let mut growth = Self { servers, before: HashMap::new(), largest: (0, String::new()) };
        growth.before = growth.now().into_iter().map(|(pid, kb, _)| (pid, kb)).collect();
        growth
    }

    fn now(&self) -> Vec<(Pid, u64, String)> {
        let mut all = Vec::new();
        for server in &self.servers {
            for pid in children(server.pid().unwrap()) {
                let kb = status_kb(pid, "RssAnon").unwrap_or(0);
                all.push((pid, kb, server.name.clone()));
            }
        }
        all
    }

    fn look(&mut self) {
        for (pid, kb, name) in self.now() {
            let grown = kb.saturating_sub(self.before.get(&pid).copied().unwrap_or(0));
            if grown > self.largest.0 {
                self.largest = (grown, format!("process {} of {name}", pid.as_raw_nonzero()));
            }
        }
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_rows() {
    let cluster = Cluster::start(2);
    let mut client = cluster.coordinator().config(DATABASE).connect(NoTls).unwrap();
    client
        .batch_execute(
            "CREATE SCHEMA ma DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA mb DISTRIBUTED ON NODE \"node-2\"",
        )
        .unwrap();
    for table in ["ma.big", "mb.big", "public.big"] {
        client
            .batch_execute(&format!(
                "CREATE TABLE {table} (id int, k int, s text); \
                 INSERT INTO {table} SELECT g, g % 1000, repeat(md5(g::text), 6) FROM generate_series(1, {ROWS}) g; ANALYZE {table}"
            ))
            .unwrap();
    }
    client
        .batch_execute(
            "CREATE TABLE ma.copy (id int, s text); CREATE TABLE public.copy (id int, s text); SET work_mem = '1MB'; SET jit = off",
        )
        .unwrap();
    let statements = [
        "SELECT count(*), max(a.s || b.s) FROM ma.big a JOIN mb.big b USING (id)",
        "SET enable_hashjoin = off; SET enable_mergejoin = off; SELECT count(*) FROM (SELECT * FROM public.big WHERE id <= 3) l JOIN ma.big a ON a.k + l.id = 7 AND length(a.s) > l.k; RESET enable_hashjoin; RESET enable_mergejoin",
        "SELECT count(*) FROM (SELECT s FROM ma.big UNION SELECT s FROM mb.big UNION SELECT s FROM public.big) x",
        "SELECT s, id FROM (SELECT * FROM ma.big UNION ALL SELECT * FROM mb.big) x ORDER BY s DESC OFFSET 399990",
        "SELECT count(*) FROM (SELECT k, array_agg(id) AS ids, row_number() OVER (ORDER BY k) FROM (SELECT * FROM ma.big UNION ALL SELECT * FROM public.big) x GROUP BY k) y",
        "INSERT INTO ma.copy SELECT id, s FROM mb.big",
        "INSERT INTO public.copy SELECT a.id, a.s FROM ma.big a JOIN public.big b USING (id)",
        "UPDATE ma.copy SET s = l.s FROM public.big l WHERE l.id = ma.copy.id AND l.k < 500",
        "BEGIN; DECLARE c CURSOR FOR SELECT a.s, b.s FROM ma.big a, mb.big b WHERE a.id = b.id; MOVE 150000 IN c; MOVE ALL IN c; COMMIT",
        "WITH gone AS (DELETE FROM ma.copy RETURNING *) SELECT count(gone.s) FROM gone JOIN public.big USING (id)",
    ];
    let servers: Vec<&Server> =
        std::iter::once(cluster.coordinator()).chain(cluster.nodes()).collect();
    for sql in statements {
        client.batch_execute("SELECT 1").unwrap();
        let mut growth = Growth::new(servers.clone());
        let ended = AtomicBool::new(false);
        let result = thread::scope(|scope| {
            let watch = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    growth.look();
                    thread::sleep(Duration::from_millis(20));
                }
            });
            let result = client.batch_execute(sql);
            ended.store(true, Ordering::Relaxed);
            watch.join().unwrap();
            result
        });
        result.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let (grown, process) = growth.largest;
        println!("{grown:>7} kB, {process}: {sql}");
        assert!(grown < MOST_KB, "{grown} kB more in {process}: {sql}");
    }
}
