//! A server's roles as comparable facts.

use crate::error::Result;
use crate::remote::Record;
use std::collections::BTreeMap;

/// Prefix of the roles that own the subscriptions of migrations. They exist on nodes only and are not compared.
const OWN_PREFIX: &str = "helios_apply_";

/// The subject of a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The role itself; the value is the clause with its attributes.
    Role,
    /// Its password as stored.
    Password,
    /// A member of the role; the value is the membership's options.
    Member,
    /// A setting of the role for all databases.
    Setting,
    /// A setting of the role for this database.
    DatabaseSetting,
    /// The comment on the role.
    Comment,
    /// A privilege on the database; the value tells whether it has the grant option.
    DatabaseRight,
    /// A privilege on a configuration parameter.
    ParameterRight,
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fact {
    pub kind: Kind,
    /// Name of the role; empty for PUBLIC and for settings of all roles.
    pub role: String,
    /// The member, setting or privilege.
    pub about: String,
    pub value: String,
    /// Grantors, quoted, separated by commas.
    pub grantors: String,
}

impl Fact {
    /// Creates a fact from a row of [`query`].
    pub fn read(row: &Record) -> Result<Option<Self>> {
        let kind = match row.text("kind")?.as_str() {
            "role" => Kind::Role,
            "password" => Kind::Password,
            "member" => Kind::Member,
            "setting" => Kind::Setting,
            "database setting" => Kind::DatabaseSetting,
            "comment" => Kind::Comment,
            "database right" => Kind::DatabaseRight,
            "parameter right" => Kind::ParameterRight,
            _ => return Ok(None),
        };
        Ok(Some(Self {
            kind,
            role: row.text("role")?,
            about: row.text("about")?,
            value: row.text("value")?,
            grantors: row.text("grantors")?,
        }))
    }

    pub fn is_role(&self) -> bool {
        self.kind == Kind::Role
    }

    /// Roles that the fact refers to.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let member = (self.kind == Kind::Member).then_some(self.about.as_str());
        [Some(self.role.as_str()), member].into_iter().flatten().filter(|role| !role.is_empty())
    }

    fn key(&self) -> (Kind, String, String) {
        (self.kind, self.role.clone(), self.about.clone())
    }
}

/// All facts of one server.
pub struct Known {
    pub facts: Vec<Fact>,
    index: BTreeMap<(Kind, String, String), usize>,
}

impl Known {
    /// Omits what is specific to each server: `own` is the role that Helios uses there, so that no change of roles can
    /// lock Helios out.
    pub fn new(facts: impl Iterator<Item = Fact>, own: &str) -> Self {
        let is_own = |fact: &Fact| fact.role == own && fact.kind != Kind::Member;
        let is_ours = |fact: &Fact| fact.roles().any(|role| role.starts_with(OWN_PREFIX));
        let facts: Vec<Fact> = facts.filter(|fact| !is_own(fact) && !is_ours(fact)).collect();
        let mut index: BTreeMap<_, _> =
            facts.iter().enumerate().map(|(at, fact)| (fact.key(), at)).collect();
        // A placeholder that makes the role known.
        index.insert((Kind::Role, own.to_owned(), String::new()), usize::MAX);
        Self { facts, index }
    }

    pub fn find(&self, fact: &Fact) -> Option<&Fact> {
        self.facts.get(*self.index.get(&fact.key())?)
    }

    pub fn has_role(&self, name: &str) -> bool {
        // Predefined roles are not compared.
        name.starts_with("pg_")
            || self.index.contains_key(&(Kind::Role, name.to_owned(), String::new()))
    }
}

/// The options of a membership; PostgreSQL 15 has only one.
#[cfg(feature = "pg15")]
const OPTIONS: &str = "CASE WHEN bool_or(m.admin_option) THEN 'WITH ADMIN OPTION' ELSE '' END";
#[cfg(not(feature = "pg15"))]
const OPTIONS: &str = "format('WITH ADMIN %s, INHERIT %s, SET %s', upper(bool_or(m.admin_option)::text), \
     upper(bool_or(m.inherit_option)::text), upper(bool_or(m.set_option)::text))";

/// The query that returns them; [`Fact::read`] parses its rows, whose columns are all text.
pub fn query() -> String {
    format!(
        "WITH r AS (SELECT *, CASE WHEN rolvaliduntil IS NULL OR rolvaliduntil = 'infinity' THEN 'infinity'
                                   WHEN rolvaliduntil = '-infinity' THEN '-infinity'
                                   ELSE to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00' END AS until
                      FROM pg_catalog.pg_authid WHERE rolname !~ '^pg_')
        SELECT 'role' AS kind, rolname::text AS role, '' AS about, concat_ws(' ',
               CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END,
               CASE WHEN rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END,
               CASE WHEN rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END,
               CASE WHEN rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END,
               CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
               CASE WHEN rolreplication THEN 'REPLICATION' ELSE 'NOREPLICATION' END,
               CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END,
               'CONNECTION LIMIT', rolconnlimit, 'VALID UNTIL', quote_literal(until)) AS value, '' AS grantors
          FROM r
        UNION ALL SELECT 'password', rolname::text, '', coalesce(rolpassword, ''), '' FROM r
        UNION ALL
        SELECT 'comment', rolname::text, '', shobj_description(oid, 'pg_authid'), ''
          FROM r WHERE shobj_description(oid, 'pg_authid') IS NOT NULL
        UNION ALL
        SELECT 'member', g.rolname::text, u.rolname::text, {OPTIONS}, string_agg(DISTINCT quote_ident(w.rolname), ',')
          FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_authid g ON g.oid = m.roleid
               JOIN pg_catalog.pg_authid u ON u.oid = m.member LEFT JOIN pg_catalog.pg_authid w ON w.oid = m.grantor
         WHERE u.rolname !~ '^pg_' GROUP BY 1, 2, 3
        UNION ALL
        SELECT CASE WHEN s.setdatabase = 0 THEN 'setting' ELSE 'database setting' END, coalesce(a.rolname::text, ''),
               split_part(c, '=', 1), substr(c, strpos(c, '=') + 1), ''
          FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_authid a ON a.oid = s.setrole, unnest(s.setconfig) AS c
         WHERE s.setdatabase = 0
            OR s.setrole <> 0 AND s.setdatabase = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
        UNION ALL
        SELECT 'database right', coalesce(a.rolname::text, ''), x.privilege_type, bool_or(x.is_grantable)::text, ''
          FROM pg_catalog.pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS x
               LEFT JOIN pg_catalog.pg_authid a ON a.oid = x.grantee
         WHERE d.datname = current_database() AND x.grantee <> d.datdba AND (x.grantee = 0 OR a.oid IS NOT NULL)
         GROUP BY 1, 2, 3
        UNION ALL
        SELECT 'parameter right', coalesce(a.rolname::text, ''), x.privilege_type || ' ON PARAMETER ' || quote_ident(p.parname),
               bool_or(x.is_grantable)::text, ''
          FROM pg_catalog.pg_parameter_acl p, aclexplode(p.paracl) AS x LEFT JOIN pg_catalog.pg_authid a ON a.oid = x.grantee
         WHERE x.grantee <> 10 AND (x.grantee = 0 OR a.oid IS NOT NULL) GROUP BY 1, 2, 3
        ORDER BY 1, 2, 3"
    )
}
