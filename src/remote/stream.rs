//! A non-blocking byte stream to a node, in plain text or TLS.

use rustls::ClientConnection;
use socket2::Socket;
use std::io::{self, Read, Write};

/// The socket of a session and, once negotiated, its TLS state.
pub struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    /// Creates a stream from a connected, non-blocking socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket, tls: None }
    }

    /// The underlying socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket's file descriptor, for waiting.
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }

    /// The TLS state, if there is one.
    pub fn tls(&self) -> Option<&ClientConnection> {
        self.tls.as_deref()
    }

    /// Switches to TLS; [`Self::handshake`] performs the handshake.
    pub fn start_tls(&mut self, tls: ClientConnection) {
        self.tls = Some(Box::new(tls));
    }

    /// Continues the TLS handshake: true when done, false if the caller must wait for the peer or for space in the
    /// socket.
    pub fn handshake(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.is_handshaking() {
            match tls.complete_io(&mut &self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Reads available data; `WouldBlock` if there is none, 0 at the end of the stream.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => retry(|| (&self.socket).read(buffer)),
            Some(tls) => read_tls(tls, &self.socket, buffer),
        }
    }

    /// Writes some of the bytes; `WouldBlock` if the socket is full.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => retry(|| (&self.socket).write(bytes)),
            Some(tls) => {
                // The writer buffers, so only feed it after the socket has accepted what it had.
                push_tls(tls, &self.socket)?;
                let n = tls.writer().write(bytes)?;
                match push_tls(tls, &self.socket) {
                    Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
                    _ => Ok(n),
                }
            }
        }
    }

    /// Flushes to the socket; `WouldBlock` if it is full.
    #[inline]
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.tls {
            None => Ok(()),
            Some(tls) => push_tls(tls, &self.socket),
        }
    }
}

fn retry(mut io: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match io() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn push_tls(tls: &mut ClientConnection, socket: &Socket) -> io::Result<()> {
    while tls.wants_write() {
        retry(|| tls.write_tls(&mut &*socket))?;
    }
    Ok(())
}

fn read_tls(tls: &mut ClientConnection, socket: &Socket, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            // A node that is killed closes the connection without a TLS alert.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            result => return result,
        }
        if retry(|| tls.read_tls(&mut &*socket))? == 0 {
            return Ok(0);
        }
        if let Err(e) = tls.process_new_packets() {
            // Best effort: the alert tells the peer the reason.
            let _ = push_tls(tls, socket);
            return Err(io::Error::other(e));
        }
        match push_tls(tls, socket) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
            _ => {}
        }
    }
}
