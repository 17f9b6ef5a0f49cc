//! User-defined types have different OIDs on every server, and different ones after a move: a session's type cache
//! follows, for every format in which values are sent.

use helios_tests::{Bound, Cluster, Event, PlainServer, Wire};
use postgres::Client;

use crate::{cluster, finish, last_migration, roll_back, shown, switch, wait};

const MADE: &str = "
    CREATE TYPE t.mood AS ENUM ('sad', 'ok');
    CREATE TYPE t.pair AS (a int, m t.mood);
    CREATE DOMAIN t.positive AS int CHECK (VALUE > 0);
    CREATE DOMAIN t.moods AS t.mood[];
    CREATE TYPE t.span AS RANGE (subtype = t.positive, multirange_type_name = t.spans);
    CREATE TYPE t.nest AS (p t.pair, ms t.mood[]);
    CREATE TABLE t.v (id int PRIMARY KEY, mood t.mood, pair t.pair, positive t.positive, moods t.moods, span t.span,
        spans t.spans, pairs t.pair[], nest t.nest);
    INSERT INTO t.v VALUES (1, 'ok', '(1,sad)', 7, '{sad,ok}', '[1,5)', '{[1,3),[5,9)}', '{\"(1,ok)\",\"(2,sad)\"}',
        '(\"(3,ok)\",\"{ok,ok}\")');";

/// Column, and a value of its type.
const COLUMNS: [(&str, &str, &str); 8] = [
    ("mood", "t.mood", "ok"),
    ("pair", "t.pair", "(1,sad)"),
    ("positive", "t.positive", "7"),
    ("moods", "t.moods", "{sad,ok}"),
    ("span", "t.span", "[1,5)"),
    ("spans", "t.spans", "{[1,3),[5,9)}"),
    ("pairs", "t.pair[]", "{\"(1,ok)\",\"(2,sad)\"}"),
    ("nest", "t.nest", "(\"(3,ok)\",\"{ok,ok}\")"),
];

/// Statements on one column that have the same result on any server; `$c`, `$t` and `$v` stand for it, its type and a value.
const WAYS: [&str; 9] = [
    "SELECT $c FROM t.v",
    "SELECT id FROM t.v WHERE $c = '$v'::$t",
    "SELECT array_agg($c) FROM t.v",
    "SELECT ROW(id, $c) FROM t.v",
    "SELECT v FROM t.v AS v",
    "SELECT pg_typeof($c) FROM t.v",
    "UPDATE t.v SET $c = '$v' RETURNING $c",
    "BEGIN; DECLARE c CURSOR FOR SELECT $c FROM t.v; FETCH 1 FROM c; COMMIT",
    "COPY (SELECT $c FROM t.v) TO STDOUT",
];

/// Like [`WAYS`], with a variable of the type.
const WITH_VARIABLE: [&str; 4] = [
    "SELECT id FROM t.v WHERE $c = x",
    "UPDATE t.v SET $c = x WHERE $c IS NOT DISTINCT FROM x",
    "SELECT count(*) FROM t.v WHERE ARRAY[$c] = ARRAY[x]",
    "SELECT count(*) FROM t.v WHERE ROW($c, id) = ROW(x, 1)",
];

fn filled(way: &str, (column, of_type, value): (&str, &str, &str)) -> String {
    way.replace("$c", column).replace("$t", of_type).replace("$v", value)
}

/// A session's responses, without what differs between any two servers.
fn answers(wire: &mut Wire) -> Vec<String> {
    let mut all = Vec::new();
    for column in COLUMNS {
        for way in WAYS {
            let events = wire.simple(&filled(way, column), None).unwrap();
            all.push(format!("{way} {column:?}: {:?}", told(&events)));
        }
        for way in WITH_VARIABLE {
            let (_, of_type, value) = column;
            let sql = filled(way, column);
            let (into, rows) = match sql.strip_prefix("SELECT") {
                Some(rest) => ("PERFORM", rest),
                None => ("", &*sql),
            };
            let block = format!(
                "DO $$ DECLARE x {of_type} := '{}'; n int; BEGIN {into} {rows}; GET DIAGNOSTICS n = ROW_COUNT; \
                 RAISE NOTICE '%', n; END $$",
                value.replace('\'', "''")
            );
            all.push(format!("{block}: {:?}", told(&wire.simple(&block, None).unwrap())));
            let prepared = format!(
                "PREPARE p ({of_type}) AS {}; EXECUTE p ('{value}'); DEALLOCATE p",
                sql.replace(" x", " $1").replace("[x]", "[$1]").replace("(x,", "($1,")
            );
            all.push(format!("{prepared}: {:?}", told(&wire.simple(&prepared, None).unwrap())));
        }
        for (values, sql) in [
            (vec![], filled(WAYS[0], column)),
            (vec![], filled(WAYS[2], column)),
            (vec![Some(column.2)], filled("SELECT id FROM t.v WHERE $c = $1", column)),
        ] {
            for result_format in [0, 1] {
                let bound = Bound { values: values.clone(), result_format, ..Bound::default() };
                let events = wire.extended(&sql, &bound, None).unwrap();
                // The binary format of arrays and composites contains OIDs.
                let told = if result_format == 0 { told(&events) } else { errors(&events) };
                all.push(format!("{sql} {result_format}: {told:?}"));
            }
        }
    }
    all
}

fn errors(events: &[Event]) -> Vec<String> {
    let error = |event: &Event| Some(format!("{:?} {:?}", event.field('C')?, event.field('M')));
    events.iter().filter(|e| matches!(e, Event::Error(_))).filter_map(error).collect()
}

fn told(events: &[Event]) -> Vec<String> {
    let shown = |event: &Event| match event {
        Event::Row(values) => {
            let text =
                |v: &Option<Vec<u8>>| v.as_ref().map(|v| String::from_utf8_lossy(v).into_owned());
            Some(format!("{:?}", values.iter().map(text).collect::<Vec<_>>()))
        }
        Event::Data(data) => Some(String::from_utf8_lossy(data).into_owned()),
        Event::Complete(tag) => Some(tag.clone()),
        Event::Error(_) | Event::Notice(_) => {
            Some(format!("{:?} {:?}", event.field('C'), event.field('M')))
        }
        _ => None,
    };
    events.iter().filter_map(shown).collect()
}

#[track_caller]
fn assert_same(sessions: &mut [Wire; 2], when: &str) {
    let [plain, cluster] = sessions;
    for (plain, seen) in answers(plain).into_iter().zip(answers(cluster)) {
        assert_eq!(seen, plain, "{when}");
    }
}

fn everywhere(plain: &PlainServer, client: &mut Client, sql: &str) {
    plain.connect().batch_execute(sql).unwrap();
    client.batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

fn undistribute_and_back(client: &mut Client, at_home: &mut dyn FnMut()) {
    client.batch_execute("SELECT helios_undistribute_schema('t')").unwrap();
    let id = last_migration(client);
    assert_eq!(wait(client, id), "dual_write_back", "{}", shown(client, id));
    finish(client, id);
    at_home();
    client.batch_execute("SELECT helios_distribute_schema('t', 'node-1')").unwrap();
    let id = last_migration(client);
    assert_eq!(wait(client, id), "dual_write_back", "{}", shown(client, id));
    finish(client, id);
}

#[test]
fn values_of_own_types_travel_after_every_change_of_place_and_type() {
    let (plain, cluster) = (PlainServer::start(), cluster(2));
    cluster_with(&plain, &cluster);
}

fn cluster_with(plain: &PlainServer, cluster: &Cluster) {
    let mut client = cluster.connect();
    plain.connect().batch_execute("CREATE SCHEMA t").unwrap();
    client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"").unwrap();
    everywhere(plain, &mut client, MADE);
    let mut sessions = [
        Wire::connect(&plain.server, testkit::cluster::DATABASE),
        Wire::connect(cluster.coordinator(), testkit::cluster::DATABASE),
    ];
    assert_same(&mut sessions, "before");
    let id = switch(&mut client, "t", "node-2");
    assert_same(&mut sessions, "after a switch");
    roll_back(&mut client, id);
    assert_same(&mut sessions, "after its rollback");
    for node in ["node-2", "node-1"] {
        let id = switch(&mut client, "t", node);
        finish(&mut client, id);
        assert_same(&mut sessions, &format!("after the move to {node}"));
    }
    for change in [
        "ALTER TYPE t.mood ADD VALUE 'glad'",
        "ALTER TYPE t.mood RENAME VALUE 'glad' TO 'happy'",
        "ALTER TYPE t.pair ADD ATTRIBUTE c int; ALTER TYPE t.pair DROP ATTRIBUTE c",
        "ALTER TYPE t.mood RENAME TO m; ALTER TYPE t.m RENAME TO mood",
        "DROP SCHEMA t CASCADE",
    ] {
        if change.starts_with("DROP") {
            everywhere(plain, &mut client, change);
            plain.connect().batch_execute("CREATE SCHEMA t").unwrap();
            client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"").unwrap();
            everywhere(plain, &mut client, MADE);
        } else {
            everywhere(plain, &mut client, change);
        }
        assert_same(&mut sessions, &format!("after {change}"));
    }
    undistribute_and_back(&mut client, &mut || assert_same(&mut sessions, "at home"));
    assert_same(&mut sessions, "distributed again");
}
