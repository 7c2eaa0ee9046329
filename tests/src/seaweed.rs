//! SeaweedFS: a real S3 server on loopback, for as long as it is held.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::peers;

/// A server of its own, with its data in a temporary folder.
#[derive(Debug)]
pub struct SeaweedFs {
    server: Child,
    folder: tempfile::TempDir,
    ports: Vec<u16>,
}

/// The name of a file with the certificate of a server that is spoken to over TLS.
const CERTIFICATE: &str = "certificate.pem";

fn temporary() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("windlass-seaweedfs-").tempdir();
    folder.expect("a temporary folder can be made")
}

/// How long the server may take to answer for the first time, and to make a bucket.
const STARTS_WITHIN: Duration = Duration::from_secs(60);

impl SeaweedFs {
    /// The name of its only user.
    pub const ACCESS_KEY: &str = "AKTEST";
    /// The user's secret.
    pub const SECRET_KEY: &str = "hidden-SKTEST";

    /// Starts a server and waits until it answers. It listens on loopback only, and ends when this is dropped.
    ///
    /// # Panics
    /// When it cannot be started. [`Need::SeaweedFs`](crate::Need::SeaweedFs) says whether the program is there.
    pub fn start() -> Self {
        Self::start_in(temporary(), &[])
    }

    /// Starts a server that is spoken to over TLS, with a certificate that nobody has signed; see
    /// [`certificate`](Self::certificate). Takes [`Need::OpenSsl`](crate::Need::OpenSsl) too.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_with_tls() -> Self {
        let folder = temporary();
        let (certificate, key) = (folder.path().join(CERTIFICATE), folder.path().join("key.pem"));
        make_certificate(&certificate, &key, "IP:127.0.0.1");
        let more = [("s3.cert.file", &certificate), ("s3.key.file", &key)];
        let more = more.map(|(name, file)| format!("-{name}={}", file.display()));
        Self::start_in(folder, &more)
    }

    fn start_in(folder: tempfile::TempDir, more: &[String]) -> Self {
        let user = format!(
            r#"{{"identities":[{{"name":"t","credentials":[{{"accessKey":"{}","secretKey":"{}"}}],"actions":["Admin","Read","Write","List","Tagging"]}}]}}"#,
            Self::ACCESS_KEY,
            Self::SECRET_KEY
        );
        std::fs::write(folder.path().join("s3.json"), user).expect("the folder is ours");
        // Somebody else may take a port between the asking and the using.
        for _ in 0..5 {
            if let Some(running) = Self::try_start(&folder, more) {
                let (server, ports) = running;
                return Self { server, folder, ports };
            }
        }
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        panic!("SeaweedFS does not start:\n{log}");
    }

    /// The server that all who ask for it at the same time have together.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<SeaweedFs>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    fn try_start(folder: &tempfile::TempDir, more: &[String]) -> Option<(Child, Vec<u16>)> {
        let ports = free_ports(10);
        let names = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc"].into_iter();
        let names = names.chain(["volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc"]);
        // Doors that nobody uses, but that would be opened at the same place by every server.
        let names = names.chain(["s3.port.iceberg", "s3.port.lance"]);
        let data = folder.path().join("data");
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).expect("the folder is ours");
        let log = File::create(folder.path().join("log")).expect("the folder is ours");
        let mut command = Command::new(peers::program("weed"));
        command.args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-s3",
            "-s3.iam=false",
            "-volume.max=2000",
        ]);
        command
            .arg("-master.volumeSizeLimitMB=256")
            .arg(format!("-dir={}", data.display()))
            .arg(format!("-s3.config={}", folder.path().join("s3.json").display()))
            .args(names.zip(&ports).map(|(name, port)| format!("-{name}={port}")))
            .args(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be held twice"))
            .stderr(log)
            .env("HOME", folder.path());
        let mut server = command.spawn().expect("the program is there");
        let began = Instant::now();
        while began.elapsed() < STARTS_WITHIN {
            if server.try_wait().expect("a child can be waited for").is_some() {
                return None;
            }
            if answers(ports[0]) {
                return Some((server, ports));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let _ = server.kill();
        let _ = server.wait();
        None
    }

    /// The file with the certificate of a server that is spoken to over TLS.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join(CERTIFICATE)
    }

    /// Where it is: `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// Where it is: `127.0.0.1:PORT`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// When it cannot be made within a minute.
    pub fn make_bucket(&self, name: &str) {
        self.shell(&format!("s3.bucket.create -name {name}"), "created bucket");
    }

    /// Makes a bucket that locks objects.
    ///
    /// # Panics
    /// When it cannot be made within a minute.
    pub fn make_locking_bucket(&self, name: &str) {
        self.shell(
            &format!("s3.bucket.create -name {name} -withLock"),
            "Object Lock: enabled",
        );
    }

    /// Has a command carried out by SeaweedFS's own shell, until it says what is to be said.
    fn shell(&self, line: &str, said: &str) {
        let at = |http: u16, grpc: u16| format!("127.0.0.1:{http}.{grpc}");
        let began = Instant::now();
        let mut last = String::new();
        while began.elapsed() < STARTS_WITHIN {
            let mut shell = Command::new(peers::program("weed"))
                .arg("shell")
                .arg(format!("-master={}", at(self.ports[2], self.ports[3])))
                .arg(format!("-filer={}", at(self.ports[6], self.ports[7])))
                .env("HOME", self.folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("the program is there");
            let mut stdin = shell.stdin.take().expect("standard input was asked to be a pipe");
            // It may have ended already: then what it said tells why.
            let _ = writeln!(stdin, "{line}");
            drop(stdin);
            let output = shell.wait_with_output().expect("a child can be waited for");
            last = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            if last.contains(said) {
                return;
            }
            std::thread::sleep(Duration::from_millis(300));
        }
        panic!("SeaweedFS was told {line:?} and says {last}");
    }
}

impl Drop for SeaweedFs {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Makes a certificate for these names that nobody has signed, and its key.
pub(crate) fn make_certificate(certificate: &Path, key: &Path, names: &str) {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", "2", "-subj", "/CN=windlass-tests"])
        .args(["-addext", &format!("subjectAltName={names}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Ports of loopback that nobody listens on at the moment.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let listeners = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("loopback has free ports"));
    let listeners: Vec<TcpListener> = listeners.collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}

/// Whether a server of HTTP is there.
pub(crate) fn answers(port: u16) -> bool {
    let Ok(mut line) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let limit = Some(Duration::from_secs(2));
    let mut begin = [0; 5];
    line.set_read_timeout(limit).is_ok()
        && line.write_all(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").is_ok()
        && line.read_exact(&mut begin).is_ok()
        && &begin == b"HTTP/"
}
