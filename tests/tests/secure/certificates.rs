//! Certificates for servers and clients, created with `openssl` as described in its documentation and
//! PostgreSQL's.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::command;

/// A directory of certificates (`NAME.crt`) and keys (`NAME.key`), readable by servers.
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Creates in a server's directory: the authorities `root` and `other`, and signed by `root`: `server` for
    /// `localhost` and `client` for the role `cert_user`.
    pub fn new(below: &Path) -> Self {
        let dir = below.join("certificates");
        std::fs::create_dir(&dir).unwrap();
        let made = Self { dir };
        made.self_signed("root", "/CN=root", &["basicConstraints=critical,CA:TRUE"]);
        made.self_signed("other", "/CN=root", &["basicConstraints=critical,CA:TRUE"]);
        made.signed("server", "/CN=server", Some("subjectAltName=DNS:localhost"));
        made.signed("client", "/CN=cert_user", Some("extendedKeyUsage=clientAuth"));
        made
    }

    /// The certificate of this name.
    pub fn crt(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    /// The key of this name.
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// Another file in the directory.
    pub fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap();
        give(&path, mode);
        path
    }

    /// Creates a self-signed certificate; without extensions it has the defaults of `openssl req`.
    pub fn self_signed(&self, name: &str, subject: &str, extensions: &[&str]) {
        let mut request = self.request(name, subject);
        request.args(["-x509", "-days", "30", "-out"]).arg(self.crt(name));
        for extension in extensions {
            request.args(["-addext", extension]);
        }
        self.finish(request, name);
    }

    /// Creates a certificate signed by `root`. Without an extension it is of version 1, as in the example in
    /// PostgreSQL's documentation.
    pub fn signed(&self, name: &str, subject: &str, extension: Option<&str>) {
        let csr = self.dir.join(format!("{name}.csr"));
        let mut request = self.request(name, subject);
        command::output(request.arg("-out").arg(&csr)).unwrap();
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", "30", "-CAcreateserial", "-in"]).arg(&csr);
        sign.arg("-CA").arg(self.crt("root")).arg("-CAkey").arg(self.key("root"));
        sign.arg("-out").arg(self.crt(name));
        if let Some(extension) = extension {
            let file = self.file(&format!("{name}.ext"), extension, 0o644);
            sign.arg("-extfile").arg(file);
        }
        self.finish(sign, name);
    }

    /// Like [`Certificates::self_signed`], with an algorithm other than RSA.
    pub fn of_algorithm(&self, name: &str, subject: &str, algorithm: &str) {
        let mut request = Command::new("openssl");
        request.args(["req", "-new", "-nodes", "-x509", "-days", "30", "-subj", subject]);
        request.args(["-newkey", algorithm]);
        if algorithm == "ec" {
            request.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        }
        request.arg("-keyout").arg(self.key(name)).arg("-out").arg(self.crt(name));
        self.finish(request, name);
    }

    fn request(&self, name: &str, subject: &str) -> Command {
        let mut request = Command::new("openssl");
        request.args(["req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", subject]);
        request.arg("-keyout").arg(self.key(name));
        request
    }

    fn finish(&self, mut command: Command, name: &str) {
        command::output(&mut command).unwrap();
        give(&self.crt(name), 0o644);
        give(&self.key(name), 0o600);
    }
}

fn give(path: &Path, mode: u32) {
    command::give_to_server_user(path).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
