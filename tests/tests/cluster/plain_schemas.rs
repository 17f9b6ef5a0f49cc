//! Schemas that `helios.distribute_new_schemas` leaves plain, and names that a distributed schema cannot have.

use helios_tests::{Cluster, text};

#[test]
fn a_reset_of_public_leaves_it_plain() {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "SET helios.distribute_new_schemas = on; DROP SCHEMA public CASCADE; CREATE SCHEMA public;
             CREATE TABLE public.t (id int); CREATE SCHEMA IF NOT EXISTS public; CREATE SCHEMA tenant",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT schema FROM helios_schemas ORDER BY 1"), ["tenant"]);
    client
        .batch_execute(
            "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION CURRENT_USER",
        )
        .unwrap();
    assert_eq!(text(&mut client, "SELECT schema FROM helios_schemas ORDER BY 1"), ["tenant"]);
    assert_eq!(
        text(&mut client, "SELECT count(*) FROM helios_check_cluster() WHERE NOT ok"),
        ["0"]
    );
    // It exists on the nodes, too.
    let there = "SELECT count(*) FROM pg_namespace WHERE nspname = 'public'";
    assert_eq!(text(&mut cluster.connect_to_node(1), there), ["1"]);
    // An extension's own schema is not a tenant.
    client.batch_execute("CREATE SCHEMA public_too").unwrap();
    client
        .batch_execute("SET helios.never_distribute = 'public, Audit ,\"Odd, \"\"Name\"\"\"'")
        .unwrap();
    client
        .batch_execute(
            "CREATE SCHEMA audit; CREATE SCHEMA \"Odd, \"\"Name\"\"\"; CREATE SCHEMA \"Audit\"",
        )
        .unwrap();
    let all = "SELECT schema FROM helios_schemas ORDER BY 1";
    assert_eq!(text(&mut client, all), ["Audit", "public_too", "tenant"]);
    // The setting affects only its own purpose: an explicit clause is still obeyed.
    client.batch_execute("DROP SCHEMA audit; CREATE SCHEMA audit DISTRIBUTED").unwrap();
    assert_eq!(text(&mut client, all), ["Audit", "audit", "public_too", "tenant"]);
    client.batch_execute("CREATE ROLE somebody LOGIN").unwrap();
    let mut somebody = cluster.connect_as("somebody");
    let error = somebody.batch_execute("SET helios.never_distribute = ''").unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    for sql in [
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public DISTRIBUTED",
        "DROP SCHEMA public CASCADE; SELECT helios_create_schema('public')",
        "SELECT helios_distribute_schema('public')",
        "SECURITY LABEL FOR helios ON SCHEMA public IS 'distributed'",
        "DROP SCHEMA public CASCADE; ALTER SCHEMA tenant RENAME TO public",
        "SELECT helios_create_schema('pg_mine')",
        "SET helios.never_distribute = ''; DROP SCHEMA public CASCADE; CREATE SCHEMA public",
    ] {
        let error = client.batch_execute(&format!("BEGIN; {sql}")).expect_err(sql);
        assert_eq!(error.code().unwrap().code(), "42939", "{sql}: {error:?}");
        client.batch_execute("ROLLBACK").unwrap();
    }
}
