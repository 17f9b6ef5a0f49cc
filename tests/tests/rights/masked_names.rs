//! A view is bound to operators, functions and types. Its text on a node, or that of a part of a statement, is not bound to others
//! that a schema of the client's `search_path` has.

use helios_tests::Cluster;
use postgres::{Client, Error, SimpleQueryMessage};

/// Fits better than PostgreSQL's own where these are polymorphic, or need an implicit cast.
const EVIL: &str = "
    GRANT USAGE ON SCHEMA evil TO PUBLIC;
    CREATE FUNCTION evil.ran() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$;
    CREATE FUNCTION evil.arrays(int[], int[]) RETURNS boolean LANGUAGE sql AS 'SELECT evil.ran()';
    CREATE FUNCTION evil.mixed(int, numeric) RETURNS boolean LANGUAGE sql AS 'SELECT evil.ran()';
    CREATE FUNCTION evil.round(int) RETURNS int LANGUAGE sql AS 'SELECT evil.ran()::int';
    CREATE FUNCTION evil.array_length(int[], int) RETURNS int LANGUAGE sql AS 'SELECT evil.ran()::int';
    CREATE FUNCTION evil.state(int, int[]) RETURNS int LANGUAGE sql AS 'SELECT evil.ran()::int';
    CREATE AGGREGATE evil.max(int[]) (SFUNC = evil.state, STYPE = int);
    CREATE OPERATOR evil.= (LEFTARG = int[], RIGHTARG = int[], FUNCTION = evil.arrays);
    CREATE OPERATOR evil.<> (LEFTARG = int[], RIGHTARG = int[], FUNCTION = evil.arrays);
    CREATE OPERATOR evil.< (LEFTARG = int[], RIGHTARG = int[], FUNCTION = evil.arrays);
    CREATE OPERATOR evil.= (LEFTARG = int, RIGHTARG = numeric, FUNCTION = evil.mixed);
    CREATE TYPE evil.uuid AS (x int)";

const VIEWS: [&str; 13] = [
    "SELECT id FROM tab WHERE a = '{1}'",
    "SELECT id FROM tab WHERE a IS DISTINCT FROM '{1}'",
    "SELECT id FROM tab WHERE NULLIF(a, '{1}') IS NULL",
    "SELECT id, CASE a WHEN '{1}' THEN 'one' ELSE 'other' END AS c FROM tab",
    "SELECT id FROM tab WHERE a IN ('{1}', '{3}')",
    "SELECT id FROM tab WHERE (a, id) < ('{2}', 1)",
    "SELECT id FROM tab WHERE i = n",
    "SELECT round(i) AS r, id FROM tab",
    "SELECT array_length(a, 1) AS l, id FROM tab",
    "SELECT max(a) AS m, 1 AS id FROM tab",
    "SELECT x.id FROM tab x JOIN tab y USING (a)",
    "SELECT id FROM tab WHERE a = ANY (SELECT a FROM tab WHERE id = 2)",
    "SELECT u::uuid::text AS u, id FROM tab",
];

const STATEMENTS: [&str; 5] = [
    "SELECT v.* FROM VIEW v ORDER BY v.id",
    "SELECT v.*, w.id FROM VIEW v JOIN public.mask_here w ON true ORDER BY v.id",
    "SELECT count(*) FROM VIEW v, masked_two.t2 WHERE t2.id = v.id",
    "INSERT INTO masked_two.t2 SELECT v.id FROM VIEW v RETURNING id",
    "WITH gone AS (DELETE FROM masked_two.t2 WHERE id IN (SELECT v.id FROM VIEW v) RETURNING id) SELECT count(*) FROM gone, public.mask_here",
];

fn sorted(client: &mut Client, sql: &str) -> Result<Vec<String>, Error> {
    let mut rows = Vec::new();
    for message in client.simple_query(sql)? {
        if let SimpleQueryMessage::Row(row) = message {
            let values = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL"));
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort();
    Ok(rows)
}

#[test]
fn texts_of_views_are_not_bound_to_masking_names() {
    let cluster = Cluster::shared();
    let mut admin = cluster.connect();
    let table = "(id int, a int[], i int, n numeric, u text)";
    admin
        .batch_execute(&format!(
            "CREATE ROLE masker LOGIN; CREATE SCHEMA evil AUTHORIZATION masker; \
             CREATE SCHEMA masked DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA masked_two DISTRIBUTED ON NODE \"node-2\"; \
             CREATE TABLE masked.t {table}; CREATE TABLE public.mask_t {table}; CREATE TABLE masked_two.t2 (id int); \
             CREATE TABLE public.mask_here AS SELECT 1 AS id"
        ))
        .unwrap();
    for target in ["masked.t", "public.mask_t"] {
        let uuid = "f0f0f0f0-0000-0000-0000-000000000001";
        admin
            .batch_execute(&format!(
                "INSERT INTO {target} VALUES (1, '{{1}}', 1, 1.0, '{uuid}'), (2, '{{2}}', 2, 2.5, '{uuid}')"
            ))
            .unwrap();
    }
    cluster.connect_as("masker").batch_execute(EVIL).unwrap_or_else(|error| panic!("{error:?}"));
    let (mut answered, mut rejected) = (0, 0);
    for (number, view) in VIEWS.iter().enumerate() {
        for target in ["masked.t", "public.mask_t"] {
            let name = format!("public.mask_v{number}{}", &target[..1]);
            let sql = format!("CREATE VIEW {name} AS {}", view.replace("tab", target));
            admin.batch_execute(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
            for statement in STATEMENTS {
                let statement = statement.replace("VIEW", &name);
                admin.batch_execute("RESET search_path; BEGIN").unwrap();
                let expected = sorted(&mut admin, &statement).unwrap();
                admin.batch_execute("ROLLBACK; SET search_path = evil, public; BEGIN").unwrap();
                match sorted(&mut admin, &statement) {
                    Ok(rows) => {
                        assert_eq!(rows, expected, "{statement} over {view}");
                        answered += 1;
                    }
                    Err(error) => {
                        let state = error.code().map(|code| code.code());
                        assert_eq!(state, Some("0A000"), "{statement} over {view}: {error:?}");
                        assert!(
                            format!("{error:?}").contains("is masked by"),
                            "{statement}: {error:?}"
                        );
                        rejected += 1;
                    }
                }
                admin.batch_execute("ROLLBACK").unwrap();
            }
        }
    }
    assert!(answered > 20 && rejected > 20, "{answered} answered, {rejected} rejected");
}

/// A temporary object comes before PostgreSQL's own relations, and anybody's SECURITY DEFINER function can create one in the session.
#[test]
fn texts_of_views_are_not_bound_to_temporary_objects() {
    let cluster = Cluster::shared();
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE shadow LOGIN; CREATE SCHEMA shadows AUTHORIZATION shadow; \
             CREATE SCHEMA shadowed DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE shadowed.t (name text); \
             CREATE VIEW public.shadowed_v AS SELECT amname::text AS name, 'pg_am'::regclass::text AS of FROM pg_am WHERE amname = 'heap'",
        )
        .unwrap();
    cluster
        .connect_as("shadow")
        .batch_execute(
            "GRANT USAGE ON SCHEMA shadows TO PUBLIC; \
             CREATE FUNCTION shadows.ran() RETURNS name LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'ran as %', current_user; END $$; \
             CREATE FUNCTION shadows.create() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN \
               CREATE TEMP VIEW pg_am AS SELECT shadows.ran() AS amname; GRANT SELECT ON pg_am TO PUBLIC; END $$",
        )
        .unwrap_or_else(|error| panic!("{error:?}"));
    admin.batch_execute("SELECT shadows.create()").unwrap();
    let view = sorted(&mut admin, "SELECT name, of FROM public.shadowed_v").unwrap();
    assert_eq!(view, ["heap|pg_catalog.pg_am"]);
    for (statement, row) in [
        ("INSERT INTO shadowed.t SELECT name FROM public.shadowed_v RETURNING name", "heap"),
        (
            "INSERT INTO shadowed.t SELECT of FROM public.shadowed_v RETURNING name",
            "pg_catalog.pg_am",
        ),
        ("UPDATE shadowed.t SET name = v.name FROM public.shadowed_v v RETURNING v.name", "heap"),
        ("SELECT v.name FROM public.shadowed_v v, shadowed.t", "heap"),
    ] {
        let rows =
            sorted(&mut admin, statement).unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        assert!(!rows.is_empty() && rows.iter().all(|found| found == row), "{statement}: {rows:?}");
    }
}
