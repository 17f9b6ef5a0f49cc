//! Code in procedural languages on the coordinator that reads and writes tenants: every statement and expression is
//! sent to its node, with its own text and its own variables.

use helios_tests::Cluster;
use postgres::{Client, SimpleQueryMessage};

/// A schema on node 1 with `t (id serial, n)`: ids 1 to 20, `n = id`.
fn schema(name: &str) -> Client {
    let mut client = Cluster::shared().connect();
    client
        .batch_execute(&format!(
            "CREATE SCHEMA {name} DISTRIBUTED ON NODE \"node-1\"; \
             CREATE TABLE {name}.t (id serial PRIMARY KEY, n int); \
             INSERT INTO {name}.t (n) SELECT generate_series(1, 20); \
             CREATE FUNCTION {name}.add1(i int) RETURNS int LANGUAGE sql AS 'SELECT i + 1'"
        ))
        .unwrap();
    client
}

/// The first column of every row returned by a simple query.
fn column(client: &mut Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("NULL").to_owned()),
            _ => None,
        })
        .collect()
}

fn sqlstate(client: &mut Client, sql: &str) -> String {
    match client.batch_execute(sql) {
        Ok(()) => "00000".to_owned(),
        Err(error) => error.code().map_or_else(|| error.to_string(), |c| c.code().to_owned()),
    }
}

#[test]
fn functions_with_the_same_text_keep_their_own_variables() {
    let mut client = schema("same_text");
    client
        .batch_execute(
            "CREATE FUNCTION public.same1(x int, a int) RETURNS void LANGUAGE plpgsql AS \
               $$ BEGIN UPDATE same_text.t SET n = a WHERE id = x; END $$; \
             CREATE FUNCTION public.same2(a int, x int) RETURNS void LANGUAGE plpgsql AS \
               $$ BEGIN UPDATE same_text.t SET n = a WHERE id = x; END $$; \
             SELECT public.same1(1, 15), public.same2(16, 2); \
             SELECT public.same1(3, 17)",
        )
        .unwrap();
    let found =
        column(&mut client, "SELECT n FROM same_text.t WHERE id IN (1, 2, 3, 17) ORDER BY id");
    assert_eq!(found, ["15", "16", "17", "17"]);
}

#[test]
fn expressions_are_computed_on_the_node() {
    let mut client = schema("expressions");
    client
        .batch_execute(
            "CREATE FUNCTION public.expressions() RETURNS SETOF int LANGUAGE plpgsql AS $$ \
             DECLARE x int; s text := 'expressions.t_id_seq'; \
             BEGIN \
               x := nextval('expressions.t_id_seq'); RETURN NEXT x; \
               x := nextval(s); RETURN NEXT x; \
               RETURN NEXT expressions.add1(x) + expressions.add1(x * 2); \
               IF expressions.add1(3) = 4 THEN RETURN NEXT 4; END IF; \
               IF (SELECT count(*) FROM expressions.t) > 1 THEN RETURN NEXT 5; END IF; \
               RETURN NEXT (SELECT max(id) FROM expressions.t) + 1; \
             END $$",
        )
        .unwrap();
    let found = column(&mut client, "SELECT * FROM public.expressions()");
    assert_eq!(found, ["21", "22", "68", "4", "5", "21"]);
}

#[test]
fn a_sequence_that_only_the_call_names_is_the_nodes() {
    let mut client = schema("computed");
    let of_value = "SELECT nextval(s) FROM (VALUES ('computed.t_id_seq'::regclass)) v (s)";
    assert_eq!(column(&mut client, of_value), ["21"]);
    client.batch_execute("PREPARE computed(text) AS SELECT nextval($1::regclass)").unwrap();
    assert_eq!(column(&mut client, "EXECUTE computed('computed.t_id_seq')"), ["22"]);
    let serial = "SELECT nextval(pg_get_serial_sequence('computed.t', 'id'))";
    assert_eq!(column(&mut client, serial), ["23"]);
    assert_eq!(column(&mut client, "SELECT lastval()"), ["23"]);
}

#[test]
fn too_many_rows_of_returning_are_noticed() {
    let mut client = schema("strict");
    let sql = "DO $$ DECLARE r record; BEGIN \
               UPDATE strict.t SET n = 0 WHERE id < 4 RETURNING id INTO STRICT r; END $$";
    assert_eq!(sqlstate(&mut client, sql), "P0003");
    assert_eq!(column(&mut client, "SELECT count(*) FROM strict.t WHERE n = 0"), ["0"]);
}

#[test]
fn a_cached_set_config_reaches_the_node() {
    let mut client = schema("cached_config");
    client
        .batch_execute("PREPARE cached_config(text) AS SELECT set_config('app.tenant', $1, false)")
        .unwrap();
    let seen = "SELECT current_setting('app.tenant') FROM cached_config.t LIMIT 1";
    for value in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        client.batch_execute(&format!("EXECUTE cached_config('{value}')")).unwrap();
        assert_eq!(column(&mut client, seen), [value]);
    }
}

#[test]
fn a_cursor_first_fetched_inside_a_savepoint_outlives_it() {
    let mut client = schema("cursor_in_savepoint");
    let sql = "BEGIN; DECLARE c CURSOR FOR SELECT id FROM cursor_in_savepoint.t ORDER BY id; \
               SAVEPOINT a; FETCH 2 FROM c; ROLLBACK TO a; FETCH 2 FROM c; COMMIT";
    assert_eq!(column(&mut client, sql), ["1", "2", "3", "4"]);
}

#[test]
fn explain_analyze_of_a_function_that_reads_a_tenant_runs_it() {
    let mut client = schema("explained");
    client
        .batch_execute(
            "CREATE FUNCTION public.explained() RETURNS int LANGUAGE plpgsql AS $$ \
             DECLARE c int; BEGIN SELECT id INTO STRICT c FROM explained.t WHERE id = 1; RETURN c; END $$; \
             EXPLAIN ANALYZE SELECT public.explained()",
        )
        .unwrap();
}

#[test]
fn a_failed_explain_analyze_is_over() {
    let mut client = schema("explain_failed");
    client.batch_execute("BEGIN; SAVEPOINT a").unwrap();
    let failing = "EXPLAIN ANALYZE SELECT 1 / (id - id) FROM explain_failed.t";
    assert_eq!(sqlstate(&mut client, failing), "22012");
    client.batch_execute("ROLLBACK TO a").unwrap();
    assert_eq!(column(&mut client, "SELECT count(*) FROM explain_failed.t"), ["20"]);
    client.batch_execute("COMMIT").unwrap();
}

#[test]
fn a_statement_is_sent_whole_after_an_error_in_another() {
    let mut client = schema("whole_text");
    assert_eq!(sqlstate(&mut client, "BEGIN; SELECT 1 / 0"), "22012");
    assert_eq!(sqlstate(&mut client, "ROLLBACK TO a; SELECT 1"), "3B001");
    client.batch_execute("ROLLBACK").unwrap();
    client.batch_execute("DELETE FROM whole_text.t WHERE id = 1").unwrap();
    assert_eq!(column(&mut client, "SELECT count(*) FROM whole_text.t"), ["19"]);
}

#[test]
fn a_query_inside_a_later_statement_of_a_string_is_its_own() {
    let mut client = schema("several");
    let sql = "SELECT id FROM several.t WHERE id = 1; \
               EXPLAIN (COSTS OFF) SELECT n FROM several.t WHERE n = 7; \
               CREATE TEMP TABLE copied AS SELECT id FROM several.t WHERE id > 18; \
               SELECT count(*) FROM copied";
    let found = column(&mut client, sql);
    assert_eq!(found.first().map(String::as_str), Some("1"));
    assert!(found.iter().any(|line| line.contains("Filter: (n = 7)")), "{found:?}");
    assert_eq!(found.last().map(String::as_str), Some("2"));
}

#[test]
fn select_into_in_parentheses_makes_its_table_here() {
    let mut client = schema("parentheses");
    client.batch_execute("(SELECT id INTO public.parentheses FROM parentheses.t)").unwrap();
    assert_eq!(column(&mut client, "SELECT count(*) FROM public.parentheses"), ["20"]);
    let mut node = Cluster::shared().connect_to_node(1);
    assert_eq!(sqlstate(&mut node, "SELECT FROM public.parentheses"), "42P01");
}

#[test]
fn views_of_plain_schemas_are_expanded_and_their_checks_not_lost() {
    let mut client = schema("viewed");
    client
        .batch_execute(
            "CREATE VIEW public.viewed AS SELECT id, n FROM viewed.t WHERE n < 10 WITH CHECK OPTION",
        )
        .unwrap();
    assert_eq!(column(&mut client, "SELECT count(*) FROM public.viewed"), ["9"]);
    assert_eq!(sqlstate(&mut client, "INSERT INTO public.viewed (n) VALUES (50)"), "0A000");
    assert_eq!(column(&mut client, "SELECT count(*) FROM viewed.t"), ["20"]);
}

#[test]
fn functions_bound_to_their_session_run_here_over_rows_of_a_node() {
    let mut client = schema("bound");
    for (call, undo) in [
        ("pg_advisory_lock(id)", "pg_advisory_unlock(id)"),
        ("pg_try_advisory_lock(1, id)", "pg_advisory_unlock(1, id)"),
    ] {
        let count = |call: &str| format!("SELECT count({call}) FROM bound.t");
        let held =
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";
        let rows = column(&mut client, &count(call));
        assert_eq!(column(&mut client, held), rows, "{call}");
        column(&mut client, &count(undo));
        assert_eq!(column(&mut client, held), ["0"], "{undo}");
    }
    let update = "UPDATE bound.t SET id = id WHERE pg_try_advisory_lock(id)";
    assert_eq!(sqlstate(&mut client, update), "0A000");
}

#[test]
fn explain_analyze_of_create_table_as_fills_the_table() {
    let mut client = schema("explain_table");
    client
        .batch_execute(
            "EXPLAIN ANALYZE CREATE TABLE public.explain_table AS SELECT * FROM explain_table.t",
        )
        .unwrap();
    assert_eq!(column(&mut client, "SELECT count(*) FROM public.explain_table"), ["20"]);
    let inside = "EXPLAIN ANALYZE CREATE TABLE explain_table.x AS SELECT * FROM explain_table.t";
    assert_eq!(sqlstate(&mut client, inside), "0A000");
}

#[test]
fn a_row_that_the_client_cannot_read_is_not_written() {
    let mut client = schema("unreadable");
    client
        .batch_execute("CREATE TABLE unreadable.words (w text); SET client_encoding = 'LATIN1'")
        .unwrap();
    let insert = "INSERT INTO unreadable.words VALUES (U&'\\4e2d') RETURNING w";
    assert_eq!(sqlstate(&mut client, insert), "22P05");
    client.batch_execute("RESET client_encoding").unwrap();
    assert_eq!(column(&mut client, "SELECT count(*) FROM unreadable.words"), ["0"]);
}

#[test]
fn marks_of_cycles_are_understood_on_the_node() {
    let mut client = schema("cycles");
    for (marks, of_type) in [
        ("TO 'Y' DEFAULT 'N'", "text"),
        ("TO 1 DEFAULT 0", "int"),
        ("TO 1.5 DEFAULT 2.5", "numeric"),
        ("TO true DEFAULT false", "boolean"),
        ("TO 'it''s \\' DEFAULT E'\\n'", "text"),
        ("", "boolean"),
    ] {
        let set = if marks.is_empty() { "c".to_owned() } else { format!("c {marks}") };
        let query = |start: &str| {
            format!(
                "WITH RECURSIVE w AS (SELECT id, n FROM cycles.t WHERE id = {start} \
                 UNION ALL SELECT t.id, t.n FROM cycles.t JOIN w ON t.id = w.n % 3 + 1) CYCLE id SET {set} USING path \
                 SELECT string_agg(c::text || pg_typeof(c), ',' ORDER BY c) FROM w"
            )
        };
        client
            .batch_execute(&format!(
                "CREATE OR REPLACE FUNCTION public.cycle_marks(first int) RETURNS text LANGUAGE plpgsql AS \
                 $f$ DECLARE seen text; BEGIN {}; RETURN seen; END $f$",
                query("first").replace("FROM w", "INTO seen FROM w")
            ))
            .unwrap();
        let plain = column(&mut client, &query("1"));
        assert!(plain[0].contains(of_type), "{plain:?}");
        assert_eq!(column(&mut client, "SELECT public.cycle_marks(1)"), plain, "{marks}");
    }
    client
        .batch_execute(
            "CREATE FUNCTION public.cycle_date(first int) RETURNS bigint LANGUAGE plpgsql AS \
             $f$ DECLARE seen bigint; BEGIN WITH RECURSIVE w AS (SELECT id FROM cycles.t WHERE id = first \
             UNION ALL SELECT t.id FROM cycles.t JOIN w ON t.id = w.id) \
             CYCLE id SET c TO date '2020-01-01' DEFAULT date '2021-01-01' USING path \
             SELECT count(*) INTO seen FROM w; RETURN seen; END $f$",
        )
        .unwrap();
    assert_eq!(sqlstate(&mut client, "SELECT public.cycle_date(1)"), "0A000");
}
