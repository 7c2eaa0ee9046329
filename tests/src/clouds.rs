//! Stand-ins for the clouds on loopback: Azurite, which Microsoft gives away, and a server that speaks Google's words.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::peers;
use crate::seaweed::{answers, free_ports};

/// How long a server may take to answer for the first time.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A server with its data in a temporary folder; it ends when this is dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts the command that `make` gives for a folder and a port.
    fn start(make: impl Fn(&std::path::Path, u16) -> Command) -> Self {
        let folder = tempfile::Builder::new().prefix("windlass-cloud-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        // Somebody else may take the port between the asking and the using.
        for _ in 0..5 {
            let port = free_ports(1)[0];
            let log = File::create(folder.path().join("log")).expect("the folder is ours");
            let mut command = make(folder.path(), port);
            let started = command
                .stdin(Stdio::null())
                .stdout(log.try_clone().expect("a file can be held twice"))
                .stderr(log)
                .spawn();
            let mut child = started.expect("the program is there");
            let began = Instant::now();
            while began.elapsed() < STARTS_WITHIN && child.try_wait().expect("a child can be waited for").is_none() {
                if answers(port) {
                    return Self { child, folder, port };
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("the server does not start:\n{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Azurite: Azure Blob Storage for developers.
#[derive(Debug)]
pub struct Azurite(Server);

impl Azurite {
    /// The account that every Azurite has.
    pub const ACCOUNT: &str = "devstoreaccount1";
    /// Its key, which everybody knows.
    pub const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Starts a server on loopback.
    ///
    /// # Panics
    /// When it cannot be started. [`Need::Azurite`](crate::Need::Azurite) says whether it is there.
    pub fn start() -> Self {
        Self(Server::start(|folder, port| {
            let mut command = Command::new("node");
            command
                .arg(peers::azurite())
                .args([
                    "--blobHost",
                    "127.0.0.1",
                    "--blobPort",
                    &port.to_string(),
                    "--inMemoryPersistence",
                ])
                .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"])
                .current_dir(folder)
                .env("HOME", folder);
            command
        }))
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// Where it is: `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// A file with the account's key.
    pub fn key_file(&self) -> PathBuf {
        let file = self.0.folder.path().join("key");
        std::fs::write(&file, Self::KEY).expect("the folder is ours");
        file
    }

    /// Makes a container.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn make_container(&self, name: &str) {
        // Such requests are signed, and no client at hand makes containers.
        const SIGNED: &str = "
import base64, hashlib, hmac, http.client, sys
from email.utils import formatdate
port, account, key, name = sys.argv[1:]
date, version = formatdate(usegmt=True), '2021-08-06'
signed = 'PUT' + 12 * '\\n' + f'x-ms-date:{date}\\nx-ms-version:{version}\\n/{account}/{account}/{name}\\nrestype:container'
mac = hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()
line = http.client.HTTPConnection('127.0.0.1', int(port))
headers = {'x-ms-date': date, 'x-ms-version': version, 'Content-Length': '0',
           'Authorization': f'SharedKey {account}:' + base64.b64encode(mac).decode()}
line.request('PUT', f'/{account}/{name}?restype=container', headers=headers)
answer = line.getresponse()
sys.exit(0 if answer.status == 201 else answer.read().decode())
";
        let port = self.0.port.to_string();
        let made = Command::new("python3")
            .args(["-c", SIGNED, &port, Self::ACCOUNT, Self::KEY, name])
            .output();
        let made = made.expect("Python is there");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
}

/// A server that speaks Google Cloud Storage.
#[derive(Debug)]
pub struct FakeGcs(Server);

impl FakeGcs {
    /// Starts a server on loopback.
    ///
    /// # Panics
    /// When it cannot be started. [`Need::FakeGcs`](crate::Need::FakeGcs) says whether it is there.
    pub fn start() -> Self {
        Self(Server::start(|folder, port| {
            let mut command = Command::new(peers::program("fake-gcs-server"));
            command
                .args(["-scheme=http", "-host=127.0.0.1", "-backend=memory", "-log-level=error"])
                .arg(format!("-port={port}"))
                .arg("-public-host=127.0.0.1")
                .env("HOME", folder);
            command
        }))
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// Where it is: `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }

    /// A file with the key of a service account that nobody checks.
    pub fn key_file(&self) -> PathBuf {
        let file = self.0.folder.path().join("key");
        let text = r#"{"private_key": "", "private_key_id": "", "client_email": "", "disable_oauth": true}"#;
        std::fs::write(&file, text).expect("the folder is ours");
        file
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When the server refuses.
    pub fn make_bucket(&self, name: &str) {
        let (port, body) = (self.0.port, format!(r#"{{"name": "{name}"}}"#));
        let mut line = TcpStream::connect(("127.0.0.1", port)).expect("the server is there");
        let request = format!(
            "POST /storage/v1/b?project=tests HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        line.write_all(request.as_bytes()).expect("the server listens");
        line.read_to_string(&mut answer).expect("the server answers");
        assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    }
}
