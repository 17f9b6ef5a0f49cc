//! The password file, with libpq's rules: lines of `host:port:database:user:password`, where `*` matches anything, `\`
//! escapes, and `#` begins a comment line. A file that others can read is rejected.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The connection for which a password is looked up.
#[derive(Clone, Copy)]
pub struct PassfileKey<'a> {
    /// Host name or socket directory, as given for the node.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Database on the node.
    pub database: &'a str,
    /// Role.
    pub user: &'a str,
}

/// Why a password file was not used.
#[derive(Debug, thiserror::Error)]
pub enum PassfileError {
    /// It could not be read.
    #[error("could not read password file \"{0}\": {1}")]
    Unreadable(String, io::Error),
    /// It has group or world access.
    #[error(
        "password file \"{0}\" has group or world access; permissions should be u=rw (0600) or less"
    )]
    Permissions(String),
    /// It is a directory, a pipe, or the like.
    #[error("password file \"{0}\" is not a plain file")]
    NotAFile(String),
}

/// The password in the first matching line, if any. A missing file has no lines.
pub fn lookup(path: &Path, key: PassfileKey<'_>) -> Result<Option<String>, PassfileError> {
    let shown = || path.display().to_string();
    let meta = match fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(PassfileError::Unreadable(shown(), e)),
    };
    if !meta.is_file() {
        return Err(PassfileError::NotAFile(shown()));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(PassfileError::Permissions(shown()));
    }
    let text = fs::read(path).map_err(|e| PassfileError::Unreadable(shown(), e))?;
    Ok(find(&String::from_utf8_lossy(&text), key))
}

fn find(text: &str, key: PassfileKey<'_>) -> Option<String> {
    let port = key.port.to_string();
    // libpq uses "localhost" for its default socket directory.
    let default_socket = ["/tmp", "/var/run/postgresql"].contains(&key.host);
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let rest = field(line, key.host)
            .or_else(|| default_socket.then(|| field(line, "localhost")).flatten())?;
        let rest = field(rest, &port)?;
        let rest = field(rest, key.database)?;
        let rest = field(rest, key.user)?;
        let password = unescape(rest.trim_end_matches('\r'));
        (!password.is_empty()).then_some(password)
    })
}

/// The rest of a line after its first field, if that field matches.
fn field<'a>(line: &'a str, expected: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let mut escaped = false;
    let end = line.char_indices().find_map(|(at, c)| {
        let stop = c == ':' && !escaped;
        escaped = c == '\\' && !escaped;
        stop.then_some(at)
    })?;
    (unescape(&line[..end]) == expected).then(|| &line[end + 1..])
}

fn unescape(field: &str) -> String {
    let mut out = String::with_capacity(field.len());
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const FILE: &str = "# a comment\n\
        nowhere:5432:*:*:wrong\n\
        db\\:1:5432:app:al\\\\ice:pass\\:word\\\\\n\
        *:5433:*:bob:\n\
        *:5433:*:bob:second line\n\
        localhost:*:*:*:local\n";

    fn ask(host: &str, port: u16, user: &str) -> Option<String> {
        find(FILE, PassfileKey { host, port, database: "app", user })
    }

    #[test]
    fn lines_match_by_libpqs_rules() {
        assert_eq!(ask("db:1", 5432, "al\\ice").as_deref(), Some("pass:word\\"));
        assert_eq!(ask("db:1", 5432, "alice"), None);
        assert_eq!(ask("anything", 5433, "bob").as_deref(), Some("second line"));
        assert_eq!(ask("localhost", 1, "x").as_deref(), Some("local"));
        assert_eq!(ask("/var/run/postgresql", 1, "x").as_deref(), Some("local"));
        assert_eq!(ask("/tmp/elsewhere", 1, "x"), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passfile");
        fs::write(&path, "*:*:*:*:secret\n").unwrap();
        let key = PassfileKey { host: "h", port: 1, database: "d", user: "u" };
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(lookup(&path, key), Err(PassfileError::Permissions(_))));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(lookup(&path, key).unwrap().as_deref(), Some("secret"));
        fs::remove_file(&path).unwrap();
        assert!(lookup(&path, key).unwrap().is_none());
    }
}
