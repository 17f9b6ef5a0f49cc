//! Rows that a coordinator sends to a node for its own statements, and portals that it opens for them: nobody else can send, read
//! or forget any, or open one.

use helios_tests::{Cluster, refused, text};

#[test]
fn only_a_coordinator_sends_rows_to_a_node() {
    let cluster = Cluster::shared();
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE sender LOGIN; CREATE SCHEMA sent AUTHORIZATION sender DISTRIBUTED ON NODE \"node-1\"",
        )
        .unwrap();
    let mut sender = cluster.connect_as("sender");
    sender
        .batch_execute(
            "CREATE TABLE sent.t (id int); INSERT INTO sent.t VALUES (1);
             CREATE FUNCTION sent.receives() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM helios.receive_rows(7, '\\x'); END $$;
             CREATE FUNCTION sent.opens() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
                 PERFORM helios.open_portals('{p}', '{SELECT 1}', '{0}', '{}', '{}', '{}'); END $$;
             CREATE FUNCTION sent.forgets() RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM helios.forget_rows(7); END $$",
        )
        .unwrap();
    let calls = [
        ("SELECT helios.receive_rows(7, '\\x')", "receive_rows"),
        ("SELECT helios.forget_rows(7)", "forget_rows"),
        ("SELECT * FROM helios.shipped_rows(7) AS t(a int)", "shipped_rows"),
        (
            "SELECT helios.open_portals('{p}', '{SELECT 1}', '{0}', '{}', '{}', '{}')",
            "open_portals",
        ),
    ];
    let mut on_node =
        cluster.node(1).config("helios").user("sender").connect(postgres::NoTls).unwrap();
    for (call, function) in calls {
        refused(&mut on_node, call, "42501", function);
        refused(&mut sender, call, "42501", function);
    }
    for name in ["receives", "forgets", "opens"] {
        refused(
            &mut sender,
            &format!("SELECT sent.{name}() FROM sent.t"),
            "42501",
            name.trim_end_matches('s'),
        );
    }
    assert_eq!(text(&mut sender, "SELECT count(*) FROM sent.t"), ["1"]);
}

/// A statement of a client's does not reach them in the session that its coordinator has with a node.
#[test]
fn statements_of_clients_send_no_rows() {
    let cluster = Cluster::shared();
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE SCHEMA reached DISTRIBUTED; CREATE TABLE reached.t (id int); INSERT INTO reached.t VALUES (1)",
        )
        .unwrap();
    let call = "helios.receive_rows(3, '\\x00000008000100000002c328')";
    let mut reached = Vec::new();
    for form in [
        "SELECT @ FROM reached.t",
        "SELECT id FROM reached.t WHERE @ IS NOT NULL",
        "SELECT id FROM reached.t, LATERAL (SELECT @ AS sent) s WHERE s.sent IS NOT NULL",
        "SELECT count(*) FROM reached.t, @",
        "WITH s AS MATERIALIZED (SELECT @) SELECT * FROM s, reached.t",
        "UPDATE reached.t SET id = id WHERE @ IS NOT NULL",
        "UPDATE reached.t SET id = id RETURNING @",
        "INSERT INTO reached.t SELECT 2 RETURNING @",
        "DELETE FROM reached.t WHERE @ IS NULL",
        "EXPLAIN (ANALYZE, COSTS off) SELECT @ FROM reached.t",
    ] {
        let error = admin
            .batch_execute(&form.replace('@', call))
            .map_err(|error| error.as_db_error().map(|error| error.code().code().to_owned()));
        let refused = matches!(&error, Err(Some(code)) if code == "42501" || code == "0A000");
        if !refused {
            reached.push((form, error));
        }
    }
    assert!(reached.is_empty(), "{reached:#?}");
}
