//! The value of `session_user` in code that runs as its owner: the correct one, or an error.

use helios_tests::{Cluster, refused, text};

const TABLES: &str = "GRANT USAGE ON SCHEMA audited TO clerk; \
    CREATE TABLE audited.plain (who text); \
    CREATE TABLE audited.by_default (x int, who text DEFAULT session_user); \
    CREATE TABLE audited.by_trigger (x int, who text); \
    CREATE FUNCTION audited.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.who := session_user; RETURN NEW; END $$; \
    CREATE TRIGGER note BEFORE INSERT ON audited.by_trigger FOR EACH ROW EXECUTE FUNCTION audited.note(); \
    CREATE TABLE audited.by_check (who text CHECK (who = session_user)); \
    CREATE VIEW audited.mine AS SELECT * FROM audited.plain WHERE who = session_user; \
    CREATE FUNCTION audited.who() RETURNS text LANGUAGE sql STABLE AS 'SELECT session_user::text';";

#[test]
fn session_user_in_a_definer_function_is_the_login_or_an_error() {
    let cluster = Cluster::shared();
    let roles = "CREATE ROLE boss LOGIN; CREATE ROLE clerk LOGIN; CREATE SCHEMA audited AUTHORIZATION boss DISTRIBUTED";
    cluster.connect().batch_execute(roles).unwrap();
    let mut boss = cluster.connect_as("boss");
    boss.batch_execute(TABLES).unwrap();
    let mut clerk = cluster.connect_as("clerk");
    for (number, statement) in [
        "INSERT INTO audited.plain VALUES (session_user)",
        "INSERT INTO audited.plain VALUES (SESSION_USER || '')",
        "INSERT INTO audited.plain VALUES (pg_catalog.\"session_user\"())",
        "INSERT INTO audited.by_default (x) VALUES (1)",
        "INSERT INTO audited.by_trigger (x) VALUES (1)",
        "INSERT INTO audited.by_check VALUES ('clerk')",
        "INSERT INTO audited.plain SELECT audited.who()",
        "UPDATE audited.plain SET who = session_user",
        "DELETE FROM audited.plain WHERE who = session_user",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("public.writes_{number}");
        boss_makes(cluster, &name, statement);
        let call = format!("SELECT {name}()");
        refused(&mut clerk, &call, "0A000", "session_user");
        if !statement.contains("by_check") {
            boss.batch_execute(&call).unwrap(); // boss is the session user
        }
    }
    // A query computes it here.
    for (name, statement) in [
        ("public.reads_view", "IF EXISTS (SELECT FROM audited.mine) THEN RAISE 'seen'; END IF"),
        (
            "public.reads_value",
            "IF EXISTS (SELECT session_user AS who FROM audited.plain EXCEPT SELECT 'clerk') THEN RAISE 'another'; END IF",
        ),
    ] {
        boss_makes(cluster, name, statement);
        clerk.batch_execute(&format!("SELECT {name}()")).unwrap();
    }
    let truth = "who text := session_user; BEGIN INSERT INTO audited.plain VALUES (who || '!');";
    let make = format!(
        "CREATE FUNCTION public.truthful() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ DECLARE {truth} END $$; \
         ALTER FUNCTION public.truthful() OWNER TO boss"
    );
    cluster.connect().batch_execute(&make).unwrap();
    clerk.batch_execute("SELECT public.truthful()").unwrap();
    let count = "SELECT count(*) FROM audited.plain WHERE who = 'clerk!'";
    assert_eq!(text(&mut boss, count), ["1"]);
    let lies = "SELECT count(*) FROM audited.by_default WHERE who <> 'boss'";
    assert_eq!(text(&mut boss, lies), ["0"]);
}

fn boss_makes(cluster: &Cluster, name: &str, statement: &str) {
    let make = format!(
        "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN {statement}; END $$; \
         ALTER FUNCTION {name}() OWNER TO boss"
    );
    cluster.connect().batch_execute(&make).unwrap();
}

/// The code that reads it is called by code called by the statement: only the node can see that.
const NESTED: &str = "GRANT USAGE ON SCHEMA nested TO scribe; CREATE TABLE nested.plain (who text);
    CREATE FUNCTION nested.inner() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN session_user; END $$;
    CREATE FUNCTION nested.outer() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RETURN nested.inner(); END $$;
    CREATE FUNCTION nested.built() RETURNS text LANGUAGE plpgsql AS
        $$ DECLARE r text; BEGIN EXECUTE 'SELECT session' || '_user' INTO r; RETURN r; END $$;
    CREATE FUNCTION nested.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.who := nested.inner(); RETURN NEW; END $$;
    CREATE TABLE nested.by_trigger (x int, who text);
    CREATE TRIGGER note BEFORE INSERT ON nested.by_trigger FOR EACH ROW EXECUTE FUNCTION nested.note();
    CREATE TABLE nested.by_default (x int, who text DEFAULT nested.outer()); CREATE TABLE nested.chained (x int);
    CREATE FUNCTION nested.chain() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO nested.by_trigger (x) VALUES (NEW.x); RETURN NEW; END $$;
    CREATE TRIGGER chain AFTER INSERT ON nested.chained FOR EACH ROW EXECUTE FUNCTION nested.chain();
    CREATE PROCEDURE nested.p() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO nested.plain VALUES (session_user); END $$;
    CREATE VIEW nested.v AS SELECT nested.outer() AS who;";

#[test]
fn session_user_in_code_that_code_calls_is_the_login_or_an_error() {
    let cluster = Cluster::shared();
    let roles =
        "CREATE ROLE head LOGIN; CREATE ROLE scribe LOGIN; GRANT pg_execute_server_program TO head;
        CREATE SCHEMA nested AUTHORIZATION head DISTRIBUTED";
    cluster.connect().batch_execute(roles).unwrap();
    let mut head = cluster.connect_as("head");
    head.batch_execute(NESTED).unwrap();
    let mut scribe = cluster.connect_as("scribe");
    for (number, statement) in [
        "INSERT INTO nested.plain SELECT nested.outer()",
        "INSERT INTO nested.plain SELECT nested.built()",
        "INSERT INTO nested.by_trigger (x) VALUES (1)",
        "INSERT INTO nested.by_default (x) VALUES (1)",
        "INSERT INTO nested.chained VALUES (1)",
        "INSERT INTO nested.plain SELECT who FROM nested.v",
        "CALL nested.p()",
        "PERFORM nested.outer()",
        "COPY nested.by_trigger (x) FROM PROGRAM 'echo 5'",
        "COPY nested.by_default (x) FROM PROGRAM 'echo 5'",
        "EXECUTE 'INSERT INTO nested.by_default (x) VALUES (9)'",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("public.nests_{number}");
        let make = format!(
            "CREATE FUNCTION {name}() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN {statement}; END $$; \
             ALTER FUNCTION {name}() OWNER TO head"
        );
        cluster.connect().batch_execute(&make).unwrap();
        refused(&mut scribe, &format!("SELECT {name}()"), "0A000", "session_user");
        head.batch_execute(&format!("SELECT {name}()")).unwrap(); // head is the session user
    }
    let all = "SELECT who FROM nested.plain UNION SELECT who FROM nested.by_trigger UNION SELECT who FROM nested.by_default";
    assert_eq!(text(&mut head, all), ["head"]);
}
