//! Objects of plain schemas on nodes: nothing is dropped that does not exist here as well, and it is moved back with
//! the schema.

use helios_tests::{BOUND, define_on_node, refused, text, wait_until};
use postgres::Client;

use crate::{cluster, finish, last_migration, wait};

const CONTENTS: &str = "SELECT 'f', proname::text, prosrc FROM pg_proc WHERE pronamespace = 's'::regnamespace
    UNION ALL SELECT 't', typname, typtype::text FROM pg_type t WHERE typnamespace = 's'::regnamespace AND typrelid = 0 AND typelem = 0 ORDER BY 1, 2";

fn plain(client: &mut Client) {
    client
        .batch_execute(
            "CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('a'); CREATE DOMAIN s.d AS int CHECK (VALUE > 0);
             CREATE FUNCTION s.one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE s.a (id int PRIMARY KEY, m s.mood);
             CREATE FUNCTION s.of_row(s.a) RETURNS int LANGUAGE sql AS 'SELECT 2'; INSERT INTO s.a VALUES (1, 'a')",
        )
        .unwrap();
}

#[test]
fn what_a_node_has_of_its_own_is_not_dropped() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    plain(&mut client);
    let distribute = "SELECT helios_distribute_schema('s', 'node-1')";
    for (number, made, end, named) in [
        (
            1,
            "CREATE TABLE s.own (x int); INSERT INTO s.own VALUES (7)",
            "DROP TABLE s.own",
            "s.own",
        ),
        (2, "CREATE TABLE s.a (x int); INSERT INTO s.a VALUES (7)", "DROP TABLE s.a", "s.a"),
        (
            2,
            "CREATE FUNCTION s.two() RETURNS int LANGUAGE sql AS 'SELECT 2'",
            "DROP FUNCTION s.two()",
            "s.two()",
        ),
        (
            1,
            "CREATE SCHEMA other; CREATE TABLE other.x (m s.mood)",
            "DROP SCHEMA other CASCADE",
            "other.x",
        ),
    ] {
        let mut node = cluster.connect_to_node(number);
        define_on_node(&mut node, made);
        refused(&mut client, distribute, "55000", "objects unknown to the coordinator");
        let error = client.simple_query(distribute).map(|_| ()).unwrap_err();
        assert!(error.as_db_error().unwrap().detail().unwrap().contains(named), "{error:?}");
        define_on_node(&mut node, end);
    }
    assert_eq!(text(&mut client, "TABLE s.a"), ["1|a"]);
}

#[test]
fn a_distribution_that_fails_leaves_nodes_what_they_had() {
    let cluster = cluster(2);
    let mut client = cluster.connect();
    plain(&mut client);
    let contents = |number| text(&mut cluster.connect_to_node(number), CONTENTS);
    let before = [contents(1), contents(2)];
    assert_eq!(before[0].len(), 3, "{before:?}");
    client.batch_execute("SELECT helios_distribute_schema('s', 'node-1')").unwrap();
    let id = last_migration(&mut client);
    client.batch_execute(&format!("SELECT helios_cancel_migration({id})")).unwrap();
    let ended = |client: &mut Client| {
        wait_until("the migration's end", BOUND, || {
            let state =
                text(client, &format!("SELECT state FROM helios_migration({id})")).remove(0);
            if state == "cancelled" { Ok(()) } else { Err(state) }
        });
    };
    ended(&mut client);
    assert_eq!([contents(1), contents(2)], before);
    client.batch_execute("SELECT helios_distribute_schema('s', 'node-1')").unwrap();
    let id = last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back");
    finish(&mut client, id);
    client.batch_execute("SELECT helios_undistribute_schema('s')").unwrap();
    let id = last_migration(&mut client);
    assert_eq!(wait(&mut client, id), "dual_write_back");
    finish(&mut client, id);
    assert_eq!([contents(1), contents(2)], before);
    assert_eq!(text(&mut client, "TABLE s.a"), ["1|a"]);
}
