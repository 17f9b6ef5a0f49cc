//! Partitioned tables and inheritance trees of one node are read through their root, with its privileges and its policies.

use helios_tests::{Cluster, refused, text};
use postgres::Client;
use postgres::error::SqlState;

fn set_up(cluster: &Cluster) {
    cluster
        .connect()
        .batch_execute(
            "CREATE ROLE owns_trees LOGIN; CREATE ROLE reads_trees LOGIN; CREATE SCHEMA trees AUTHORIZATION owns_trees DISTRIBUTED; \
             CREATE TABLE public.beside (id int, s text); INSERT INTO beside SELECT g, 'x' FROM generate_series(1, 4) g; \
             GRANT ALL ON beside TO PUBLIC; GRANT CREATE ON SCHEMA public TO owns_trees",
        )
        .unwrap();
    cluster
        .connect_as("owns_trees")
        .batch_execute(
            "GRANT USAGE ON SCHEMA trees TO PUBLIC; \
             CREATE TABLE trees.p (gone int, id int, secret text, who text) PARTITION BY RANGE (id); \
             ALTER TABLE trees.p DROP COLUMN gone; \
             CREATE TABLE trees.p1 PARTITION OF trees.p FOR VALUES FROM (0) TO (3); \
             CREATE TABLE trees.p2 PARTITION OF trees.p FOR VALUES FROM (3) TO (1000); \
             INSERT INTO trees.p SELECT g, 's', CASE g % 2 WHEN 0 THEN 'reads_trees' ELSE 'owns_trees' END FROM generate_series(1, 199) g; \
             CREATE TABLE trees.open (id int); CREATE TABLE trees.heir (more int) INHERITS (trees.open); \
             INSERT INTO trees.open VALUES (1), (2); INSERT INTO trees.heir VALUES (3, 1), (1, 1); \
             ALTER TABLE trees.p1 ENABLE ROW LEVEL SECURITY; ALTER TABLE trees.heir ENABLE ROW LEVEL SECURITY; \
             GRANT SELECT (id, who) ON trees.p TO reads_trees; GRANT SELECT, UPDATE ON trees.open TO reads_trees; \
             CREATE TABLE trees.free (id int); CREATE TABLE trees.free_heir () INHERITS (trees.free); \
             INSERT INTO trees.free VALUES (1); INSERT INTO trees.free_heir VALUES (2), (3); \
             GRANT ALL ON trees.free, trees.free_heir TO reads_trees; \
             CREATE VIEW public.seen_trees AS SELECT id FROM trees.p; GRANT SELECT ON public.seen_trees TO reads_trees",
        )
        .unwrap();
}

fn gives(client: &mut Client, expected: &[&str], sql: &str) {
    assert_eq!(text(client, sql), expected, "{sql}");
}

#[test]
fn trees_are_read_through_their_root() {
    let cluster = Cluster::start(2);
    set_up(&cluster);
    let mut reader = cluster.connect_as("reads_trees");
    let counted = "SELECT count(*) FROM trees.p JOIN beside USING (id)";
    gives(&mut reader, &["4"], counted);
    gives(
        &mut reader,
        &["1", "1", "2", "3"],
        "SELECT id FROM trees.open JOIN beside USING (id) ORDER BY 1",
    );
    gives(
        &mut reader,
        &["1", "2"],
        "SELECT id FROM ONLY trees.open JOIN beside USING (id) ORDER BY 1",
    );
    gives(
        &mut reader,
        &["1|owns_trees", "2|reads_trees"],
        "SELECT b.id, l.who FROM beside b, LATERAL (SELECT who FROM trees.p WHERE p.id = b.id AND b.id < 3 OFFSET 0) l ORDER BY 1",
    );
    gives(
        &mut reader,
        &["1", "2", "3", "4"],
        "UPDATE beside SET s = p.who FROM trees.p WHERE p.id = beside.id RETURNING beside.id",
    );
    gives(
        &mut reader,
        &["3"],
        "SELECT beside.id FROM beside JOIN trees.p USING (id) WHERE beside.id = 3 FOR UPDATE OF beside",
    );
    let denied = "SELECT count(secret) FROM trees.p JOIN beside USING (id)";
    let error = reader.batch_execute(denied).unwrap_err();
    assert_eq!(error.code().map(SqlState::code), Some("42501"), "{error:?}");

    let mut owner = cluster.connect_as("owns_trees");
    gives(&mut owner, &["4"], counted);
    owner
        .batch_execute(
            "ALTER TABLE trees.p ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON trees.p USING (who = current_user)",
        )
        .unwrap();
    gives(&mut reader, &["2"], counted);
    gives(&mut owner, &["4"], counted);
    owner.batch_execute("ALTER TABLE trees.p DISABLE ROW LEVEL SECURITY").unwrap();
}

#[test]
fn trees_that_are_read_by_members_have_no_policies_of_theirs() {
    let cluster = Cluster::start(1);
    set_up(&cluster);
    let mut owner = cluster.connect_as("owns_trees");
    owner.batch_execute("GRANT SELECT ON trees.p1, trees.p2, trees.heir TO reads_trees; GRANT SELECT, UPDATE ON trees.p TO reads_trees").unwrap();
    let mut reader = cluster.connect_as("reads_trees");
    for sql in [
        "SELECT p.tableoid::regclass FROM trees.p JOIN beside USING (id)",
        "SELECT p FROM trees.p JOIN beside USING (id)",
        "SELECT id FROM trees.open TABLESAMPLE BERNOULLI (100) JOIN beside USING (id)",
        "SELECT id FROM seen_trees JOIN beside USING (id)",
    ] {
        refused(&mut reader, sql, "0A000", "");
    }
    gives(
        &mut reader,
        &["trees.free|(1)", "trees.free_heir|(2)", "trees.free_heir|(3)"],
        "SELECT f.tableoid::regclass, f FROM trees.free f JOIN beside USING (id) ORDER BY id",
    );
    let locked = "SELECT id FROM trees.free f JOIN beside USING (id) ORDER BY id FOR UPDATE OF f";
    gives(&mut reader, &["1", "2", "3"], locked);
    let locked = "SELECT id FROM trees.open o JOIN beside USING (id) ORDER BY id FOR UPDATE OF o";
    gives(&mut reader, &["1", "1", "2", "3"], locked);
    // Its owner is not subject to them.
    gives(
        &mut owner,
        &["4"],
        "SELECT count(p.tableoid::regclass) FROM trees.p JOIN beside USING (id)",
    );
}
