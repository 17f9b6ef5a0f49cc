//! What nodes do of statements over several places: EXPLAIN shows that few rows travel, and that only the nodes concerned are
//! asked.

use helios_tests::Cluster;
use postgres::{Client, NoTls, SimpleQueryMessage};
use testkit::cluster::DATABASE;

use super::random::plain;

fn lines(client: &mut Client, sql: &str) -> Vec<String> {
    let messages = client.simple_query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
        _ => None,
    });
    rows.collect()
}

fn explain(client: &mut Client, sql: &str) -> String {
    lines(client, &format!("EXPLAIN {sql}")).join("\n")
}

const TENANTS: u32 = 9;

/// Tenants on three nodes, a view over all of them, and tables of other sizes.
fn set_up(client: &mut Client, distributed: bool) {
    let place = |i: u32| match distributed {
        true => format!(" DISTRIBUTED ON NODE \"node-{}\"", i % 3 + 1),
        false => String::new(),
    };
    for i in 0..TENANTS {
        client
            .batch_execute(&format!(
                "CREATE SCHEMA tenant_{i}{};
                 CREATE TABLE tenant_{i}.orders (id int PRIMARY KEY, customer int, amount numeric, note text);
                 INSERT INTO tenant_{i}.orders SELECT g, g % 7, g * 1.25 + {i}, 'note ' || g FROM generate_series(1, 100) g",
                place(i)
            ))
            .unwrap();
    }
    let all: Vec<String> = (0..TENANTS)
        .map(|i| format!("SELECT 'tenant_{i}' AS tenant, * FROM tenant_{i}.orders"))
        .collect();
    client
        .batch_execute(&format!(
            "CREATE VIEW public.all_orders AS {};
             CREATE TABLE tenant_0.large AS SELECT g AS id, repeat('x', 200) AS filler FROM generate_series(1, 20000) g;
             ALTER TABLE tenant_0.large ADD PRIMARY KEY (id);
             CREATE TABLE tenant_1.large AS SELECT g AS id, repeat('y', 200) AS filler FROM generate_series(1, 20000) g;
             CREATE TABLE public.few AS SELECT g * 100 AS id FROM generate_series(1, 50) g;
             ANALYZE public.few",
            all.join(" UNION ALL ")
        ))
        .unwrap();
}

fn both() -> (Cluster, Client, Client) {
    let cluster = Cluster::start(3);
    let mut helios = cluster.coordinator().config(DATABASE).connect(NoTls).unwrap();
    let mut plain = plain("pushed_down");
    set_up(&mut plain, false);
    set_up(&mut helios, true);
    // Estimates are the nodes' own.
    for node in cluster.nodes() {
        node.connect(DATABASE).unwrap().batch_execute("ANALYZE").unwrap();
    }
    (cluster, helios, plain)
}

fn same(helios: &mut Client, plain: &mut Client, sql: &str) {
    assert_eq!(lines(helios, sql), lines(plain, sql), "{sql}");
}

#[test]
fn nodes_do_what_they_can_of_statements_over_several_places() {
    let (_cluster, mut helios, mut plain) = both();
    only_the_nodes_concerned_are_asked(&mut helios, &mut plain);
    aggregates_are_computed_where_the_rows_are(&mut helios, &mut plain);
    parameters_exclude_nodes_too(&mut helios);
    figures_are_those_of_the_node(&mut helios);
    privileges_count_for_what_is_not_read(&mut helios, &mut plain);
    few_rows_are_sent_to_many(&mut helios, &mut plain);
    more_rows_than_memory_go_to_disk(&mut helios, &mut plain);
}

fn only_the_nodes_concerned_are_asked(helios: &mut Client, plain: &mut Client) {
    for (sql, nodes) in [
        ("SELECT * FROM all_orders WHERE tenant = 'tenant_4' ORDER BY id", 1),
        (
            "SELECT * FROM all_orders WHERE tenant IN ('tenant_4', 'tenant_7') AND id < 3 ORDER BY 1, 2",
            1,
        ),
        ("SELECT count(*), sum(amount) FROM all_orders WHERE tenant = 'tenant_2'", 1),
        ("SELECT count(*) FROM all_orders WHERE tenant < 'tenant_2' AND amount > 50", 2),
        ("SELECT max(amount) FROM all_orders WHERE tenant = 'nobody'", 1),
    ] {
        same(helios, plain, sql);
        let plan = explain(helios, sql);
        assert_eq!(plan.matches("Node: node-").count(), nodes, "{sql}\n{plan}");
    }
}

fn parameters_exclude_nodes_too(helios: &mut Client) {
    helios
        .batch_execute(
            "PREPARE of_tenant(text) AS SELECT count(*), sum(amount) FROM all_orders WHERE tenant = $1;
             SET plan_cache_mode = force_custom_plan",
        )
        .unwrap();
    let plan = explain(helios, "EXECUTE of_tenant('tenant_5')");
    assert_eq!(plan.matches("Node: node-").count(), 1, "{plan}");
    assert_eq!(lines(helios, "EXECUTE of_tenant('tenant_5')"), ["100"]);
    // A plan for any value asks all nodes, and gives the same.
    helios.batch_execute("SET plan_cache_mode = force_generic_plan").unwrap();
    let plan = explain(helios, "EXECUTE of_tenant('tenant_5')");
    assert_eq!(plan.matches("Node: node-").count(), 3, "{plan}");
    assert_eq!(lines(helios, "EXECUTE of_tenant('tenant_5')"), ["100"]);
    helios.batch_execute("RESET plan_cache_mode; DEALLOCATE of_tenant").unwrap();
}

fn figures_are_those_of_the_node(helios: &mut Client) {
    let first = |client: &mut Client, sql: &str| lines(client, sql).swap_remove(0);
    let sql = "SELECT filler FROM tenant_0.large WHERE id > 10000";
    let planned = first(helios, &format!("EXPLAIN {sql}"));
    let rows: f64 =
        planned.split("rows=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((8_000.0..12_000.0).contains(&rows), "{planned}");
    let ran = first(helios, &format!("EXPLAIN ANALYZE {sql}"));
    assert!(
        ran.contains("loops=1") && ran.split("(actual").nth(1).unwrap().contains("rows=10000"),
        "{ran}"
    );
    let json = lines(helios, &format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}")).join("");
    let actual = json.split("\"Actual Rows\": ").nth(1).unwrap().split(['.', ',']).next().unwrap();
    assert_eq!(actual, "10000", "{json}");
}

fn aggregates_are_computed_where_the_rows_are(helios: &mut Client, plain: &mut Client) {
    for sql in [
        "SELECT count(*), sum(amount), avg(amount), min(id), max(note) FROM all_orders",
        "SELECT customer, count(note), avg(id) FROM all_orders WHERE id > 5 GROUP BY customer ORDER BY customer",
        "SELECT customer % 2, sum(id) FROM all_orders GROUP BY 1 HAVING sum(amount) > 10 ORDER BY 1",
    ] {
        same(helios, plain, sql);
        let plan = explain(helios, sql);
        assert_eq!(plan.matches("Node: node-").count(), 3, "{sql}\n{plan}");
        // One here and one on each node.
        assert_eq!(plan.matches("Aggregate").count(), 4, "{sql}\n{plan}");
    }
    // Here only: parts of it do not combine.
    let sql = "SELECT string_agg(note, ',' ORDER BY note, amount) FROM all_orders WHERE id < 3";
    same(helios, plain, sql);
    let plan = explain(helios, sql);
    assert_eq!(plan.matches("Aggregate").count(), 1, "{plan}");
    assert_eq!(plan.matches("Node: node-").count(), 3, "branches of one node are one part\n{plan}");
}

fn privileges_count_for_what_is_not_read(helios: &mut Client, plain: &mut Client) {
    let sql = "SELECT count(*) FROM (SELECT 'a' AS tenant, id FROM tenant_0.orders
                   UNION ALL SELECT 'b', id FROM tenant_1.orders) x WHERE tenant = 'a'";
    for client in [&mut *helios, plain] {
        client
            .batch_execute(
                "CREATE ROLE half_reader;
                 GRANT USAGE ON SCHEMA tenant_0 TO half_reader;
                 GRANT USAGE ON SCHEMA tenant_1 TO half_reader;
                 GRANT SELECT ON tenant_0.orders TO half_reader;
                 SET ROLE half_reader",
            )
            .unwrap();
        let error = client.simple_query(sql).unwrap_err();
        assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{error}");
        client
            .batch_execute(
                "RESET ROLE; GRANT SELECT ON tenant_1.orders TO half_reader; SET ROLE half_reader",
            )
            .unwrap();
        assert_eq!(lines(client, sql), ["100"]);
        // Nor is the view theirs.
        for sql in [
            "SELECT count(*) FROM all_orders",
            "SELECT max(id) FROM all_orders WHERE tenant = 'tenant_0'",
        ] {
            let error = client.simple_query(sql).unwrap_err();
            assert_eq!(error.code().map(|code| code.code()), Some("42501"), "{error}");
            assert!(
                error.to_string().contains("all_orders")
                    || format!("{error:?}").contains("all_orders"),
                "{error:?}"
            );
        }
        client.batch_execute("RESET ROLE; REVOKE ALL ON tenant_0.orders FROM half_reader; REVOKE ALL ON tenant_1.orders FROM half_reader;
                            REVOKE USAGE ON SCHEMA tenant_0 FROM half_reader; REVOKE USAGE ON SCHEMA tenant_1 FROM half_reader;
                            DROP ROLE half_reader").unwrap();
    }
}

fn few_rows_are_sent_to_many(helios: &mut Client, plain: &mut Client) {
    let joined = |few: &str| {
        format!(
            "SELECT count(*), sum(length(l.filler)) FROM {few} f JOIN tenant_0.large l ON l.id = f.id"
        )
    };
    for client in [&mut *helios, plain] {
        client
            .batch_execute(
                "CREATE TEMPORARY TABLE few_of_session AS TABLE few; ANALYZE few_of_session",
            )
            .unwrap();
    }
    for few in
        ["few", "few_of_session", "(SELECT DISTINCT id FROM few WHERE id > 200)", "tenant_1.orders"]
    {
        let sql = joined(few);
        same(helios, plain, &sql);
        let plan = explain(helios, &sql);
        assert!(plan.contains("Sent First"), "{sql}\n{plan}");
    }
    // Few rows are fetched here, or none would be saved.
    for sql in [
        "SELECT count(*) FROM few f JOIN tenant_0.large l ON l.id = f.id WHERE l.id = 300",
        "SELECT count(*) FROM tenant_1.large f JOIN tenant_0.large l ON l.id = f.id",
    ] {
        same(helios, plain, sql);
        let plan = explain(helios, sql);
        assert!(!plan.contains("Sent First"), "{sql}\n{plan}");
    }
    helios.batch_execute("SET helios.min_fetched_rows = -1").unwrap();
    assert!(!explain(helios, &joined("few")).contains("Sent First"));
    helios.batch_execute("RESET helios.min_fetched_rows").unwrap();
}

fn more_rows_than_memory_go_to_disk(helios: &mut Client, plain: &mut Client) {
    let sql = "SELECT count(*), min(a.filler || b.filler) FROM tenant_0.large a JOIN tenant_1.large b ON a.id = b.id";
    same(helios, plain, sql);
    helios.batch_execute("SET work_mem = '256kB'; SET enable_mergejoin = off").unwrap();
    same(helios, plain, sql);
    let plan = lines(helios, &format!("EXPLAIN (ANALYZE, COSTS OFF) {sql}")).join("\n");
    let batches = plan.split("Batches: ").nth(1).and_then(|rest| rest.split(' ').next());
    let batches: u32 = batches.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{plan}"));
    assert!(batches > 1, "the hash table was larger than work_mem\n{plan}");
    helios.batch_execute("RESET work_mem; RESET enable_mergejoin").unwrap();
}
