//! Obstacles to an import are reported to the client, with a hint, before anything is changed.

use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::Shutdown;

use super::{Abroad, assert_gone, begin, reaches, reaches_state};
use crate::{SETTINGS, cluster, shown, text, wait};
use helios_tests::Cluster;

struct Stage {
    client: Client,
    abroad: Abroad,
}

impl Stage {
    /// Asserts that it is refused with this SQLSTATE, these words, and a hint.
    #[track_caller]
    fn refused(&mut self, arguments: &str, code: &str, words: &str) {
        let sql = format!("SELECT helios_import_schema({arguments})");
        let error = self.client.batch_execute(&sql).expect_err(&sql);
        let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error}"));
        assert_eq!(error.code().code(), code, "{sql}: {error:?}");
        let said = format!("{} {}", error.message(), error.detail().unwrap_or_default());
        assert!(said.contains(words), "{sql}: {error:?}");
        assert!(error.hint().is_some(), "{sql}: no hint: {error:?}");
    }

    /// Like [`Self::refused`], for schema t of the foreign server.
    #[track_caller]
    fn t_refused(&mut self, code: &str, words: &str) {
        let from = self.abroad.conninfo();
        self.refused(&format!("'{from}', 't'"), code, words);
    }
}

#[test]
fn what_is_wrong_is_said_at_once() {
    let cluster = cluster(1);
    let mut stage = Stage { client: cluster.connect(), abroad: Abroad::start() };
    let mut there = stage.abroad.connect();
    there.batch_execute("CREATE SCHEMA t; CREATE TABLE t.a (id int PRIMARY KEY)").unwrap();
    let from = stage.abroad.conninfo();
    let port = stage.abroad.0.server.port;
    for (arguments, code, words) in [
        ("NULL, 't'".to_owned(), "22004", "connection"),
        (format!("'{from}', NULL"), "22004", "schema"),
        ("'host', 't'".to_owned(), "22023", "invalid connection string"),
        ("'user=postgres', 't'".to_owned(), "22023", "missing parameter \"host\""),
        ("'host=localhost', 't'".to_owned(), "22023", "missing parameter \"user\""),
        (format!("'{from} servce=x', 't'"), "22023", "unrecognized parameter"),
        (format!("'{from} sslmode=on', 't'"), "22023", "sslmode"),
        ("'host=localhost port=x user=u', 't'".to_owned(), "22023", "port"),
        ("'host=localhost port=1 user=u', 't'".to_owned(), "08001", "could not connect"),
        (format!("'{from} dbname=nowhere', 't'"), "08001", "nowhere"),
        (format!("'{from} user=nobody', 't'"), "08001", "nobody"),
        (
            format!("'postgresql://postgres@127.0.0.1:{port}/{DATABASE}', 'T'"),
            "3F000",
            "does not exist on the foreign server",
        ),
        (format!("'{from}', 'public'"), "42P06", "already exists"),
        (format!("'{from}', 'pg_x'"), "42939", "cannot be"),
        (format!("'{from}', 't', 'node-9'"), "42704", "node-9"),
    ] {
        stage.refused(&arguments, code, words);
    }
    stage.client.batch_execute("CREATE SCHEMA t").unwrap();
    stage.t_refused("42P06", "already exists");
    stage.client.batch_execute("DROP SCHEMA t").unwrap();
    cluster
        .connect_to_node(1)
        .batch_execute("SET helios.migration_session = on; CREATE SCHEMA t")
        .unwrap();
    stage.t_refused("42P06", "with the same name");
    cluster
        .connect_to_node(1)
        .batch_execute("SET helios.migration_session = on; DROP SCHEMA t")
        .unwrap();
    stage.client.batch_execute("CREATE ROLE plain LOGIN").unwrap();
    let sql = format!("SELECT helios_import_schema('{from}', 't')");
    let error = cluster.connect_as("plain").batch_execute(&sql).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    what_the_schema_needs(&mut stage, &mut there);
    rights(&mut stage, &mut there);
    stage.abroad.assert_clean();
    assert_gone(&cluster, "t");
    let id = begin(&mut stage.client, &from, "t", "node-1");
    assert_eq!(wait(&mut stage.client, id), "dual_write_back", "{}", shown(&mut stage.client, id));
}

fn what_the_schema_needs(stage: &mut Stage, there: &mut Client) {
    for (make, code, words, undo) in [
        (
            "CREATE ROLE stranger; GRANT SELECT ON t.a TO stranger",
            "42704",
            "stranger",
            "REVOKE ALL ON t.a FROM stranger",
        ),
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA t GRANT SELECT ON TABLES TO stranger",
            "42704",
            "stranger",
            "ALTER DEFAULT PRIVILEGES IN SCHEMA t REVOKE SELECT ON TABLES FROM stranger; DROP ROLE stranger",
        ),
        (
            "CREATE EXTENSION citext; CREATE TABLE t.c (x citext)",
            "42704",
            "extension citext",
            "DROP EXTENSION citext CASCADE; DROP TABLE t.c",
        ),
        (
            "CREATE TYPE public.mood AS ENUM ('a'); CREATE TABLE t.c (x public.mood)",
            "42704",
            "type public.mood",
            "DROP TABLE t.c; DROP TYPE public.mood",
        ),
        (
            "CREATE TABLE public.land (id int PRIMARY KEY); CREATE TABLE t.c (x int REFERENCES public.land)",
            "42704",
            "table public.land",
            "DROP TABLE t.c, public.land",
        ),
        (
            "CREATE TABLE public.whole (x int) PARTITION BY LIST (x); CREATE TABLE t.part PARTITION OF public.whole FOR VALUES IN (1)",
            "55000",
            "parent tables in other schemas",
            "DROP TABLE public.whole",
        ),
        (
            "CREATE VIEW public.v AS SELECT * FROM t.a",
            "55000",
            "objects outside the schema depend",
            "DROP VIEW public.v",
        ),
        (
            "SELECT lo_create(0); CREATE TABLE t.c (x oid)",
            "55000",
            "large objects",
            "DROP TABLE t.c; SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
        ),
    ] {
        there.batch_execute(make).unwrap();
        stage.t_refused(code, words);
        there.batch_execute(undo).unwrap();
    }
}

fn rights(stage: &mut Stage, there: &mut Client) {
    there.batch_execute("CREATE ROLE weak LOGIN").unwrap();
    let weak = stage.abroad.conninfo().replace("user=postgres", "user=weak");
    for words in ["REPLICATION", "CREATE privilege", "not the owner of t.a", "subscription"] {
        stage.refused(&format!("'{weak}', 't'"), "42501", words);
    }
    there.batch_execute("DROP ROLE weak").unwrap();
}

#[test]
fn a_server_that_does_not_log_enough() {
    let cluster = cluster(1);
    let abroad = Abroad::with_settings(&["wal_level = replica"]);
    abroad.connect().batch_execute("CREATE SCHEMA t; CREATE TABLE t.a (id int)").unwrap();
    let mut stage = Stage { client: cluster.connect(), abroad };
    stage.t_refused("55000", "logical decoding is not enabled");
    assert_gone(&cluster, "t");
}

#[test]
fn a_foreign_server_that_goes_down_and_comes_back() {
    let settings = [&SETTINGS[..], &["helios.migration_rate = 2000"]].concat();
    let (cluster, abroad) = (Cluster::with_settings(1, &settings), Abroad::start());
    let mut client = cluster.connect();
    let mut there = abroad.connect();
    there.batch_execute("CREATE SCHEMA t; CREATE TABLE t.a (id int PRIMARY KEY); INSERT INTO t.a SELECT generate_series(1, 8000)").unwrap();
    let id = begin(&mut client, &abroad.conninfo(), "t", "node-1");
    reaches_state(&mut client, id, "backfill");
    abroad.0.server.kill().unwrap();
    reaches(&mut client, id, "could not connect to the foreign server");
    abroad.0.server.start().unwrap();
    abroad.connect().batch_execute("INSERT INTO t.a VALUES (0)").unwrap();
    assert_eq!(wait(&mut client, id), "dual_write_back", "{}", shown(&mut client, id));
    assert_eq!(text(&mut client, "SELECT count(*) FROM t.a"), ["8001"]);
    // If it is gone for good, the hint gives a way out.
    abroad.0.server.stop(Shutdown::Fast).unwrap();
    client.query("SELECT helios_finish_migration($1)", &[&id]).unwrap();
    reaches(&mut client, id, "DELETE FROM helios.cleanup");
    client.execute("DELETE FROM helios.cleanup WHERE migration = $1 AND node < 0", &[&id]).unwrap();
    assert_eq!(wait(&mut client, id), "finished", "{}", shown(&mut client, id));
    crate::assert_clean(&cluster, &["t"]);
}
