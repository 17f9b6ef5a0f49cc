//! A value that a function has read runs no code of its domain when it is a parameter of a statement on a node, as on one server.

use helios_tests::{Cluster, refused, text};

/// `ok` refuses to run as a superuser; `seen` is an ordinary function with a parameter of the domain.
const TYPES: &str = "
    CREATE FUNCTION passed.ok(v int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
            RAISE EXCEPTION 'ran as superuser %', current_user;
        END IF;
        RETURN true;
    END $$;
    CREATE DOMAIN passed.d AS int CHECK (passed.ok(VALUE));
    CREATE DOMAIN passed.narrow AS passed.d CHECK (VALUE > 0);
    CREATE DOMAIN passed.list AS int[] CHECK (passed.ok(1));
    CREATE DOMAIN passed.both AS passed.d[] CHECK (passed.ok(2));
    CREATE TYPE passed.pair AS (x passed.d, y text);
    CREATE TABLE passed.t (id int, d passed.d, n passed.narrow, l passed.list, ds passed.d[], b passed.both, p passed.pair);
    INSERT INTO passed.t VALUES (1, 7, 8, '{1,2}', '{3}', '{4}', '(5,y)'), (2, NULL, NULL, NULL, NULL, NULL, NULL)";

/// Statements of a superuser's function that pass on the columns of a row `r`.
const ACCEPTED: [&str; 9] = [
    "PERFORM FROM passed.t WHERE d = r.d",
    "PERFORM FROM passed.t WHERE n = r.n AND d < r.n",
    "PERFORM FROM passed.t WHERE l = r.l AND l[1] = r.l[1]",
    "EXECUTE 'SELECT id FROM passed.t WHERE d = $1 OR n = $2' USING r.d, r.n",
    "EXECUTE format('EXECUTE by_value(%s)', r.id)",
    "PERFORM t.id, r.d FROM passed.t, public.passed_here WHERE r.d IS NOT NULL",
    "PERFORM FROM passed.t JOIN public.passed_here USING (id) WHERE d = r.d",
    "FOR q IN SELECT id, r.d AS d FROM passed.t LOOP EXIT WHEN q.d = 8; END LOOP",
    "UPDATE passed.t SET id = id WHERE d = r.d",
];

const REJECTED: [&str; 4] = [
    "PERFORM FROM passed.t WHERE ds = r.ds",
    "PERFORM FROM passed.t WHERE b = r.b",
    "PERFORM FROM passed.t WHERE p = r.p",
    "PERFORM FROM passed.t WHERE id = 1 AND r.ds[1] = 3",
];

fn in_loop(statement: &str, rows: &str) -> String {
    format!(
        "DO $$ DECLARE r record; q record; BEGIN FOR r IN SELECT * FROM passed.t WHERE {rows} LOOP {statement}; END LOOP; END $$"
    )
}

#[test]
fn values_in_functions_run_no_code_of_their_domains() {
    let cluster = Cluster::shared();
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE passing LOGIN; CREATE SCHEMA passed AUTHORIZATION passing DISTRIBUTED; \
             CREATE TABLE public.passed_here AS SELECT 1 AS id",
        )
        .unwrap();
    let mut owner = cluster.connect_as("passing");
    owner.batch_execute(TYPES).unwrap();
    admin.batch_execute("PREPARE by_value(int) AS SELECT id FROM passed.t WHERE d = $1").unwrap();

    for statement in ACCEPTED {
        let result = admin.batch_execute(&in_loop(statement, "true"));
        result.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    for statement in REJECTED {
        refused(&mut admin, &in_loop(statement, "id = 1"), "0A000", "type passed.");
        let result = admin.batch_execute(&in_loop(statement, "id = 2"));
        result.unwrap_or_else(|error| panic!("{statement}, NULL: {error:?}"));
    }

    // The client fetches from a cursor of the function's.
    admin
        .batch_execute(
            "BEGIN; DO $$ DECLARE r record; c refcursor := 'kept'; BEGIN SELECT * INTO r FROM passed.t WHERE id = 1;
             OPEN c FOR SELECT id FROM passed.t WHERE d = r.d; END $$",
        )
        .unwrap();
    assert_eq!(text(&mut admin, "FETCH ALL FROM kept"), ["1"]);
    admin.batch_execute("COMMIT").unwrap();

    // The owner's own code, and a client's own values.
    for statement in ACCEPTED.into_iter().filter(|text| !text.contains("by_value")).chain(REJECTED)
    {
        let statement = statement.replace("public.passed_here", "(SELECT 1 AS id) passed_here");
        let result = owner.batch_execute(&in_loop(&statement, "true"));
        result.unwrap_or_else(|error| panic!("as the owner, {statement}: {error:?}"));
    }
    admin
        .batch_execute(
            "CREATE ROLE passing_reader LOGIN; GRANT USAGE ON SCHEMA passed TO passing_reader; \
             GRANT SELECT ON passed.t TO passing_reader",
        )
        .unwrap();
    let mut reader = cluster.connect_as("passing_reader");
    reader
        .batch_execute(
            "PREPARE p (passed.d, passed.d[]) AS SELECT id FROM passed.t WHERE d = $1 AND ds = $2",
        )
        .unwrap();
    assert_eq!(text(&mut reader, "EXECUTE p (7, '{3}')"), ["1"]);
}
