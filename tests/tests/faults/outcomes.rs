//! What a client is told is what happened: a write reported as successful is present, one
//! reported as failed is not, wherever a cancel request hits it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use helios_tests::{BOUND, Bound, Cluster, Event, Stop, Wire, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{assert_usable, cluster_with_table, wait_for_silence, wire};

fn completed(events: &[Event], tag: &str) -> bool {
    events.iter().any(|event| *event == Event::Complete(tag.to_owned()))
}

fn failed(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Error(_)))
}

/// A way to insert a number, and whether the client was told that it succeeded.
type Way = fn(&mut Wire, i32) -> bool;

fn simple(wire: &mut Wire, i: i32) -> bool {
    told(&wire.simple(&format!("INSERT INTO o.w VALUES ({i})"), None).unwrap(), "INSERT 0 1")
}

fn extended(wire: &mut Wire, i: i32) -> bool {
    let value = i.to_string();
    let bound = Bound { values: vec![Some(&value)], ..Bound::default() };
    told(&wire.extended("INSERT INTO o.w VALUES ($1)", &bound, None).unwrap(), "INSERT 0 1")
}

fn returning(wire: &mut Wire, i: i32) -> bool {
    let value = i.to_string();
    let bound = Bound { values: vec![Some(&value)], ..Bound::default() };
    let sql = "INSERT INTO o.w VALUES ($1) RETURNING i, repeat('x', 2000)";
    told(&wire.extended(sql, &bound, None).unwrap(), "INSERT 0 1")
}

fn copy(wire: &mut Wire, i: i32) -> bool {
    let line = format!("{i}\n");
    told(&wire.simple("COPY o.w FROM STDIN", Some(line.as_bytes())).unwrap(), "COPY 1")
}

fn function(wire: &mut Wire, i: i32) -> bool {
    told(&wire.simple(&format!("SELECT o.put({i})"), None).unwrap(), "SELECT 1")
}

fn block(wire: &mut Wire, i: i32) -> bool {
    let began = wire.simple(&format!("BEGIN; INSERT INTO o.w VALUES ({i})"), None).unwrap();
    let done = !failed(&began) && told(&wire.simple("COMMIT", None).unwrap(), "COMMIT");
    // A cancel request may hit this, too.
    while wire.simple("ROLLBACK", None).unwrap().last() != Some(&Event::Ready('I')) {}
    done
}

/// Returns true on success, false if cancelled; other errors fail the test.
#[track_caller]
fn told(events: &[Event], tag: &str) -> bool {
    let done = completed(events, tag);
    let error = events.iter().find(|event| matches!(event, Event::Error(_)));
    match error {
        Some(error) => {
            assert!(!done, "done and failed: {events:?}");
            assert_eq!(error.field('C'), Some("57014"), "{error:?}");
        }
        None => assert!(done, "neither done nor failed: {events:?}"),
    }
    done
}

/// Cancel requests arrive at arbitrary moments; afterwards exactly the reported rows are present.
#[test]
fn cancelled_writes_are_reported_as_they_end() {
    let (cluster, mut client) = cluster_with_table("o");
    let script = "CREATE TABLE o.w (i int PRIMARY KEY); \
                  CREATE FUNCTION o.put(i int) RETURNS int LANGUAGE sql AS \
                  'INSERT INTO o.w VALUES ($1) RETURNING i'";
    client.batch_execute(script).unwrap();
    let ways: [(&str, Way); 6] = [
        ("simple", simple),
        ("extended", extended),
        ("returning", returning),
        ("copy", copy),
        ("function", function),
        ("block", block),
    ];
    for (name, way) in ways {
        let (reported, cancelled) = under_cancels(&cluster, way);
        let there: BTreeSet<i32> = numbers(&mut client);
        assert_eq!(there, reported, "{name}: there, and reported");
        assert!(cancelled > 0 && !reported.is_empty(), "{name}: {cancelled} cancelled");
        client.batch_execute("TRUNCATE o.w").unwrap();
    }
    wait_for_silence(&cluster);
}

fn numbers(client: &mut Client) -> BTreeSet<i32> {
    client.query("SELECT i FROM o.w", &[]).unwrap().iter().map(|row| row.get(0)).collect()
}

/// Which of many inserts were reported as successful, and how many were cancelled.
fn under_cancels(cluster: &Cluster, way: Way) -> (BTreeSet<i32>, usize) {
    let mut wire = wire(cluster);
    let over = AtomicBool::new(false);
    let (pid, key) = (wire.pid, wire.key);
    let (mut reported, mut cancelled) = (BTreeSet::new(), 0);
    std::thread::scope(|scope| {
        let over = &over;
        let _over = Stop(over);
        scope.spawn(move || {
            let mut random = fastrand::Rng::with_seed(7);
            while !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_micros(random.u64(0..3000)));
                helios_tests::cancel(cluster.coordinator(), pid, key).unwrap();
            }
        });
        let mut attempt = 0;
        // Enough of both kinds, however busy the machine is.
        while attempt < 400 || (attempt < 20_000 && (cancelled < 20 || reported.len() < 20)) {
            match way(&mut wire, attempt) {
                true => drop(reported.insert(attempt)),
                false => cancelled += 1,
            }
            attempt += 1;
        }
    });
    // A last cancel request may still be in transit.
    wait_until("the session answers", BOUND, || {
        let events = wire.simple("SELECT count(*) FROM o.t", None).unwrap();
        if failed(&events) { Err(format!("{events:?}")) } else { Ok(()) }
    });
    assert_usable(&mut wire, "o");
    (reported, cancelled)
}

/// The node has committed and only waits for its standby when the cancel request arrives: as on one server,
/// that ends the wait with a warning, and the commit is reported.
#[test]
fn commit_that_waits_for_a_standby_is_reported_when_cancelled() {
    let (cluster, mut client) = cluster_with_table("o");
    client.batch_execute("CREATE TABLE o.w (i int PRIMARY KEY)").unwrap();
    wait_for_standby(&cluster, "nobody");
    let mut wire = wire(&cluster);
    let cancel_when_waiting = |wire: &mut Wire| {
        wait_until("the node waits for its standby", BOUND, || {
            let query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
            let mut node = cluster.connect_to_node(1);
            let waiting: i64 = node.query_one(query, &[]).unwrap().get(0);
            if waiting > 0 { Ok(()) } else { Err(format!("{waiting} sessions wait")) }
        });
        wire.cancel(cluster.coordinator()).unwrap();
        wire.until_ready(None).unwrap()
    };
    let was_committed = |events: &[Event], tag: &str| {
        assert!(completed(events, tag), "{events:?}");
        let warned =
            events.iter().any(|e| matches!(e, Event::Notice(_)) && e.field('C') == Some("01000"));
        assert!(warned && !failed(events), "{events:?}");
    };
    wire.send_simple("INSERT INTO o.w VALUES (1)").unwrap();
    was_committed(&cancel_when_waiting(&mut wire), "INSERT 0 1");
    wire.parse("", "INSERT INTO o.w VALUES (2) RETURNING i", &[]).unwrap();
    wire.bind("", "", &Bound::default()).unwrap();
    wire.execute("", 0).unwrap();
    wire.send_sync().unwrap();
    was_committed(&cancel_when_waiting(&mut wire), "INSERT 0 1");
    wire.simple("BEGIN; INSERT INTO o.w VALUES (3)", None).unwrap();
    wire.send_simple("COMMIT").unwrap();
    was_committed(&cancel_when_waiting(&mut wire), "COMMIT");
    assert_usable(&mut wire, "o");
    assert_eq!(numbers(&mut client), BTreeSet::from([1, 2, 3]));
}

/// Makes every commit on the node wait for a standby with this name, and retries until one does.
fn wait_for_standby(cluster: &Cluster, name: &str) {
    let mut node = cluster.connect_to_node(1);
    node.batch_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).unwrap();
    node.batch_execute("SELECT pg_reload_conf()").unwrap();
    let mut probe = Wire::connect(cluster.node(1), DATABASE);
    probe.simple("SET helios.migration_session = on", None).unwrap();
    let mut attempt = 0;
    wait_until("a commit waits for the standby", BOUND, || {
        attempt += 1;
        let name = format!("attempt {attempt}.");
        probe
            .send_simple(&format!(
                "DROP TABLE IF EXISTS public.probe; CREATE TABLE public.probe () /* {name} */"
            ))
            .unwrap();
        // Idle before it has started is not the same as idle when it is done.
        let what = "SELECT CASE WHEN strpos(query, $2) > 0 THEN state ELSE 'not begun' END, \
                           coalesce(wait_event, '') FROM pg_stat_activity WHERE pid = $1";
        loop {
            let row = node.query_one(what, &[&probe.pid, &name]).unwrap();
            let (state, waits): (String, String) = (row.get(0), row.get(1));
            if waits == "SyncRep" {
                probe.cancel(cluster.node(1)).unwrap();
            }
            if waits == "SyncRep" || state == "idle" {
                probe.until_ready(None).unwrap();
                return if state == "idle" { Err(state) } else { Ok(()) };
            }
        }
    });
}
