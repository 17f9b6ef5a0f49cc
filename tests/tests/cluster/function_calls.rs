//! Function calls that bypass the planner and the executor, or reach them indirectly: none of them works on a shell.

use helios_tests::{Cluster, Event, Wire, refused, text};
use postgres::Client;
use testkit::cluster::DATABASE;

/// A distributed schema on node 1 with a sequence that has returned 20 numbers, and as many rows.
fn schema(name: &str) -> Client {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-1\"; \
             CREATE TABLE {name}.t (id serial PRIMARY KEY, v text); \
             INSERT INTO {name}.t (v) SELECT 'v' FROM generate_series(1, 20)"
        ))
        .unwrap();
    client
}

fn oid(client: &mut Client, signature: &str) -> u32 {
    client.query_one("SELECT $1::text::regprocedure::oid", &[&signature]).unwrap().get(0)
}

/// The result of a FunctionCall as text, or the SQLSTATE of its error.
fn call(wire: &mut Wire, function: u32, arguments: &[&str]) -> Result<String, Event> {
    let events = wire.function_call(function, arguments).unwrap();
    let error = events.iter().find(|event| matches!(event, Event::Error(_)));
    if let Some(error) = error {
        return Err(error.clone());
    }
    let value = events.iter().find_map(|event| match event {
        Event::Value(value) => Some(value.clone().unwrap_or_default()),
        _ => None,
    });
    Ok(String::from_utf8(value.unwrap_or_else(|| panic!("no result: {events:?}"))).unwrap())
}

#[test]
fn function_call_messages_do_not_work_on_a_shell() {
    let mut client = schema("messages");
    let mut wire = Wire::connect(Cluster::shared().coordinator(), DATABASE);
    let sequence = text(&mut client, "SELECT 'messages.t_id_seq'::regclass::oid")[0].clone();
    let table = text(&mut client, "SELECT 'messages.t'::regclass::oid")[0].clone();
    for (signature, arguments) in [
        ("nextval(regclass)", vec![sequence.as_str()]),
        ("currval(regclass)", vec![sequence.as_str()]),
        ("setval(regclass,bigint)", vec![sequence.as_str(), "500"]),
        ("setval(regclass,bigint,boolean)", vec![sequence.as_str(), "500", "t"]),
        ("lastval()", vec![]),
        ("pg_sequence_last_value(regclass)", vec![sequence.as_str()]),
        ("pg_relation_size(regclass,text)", vec![table.as_str(), "main"]),
        ("pg_table_size(regclass)", vec![table.as_str()]),
        ("pg_total_relation_size(regclass)", vec![table.as_str()]),
    ] {
        let function = oid(&mut client, signature);
        let error = call(&mut wire, function, &arguments).expect_err(signature);
        assert_eq!(error.field('C'), Some("0A000"), "{signature}: {error:?}");
        assert!(error.field('H').is_some_and(|hint| hint.contains("SELECT")), "{error:?}");
    }
    assert_eq!(text(&mut client, "SELECT nextval('messages.t_id_seq')"), ["21"]);
}

#[test]
fn function_call_messages_go_on_working_elsewhere() {
    let mut client = schema("other_messages");
    let mut wire = Wire::connect(Cluster::shared().coordinator(), DATABASE);
    let length = oid(&mut client, "length(text)");
    assert_eq!(call(&mut wire, length, &["abc"]).unwrap(), "3");
    // Large objects, which drivers access this way.
    let create = oid(&mut client, "lo_create(oid)");
    let object = call(&mut wire, create, &["0"]).unwrap();
    assert_eq!(
        text(
            &mut client,
            &format!("SELECT count(*) FROM pg_largeobject_metadata WHERE oid = {object}")
        ),
        ["1"]
    );
    // A setting changed this way is forwarded.
    let set_config = oid(&mut client, "set_config(text,text,boolean)");
    let shown = "SELECT current_setting('app.called', true) FROM other_messages.t LIMIT 1";
    let on_node = |wire: &mut Wire| {
        let events = wire.simple(shown, None).unwrap();
        let row = events.into_iter().find_map(|event| match event {
            Event::Row(row) => Some(row[0].clone()),
            _ => None,
        });
        row.unwrap().map(|value| String::from_utf8(value).unwrap())
    };
    for value in ["1", "2"] {
        call(&mut wire, set_config, &["app.called", value, "f"]).unwrap();
        assert_eq!(on_node(&mut wire).as_deref(), Some(value));
    }
    // A tenant's function runs here, its statements on the node.
    client
        .batch_execute(
            "CREATE FUNCTION other_messages.f(a int) RETURNS int LANGUAGE plpgsql AS \
             $$ BEGIN RETURN a + nextval('other_messages.t_id_seq')::int \
                + (SELECT count(*) FROM other_messages.t)::int; END $$; \
             CREATE FUNCTION other_messages.g(a int) RETURNS bigint LANGUAGE sql AS \
             'SELECT a + count(*) FROM other_messages.t'",
        )
        .unwrap();
    let function = oid(&mut client, "other_messages.f(int)");
    assert_eq!(call(&mut wire, function, &["1000"]).unwrap(), "1041");
    let function = oid(&mut client, "other_messages.g(int)");
    assert_eq!(call(&mut wire, function, &["1000"]).unwrap(), "1020");
}

/// Indirect accesses, with `s` for the schema; each returns what a plain server returns, or is refused.
const DETOURS: &[(&str, &str)] = &[
    ("SELECT length(table_to_xml('s.t', true, false, '')::text) > 200", "t"),
    ("SELECT length(query_to_xml('SELECT id FROM s.t', true, false, '')::text) > 200", "t"),
    ("SELECT length(schema_to_xml('s', true, false, '')::text) > 200", "t"),
    (
        "BEGIN; DECLARE c CURSOR FOR SELECT id FROM s.t; SELECT length(cursor_to_xml('c', 100, true, false, '')::text) > 200; COMMIT",
        "t",
    ),
    ("SELECT count(*) FROM ts_stat('SELECT to_tsvector(v) FROM s.t')", "1"),
    ("SELECT nextval('s.t_' || 'id_seq')", "21"),
    ("SELECT nextval(pg_get_serial_sequence('s.t', 'id'))", "21"),
    ("SELECT setval('s.t_id_seq', 50); SELECT currval('s.t_id_seq')", "50"),
    ("SELECT nextval('s.t_id_seq'); SELECT lastval()", "21"),
    ("SELECT pg_sequence_last_value('s.t_id_seq')", "20"),
    ("SELECT last_value FROM pg_sequences WHERE schemaname = 's'", "20"),
    ("SELECT last_value FROM s.t_id_seq", "20"),
    ("SELECT pg_relation_size('s.t') > 0", "t"),
    ("SELECT pg_table_size('s.t'::regclass) > 0", "t"),
    ("SELECT pg_relation_size(c.oid) > 0 FROM pg_class c WHERE c.oid = 's.t'::regclass", "t"),
    ("SELECT pg_total_relation_size(('s' || '.t')::regclass) > 0", "t"),
    (
        "PREPARE p AS SELECT count(*) AS n FROM s.t; CREATE TEMP TABLE x AS EXECUTE p; SELECT n FROM x",
        "20",
    ),
    ("CREATE TEMP TABLE x (id int DEFAULT nextval('s.t_id_seq'))", "-"),
    (
        "CREATE TEMP TABLE x AS SELECT 1 AS id; ALTER TABLE x ALTER id TYPE bigint USING nextval('s.t_id_seq'); SELECT id FROM x",
        "21",
    ),
    (
        "CREATE TEMP TABLE x AS SELECT 1 AS id; ALTER TABLE x ALTER id TYPE bigint USING nextval(('s.t_id' || '_seq')::regclass); SELECT id FROM x",
        "21",
    ),
    (
        "CREATE TEMP TABLE x AS SELECT 1 AS id; ALTER TABLE x ADD COLUMN j bigint DEFAULT nextval('s.t_id_seq'); SELECT j FROM x",
        "21",
    ),
    (
        "DO $$ DECLARE n bigint; BEGIN n := nextval('s.t_id_seq'); IF n <> 21 THEN RAISE 'got %', n; END IF; END $$; SELECT 1",
        "1",
    ),
    (
        "DO $$ DECLARE q regclass := 's.t_id_seq'; n bigint; BEGIN FOR i IN 1..8 LOOP n := nextval(q); END LOOP; IF n <> 28 THEN RAISE 'got %', n; END IF; END $$; SELECT 1",
        "1",
    ),
    ("CALL pg_temp.p('s.t_id_seq'); SELECT nextval('s.t_id_seq')", "22"),
    ("PREPARE q(bigint) AS SELECT $1; EXECUTE q(nextval('s.t_id_seq'))", "21"),
    ("PREPARE q(bigint) AS SELECT $1; EXECUTE q(pg_catalog.nextval('s.t_id_' || 'seq') + 1)", "22"),
    (
        "PREPARE q(bigint) AS SELECT $1 AS n; CREATE TEMP TABLE x AS EXECUTE q(nextval('s.t_id_seq')); SELECT n FROM x",
        "21",
    ),
    (
        "PREPARE q(bigint) AS SELECT $1 AS n; CREATE TEMP TABLE x AS EXECUTE q(nextval('s.t_id_seq')); SELECT nextval('s.t_id_seq')",
        "22",
    ),
    (
        "PREPARE q(bigint) AS SELECT $1; EXPLAIN EXECUTE q(nextval('s.t_id_seq')); SELECT nextval('s.t_id_seq')",
        "22",
    ),
    (
        "PREPARE q(bigint) AS SELECT $1; EXPLAIN ANALYZE EXECUTE q(nextval('s.t_id_seq')); SELECT nextval('s.t_id_seq')",
        "22",
    ),
    (
        "PREPARE q(bigint) AS SELECT $1 AS n; EXPLAIN ANALYZE CREATE TEMP TABLE x AS EXECUTE q(nextval('s.t_id_seq')); SELECT n FROM x",
        "21",
    ),
    (
        "SELECT nextval('s.t_id_seq'); PREPARE q(bigint) AS SELECT $1; EXECUTE q(currval('s.t_id_seq'))",
        "21",
    ),
    (
        "INSERT INTO s.t (v) VALUES ('x'); PREPARE q(bigint) AS SELECT $1; EXECUTE q(lastval())",
        "21",
    ),
    (
        "CREATE TEMP TABLE x (n bigint); CREATE PROCEDURE pg_temp.q(n bigint) LANGUAGE sql AS 'INSERT INTO x VALUES (n)'; CALL pg_temp.q(nextval('s.t_id_seq')); SELECT n FROM x",
        "21",
    ),
    (
        "DO $$ DECLARE q regclass := 's.t_id_seq'; BEGIN CALL pg_temp.p(q); CALL pg_temp.p(q); END $$; SELECT nextval('s.t_id_seq')",
        "23",
    ),
    (
        "SELECT sum(pg_table_size(oid)) > 0 FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind = 'r'",
        "t",
    ),
    (
        "SELECT sum(pg_indexes_size(oid)) > 0 FROM pg_class WHERE relnamespace = 's'::regnamespace AND relkind = 'r'",
        "t",
    ),
    (
        "SELECT min(pg_relation_size(oid, 'main')) > 0 FROM pg_class WHERE relnamespace = 's'::regnamespace",
        "t",
    ),
    (
        "CREATE TEMP TABLE x AS SELECT 1 AS id; CREATE FUNCTION pg_temp.t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := nextval('s.t_id_seq'); RETURN NEW; END $$; CREATE TRIGGER t BEFORE INSERT ON x FOR EACH ROW EXECUTE FUNCTION pg_temp.t(); INSERT INTO x VALUES (0); SELECT max(id) FROM x",
        "21",
    ),
    ("ANALYZE s.t; SELECT reltuples FROM pg_class WHERE oid = 's.t'::regclass", "-"),
    ("SELECT count(*) FROM s.t WHERE ctid = currtid2('s.t', '(0,1)')", "1"),
];

#[test]
fn detours_give_what_a_plain_server_gives() {
    let mut wrong = Vec::new();
    for (number, (sql, expected)) in DETOURS.iter().enumerate() {
        let name = format!("detour_{number}");
        let mut client = schema(&name);
        client
            .batch_execute(
                "CREATE PROCEDURE pg_temp.p(q regclass) LANGUAGE plpgsql AS \
                 'BEGIN PERFORM nextval(q); END'",
            )
            .unwrap();
        let sql = sql.replace("s.t", &format!("{name}.t")).replace("'s'", &format!("'{name}'"));
        let last = client.simple_query(&sql).map(|messages| {
            let row = |message: &postgres::SimpleQueryMessage| match message {
                postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            };
            messages.iter().filter_map(row).next_back()
        });
        match last {
            Ok(found) if found.as_deref() == Some(expected) || *expected == "-" => {}
            Ok(found) => wrong.push(format!("{sql}\n    gave {found:?}, not {expected}")),
            Err(error) => {
                let error = error.as_db_error().unwrap();
                if error.code().code() != "0A000" || error.hint().is_none() {
                    wrong.push(format!("{sql}\n    {error:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn sequences_in_alter_table_are_refused_by_name() {
    let mut client = schema("using_sequence");
    client.batch_execute("CREATE TEMP TABLE x AS SELECT 1 AS id").unwrap();
    refused(
        &mut client,
        "ALTER TABLE x ALTER id TYPE bigint USING nextval('using_sequence.t_id_seq')",
        "0A000",
        "using_sequence.t_id_seq",
    );
    client
        .batch_execute(
            "CREATE TEMP SEQUENCE own; ALTER TABLE x ALTER id TYPE bigint USING nextval('own')",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT id FROM x"), ["1"]);
}
