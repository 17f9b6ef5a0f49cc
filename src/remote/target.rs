//! What a session needs to know of a node, and the connection options a node can have.

use crate::error::{Error, Result};
use crate::settings;
use pgrx::guc::GucSetting;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// How TLS is used, with libpq's words and meanings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the node offers it.
    Prefer,
    /// Always, without looking at the certificate (unless `sslrootcert` is given: then as `verify-ca`).
    Require,
    /// Always, the certificate must come from a trusted root.
    VerifyCa,
    /// As `verify-ca`, and the certificate must name the host.
    VerifyFull,
}

impl SslMode {
    /// libpq's word for it.
    pub fn name(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }
}

/// One node as seen by a session.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node's number in this database's directory, if it is there.
    pub id: Option<i32>,
    /// The node's name, for messages.
    pub name: String,
    /// Host (a directory when it begins with `/`) and port, tried in order.
    pub addresses: Vec<(String, u16)>,
    /// Database on the node.
    pub database: String,
    /// How TLS is used.
    pub sslmode: SslMode,
    /// Trusted roots (PEM).
    pub sslrootcert: Option<PathBuf>,
    /// Client certificate (PEM).
    pub sslcert: Option<PathBuf>,
    /// Its key (PEM).
    pub sslkey: Option<PathBuf>,
    /// Password from the directory; none: the passfile is asked.
    pub password: Option<String>,
    /// The passfile to ask.
    pub passfile: Option<PathBuf>,
    /// Bound on connecting to one address, handshake included.
    pub connect_timeout: Duration,
    /// What the session proves itself by to a node of ours.
    pub proof: Option<String>,
    /// Further start-up parameters: settings of the session.
    pub parameters: Vec<(&'static str, String)>,
    /// When a connection over TCP counts as lost.
    pub tcp: Tcp,
}

/// How long a connection over TCP may be without a sign of the other side. What is None is left to the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    /// Time without traffic before the first keepalive probe.
    pub idle: Option<Duration>,
    /// Time between two probes.
    pub interval: Option<Duration>,
    /// Probes without an answer after which the connection is lost.
    pub count: Option<u32>,
    /// How long what was sent may stay without acknowledgement.
    pub user_timeout: Option<Duration>,
}

impl Tcp {
    /// As the settings `helios.tcp_…` have it.
    pub fn from_settings() -> Self {
        let number =
            |setting: &GucSetting<i32>| u32::try_from(setting.get()).ok().filter(|n| *n > 0);
        let seconds = |setting| number(setting).map(|n| Duration::from_secs(n.into()));
        Self {
            idle: seconds(&settings::TCP_KEEPALIVES_IDLE),
            interval: seconds(&settings::TCP_KEEPALIVES_INTERVAL),
            count: number(&settings::TCP_KEEPALIVES_COUNT),
            user_timeout: number(&settings::TCP_USER_TIMEOUT)
                .map(|n| Duration::from_millis(n.into())),
        }
    }
}

/// The options of `helios.node` that shape a connection.
const OPTIONS: [&str; 5] = ["connect_timeout", "sslcert", "sslkey", "sslmode", "sslrootcert"];

impl Target {
    /// The same in libpq's words, for those who connect by libpq. Without the passfile, which is this server's own.
    pub fn libpq(&self, user: &str) -> Vec<(&'static str, String)> {
        let hosts: Vec<&str> = self.addresses.iter().map(|(host, _)| host.as_str()).collect();
        let ports: Vec<String> = self.addresses.iter().map(|(_, port)| port.to_string()).collect();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|p| p.display().to_string());
        let all = [
            ("host", Some(hosts.join(","))),
            ("port", Some(ports.join(","))),
            ("dbname", Some(self.database.clone())),
            ("user", Some(user.to_owned())),
            ("password", self.password.clone()),
            ("sslmode", Some(self.sslmode.name().to_owned())),
            ("sslrootcert", path(&self.sslrootcert)),
            ("sslcert", path(&self.sslcert)),
            ("sslkey", path(&self.sslkey)),
            ("target_session_attrs", Some("read-write".to_owned())),
        ];
        all.into_iter().filter_map(|(word, value)| Some((word, value?))).collect()
    }

    /// Applies a node's options. 22023 for an option or value that does not exist.
    pub fn set_options(&mut self, options: &BTreeMap<String, String>) -> Result<()> {
        for (name, value) in options {
            let path = || Some(PathBuf::from(value));
            match name.as_str() {
                "sslmode" => self.sslmode = ssl_mode(value)?,
                "sslrootcert" => self.sslrootcert = path(),
                "sslcert" => self.sslcert = path(),
                "sslkey" => self.sslkey = path(),
                "connect_timeout" => {
                    let seconds =
                        value.parse().ok().filter(|s| (1..=3600).contains(s)).ok_or_else(|| {
                            invalid(format!("invalid connect_timeout \"{value}\""))
                                .hint("connect_timeout must be between 1 and 3600 seconds.")
                        })?;
                    self.connect_timeout = Duration::from_secs(seconds);
                }
                _ => {
                    return Err(invalid(format!("unrecognized node option \"{name}\""))
                        .hint(format!("Valid options are: {}.", OPTIONS.join(", "))));
                }
            }
        }
        if self.sslcert.is_some() != self.sslkey.is_some() {
            return Err(invalid("node options sslcert and sslkey must be specified together"));
        }
        Ok(())
    }
}

fn ssl_mode(value: &str) -> Result<SslMode> {
    Ok(match value {
        "disable" => SslMode::Disable,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => {
            return Err(invalid(format!("invalid sslmode \"{value}\""))
                .hint("Valid values are disable, prefer, require, verify-ca, and verify-full."));
        }
    })
}

fn invalid(message: impl Into<Vec<u8>>) -> Error {
    Error::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            id: None,
            name: "node-1".into(),
            addresses: vec![("localhost".into(), 5432)],
            database: "helios".into(),
            sslmode: SslMode::Prefer,
            sslrootcert: None,
            sslcert: None,
            sslkey: None,
            password: None,
            passfile: None,
            proof: None,
            connect_timeout: Duration::from_secs(5),
            tcp: Tcp::default(),
            parameters: Vec::new(),
        }
    }

    fn set(pairs: &[(&str, &str)]) -> Result<Target> {
        let mut target = target();
        target.set_options(&pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())?;
        Ok(target)
    }

    #[test]
    fn options_are_checked() {
        let good = set(&[("sslmode", "verify-full"), ("connect_timeout", "3")]).unwrap();
        assert_eq!(
            (good.sslmode, good.connect_timeout),
            (SslMode::VerifyFull, Duration::from_secs(3))
        );
        for bad in
            [("sslmode", "on"), ("connect_timeout", "0"), ("user", "root"), ("sslcert", "a.pem")]
        {
            assert_eq!(set(&[bad]).unwrap_err().sqlstate(), "22023", "{bad:?}");
        }
    }
}
