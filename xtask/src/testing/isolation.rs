//! Runs the isolation specs in `pg_regress/specs/` with the server's own `pg_isolation_regress`
//! against a cluster.
//!
//! Their expected output is that of a plain server running the specs without the words `DISTRIBUTED` and `ON NODE …`:
//! sessions must block and fail at the same places.

use anyhow::Result;

use super::{Counts, regress};
use testkit::cluster::DATABASE;
use testkit::postgres::Postgres;
use testkit::scratch::Scratch;

/// Number of nodes of the cluster.
const NODES: u16 = 2;

/// The tester asks the coordinator whether one session blocks another, but a session blocked
/// on a node appears on the coordinator only as waiting for the node. So the question is passed on to the nodes, where
/// sessions have the application name that the tester assigns to each of its own.
const BLOCKED: &str = "
    ALTER FUNCTION pg_catalog.pg_isolation_test_session_is_blocked(integer, integer[])
        RENAME TO pg_isolation_test_session_is_blocked_here;
    CREATE FUNCTION pg_catalog.pg_isolation_test_session_is_blocked(pid integer, others integer[])
        RETURNS boolean LANGUAGE plpgsql AS $$
    DECLARE
        waiting text;
        holders text[];
    BEGIN
        IF pg_catalog.pg_isolation_test_session_is_blocked_here(pid, others) THEN
            RETURN true;
        END IF;
        SELECT a.application_name INTO waiting FROM pg_stat_activity a
            WHERE a.pid = pg_isolation_test_session_is_blocked.pid;
        SELECT array_agg(a.application_name) INTO holders FROM pg_stat_activity a
            WHERE a.pid = ANY (others);
        -- One by one: an expression finds its node alone.
        IF on_node_1.blocked(waiting, holders) THEN
            RETURN true;
        END IF;
        RETURN on_node_2.blocked(waiting, holders);
    END $$;";

/// Runs the scheduled specs whose names match a filter; all if there are no filters.
pub fn run(pg: &Postgres, filters: &[String]) -> Result<Counts> {
    let specs = regress::chosen("isolation_schedule", filters)?;
    if specs.is_empty() {
        return Ok(Counts::default());
    }
    let scratch = Scratch::new(NODES + 1)?;
    let cluster = scratch.cluster(pg, NODES, &[])?;
    let mut client = cluster.coordinator().connect(DATABASE)?;
    for node in 1..=NODES {
        client.batch_execute(&answers_on(node))?;
    }
    client.batch_execute(BLOCKED)?;
    let program = pg.regress_dir.with_file_name("isolation").join("pg_isolation_regress");
    regress::run_program(&program, pg, &cluster, &specs)
}

/// Creates a schema on a node with a function that says whether one of the tester's sessions is blocked there
/// by one of the others.
fn answers_on(node: u16) -> String {
    format!(
        "CREATE SCHEMA on_node_{node} DISTRIBUTED ON NODE \"node-{node}\";
         CREATE FUNCTION on_node_{node}.blocked(waiting text, holders text[]) RETURNS boolean
             LANGUAGE sql VOLATILE AS $$
             SELECT EXISTS (
                 SELECT FROM pg_stat_activity w, unnest(pg_blocking_pids(w.pid)) b (pid)
                     JOIN pg_stat_activity o ON o.pid = b.pid
                 WHERE w.application_name = waiting AND o.application_name = ANY (holders)) $$",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_asked() {
        for node in 1..=NODES {
            assert!(BLOCKED.contains(&format!("on_node_{node}.blocked")));
        }
    }
}
