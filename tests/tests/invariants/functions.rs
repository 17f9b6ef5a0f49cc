//! Calls every function of the extension with unusual arguments: only superusers can call internal functions,
//! and no call ends in an internal error or a crash.

use helios_tests::Cluster;
use postgres::Client;

use crate::{described, value};

/// Functions that everybody may call, with the reason why that is safe. All others are refused with 42501.
const PUBLIC: [&str; 36] = [
    // They return public information.
    "pg_catalog.helios_version",
    "pg_catalog.helios_node_for_schema",
    "pg_catalog.helios_node_for_key",
    "pg_catalog.helios_key_slot",
    "pg_catalog.helios_cluster_info",
    "pg_catalog.helios_migration",
    "pg_catalog.helios_active_migrations",
    "pg_catalog.helios_wait_for_migration",
    "pg_catalog.helios_shard_statistics",
    "pg_catalog.helios_cluster_stats",
    "pg_catalog.helios_transaction_status",
    "helios.schema_counters",
    "helios.counting",
    "helios.replica_states",
    "helios.node_health",
    "helios.grammar_state",
    // It reads a table with the caller's privileges.
    "helios.reference_digest",
    // They grant less than SET ROLE, and only to members of the role.
    "helios.run_as",
    "helios.run_as_owner",
    // They do what the coordinator has signed, once.
    "helios.change_number",
    "helios.change_copy",
    // It does what CREATE SCHEMA does, with the caller's privileges.
    "pg_catalog.helios_create_schema",
    // Plans call them instead of PostgreSQL's own, whose privileges they check.
    "helios.evaluate",
    "helios.routed_nextval",
    "helios.routed_currval",
    "helios.routed_setval",
    "helios.followed_set_config",
    "helios.routed_sequence_last_value",
    "helios.routed_relation_size",
    "helios.routed_table_size",
    "helios.routed_indexes_size",
    "helios.routed_total_relation_size",
    "helios.shared_snapshot",
    // Called by a coordinator in the client's session.
    "helios.wait_for_replicas",
    // Created by PostgreSQL with the type helios.key_range.
    "helios.key_range",
    "helios.key_multirange",
];

struct Function {
    name: String,
    /// Name and type of each argument.
    arguments: Vec<(String, String)>,
    is_trigger: bool,
    /// Whether a query must name the columns of its rows.
    is_any_record: bool,
}

fn functions(client: &mut Client) -> Vec<Function> {
    let select = "SELECT n.nspname || '.' || p.proname,
               coalesce((SELECT array_agg(coalesce(p.proargnames[i], '') ORDER BY i) FROM generate_series(1, p.pronargs) i), '{}'),
               coalesce((SELECT array_agg(format_type(t, NULL) ORDER BY i) FROM unnest(p.proargtypes) WITH ORDINALITY AS a(t, i)), '{}'),
               p.prorettype = 'trigger'::regtype, p.prorettype = 'record'::regtype AND p.proallargtypes IS NULL
          FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
               JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
         WHERE e.extname = 'helios' ORDER BY 1";
    let rows = client.query(select, &[]).unwrap();
    let all = rows.iter().map(|row| {
        let (names, types): (Vec<String>, Vec<String>) = (row.get(1), row.get(2));
        let arguments = names.into_iter().zip(types).collect();
        Function { name: row.get(0), arguments, is_trigger: row.get(3), is_any_record: row.get(4) }
    });
    all.collect()
}

/// Unusual values of a type; the first is an ordinary one.
fn values(name: &str, of_type: &str) -> Vec<String> {
    let texts =
        |all: &[&str]| all.iter().map(|text| format!("{text}::{of_type}")).collect::<Vec<_>>();
    // Host names would be looked up in DNS.
    if name == "host" {
        return texts(&[
            "'127.0.0.1:1'",
            "NULL",
            "''",
            "' '",
            "','",
            "'127.0.0.1:0'",
            "'[::1'",
            "'127.0.0.1:1,127.0.0.1:x'",
        ]);
    }
    if name == "connection" {
        return texts(&[
            "'host=127.0.0.1 port=1 user=u'",
            "NULL",
            "''",
            "'x'",
            "'host='",
            "E'host=\\'\\n'",
            "'postgresql://'",
        ]);
    }
    match of_type {
        "text" | "name" => texts(&[
            "'walk'",
            "NULL",
            "''",
            "' '",
            "'node-1'",
            "'pg_catalog'",
            "'midpoint'",
            "repeat('ä', 3000)",
            "E'a\\n--\\'\"\\\\;$$'",
            "'%'",
            "'helios_1_1_1_1_1'",
            "'helios_x_node1_1'",
        ]),
        "integer" | "bigint" => {
            let far = if of_type == "integer" { "2147483647" } else { "9223372036854775807" };
            texts(&["1", "NULL", "0", "-1", far, &format!("'-{far}'")])
        }
        "double precision" => {
            texts(&["1", "NULL", "0", "-1", "'NaN'", "'Infinity'", "1e308", "'-0'"])
        }
        "boolean" => texts(&["true", "NULL", "false"]),
        "regclass" => texts(&[
            "'pg_class'",
            "NULL",
            "0",
            "4294967295",
            "'walked.t'",
            "'walked.s'",
            "'walked.v'",
            "'pg_class_oid_index'",
        ]),
        "text[]" | "name[]" => texts(&[
            "'{walk}'",
            "NULL",
            "'{}'",
            "'{NULL}'",
            "'{a,NULL,b}'",
            "'{{a,b},{c,d}}'",
            "'[5:6]={x,y}'",
            "'{\"\"}'",
            "'{walked}'",
            "'{sslmode=x}'",
            "'{{NULL},{NULL}}'",
        ]),
        "jsonb" => texts(&[
            "'{}'",
            "NULL",
            "'null'",
            "'[]'",
            "'\"x\"'",
            "'{\"name\": 1}'",
            "'[[[]]]'",
            "'{\"name\": \"n\", \"hosts\": [\"127.0.0.1\"], \"ports\": [1], \"database\": \"d\", \"user\": \"u\"}'",
            "'{\"name\": \"n\", \"hosts\": [], \"ports\": [], \"database\": \"d\", \"user\": \"u\"}'",
        ]),
        "bytea" => {
            texts(&["'\\x'", "NULL", "'\\x00'", "'\\x7fffffff61'", "'\\x00000006000100000002c328'"])
        }
        "oid[]" => texts(&[
            "'{25}'",
            "NULL",
            "'{}'",
            "'{NULL}'",
            "'{0}'",
            "'{4294967295}'",
            "'{2278,2281}'",
        ]),
        "bytea[]" => texts(&["'{NULL}'", "NULL", "'{}'", "'{a}'", "'{{a},{b}}'"]),
        "boolean[]" => texts(&["'{false}'", "NULL", "'{}'", "'{NULL}'", "'{true,false}'"]),
        "interval" => {
            texts(&["'0'", "NULL", "'-1 day'", "'178000000 years'", "'-178000000 years'"])
        }
        _ => texts(&["NULL"]),
    }
}

/// Calls of a function: all arguments ordinary, all NULL, and each unusual value in each position.
fn calls(function: &Function) -> Vec<String> {
    let choices: Vec<Vec<String>> =
        function.arguments.iter().map(|(name, of_type)| values(name, of_type)).collect();
    // A function that returns trigger cannot be used in FROM, whoever calls it.
    let head = if function.is_trigger { "SELECT" } else { "SELECT * FROM" };
    let columns = if function.is_any_record { " AS r (x int)" } else { "" };
    let call = |arguments: Vec<String>| {
        format!("{head} {}({}){columns}", function.name, arguments.join(", "))
    };
    let ordinary: Vec<String> = choices.iter().map(|all| all[0].clone()).collect();
    let mut calls = vec![call(ordinary.clone())];
    if choices.len() > 1 {
        let nulls = function.arguments.iter().map(|(_, of_type)| format!("NULL::{of_type}"));
        calls.push(call(nulls.collect()));
    }
    for (place, all) in choices.iter().enumerate() {
        for value in &all[1..] {
            let mut arguments = ordinary.clone();
            arguments[place].clone_from(value);
            calls.push(call(arguments));
        }
    }
    calls
}

/// Runs a statement, rolls it back, and returns its SQLSTATE. A lost connection is a crash.
fn outcome(client: &mut Client, sql: &str) -> (String, String) {
    client.simple_query("BEGIN; SET LOCAL statement_timeout = '3s'").unwrap();
    let outcome = match client.simple_query(sql) {
        Ok(_) => ("00000".to_owned(), String::new()),
        Err(error) if error.as_db_error().is_none() => ("crash".to_owned(), error.to_string()),
        Err(error) => described(&error),
    };
    let _ = client.simple_query("ROLLBACK");
    outcome
}

fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::start(1);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE walker LOGIN; GRANT CREATE ON DATABASE helios TO walker; CREATE SCHEMA walked;
             CREATE TABLE walked.t (x int); CREATE SEQUENCE walked.s; CREATE VIEW walked.v AS SELECT 1 AS x;
             GRANT ALL ON SCHEMA walked TO walker; GRANT ALL ON walked.t, walked.s, walked.v TO walker;
             CREATE SCHEMA walk DISTRIBUTED",
        )
        .unwrap();
    (cluster, admin)
}

fn is_internal(outcome: &(String, String)) -> bool {
    outcome.0.starts_with("XX") || outcome.0 == "crash" || outcome.1.contains("panic")
}

/// Like [`is_internal`], except for errors that PostgreSQL itself raises for one of its functions that plans replace
/// with ours.
fn is_wrong(client: &mut Client, call: &str, ours: &(String, String)) -> bool {
    if !is_internal(ours) {
        return false;
    }
    let own = call
        .replace("helios.routed_sequence_last_value", "pg_catalog.pg_sequence_last_value")
        .replace("helios.routed_", "pg_catalog.")
        .replace("helios.followed_", "pg_catalog.");
    own == call || client.is_closed() || outcome(client, &own) != *ours
}

#[test]
fn odd_arguments_are_errors_of_their_own() {
    let (cluster, mut admin) = cluster();
    let all = functions(&mut admin);
    assert!(all.len() > 60, "{} functions", all.len());
    let mut wrong = Vec::new();
    for function in &all {
        for call in calls(function) {
            let outcome = outcome(&mut admin, &call);
            if is_wrong(&mut admin, &call, &outcome) {
                wrong.push(format!("{call}: {outcome:?}"));
            }
            if outcome.0 == "crash" {
                break;
            }
        }
        if admin.is_closed() {
            admin = cluster.connect();
        }
    }
    assert!(wrong.is_empty(), "{} of the calls:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn strangers_reach_no_internal_function() {
    let (cluster, mut admin) = cluster();
    let mut wrong = Vec::new();
    for server in [cluster.coordinator(), cluster.node(1)] {
        let mut walker = server
            .config(testkit::cluster::DATABASE)
            .user("walker")
            .connect(postgres::NoTls)
            .unwrap();
        for function in functions(&mut admin) {
            let public = PUBLIC.contains(&function.name.as_str());
            let on_node = server.name != cluster.coordinator().name;
            let calls = calls(&function);
            for call in calls.iter().take(if public && !on_node { usize::MAX } else { 1 }) {
                let outcome = outcome(&mut walker, call);
                // A function with an argument of a type without values cannot be called at all.
                let refused = outcome.0 == "42501"
                    || function.arguments.iter().any(|(_, t)| t == "internal" || t == "anyelement");
                if is_wrong(&mut walker, call, &outcome) || (!public && !refused) {
                    wrong.push(format!("{} {call}: {outcome:?}", server.name));
                }
            }
            if walker.is_closed() {
                panic!("{wrong:?}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The list must not contain names that no longer exist.
    let there: Vec<String> =
        functions(&mut admin).into_iter().map(|function| function.name).collect();
    let gone: Vec<_> =
        PUBLIC.iter().filter(|name| !there.iter().any(|there| there == *name)).collect();
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn trigger_functions_serve_only_their_own_triggers() {
    let (cluster, mut admin) = cluster();
    let mut walker = cluster.connect_as("walker");
    let triggers: Vec<_> = functions(&mut admin).into_iter().filter(|f| f.is_trigger).collect();
    assert!(triggers.len() >= 9, "{}", triggers.len());
    walker.batch_execute("CREATE SCHEMA walker CREATE TABLE t (id int, kind text) CREATE VIEW v AS SELECT * FROM t").unwrap();
    let own = "SELECT coalesce(string_agg(x, ','), '') FROM (SELECT id::text x FROM helios.shard ORDER BY 1) s";
    let before = value(&mut admin, own).unwrap();
    let mut wrong = Vec::new();
    for function in &triggers {
        for head in [
            "BEFORE INSERT OR UPDATE OR DELETE ON walker.t FOR EACH ROW",
            "AFTER INSERT OR UPDATE OR DELETE ON walker.t FOR EACH ROW",
            "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON walker.t FOR EACH STATEMENT",
            "AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON walker.t FOR EACH STATEMENT",
            "INSTEAD OF INSERT OR UPDATE OR DELETE ON walker.v FOR EACH ROW",
        ] {
            let create = format!("CREATE TRIGGER x {head} EXECUTE FUNCTION {}()", function.name);
            let strange = outcome(&mut walker, &create);
            if strange.0 != "42501" {
                wrong.push(format!("{create}: {strange:?}"));
            }
            for statement in [
                "INSERT INTO walker.t VALUES (0)",
                "TRUNCATE walker.t",
                "INSERT INTO walker.v VALUES (0)",
                "INSERT INTO walker.t VALUES (1); UPDATE walker.t SET id = 2; DELETE FROM walker.t",
            ] {
                let outcome = outcome(&mut admin, &format!("{create}; {statement}"));
                if is_internal(&outcome) {
                    wrong.push(format!("{create}; {statement}: {outcome:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(value(&mut admin, own).unwrap(), before);
}
