//! Invariant 1: a shell is never read or written, on any path.

use helios_tests::Cluster;
use postgres::Client;
use testkit::cluster::DATABASE;

use crate::{described, value};

/// Statements that are not supported may be refused, with one of these SQLSTATEs.
const REFUSALS: [&str; 4] = ["0A000", "42809", "42P16", "42P17"];

/// A statement that would access the shell on some path, and its result if supported.
struct Case {
    sql: &'static str,
    answer: &'static str,
}

const fn case(sql: &'static str, answer: &'static str) -> Case {
    Case { sql, answer }
}

/// `shells.t` has the rows 1 to 10, `public.shells_l` has 1 to 3.
const SETUP: &str = "
    CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'd');
    INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 10) i;
    CREATE TABLE public.shells_l (id int PRIMARY KEY, n int);
    INSERT INTO public.shells_l SELECT i, 0 FROM generate_series(1, 3) i;
    CREATE FUNCTION public.shells_scalar() RETURNS bigint LANGUAGE sql STABLE
        AS 'SELECT count(*) FROM shells.t';
";

const READS: &[Case] = &[
    case("SELECT count(*) FROM t", "10"),
    case("SELECT count(*) FROM ONLY t", "10"),
    case("SELECT count(*) FROM t TABLESAMPLE bernoulli (100)", "10"),
    case("SELECT count(ctid) FROM t WHERE tableoid = 't'::regclass", "10"),
    case("SELECT max(id) FROM t WHERE id > 3", "10"),
    case("BEGIN; DECLARE c CURSOR FOR SELECT count(*) FROM t; FETCH c", "10"),
    case(
        "PREPARE p AS SELECT count(*) FROM t; EXECUTE p; SET plan_cache_mode = force_generic_plan; EXECUTE p",
        "10",
    ),
    case("SELECT (SELECT count(*) FROM t)", "10"),
    case("VALUES ((SELECT count(*) FROM t))", "10"),
    case("SELECT count(*) FROM (VALUES (1)) v WHERE EXISTS (SELECT FROM t WHERE id = 10)", "1"),
    case(
        "CREATE FUNCTION public.shells_inline() RETURNS SETOF t LANGUAGE sql STABLE AS 'SELECT * FROM shells.t'; SELECT count(*) FROM public.shells_inline()",
        "10",
    ),
    case("SELECT public.shells_scalar()", "10"),
    case(
        "CREATE FUNCTION public.shells_atomic() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM shells.t; END; SELECT public.shells_atomic()",
        "10",
    ),
    case(
        "CREATE FUNCTION public.shells_plpgsql() RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint; BEGIN FOR i IN 1..8 LOOP SELECT count(*) INTO n FROM shells.t; END LOOP; RETURN n; END $$; SELECT public.shells_plpgsql()",
        "10",
    ),
    case("SELECT sum(n) FROM (SELECT public.shells_scalar() AS n FROM public.shells_l) x", "30"),
    case(
        "CREATE VIEW public.shells_view AS SELECT * FROM shells.t; SELECT count(*) FROM public.shells_view",
        "10",
    ),
    case(
        "CREATE MATERIALIZED VIEW public.shells_mat AS SELECT * FROM shells.t; SELECT count(*) FROM public.shells_mat",
        "10",
    ),
    case(
        "CREATE TABLE public.shells_copy AS SELECT * FROM shells.t; SELECT count(*) FROM public.shells_copy",
        "10",
    ),
    case(
        "SELECT * INTO public.shells_into FROM shells.t; SELECT count(*) FROM public.shells_into",
        "10",
    ),
    case("CREATE TEMP TABLE tmp AS SELECT * FROM shells.t; SELECT count(*) FROM tmp", "10"),
    case("CREATE TEMP VIEW tv AS SELECT * FROM shells.t; SELECT count(*) FROM tv", "10"),
    case("SELECT count(*) FROM public.shells_l JOIN t USING (id)", "3"),
    case("SELECT count(*) FROM public.shells_l WHERE id IN (SELECT id FROM t)", "3"),
    case("SELECT count(*) FROM t UNION ALL SELECT 5 FROM public.shells_l WHERE false", "10"),
    case(
        "WITH x AS (SELECT * FROM t) SELECT count(*) FROM x, pg_timezone_names WHERE name = 'UTC'",
        "10",
    ),
    case(
        "SELECT length(query_to_xml('SELECT id FROM shells.t', true, false, '')::text) > 200",
        "t",
    ),
    case("SELECT length(table_to_xml('shells.t', true, false, '')::text) > 200", "t"),
    case("SELECT count(*) FROM ts_stat('SELECT to_tsvector(v) FROM shells.t')", "10"),
    case(
        "UPDATE public.shells_l l SET n = t.id FROM t WHERE t.id = l.id; SELECT sum(n) FROM public.shells_l",
        "6",
    ),
    case(
        "DELETE FROM public.shells_l WHERE id NOT IN (SELECT id FROM t); SELECT count(*) FROM public.shells_l",
        "3",
    ),
    case(
        "MERGE INTO public.shells_l l USING t ON t.id = l.id WHEN NOT MATCHED THEN INSERT VALUES (t.id, 0) WHEN MATCHED THEN DO NOTHING; SELECT count(*) FROM public.shells_l",
        "10",
    ),
    case(
        "INSERT INTO public.shells_l SELECT id + 100, 0 FROM t; SELECT count(*) FROM public.shells_l",
        "13",
    ),
    case(
        "CREATE TABLE public.shells_child (id int REFERENCES shells.t); INSERT INTO public.shells_child VALUES (10); SELECT count(*) FROM public.shells_child",
        "1",
    ),
    case(
        "CREATE TABLE public.shells_inherits () INHERITS (shells.t); SELECT count(*) FROM t",
        "10",
    ),
    case(
        "ALTER TABLE public.shells_l ADD CHECK (public.shells_scalar() = 10); SELECT count(*) FROM public.shells_l",
        "3",
    ),
    case(
        "CREATE POLICY p ON public.shells_l USING (id IN (SELECT id FROM shells.t)); ALTER TABLE public.shells_l ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE ROLE shells_role; GRANT ALL ON public.shells_l TO shells_role; GRANT USAGE ON SCHEMA shells TO shells_role; GRANT SELECT ON t TO shells_role; SET ROLE shells_role; SELECT count(*) FROM public.shells_l",
        "3",
    ),
    case(
        "DO $$ DECLARE c refcursor; n int; BEGIN OPEN c FOR EXECUTE 'SELECT count(*) FROM shells.t'; FETCH c INTO n; IF n <> 10 THEN RAISE 'read %', n; END IF; END $$; SELECT 10",
        "10",
    ),
    case("EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) SELECT * FROM t; SELECT 10", "10"),
    case(
        "SET enable_seqscan = off; SET enable_indexscan = off; SELECT count(*) FROM t WHERE id = 5",
        "1",
    ),
    case("SET session_replication_role = replica; SELECT count(*) FROM t", "10"),
];

/// Each leaves 11 rows in `shells.t`, the added one with ID 11.
const WRITES: &[&str] = &[
    "INSERT INTO t VALUES (11)",
    "WITH x AS (INSERT INTO t VALUES (11) RETURNING *) SELECT * FROM x",
    "PREPARE p AS INSERT INTO t VALUES (11); EXECUTE p",
    "DO $$ BEGIN INSERT INTO shells.t VALUES (11); END $$",
    "DO $$ BEGIN EXECUTE 'INSERT INTO shells.t VALUES ($1)' USING 11; END $$",
    "INSERT INTO t SELECT id + 8 FROM public.shells_l WHERE id = 3",
    "CREATE FUNCTION public.shells_f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO shells.t VALUES (NEW.id); RETURN NEW; END $$; CREATE TRIGGER tr BEFORE INSERT ON public.shells_l FOR EACH ROW EXECUTE FUNCTION public.shells_f(); INSERT INTO public.shells_l VALUES (11, 0)",
    "CREATE RULE r AS ON INSERT TO public.shells_l DO ALSO INSERT INTO shells.t VALUES (NEW.id); INSERT INTO public.shells_l VALUES (11, 0)",
    "CREATE RULE r AS ON UPDATE TO public.shells_l DO INSTEAD INSERT INTO shells.t VALUES (11); UPDATE public.shells_l SET n = 1 WHERE id = 1",
    "CREATE VIEW public.shells_v AS SELECT * FROM shells.t; INSERT INTO public.shells_v VALUES (11)",
    "CREATE FUNCTION public.shells_sql() RETURNS void LANGUAGE sql AS 'INSERT INTO shells.t VALUES (11)'; SELECT public.shells_sql()",
    "CREATE PROCEDURE public.shells_p() LANGUAGE sql AS 'INSERT INTO shells.t VALUES (11)'; CALL public.shells_p()",
    "MERGE INTO t USING (VALUES (11)) s(i) ON id = i WHEN NOT MATCHED THEN INSERT VALUES (i)",
    "EXPLAIN (ANALYZE, COSTS off, TIMING off, SUMMARY off) INSERT INTO t VALUES (11)",
    "CREATE TABLE public.shells_part (id int, v text) PARTITION BY LIST (id); ALTER TABLE public.shells_part ATTACH PARTITION shells.t DEFAULT; INSERT INTO public.shells_part VALUES (11)",
    "ALTER TABLE t ADD COLUMN w int DEFAULT 5; INSERT INTO t (id) VALUES (11)",
    "CREATE INDEX ON t (v); INSERT INTO t VALUES (11)",
    "VACUUM (FULL, ANALYZE) t;; INSERT INTO t VALUES (11)",
    "CLUSTER t USING t_pkey; INSERT INTO t VALUES (11)",
    "REINDEX TABLE t; INSERT INTO t VALUES (11)",
    "BEGIN; TRUNCATE t; ROLLBACK; INSERT INTO t VALUES (11)",
    "BEGIN; TRUNCATE t, public.shells_l; ROLLBACK; INSERT INTO t VALUES (11)",
    "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; INSERT INTO t VALUES (11); COMMIT",
];

fn start(cluster: &Cluster, schema: &str) -> Client {
    let mut client = cluster.connect();
    let clean = "DROP TABLE IF EXISTS public.shells_l, public.shells_copy, public.shells_into, \
                 public.shells_child, public.shells_inherits, public.shells_part CASCADE";
    client.batch_execute(clean).unwrap();
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE")).unwrap();
    let functions = "SELECT 'DROP ROUTINE ' || oid::regprocedure FROM pg_proc \
                     WHERE proname LIKE 'shells%' AND pronamespace = 'public'::regnamespace";
    for row in client.query(functions, &[]).unwrap() {
        client.batch_execute(row.get(0)).unwrap();
    }
    client.batch_execute(&format!("CREATE SCHEMA {schema} DISTRIBUTED")).unwrap();
    client.batch_execute(&format!("SET search_path = {schema}; {SETUP}")).unwrap();
    client
}

/// Every file of the schema's tables on the coordinator is empty.
fn shells_are_empty(cluster: &Cluster) -> Result<(), String> {
    let mut client = cluster.connect();
    // Do not use pg_relation_filepath: that returns the path of the node's table.
    let query = "SELECT c.relname::text, format('base/%s/%s', d.oid, c.relfilenode) \
                 FROM pg_class c, pg_database d WHERE d.datname = current_database() \
                 AND c.relnamespace = 'shells'::regnamespace AND c.relkind IN ('r', 'm', 't')";
    for row in client.query(query, &[]).unwrap() {
        let (name, path): (String, String) = (row.get(0), row.get(1));
        let path = cluster.coordinator().data.join(path);
        let length = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        if length > 0 {
            return Err(format!("the shell of {name} holds {length} bytes"));
        }
    }
    Ok(())
}

/// Runs a statement with this expected result, and returns what is wrong. Two
/// semicolons separate what is sent in separate messages.
fn check(cluster: &Cluster, sql: &str, answer: Option<&str>, rows: i64) -> Result<(), String> {
    let mut client = start(cluster, "shells");
    let mut refused = false;
    for message in sql.split(";;") {
        match value(&mut client, message) {
            Err(error) => {
                let (code, text) = described(&error);
                if !REFUSALS.contains(&code.as_str()) {
                    return Err(format!("{sql}\n    error {code} {text}"));
                }
                refused = true;
                break;
            }
            Ok(Some(found)) if answer.is_some_and(|answer| answer != found) => {
                return Err(format!("{sql}\n    gave {found} instead of {answer:?}"));
            }
            Ok(_) => {}
        }
    }
    drop(client);
    shells_are_empty(cluster).map_err(|error| format!("{sql}\n    {error}"))?;
    let mut node = cluster.node_of("shells").connect(DATABASE).unwrap();
    let found: i64 = node.query_one("SELECT count(*) FROM shells.t", &[]).unwrap().get(0);
    let expected = if refused { 10 } else { rows };
    if found != expected {
        return Err(format!("{sql}\n    left {found} rows instead of {expected}"));
    }
    Ok(())
}

fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn shell_is_never_read() {
    let cluster = Cluster::start(1);
    let check = |case: &Case| check(&cluster, case.sql, Some(case.answer), 10).err();
    assert_none(READS.iter().filter_map(check).collect());
}

#[test]
fn shell_is_never_written() {
    let cluster = Cluster::start(1);
    let check = |sql: &&str| check(&cluster, sql, None, 11).err();
    assert_none(WRITES.iter().filter_map(check).collect());
}

/// Plans made while the schema was a plain one here.
#[test]
fn shell_is_never_read_by_plans_made_before_it_was_one() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA s; CREATE TABLE s.t AS SELECT generate_series(1, 3) AS id;
             CREATE FUNCTION public.counted() RETURNS bigint LANGUAGE plpgsql AS
                 $$ BEGIN RETURN (SELECT count(*) FROM s.t); END $$;
             SET plan_cache_mode = force_generic_plan;
             PREPARE p AS SELECT count(*) FROM s.t;
             PREPARE w AS INSERT INTO s.t VALUES (0)",
        )
        .unwrap();
    let counted = |client: &mut Client| {
        ["EXECUTE p", "SELECT public.counted()"].map(|sql| value(client, sql).unwrap().unwrap())
    };
    assert_eq!(counted(&mut client), ["3", "3"]);
    let mut other = cluster.connect();
    other
        .batch_execute(
            "DROP SCHEMA s CASCADE; CREATE SCHEMA s DISTRIBUTED; CREATE TABLE s.t (id int); \
             INSERT INTO s.t SELECT generate_series(1, 7)",
        )
        .unwrap();
    assert_eq!(counted(&mut client), ["7", "7"]);
    client.batch_execute("EXECUTE w").unwrap();
    assert_eq!(counted(&mut client), ["8", "8"]);
    other
        .batch_execute("DROP SCHEMA s CASCADE; CREATE SCHEMA s; CREATE TABLE s.t (id int)")
        .unwrap();
    assert_eq!(counted(&mut client), ["0", "0"]);
    let mut node = cluster.connect_to_node(1);
    assert!(node.batch_execute("SELECT FROM s.t").is_err(), "the node still has the table");
}

/// Defaults are computed by COPY and by ALTER TABLE without a query that could be routed.
#[test]
fn shell_sequence_gives_no_default() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA q DISTRIBUTED; CREATE TABLE q.t (id serial, v int); \
             INSERT INTO q.t (v) SELECT generate_series(1, 20); CREATE SEQUENCE public.own; \
             CREATE FUNCTION public.next_sql() RETURNS bigint LANGUAGE sql AS $$SELECT nextval('q.t_id_seq')$$; \
             CREATE FUNCTION public.next_plpgsql() RETURNS bigint LANGUAGE plpgsql \
                 AS $$BEGIN RETURN nextval('q.t_id_seq'); END$$; \
             CREATE TABLE public.by_sql (id int DEFAULT public.next_sql(), v int); \
             CREATE TABLE public.by_plpgsql (id int DEFAULT public.next_plpgsql(), v int); \
             CREATE TABLE public.computed (id int DEFAULT nextval('q.' || 't_id_seq'), v int); \
             CREATE TABLE public.fine (gone int, id serial, g int GENERATED ALWAYS AS IDENTITY, \
                                       v int DEFAULT nextval('own')); \
             ALTER TABLE public.fine DROP COLUMN gone",
        )
        .unwrap();
    for sql in [
        "CREATE TABLE public.direct (id int DEFAULT nextval('q.t_id_seq'))",
        "ALTER TABLE public.fine ALTER v SET DEFAULT nextval('q.t_id_seq')",
        "CREATE TABLE q.other (id int DEFAULT nextval('public.own'))",
    ] {
        crate::refused(&mut client, sql, "0A000", &["is on node", "on this server"]);
    }
    let sql = "ALTER TABLE public.fine ADD COLUMN w int DEFAULT nextval('q.t_id_seq')";
    crate::refused(&mut client, sql, "0A000", &["q.t_id_seq, which is on a node"]);
    let copy = |target: &str| {
        let script = format!("COPY public.{target} FROM STDIN;\n1\n\\.\n");
        helios_tests::psql(cluster.coordinator(), DATABASE, &script)
    };
    for target in ["by_sql (v)", "computed (v)"] {
        let refused = copy(target);
        assert!(refused.stderr.contains("0A000"), "{target}: {}", refused.stderr);
    }
    for target in ["by_sql (id)", "fine (v)", "by_plpgsql (v)"] {
        copy(target).ok();
    }
    assert_eq!(
        value(&mut client, "SELECT id FROM public.by_plpgsql").unwrap().as_deref(),
        Some("21")
    );
    assert_eq!(value(&mut client, "SELECT nextval('q.t_id_seq')").unwrap().as_deref(), Some("22"));
}

#[test]
fn shell_is_not_read_by_refreshing_a_local_view() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    let create = "CREATE SCHEMA r DISTRIBUTED; CREATE TABLE r.t AS SELECT 1 AS x; \
                  CREATE MATERIALIZED VIEW public.m AS SELECT x FROM r.t; INSERT INTO r.t VALUES (2)";
    client.batch_execute(create).unwrap();
    client.batch_execute("REFRESH MATERIALIZED VIEW public.m").unwrap();
    assert_eq!(value(&mut client, "SELECT count(*) FROM public.m").unwrap().as_deref(), Some("2"));
    // A materialized view that is read is this server's, whatever stands beside it.
    let both = "SELECT count(*) FROM public.m, r.t";
    assert_eq!(value(&mut client, both).unwrap().as_deref(), Some("4"));
}
