//! Roles are shared by the whole cluster, whichever database they are changed in: nodes follow within seconds, the
//! check reports each difference, and roles that exist only on a node are reported and kept.

use std::time::Duration;

use helios_tests::{Cluster, text, wait_until};
use postgres::Client;
use testkit::cluster::DATABASE;
use testkit::server::Server;

const SOON: Duration = Duration::from_secs(20);

/// All properties of roles on a server that must be the same everywhere.
fn roles(server: &Server) -> Vec<String> {
    let query = "SELECT 'role ' || concat_ws(' ', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
               rolbypassrls, rolconnlimit, rolvaliduntil, CASE WHEN rolname <> 'postgres' THEN rolpassword END, shobj_description(oid, 'pg_authid'))
          FROM pg_authid WHERE rolname !~ '^pg_'
        UNION ALL SELECT DISTINCT format('member %s of %s, admin %s', member::regrole, roleid::regrole, bool_or(admin_option))
          FROM pg_auth_members GROUP BY member, roleid
        UNION ALL SELECT format('setting %s %s %s', setdatabase <> 0, setrole::regrole, c) FROM pg_db_role_setting, unnest(setconfig) AS c
        UNION ALL SELECT format('right %s %s', grantee::regrole, privilege_type)
          FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = 'helios'
        UNION ALL SELECT 'parameter ' || parname || paracl::text FROM pg_parameter_acl ORDER BY 1";
    text(&mut server.connect(DATABASE).unwrap(), query)
}

#[track_caller]
fn wait_for_step(cluster: &Cluster) {
    wait_until("all servers have the same roles", SOON, || {
        let here = roles(cluster.coordinator());
        for node in cluster.nodes() {
            let there = roles(node);
            if there != here {
                let missing: Vec<_> = here.iter().filter(|line| !there.contains(line)).collect();
                let extra: Vec<_> = there.iter().filter(|line| !here.contains(line)).collect();
                return Err(format!("{} lacks {missing:?} and has {extra:?}", node.name));
            }
        }
        Ok(())
    });
}

/// Connects to a database without Helios on the coordinator's server.
fn outside(cluster: &Cluster) -> Client {
    cluster.coordinator().connect("postgres").unwrap()
}

fn findings(client: &mut Client) -> Vec<String> {
    text(
        client,
        "SELECT node, detail, remedy FROM helios_check_cluster() WHERE \"check\" = 'roles' AND NOT ok ORDER BY 1, 2",
    )
}

const BEGIN: &str = "CREATE ROLE boss SUPERUSER LOGIN; CREATE ROLE grp; CREATE ROLE other; CREATE ROLE mallory LOGIN PASSWORD 'old' VALID UNTIL '2030-01-01';
    GRANT grp TO mallory WITH ADMIN OPTION; GRANT other TO grp; GRANT CREATE ON DATABASE helios TO mallory; ALTER ROLE mallory SET work_mem = '3MB'";

const CHANGES: [&str; 5] = [
    "ALTER ROLE boss NOSUPERUSER; REVOKE grp FROM mallory; REVOKE CREATE ON DATABASE helios FROM mallory",
    "ALTER ROLE mallory PASSWORD 'new' CONNECTION LIMIT 7 VALID UNTIL 'infinity'; COMMENT ON ROLE mallory IS 'it''s \"her\"'",
    "ALTER ROLE mallory RESET work_mem; ALTER ROLE mallory SET search_path = \"$user\", public, \"a,b\", \"q\"\"\"; ALTER ROLE mallory IN DATABASE helios SET lock_timeout = '3s'; ALTER ROLE mallory SET app.x = E'a\\\\b'''",
    "CREATE ROLE fresh CREATEDB LOGIN; GRANT grp TO fresh WITH ADMIN OPTION; CREATE ROLE \"we\"\"ird'\"; GRANT pg_read_all_data TO \"we\"\"ird'\"; ALTER ROLE ALL SET statement_timeout = '1h'",
    "REVOKE ADMIN OPTION FOR grp FROM fresh; REVOKE other FROM grp; GRANT TEMPORARY ON DATABASE helios TO fresh WITH GRANT OPTION; GRANT SET ON PARAMETER log_min_messages TO fresh",
];

#[test]
fn changes_from_another_database_reach_all_nodes() {
    let cluster = Cluster::with_settings(2, &["helios.health_interval = '200ms'"]);
    cluster.connect().batch_execute(BEGIN).unwrap();
    wait_for_step(&cluster);
    for changes in CHANGES {
        outside(&cluster).batch_execute(changes).unwrap();
        wait_for_step(&cluster);
    }
    assert_eq!(findings(&mut cluster.connect()), Vec::<String>::new());
    // What was revoked while a node was down is revoked there when it is back.
    cluster.kill_node(2);
    outside(&cluster)
        .batch_execute("REVOKE grp FROM fresh; ALTER ROLE fresh NOCREATEDB NOLOGIN; ALTER ROLE boss PASSWORD NULL; ALTER ROLE mallory RESET ALL")
        .unwrap();
    cluster.start_node(2);
    wait_for_step(&cluster);
}

/// Roles changed on a node directly.
#[test]
fn each_difference_is_told_and_what_only_a_node_has_stays() {
    let cluster = Cluster::with_settings(1, &["helios.health_interval = '1h'"]);
    let mut client = cluster.connect();
    client.batch_execute(BEGIN).unwrap();
    // The same password has another salt on each server, until the worker copies the coordinator's.
    let first = findings(&mut client);
    assert!(first.iter().all(|line| line.contains("password of role \"mallory\"")), "{first:#?}");
    let mut change_and_find = || {
        cluster
            .connect_to_node(1)
            .batch_execute(
                "DROP ROLE IF EXISTS stranger, helios_apply_7;
                 CREATE ROLE stranger; GRANT other TO stranger; CREATE ROLE helios_apply_7; GRANT other TO helios_apply_7;
                 ALTER ROLE mallory CREATEROLE; GRANT other TO mallory; REVOKE grp FROM mallory; ALTER ROLE mallory PASSWORD 'there';
                 ALTER ROLE mallory SET work_mem = '5MB'",
            )
            .unwrap();
        findings(&mut client)
    };
    let mut found = change_and_find();
    if found.len() != 6 {
        // The worker looks once when it starts, which may have come in between, and not again within an hour.
        found = change_and_find();
    }
    for words in [
        "Role \"mallory\" is NOSUPERUSER INHERIT CREATEROLE",
        "The password of role \"mallory\" differs on the node",
        "Membership of \"mallory\" in role \"other\" exists only on the node",
        "Membership of \"mallory\" in role \"grp\" is missing on the node",
        "Setting work_mem of role \"mallory\" is 5MB on the node, 3MB on the coordinator",
        "Role \"stranger\" exists only on the node.|Run DROP ROLE stranger on the node",
    ] {
        assert!(found.iter().any(|line| line.contains(words)), "{words:?} is not in {found:#?}");
    }
    assert_eq!(found.len(), 6, "{found:#?}");
    assert!(
        !found.iter().any(|line| line.contains("SCRAM") || line.contains("helios_apply_")),
        "{found:#?}"
    );
    // The worker repairs the cluster's roles, and leaves the others alone.
    client.batch_execute("ALTER SYSTEM SET helios.health_interval = '200ms'").unwrap();
    client.batch_execute("SELECT pg_reload_conf(); CREATE ROLE wakes_the_worker").unwrap();
    client.batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'helios worker'").unwrap();
    wait_until("only the unknown role is reported", SOON, || {
        let found = findings(&mut client);
        if found.len() == 1 && found[0].contains("stranger") {
            Ok(())
        } else {
            Err(format!("{found:#?}"))
        }
    });
    let kept = "SELECT string_agg(roleid::regrole || ' ' || member::regrole, ',' ORDER BY member::regrole::text) FROM pg_auth_members
                 WHERE member::regrole::text IN ('stranger', 'helios_apply_7')";
    assert_eq!(
        text(&mut cluster.connect_to_node(1), kept),
        ["other helios_apply_7,other stranger"]
    );
}

/// The attributes on nodes of the role that Helios connects as do not change: no change here can lock Helios out.
#[test]
fn helios_does_not_lock_itself_out() {
    let cluster = Cluster::with_settings(1, &["helios.health_interval = '200ms'"]);
    let own = "SELECT concat_ws(' ', rolsuper, rolcanlogin, coalesce(rolpassword, 'none'), rolconnlimit) FROM pg_authid WHERE rolname = 'postgres'";
    let before = text(&mut cluster.connect_to_node(1), own);
    outside(&cluster)
        .batch_execute("ALTER ROLE postgres PASSWORD 'here' CONNECTION LIMIT 50; ALTER ROLE postgres SET default_transaction_read_only = on; CREATE ROLE marker")
        .unwrap();
    wait_until("the node has what came with it", SOON, || {
        let there = text(
            &mut cluster.connect_to_node(1),
            "SELECT count(*) FROM pg_roles WHERE rolname = 'marker'",
        );
        if there == ["1"] { Ok(()) } else { Err(format!("{there:?}")) }
    });
    assert_eq!(text(&mut cluster.connect_to_node(1), own), before);
    outside(&cluster)
        .batch_execute("BEGIN READ WRITE; ALTER ROLE postgres RESET ALL; COMMIT")
        .unwrap();
}

/// The SQL sent to a joining node must not allow statements to be injected.
#[test]
fn a_new_node_gets_roles_whatever_they_are_called_and_said_to_be() {
    // Longer than the test: nothing else synchronizes roles.
    let cluster = Cluster::with_settings(2, &["helios.health_interval = '1h'"]);
    let mut client = cluster.connect();
    client.batch_execute("SELECT helios_remove_node('node-2')").unwrap();
    client
        .batch_execute(
            "CREATE ROLE grp; CREATE ROLE mallory LOGIN PASSWORD 'secret' VALID UNTIL '2030-01-01'; CREATE ROLE later; DROP ROLE later; \
             CREATE ROLE \"x; ALTER ROLE mallory SUPERUSER; --\"; \
             CREATE ROLE \"a TO helios_apply_1\" CREATEDB; GRANT grp TO \"a TO helios_apply_1\" WITH ADMIN OPTION; \
             CREATE ROLE \"new\nline\" NOINHERIT; CREATE ROLE \"quo\"\"te\\\"; CREATE ROLE \"SET \"; \
             COMMENT ON ROLE \"new\nline\" IS E'x\\n--\\n;\\n\\\\connect postgres\\nALTER ROLE mallory SUPERUSER;\\n'; \
             COMMENT ON ROLE mallory IS '''; ALTER ROLE mallory SUPERUSER; --'; \
             ALTER ROLE mallory SET app.x = E'a;b''c\\\\'; ALTER ROLE \"SET \" SET search_path = \"a, b\", \"c;\"; \
             ALTER ROLE mallory IN DATABASE helios SET app.y = '; ALTER ROLE mallory SUPERUSER'; \
             GRANT CREATE ON DATABASE helios TO \"quo\"\"te\\\" WITH GRANT OPTION; REVOKE TEMPORARY ON DATABASE helios FROM PUBLIC; \
             GRANT SET ON PARAMETER log_min_messages TO mallory",
        )
        .unwrap();
    let node = cluster.node(2);
    let add =
        format!("SELECT helios_add_node('node-2', '{}', {})", testkit::server::HOST, node.port);
    client.batch_execute(&add).unwrap();
    let (here, there) = (roles(cluster.coordinator()), roles(node));
    assert_eq!(there, here);
    assert!(here.iter().any(|line| line.contains("a TO helios_apply_1")), "{here:?}");
    let found = findings(&mut client);
    assert!(!found.iter().any(|line| line.starts_with("node-2")), "{found:?}");
    // A second time there is nothing to do, and it does not fail where the node could not be told of its release.
    client.batch_execute("SELECT helios_remove_node('node-2')").unwrap();
    let cluster_id = text(&mut client, "SELECT id FROM helios.cluster").remove(0);
    let still = format!("UPDATE helios.cluster SET node_of = {cluster_id}");
    cluster.connect_to_node(2).batch_execute(&still).unwrap();
    client.batch_execute(&add).unwrap();
    assert_eq!(roles(node), here);
}
