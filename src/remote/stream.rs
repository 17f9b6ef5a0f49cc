//! A non-blocking byte stream to a node: plain, or TLS over the same socket.

use rustls::ClientConnection;
use socket2::Socket;
use std::io::{self, Read, Write};

/// The socket of a session and, once agreed, its TLS state.
pub struct Stream {
    socket: Socket,
    tls: Option<Box<ClientConnection>>,
}

impl Stream {
    /// Over a connected, non-blocking socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket, tls: None }
    }

    /// The socket below.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// The socket's number, to wait for it.
    pub fn descriptor(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.socket)
    }

    /// The TLS state, if there is one.
    pub fn tls(&self) -> Option<&ClientConnection> {
        self.tls.as_deref()
    }

    /// From here on everything is TLS; the handshake runs by [`Self::handshake`].
    pub fn start_tls(&mut self, tls: ClientConnection) {
        self.tls = Some(Box::new(tls));
    }

    /// Goes on with the TLS handshake: true when done, false when the peer's turn (or a full socket) must be awaited.
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

    /// Reads what is there; `WouldBlock` when nothing is, 0 at the end of the stream.
    #[inline]
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => retry(|| (&self.socket).read(buffer)),
            Some(tls) => read_tls(tls, &self.socket, buffer),
        }
    }

    /// Writes some of the bytes; `WouldBlock` when the socket is full.
    #[inline]
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => retry(|| (&self.socket).write(bytes)),
            Some(tls) => {
                // The writer buffers: only feed it when the socket took what it had.
                push_tls(tls, &self.socket)?;
                let n = tls.writer().write(bytes)?;
                match push_tls(tls, &self.socket) {
                    Err(e) if e.kind() != io::ErrorKind::WouldBlock => Err(e),
                    _ => Ok(n),
                }
            }
        }
    }

    /// Whether everything written has reached the socket; `WouldBlock` when it is full.
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
            // A node that is killed closes without saying good-bye.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            result => return result,
        }
        if retry(|| tls.read_tls(&mut &*socket))? == 0 {
            return Ok(0);
        }
        if let Err(e) = tls.process_new_packets() {
            // Best effort: the alert tells the peer why.
            let _ = push_tls(tls, socket);
            return Err(io::Error::other(e));
        }
        match push_tls(tls, socket) {
            Err(e) if e.kind() != io::ErrorKind::WouldBlock => return Err(e),
            _ => {}
        }
    }
}
