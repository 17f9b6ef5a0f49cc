//! Moves and replicas.

use helios_tests::{BOUND, node_of, text, wait_until};

use crate::harness::{self, Watched};

impl Watched {
    /// Distributes a schema, without checking who runs what.
    pub fn distribute(&mut self, schema: &str) {
        let distribute = format!("SELECT helios_distribute_schema('{schema}', 'node-1')");
        self.admin.batch_execute(&distribute).unwrap();
        let id = self.switched();
        self.finish(id);
        self.calls();
    }

    /// ID of the migration started last.
    pub fn last_migration(&mut self) -> i64 {
        self.admin.query_one("SELECT max(id) FROM helios_migrations", &[]).unwrap().get(0)
    }

    /// Waits until the last migration has switched.
    #[track_caller]
    pub fn switched(&mut self) -> i64 {
        let id = self.last_migration();
        self.wait(id, "dual_write_back");
        id
    }

    #[track_caller]
    pub fn finish(&mut self, id: i64) {
        self.admin.query("SELECT helios_finish_migration($1)", &[&id]).unwrap();
        self.wait(id, "finished");
    }

    /// Compares the copies of a schema, which must be the same.
    #[track_caller]
    pub fn verify(&mut self, schema: &str) {
        let verify = format!("SELECT * FROM helios_verify_schema('{schema}') WHERE mismatches > 0");
        assert!(text(&mut self.admin, &verify).is_empty());
    }

    /// Two phases: the copies are compared, then the last migration is rolled back.
    #[track_caller]
    pub fn verify_and_roll_back(&mut self, schema: &str) {
        self.phase("verify", |w| w.verify(schema));
        self.phase("roll back", |w| {
            let id = w.last_migration();
            w.roll_back(id);
        });
    }

    #[track_caller]
    fn roll_back(&mut self, id: i64) {
        self.admin.query("SELECT helios_rollback_migration($1)", &[&id]).unwrap();
        self.wait(id, "rolled_back");
    }

    #[track_caller]
    fn wait(&mut self, id: i64, state: &str) {
        let wait = format!("SELECT helios_wait_for_migration({id}, '{} seconds')", BOUND.as_secs());
        let found = text(&mut self.admin, &wait);
        let all = "SELECT m::text FROM helios.migration m ORDER BY id";
        assert_eq!(found, [state], "{:#?}", text(&mut self.admin, all));
    }

    /// Waits until the schema's copy is in sync.
    pub fn in_step(&mut self, schema: &str) {
        let select =
            format!("SELECT state FROM helios_replicas WHERE '{schema}'::name = ANY (schemas)");
        wait_until("the copy is in sync", BOUND, || {
            let states = text(&mut self.admin, &select);
            let log = "SELECT m::text FROM helios.migration m ORDER BY id";
            if states == ["in_step"] {
                Ok(())
            } else {
                Err(format!("{:?}", text(&mut self.admin, log)))
            }
        });
    }

    /// ID of the schema's node.
    pub fn node_of(&mut self, schema: &str) -> usize {
        node_of(&mut self.admin, schema).unwrap().trim_start_matches("node-").parse().unwrap()
    }
}

#[test]
fn code_of_a_replica_never_runs_as_a_superuser() {
    let mut watched = Watched::start(2);
    watched.tenant("t");
    // Additional copies are not supported for such tables.
    watched.tenant.batch_execute("ALTER TABLE t.guarded NO FORCE ROW LEVEL SECURITY").unwrap();
    watched.distribute("t");
    watched.phase("follow", |w| {
        w.admin.batch_execute("SELECT helios_set_replicas('t', 2)").unwrap();
        w.in_step("t");
        w.write("t");
        w.verify("t");
    });
    watched.phase("promote", |w| {
        w.admin.batch_execute("SELECT helios_promote_replica('t')").unwrap();
        w.write("t");
        w.in_step("t");
    });
    watched.phase("promote without the primary", |w| {
        let primary = w.node_of("t");
        w.cluster.kill_node(primary);
        wait_until("the copy is promoted", BOUND, || {
            let promote = "SELECT * FROM helios_promote_replica('t')";
            w.admin.batch_execute(promote).map_err(|error| format!("{error:?}"))
        });
        w.write("t");
        w.cluster.start_node(primary);
    });
}

#[test]
fn code_of_a_schema_never_runs_as_a_superuser() {
    let mut watched = Watched::start(3);
    watched.tenant("t");
    watched.phase("distribute", |w| {
        w.admin.batch_execute("SELECT helios_distribute_schema('t', 'node-1')").unwrap();
        let id = w.switched();
        w.write("t");
        w.finish(id);
    });
    watched.phase("use", |w| w.write("t"));
    watched.phase("move", |w| {
        w.admin.batch_execute("SELECT helios_migrate_schema('t', 'node-2')").unwrap();
        w.write("t");
        w.switched();
        w.write("t");
    });
    watched.verify_and_roll_back("t");
    watched.phase("move again", |w| {
        w.admin.batch_execute("SELECT helios_migrate_schema('t', 'node-2')").unwrap();
        let id = w.switched();
        w.write("t");
        w.finish(id);
    });
    watched.phase("maintain", |w| w.maintain("t"));
    watched.phase("undistribute", |w| {
        w.admin.batch_execute("SELECT helios_undistribute_schema('t')").unwrap();
        let id = w.switched();
        w.write("t");
        w.finish(id);
    });
    watched.assert_seen(&harness::OF_TABLES);
    watched.assert_seen(&harness::OF_SCHEMAS);
}
