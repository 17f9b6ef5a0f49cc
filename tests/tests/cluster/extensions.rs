//! Extensions are created in plain schemas and on every node, whatever the search_path.

use helios_tests::{Cluster, refused, text};
use postgres::Client;

fn schema_of(client: &mut Client, extension: &str) -> Vec<String> {
    text(
        client,
        &format!(
            "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = '{extension}'"
        ),
    )
}

/// Asserts that the extension is in this schema on all servers, or on none.
fn is_everywhere(cluster: &Cluster, extension: &str, schema: &[&str]) {
    assert_eq!(schema_of(&mut cluster.connect(), extension), schema, "{extension} here");
    for number in 1..=2 {
        let found = schema_of(&mut cluster.connect_to_node(number), extension);
        assert_eq!(found, schema, "{extension} on node {number}");
    }
}

/// Two tenants on two nodes.
fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start(2);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA ta DISTRIBUTED ON NODE \"node-1\"; CREATE SCHEMA tb DISTRIBUTED ON NODE \"node-2\"; \
             CREATE SCHEMA pl",
        )
        .unwrap();
    (cluster, client)
}

#[test]
fn an_extension_in_a_distributed_schema_is_refused() {
    let (cluster, mut client) = cluster();
    for (sql, extension) in [
        ("SET search_path = ta; CREATE EXTENSION citext", "citext"),
        ("SET search_path = ta, public; CREATE EXTENSION IF NOT EXISTS hstore", "hstore"),
        ("SET search_path = ta, public; CREATE EXTENSION pg_trgm CASCADE", "pg_trgm"),
        ("CREATE EXTENSION citext SCHEMA ta", "citext"),
        ("CREATE EXTENSION IF NOT EXISTS ltree WITH SCHEMA tb CASCADE", "ltree"),
        ("SET search_path = ta; CREATE EXTENSION earthdistance CASCADE", "earthdistance"),
        ("SET search_path = ta; DO $$ BEGIN CREATE EXTENSION citext; END $$", "citext"),
    ] {
        refused(&mut client, sql, "0A000", "into distributed schema");
        client.batch_execute("RESET search_path").unwrap();
        is_everywhere(&cluster, extension, &[]);
    }
    is_everywhere(&cluster, "cube", &[]);
    let error = client.batch_execute("SET search_path = ta; CREATE EXTENSION citext").unwrap_err();
    let hint = error.as_db_error().unwrap().hint().unwrap().to_owned();
    assert!(hint.contains("CREATE EXTENSION citext SCHEMA public"), "{hint}");
    // Following the hint, with the same search_path, makes it usable by both tenants.
    client
        .batch_execute(
            "SET search_path = ta, public; CREATE EXTENSION citext SCHEMA public; \
             CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE ta.t (c citext); INSERT INTO ta.t VALUES ('A'); \
             SET search_path = tb, public; CREATE EXTENSION IF NOT EXISTS citext; \
             CREATE TABLE tb.t (c citext); INSERT INTO tb.t VALUES ('B')",
        )
        .unwrap();
    is_everywhere(&cluster, "citext", &["public"]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM ta.t WHERE c = 'a'"), ["1"]);
    assert_eq!(text(&mut client, "SELECT count(*) FROM tb.t WHERE c = 'b'"), ["1"]);
    client
        .batch_execute("SELECT helios_wait_for_migration(helios_migrate_schema('ta', 'node-2'))")
        .ok();
}

#[test]
fn extensions_change_on_every_node() {
    let (cluster, mut client) = cluster();
    client.batch_execute("CREATE EXTENSION hstore SCHEMA pl").unwrap();
    is_everywhere(&cluster, "hstore", &["pl"]);
    refused(
        &mut client,
        "ALTER EXTENSION hstore SET SCHEMA ta",
        "0A000",
        "into distributed schema",
    );
    is_everywhere(&cluster, "hstore", &["pl"]);
    client.batch_execute("ALTER EXTENSION hstore SET SCHEMA public").unwrap();
    is_everywhere(&cluster, "hstore", &["public"]);
    client.batch_execute("ALTER EXTENSION hstore UPDATE").unwrap();
    // Required extensions are created in the same schema.
    client.batch_execute("CREATE EXTENSION earthdistance SCHEMA pl CASCADE").unwrap();
    is_everywhere(&cluster, "earthdistance", &["pl"]);
    is_everywhere(&cluster, "cube", &["pl"]);
    // Members.
    client.batch_execute("CREATE TABLE ta.m (a int); CREATE FUNCTION ta.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; \
        CREATE TYPE tb.e AS ENUM ('x'); CREATE FUNCTION pl.f() RETURNS int LANGUAGE sql AS 'SELECT 1'").unwrap();
    for member in ["TABLE ta.m", "FUNCTION ta.f()", "TYPE tb.e"] {
        refused(
            &mut client,
            &format!("ALTER EXTENSION hstore ADD {member}"),
            "0A000",
            "to an extension",
        );
    }
    client.batch_execute("ALTER EXTENSION hstore ADD FUNCTION pl.f()").unwrap();
    client.batch_execute("ALTER EXTENSION hstore DROP FUNCTION pl.f()").unwrap();
    client.batch_execute("DROP TABLE ta.m").unwrap();
    // CASCADE drops dependent objects in every schema.
    client
        .batch_execute("CREATE TABLE ta.h (a int, h hstore); CREATE TABLE tb.h (a int, h hstore); DROP EXTENSION hstore CASCADE")
        .unwrap();
    is_everywhere(&cluster, "hstore", &[]);
    for table in ["ta.h", "tb.h"] {
        client.batch_execute(&format!("INSERT INTO {table} VALUES (1)")).unwrap();
        assert_eq!(text(&mut client, &format!("SELECT * FROM {table}")), ["1"]);
    }
    client.batch_execute("DROP EXTENSION earthdistance, cube").unwrap();
    is_everywhere(&cluster, "cube", &[]);
}

#[test]
fn a_schema_with_an_extension_is_not_distributed() {
    let (cluster, mut client) = cluster();
    client
        .batch_execute("SET search_path = pl; CREATE EXTENSION citext; RESET search_path")
        .unwrap();
    is_everywhere(&cluster, "citext", &["pl"]);
    client.batch_execute("CREATE TABLE tb.c (c pl.citext)").unwrap();
    refused(
        &mut client,
        "SELECT helios_distribute_schema('pl', 'node-1')",
        "0A000",
        "because it contains extensions",
    );
    is_everywhere(&cluster, "citext", &["pl"]);
}

/// Schemas created by or for an extension, with `helios.distribute_new_schemas`.
#[test]
fn an_extension_goes_into_no_schema_that_became_distributed_by_default() {
    let (cluster, mut client) = cluster();
    client.batch_execute("SET helios.distribute_new_schemas = on; CREATE SCHEMA fresh").unwrap();
    refused(&mut client, "CREATE EXTENSION citext SCHEMA fresh", "0A000", "\"fresh\"");
    client.batch_execute("SET search_path = public; CREATE EXTENSION citext").unwrap();
    is_everywhere(&cluster, "citext", &["public"]);
}
