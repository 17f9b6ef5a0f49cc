//! Reference tables: their definitions on every server, and conversion from and to other tables.

use helios_tests::Cluster;

use crate::reference::{COUNTRY, countries, refused, rows, same_everywhere};

#[test]
fn tenants_refer_to_reference_tables() {
    let cluster = Cluster::start(2);
    let mut client = countries(&cluster);
    client
        .batch_execute(
            "ALTER TABLE b.city DROP CONSTRAINT city_country_fkey; \
             ALTER TABLE b.city ADD FOREIGN KEY (country) REFERENCES country ON DELETE CASCADE",
        )
        .unwrap();
    refused(&mut client, "INSERT INTO a.city VALUES (5, 999)", "23503", "not present");
    refused(&mut client, "DELETE FROM country WHERE id = 1", "23503", "still referenced");
    client.batch_execute("DELETE FROM a.city; DELETE FROM country WHERE id = 1").unwrap();
    assert_eq!(rows(&mut client, "SELECT id FROM b.city"), ["2"]);
    same_everywhere(&cluster, "country");
    refused(&mut client, "SELECT helios_undistribute_table('country')", "2BP01", "a.city");
    refused(&mut client, "DROP TABLE country", "2BP01", "depend");
    client.batch_execute("DROP TABLE country CASCADE").unwrap();
    client.batch_execute("INSERT INTO a.city VALUES (5, 999)").unwrap();
}

#[test]
fn definitions_follow() {
    let cluster = Cluster::start(2);
    let mut client = countries(&cluster);
    client
        .batch_execute(
            "CREATE ROLE reference_reader; \
             ALTER TABLE country ADD COLUMN size int NOT NULL DEFAULT 7; CREATE INDEX country_size ON country (size); \
             ALTER TABLE country ALTER COLUMN size TYPE bigint; ALTER TABLE country RENAME COLUMN size TO extent; \
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO reference_reader; \
             ALTER TABLE country RENAME TO land; DROP INDEX country_name; \
             INSERT INTO land (code, extent) VALUES ('big', 1e12)",
        )
        .unwrap();
    same_everywhere(&cluster, "land");
    let seen = "SELECT string_agg(indexrelid::regclass::text, ',' ORDER BY indexrelid::regclass::text COLLATE \"C\"), \
                has_table_privilege('reference_reader', 'land', 'SELECT') FROM pg_index WHERE indrelid = 'land'::regclass";
    let expected = ["country_code_key,country_pkey,country_size|t"];
    for number in 1..=2 {
        assert_eq!(rows(&mut cluster.connect_to_node(number), seen), expected);
    }
    for (sql, words) in [
        ("ALTER TABLE land ADD COLUMN x float8 DEFAULT random()", "volatile default"),
        ("ALTER TABLE land ADD COLUMN x serial", "sequence"),
        ("ALTER TABLE land DISABLE TRIGGER ALL", "triggers"),
        ("ALTER TABLE land ENABLE ROW LEVEL SECURITY", "row-level security"),
        ("CREATE INDEX CONCURRENTLY ON land (at)", "CONCURRENTLY"),
        ("CREATE TABLE child () INHERITS (land)", "inheritance"),
        ("CREATE RULE r AS ON DELETE TO land DO INSTEAD NOTHING", "rules"),
        ("CREATE POLICY p ON land USING (true)", "policies"),
        ("ALTER TABLE land SET SCHEMA a", "another server"),
    ] {
        refused(&mut client, sql, "0A000", words);
    }
    client
        .batch_execute(
            "BEGIN; ALTER TABLE land ADD COLUMN x int; DROP TABLE land CASCADE; ROLLBACK; \
             BEGIN; ALTER TABLE land DROP CONSTRAINT country_pkey CASCADE; UPDATE land SET name = 'n' WHERE id < 20; \
             INSERT INTO a.city VALUES (77, 777777); ROLLBACK",
        )
        .unwrap();
    same_everywhere(&cluster, "land");
    client
        .batch_execute(
            "CREATE SCHEMA plain; ALTER TABLE land SET SCHEMA plain; \
             INSERT INTO plain.land (code, extent) VALUES ('moved', 1); DELETE FROM a.city; \
             INSERT INTO a.city VALUES (1, 3); SET search_path = plain",
        )
        .unwrap();
    same_everywhere(&cluster, "plain.land");
    refused(&mut client, "INSERT INTO a.city VALUES (9, 99999)", "23503", "not present");
    let join = "SELECT code FROM a.city JOIN plain.land ON land.id = country";
    assert_eq!(rows(&mut client, join), ["c3"]);
    client
        .batch_execute(
            "ALTER SCHEMA plain RENAME TO other; ALTER TABLE other.land SET SCHEMA public",
        )
        .unwrap();
    client.batch_execute("RESET search_path; DROP SCHEMA other").unwrap();
    same_everywhere(&cluster, "land");
    client.batch_execute("DROP SCHEMA a CASCADE; DROP SCHEMA b CASCADE; DROP TABLE land").unwrap();
    for number in 1..=2 {
        assert_eq!(
            rows(&mut cluster.connect_to_node(number), "SELECT to_regclass('land')"),
            ["NULL"]
        );
    }
    assert_eq!(rows(&mut client, "SELECT count(*) FROM helios.reference_table"), ["0"]);
}

#[test]
fn converted_back_it_is_an_ordinary_table() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    client.batch_execute(COUNTRY).unwrap();
    let before = rows(&mut client, "SELECT * FROM country ORDER BY 1");
    for _ in 0..2 {
        client.batch_execute("SELECT helios_create_reference_table('country')").unwrap();
        same_everywhere(&cluster, "country");
        client.batch_execute("SELECT helios_undistribute_table('country')").unwrap();
        let there = rows(&mut cluster.connect_to_node(2), "SELECT to_regclass('country')");
        assert_eq!(there, ["NULL"]);
    }
    assert_eq!(rows(&mut client, "SELECT * FROM country ORDER BY 1"), before);
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'country'::regclass";
    assert_eq!(rows(&mut client, triggers), ["0"]);
    client.batch_execute("UPDATE country SET name = 'local'").unwrap();
    refused(
        &mut client,
        "SELECT helios_undistribute_table('country')",
        "42809",
        "not a reference table",
    );
}

#[test]
fn node_added_later_has_the_rows() {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    let host =
        rows(&mut client, "SELECT hosts[1], ports[1] FROM helios.node WHERE name = 'node-2'");
    let (host, port) = host[0].split_once('|').unwrap();
    client.batch_execute(COUNTRY).unwrap();
    client.batch_execute("SELECT helios_create_reference_table('country')").unwrap();
    client.batch_execute("SELECT helios_remove_node('node-2')").unwrap();
    let there = rows(&mut cluster.connect_to_node(2), "SELECT to_regclass('country')");
    assert_eq!(there, ["NULL"], "a node that leaves has no copy");
    client.batch_execute("UPDATE country SET factor = random()").unwrap();
    client.batch_execute(&format!("SELECT helios_add_node('node-2', '{host}', {port})")).unwrap();
    same_everywhere(&cluster, "country");
    client.batch_execute("UPDATE country SET factor = random()").unwrap();
    same_everywhere(&cluster, "country");
}

#[test]
fn what_cannot_be_a_reference_table_is_refused() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA a DISTRIBUTED; CREATE TABLE a.t (id int PRIMARY KEY); \
             CREATE VIEW seen AS SELECT 1 AS x; CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id); \
             CREATE TABLE part PARTITION OF parts DEFAULT; CREATE TEMP TABLE temporary (id int PRIMARY KEY); \
             CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY); CREATE TABLE here (id int PRIMARY KEY); \
             CREATE TABLE child (id int PRIMARY KEY REFERENCES here); CREATE ROLE owner LOGIN; \
             CREATE TABLE guarded (id int PRIMARY KEY); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; \
             GRANT EXECUTE ON FUNCTION helios_create_reference_table(text) TO owner",
        )
        .unwrap();
    for (table, code, words) in [
        ("missing", "42P01", "does not exist"),
        ("a.t", "42809", "distributed schema"),
        ("seen", "42809", "view"),
        ("parts", "42809", "partitioned"),
        ("part", "0A000", "inheritance"),
        ("temporary", "42809", "temporary"),
        ("unlogged", "42809", "unlogged"),
        ("child", "0A000", "foreign key"),
        ("guarded", "0A000", "row-level security"),
        ("here_pkey", "42809", "index"),
        ("helios.node", "42809", "system"),
        ("pg_class", "42809", "system"),
        ("4294967294", "42P01", "does not exist"),
    ] {
        let sql = format!("SELECT helios_create_reference_table('{table}')");
        refused(&mut client, &sql, code, words);
    }
    refused(&mut client, "SELECT helios_create_reference_table(NULL)", "22004", "must not be NULL");
    refused(
        &mut client,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT helios_create_reference_table('here')",
        "0A000",
        "READ COMMITTED",
    );
    client.batch_execute("ROLLBACK").unwrap();
    let mut owner = cluster.connect_as("owner");
    refused(&mut owner, "SELECT helios_create_reference_table('here')", "42501", "owner");
    client
        .batch_execute(
            "SELECT helios_create_reference_table('here'); SELECT helios_create_reference_table('child'); \
             INSERT INTO here VALUES (1); INSERT INTO child VALUES (1)",
        )
        .unwrap();
    refused(&mut client, "SELECT helios_create_reference_table('here')", "42710", "already");
    refused(&mut client, "INSERT INTO child VALUES (2)", "23503", "not present");
    same_everywhere(&cluster, "child");
}
