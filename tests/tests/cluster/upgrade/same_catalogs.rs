//! The result of an update.

use super::{BEFORE, NOW, database_before, installed, new_database};
use helios_tests::{Cluster, text};
use std::collections::BTreeSet;

const DESCRIBE: &str = include_str!("describe.sql");

#[test]
fn smoke_updated_catalogs_are_those_of_a_new_installation() {
    let cluster = Cluster::shared();
    let mut fresh = new_database(cluster, "installed_anew");
    fresh.batch_execute("CREATE EXTENSION helios").unwrap();
    let mut updated = database_before(cluster, "updated");
    assert_eq!(installed(&mut updated), BEFORE);
    let before = text(&mut updated, DESCRIBE);
    assert!(before.len() > 500, "{} lines describe no catalogs", before.len());
    updated.batch_execute("ALTER EXTENSION helios UPDATE").unwrap();
    let (fresh, updated) = (text(&mut fresh, DESCRIBE), text(&mut updated, DESCRIBE));
    let lines = |text: &[String]| text.iter().cloned().collect::<BTreeSet<String>>();
    let (fresh_lines, updated_lines) = (lines(&fresh), lines(&updated));
    let missing: Vec<_> = fresh_lines.difference(&updated_lines).collect();
    let surplus: Vec<_> = updated_lines.difference(&fresh_lines).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "only in new ones: {missing:#?}\nonly in updated ones: {surplus:#?}"
    );
    assert_eq!(fresh.len(), updated.len());
}

#[test]
fn description_of_catalogs_shows_every_kind_of_difference() {
    let cluster = Cluster::shared();
    let mut client = new_database(cluster, "told_apart");
    client.batch_execute("CREATE EXTENSION helios").unwrap();
    let before = text(&mut client, DESCRIBE);
    for change in [
        "ALTER TABLE helios.merge ADD COLUMN further integer",
        "ALTER TABLE helios.merge ALTER COLUMN stays SET DEFAULT 1",
        "ALTER TABLE helios.merge DROP CONSTRAINT merge_pkey",
        "ALTER TABLE helios.merge SET (fillfactor = 50)",
        "CREATE INDEX ON helios.merge (stays)",
        "GRANT SELECT ON helios.merge TO PUBLIC",
        "COMMENT ON COLUMN helios.merge.stays IS 'it stays'",
        "GRANT EXECUTE ON FUNCTION helios_balance() TO PUBLIC",
        "ALTER FUNCTION helios_version() COST 17",
        "CREATE OR REPLACE FUNCTION helios.restore_node() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE OR REPLACE VIEW pg_catalog.helios_transactions AS SELECT gid, node, state, prepared, age, NULL::text AS error FROM pg_catalog.helios_transactions AS t WHERE false",
        "ALTER SEQUENCE helios.shard_id INCREMENT 2",
        "ALTER TABLE helios.node DISABLE TRIGGER USER",
        "CREATE TABLE helios.more (); ALTER EXTENSION helios ADD TABLE helios.more",
        "GRANT CREATE ON SCHEMA helios TO PUBLIC",
        "ALTER TABLE helios.merge ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY nothing ON helios.merge USING (false)",
    ] {
        client.batch_execute("BEGIN; SET LOCAL allow_system_table_mods = on").unwrap();
        client.batch_execute(change).unwrap_or_else(|error| panic!("{change}: {error:?}"));
        assert_ne!(text(&mut client, DESCRIBE), before, "{change}");
        client.batch_execute("ROLLBACK").unwrap();
    }
    assert_eq!(text(&mut client, DESCRIBE), before);
    assert_eq!(installed(&mut client), NOW);
}
