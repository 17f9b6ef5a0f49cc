//! Whatever happens to a session, it leaks no descriptors or sessions; and however much data passes through
//! it, it leaks no memory.

use helios_tests::{BOUND, Bound, Cluster, Event, Wire, wait_until};

use crate::{assert_usable, cluster_with_table, wait_for_silence, wire};

/// Resources of a session: file descriptors of its backend here, sessions on the node. PostgreSQL
/// itself keeps files of tables and of the WAL open as it likes: those are not counted.
fn held(cluster: &Cluster, wire: &Wire) -> (Vec<String>, usize) {
    let data = cluster.coordinator().data.to_string_lossy().into_owned();
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", wire.pid)).unwrap();
    let targets = descriptors.map(|entry| std::fs::read_link(entry.unwrap().path()).unwrap());
    // Sockets have unique numbers: only their count matters.
    let kind = |path: String| path.split(":[").next().unwrap_or_default().to_owned();
    let mut open: Vec<String> = targets
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| !target.starts_with(&data))
        .map(kind)
        .collect();
    open.sort();
    (open, cluster.node_sessions(1).len())
}

/// The session's resources return to what they were: immediately, or once the node has noticed
/// that sessions were closed.
#[track_caller]
fn assert_holds_as(before: &(Vec<String>, usize), cluster: &Cluster, wire: &Wire) {
    wait_until("as many descriptors and sessions on the node as before", BOUND, || {
        let now = held(cluster, wire);
        if now == *before { Ok(()) } else { Err(format!("{now:?} instead of {before:?}")) }
    });
}

/// Waits until the node has no sessions of clients that are gone.
fn wait_until_alone(cluster: &Cluster) {
    wait_until("the node's sessions end", BOUND, || {
        let left = cluster.node_sessions(1);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn thousand_aborted_statements_leak_nothing() {
    let (cluster, client) = cluster_with_table("l");
    drop(client);
    wait_until_alone(&cluster);
    let mut wire = wire(&cluster);
    // Fail once in each way, to allocate what is kept permanently.
    let round = |wire: &mut Wire, i: usize| {
        let statements = [
            "SELECT 1 / (x - 500) FROM l.t ORDER BY x",
            "INSERT INTO l.t VALUES (1)",
            "BEGIN; INSERT INTO l.t VALUES (2000); INSERT INTO l.t VALUES (1); COMMIT",
            "BEGIN; SAVEPOINT a; SELECT x / 0 FROM l.t; ROLLBACK TO a; ROLLBACK",
            "BEGIN; DECLARE c CURSOR FOR SELECT 1 / (x - 5) FROM l.t ORDER BY x; FETCH 10 FROM c",
            "DO $$ BEGIN PERFORM 1 / (x - 1) FROM l.t; END $$",
            "COPY l.t FROM STDIN",
            "COPY (SELECT 1 / (x - 900) FROM l.t ORDER BY x) TO STDOUT",
            "SELECT nothing FROM l.t",
            "CREATE TABLE l.made (x int CHECK (x > 1)); INSERT INTO l.made VALUES (1)",
        ];
        let sql = statements[i % statements.len()];
        let mut events = wire.simple(sql, None).unwrap();
        events.extend(wire.simple("ROLLBACK; SET client_min_messages = error", None).unwrap());
        assert!(events.iter().any(|event| event.field('S') == Some("ERROR")), "{sql}: {events:?}");
        // With the extended protocol, too, leaving a portal suspended.
        let bound = Bound { values: vec![Some("0")], ..Bound::default() };
        wire.parse("", "SELECT x / $1 FROM l.t", &[]).unwrap();
        wire.bind("", "", &bound).unwrap();
        wire.execute("", 10).unwrap();
        let events = wire.sync().unwrap();
        assert!(events.iter().any(|event| event.field('C') == Some("22012")), "{events:?}");
    };
    (0..20).for_each(|i| round(&mut wire, i));
    wait_for_silence(&cluster);
    let before = held(&cluster, &wire);
    (0..500).for_each(|i| round(&mut wire, i));
    wait_for_silence(&cluster);
    assert_holds_as(&before, &cluster, &wire);
    assert!(before.1 <= 1, "one client holds {} sessions on the node", before.1);
    assert_usable(&mut wire, "l");
    drop(wire);
    wait_until_alone(&cluster);
}

#[test]
fn cancelled_statements_leak_nothing() {
    let (cluster, client) = cluster_with_table("l");
    drop(client);
    wait_until_alone(&cluster);
    let mut wire = wire(&cluster);
    let cancel = |wire: &mut Wire| {
        let events = wire.simple("SET statement_timeout = 20; SELECT pg_sleep(9) FROM l.t", None);
        crate::assert_code(&events.unwrap(), "57014");
        wire.simple("RESET statement_timeout", None).unwrap();
        assert_usable(wire, "l");
    };
    (0..3).for_each(|_| cancel(&mut wire));
    wait_for_silence(&cluster);
    let before = held(&cluster, &wire);
    (0..60).for_each(|_| cancel(&mut wire));
    wait_for_silence(&cluster);
    assert_holds_as(&before, &cluster, &wire);
}

/// Portals that a client leaves open, and prepared statements that it abandons.
#[test]
fn portals_and_prepared_statements_end_with_the_client() {
    let (cluster, client) = cluster_with_table("l");
    drop(client);
    wait_until_alone(&cluster);
    let mut wire = wire(&cluster);
    wire.simple("BEGIN", None).unwrap();
    for i in 0..50 {
        let (name, bound) = (format!("p{i}"), Bound::default());
        wire.parse(&name, &format!("SELECT x + {i} FROM l.t"), &[]).unwrap();
        wire.bind(&name, &name, &bound).unwrap();
        wire.execute(&name, 5).unwrap();
        let events = wire.sync().unwrap();
        assert!(events.contains(&Event::Suspended), "{events:?}");
    }
    wire.simple("ROLLBACK", None).unwrap();
    // A worker may be checking the node at the moment.
    wait_until("the client's session is the only one on the node", BOUND, || {
        let sessions = held(&cluster, &wire).1;
        if sessions == 1 { Ok(()) } else { Err(format!("{sessions} sessions")) }
    });
    assert_usable(&mut wire, "l");
    drop(wire);
    wait_until_alone(&cluster);
}

/// Private memory of a backend, in MiB.
fn memory(wire: &Wire) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", wire.pid)).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<i64>().unwrap() / 1024
}

/// Reads everything up to `Ready` without storing it, and returns the maximum memory of the backend
/// seen in the meantime.
fn drain(wire: &mut Wire, way: &str) -> i64 {
    let (mut most, mut count) = (memory(wire), 0);
    loop {
        match wire.event().unwrap_or_else(|error| panic!("{way}: {error} after {count} messages")) {
            Event::Ready(_) => return most.max(memory(wire)),
            event @ Event::Error(_) => panic!("{way}: {event:?}"),
            _ => count += 1,
        }
        if count % 50_000 == 0 {
            most = most.max(memory(wire));
        }
    }
}

/// A hundred megabytes in each way that rows can take: the backend's memory stays within 16 MiB.
#[test]
fn memory_stays_flat_over_a_million_rows() {
    let (cluster, client) = cluster_with_table("l");
    drop(client);
    wait_until_alone(&cluster);
    let mut wire = wire(&cluster);
    let rows = "SELECT repeat('x', 100) AS v FROM l.t, generate_series(1, 1000)";
    let wide = "SELECT repeat('x', 2000) AS v FROM l.t, generate_series(1, 50)";
    wire.simple("CREATE TABLE l.big (v text)", None).unwrap();
    for (way, sql) in [
        ("a result", rows.to_owned()),
        ("COPY out", format!("COPY ({rows}) TO STDOUT")),
        ("a cursor", format!("BEGIN; DECLARE c CURSOR FOR {rows}; FETCH ALL FROM c; COMMIT")),
        (
            "a loop",
            // Fewer and wider rows: a loop fetches in small batches.
            format!("DO $$ DECLARE r record; BEGIN FOR r IN {wide} LOOP NULL; END LOOP; END $$"),
        ),
        ("INSERT … SELECT", format!("INSERT INTO l.big {rows}")),
    ] {
        wire.simple("SELECT 1 FROM l.t LIMIT 1", None).unwrap();
        let before = memory(&wire);
        wire.send_simple(&sql).unwrap();
        let most = drain(&mut wire, way);
        assert!(most - before <= 16, "{way}: {before} MiB before, up to {most} MiB meanwhile");
    }
    let before = memory(&wire);
    wire.send_simple("COPY l.big FROM STDIN").unwrap();
    let line = format!("{}\n", "y".repeat(99)).repeat(1000);
    for _ in 0..1000 {
        wire.copy_data(line.as_bytes()).unwrap();
    }
    wire.copy_done().unwrap();
    let most = drain(&mut wire, "COPY in");
    assert!(most - before <= 16, "COPY in: {before} MiB before, up to {most} MiB meanwhile");
}
