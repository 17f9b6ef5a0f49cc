//! A TCP proxy between coordinator and node: counts round trips, loses answers, cuts connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use xtask::cluster::DATABASE;
use xtask::server::{HOST, Server};

use crate::Cluster;

/// How often the proxy looks whether it shall end.
const PAUSE: Duration = Duration::from_millis(2);

/// Stands before one node until it is dropped; connections through it are cut then.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    ends: AtomicBool,
    refuses: AtomicBool,
    loses_answers: AtomicBool,
    round_trips: AtomicUsize,
    /// The last bytes seen came from the coordinator.
    asked: AtomicBool,
    answers: AtomicUsize,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Before a server.
    pub fn before(server: &Server) -> Self {
        let listener = TcpListener::bind((HOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let (target, shared) = (server.port, Arc::clone(&state));
        std::thread::spawn(move || serve(&listener, target, &shared));
        Self { port, state }
    }

    /// Before a node of a cluster, whose coordinator goes through it from now on.
    pub fn of_node(cluster: &Cluster, number: usize) -> Self {
        let proxy = Self::before(cluster.node(number));
        let name = &cluster.node(number).name;
        let port = proxy.port;
        let update = format!("UPDATE helios.node SET ports = ARRAY[{port}] WHERE name = '{name}'");
        cluster.coordinator().connect(DATABASE).unwrap().batch_execute(&update).unwrap();
        proxy
    }

    /// Questions that were answered so far: how often bytes of the coordinator followed bytes of the node.
    pub fn round_trips(&self) -> usize {
        self.state.round_trips.load(Ordering::SeqCst)
    }

    /// Pieces of the node's answers that were passed on so far.
    pub fn answers(&self) -> usize {
        self.state.answers.load(Ordering::SeqCst)
    }

    /// Cuts every connection; new ones are taken.
    pub fn cut(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            // It may be gone already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on what the node says is lost, until [`Proxy::pass_answers`].
    pub fn lose_answers(&self) {
        self.state.loses_answers.store(true, Ordering::SeqCst);
    }

    /// What the node says arrives again.
    pub fn pass_answers(&self) {
        self.state.loses_answers.store(false, Ordering::SeqCst);
    }

    /// Whether new connections are refused.
    pub fn refuse(&self, refuse: bool) {
        self.state.refuses.store(refuse, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ends.store(true, Ordering::SeqCst);
        self.cut();
    }
}

fn serve(listener: &TcpListener, target: u16, state: &Arc<State>) {
    while !state.ends.load(Ordering::SeqCst) {
        let Ok((client, _)) = listener.accept() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        if state.refuses.load(Ordering::SeqCst) {
            continue; // dropped, which closes it
        }
        client.set_nonblocking(false).unwrap();
        let Ok(server) = TcpStream::connect((HOST, target)) else { continue };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
            state.open.lock().unwrap().push(stream.try_clone().unwrap());
        }
        let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let shared = Arc::clone(state);
        std::thread::spawn(move || pass(from, to, &shared, true));
        let shared = Arc::clone(state);
        std::thread::spawn(move || pass(server, client, &shared, false));
    }
}

/// Passes bytes on in one direction until either end closes.
fn pass(mut from: TcpStream, mut to: TcpStream, state: &State, asks: bool) {
    let mut buffer = [0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if asks != state.asked.swap(asks, Ordering::SeqCst) && asks {
            state.round_trips.fetch_add(1, Ordering::SeqCst);
        }
        if !asks && state.loses_answers.load(Ordering::SeqCst) {
            continue;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
        if !asks {
            state.answers.fetch_add(1, Ordering::SeqCst);
        }
    }
    for stream in [from, to] {
        // The other direction may have closed it already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
