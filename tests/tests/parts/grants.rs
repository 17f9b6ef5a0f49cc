//! GRANT, REVOKE and ALTER DEFAULT PRIVILEGES for objects in several places: every object has the same privileges here, on its node and
//! on one plain server.

use helios_tests::{Cluster, text};
use postgres::Client;

use super::random::plain;

const OBJECTS: &str = "
    CREATE TABLE ga.t (id int, s text); CREATE TABLE gb.\"Odd\" (id int, s text); CREATE TABLE gc.t (id int, s text);
    CREATE TABLE gp.t (id int, s text); CREATE TABLE gp.shared (id int PRIMARY KEY, s text);
    CREATE SEQUENCE ga.s; CREATE SEQUENCE gb.s; CREATE SEQUENCE gp.s;
    CREATE FUNCTION ga.f(int, text) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION gb.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE PROCEDURE gb.p(INOUT a int) LANGUAGE sql AS 'SELECT $1';
    CREATE FUNCTION gp.f(int) RETURNS int LANGUAGE sql AS 'SELECT $1';
    CREATE TYPE ga.mood AS ENUM ('sad'); CREATE DOMAIN gb.num AS int; CREATE TYPE gp.mood AS ENUM ('sad')";

const COMMANDS: [&str; 21] = [
    "GRANT USAGE ON SCHEMA ga, gb, gc, gp TO \"grant Reader\"",
    "GRANT SELECT, UPDATE (s) ON ga.t, gb.\"Odd\", gp.t, gp.shared TO \"grant Reader\" WITH GRANT OPTION",
    "GRANT ALL (id, s) ON TABLE ga.t, gc.t TO \"grant Reader\"",
    "GRANT ALL PRIVILEGES ON gb.\"Odd\", gc.t TO PUBLIC, grant_writer",
    "SET search_path = ga, gb; GRANT INSERT ON t, \"Odd\" TO CURRENT_USER, grant_writer; RESET search_path",
    "GRANT USAGE, SELECT ON SEQUENCE ga.s, gb.s, gp.s TO grant_writer",
    "REVOKE EXECUTE ON FUNCTION ga.f(int, text), gb.f, gp.f(int) FROM PUBLIC",
    "GRANT EXECUTE ON ROUTINE ga.f, gb.p TO grant_writer GRANTED BY CURRENT_USER",
    "REVOKE USAGE ON TYPE ga.mood, gb.num, gp.mood FROM PUBLIC",
    "REVOKE GRANT OPTION FOR SELECT ON ga.t, gb.\"Odd\" FROM \"grant Reader\" CASCADE",
    "GRANT TRUNCATE ON ALL TABLES IN SCHEMA ga, gb, gp TO grant_writer",
    "GRANT UPDATE ON ALL SEQUENCES IN SCHEMA ga, gb TO grant_writer",
    "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ga, gb TO \"grant Reader\"",
    "REVOKE ALL ON ALL PROCEDURES IN SCHEMA gb, gp FROM PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA ga, gb, gp GRANT SELECT, INSERT ON TABLES TO \"grant Reader\" WITH GRANT OPTION",
    "ALTER DEFAULT PRIVILEGES FOR ROLE grant_writer IN SCHEMA gb, gc GRANT ALL ON SEQUENCES TO PUBLIC",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA gb, ga REVOKE INSERT ON TABLES FROM \"grant Reader\" CASCADE",
    "CREATE TABLE ga.later (i int); CREATE TABLE gb.later (i int); CREATE TABLE gp.later (i int)",
    "GRANT SELECT ON ga.t, gb.missing TO PUBLIC",
    "BEGIN; GRANT DELETE ON ga.t, gb.\"Odd\" TO PUBLIC; ROLLBACK",
    "REVOKE ALL ON SCHEMA gc, ga FROM \"grant Reader\"",
];

const PRIVILEGES: &str = "
    SELECT format('%s.%s %s', n.nspname, c.relname, c.relacl) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = ANY ($1) AND relkind IN ('r', 'S')
    UNION ALL SELECT format('%s.%s.%s %s', n.nspname, c.relname, attname, attacl) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = ANY ($1) AND attacl IS NOT NULL
    UNION ALL SELECT format('%s %s', oid::regprocedure, proacl) FROM pg_proc WHERE pronamespace::regnamespace::text = ANY ($1)
    UNION ALL SELECT format('%s %s', oid::regtype, typacl) FROM pg_type WHERE typnamespace::regnamespace::text = ANY ($1) AND typtype IN ('e', 'd')
    UNION ALL SELECT format('%s %s', nspname, nspacl) FROM pg_namespace WHERE nspname = ANY ($1)
    UNION ALL SELECT format('%s %s %s %s', nspname, pg_get_userbyid(defaclrole), defaclobjtype, defaclacl) FROM pg_default_acl JOIN pg_namespace n ON n.oid = defaclnamespace WHERE nspname = ANY ($1)
    ORDER BY 1";

fn privileges(client: &mut Client, schemas: &[&str]) -> Vec<String> {
    let rows = client.query(PRIVILEGES, &[&schemas]).unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn privileges_on_lists_are_those_of_one_server() {
    let cluster = Cluster::shared();
    let (mut helios, mut plain) = (cluster.connect(), plain("grants_on_lists"));
    for (client, schemas) in [
        (&mut plain, ["CREATE SCHEMA ga", "CREATE SCHEMA gb", "CREATE SCHEMA gc"]),
        (
            &mut helios,
            [
                "CREATE SCHEMA ga DISTRIBUTED ON NODE \"node-1\"",
                "CREATE SCHEMA gb DISTRIBUTED ON NODE \"node-2\"",
                "CREATE SCHEMA gc DISTRIBUTED ON NODE \"node-1\"",
            ],
        ),
    ] {
        client.batch_execute("CREATE ROLE \"grant Reader\"; CREATE ROLE grant_writer").unwrap();
        client.batch_execute(&schemas.join("; ")).unwrap();
        client.batch_execute("CREATE SCHEMA gp").unwrap();
        client.batch_execute(OBJECTS).unwrap_or_else(|error| panic!("{error:?}"));
    }
    helios.batch_execute("SELECT helios_create_reference_table('gp.shared')").unwrap();

    let every = ["ga", "gb", "gc", "gp"];
    for command in COMMANDS {
        let (expected, found) = (plain.batch_execute(command), helios.batch_execute(command));
        let state = |result: Result<(), postgres::Error>| {
            result.err().and_then(|error| error.code().map(|code| code.code().to_owned()))
        };
        assert_eq!(state(found), state(expected), "{command}");
        let here = privileges(&mut helios, &every);
        assert_eq!(here, privileges(&mut plain, &every), "{command}");
        for (node, schemas) in [(1, vec!["ga", "gc"]), (2, vec!["gb"])] {
            let there = privileges(&mut cluster.connect_to_node(node), &schemas);
            assert!(!there.is_empty());
            assert_eq!(there, privileges(&mut helios, &schemas), "node {node}: {command}");
        }
    }
    let shared = "SELECT relacl::text FROM pg_class WHERE oid = 'gp.shared'::regclass";
    assert_eq!(text(&mut cluster.connect_to_node(2), shared), text(&mut helios, shared));
    assert!(
        text(&mut helios, shared)[0].contains("grant_writer=D"),
        "{:?}",
        text(&mut helios, shared)
    );
}
