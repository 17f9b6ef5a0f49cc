//! Code of tables that reference a reference table, run by referential actions on the coordinator and on nodes.

use std::io::Read;

use helios_tests::{Cluster, refused, text};

/// What the owner of a referencing table tries where its code runs: none of it may have an effect.
const HOSTILE: &str = "CREATE SCHEMA mp; GRANT USAGE ON SCHEMA mp TO PUBLIC;
    CREATE FUNCTION mp.deed() RETURNS void LANGUAGE plpgsql AS $$
    DECLARE attempt text;
    BEGIN
        IF current_setting('mp.busy', true) = 'yes' THEN RETURN; END IF;
        PERFORM set_config('mp.busy', 'yes', true);
        FOREACH attempt IN ARRAY ARRAY['ALTER ROLE mallory SUPERUSER', 'RESET ROLE; ALTER ROLE mallory SUPERUSER', 'SET ROLE postgres',
            'SET SESSION AUTHORIZATION postgres', 'RESET SESSION AUTHORIZATION; ALTER ROLE mallory SUPERUSER',
            'DELETE FROM public.secret', 'UPDATE public.parent SET name = ''evil''', 'TRUNCATE public.secret',
            'INSERT INTO mp.child VALUES (1000, NULL, 1)', 'DELETE FROM mp.child WHERE id = 9', 'UPDATE mp.other SET v = 2',
            
            'DECLARE c CURSOR WITH HOLD FOR SELECT mp.deed()', 'LISTEN x',
            'SELECT helios.change_number(); SELECT helios.change_copy(''postgres'', ''public'', ''secret'', ''DELETE FROM public.secret'', ''00'')']
        LOOP
            -- On one server, and on the coordinator, PostgreSQL lets cursors outlive a referential action.
            CONTINUE WHEN attempt ~ 'CURSOR' AND pg_trigger_depth() > 0;
            BEGIN EXECUTE attempt; EXCEPTION WHEN OTHERS THEN END;
        END LOOP;
        PERFORM set_config('mp.busy', 'no', true);
    END $$;
    CREATE FUNCTION mp.evil(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM mp.deed(); RETURN true; END $$;
    CREATE TABLE mp.other (id int PRIMARY KEY, v int); INSERT INTO mp.other VALUES (1, 1);
    CREATE TABLE mp.child (id int PRIMARY KEY, p int REFERENCES public.parent ON UPDATE CASCADE ON DELETE SET NULL, depth int DEFAULT 1,
        CHECK (mp.evil(depth)), g int GENERATED ALWAYS AS (mp.evil(depth)::int) STORED);
    INSERT INTO mp.child SELECT i, i, 1 FROM generate_series(1, 9) i;
    CREATE INDEX ON mp.child (p) WHERE mp.evil(1); CREATE INDEX ON mp.child ((mp.evil(depth)::int));";

#[track_caller]
fn assert_only_postgres_is_superuser(cluster: &Cluster, after: &str) {
    for server in [cluster.coordinator()].into_iter().chain(cluster.nodes()) {
        let mut client = server.connect("helios").unwrap();
        let found = text(&mut client, "SELECT rolname FROM pg_roles WHERE rolsuper");
        assert_eq!(found, ["postgres"], "{after}: {}", server.name);
    }
}

#[test]
fn code_of_a_referring_table_gains_nothing_by_referential_actions() {
    let cluster = Cluster::start(2);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE mallory LOGIN; CREATE ROLE clerk LOGIN; GRANT CREATE ON DATABASE helios TO mallory;
             CREATE TABLE parent (id int PRIMARY KEY, name text); INSERT INTO parent SELECT i, 'p' FROM generate_series(1, 9) i;
             CREATE TABLE secret (id int PRIMARY KEY); INSERT INTO secret VALUES (42); GRANT REFERENCES ON parent TO mallory;
             GRANT ALL ON parent TO clerk; SELECT helios_create_reference_table('parent'); SELECT helios_create_reference_table('secret')",
        )
        .unwrap();
    let mut mallory = cluster.connect_as("mallory");
    mallory.batch_execute(HOSTILE).unwrap();
    for table in ["other", "child"] {
        admin
            .batch_execute(&format!("SELECT helios_create_reference_table('mp.{table}')"))
            .unwrap();
    }
    assert_only_postgres_is_superuser(&cluster, "reference tables are made");
    for change in [
        "UPDATE parent SET id = 101 WHERE id = 1",
        "DELETE FROM parent WHERE id = 2",
        "DELETE FROM parent WHERE id = 3",
    ] {
        admin.batch_execute(change).unwrap();
        assert_only_postgres_is_superuser(&cluster, change);
    }
    let mut clerk = cluster.connect_as("clerk");
    clerk.batch_execute("BEGIN; UPDATE parent SET id = 104 WHERE id = 4; DELETE FROM parent WHERE id = 5; COMMIT").unwrap();
    assert_only_postgres_is_superuser(&cluster, "the clerk's work");
    // A superuser's query on the table would run its owner's code; COPY plans nothing.
    let seen = |server: &testkit::server::Server| {
        let mut client = server.connect("helios").unwrap();
        let mut rows = String::new();
        for table in ["mp.child", "mp.other", "parent", "secret"] {
            let mut copy = client.copy_out(&format!("COPY {table} TO STDOUT")).unwrap();
            copy.read_to_string(&mut rows).unwrap();
            rows.push('\n');
        }
        let mut rows: Vec<_> = rows.lines().map(str::to_owned).collect();
        rows.sort();
        rows
    };
    let here = seen(cluster.coordinator());
    let has = |row: &str| here.iter().any(|seen| seen == row);
    assert!(has("1\t101\t1") && has("2\t\\N\t1") && has("104\tp") && has("42"), "{here:?}");
    assert!(!here.iter().any(|row| row.contains("evil")), "{here:?}");
    for node in cluster.nodes() {
        assert_eq!(seen(node), here, "{}", node.name);
    }
}

/// Code of the table that changes the table itself: nodes would see its changes in another order.
#[test]
fn a_trigger_of_a_referential_action_does_not_change_the_table() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA again; SET search_path = again; CREATE TABLE parent (id int PRIMARY KEY);
             CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE, v int DEFAULT 0);
             CREATE FUNCTION again() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN UPDATE again.child SET v = v + 1 WHERE id <> NEW.id AND p IS NULL; RETURN NEW; END $$;
             INSERT INTO parent SELECT generate_series(1, 3); INSERT INTO child SELECT i, i FROM generate_series(1, 3) i;
             CREATE TRIGGER again BEFORE UPDATE OF p ON child FOR EACH ROW EXECUTE FUNCTION again();
             SELECT helios_create_reference_table('parent'); SELECT helios_create_reference_table('child')",
        )
        .unwrap();
    for change in ["DELETE FROM parent WHERE id = 1", "UPDATE parent SET id = id + 10"] {
        refused(&mut client, change, "0A000", "within a statement");
    }
    let rows = "SELECT * FROM again.child ORDER BY 1";
    let here = text(&mut client, rows);
    assert_eq!(here, ["1|1|0", "2|2|0", "3|3|0"]);
    assert_eq!(text(&mut cluster.connect_to_node(1), rows), here);
}
