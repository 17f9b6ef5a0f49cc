//! The same attempts in transient states, which failpoints hold, and with replicas.

use helios_tests::{BOUND, Cluster};

use super::{SETTINGS, Stage};
use crate::value;

/// Attempts wait for what is held, but not for long.
const LIMITS: &str = "SET statement_timeout = '300ms'; SET lock_timeout = '100ms'";

impl Stage {
    /// Makes all attempts while a migration started by `begin` is held at a failpoint.
    fn perform_held(&mut self, place: &str, begin: &str) {
        self.cluster.failpoint(place, "hang", 1, 0);
        value(&mut self.eyes[0], begin).unwrap();
        self.cluster.wait_for_failpoint(place, BOUND);
        self.perform(place);
        self.cluster.failpoint_off(place, BOUND);
    }
}

#[test]
fn an_adversary_gains_nothing_while_a_move_is_held() {
    let mut stage = Stage::on(Cluster::with_failpoints(2, &SETTINGS));
    stage.limits = LIMITS;
    let newest = "SELECT max(id) FROM helios.migration";
    let begin = "SELECT helios_migrate_schema('mm', 'node-2')";
    stage.perform_held("migration.subscribe.after", begin);
    let id = value(&mut stage.eyes[0], newest).unwrap().unwrap();
    stage.wait_for(&id, "dual_write_back");
    let back = format!("SELECT helios_rollback_migration({id})");
    stage.perform_held("migration.fence.after", &back);
    stage.wait_for(&id, "rolled_back");
    stage.assert_unchanged("the end of the move that was taken back");
}

#[test]
fn an_adversary_gains_nothing_beside_replicas() {
    let mut stage = Stage::new();
    stage.limits = LIMITS;
    let mut mallory = stage.cluster.connect_as("mallory");
    mallory.batch_execute("ALTER TABLE mm.guarded NO FORCE ROW LEVEL SECURITY").unwrap();
    let id = stage.begin("SELECT helios_set_replicas('mm', 2)");
    stage.wait_for(&id, "in_step");
    stage.perform("with a copy in sync");
    let id = stage.begin("SELECT helios_promote_replica('mm')");
    stage.wait_for(&id, "dual_write_back");
    stage.perform("after a promotion");
    stage.assert_unchanged("the end of a promotion");
}
