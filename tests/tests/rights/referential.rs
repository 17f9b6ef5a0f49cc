//! Changes to reference tables are made on the nodes as the role that made them on the coordinator, with its privileges
//! there: referential actions as the owner of the referencing table, functions as their owners, including views and
//! column grants. Every script also runs on one plain server.

use helios_tests::{Cluster, text};
use postgres::{Client, NoTls};

/// A script: `@` is its schema, lines with `#role` set the role for what follows. Words in `«»` are removed for the
/// plain server.
struct Scenario {
    name: &'static str,
    /// Reference tables, each after those it references.
    tables: &'static [&'static str],
    setup: &'static str,
    /// Statements, each with its role. Errors are compared as well.
    steps: &'static [(&'static str, &'static str)],
}

const ROLES: &str = "CREATE ROLE keeper; CREATE ROLE middle; CREATE ROLE clerk LOGIN; CREATE ROLE nobody LOGIN; \
    CREATE ROLE tenant LOGIN; CREATE ROLE definer; GRANT CREATE ON DATABASE helios TO tenant;";

/// A check that depends on the name of the role that writes.
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

/// Runs a scenario; returns the result of each step, and the rows of all tables on each server.
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
