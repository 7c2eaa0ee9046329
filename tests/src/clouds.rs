//! Stand-ins for the clouds on loopback: Azurite, which Microsoft gives away, and a server that speaks Google's words.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::kopia::Provider;
use crate::peers;
use crate::seaweed::{answers, free_ports, make_certificate};
use crate::tunnel::Tunnel;

/// How long a server may take to answer for the first time.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// A server with its things in a temporary folder; it ends when this is dropped.
#[derive(Debug)]
struct Server {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

fn temporary() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("windlass-cloud-").tempdir();
    folder.expect("a temporary folder can be made")
}

impl Server {
    /// Starts the command that `make` gives for a folder and a port, and waits until `is_there`.
    fn start(folder: tempfile::TempDir, is_there: impl Fn(u16) -> bool, make: impl Fn(&Path, u16) -> Command) -> Self {
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
                if is_there(port) {
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
pub struct Azurite {
    server: Server,
    /// How Kopia finds it, which knows accounts by names of hosts only; there with TLS.
    tunnel: Option<Tunnel>,
}

/// The name of a file with the certificate of a server that is spoken to over TLS.
const CERTIFICATE: &str = "certificate.pem";

/// Where Kopia believes that accounts are.
const DOMAIN: &str = "azurite.test";

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
        let server = Server::start(temporary(), answers, Self::command);
        Self { server, tunnel: None }
    }

    /// Starts a server that is spoken to over TLS, with a certificate that nobody has signed; see
    /// [`certificate`](Self::certificate). Takes [`Need::OpenSsl`](crate::Need::OpenSsl) too.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with_tls() -> Self {
        let folder = temporary();
        let (certificate, key) = (folder.path().join(CERTIFICATE), folder.path().join("key.pem"));
        let names = format!("IP:127.0.0.1,DNS:{}.{DOMAIN}", Self::ACCOUNT);
        make_certificate(&certificate, &key, &names);
        let is_there = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        let server = Server::start(folder, is_there, |folder, port| {
            let mut command = Self::command(folder, port);
            command.arg("--cert").arg(&certificate).arg("--key").arg(&key);
            command
        });
        let tunnel = Some(Tunnel::to(server.port));
        Self { server, tunnel }
    }

    fn command(folder: &Path, port: u16) -> Command {
        let mut command = Command::new("node");
        command
            .arg(peers::azurite())
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args([
                "--inMemoryPersistence",
                "--silent",
                "--skipApiVersionCheck",
                "--disableTelemetry",
            ])
            .current_dir(folder)
            .env("HOME", folder);
        command
    }

    /// The file with the certificate of a server that is spoken to over TLS.
    pub fn certificate(&self) -> PathBuf {
        self.server.folder.path().join(CERTIFICATE)
    }

    /// What Kopia is told, on its command line and in its environment, to find a container of a server with TLS.
    pub(crate) fn for_kopia(&self, container: &str, prefix: &str) -> (Provider, Vec<(&'static str, String)>) {
        let provider = Provider::Other(vec![
            "azure".to_owned(),
            format!("--container={container}"),
            format!("--prefix={prefix}"),
            format!("--storage-account={}", Self::ACCOUNT),
            format!("--storage-domain={DOMAIN}"),
        ]);
        let tunnel = self.tunnel.as_ref().expect("Kopia speaks TLS with Azure only");
        let environment = vec![
            ("AZURE_STORAGE_KEY", Self::KEY.to_owned()),
            ("HTTPS_PROXY", tunnel.url()),
            ("SSL_CERT_FILE", self.certificate().display().to_string()),
        ];
        (provider, environment)
    }

    /// Where it is: `http://127.0.0.1:PORT`, or with `https`.
    pub fn endpoint(&self) -> String {
        let scheme = if self.tunnel.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }

    /// Where it is: `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.server.port)
    }

    /// A file with the account's key.
    pub fn key_file(&self) -> PathBuf {
        let file = self.server.folder.path().join("key");
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
import base64, hashlib, hmac, http.client, ssl, sys
from email.utils import formatdate
port, scheme, account, key, name = sys.argv[1:]
date, version = formatdate(usegmt=True), '2021-08-06'
signed = 'PUT' + 12 * '\\n' + f'x-ms-date:{date}\\nx-ms-version:{version}\\n/{account}/{account}/{name}\\nrestype:container'
mac = hmac.new(base64.b64decode(key), signed.encode(), hashlib.sha256).digest()
line = http.client.HTTPConnection('127.0.0.1', int(port))
if scheme == 'https':
    line = http.client.HTTPSConnection('127.0.0.1', int(port), context=ssl._create_unverified_context())
headers = {'x-ms-date': date, 'x-ms-version': version, 'Content-Length': '0',
           'Authorization': f'SharedKey {account}:' + base64.b64encode(mac).decode()}
line.request('PUT', f'/{account}/{name}?restype=container', headers=headers)
answer = line.getresponse()
sys.exit(0 if answer.status == 201 else answer.read().decode())
";
        let port = self.server.port.to_string();
        let scheme = if self.tunnel.is_some() { "https" } else { "http" };
        let made = Command::new("python3")
            .args(["-c", SIGNED, &port, scheme, Self::ACCOUNT, Self::KEY, name])
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
        Self(Server::start(temporary(), answers, |folder, port| {
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

    /// What Kopia is told, on its command line and in its environment, to find a bucket.
    pub(crate) fn for_kopia(&self, bucket: &str, prefix: &str) -> (Provider, Vec<(&'static str, String)>) {
        let provider = Provider::Other(vec![
            "gcs".to_owned(),
            format!("--bucket={bucket}"),
            format!("--prefix={prefix}"),
        ]);
        (provider, vec![("STORAGE_EMULATOR_HOST", self.authority())])
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
