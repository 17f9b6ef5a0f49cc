//! TCP settings of connections to nodes, so that a connection to a lost machine does not last for hours.

use std::time::Duration;

use helios_tests::{Cluster, backend};
use postgres::Client;
use rustix::process::{ForeignRawFd, Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use socket2::Socket;

use crate::cluster_with_table;

/// The socket of a coordinator's backend connected to node 1.
fn socket(cluster: &Cluster, backend: Pid) -> Socket {
    let process = pidfd_open(backend, PidfdFlags::empty()).unwrap();
    let files = std::fs::read_dir(format!("/proc/{}/fd", backend.as_raw_nonzero())).unwrap();
    let mut sockets = files.filter_map(|file| {
        let number: ForeignRawFd =
            file.unwrap().file_name().into_string().unwrap().parse().unwrap();
        // Skip sockets closed in the meantime, and those that are not TCP.
        let copy = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
        let socket = Socket::from(copy);
        let peer = socket.peer_addr().ok()?.as_socket()?;
        (peer.port() == cluster.node(1).port).then_some(socket)
    });
    let found = sockets.next().expect("a connection to the node");
    assert!(sockets.next().is_none(), "one connection to the node");
    found
}

/// The options of a new session's connection to the node: idle, interval, count, user timeout.
fn options(cluster: &Cluster, set: &str) -> (Duration, Duration, u32, Option<Duration>) {
    let mut client: Client = cluster.connect();
    client.batch_execute(set).unwrap();
    client.batch_execute("TABLE n.t").unwrap();
    let socket = socket(cluster, backend(&mut client));
    assert!(socket.keepalive().unwrap());
    (
        socket.tcp_keepalive_time().unwrap(),
        socket.tcp_keepalive_interval().unwrap(),
        socket.tcp_keepalive_retries().unwrap(),
        socket.tcp_user_timeout().unwrap(),
    )
}

#[test]
fn connections_to_nodes_are_probed_as_the_settings_say() {
    let (cluster, mut client) = cluster_with_table("n");
    let seconds = Duration::from_secs;
    let plain = options(&cluster, "");
    assert_eq!(plain, (seconds(30), seconds(10), 3, Some(seconds(30))));
    let chosen = options(
        &cluster,
        "SET helios.tcp_keepalives_idle = '2min'; SET helios.tcp_keepalives_interval = 7; \
         SET helios.tcp_keepalives_count = 5; SET helios.tcp_user_timeout = '1500ms'",
    );
    assert_eq!(chosen, (seconds(120), seconds(7), 5, Some(Duration::from_millis(1500))));
    let system = |name: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_keepalive_{name}"));
        text.unwrap().trim().parse().unwrap()
    };
    let system = (seconds(system("time")), seconds(system("intvl")), system("probes") as u32, None);
    let left = options(
        &cluster,
        "SET helios.tcp_keepalives_idle = 0; SET helios.tcp_keepalives_interval = 0; \
         SET helios.tcp_keepalives_count = 0; SET helios.tcp_user_timeout = 0",
    );
    assert_eq!(left, system);
    // Values that the kernel would reject are refused beforehand.
    for wrong in
        ["tcp_keepalives_idle = 32768", "tcp_keepalives_count = 128", "tcp_user_timeout = -1"]
    {
        let error = client.batch_execute(&format!("SET helios.{wrong}")).unwrap_err();
        assert_eq!(error.code().unwrap().code(), "22023", "{wrong}");
    }
}
