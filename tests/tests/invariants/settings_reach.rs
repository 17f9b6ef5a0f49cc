//! No guard depends on a setting that a client can change: whatever an unprivileged role sets, however it does so, on the
//! coordinator or on a node, what is protected does not change.

use helios_tests::Cluster;
use postgres::{Client, NoTls};
use testkit::cluster::DATABASE;
use testkit::server::Server;

use crate::{described, value};

/// Settings that are not listed anywhere, and one that existed formerly.
const HIDDEN: [&str; 3] =
    ["helios.migration_session", "helios.coordinator_proof", "helios.has_shells"];

/// Actions that guards prevent, tried by `reach`. None may change anything.
const ATTACKS: [&str; 7] = [
    "SELECT reach.define()",
    "SELECT reach.define() FROM reach.t",
    "SELECT reach.write_reference() FROM reach.t",
    "INSERT INTO reach_fenced.t VALUES (666)",
    "ALTER TABLE reach_fenced.t ADD COLUMN hidden int",
    "BEGIN; SELECT reach.define() FROM reach.t; COMMIT",
    "DO $$BEGIN EXECUTE 'INSERT INTO reach_fenced.t VALUES (667)'; END$$",
];

/// Additional actions of a node's client.
const ON_NODE: [&str; 3] = [
    "INSERT INTO public.reach_reference VALUES (666)",
    "DELETE FROM public.reach_reference",
    "UPDATE public.reach_reference SET id = -1",
];

fn prepare(cluster: &Cluster) {
    cluster
        .connect()
        .batch_execute(
            "CREATE ROLE reach LOGIN; GRANT CREATE ON DATABASE helios TO reach;
             CREATE SCHEMA reach AUTHORIZATION reach DISTRIBUTED ON NODE \"node-1\";
             CREATE SCHEMA reach_fenced AUTHORIZATION reach DISTRIBUTED ON NODE \"node-1\";
             CREATE TABLE public.reach_reference (id int PRIMARY KEY);
             GRANT ALL ON public.reach_reference TO reach;
             SELECT helios_create_reference_table('public.reach_reference');
             INSERT INTO public.reach_reference VALUES (1)",
        )
        .unwrap();
    cluster
        .connect_as("reach")
        .batch_execute(
            "CREATE TABLE reach.t (x int); INSERT INTO reach.t VALUES (1);
             CREATE TABLE reach_fenced.t (x int);
             CREATE FUNCTION reach.define() RETURNS int LANGUAGE plpgsql AS $$
                 DECLARE s text; v text;
                 BEGIN
                     FOREACH s IN ARRAY ARRAY['helios.has_shells', 'helios.migration_session', 'helios.coordinator_proof'] LOOP
                         FOREACH v IN ARRAY ARRAY['off', 'on'] LOOP
                             BEGIN PERFORM set_config(s, v, true); EXCEPTION WHEN OTHERS THEN END;
                             BEGIN CREATE TABLE reach.hidden (x int); RETURN 1; EXCEPTION WHEN OTHERS THEN END;
                         END LOOP;
                     END LOOP;
                     CREATE TABLE reach.hidden (x int); RETURN 1; END $$;
             CREATE FUNCTION reach.write_reference() RETURNS int LANGUAGE plpgsql AS $$
                 BEGIN PERFORM set_config('helios.has_shells', 'on', false);
                     DELETE FROM public.reach_reference; RETURN 1; END $$",
        )
        .unwrap();
    for mut client in [cluster.connect_to_node(1), cluster.connect()] {
        client
            .batch_execute("INSERT INTO helios.fence (schema, migration, kind) VALUES ('reach_fenced', 0, 'writes')")
            .unwrap();
    }
}

/// State that must not change, read bypassing all guards.
fn state(cluster: &Cluster) -> Vec<String> {
    let look = "SET helios.migration_session = on;
        SELECT concat_ws(' / ',
            (SELECT string_agg(relname || ' ' || relnatts, ',' ORDER BY relname) FROM pg_class
              WHERE relnamespace IN ('reach'::regnamespace, 'reach_fenced'::regnamespace) AND relkind = 'r'),
            (SELECT string_agg(id::text, ',') FROM public.reach_reference),
            (SELECT count(*) FROM reach_fenced.t), (SELECT count(*) FROM reach.t),
            (SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolsuper),
            (SELECT string_agg(setdatabase || setrole::regrole::text || setconfig::text, ',') FROM pg_db_role_setting
              WHERE setconfig::text ~ 'migration_session|coordinator_proof'))";
    [cluster.connect(), cluster.connect_to_node(1)]
        .iter_mut()
        .map(|client| value(client, look).unwrap().unwrap())
        .collect()
}

/// All settings of Helios on a server.
fn settings(server: &Server) -> Vec<(String, Vec<&'static str>)> {
    let mut client = server.connect(DATABASE).unwrap();
    let rows = client
        .query("SELECT name, vartype FROM pg_settings WHERE name LIKE 'helios.%' ORDER BY 1", &[])
        .unwrap();
    let of_type = |vartype: &str| match vartype {
        "bool" => vec!["on", "off"],
        "integer" | "real" => vec!["0", "1", "2147483647"],
        _ => vec!["on", "", "any", "primary", "least_loaded", "x'; --"],
    };
    let shown = rows.iter().map(|row| (row.get(0), of_type(row.get(1))));
    let hidden = HIDDEN.iter().map(|name| ((*name).to_owned(), vec!["on", "off", "x"]));
    shown.chain(hidden).collect()
}

fn attack(client: &mut Client, on_node: bool) {
    let more = if on_node { &ON_NODE[..] } else { &[] };
    // A node's guard against its clients' DDL depends on no setting.
    let all = ATTACKS.iter().filter(|sql| !on_node || !sql.contains("define()"));
    for sql in all.chain(more) {
        // Whether it fails does not matter here: changes are checked.
        let _ = client.simple_query(sql);
        let _ = client.simple_query("ROLLBACK");
    }
}

#[test]
fn no_guard_hangs_on_a_setting_of_a_client() {
    let cluster = Cluster::start(1);
    prepare(&cluster);
    let before = state(&cluster);
    for (server, on_node) in [(cluster.coordinator(), false), (cluster.node(1), true)] {
        let connect = |options: &str| {
            let mut config = server.config(DATABASE);
            config.user("reach").options(options).connect(NoTls)
        };
        let mut plain = connect("").unwrap();
        for (name, values) in settings(server) {
            let hidden = HIDDEN.contains(&name.as_str());
            for value in values {
                let literal = value.replace('\'', "''");
                let spellings = [
                    format!("SET {name} = '{literal}'"),
                    format!("BEGIN; SET LOCAL {name} = '{literal}'"),
                    format!("SELECT set_config('{name}', '{literal}', false)"),
                    format!("ALTER ROLE reach SET {name} = '{literal}'"),
                    format!("UPDATE pg_settings SET setting = '{literal}' WHERE name = '{name}'"),
                ];
                // A setting applies to its session only: the attacks follow all such settings.
                let mut own = hidden.then(|| connect("").unwrap());
                let client = own.as_mut().unwrap_or(&mut plain);
                for sql in spellings {
                    let _ = client.simple_query(&sql);
                    let _ = client.simple_query("ROLLBACK");
                    let _ = client.simple_query(&sql.replace("BEGIN; ", ""));
                }
                if hidden {
                    attack(client, on_node);
                    let escaped = value.replace(' ', "\\ ");
                    for options in [format!("-c {name}={escaped}"), String::new()] {
                        if let Ok(mut client) = connect(&options) {
                            attack(&mut client, on_node);
                        }
                    }
                }
                let _ = plain.simple_query(&format!("ALTER ROLE reach RESET {name}"));
            }
        }
        attack(&mut plain, on_node);
        assert_eq!(state(&cluster), before, "after the settings of {}", server.name);
    }
}

/// A grant or mistake by an administrator does not give away what only a superuser's session may do.
#[test]
fn a_granted_setting_does_not_open_the_guards() {
    let cluster = Cluster::start(1);
    prepare(&cluster);
    let before = state(&cluster);
    for mut admin in [cluster.connect(), cluster.connect_to_node(1)] {
        admin
            .batch_execute("GRANT SET ON PARAMETER helios.migration_session TO reach; ALTER ROLE reach SET helios.migration_session = on")
            .unwrap();
    }
    for (server, on_node) in [(cluster.coordinator(), false), (cluster.node(1), true)] {
        let mut client = server.config(DATABASE).user("reach").connect(NoTls).unwrap();
        let error = client.batch_execute("SET helios.migration_session = on").unwrap_err();
        assert_eq!(described(&error).0, "42501", "{error:?}");
        attack(&mut client, on_node);
    }
    let cleared = "ALTER ROLE reach RESET helios.migration_session";
    [cluster.connect(), cluster.connect_to_node(1)].iter_mut().for_each(|admin| {
        admin.batch_execute(cleared).unwrap();
    });
    assert_eq!(state(&cluster), before);
}

/// Neither the proof nor the key behind it is visible to anybody but superusers.
#[test]
fn the_proof_of_a_coordinator_is_not_shown() {
    let cluster = Cluster::start(1);
    prepare(&cluster);
    cluster
        .connect()
        .batch_execute("GRANT pg_read_all_settings, pg_read_all_data TO reach")
        .unwrap();
    let mut reach = cluster.connect_as("reach");
    for sql in [
        "SELECT coalesce(current_setting('helios.coordinator_proof', true), '') FROM reach.t",
        "CREATE FUNCTION reach.shown() RETURNS text LANGUAGE sql STABLE AS $$SELECT coalesce(string_agg(setting || reset_val, ''), '') \
             FROM pg_settings WHERE name = 'helios.coordinator_proof'$$; SELECT reach.shown()",
    ] {
        assert_eq!(value(&mut reach, sql).unwrap().as_deref(), Some(""), "{sql}");
    }
    // The seed is not data: even pg_read_all_data cannot read it.
    for server in [cluster.coordinator(), cluster.node(1)] {
        let mut client = server.config(DATABASE).user("reach").connect(NoTls).unwrap();
        for table in ["helios.identity", "helios.foreign_server"] {
            let rows = value(&mut client, &format!("SELECT count(*) FROM {table}"));
            assert_eq!(rows.unwrap().as_deref(), Some("0"), "{table}");
        }
    }
    cluster.connect().batch_execute("REVOKE pg_read_all_data FROM reach").unwrap();
    for server in [cluster.coordinator(), cluster.node(1)] {
        let mut client = server.config(DATABASE).user("reach").connect(NoTls).unwrap();
        let error = client.batch_execute("SELECT * FROM helios.identity").unwrap_err();
        assert_eq!(described(&error).0, "42501");
        let none = value(
            &mut client,
            "SELECT count(*) FROM pg_settings WHERE name = 'helios.coordinator_proof'",
        );
        assert_eq!(none.unwrap().as_deref(), Some("0"));
    }
}

/// The documentation says for each setting who may change it, and is correct.
#[test]
fn the_manual_has_every_setting_and_who_may_change_it() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/settings.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let mut client = Cluster::shared().connect();
    let select = "SELECT name, context FROM pg_settings WHERE name LIKE 'helios.%'
                  UNION VALUES ('helios.migration_session', 'superuser'), ('helios.coordinator_proof', 'backend'), ('helios.other_login', 'backend') ORDER BY 1";
    let mut wrong = Vec::new();
    for row in client.query(select, &[]).unwrap() {
        let (name, context): (String, String) = (row.get(0), row.get(1));
        let who = match context.as_str() {
            "user" => "everyone",
            "superuser" => "superuser",
            "sighup" => "configuration file",
            "postmaster" => "server start",
            "backend" => "at connection",
            other => panic!("{name}: {other}"),
        };
        let line = manual
            .lines()
            .find(|line| line.starts_with('|') && line.contains(&format!("`{name}`")));
        if !line.is_some_and(|line| line.contains(&format!("| {who} |"))) {
            wrong.push(format!("{name} is for {who}: {line:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
