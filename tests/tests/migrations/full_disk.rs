//! A target without disk space: detected beforehand where possible, and survived otherwise.

use std::path::PathBuf;
use std::process::Command;

use helios_tests::{Cluster, skip};
use postgres::Client;
use testkit::command;
use testkit::server::{Server, Shutdown};

use crate::{
    assert_clean, begin, begin_up_to, cluster_with_failpoints, finish, go_on, node_of, shown,
    switch, text, wait,
};

const MIB: u64 = 1 << 20;

/// A separate file system for the files of a server's database. The server's WAL is elsewhere: a server that
/// cannot write WAL panics, which is another matter.
struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// Creates one with this many bytes more than the files need. Returns the reason if the system does not permit it.
    fn under(server: &Server, more: u64) -> Result<Self, String> {
        let mut client = server.connect("helios").unwrap();
        let ask = "SELECT oid::text, pg_database_size(oid)::text FROM pg_database WHERE datname = current_database()";
        let row = client.query_one(ask, &[]).unwrap();
        let (oid, size): (String, String) = (row.get(0), row.get(1));
        drop(client);
        server.stop(Shutdown::Fast).unwrap();
        let dir = server.data.join("base").join(oid);
        let aside = dir.with_extension("aside");
        std::fs::rename(&dir, &aside).unwrap();
        std::fs::create_dir(&dir).unwrap();
        let bytes = size.parse::<u64>().unwrap() + more;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0700"), "tmpfs"]).arg(&dir);
        let mounted = mount.output();
        let refused = match &mounted {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = refused {
            return Err(format!("a small file system cannot be mounted: {reason}"));
        }
        let disk = Self { dir };
        let copied = Command::new("cp").arg("-a").arg(aside.join(".")).arg(&disk.dir).status();
        assert!(copied.unwrap().success());
        command::give_to_server_user(&disk.dir).unwrap();
        server.start().unwrap();
        Ok(disk)
    }

    fn filler(&self) -> PathBuf {
        self.dir.join("filler")
    }

    /// Fills the file system until this much is free.
    fn fill(&self, left: u64) {
        let stat = rustix::fs::statvfs(&self.dir).unwrap();
        let free = stat.f_bavail * stat.f_frsize;
        let bytes = usize::try_from(free.saturating_sub(left)).unwrap();
        std::fs::write(self.filler(), vec![1; bytes]).unwrap();
    }

    fn make_room(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The server is still running; the file system is detached with it.
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.dir).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("cannot unmount {}", self.dir.display());
        }
    }
}

/// A schema of about 8 MB on the first node, and a second node with 24 MB.
fn tenant() -> Option<(Cluster, Client, SmallDisk)> {
    let cluster = cluster_with_failpoints(2, &[]);
    match SmallDisk::under(cluster.node(2), 24 * MIB) {
        Err(reason) => {
            skip(&reason);
            None
        }
        Ok(disk) => {
            let mut client = cluster.connect();
            client.batch_execute("CREATE SCHEMA t DISTRIBUTED ON NODE \"node-1\"; CREATE TABLE t.a (id int, v text); \
                INSERT INTO t.a SELECT i, repeat('x', 1000) FROM generate_series(1, 7000) i").unwrap();
            Some((cluster, client, disk))
        }
    }
}

/// Asserts that the migration has failed with an error that names the node and the reason, has left nothing behind, and
/// the schema is used where it was.
#[track_caller]
fn assert_failed(cluster: &Cluster, client: &mut Client, id: i64, words: &[&str]) {
    assert_eq!(wait(client, id), "failed", "{}", shown(client, id));
    let query = "SELECT error FROM helios_migrations WHERE id = $1";
    let error: String = client.query_one(query, &[&id]).unwrap().get(0);
    for word in words {
        assert!(error.contains(word), "no {word:?} in: {error}");
    }
    assert_clean(cluster, &["t"]);
    assert_eq!(node_of(client, "t").as_deref(), Some("node-1"));
    client.batch_execute("INSERT INTO t.a VALUES (0); DELETE FROM t.a WHERE id = 0").unwrap();
}

/// Asserts that it moves, with this many rows, once there is space.
#[track_caller]
fn moves_with_room(cluster: &Cluster, client: &mut Client, disk: &SmallDisk, rows: &str) {
    disk.make_room();
    let id = switch(client, "t", "node-2");
    finish(client, id);
    assert_eq!(text(client, "SELECT count(*) FROM t.a"), [rows]);
    assert_clean(cluster, &["t"]);
}

#[test]
fn a_schema_that_does_not_fit_is_refused_before_anything_is_touched() {
    let Some((cluster, mut client, disk)) = tenant() else { return };
    disk.fill(8 * MIB);
    let id = begin(&mut client, "t", "node-2");
    assert_failed(&cluster, &mut client, id, &["node-2", "disk space", "MB", "Hint:"]);
    moves_with_room(&cluster, &mut client, &disk, "7000");
}

#[test]
fn a_disk_that_is_full_in_the_middle_of_the_copy_ends_the_move() {
    let Some((cluster, mut client, disk)) = tenant() else { return };
    let place = "migration.definition.after";
    let id = begin_up_to(&cluster, place, "node-2");
    disk.fill(MIB);
    go_on(&cluster, place);
    assert_failed(&cluster, &mut client, id, &["node-2", "No space left", "Hint:"]);
    moves_with_room(&cluster, &mut client, &disk, "7000");
}

/// The new copy cannot apply changes any more. Its apply worker fails repeatedly, which must not go on
/// forever.
#[test]
fn a_disk_that_is_full_while_the_copy_follows_ends_the_move() {
    let Some((cluster, mut client, disk)) = tenant() else { return };
    let place = "migration.subscribe.before";
    let id = begin_up_to(&cluster, place, "node-2");
    client
        .batch_execute("INSERT INTO t.a SELECT 1, repeat('y', 1000) FROM generate_series(1, 3000)")
        .unwrap();
    disk.fill(MIB / 2);
    go_on(&cluster, place);
    assert_failed(&cluster, &mut client, id, &["node-2", "could not apply", "Hint:"]);
    moves_with_room(&cluster, &mut client, &disk, "10000");
}
