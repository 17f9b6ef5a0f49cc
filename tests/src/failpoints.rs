//! Failpoints: named places of the coordinator's code where a test makes something happen, and what dies there.

use std::time::Duration;

use xtask::cluster::DATABASE;

use crate::{Cluster, pg, wait_until};

impl Cluster {
    /// As [`Cluster::with_settings`], with the library that has failpoints; see [`Cluster::failpoint`].
    pub fn with_failpoints(nodes: usize, settings: &[&str]) -> Self {
        let dir = xtask::extension::failpoints_dir(&pg());
        assert!(
            dir.join("helios.so").exists(),
            "no library with failpoints in {}: cargo xtask install --failpoints makes it",
            dir.display()
        );
        let path = format!("dynamic_library_path = '{}:$libdir'", dir.display());
        let mut all = settings.to_vec();
        all.push(&path);
        let cluster = Self::with_settings(nodes, &all);
        let declare = "CREATE FUNCTION failpoint(text, text, int, int) RETURNS void LANGUAGE c \
             AS 'helios', 'helios_failpoint_wrapper'; \
             CREATE FUNCTION failpoint_hits(text) RETURNS bigint LANGUAGE c \
             AS 'helios', 'helios_failpoint_hits_wrapper'; \
             CREATE FUNCTION failpoints() RETURNS text[] LANGUAGE c \
             AS 'helios', 'helios_failpoints_wrapper'";
        // In a database of their own, so that they are no business of the cluster's.
        let mut client = cluster.coordinator().connect("postgres").unwrap();
        client.batch_execute(declare).unwrap();
        cluster
    }

    /// Makes something happen at a place of the coordinator's code: `error`, `hang`, `die` (the process,
    /// by SIGKILL), `count` or `off`; `times` limits how often, 0 is for ever. `process` is whom it
    /// concerns, 0 everybody.
    pub fn failpoint(&self, name: &str, action: &str, times: i32, process: i32) {
        let mut client = self.coordinator().connect("postgres").unwrap();
        let set = "SELECT failpoint($1, $2, $3, $4)";
        client.query(set, &[&name, &action, &times, &process]).unwrap();
    }

    /// How often a failpoint was passed since it was set last.
    pub fn failpoint_hits(&self, name: &str) -> i64 {
        self.try_failpoint_hits(name).unwrap()
    }

    /// The same of a server that may be starting again.
    fn try_failpoint_hits(&self, name: &str) -> Result<i64, String> {
        let coordinator = self.coordinator();
        let mut client = coordinator.connect("postgres").map_err(|error| format!("{error:#}"))?;
        let row = client.query_one("SELECT failpoint_hits($1)", &[&name]);
        Ok(row.map_err(|error| error.to_string())?.get(0))
    }

    /// Waits until somebody has come to a failpoint.
    pub fn wait_for_failpoint(&self, name: &str, bound: Duration) {
        wait_until(&format!("{name} is reached"), bound, || {
            match self.try_failpoint_hits(name)? {
                0 => Err("not yet".to_owned()),
                _ => Ok(()),
            }
        });
    }

    /// Makes nothing happen at a failpoint any more; the server may be starting again.
    pub fn failpoint_off(&self, name: &str, bound: Duration) {
        wait_until(&format!("{name} is off"), bound, || {
            let coordinator = self.coordinator();
            let client = coordinator.connect("postgres");
            let mut client = client.map_err(|error| format!("{error:#}"))?;
            let off = client.query("SELECT failpoint($1, 'off', 0, 0)", &[&name]);
            off.map(drop).map_err(|error| format!("{error:?}"))
        });
    }

    /// Processes of the coordinator that died by SIGKILL so far.
    pub fn deaths(&self) -> usize {
        let log = std::fs::read(self.coordinator().log()).unwrap();
        String::from_utf8_lossy(&log).matches("was terminated by signal 9").count()
    }

    /// Waits until a process has killed itself at a failpoint, when there had been so many deaths before. The restart
    /// that follows makes the server forget that the place was reached.
    pub fn wait_for_death(&self, name: &str, deaths: usize, bound: Duration) {
        wait_until(&format!("a process has died at {name}"), bound, || {
            let died = self.deaths();
            if died > deaths { Ok(()) } else { Err(format!("{died} died")) }
        });
    }

    /// Starts what does not run, and waits until everything takes connections.
    pub fn start_all(&self, bound: Duration) {
        for server in self.nodes().iter().chain([self.coordinator()]) {
            server.start().unwrap();
            wait_until(&format!("{} takes connections", server.name), bound, || {
                server.connect(DATABASE).map(drop).map_err(|error| format!("{error:#}"))
            });
        }
    }

    /// The names of all failpoints.
    pub fn failpoints(&self) -> Vec<String> {
        let mut client = self.coordinator().connect("postgres").unwrap();
        client.query_one("SELECT failpoints()", &[]).unwrap().get(0)
    }
}
