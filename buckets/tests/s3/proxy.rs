//! A line that can be bad: a proxy on loopback that treats each connection as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// It is passed on.
    Good,
    /// It is cut after so many bytes from the server.
    CutDown(u64),
    /// It is cut after so many bytes to the server.
    CutUp(u64),
    /// The first request is answered with a status and headers, and never reaches the server.
    Answer(&'static str),
    /// What comes from the server is kept back and the connection cut: the server has done what it was asked for.
    Deaf,
    /// Each side waits so long before anything goes on.
    Late(Duration),
}

/// The proxy. Ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicU32,
    down: AtomicU64,
}

impl Proxy {
    /// Stands before `server`; `plan` says what becomes of each connection, by its number.
    pub(crate) async fn before(server: &str, plan: impl Fn(u32) -> Fate + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("loopback has free ports");
        let counts = Arc::new(Counts::default());
        let (server, counting) = (server.to_owned(), Arc::clone(&counts));
        let accepting = tokio::spawn(async move {
            let mut all = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = counting.connections.fetch_add(1, Ordering::SeqCst);
                let (fate, server, counting) = (plan(number), server.clone(), Arc::clone(&counting));
                all.spawn(async move {
                    // A connection that ends with an error has ended.
                    let _ = pass(client, &server, fate, &counting).await;
                });
            }
        });
        Self {
            address,
            counts,
            accepting,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> u32 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many bytes went to clients.
    pub(crate) fn bytes_down(&self) -> u64 {
        self.counts.down.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(mut client: TcpStream, server: &str, fate: Fate, counts: &Counts) -> std::io::Result<()> {
    if let Fate::Answer(answer) = fate {
        let mut request = vec![0; 64 << 10];
        if client.read(&mut request).await? == 0 {
            return Ok(());
        }
        client.write_all(answer.as_bytes()).await?;
        // Before the client has read it, unread bytes of the request would reset the connection.
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            while client.read(&mut request).await.is_ok_and(|read| read > 0) {}
        })
        .await;
        return Ok(());
    }
    let mut server = TcpStream::connect(server).await?;
    let (mut up_left, mut down_left) = (u64::MAX, u64::MAX);
    match fate {
        Fate::CutDown(bytes) => down_left = bytes,
        Fate::CutUp(bytes) => up_left = bytes,
        Fate::Late(wait) => tokio::time::sleep(wait).await,
        _ => {}
    }
    let (mut from_client, mut from_server) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let read = (read? as u64).min(up_left);
                up_left -= read;
                server.write_all(&from_client[..read as usize]).await?;
                if read == 0 || up_left == 0 {
                    return Ok(());
                }
            }
            read = server.read(&mut from_server) => {
                let read = (read? as u64).min(down_left);
                if read == 0 || matches!(fate, Fate::Deaf) {
                    return Ok(());
                }
                down_left -= read;
                counts.down.fetch_add(read, Ordering::SeqCst);
                client.write_all(&from_server[..read as usize]).await?;
                if down_left == 0 {
                    return Ok(());
                }
            }
        }
    }
}
