//! The client's settings in a node's session, and the statement that brings them up to date.

use super::messages::literal;
use crate::pg::session::settings_scan::Setting;

/// Settings and role at a point in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Sorted by name.
    pub settings: Vec<Setting>,
    /// The current role, if it is not the session's login role.
    pub role: Option<Vec<u8>>,
    /// A setting to be applied that the session's user has no permission to set.
    pub beyond_reach: Option<Vec<u8>>,
}

/// Name, value (None: reset), and whether setting it requires privileges.
type Change<'a> = (&'a [u8], Option<&'a [u8]>, bool);

/// A single SELECT that changes `old` into `new` on a node; None if nothing differs. A setting that no longer exists is
/// reset. The role comes last, because it may lack permission to change the settings itself.
pub fn difference(old: &Snapshot, new: &Snapshot) -> Option<Vec<u8>> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    let (mut a, mut b) = (old.settings.iter().peekable(), new.settings.iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(x), Some(y)) => x.name.cmp(&y.name),
        };
        let gone = if order.is_le() { a.next() } else { None };
        let here = if order.is_ge() { b.next() } else { None };
        match (gone, here) {
            (Some(x), None) => changes.push((&x.name, None, x.privileged)),
            (x, Some(y)) if x.is_none_or(|x| x.value != y.value) => {
                changes.push((&y.name, Some(&y.value), y.privileged));
            }
            _ => {}
        }
    }
    let step_back = old.role.is_some() && changes.iter().any(|(_, _, privileged)| *privileged);
    let mut calls = Calls(Vec::new());
    if step_back {
        calls.add(b"role", Some(b"none"));
    }
    for (name, value, _) in changes {
        calls.add(name, value);
    }
    if old.role != new.role || (step_back && new.role.is_some()) {
        calls.add(b"role", Some(new.role.as_deref().unwrap_or(b"none")));
    }
    (!calls.0.is_empty()).then_some(calls.0)
}

struct Calls(Vec<u8>);

impl Calls {
    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let out = &mut self.0;
        out.extend_from_slice(if out.is_empty() { b"SELECT" } else { b"," });
        out.extend_from_slice(b" pg_catalog.set_config(");
        literal(out, name);
        out.push(b',');
        match value {
            Some(value) => literal(out, value),
            None => out.extend_from_slice(b" NULL"),
        }
        out.extend_from_slice(b", false)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(settings: &[(&str, &str, bool)], role: Option<&str>) -> Snapshot {
        let mut settings: Vec<_> = settings
            .iter()
            .map(|(n, v, p)| Setting {
                name: n.as_bytes().to_vec(),
                value: v.as_bytes().to_vec(),
                privileged: *p,
            })
            .collect();
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        Snapshot { settings, role: role.map(|r| r.as_bytes().to_vec()), beyond_reach: None }
    }

    fn sql(old: &Snapshot, new: &Snapshot) -> String {
        difference(old, new).map_or(String::new(), |s| {
            String::from_utf8(s).unwrap().replace("pg_catalog.set_config", "").replace(" E'", "'")
        })
    }

    #[test]
    fn only_what_differs_is_sent() {
        let old = snapshot(&[("a", "1", false), ("b", "2", false), ("d", "4", false)], None);
        let new = snapshot(&[("a", "1", false), ("b", "3", false), ("c", "it's", false)], None);
        assert_eq!(
            sql(&old, &new),
            "SELECT ('b','3', false), ('c','it''s', false), ('d', NULL, false)"
        );
        assert_eq!(sql(&new, &new), "");
    }

    #[test]
    fn the_role_comes_last_and_steps_back_for_privileged_settings() {
        let old = snapshot(&[], Some("bob"));
        let plain = snapshot(&[("a", "1", false)], Some("bob"));
        let privileged = snapshot(&[("s", "1", true)], Some("bob"));
        assert_eq!(sql(&old, &plain), "SELECT ('a','1', false)");
        assert_eq!(
            sql(&old, &privileged),
            "SELECT ('role','none', false), ('s','1', false), ('role','bob', false)"
        );
        assert_eq!(sql(&old, &snapshot(&[], None)), "SELECT ('role','none', false)");
        assert_eq!(sql(&snapshot(&[], None), &old), "SELECT ('role','bob', false)");
    }
}
