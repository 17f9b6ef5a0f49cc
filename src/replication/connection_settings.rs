//! Settings for the sessions of migrations.

/// A migration takes hours: timeouts that a node has for its clients must not apply to its sessions.
const SETTINGS: [(&str, &str); 6] = [
    ("lock_timeout", "0"),
    ("search_path", "pg_catalog"),
    ("DateStyle", "ISO"),
    ("extra_float_digits", "3"),
    ("helios.migration_session", "on"),
    // An autovacuum worker is canceled for a waiting lock request after this time.
    ("deadlock_timeout", "50"),
];

/// All settings, for a superuser's session.
pub fn all() -> Vec<(&'static str, String)> {
    matching(|_| true)
}

/// Settings that any role may change, because the role on a foreign server need not be a superuser.
pub fn unprivileged() -> Vec<(&'static str, String)> {
    matching(|name| name != "deadlock_timeout")
}

fn matching(wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, String)> {
    let all = SETTINGS.into_iter().filter(|(name, _)| wanted(name));
    all.map(|(name, value)| (name, value.to_owned())).collect()
}
