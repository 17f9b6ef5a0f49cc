//! Imports, and other operations that move schemas between servers.

use helios_tests::{BOUND, PlainServer, pg, text, wait_until};
use testkit::cluster::DATABASE;
use testkit::server::{HOST, ROLE};

use crate::harness::Watched;

/// Code of the tenant run on the foreign server is not checked: only what runs in the cluster.
#[test]
fn code_of_an_imported_schema_never_runs_as_a_superuser_here() {
    let mut watched = Watched::start(2);
    let abroad = PlainServer::with_settings(&pg(), &["max_prepared_transactions = 0"]);
    let mut there = abroad.connect();
    there
        .batch_execute(&format!(
            "CREATE ROLE tenant LOGIN; GRANT CREATE ON DATABASE {DATABASE} TO tenant; SET SESSION AUTHORIZATION tenant; CREATE SCHEMA t"
        ))
        .unwrap();
    there.batch_execute(&Watched::code("t")).unwrap_or_else(|error| panic!("{error:?}"));
    let conninfo = format!("host={HOST} port={} dbname={DATABASE} user={ROLE}", abroad.server.port);
    let import = format!("SELECT helios_import_schema('{conninfo}', 't', 'node-1')");
    watched.phase("import", |w| {
        w.admin.batch_execute(&import).unwrap();
        w.switched();
        w.write("t");
    });
    watched.verify_and_roll_back("t");
    watched.phase("import again", |w| {
        w.admin.batch_execute(&import).unwrap();
        let id = w.switched();
        w.write("t");
        w.finish(id);
        w.write("t");
    });
}

#[test]
fn code_of_pooled_schemas_never_runs_as_a_superuser() {
    let mut watched = Watched::start(3);
    for schema in ["t", "u"] {
        let create = format!("CREATE SCHEMA {schema} AUTHORIZATION tenant DISTRIBUTED");
        watched.admin.batch_execute(&create).unwrap();
        watched.define(schema);
    }
    watched.calls();
    watched.phase("split", |w| {
        let split = "SELECT helios_split_shard(shard) FROM (SELECT DISTINCT shard FROM helios_schemas WHERE schema = 't') AS s";
        w.admin.simple_query(split).unwrap();
        w.write("t");
        w.write("u");
    });
    watched.phase("drain", |w| {
        let node = w.node_of("t");
        w.admin.simple_query(&format!("SELECT helios_drain_node('node-{node}')")).unwrap();
        let finish = "SELECT helios_finish_migration(id) FROM helios_migrations WHERE state = 'dual_write_back'";
        wait_until("the node is empty", BOUND, || {
            w.admin.simple_query(finish).map_err(|error| format!("{error:?}"))?;
            let left = text(&mut w.admin, "SELECT m::text FROM helios_active_migrations() m");
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
        assert_ne!(w.node_of("t"), node);
        w.write("t");
        w.write("u");
    });
    watched.phase("clean up", |w| {
        w.admin.batch_execute("DROP SCHEMA u CASCADE").unwrap();
        w.write("t");
        w.maintain("t");
    });
}
