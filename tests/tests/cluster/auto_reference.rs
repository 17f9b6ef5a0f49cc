//! Tables on the coordinator become reference tables when tables of distributed schemas get foreign keys to them.

use std::sync::{Arc, Mutex};

use helios_tests::Cluster;
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;

use crate::reference::{refused, rows, same_everywhere};

/// Schemas `NAME_1` and `NAME_2` on two nodes, and a plain schema `NAME`.
fn schemas(client: &mut Client, name: &str) {
    let create = format!(
        "CREATE SCHEMA {name}; CREATE SCHEMA {name}_1 DISTRIBUTED ON NODE \"node-1\"; \
         CREATE SCHEMA {name}_2 DISTRIBUTED ON NODE \"node-2\""
    );
    client.batch_execute(&create).unwrap();
}

fn references(client: &mut Client, schema: &str) -> Vec<String> {
    let select = format!(
        "SELECT relname FROM helios.reference_table JOIN pg_class ON oid = relation \
          WHERE relnamespace = '{schema}'::regnamespace ORDER BY relname"
    );
    rows(client, &select)
}

#[test]
fn every_way_to_a_foreign_key_makes_a_reference_table() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    schemas(&mut client, "ways");
    for table in "abcdefghi".chars() {
        let create = format!(
            "CREATE TABLE ways.{table} (id int PRIMARY KEY, name text); INSERT INTO ways.{table} VALUES (1, 'x')"
        );
        client.batch_execute(&create).unwrap();
    }
    let ways = [
        ("a", "CREATE TABLE ways_1.a (r int REFERENCES ways.a)"),
        (
            "b",
            "CREATE TABLE ways_1.b (r int); ALTER TABLE ways_1.b ADD FOREIGN KEY (r) REFERENCES ways.b",
        ),
        ("c", "CREATE TABLE ways_1.c (); ALTER TABLE ways_1.c ADD COLUMN r int REFERENCES ways.c"),
        (
            "d",
            "CREATE TABLE ways_1.p (r int REFERENCES ways.d) PARTITION BY LIST (r); \
             CREATE TABLE ways_1.d PARTITION OF ways_1.p DEFAULT",
        ),
        ("e", "DO $$ BEGIN EXECUTE 'CREATE TABLE ways_1.e (r int REFERENCES ways.e)'; END $$"),
        (
            "f",
            "CREATE FUNCTION ways.make() RETURNS void LANGUAGE plpgsql SET search_path = ways AS \
             $$ BEGIN CREATE TABLE ways_1.f (r int REFERENCES f); END $$; SELECT ways.make()",
        ),
        (
            "g",
            "CREATE SCHEMA ways_3 DISTRIBUTED ON NODE \"node-1\" CREATE TABLE g (r int REFERENCES ways.g)",
        ),
        (
            "h",
            "BEGIN; DECLARE c CURSOR FOR SELECT * FROM ways.h; FETCH c; UPDATE ways.h SET name = 'y'; \
             CREATE TABLE ways_1.h (r int REFERENCES ways.h DEFERRABLE INITIALLY DEFERRED); \
             INSERT INTO ways_1.h VALUES (1); COMMIT",
        ),
        (
            "i",
            "DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM ways.i LOOP \
             EXECUTE format('CREATE TABLE ways_1.i (r int DEFAULT %s REFERENCES ways.i)', r.id); END LOOP; END $$",
        ),
    ];
    for (number, (table, way)) in ways.into_iter().enumerate() {
        client.batch_execute(way).unwrap_or_else(|error| panic!("{way}: {error:?}"));
        assert_eq!(references(&mut client, "ways").len(), number + 1, "{way}");
        let schema = if table == "g" { "ways_3" } else { "ways_1" };
        same_everywhere(cluster, &format!("ways.{table}"));
        client.batch_execute(&format!("INSERT INTO {schema}.{table} VALUES (1)")).unwrap();
        refused(
            &mut client,
            &format!("INSERT INTO {schema}.{table} VALUES (2)"),
            "23503",
            "not present",
        );
        let update = format!("UPDATE ways.{table} SET name = name || random()");
        client.batch_execute(&update).unwrap();
        same_everywhere(cluster, &format!("ways.{table}"));
        refused(&mut client, &format!("DELETE FROM ways.{table}"), "23503", "still referenced");
    }
}

#[test]
fn client_is_told_and_rollback_takes_it_back() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    schemas(&mut client, "fk_told");
    client
        .batch_execute(
            "CREATE TABLE fk_told.t (id int PRIMARY KEY); CREATE TABLE fk_told.chain (id int PRIMARY KEY REFERENCES fk_told.t); \
             ALTER TABLE fk_told.t ADD FOREIGN KEY (id) REFERENCES fk_told.chain DEFERRABLE INITIALLY DEFERRED; \
             BEGIN; INSERT INTO fk_told.t VALUES (1); INSERT INTO fk_told.chain VALUES (1); COMMIT",
        )
        .unwrap();
    let create = "CREATE TABLE fk_told_1.t (id int REFERENCES fk_told.chain)";
    for end in ["ROLLBACK", "SAVEPOINT s; ROLLBACK TO s; ROLLBACK"] {
        client.batch_execute(&format!("BEGIN; {create}; {end}")).unwrap();
        assert!(references(&mut client, "fk_told").is_empty());
        client.batch_execute("UPDATE fk_told.t SET id = 1").unwrap();
    }
    client
        .batch_execute(&format!(
            "DO $$ BEGIN {create}; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$"
        ))
        .unwrap();
    assert!(references(&mut client, "fk_told").is_empty());
    let there = "SELECT to_regclass('fk_told.t'), to_regclass('fk_told.chain'), count(*) FROM pg_namespace \
                 WHERE nspname LIKE 'helios\\_reference%'";
    for number in 1..=2 {
        assert_eq!(rows(&mut cluster.connect_to_node(number), there), ["NULL|NULL|0"]);
    }
    let heard = Arc::new(Mutex::new(Vec::new()));
    let notices = heard.clone();
    let mut listening = cluster.coordinator().config(DATABASE);
    listening.notice_callback(move |notice| {
        notices.lock().unwrap().push(format!("{}: {}", notice.severity(), notice.message()));
    });
    listening.connect(NoTls).unwrap().batch_execute(create).unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            "NOTICE: table fk_told.t is now a reference table",
            "NOTICE: table fk_told.chain is now a reference table"
        ]
    );
    assert_eq!(references(&mut client, "fk_told"), ["chain", "t"]);
    same_everywhere(cluster, "fk_told.chain");
    client.batch_execute("DROP TABLE fk_told_1.t; TRUNCATE fk_told.t, fk_told.chain").unwrap();
    assert!(same_everywhere(cluster, "fk_told.chain").is_empty());
}

/// A setting in the configuration files of all servers is the coordinator's business only.
#[test]
fn every_server_may_distribute_new_schemas() {
    let cluster = Cluster::with_settings(2, &["helios.distribute_new_schemas = on"]);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE public.users (id int PRIMARY KEY, name text); CREATE SCHEMA one; CREATE SCHEMA two; \
             CREATE TABLE one.notes (author int REFERENCES users); CREATE TABLE two.notes (author int REFERENCES users)",
        )
        .unwrap();
    assert_eq!(rows(&mut client, "SELECT count(*) FROM helios_schemas"), ["2"]);
    client
        .batch_execute(
            "BEGIN; INSERT INTO users VALUES (1); INSERT INTO one.notes VALUES (1); COMMIT",
        )
        .unwrap();
    same_everywhere(&cluster, "users");
}

/// A transaction that is older than the copies reads the table itself.
#[test]
fn old_snapshot_does_not_miss_the_rows() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    schemas(&mut client, "aged");
    client
        .batch_execute(
            "CREATE TABLE aged.r (id int PRIMARY KEY); INSERT INTO aged.r VALUES (1), (2); \
             CREATE TABLE aged_1.t (id int); INSERT INTO aged_1.t VALUES (1), (2), (3)",
        )
        .unwrap();
    let mut old = cluster.connect();
    let join = "SELECT count(*) FROM aged_1.t JOIN aged.r USING (id)";
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM aged_1.t").unwrap();
    client.batch_execute("CREATE TABLE aged_2.t (id int REFERENCES aged.r)").unwrap();
    assert_eq!(references(&mut client, "aged"), ["r"]);
    assert_eq!(rows(&mut old, join), ["2"]);
    old.batch_execute("COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ").unwrap();
    assert_eq!(rows(&mut old, join), ["2"]);
    assert!(rows(&mut old, &format!("EXPLAIN {join}")).join(" ").contains("node"));
}

/// The REFERENCES privilege suffices, as on one server, and gives nothing else.
#[test]
fn privilege_of_the_foreign_key_suffices() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    schemas(&mut client, "lent");
    client
        .batch_execute(
            "CREATE ROLE lent_owner LOGIN; CREATE ROLE lent_user LOGIN; GRANT USAGE ON SCHEMA lent TO lent_user; \
             ALTER SCHEMA lent OWNER TO lent_owner; ALTER SCHEMA lent_1 OWNER TO lent_user; \
             ALTER SCHEMA lent_2 OWNER TO lent_user",
        )
        .unwrap();
    let mut owner = cluster.connect_as("lent_owner");
    owner
        .batch_execute(
            "CREATE FUNCTION lent.who() RETURNS text LANGUAGE plpgsql IMMUTABLE AS \
                 $$ BEGIN RETURN current_user || coalesce(current_setting('is_superuser', true), ''); END $$; \
             CREATE TABLE lent.t (id int PRIMARY KEY, secret text DEFAULT 'x', \
                 who text GENERATED ALWAYS AS (lent.who()) STORED, CHECK (lent.who() LIKE 'lent_owner%')); \
             CREATE INDEX ON lent.t (lent.who()); INSERT INTO lent.t VALUES (1); CREATE TABLE lent.u (id int PRIMARY KEY)",
        )
        .unwrap();
    let mut user = cluster.connect_as("lent_user");
    let create = "CREATE TABLE lent_1.t (id int REFERENCES lent.t)";
    refused(&mut user, create, "42501", "permission denied");
    owner.batch_execute("GRANT REFERENCES ON lent.t, lent.u TO lent_user").unwrap();
    refused(&mut user, "SET helios.auto_reference_tables = on", "42501", "permission denied");
    user.batch_execute(create).unwrap();
    user.batch_execute("BEGIN; CREATE TABLE lent_2.u (id int REFERENCES lent.u); COMMIT").unwrap();
    assert_eq!(references(&mut client, "lent"), ["t", "u"]);
    same_everywhere(cluster, "lent.t");
    let seen =
        "SELECT relowner::regrole, relacl::text FROM pg_class WHERE oid = 'lent.t'::regclass";
    let here = rows(&mut client, seen);
    for number in 1..=2 {
        let mut node = cluster.connect_to_node(number);
        assert_eq!(rows(&mut node, seen), here);
        let spilled = "SELECT count(*) FROM pg_namespace WHERE nspowner = 'lent_user'::regrole \
                          AND nspname NOT LIKE 'lent%'";
        assert_eq!(rows(&mut node, spilled), ["0"]);
    }
    for statement in
        ["TABLE lent.t", "INSERT INTO lent.t VALUES (2)", "DELETE FROM lent.t", "TRUNCATE lent.t"]
    {
        refused(&mut user, statement, "42501", "permission denied");
    }
    refused(
        &mut user,
        "SELECT t.* FROM lent_1.t JOIN lent.t r USING (id)",
        "42501",
        "permission denied",
    );
    refused(&mut user, "SELECT helios_undistribute_table('lent.t')", "42501", "permission denied");
    user.batch_execute("INSERT INTO lent_1.t VALUES (1)").unwrap();
    let me = "SELECT current_user, session_user, current_setting('role'), current_setting('search_path')";
    assert_eq!(rows(&mut user, me), ["lent_user|lent_user|none|\"$user\", public"]);
    // On the node, nobody but the coordinator can ask for it.
    let mut node = cluster.node(1).config(DATABASE).user("lent_user").connect(NoTls).unwrap();
    let ask = "BEGIN; SELECT helios.change_number(); SELECT helios.run_on_request('', 'abcd')";
    refused(&mut node, ask, "42501", "Only the coordinator");
    owner.batch_execute("UPDATE lent.t SET secret = 'changed'").unwrap();
    same_everywhere(cluster, "lent.t");
}

#[test]
fn what_cannot_be_done_is_refused_with_the_remedy() {
    let cluster = Cluster::shared();
    let mut client = cluster.connect();
    schemas(&mut client, "kept");
    client
        .batch_execute(
            "CREATE TABLE kept.big (id int PRIMARY KEY, v text); \
             INSERT INTO kept.big SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 1000) i; \
             CREATE TABLE kept.parted (id int PRIMARY KEY) PARTITION BY LIST (id); \
             CREATE TABLE kept.hidden (id int PRIMARY KEY); ALTER TABLE kept.hidden ENABLE ROW LEVEL SECURITY; \
             CREATE TABLE kept.to_hidden (id int PRIMARY KEY REFERENCES kept.hidden)",
        )
        .unwrap();
    let create =
        |table: &str| format!("CREATE TABLE kept_1.{table} (id int REFERENCES kept.{table})");
    let mut limited = cluster.connect();
    limited.batch_execute("SET helios.max_auto_reference_table_size = '100kB'").unwrap();
    refused(&mut limited, &create("big"), "0A000", "helios_create_reference_table('kept.big')");
    refused(&mut limited, &create("big"), "0A000", "max_auto_reference_table_size is 100 kB");
    limited
        .batch_execute(
            "SET helios.max_auto_reference_table_size = -1; SET helios.auto_reference_tables = off",
        )
        .unwrap();
    refused(&mut limited, &create("big"), "0A000", "helios_create_reference_table('kept.big')");
    refused(&mut client, &create("parted"), "42809", "a partitioned table");
    refused(&mut client, &create("hidden"), "0A000", "row-level security");
    refused(&mut client, &create("to_hidden"), "0A000", "kept.hidden has row-level security");
    let serializable = format!("BEGIN ISOLATION LEVEL SERIALIZABLE; {}", create("big"));
    refused(&mut client, &serializable, "0A000", "READ COMMITTED");
    client.batch_execute("ROLLBACK").unwrap();
    assert!(references(&mut client, "kept").is_empty());
    limited.batch_execute("SET helios.auto_reference_tables = on").unwrap();
    limited.batch_execute(&create("big")).unwrap();
    assert_eq!(same_everywhere(cluster, "kept.big").len(), 1000);
    // A table on the coordinator may refer to whatever it likes.
    client.batch_execute("CREATE TABLE kept.here (id int REFERENCES kept.to_hidden)").unwrap();
}
