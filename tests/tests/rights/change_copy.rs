//! `helios.change_copy` changes a copy as another role: only for the coordinator, once, and exactly what was signed.

use helios_tests::{Cluster, refused, text};
use postgres::NoTls;

#[test]
fn only_the_coordinator_asks_for_changes_as_another_role() {
    let cluster = Cluster::with_settings(1, &["log_statement = 'all'"]);
    let mut admin = cluster.connect();
    admin
        .batch_execute(
            "CREATE ROLE keeper; CREATE ROLE clerk LOGIN; GRANT CREATE ON DATABASE helios TO clerk;
             CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9); GRANT ALL ON parent TO clerk;
             CREATE TABLE child (id int PRIMARY KEY REFERENCES parent ON DELETE CASCADE); INSERT INTO child SELECT generate_series(1, 9);
             ALTER TABLE child OWNER TO keeper; SELECT helios_create_reference_table('parent'); SELECT helios_create_reference_table('child')",
        )
        .unwrap();
    let mut clerk = cluster.connect_as("clerk");
    clerk.batch_execute("DELETE FROM parent WHERE id = 1").unwrap();
    clerk.batch_execute("BEGIN; DELETE FROM parent WHERE id = 2; ROLLBACK").unwrap();
    // The clerk can see the statements of his own sessions, signatures included.
    let log = std::fs::read_to_string(cluster.node(1).log()).unwrap();
    let calls: Vec<&str> = log
        .lines()
        .filter_map(|line| line.find("SELECT helios.change_copy").map(|at| &line[at..]))
        .collect();
    assert_eq!(calls.len(), 2, "{log}");
    let mut there = cluster.node(1).config("helios").user("clerk").connect(NoTls).unwrap();
    let (head, signature) = calls[1].rsplit_once(", ").unwrap();
    let forged = [
        calls[0].to_owned(),
        calls[1].to_owned(),
        format!("{head}, '')"),
        format!("{head}, 'x')"),
        format!("{head}, 'é')"),
        format!("{head}, '{}')", "0".repeat(128)),
        calls[1].replace("keeper", "postgres"),
        calls[1].replace("'child'", "'parent'"),
        format!(
            "SELECT helios.change_copy('keeper', 'public', 'child', 'DELETE FROM public.child', {signature}"
        ),
    ];
    clerk
        .batch_execute(
            "CREATE SCHEMA t DISTRIBUTED; CREATE FUNCTION t.run(number bool, call text) RETURNS void LANGUAGE plpgsql AS
             $$ BEGIN IF number THEN PERFORM helios.change_number(); END IF; EXECUTE call; END $$",
        )
        .unwrap();
    for call in &forged {
        refused(&mut there, call, "42501", "as another role");
        for again in ["", "BEGIN; "] {
            let sql = format!("{again}SELECT helios.change_number(); {call}");
            refused(&mut there, &sql, "42501", "as another role");
            there.batch_execute("ROLLBACK").unwrap();
        }
        // In one of the coordinator's sessions.
        for number in [true, false] {
            let literal = call.replace('\'', "''").replace('\\', "\\\\");
            let sql = format!("SELECT t.run({number}, E'{literal}')");
            refused(&mut clerk, &sql, "42501", "as another role");
        }
    }
    let rows = "SELECT count(*), min(id) FROM child";
    assert_eq!(text(&mut cluster.connect_to_node(1), rows), ["8|2"]);
    assert_eq!(text(&mut admin, rows), ["8|2"]);
}
