//! Statements see their session's state on the node: settings, custom settings that exist or do not, the role.

use helios_tests::{Cluster, PlainServer, refused, text};
use postgres::Client;
use testkit::cluster::DATABASE;

/// Functions that depend on the server or on the connection to it.
const BOUND_TO_SERVER: &str = "{application_name,client_encoding,statement_timeout,\
     idle_in_transaction_session_timeout,idle_session_timeout,transaction_timeout,seed,\
     client_connection_check_interval,tcp_keepalives_count,tcp_keepalives_idle,\
     tcp_keepalives_interval,tcp_user_timeout,dynamic_library_path,local_preload_libraries,\
     trace_notify,exit_on_error,session_authorization}";

const PLACEHOLDERS: [&str; 5] = ["app.a", "app.b", "app.tenant", "other.a_b", "app.deep.name"];

/// Creates the function that reports a session's state, in a schema.
fn teller(client: &mut Client, schema: &str) {
    let names = PLACEHOLDERS.join(",");
    client
        .batch_execute(&format!(
            "CREATE FUNCTION {schema}.state() RETURNS SETOF text LANGUAGE plpgsql STABLE AS $$ BEGIN \
             RETURN QUERY SELECT format('%s = %s', name, setting) FROM pg_catalog.pg_settings \
                 WHERE context IN ('user', 'superuser') AND name NOT LIKE 'helios.%' \
                 AND name <> ALL ('{BOUND_TO_SERVER}') ORDER BY name; \
             RETURN QUERY SELECT format('%s = %s', p, coalesce(quote_literal(current_setting(p, true)), 'NULL')) \
                 FROM unnest('{{{names}}}'::text[]) p; \
             RETURN NEXT format('user %s', current_user); \
             RETURN NEXT format('role %s', current_setting('role')); END $$; \
             GRANT USAGE ON SCHEMA {schema} TO PUBLIC"
        ))
        .unwrap();
}

/// A cluster whose node and coordinator have different configuration, with functions that report state here and there.
fn cluster() -> Cluster {
    let cluster = Cluster::start(1);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA here; CREATE SCHEMA there DISTRIBUTED; CREATE TABLE there.t (id int); \
             GRANT ALL ON there.t TO PUBLIC; \
             CREATE ROLE one LOGIN; CREATE ROLE \"Two\" LOGIN SUPERUSER; \
             ALTER ROLE \"Two\" SET app.b = 'of role'; ALTER ROLE \"Two\" SET extra_float_digits = 2; \
             CREATE FUNCTION there.meddle() RETURNS int LANGUAGE plpgsql AS $$ BEGIN \
                 PERFORM set_config('work_mem', '123', true), set_config('DateStyle', 'German', false); \
                 RETURN 1; END $$; \
             CREATE FUNCTION here.within() RETURNS SETOF text LANGUAGE plpgsql \
                 SET work_mem = '99kB' SET app.tenant = 'within' SET search_path = \"an odd, name\", public \
                 AS $$ BEGIN RETURN QUERY (SELECT 'here ' || s FROM here.state() s); \
                 RETURN QUERY (SELECT 'there ' || s FROM there.state() s); END $$",
        )
        .unwrap();
    for schema in ["here", "there"] {
        teller(&mut client, schema);
    }
    cluster
}

fn compare(client: &mut Client, done: &[String], seed: u64) {
    let here = text(client, "SELECT * FROM here.state()");
    let there = text(client, "SELECT * FROM there.state()");
    let differ: Vec<_> = here.iter().zip(&there).filter(|(here, there)| here != there).collect();
    let last = &done[done.len().saturating_sub(25)..];
    assert!(
        differ.is_empty() && here.len() == there.len(),
        "seed {seed}: here and there: {differ:#?}\nafter {last:#?}"
    );
}

/// xorshift: the same sequence for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

const SETTINGS: [(&str, &[&str]); 16] = [
    ("app.a", &["'1'", "''", "'it''s \\\\ \"mine\"'", "'a, b'", "'ä €'"]),
    ("app.b", &["'x'", "''"]),
    ("app.tenant", &["'5'", "'6'", "''"]),
    ("other.a_b", &["'y'"]),
    ("app.deep.name", &["'z'"]),
    ("work_mem", &["'4MB'", "'77kB'", "4096"]),
    (
        "search_path",
        &["there", "\"$user\", public", "\"an odd, name\", there", "''", "\"Quoted\"\"Name\""],
    ),
    ("DateStyle", &["'ISO, MDY'", "'German'", "'SQL, DMY'"]),
    ("TimeZone", &["'UTC'", "'Europe/Berlin'", "'-3:30'"]),
    ("enable_seqscan", &["on", "off"]),
    ("seq_page_cost", &["1", "0.1", "1e-7", "123456.789"]),
    ("default_transaction_isolation", &["'read committed'", "'repeatable read'"]),
    ("extra_float_digits", &["1", "0", "-3"]),
    ("transform_null_equals", &["on", "off"]),
    ("xmloption", &["content", "document"]),
    ("session_replication_role", &["origin", "replica"]),
];

/// Returns the next statement; `level` is the number of open savepoints, if a transaction is open.
fn step(random: &mut Random, level: &mut Option<usize>) -> String {
    let (name, values) = SETTINGS[random.below(SETTINGS.len())];
    let value = random.of(values);
    let literal = if value.starts_with('\'') {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "''"))
    };
    match random.below(26) {
        0..=4 => format!("SET {name} = {value}"),
        5..=7 => format!("SET LOCAL {name} = {value}"),
        8 => format!("SELECT set_config('{name}', {literal}, {})", random.of(&["true", "false"])),
        9 => format!(
            "DO $do$ BEGIN PERFORM set_config('{name}', {literal}, {}); END $do$",
            random.of(&["true", "false"])
        ),
        10 => format!(
            "DO $do$ BEGIN SET {name} = {value}; PERFORM 1 FROM there.t; BEGIN SET LOCAL app.a = 'inner'; RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN END; END $do$"
        ),
        11 | 12 => format!("RESET {name}"),
        13 => format!("SET {name} TO DEFAULT"),
        14 => "RESET ALL".into(),
        15 => match level {
            None => "DISCARD ALL".into(),
            Some(_) => "SELECT count(*) FROM there.t".into(),
        },
        16 => random
            .of(&[
                "SET ROLE one",
                "SET ROLE \"Two\"",
                "SET ROLE postgres",
                "RESET ROLE",
                "SET ROLE NONE",
                "SET LOCAL ROLE one",
            ])
            .into(),
        17 => "SELECT there.meddle()".into(),
        18 => "INSERT INTO there.t VALUES (1)".into(),
        19..=21 => match level {
            None => {
                *level = Some(0);
                "BEGIN".into()
            }
            Some(savepoints) => {
                *savepoints += 1;
                format!("SAVEPOINT s{savepoints}")
            }
        },
        22 | 23 => match level {
            Some(savepoints) if *savepoints > 0 => {
                let number = *savepoints;
                if random.below(2) == 0 {
                    *savepoints -= 1;
                    format!("RELEASE s{number}")
                } else {
                    format!("ROLLBACK TO s{number}")
                }
            }
            _ => "SELECT count(*) FROM there.t".into(),
        },
        _ => match level.take() {
            Some(_) => random.of(&["COMMIT", "ROLLBACK"]).into(),
            None => "SELECT count(*) FROM there.t".into(),
        },
    }
}

fn run(cluster: &Cluster, seed: u64, role: &str) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut client = cluster.connect_as(role);
    let mut level = None;
    let mut done = vec![format!("connect as {role}")];
    for _ in 0..60 {
        let sql = step(&mut random, &mut level);
        done.push(sql.clone());
        if let Err(error) = client.simple_query(&sql) {
            // What a role is not permitted to do fails before it has any effect, and aborts a transaction.
            let code =
                error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}")).code().clone();
            assert!(
                ["42501", "42704"].contains(&code.code()),
                "seed {seed}: {error:?} after {done:#?}"
            );
            if level.take().is_some() {
                done.push("ROLLBACK".into());
                client.batch_execute("ROLLBACK").unwrap();
            }
        }
        if random.below(3) > 0 {
            compare(&mut client, &done, seed);
        }
    }
}

/// Set `HELIOS_SEED` to reproduce a failure.
#[test]
fn a_node_sees_what_the_session_has_set() {
    let cluster = cluster();
    let given = std::env::var("HELIOS_SEED").ok().map(|seed| seed.parse().unwrap());
    let first = given.unwrap_or(u64::from(std::process::id()) << 8);
    println!("seed {first}");
    for seed in first..first + if given.is_some() { 1 } else { 16 } {
        run(&cluster, seed, ["postgres", "Two", "one"][(seed % 3) as usize]);
    }
}

#[test]
fn functions_with_settings_of_their_own_see_them_on_the_node() {
    let cluster = cluster();
    let mut client = cluster.connect();
    for before in ["SELECT 1", "SET app.tenant = 'before'", "BEGIN; SET LOCAL work_mem = '1MB'"] {
        client.batch_execute(before).unwrap();
        let told = text(&mut client, "SELECT * FROM here.within()");
        let side = |side: &str| -> Vec<String> {
            told.iter().filter_map(|line| line.strip_prefix(side).map(str::to_owned)).collect()
        };
        assert_eq!(side("here "), side("there "), "{before}");
        assert!(told.contains(&"there app.tenant = 'within'".to_owned()), "{told:?}");
        compare(&mut client, &[before.to_owned()], 0);
    }
}

/// A placeholder that exists keeps a value, even if empty, after the setting is undone.
#[test]
fn a_placeholder_exists_on_the_node_where_it_exists_here() {
    let cluster = cluster();
    let shown = |client: &mut Client, table: &str| {
        text(
            client,
            &format!(
                "SELECT coalesce(quote_literal(current_setting('app.tenant', true)), 'NULL') FROM {table}"
            ),
        )
    };
    cluster.connect().batch_execute("INSERT INTO there.t VALUES (1)").unwrap();
    let plain = PlainServer::shared();
    let one = "(VALUES (1)) v";
    for (sql, expected) in [
        ("SELECT 1", "NULL"),
        ("BEGIN;; SET LOCAL app.tenant = '5';; COMMIT", "''"),
        ("BEGIN;; SET app.tenant = '5';; ROLLBACK", "''"),
        ("SET app.tenant = '5';; RESET app.tenant", "''"),
        ("SET app.tenant = '5';; RESET ALL", "''"),
        ("SET app.tenant = '5';; DISCARD ALL", "''"),
        ("SET app.tenant = ''", "''"),
        ("SELECT set_config('app.tenant', '5', true)", "''"),
        ("SELECT set_config('app.tenant', NULL, false)", "''"),
        ("DO $$ BEGIN PERFORM set_config('app.tenant', '5', true); END $$", "''"),
        ("BEGIN;; SAVEPOINT a;; SET app.tenant = '5';; ROLLBACK TO a;; COMMIT", "''"),
        (
            "SELECT set_config('app.tenant', repeat('x', 100000), false);; SET app.tenant = 'y'",
            "'y'",
        ),
    ] {
        let split = |client: &mut Client| {
            sql.split(";; ").for_each(|part| {
                client.simple_query(part).unwrap_or_else(|error| panic!("{part}: {error}"));
            })
        };
        for warm in [false, true] {
            let mut client = cluster.connect();
            let mut other = plain.server.connect(DATABASE).unwrap();
            if warm {
                shown(&mut client, "there.t");
            }
            split(&mut client);
            split(&mut other);
            assert_eq!(shown(&mut other, one), [expected], "plain, after {sql}");
            assert_eq!(shown(&mut client, one), [expected], "here, after {sql}");
            assert_eq!(shown(&mut client, "there.t"), [expected], "there, after {sql}, {warm}");
        }
    }
}

/// Row security that depends on a custom setting set for one transaction gives the same rows as on a plain server.
#[test]
fn row_security_does_not_take_an_empty_setting_for_none() {
    let cluster = cluster();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE TABLE there.secret (k text); INSERT INTO there.secret SELECT g::text FROM generate_series(1, 20) g; \
             ALTER TABLE there.secret ENABLE ROW LEVEL SECURITY; GRANT SELECT ON there.secret TO one; \
             CREATE POLICY p ON there.secret USING \
                 (current_setting('app.tenant', true) IS NULL OR k = current_setting('app.tenant', true))",
        )
        .unwrap();
    let mut one = cluster.connect_as("one");
    let count = |client: &mut Client| text(client, "SELECT count(*) FROM there.secret").remove(0);
    assert_eq!(count(&mut one), "20");
    one.batch_execute("BEGIN; SET LOCAL app.tenant = '5'").unwrap();
    assert_eq!(count(&mut one), "1");
    one.batch_execute("COMMIT").unwrap();
    assert_eq!(count(&mut one), "0");
    let mut fresh = cluster.connect_as("one");
    fresh.batch_execute("BEGIN; SET LOCAL app.tenant = '5'; COMMIT").unwrap();
    assert_eq!(count(&mut fresh), "0");
}

/// The node's own defaults (configuration, role, database) do not affect results.
#[test]
fn defaults_of_the_node_do_not_shape_results() {
    let cluster = cluster();
    let mut node = cluster.connect_to_node(1);
    let changed = [
        ("array_nulls", "off"),
        ("transform_null_equals", "on"),
        ("quote_all_identifiers", "on"),
        ("xmloption", "document"),
        ("row_security", "off"),
        ("DateStyle", "German"),
        ("extra_float_digits", "0"),
        ("client_min_messages", "error"),
        ("default_toast_compression", "pglz"),
        ("check_function_bodies", "off"),
        ("backslash_quote", "off"),
        ("escape_string_warning", "off"),
        ("gin_fuzzy_search_limit", "3"),
    ];
    for (name, value) in changed {
        node.batch_execute(&format!("ALTER SYSTEM SET {name} = '{value}'")).unwrap();
    }
    node.batch_execute(
        "ALTER DATABASE helios SET transform_null_equals = on; SELECT pg_reload_conf()",
    )
    .unwrap();
    drop(node);
    let mut client = cluster.connect();
    for sql in [
        "SELECT 1",
        "SET array_nulls = on",
        "RESET ALL",
        "SELECT there.meddle()",
        "BEGIN; SET LOCAL row_security = on; COMMIT",
    ] {
        client.batch_execute(sql).unwrap();
        let told = |client: &mut Client, side: &str| {
            let lines = text(client, &format!("SELECT * FROM {side}.state()"));
            let shaping = |line: &String| {
                changed.iter().any(|(name, _)| line.starts_with(&format!("{name} = ")))
            };
            lines.into_iter().filter(shaping).collect::<Vec<_>>()
        };
        assert_eq!(told(&mut client, "here"), told(&mut client, "there"), "{sql}");
    }
}

/// A setting that only a superuser's code may change, and that affects statements, is forwarded or refused.
#[test]
fn a_superusers_setting_is_followed_or_refused() {
    let cluster = cluster();
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE FUNCTION here.replica() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS \
             $$ BEGIN SET session_replication_role = replica; END $$; GRANT USAGE ON SCHEMA here TO one; \
             CREATE FUNCTION here.origin() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS \
             $$ BEGIN SET session_replication_role = origin; END $$; \
             CREATE FUNCTION here.logs() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS \
             $$ BEGIN SET log_min_duration_statement = 10000; END $$",
        )
        .unwrap();
    let mut one = cluster.connect_as("one");
    assert_eq!(text(&mut one, "SELECT count(*) FROM there.t"), ["0"]);
    one.batch_execute("SELECT here.logs()").unwrap();
    assert_eq!(text(&mut one, "SELECT count(*) FROM there.t"), ["0"]);
    one.batch_execute("SELECT here.replica()").unwrap();
    refused(&mut one, "SELECT count(*) FROM there.t", "0A000", "session_replication_role");
    one.batch_execute("SELECT here.origin()").unwrap();
    assert_eq!(text(&mut one, "SELECT count(*) FROM there.t"), ["0"]);
}
