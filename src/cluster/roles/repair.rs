//! Descriptions of the differences between a node's roles and the coordinator's, and the statements that fix them.

use super::facts::{Fact, Kind};
use crate::catalog::Node;
use pgrx::spi::{quote_identifier, quote_literal};

/// The clause of a role whose password never expires.
const NEVER: &str = " VALID UNTIL 'infinity'";

/// A difference between a node and the coordinator.
pub enum Difference {
    /// The fact is missing on the node.
    Missing(Fact),
    /// The fact has another value on the node.
    Other {
        /// The fact on the coordinator.
        here: Fact,
        /// The fact on the node.
        there: Fact,
    },
    /// A fact that exists only on the node, about a role that exists on both.
    Extra(Fact),
    /// A role that exists only on the node.
    Alone(String),
}

impl Difference {
    /// Whether it concerns the role's attributes or password.
    pub fn is_about_login(&self, role: &str) -> bool {
        match self {
            Self::Missing(fact) | Self::Extra(fact) | Self::Other { here: fact, .. } => {
                fact.role == role && matches!(fact.kind, Kind::Role | Kind::Password)
            }
            Self::Alone(_) => false,
        }
    }

    /// Describes the difference. Passwords are not shown.
    pub fn detail(&self) -> String {
        match self {
            Self::Missing(fact) => format!("{} is missing on the node", subject(fact)),
            Self::Other { here, there } => match here.kind {
                Kind::Password => format!("{} differs on the node", subject(here)),
                _ => {
                    let shown = |value: &str| {
                        if value.is_empty() { "without options" } else { value }.to_owned()
                    };
                    format!(
                        "{} is {} on the node, {} on the coordinator",
                        subject(here),
                        shown(&there.value),
                        shown(&here.value)
                    )
                }
            },
            Self::Extra(fact) => format!("{} exists only on the node", subject(fact)),
            Self::Alone(role) => format!("role \"{role}\" exists only on the node"),
        }
    }

    /// Describes how to resolve the difference.
    pub fn remedy(&self) -> String {
        match self {
            Self::Alone(role) => {
                let role = quote_identifier(role);
                format!("Run DROP ROLE {role} on the node if the role is not needed, or CREATE ROLE {role} on the \
                    coordinator.")
            }
            Self::Other { here, .. } if here.kind == Kind::Password && here.value.is_empty() => {
                let role = quote_identifier(&here.role);
                format!("The password is kept because sessions to the node may need it. Run ALTER ROLE {role} PASSWORD \
                    NULL on the node if they do not, or set the same password on the coordinator.")
            }
            _ => "The background worker corrects it within seconds; if it does not, see the coordinator's log.".into(),
        }
    }

    /// Statements to be executed on the node, in order, in one transaction; none for a difference that is only
    /// reported.
    pub fn repair(&self, node: &Node) -> Vec<String> {
        match self {
            // A role whose password never expires lacks the clause.
            Self::Missing(fact) if fact.is_role() => {
                let clause = fact.value.replace(NEVER, "");
                vec![format!("CREATE ROLE {} WITH {clause}", quote_identifier(&fact.role))]
            }
            Self::Missing(fact) => vec![set(fact, node)],
            Self::Other { here, .. } if here.kind == Kind::Password && here.value.is_empty() => {
                Vec::new()
            }
            Self::Other { here, there } => match here.kind {
                Kind::Member | Kind::DatabaseRight | Kind::ParameterRight => {
                    take(there, node).into_iter().chain([set(here, node)]).collect()
                }
                Kind::Role if there.value.ends_with(NEVER) => {
                    let mut wanted = here.clone();
                    wanted.value = here.value.replace(NEVER, "");
                    vec![set(&wanted, node)]
                }
                _ => vec![set(here, node)],
            },
            Self::Extra(fact) => take(fact, node),
            Self::Alone(_) => Vec::new(),
        }
    }
}

fn subject(fact: &Fact) -> String {
    let Fact { role, about, .. } = fact;
    let who = if role.is_empty() { "all roles".to_owned() } else { format!("role \"{role}\"") };
    match fact.kind {
        Kind::Role => who,
        Kind::Password => format!("the password of {who}"),
        Kind::Member => format!("membership of \"{about}\" in {who}"),
        Kind::Setting => format!("setting {about} of {who}"),
        Kind::DatabaseSetting => format!("setting {about} of {who} in the database"),
        Kind::Comment => format!("the comment on {who}"),
        Kind::DatabaseRight => format!("privilege {about} of {who} on the database"),
        Kind::ParameterRight => format!("privilege {about} of {who}"),
    }
}

/// The role as the grantee in a GRANT or REVOKE.
fn grantee(fact: &Fact) -> String {
    if fact.role.is_empty() { "PUBLIC".into() } else { quote_identifier(&fact.role) }
}

/// The beginning of `ALTER ROLE`, up to the setting.
fn alter(fact: &Fact, node: &Node) -> String {
    let role = if fact.role.is_empty() { "ALL".into() } else { quote_identifier(&fact.role) };
    match fact.kind {
        Kind::DatabaseSetting => {
            format!("ALTER ROLE {role} IN DATABASE {}", quote_identifier(&node.database))
        }
        _ => format!("ALTER ROLE {role}"),
    }
}

/// The privilege and its object.
fn right(fact: &Fact, node: &Node) -> String {
    match fact.kind {
        Kind::DatabaseRight => {
            format!("{} ON DATABASE {}", fact.about, quote_identifier(&node.database))
        }
        _ => fact.about.clone(),
    }
}

/// Statement that creates the fact on a node.
fn set(fact: &Fact, node: &Node) -> String {
    let role = quote_identifier(&fact.role);
    match fact.kind {
        Kind::Role => format!("ALTER ROLE {role} WITH {}", fact.value),
        Kind::Password if fact.value.is_empty() => format!("ALTER ROLE {role} PASSWORD NULL"),
        Kind::Password => format!("ALTER ROLE {role} PASSWORD {}", quote_literal(&fact.value)),
        Kind::Member => format!("GRANT {role} TO {} {}", quote_identifier(&fact.about), fact.value),
        Kind::Setting | Kind::DatabaseSetting => {
            let name = setting_name(&fact.about);
            format!(
                "{} SET {name} TO {}",
                alter(fact, node),
                setting_value(&fact.about, &fact.value)
            )
        }
        Kind::Comment => format!("COMMENT ON ROLE {role} IS {}", quote_literal(&fact.value)),
        Kind::DatabaseRight | Kind::ParameterRight => {
            let option = if fact.value == "true" { " WITH GRANT OPTION" } else { "" };
            format!("GRANT {} TO {}{option}", right(fact, node), grantee(fact))
        }
    }
}

/// Statements that remove the fact from a node.
fn take(fact: &Fact, node: &Node) -> Vec<String> {
    let role = quote_identifier(&fact.role);
    match fact.kind {
        Kind::Role | Kind::Password => Vec::new(),
        Kind::Member => {
            let member = quote_identifier(&fact.about);
            let revoke = format!("REVOKE {role} FROM {member}");
            // Since PostgreSQL 16 there is one membership for each grantor.
            let of = |grantor: &str| match cfg!(feature = "pg15") || grantor.is_empty() {
                true => format!("{revoke} CASCADE"),
                false => format!("{revoke} GRANTED BY {grantor} CASCADE"),
            };
            match cfg!(feature = "pg15") {
                true => vec![of("")],
                false => identifiers(&fact.grantors).map(of).collect(),
            }
        }
        Kind::Setting | Kind::DatabaseSetting => {
            vec![format!("{} RESET {}", alter(fact, node), setting_name(&fact.about))]
        }
        Kind::Comment => vec![format!("COMMENT ON ROLE {role} IS NULL")],
        Kind::DatabaseRight | Kind::ParameterRight => {
            vec![format!("REVOKE {} FROM {} CASCADE", right(fact, node), grantee(fact))]
        }
    }
}

/// Splits a list of identifiers; commas inside quotes belong to names.
fn identifiers(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    list.split(move |letter: char| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    })
    .map(str::trim)
}

/// Quotes each part of `class.name` as needed.
fn setting_name(name: &str) -> String {
    name.split('.').map(quote_identifier).collect::<Vec<_>>().join(".")
}

/// A setting whose value is a list of names is stored as a list.
fn setting_value(name: &str, value: &str) -> String {
    const LISTS: [&str; 7] = [
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
        "createrole_self_grant",
    ];
    if !LISTS.iter().any(|list| list.eq_ignore_ascii_case(name)) || value.is_empty() {
        return quote_literal(value);
    }
    let plain = |name: &str| match name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => quote_literal(inner.replace("\"\"", "\"")),
        None => quote_literal(name),
    };
    identifiers(value).map(plain).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_outside_of_quotes() {
        let parts: Vec<_> = identifiers("a, \"b,c\",\"d\"\"e\"").collect();
        assert_eq!(parts, ["a", "\"b,c\"", "\"d\"\"e\""]);
    }
}
