//! Reference tables are changed on the nodes by whoever changed them on the coordinator, with the rights that he had there:
//! referential actions as the owner of the referring table, functions as their owners, views and grants on columns included.
//! Every script runs on one plain server as well.

use std::io::Read;

use helios_tests::{Cluster, refused, text};
use postgres::{Client, NoTls};

/// A script: `@` is its schema, lines of `#role` say who runs what follows. On the plain server the words in `«»` are left out.
struct Scenario {
    name: &'static str,
    /// Reference tables, each after those that it refers to.
    tables: &'static [&'static str],
    setup: &'static str,
    /// Statements, each with who runs it. Errors are compared as well.
    steps: &'static [(&'static str, &'static str)],
}

const ROLES: &str = "CREATE ROLE keeper; CREATE ROLE middle; CREATE ROLE clerk LOGIN; CREATE ROLE nobody LOGIN; \
    CREATE ROLE tenant LOGIN; CREATE ROLE definer; GRANT CREATE ON DATABASE helios TO tenant;";

/// A check that only its writer's name passes.
const BY: &str = "CREATE FUNCTION @.by(VARIADIC names text[]) RETURNS bool LANGUAGE plpgsql AS \
    $$ BEGIN RETURN current_user = ANY (names); END $$; GRANT USAGE ON SCHEMA @ TO PUBLIC;";

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "actions",
        tables: &["parent", "cascaded", "nulled", "defaulted"],
        setup: "CREATE TABLE @.parent (id int PRIMARY KEY, name text);
            CREATE TABLE @.cascaded (id int PRIMARY KEY, p int REFERENCES @.parent ON DELETE CASCADE ON UPDATE CASCADE,
                CHECK (@.by('keeper', 'postgres')));
            CREATE TABLE @.nulled (id int PRIMARY KEY, p int REFERENCES @.parent ON DELETE SET NULL ON UPDATE SET NULL,
                CHECK (@.by('keeper', 'postgres')));
            CREATE TABLE @.defaulted (id int PRIMARY KEY, p int DEFAULT 0
                REFERENCES @.parent ON DELETE SET DEFAULT ON UPDATE SET DEFAULT, CHECK (@.by('keeper', 'postgres')));
            INSERT INTO @.parent SELECT i, 'p' FROM generate_series(0, 1300) i;
            INSERT INTO @.cascaded SELECT i, i FROM generate_series(1, 1300) i;
            INSERT INTO @.nulled SELECT i, i FROM generate_series(1, 9) i; INSERT INTO @.defaulted SELECT i, i FROM generate_series(1, 9) i;
            GRANT SELECT, DELETE, UPDATE ON @.parent TO clerk;
            ALTER TABLE @.cascaded OWNER TO keeper; ALTER TABLE @.nulled OWNER TO keeper; ALTER TABLE @.defaulted OWNER TO keeper",
        steps: &[
            ("clerk", "DELETE FROM @.parent WHERE id = 1"),
            ("clerk", "UPDATE @.parent SET id = 5000 WHERE id = 2"),
            ("clerk", "BEGIN; DELETE FROM @.parent WHERE id = 3; UPDATE @.parent SET name = 'x' WHERE id < 9; COMMIT"),
            ("clerk", "BEGIN; DELETE FROM @.parent WHERE id = 4; ROLLBACK"),
            ("clerk", "BEGIN; SAVEPOINT s; DELETE FROM @.parent WHERE id = 5; ROLLBACK TO s; DELETE FROM @.parent WHERE id = 6; COMMIT"),
            ("clerk", "DELETE FROM @.parent WHERE id BETWEEN 100 AND 1250"),
            ("clerk", "PREPARE d(int) AS DELETE FROM @.parent WHERE id = $1; EXECUTE d(7); EXECUTE d(8); DEALLOCATE d"),
            ("clerk", "DELETE FROM @.cascaded"),
            ("clerk", "UPDATE @.nulled SET p = NULL"),
            ("clerk", "INSERT INTO @.defaulted VALUES (99, 0)"),
            ("postgres", "DELETE FROM @.parent WHERE id = 9"),
            ("clerk", "DELETE FROM @.parent WHERE id = 0"),
        ],
    },
    Scenario {
        name: "chain",
        tables: &["one", "two", "three"],
        setup: "CREATE TABLE @.one (id int PRIMARY KEY); CREATE TABLE @.two (id int PRIMARY KEY REFERENCES @.one ON DELETE CASCADE ON UPDATE CASCADE);
            CREATE TABLE @.three (id int PRIMARY KEY, t int REFERENCES @.two ON DELETE SET NULL ON UPDATE CASCADE, CHECK (@.by('middle', 'postgres')));
            INSERT INTO @.one SELECT generate_series(1, 5); INSERT INTO @.two SELECT generate_series(1, 5);
            INSERT INTO @.three SELECT i, i FROM generate_series(1, 5) i;
            ALTER TABLE @.two OWNER TO keeper; ALTER TABLE @.three OWNER TO middle; GRANT ALL ON @.one TO clerk",
        steps: &[
            ("clerk", "DELETE FROM @.one WHERE id = 1"),
            ("clerk", "UPDATE @.one SET id = 20 WHERE id = 2"),
            ("clerk", "WITH d AS (DELETE FROM @.one WHERE id = 3 RETURNING 1) UPDATE @.one SET id = 40 WHERE id = 4"),
            ("keeper", "DELETE FROM @.two WHERE id = 5"),
            ("clerk", "TRUNCATE @.one CASCADE"),
        ],
    },
    Scenario {
        name: "to itself",
        tables: &["tree", "loose"],
        setup: "CREATE TABLE @.tree (id int PRIMARY KEY, up int REFERENCES @.tree ON DELETE CASCADE ON UPDATE CASCADE, v int);
            CREATE TABLE @.loose (id int PRIMARY KEY, up int REFERENCES @.loose ON DELETE SET NULL);
            INSERT INTO @.tree VALUES (1, NULL), (2, 1), (3, 2), (4, NULL), (5, 4); INSERT INTO @.loose SELECT i, nullif(i - 1, 0) FROM generate_series(1, 9) i;
            ALTER TABLE @.tree OWNER TO keeper; ALTER TABLE @.loose OWNER TO keeper;
            GRANT DELETE, SELECT, UPDATE (id) ON @.tree TO clerk; GRANT DELETE, SELECT ON @.loose TO clerk",
        steps: &[
            ("clerk", "DELETE FROM @.tree WHERE id = 1"),
            ("clerk", "UPDATE @.tree SET id = 40 WHERE id = 4"),
            ("clerk", "DELETE FROM @.loose WHERE id IN (1, 4, 5)"),
            ("postgres", "DELETE FROM @.loose WHERE id = 7"),
        ],
    },
    Scenario {
        name: "tenants that refer",
        tables: &["parent", "child"],
        setup: "CREATE TABLE @.parent (id int PRIMARY KEY); CREATE TABLE @.child (id int PRIMARY KEY REFERENCES @.parent ON DELETE CASCADE);
            INSERT INTO @.parent SELECT generate_series(1, 9); INSERT INTO @.child SELECT generate_series(1, 9);
            GRANT REFERENCES ON @.child TO tenant; ALTER TABLE @.child OWNER TO keeper; GRANT SELECT, DELETE ON @.parent TO clerk",
        steps: &[
            ("tenant", "CREATE SCHEMA @t «DISTRIBUTED ON NODE \"node-1\"»; CREATE TABLE @t.a (x int REFERENCES @.child); CREATE TABLE @t.b (x int REFERENCES @.child ON DELETE CASCADE);
                CREATE TABLE @t.c (x int REFERENCES @.child DEFERRABLE INITIALLY DEFERRED);
                INSERT INTO @t.a VALUES (1); INSERT INTO @t.b VALUES (1), (2), (4); INSERT INTO @t.c VALUES (3), (4)"),
            ("clerk", "DELETE FROM @.parent WHERE id = 1"),
            ("clerk", "DELETE FROM @.parent WHERE id = 2"),
            ("clerk", "DELETE FROM @.parent WHERE id = 3"),
            ("clerk", "BEGIN; DELETE FROM @.parent WHERE id IN (4, 5); ROLLBACK"),
            ("clerk", "DELETE FROM @.parent WHERE id IN (5, 6)"),
        ],
    },
    Scenario {
        name: "some columns",
        tables: &["t"],
        setup: "CREATE TABLE @.t (id int PRIMARY KEY, name text DEFAULT 'none', stamp text, CHECK (@.by('clerk', 'postgres', 'nobody', 'keeper')));
            CREATE FUNCTION @.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.stamp := 'by ' || current_user; RETURN NEW; END $$;
            CREATE TRIGGER s BEFORE INSERT OR UPDATE ON @.t FOR EACH ROW EXECUTE FUNCTION @.stamp();
            INSERT INTO @.t SELECT generate_series(1, 5); GRANT INSERT (id), UPDATE (name) ON @.t TO clerk; GRANT DELETE ON @.t TO nobody;
            ALTER TABLE @.t OWNER TO keeper",
        steps: &[
            ("clerk", "INSERT INTO @.t (id) VALUES (6), (7)"),
            ("clerk", "UPDATE @.t SET name = 'all'"),
            ("clerk", "UPDATE @.t SET name = 'one' WHERE id = 1"),
            ("clerk", "UPDATE @.t SET stamp = 'mine'"),
            ("clerk", "INSERT INTO @.t (id, name) VALUES (9, 'x')"),
            ("nobody", "DELETE FROM @.t WHERE id = 1"),
            ("nobody", "DELETE FROM @.t"),
            ("clerk", "INSERT INTO @.t (id) VALUES (8)"),
        ],
    },
    Scenario {
        name: "views",
        tables: &["t"],
        setup: "CREATE TABLE @.t (id int PRIMARY KEY, name text); INSERT INTO @.t SELECT generate_series(1, 5);
            CREATE VIEW @.v AS SELECT * FROM @.t WHERE id < 100; GRANT ALL ON @.v TO clerk; ALTER TABLE @.t OWNER TO keeper; ALTER VIEW @.v OWNER TO keeper",
        steps: &[
            ("clerk", "INSERT INTO @.v VALUES (10, 'v'); UPDATE @.v SET name = 'w' WHERE id = 1; DELETE FROM @.v WHERE id = 2"),
            ("clerk", "DELETE FROM @.t WHERE id = 3"),
        ],
    },
    Scenario {
        name: "definer functions",
        tables: &["t", "log"],
        setup: "CREATE TABLE @.t (id int PRIMARY KEY, name text, CHECK (@.by('definer', 'postgres', 'clerk')));
            CREATE TABLE @.log (id int PRIMARY KEY, what text, CHECK (@.by('definer', 'postgres')));
            GRANT ALL ON @.t TO definer, clerk; GRANT ALL ON @.log TO definer;
            CREATE FUNCTION @.put(int) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO @.t VALUES ($1, current_user)';
            ALTER FUNCTION @.put(int) OWNER TO definer;
            CREATE FUNCTION @.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                $$ BEGIN INSERT INTO @.log SELECT count(*), TG_OP || coalesce(NEW.id, OLD.id) FROM @.log; RETURN NULL; END $$;
            ALTER FUNCTION @.note() OWNER TO definer;
            CREATE TRIGGER n AFTER INSERT OR UPDATE OR DELETE ON @.t FOR EACH ROW EXECUTE FUNCTION @.note();
            ALTER TABLE @.t OWNER TO keeper; ALTER TABLE @.log OWNER TO keeper",
        steps: &[
            ("tenant", "CREATE SCHEMA @t «DISTRIBUTED ON NODE \"node-1\"»; GRANT USAGE ON SCHEMA @t TO clerk; CREATE TABLE @t.a (x int); GRANT ALL ON @t.a TO clerk"),
            ("clerk", "SELECT @.put(1)"),
            ("clerk", "BEGIN; INSERT INTO @t.a VALUES (1); SELECT @.put(2); INSERT INTO @t.a SELECT id + 10 FROM @.t; COMMIT"),
            ("clerk", "BEGIN; SELECT @.put(3); SAVEPOINT s; SELECT @.put(4); ROLLBACK TO s; INSERT INTO @.t VALUES (5, 'clerk'); COMMIT"),
            ("clerk", "UPDATE @.t SET name = 'u' WHERE id < 3"),
            ("clerk", "DELETE FROM @.t WHERE id = 1"),
            ("nobody", "SELECT @.put(6)"),
            ("nobody", "INSERT INTO @.t VALUES (7, 'n')"),
            ("clerk", "INSERT INTO @.log VALUES (99, 'forged')"),
        ],
    },
    Scenario {
        name: "keys of many types",
        tables: &["b", "c", "d", "e", "f", "g"],
        setup: "CREATE TYPE @.mood AS ENUM ('sad', 'glad'); CREATE DOMAIN @.dom AS varchar(20); CREATE TYPE @.pair AS (x int, y text);
            CREATE TABLE @.b (k char(5), k2 @.dom, v int, PRIMARY KEY (k, k2)); INSERT INTO @.b VALUES ('a', E'it''s \\\\ \"x\"', 1), ('b', '', 2);
            CREATE TABLE @.c (k @.mood PRIMARY KEY, v int); INSERT INTO @.c VALUES ('sad', 1), ('glad', 2);
            CREATE TABLE @.d (k int[] PRIMARY KEY, v int); INSERT INTO @.d VALUES ('{1,2}', 1), ('{}', 2);
            CREATE TABLE @.e (k @.pair PRIMARY KEY, v int); INSERT INTO @.e VALUES ('(1,\"a b\")', 1), ('(2,)', 2);
            CREATE TABLE @.f (k @.dom PRIMARY KEY, v int); INSERT INTO @.f VALUES ('{', 1), (',\"', 2);
            CREATE TABLE @.g (k numeric PRIMARY KEY, v int); INSERT INTO @.g VALUES (1.50, 1), ('NaN', 2)",
        steps: &[
            ("postgres", "SET search_path = ''; UPDATE @.b SET v = 7; UPDATE @.c SET v = 7; UPDATE @.d SET v = 7; UPDATE @.e SET v = 7; UPDATE @.f SET v = 7; UPDATE @.g SET v = 7"),
            ("postgres", "SET search_path = ''; DELETE FROM @.b; DELETE FROM @.c WHERE k = 'sad'; DELETE FROM @.d; DELETE FROM @.e; DELETE FROM @.f WHERE k = '{'; DELETE FROM @.g"),
        ],
    },
];

fn session(cluster: &Cluster, database: &str, user: &str) -> Client {
    cluster.coordinator().config(database).user(user).connect(NoTls).unwrap()
}

/// Runs a scenario; gives what each step said, and the rows of all tables on each server.
fn run(
    cluster: &Cluster,
    database: &str,
    scenario: &Scenario,
    schema: &str,
) -> (Vec<String>, Vec<Vec<String>>) {
    let is_plain = database == "plain";
    let fill = |sql: &str| {
        let mut sql = sql.replace('@', schema);
        while let (Some(from), Some(to)) = (sql.find('«'), sql.find('»')) {
            let words =
                if is_plain { String::new() } else { sql[from + '«'.len_utf8()..to].to_owned() };
            sql.replace_range(from..to + '»'.len_utf8(), &words);
        }
        sql
    };
    let mut admin = session(cluster, database, "postgres");
    let setup = fill(&format!("CREATE SCHEMA @; {BY} {}", scenario.setup));
    admin.batch_execute(&setup).unwrap_or_else(|error| panic!("{}: {error:?}", scenario.name));
    if !is_plain {
        for table in scenario.tables {
            let create = fill(&format!("SELECT helios_create_reference_table('@.{table}')"));
            admin.batch_execute(&create).unwrap();
        }
    }
    let mut said = Vec::new();
    for (role, sql) in scenario.steps {
        let login = if *role == "keeper" { "postgres" } else { role };
        let mut client = session(cluster, database, login);
        client.batch_execute(&format!("SET ROLE {role}")).unwrap();
        let outcome = match client.batch_execute(&fill(sql)) {
            Ok(()) => "done".to_owned(),
            Err(error) => {
                let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
                format!("{} {:?}", error.code().code(), error.constraint())
            }
        };
        said.push(format!("{role}: {sql}: {outcome}"));
    }
    let mut servers = vec![admin];
    if !is_plain {
        servers.extend([1, 2].map(|node| cluster.connect_to_node(node)));
    }
    let rows = |client: &mut Client| {
        let of = |table: &&str| {
            text(client, &fill(&format!("SELECT '{table}', * FROM @.{table} ORDER BY 2")))
        };
        scenario.tables.iter().flat_map(of).collect::<Vec<_>>()
    };
    (said, servers.iter_mut().map(rows).collect())
}

#[test]
fn reference_tables_are_changed_on_nodes_by_whoever_changed_them_here() {
    let cluster = Cluster::start(2);
    cluster.connect().batch_execute(ROLES).unwrap();
    cluster.connect().batch_execute("CREATE DATABASE plain").unwrap();
    cluster.connect().batch_execute("GRANT CREATE ON DATABASE plain TO tenant").unwrap();
    let mut wrong = Vec::new();
    for (number, scenario) in SCENARIOS.iter().enumerate() {
        let schema = format!("s{number}");
        let (expected, rows) = run(&cluster, "plain", scenario, &schema);
        let (said, everywhere) = run(&cluster, "helios", scenario, &schema);
        for (one, other) in expected.iter().zip(&said).filter(|(one, other)| one != other) {
            wrong.push(format!("{}: {other}\n    on one server: {one}", scenario.name));
        }
        for (server, found) in everywhere.iter().enumerate().filter(|(_, found)| **found != rows[0])
        {
            let missing: Vec<_> =
                rows[0].iter().filter(|row| !found.contains(row)).take(9).collect();
            let surplus: Vec<_> =
                found.iter().filter(|row| !rows[0].contains(row)).take(9).collect();
            wrong.push(format!(
                "{}: server {server} lacks {missing:?}, has {surplus:?}",
                scenario.name
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What the owner of a referring table tries where his code runs: nothing of it may come of it.
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
    // A query of the superuser's on the table would run its owner's code: COPY plans nothing.
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

#[test]
fn only_the_coordinator_asks_for_changes_as_another_role() {
    let cluster = Cluster::with_settings(1, &["log_statement = 'all'"]);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE keeper; CREATE ROLE clerk LOGIN; GRANT CREATE ON DATABASE helios TO clerk;
             CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9); GRANT ALL ON parent TO clerk;
             CREATE TABLE child (id int PRIMARY KEY REFERENCES parent ON DELETE CASCADE); INSERT INTO child SELECT generate_series(1, 9);
             ALTER TABLE child OWNER TO keeper; SELECT helios_create_reference_table('parent'); SELECT helios_create_reference_table('child')",
        )
        .unwrap();
    let mut clerk = cluster.connect_as("clerk");
    clerk.batch_execute("DELETE FROM parent WHERE id = 1").unwrap();
    clerk.batch_execute("BEGIN; DELETE FROM parent WHERE id = 2; ROLLBACK").unwrap();
    // The clerk sees what his sessions ask, signatures included.
    let log = std::fs::read_to_string(cluster.node(1).log()).unwrap();
    let calls: Vec<&str> = log
        .lines()
        .filter_map(|line| line.find("SELECT helios.change_copy").map(|at| &line[at..]))
        .collect();
    assert_eq!(calls.len(), 2, "{log}");
    let mut there = cluster.node(1).config("helios").user("clerk").connect(NoTls).unwrap();
    let (head, signature) = calls[1].rsplit_once(", ").unwrap();
    let forged = [
        calls[0].to_owned(),
        calls[1].to_owned(),
        format!("{head}, '')"),
        format!("{head}, 'x')"),
        format!("{head}, 'é')"),
        format!("{head}, '{}')", "0".repeat(128)),
        calls[1].replace("keeper", "postgres"),
        calls[1].replace("'child'", "'parent'"),
        format!(
            "SELECT helios.change_copy('keeper', 'public', 'child', 'DELETE FROM public.child', {signature}"
        ),
    ];
    clerk
        .batch_execute(
            "CREATE SCHEMA t DISTRIBUTED; CREATE FUNCTION t.run(number bool, call text) RETURNS void LANGUAGE plpgsql AS
             $$ BEGIN IF number THEN PERFORM helios.change_number(); END IF; EXECUTE call; END $$",
        )
        .unwrap();
    for call in &forged {
        refused(&mut there, call, "42501", "as another role");
        for again in ["", "BEGIN; "] {
            let sql = format!("{again}SELECT helios.change_number(); {call}");
            refused(&mut there, &sql, "42501", "as another role");
            there.batch_execute("ROLLBACK").unwrap();
        }
        // In a session that is the coordinator's.
        for number in [true, false] {
            let literal = call.replace('\'', "''").replace('\\', "\\\\");
            let sql = format!("SELECT t.run({number}, E'{literal}')");
            refused(&mut clerk, &sql, "42501", "as another role");
        }
    }
    let rows = "SELECT count(*), min(id) FROM child";
    assert_eq!(text(&mut cluster.connect_to_node(1), rows), ["8|2"]);
    assert_eq!(text(&mut admin, rows), ["8|2"]);
}

/// Code of the table that changes the table: nodes would see its changes in another order.
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
