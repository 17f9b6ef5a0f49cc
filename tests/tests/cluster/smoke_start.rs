//! `cargo xtask cluster start` leaves running servers with the extension and registered nodes.

use helios_tests::Cluster;

#[test]
fn nodes_are_registered_under_their_names() {
    let cluster = Cluster::shared();
    let rows = cluster.connect().query("SELECT name::text FROM helios.node ORDER BY id", &[]);
    let names: Vec<String> = rows.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(names, ["coordinator", "node-1", "node-2"]);
}

#[test]
fn extension_is_on_every_server() {
    let cluster = Cluster::shared();
    for server in [cluster.coordinator(), cluster.node(1), cluster.node(2)] {
        let mut client = server.connect("helios").unwrap();
        let query = "SELECT extversion FROM pg_extension WHERE extname = 'helios'";
        let version: String = client.query_one(query, &[]).unwrap().get(0);
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "on {}", server.name);
    }
}

#[test]
fn embedded_server_holds_schemas_itself() {
    let cluster = Cluster::start(0);
    let mut client = cluster.connect();
    client
        .batch_execute(
            "CREATE SCHEMA alone DISTRIBUTED; CREATE TABLE alone.t (x int); \
             INSERT INTO alone.t VALUES (1), (2)",
        )
        .unwrap();
    let sum: i64 = client.query_one("SELECT sum(x) FROM alone.t", &[]).unwrap().get(0);
    assert_eq!(sum, 3);
    let node = client.query_one("SELECT helios_node_for_schema('alone')", &[]).unwrap();
    assert_eq!(node.get::<_, String>(0), "coordinator");
}
