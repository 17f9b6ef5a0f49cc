//! All requests to a migration at each of its failpoints: each request is answered, accepted ones
//! take effect, refused ones change nothing. Also what cannot be done to a schema during a migration.

use helios_tests::{BOUND, Cluster, wait_until};
use postgres::Client;
use postgres::error::DbError;

use crate::crashes::{PLACES, TENANT, Way};
use crate::{
    assert_clean, begin, begin_up_to, cluster_with_failpoints, finish, go_on, node_of, shown, text,
    wait, wait_to_show,
};

/// A session's request, and its result.
type Answer = Result<(), Box<DbError>>;

/// Sends a request in its own session, where it may have to wait for the worker; releases the worker once the request
/// is answered or waiting.
fn ask(cluster: &Cluster, place: &str, what: &str, id: i64) -> Answer {
    let mut asking = cluster.connect();
    let pid: i32 = asking.query_one("SELECT pg_backend_pid()", &[]).unwrap().get(0);
    std::thread::scope(|scope| {
        let question = scope.spawn(move || {
            let question = format!("SELECT helios_{what}_migration($1)");
            let answer = asking.query(&question, &[&id]);
            answer.map(drop).map_err(|error| Box::new(error.as_db_error().unwrap().clone()))
        });
        let mut client = cluster.connect();
        wait_until("the request is answered, or waits", BOUND, || {
            let state =
                "SELECT coalesce(wait_event_type, state) FROM pg_stat_activity WHERE pid = $1";
            let row = client.query_opt(state, &[&pid]).unwrap();
            let state = row.map_or("gone".to_owned(), |row| row.get::<_, String>(0));
            if question.is_finished() || state == "Lock" { Ok(()) } else { Err(state) }
        });
        go_on(cluster, place);
        question.join().unwrap()
    })
}

#[track_caller]
fn assert_refused(error: &DbError, code: &str, when: &str) {
    assert_eq!(error.code().code(), code, "{when}: {error:?}");
    assert!(error.hint().is_some(), "{when}: no hint: {error:?}");
}

/// Asserts that the schema's contents are unchanged.
#[track_caller]
fn assert_whole(client: &mut Client, when: &str) {
    let query = "SELECT count(*) FROM t.a; SELECT count(*), sum(x) FROM t.nokey; SELECT * FROM t.v";
    assert_eq!(text(client, query), ["2000", "50|148", "2000"], "{when}");
}

/// Runs a migration up to the failpoint and sends the request there; returns whether it was accepted, and the
/// migration's final state.
fn case(cluster: &Cluster, place: &str, way: Way, question: &str) {
    let when = format!("{question} at {place} ({way:?})");
    eprintln!("{when}");
    let mut client = cluster.connect();
    let home = node_of(&mut client, "t").unwrap();
    let other = if home == "node-1" { "node-2" } else { "node-1" };
    let first = match way {
        Way::There => {
            cluster.failpoint(place, "hang", 0, 0);
            begin(&mut client, "t", other)
        }
        Way::Back | Way::Finish => {
            let id = crate::switch(&mut client, "t", other);
            cluster.failpoint(place, "hang", 0, 0);
            let request = if way == Way::Back { "rollback" } else { "finish" };
            client.query(&format!("SELECT helios_{request}_migration($1)"), &[&id]).unwrap();
            id
        }
    };
    cluster.wait_for_failpoint(place, BOUND);
    let answer = ask(cluster, place, question, first);
    let state = wait(&mut client, first);
    let expected = match (&answer, question) {
        (Ok(()), "cancel") => "cancelled",
        (Ok(()), "rollback") => "rolled_back",
        (Ok(()), _) => "finished",
        (Err(error), _) => {
            assert_refused(error, "55000", &when);
            match way {
                Way::There => "dual_write_back",
                Way::Back => "rolled_back",
                Way::Finish => "finished",
            }
        }
    };
    assert_eq!(state, expected, "{when}: {answer:?} {}", shown(&mut client, first));
    if state == "dual_write_back" {
        finish(&mut client, first);
    }
    let moved = matches!(state.as_str(), "dual_write_back" | "finished");
    let now = node_of(&mut client, "t").unwrap();
    assert_eq!(now, if moved { other } else { &home }, "{when}");
    assert_clean(cluster, &["t"]);
    assert_whole(&mut client, &when);
}

fn at_every_place(question: &str, ways: &[Way]) {
    let cluster = cluster_with_failpoints(2, &[]);
    cluster.connect().batch_execute(TENANT).unwrap();
    let only = std::env::var("HELIOS_PLACE").unwrap_or_default();
    for &(place, way) in PLACES.iter().filter(|(place, _)| place.contains(&only)) {
        if ways.contains(&way) {
            case(&cluster, place, way, question);
        }
    }
}

#[test]
fn cancel_on_the_way_there() {
    at_every_place("cancel", &[Way::There]);
}

#[test]
fn rollback_on_the_way_there() {
    at_every_place("rollback", &[Way::There]);
}

#[test]
fn finish_on_the_way_there() {
    at_every_place("finish", &[Way::There]);
}

#[test]
fn cancel_on_the_way_back_and_at_the_end() {
    at_every_place("cancel", &[Way::Back, Way::Finish]);
}

#[test]
fn rollback_on_the_way_back_and_at_the_end() {
    at_every_place("rollback", &[Way::Back, Way::Finish]);
}

#[test]
fn finish_on_the_way_back_and_at_the_end() {
    at_every_place("finish", &[Way::Back, Way::Finish]);
}

/// Failpoints at which the schema is fenced, or is not frozen yet.
const OTHERWISE: &[&str] = &[
    "migration.step.before",
    "migration.publish.before",
    "migration.fence.after",
    "migration.flip.before",
];

/// DDL, TRUNCATE and a second migration are refused immediately at every failpoint, for clients of the coordinator and for
/// those connected to the node.
#[test]
fn definitions_truncate_and_a_second_move_are_refused_all_the_way() {
    let cluster = cluster_with_failpoints(3, &[]);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    for &(place, way) in PLACES {
        if way != Way::There || OTHERWISE.contains(&place) {
            continue;
        }
        let home = node_of(&mut client, "t").unwrap();
        let other = if home == "node-1" { "node-2" } else { "node-1" };
        let id = {
            cluster.failpoint(place, "hang", 0, 0);
            let id = begin(&mut client, "t", other);
            cluster.wait_for_failpoint(place, BOUND);
            id
        };
        let mut direct = cluster.node_named(&home).connect("helios").unwrap();
        for one in [&mut client, &mut direct] {
            one.batch_execute("SET statement_timeout = '20s'").unwrap();
            for sql in [
                "TRUNCATE t.a",
                "ALTER TABLE t.a ADD COLUMN x int",
                "CREATE TABLE t.b (x int)",
                "DROP SCHEMA t CASCADE",
            ] {
                let error = one.batch_execute(sql).expect_err(sql);
                assert_refused(error.as_db_error().unwrap(), "55006", &format!("{sql} at {place}"));
            }
        }
        let again = client.batch_execute("SELECT helios_migrate_schema('t', 'node-3')");
        let again = again.expect_err("a second move");
        assert_refused(again.as_db_error().unwrap(), "55006", &format!("a second move at {place}"));
        go_on(&cluster, place);
        assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
        finish(&mut client, id);
        assert_whole(&mut client, place);
    }
    assert_clean(&cluster, &["t"]);
    client.batch_execute("TRUNCATE t.a CASCADE; DROP SCHEMA t CASCADE").unwrap();
}

/// A request for a second migration before the first one has committed waits for it, and is refused as well.
#[test]
fn two_moves_of_one_schema_at_once() {
    let cluster = cluster_with_failpoints(3, &[]);
    let mut client = cluster.connect();
    // From a shard with many schemas, out of which the first migration splits it.
    client.batch_execute("CREATE SCHEMA p DISTRIBUTED; CREATE TABLE p.a (id int PRIMARY KEY); INSERT INTO p.a VALUES (1)").unwrap();
    let home = node_of(&mut client, "p").unwrap();
    let targets: Vec<String> =
        (1..=3).map(|n| format!("node-{n}")).filter(|node| *node != home).collect();
    let mut first = client.transaction().unwrap();
    let ask = "SELECT helios_migrate_schema('p', $1)";
    let id: i64 = first.query_one(ask, &[&targets[0]]).unwrap().get(0);
    let mut second = cluster.connect();
    let refused = std::thread::scope(|scope| {
        let asking = scope.spawn(|| second.query(ask, &[&targets[1]]));
        wait_until("the second move waits", BOUND, || {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%migrate_schema%'";
            let waiting = text(&mut cluster.connect(), waits).concat();
            if waiting == "1" || asking.is_finished() { Ok(()) } else { Err(waiting) }
        });
        first.commit().unwrap();
        asking.join().unwrap().expect_err("a second move")
    });
    assert_refused(refused.as_db_error().unwrap(), "55006", "a second move");
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    assert_eq!(node_of(&mut client, "p").as_ref(), Some(&targets[0]));
    finish(&mut client, id);
    assert_eq!(text(&mut client, "SELECT count(*) FROM p.a"), ["1"]);
    assert_clean(&cluster, &["p"]);
}

/// A slot is created once all older transactions have ended, whatever they write. A cancel does not wait for them.
#[test]
fn cancel_while_transactions_on_either_node_are_waited_for() {
    let cluster = cluster_with_failpoints(2, &[]);
    let mut client = cluster.connect();
    client.batch_execute(TENANT).unwrap();
    for (place, number, words) in [
        ("migration.publish.before", 1, "open transactions on the source"),
        ("migration.slot.before", 1, "open transactions on the source"),
        ("migration.back.before", 2, "open transactions on the target"),
    ] {
        let id = begin_up_to(&cluster, place, "node-2");
        let mut long = cluster.connect_to_node(number);
        long.batch_execute("SET helios.migration_session = on; BEGIN; CREATE TABLE public.none_of_its_business (x int)").unwrap();
        go_on(&cluster, place);
        wait_to_show(&mut client, id, words);
        client.query("SELECT helios_cancel_migration($1)", &[&id]).unwrap();
        assert_eq!(wait(&mut client, id), "cancelled", "{place}: {}", shown(&mut client, id));
        assert_clean(&cluster, &["t"]);
        long.batch_execute("ROLLBACK").unwrap();
        assert_whole(&mut client, place);
    }
}
