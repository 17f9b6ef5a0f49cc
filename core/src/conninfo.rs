//! Parses libpq connection strings: `keyword=value` pairs and URIs. See "Connection Strings" in libpq's documentation.
//!
//! Invariant: errors do not repeat any part of the text, which may contain a password.

/// Why a text is not a valid connection string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConninfoError {
    /// A keyword without a value.
    #[error("missing \"=\" after parameter at position {0}")]
    NoEquals(usize),
    /// A quoted value without a closing quote.
    #[error("unterminated quoted value at position {0}")]
    Unterminated(usize),
    /// A `%` without two hexadecimal digits, or an escape that is not UTF-8.
    #[error("invalid percent-encoded token at position {0}")]
    Percent(usize),
    /// A `[` without `]`, or with unexpected text after it.
    #[error("invalid IPv6 address at position {0}")]
    Brackets(usize),
}

/// Keywords and values in the order of the text; if a keyword is repeated, the last value counts. Several hosts and
/// ports are comma-separated lists, as in libpq.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, ConninfoError> {
    for scheme in ["postgresql://", "postgres://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return uri(rest, scheme.len());
        }
    }
    pairs(text)
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, ConninfoError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    let position = |rest: &str| text.len() - rest.len() + 1;
    while !rest.is_empty() {
        let at = position(rest);
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let keyword = &rest[..end];
        rest = rest[end..].trim_start();
        rest = rest.strip_prefix('=').ok_or(ConninfoError::NoEquals(at))?.trim_start();
        let at = position(rest);
        let (value, left) = value(rest).ok_or(ConninfoError::Unterminated(at))?;
        found.push((keyword.to_owned(), value));
        rest = left.trim_start();
    }
    Ok(found)
}

/// The value at the start of the text, and the rest; None if it has no closing quote.
fn value(text: &str) -> Option<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            '\'' if quoted => return Some((value, &text[at + 1..])),
            _ if !quoted && letter.is_whitespace() => return Some((value, &text[at..])),
            _ => value.push(letter),
        }
    }
    (!quoted).then_some((value, ""))
}

/// Parses a URI whose scheme has this length.
fn uri(text: &str, scheme: usize) -> Result<Vec<(String, String)>, ConninfoError> {
    // Returns slices of the text only, also for missing parts.
    let none = &text[text.len()..];
    let position = |part: &str| scheme + (part.as_ptr() as usize - text.as_ptr() as usize) + 1;
    let decoded = |part: &str| decode(part).ok_or(ConninfoError::Percent(position(part)));
    let mut found = Vec::new();
    let mut add = |keyword: &str, part: &str| {
        let value = decoded(part)?;
        if !value.is_empty() {
            found.push((keyword.to_owned(), value));
        }
        Ok(())
    };
    let (before, parameters) = text.split_once('?').unwrap_or((text, none));
    // The hosts are followed by a path or nothing; they cannot contain a slash.
    let (authority, database) = before.split_once('/').unwrap_or((before, none));
    let (who, hosts) = authority.rsplit_once('@').unwrap_or((none, authority));
    let (user, password) = who.split_once(':').unwrap_or((who, none));
    add("user", user)?;
    add("password", password)?;
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) =
            host_and_port(host, none).ok_or(ConninfoError::Brackets(position(host)))?;
        names.push(decoded(name)?);
        ports.push(decoded(port)?);
    }
    add("dbname", database)?;
    if names.iter().any(|name| !name.is_empty()) {
        found.push(("host".to_owned(), names.join(",")));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        found.push(("port".to_owned(), ports.join(",")));
    }
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let equals = ConninfoError::NoEquals(position(parameter));
        let (keyword, value) = parameter.split_once('=').ok_or(equals)?;
        found.push((decoded(keyword)?, decoded(value)?));
    }
    Ok(found)
}

/// `none` is returned for a missing port.
fn host_and_port<'a>(text: &'a str, none: &'a str) -> Option<(&'a str, &'a str)> {
    let Some(inside) = text.strip_prefix('[') else {
        return Some(text.split_once(':').unwrap_or((text, none)));
    };
    let (name, rest) = inside.split_once(']')?;
    match rest.strip_prefix(':') {
        Some(port) => Some((name, port)),
        None => rest.is_empty().then_some((name, none)),
    }
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
        let byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
        bytes.push(byte);
        rest = &after[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn words(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn pairs_with_blanks_quotes_and_escapes() {
        let text =
            " host = db1,db2 port=5432\tpassword='it\\'s \\\\ =odd' user= app\\ one dbname=''";
        let expected = [
            ("host", "db1,db2"),
            ("port", "5432"),
            ("password", "it's \\ =odd"),
            ("user", "app one"),
            ("dbname", ""),
        ];
        assert_eq!(parsed(text), words(&expected));
        assert_eq!(parsed("  "), []);
    }

    #[test]
    fn uris() {
        let text = "postgresql://app%40x:p%2Fw@db1:5433,[::1]:5434/my%20db?sslmode=require&connect_timeout=3";
        let expected = [
            ("user", "app@x"),
            ("password", "p/w"),
            ("dbname", "my db"),
            ("host", "db1,::1"),
            ("port", "5433,5434"),
            ("sslmode", "require"),
            ("connect_timeout", "3"),
        ];
        assert_eq!(parsed(text), words(&expected));
        assert_eq!(parsed("postgres://"), []);
        assert_eq!(parsed("postgres://h"), words(&[("host", "h")]));
        assert_eq!(parsed("postgres:///d?host=/tmp"), words(&[("dbname", "d"), ("host", "/tmp")]));
        assert_eq!(parsed("postgres://%2Ftmp/d"), words(&[("dbname", "d"), ("host", "/tmp")]));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_it_says() {
        for (text, error) in [
            ("host=h secret word=1", ConninfoError::NoEquals(8)),
            ("password='secret", ConninfoError::Unterminated(10)),
            ("postgres://u:%zz@h", ConninfoError::Percent(14)),
            ("postgres://u:%ff@h", ConninfoError::Percent(14)),
            ("postgres://[::1", ConninfoError::Brackets(12)),
            ("postgres://[::1]x", ConninfoError::Brackets(12)),
            ("postgres://h/d?secret", ConninfoError::NoEquals(16)),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn any_value_comes_through_quotes(value in ".*") {
            let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
            prop_assert_eq!(parsed(&format!("password='{quoted}' a=b")),
                            vec![("password".to_owned(), value), ("a".to_owned(), "b".to_owned())]);
        }

        #[test]
        fn nothing_makes_it_panic(text in ".*") {
            let _ = parse(&text);
            let _ = parse(&format!("postgres://{text}"));
        }
    }
}
