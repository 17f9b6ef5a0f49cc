//! Sockets: addresses of a host, TCP options, and blocking sockets with timeouts.

use super::target::Tcp;
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};
use std::io;
use std::net::ToSocketAddrs;
use std::time::Duration;

/// A connected socket with a timeout for each step, for contexts that cannot be interrupted.
pub(super) fn blocking(address: &SockAddr, step: Duration) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.connect_timeout(address, step)?;
    socket.set_read_timeout(Some(step))?;
    socket.set_write_timeout(Some(step))?;
    Ok(socket)
}

/// Sets the TCP options of a connection.
pub(super) fn tune(socket: &Socket, tcp: Tcp) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if tcp.user_timeout.is_some() {
        socket.set_tcp_user_timeout(tcp.user_timeout)?;
    }
    let mut keepalive = TcpKeepalive::new();
    if let Some(idle) = tcp.idle {
        keepalive = keepalive.with_time(idle);
    }
    if let Some(interval) = tcp.interval {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(count) = tcp.count {
        keepalive = keepalive.with_retries(count);
    }
    socket.set_tcp_keepalive(&keepalive)
}

/// Resolves a host (a directory if it begins with `/`) and port. Name resolution uses the system's resolver and its
/// timeouts.
pub fn resolve(host: &str, port: u16) -> io::Result<Vec<SockAddr>> {
    if host.starts_with('/') {
        return Ok(vec![SockAddr::unix(format!("{host}/.s.PGSQL.{port}"))?]);
    }
    let addresses: Vec<SockAddr> = (host, port).to_socket_addrs()?.map(SockAddr::from).collect();
    debug_assert!(addresses.iter().all(|a| a.domain() != Domain::UNIX));
    Ok(addresses)
}
