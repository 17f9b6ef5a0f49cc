//! Rows of a cursor are those that the role may see that opened it, whoever fetches them.

use helios_tests::{Cluster, refused, text};

const REFUSED: &str = "from a cursor that was opened with other privileges";

fn set_up(cluster: &Cluster) {
    cluster
        .connect()
        .batch_execute(
            "CREATE ROLE opener LOGIN; CREATE ROLE drainer LOGIN; CREATE SCHEMA cursors AUTHORIZATION drainer DISTRIBUTED; \
             CREATE SCHEMA near AUTHORIZATION drainer; CREATE TABLE public.beside_cursors (id int); \
             INSERT INTO beside_cursors SELECT generate_series(1, 4); GRANT SELECT ON beside_cursors TO PUBLIC",
        )
        .unwrap();
    cluster
        .connect_as("drainer")
        .batch_execute(
            "GRANT USAGE ON SCHEMA cursors TO PUBLIC; GRANT USAGE ON SCHEMA near TO PUBLIC; CREATE TABLE cursors.t (id int, who text); \
             INSERT INTO cursors.t SELECT g, CASE g WHEN 2 THEN 'opener' ELSE 'drainer' END FROM generate_series(1, 4) g; \
             CREATE TABLE cursors.other AS SELECT id FROM cursors.t; GRANT SELECT ON cursors.t, cursors.other TO PUBLIC; \
             ALTER TABLE cursors.t ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON cursors.t USING (who = current_user); \
             CREATE FUNCTION near.drain(c refcursor) RETURNS SETOF int LANGUAGE plpgsql SECURITY DEFINER AS $$ DECLARE v int; BEGIN \
                 LOOP FETCH c INTO v; EXIT WHEN NOT FOUND; RETURN NEXT v; END LOOP; END $$; \
             CREATE FUNCTION near.opened(sql text) RETURNS refcursor LANGUAGE plpgsql SECURITY DEFINER AS $$ DECLARE c refcursor := 'opened'; BEGIN \
                 OPEN c FOR EXECUTE sql; RETURN c; END $$; \
             CREATE FUNCTION near.own() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ DECLARE v record; n bigint := 0; BEGIN \
                 FOR v IN SELECT id FROM cursors.t LOOP n := n + 1; END LOOP; \
                 FOR v IN SELECT id FROM cursors.t JOIN public.beside_cursors USING (id) LOOP n := n + 1; END LOOP; RETURN n; END $$",
        )
        .unwrap();
}

#[test]
fn cursors_give_nobody_elses_rows() {
    let cluster = Cluster::shared();
    set_up(cluster);
    let mut opener = cluster.connect_as("opener");
    assert_eq!(text(&mut opener, "SELECT near.own()"), ["8"]);
    for (isolation, query) in [
        ("READ COMMITTED", "SELECT id FROM cursors.t"),
        ("READ COMMITTED", "SELECT id FROM cursors.t JOIN beside_cursors USING (id)"),
        ("REPEATABLE READ", "SELECT id FROM cursors.t JOIN beside_cursors USING (id)"),
        (
            "READ COMMITTED",
            "SELECT t.id FROM cursors.t JOIN beside_cursors b USING (id), LATERAL (SELECT FROM cursors.other o WHERE o.id > b.id - 9 LIMIT 1) o",
        ),
    ] {
        println!("{isolation}: {query}");
        let begin = format!("BEGIN ISOLATION LEVEL {isolation}");
        let declare = format!("{begin}; DECLARE c CURSOR FOR {query}");
        opener.batch_execute(&declare).unwrap();
        assert_eq!(text(&mut opener, "FETCH ALL FROM c"), ["2"]);
        opener.batch_execute("ROLLBACK").unwrap();
        opener.batch_execute(&declare).unwrap();
        refused(&mut opener, "SELECT * FROM near.drain('c')", "0A000", REFUSED);
        opener.batch_execute("ROLLBACK").unwrap();
        opener.batch_execute(&begin).unwrap();
        opener.execute("SELECT near.opened($1)", &[&query]).unwrap();
        refused(&mut opener, "FETCH ALL FROM opened", "0A000", REFUSED);
        opener.batch_execute("ROLLBACK").unwrap();
    }
}

#[test]
fn cursors_of_other_roles_end_at_the_login() {
    let cluster = Cluster::start(1);
    set_up(&cluster);
    let mut admin = cluster.connect();
    admin.batch_execute("GRANT drainer TO opener").unwrap();
    let mut opener = cluster.connect_as("opener");
    let declare = "BEGIN; DECLARE c CURSOR FOR SELECT id FROM cursors.other ORDER BY 1";
    // What is open on the node stays, as on one server.
    opener.batch_execute(&format!("{declare}; FETCH 1 FROM c; SET ROLE drainer")).unwrap();
    assert_eq!(text(&mut opener, "FETCH 2 FROM c"), ["2", "3"]);
    refused(&mut opener, "RESET ROLE; SELECT * FROM near.drain('c')", "0A000", REFUSED);
    opener.batch_execute("ROLLBACK").unwrap();
    opener.batch_execute(&format!("{declare}; SET ROLE drainer")).unwrap();
    assert_eq!(text(&mut opener, "FETCH 1 FROM c"), ["1"]);
    opener.batch_execute("ROLLBACK").unwrap();
    opener.batch_execute(&format!("{declare}; SET ROLE drainer; RESET ROLE")).unwrap();
    assert_eq!(text(&mut opener, "FETCH 2 FROM c"), ["1", "2"]);
    opener.batch_execute("COMMIT").unwrap();
}
