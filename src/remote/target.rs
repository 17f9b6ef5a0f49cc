//! Connection parameters of a node, and the connection options in `helios.node`.

use crate::error::{Error, Result};
use crate::settings;
use pgrx::guc::GucSetting;
use pgrx::pg_sys::errcodes::PgSqlErrorCode;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// TLS modes, with libpq's names and meanings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SslMode {
    /// Never.
    Disable,
    /// If the node offers it.
    Prefer,
    /// Always, without verifying the certificate (with `sslrootcert`: like `verify-ca`).
    Require,
    /// Always; the certificate must be issued by a trusted CA.
    VerifyCa,
    /// Like `verify-ca`, and the certificate must match the host name.
    VerifyFull,
}

impl SslMode {
    /// libpq's name for it.
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

/// Connection parameters of a node.
#[derive(Clone, Debug)]
pub struct Target {
    /// The node's ID in this database's directory, if it is listed there.
    pub id: Option<i32>,
    /// The node's name, for messages.
    pub name: String,
    /// Hosts (directories if they begin with `/`) and ports, tried in order.
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
    /// Password from the directory; None to use the password file.
    pub password: Option<String>,
    /// The password file.
    pub passfile: Option<PathBuf>,
    /// Timeout for connecting to one address, including the handshake.
    pub connect_timeout: Duration,
    /// The signature by which the session proves to a node that it is its coordinator's.
    pub proof: Option<String>,
    /// Further startup parameters: settings of the session.
    pub parameters: Vec<(&'static str, String)>,
    /// When a connection over TCP counts as lost.
    pub tcp: Tcp,
}

/// When a silent TCP connection counts as lost. None uses the system default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp {
    /// Idle time before the first keepalive probe.
    pub idle: Option<Duration>,
    /// Time between two probes.
    pub interval: Option<Duration>,
    /// Number of unanswered probes after which the connection is lost.
    pub count: Option<u32>,
    /// How long sent data may remain unacknowledged.
    pub user_timeout: Option<Duration>,
}

impl Tcp {
    /// Reads the settings `helios.tcp_…`.
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

/// The connection options allowed in `helios.node`.
const OPTIONS: [&str; 5] = ["connect_timeout", "sslcert", "sslkey", "sslmode", "sslrootcert"];

impl Target {
    /// The same as libpq parameters, without the password file, which is local to this server.
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

    /// Applies a node's options. 22023 for an invalid option or value.
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
