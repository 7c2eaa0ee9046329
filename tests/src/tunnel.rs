//! A tunnel: a proxy on loopback that leads every connection it is asked for to one server, whatever name was called.
//!
//! With it Kopia calls a server of the tests by a name that no machine has.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The tunnel. It takes no more connections once it is dropped.
#[derive(Debug)]
pub(crate) struct Tunnel {
    address: SocketAddr,
    is_closed: Arc<AtomicBool>,
}

impl Tunnel {
    /// A tunnel to a port of loopback.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let is_closed = Arc::new(AtomicBool::new(false));
        let closed = Arc::clone(&is_closed);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if closed.load(Ordering::SeqCst) {
                    break;
                }
                // A connection that ends with an error has ended.
                thread::spawn(move || lead(client, port));
            }
        });
        Self { address, is_closed }
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.is_closed.store(true, Ordering::SeqCst);
        // The thread waits for somebody to come.
        let _ = TcpStream::connect(self.address);
    }
}

fn lead(mut client: TcpStream, port: u16) -> io::Result<()> {
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        asked.push(byte[0]);
    }
    if !asked.starts_with(b"CONNECT ") {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n");
    }
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        to_server.shutdown(Shutdown::Write)
    });
    io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Write)
}
