//! The objects named in a statement, for statements that do not report touched objects to the object access hook, or
//! before anything is done.

use crate::pg::catalog::object::{self, Object};
use crate::pg::tree::list;
use crate::pg::tree::parse_nodes;
use crate::pg::tree::statement::Statement;
use pgrx::pg_sys::{self, GrantTargetType, InvalidOid, NodeTag, ObjectType, Oid};

/// The objects of a GRANT or REVOKE.
pub enum Granted {
    /// These objects.
    Objects(Vec<Object>),
    /// Every table or sequence in these schemas.
    RelationsIn(Vec<Oid>),
    /// Every function in these schemas.
    RoutinesIn(Vec<Oid>),
    /// The databases with these names.
    Databases(Vec<String>),
    /// Objects of the whole cluster: roles, languages, foreign servers, parameters.
    Everywhere,
    /// Objects of this server: tablespaces, large objects.
    Server,
}

impl Statement {
    /// The objects named in DROP, COMMENT, SECURITY LABEL, ALTER TABLE and ALTER … DEPENDS ON, without missing ones.
    pub fn named(&self) -> Vec<Object> {
        // SAFETY: the tag says what the node is.
        unsafe {
            match self.tag() {
                NodeTag::T_CommentStmt => {
                    let node = self.node::<pg_sys::CommentStmt>();
                    address((*node).objtype, (*node).object, pg_sys::ShareUpdateExclusiveLock)
                        .into_iter()
                        .collect()
                }
                NodeTag::T_SecLabelStmt => {
                    let node = self.node::<pg_sys::SecLabelStmt>();
                    address((*node).objtype, (*node).object, pg_sys::ShareUpdateExclusiveLock)
                        .into_iter()
                        .collect()
                }
                NodeTag::T_AlterObjectDependsStmt => {
                    let node = self.node::<pg_sys::AlterObjectDependsStmt>();
                    match (*node).relation.is_null() {
                        true => {
                            address((*node).objectType, (*node).object, pg_sys::AccessExclusiveLock)
                                .into_iter()
                                .collect()
                        }
                        false => relation((*node).relation).into_iter().collect(),
                    }
                }
                NodeTag::T_AlterTableStmt => {
                    relation((*self.node::<pg_sys::AlterTableStmt>()).relation)
                        .into_iter()
                        .collect()
                }
                NodeTag::T_DropStmt => {
                    let node = self.node::<pg_sys::DropStmt>();
                    let names = list::iter((*node).objects);
                    let kind = (*node).removeType;
                    names.filter_map(|name| dropped(kind, name)).collect()
                }
                _ => Vec::new(),
            }
        }
    }

    /// The relations in LIKE, INHERITS and PARTITION OF clauses of CREATE TABLE.
    pub fn models(&self) -> Vec<Object> {
        self.parents().into_iter().chain(self.liked()).collect()
    }

    /// The relations in INHERITS and PARTITION OF clauses of CREATE TABLE.
    pub fn parents(&self) -> Vec<Object> {
        if self.tag() != NodeTag::T_CreateStmt {
            return Vec::new();
        }
        let node = self.node::<pg_sys::CreateStmt>();
        // SAFETY: the tag says what the node is, and so what its list holds.
        unsafe { list::iter((*node).inhRelations).filter_map(|name| relation(name)).collect() }
    }

    /// The relations in LIKE clauses of CREATE TABLE.
    pub fn liked(&self) -> Vec<Object> {
        if self.tag() != NodeTag::T_CreateStmt {
            return Vec::new();
        }
        let node = self.node::<pg_sys::CreateStmt>();
        // SAFETY: the tag says what the node is, and so what its list holds.
        unsafe {
            list::iter::<pg_sys::Node>((*node).tableElts)
                .filter(|element| (**element).type_ == NodeTag::T_TableLikeClause)
                .map(|element| (*element.cast::<pg_sys::TableLikeClause>()).relation)
                .filter_map(|name| relation(name))
                .collect()
        }
    }

    /// The columns that ALTER TABLE adds, or to which it gives another default.
    pub fn columns_with_new_defaults(&self) -> Vec<String> {
        if self.tag() != NodeTag::T_AlterTableStmt {
            return Vec::new();
        }
        let node = self.node::<pg_sys::AlterTableStmt>();
        // SAFETY: the tag says what the node is; its commands are AlterTableCmd nodes, and ADD COLUMN has a ColumnDef.
        unsafe {
            list::iter::<pg_sys::AlterTableCmd>((*node).cmds)
                .filter_map(|command| match (*command).subtype {
                    pg_sys::AlterTableType::AT_AddColumn => {
                        parse_nodes::text((*(*command).def.cast::<pg_sys::ColumnDef>()).colname)
                    }
                    pg_sys::AlterTableType::AT_ColumnDefault => parse_nodes::text((*command).name),
                    _ => None,
                })
                .collect()
        }
    }

    /// The tables and schemas that CREATE or ALTER PUBLICATION publishes.
    pub fn published(&self) -> Vec<Object> {
        // SAFETY: the tag says what the node is, and so what its list holds.
        unsafe {
            let objects = match self.tag() {
                NodeTag::T_CreatePublicationStmt => {
                    (*self.node::<pg_sys::CreatePublicationStmt>()).pubobjects
                }
                NodeTag::T_AlterPublicationStmt => {
                    (*self.node::<pg_sys::AlterPublicationStmt>()).pubobjects
                }
                _ => return Vec::new(),
            };
            let object = |object: *mut pg_sys::PublicationObjSpec| {
                if (*object).pubtable.is_null() {
                    let schema = parse_nodes::text((*object).name)?;
                    return crate::pg::session::namespace(&schema).map(object::of_schema);
                }
                relation((*(*object).pubtable).relation)
            };
            list::iter(objects).filter_map(object).collect()
        }
    }

    /// The object moved by ALTER … SET SCHEMA, and its new schema.
    pub fn set_schema(&self) -> Option<(Object, String)> {
        if self.tag() != NodeTag::T_AlterObjectSchemaStmt {
            return None;
        }
        let node = self.node::<pg_sys::AlterObjectSchemaStmt>();
        // SAFETY: the tag says what the node is.
        unsafe {
            let moved = match (*node).relation.is_null() {
                false => relation((*node).relation),
                true if (*node).objectType == ObjectType::OBJECT_EXTENSION => None,
                true => address((*node).objectType, (*node).object, pg_sys::AccessExclusiveLock),
            };
            moved.zip(parse_nodes::text((*node).newschema))
        }
    }

    /// The unqualified name of CREATE TRIGGER's function.
    pub fn trigger_function(&self) -> Option<String> {
        if self.tag() != NodeTag::T_CreateTrigStmt {
            return None;
        }
        // SAFETY: the tag says what the node is.
        unsafe {
            let names =
                list::members::<pg_sys::Node>((*self.node::<pg_sys::CreateTrigStmt>()).funcname);
            parse_nodes::string(*names.last()?)
        }
    }

    /// The object added by ALTER EXTENSION … ADD.
    pub fn new_extension_member(&self) -> Option<Object> {
        if self.tag() != NodeTag::T_AlterExtensionContentsStmt {
            return None;
        }
        let node = self.node::<pg_sys::AlterExtensionContentsStmt>();
        // SAFETY: the tag says what the node is.
        unsafe {
            let adds = (*node).action > 0;
            let lock = pg_sys::ShareUpdateExclusiveLock;
            adds.then(|| address((*node).objtype, (*node).object, lock)).flatten()
        }
    }

    /// The new schema in ALTER … SET SCHEMA.
    pub fn new_schema(&self) -> Option<String> {
        if self.tag() != NodeTag::T_AlterObjectSchemaStmt {
            return None;
        }
        // SAFETY: the tag says what the node is.
        unsafe { parse_nodes::text((*self.node::<pg_sys::AlterObjectSchemaStmt>()).newschema) }
    }

    /// Whether it is an ALTER EXTENSION … UPDATE of this one.
    pub fn alters_extension(&self, extension: &str) -> bool {
        if self.tag() != NodeTag::T_AlterExtensionStmt {
            return false;
        }
        // SAFETY: the tag says what the node is.
        unsafe {
            let name = (*self.node::<pg_sys::AlterExtensionStmt>()).extname;
            parse_nodes::text(name).as_deref() == Some(extension)
        }
    }

    /// Whether it is a DROP EXTENSION of this one.
    pub fn drops_extension(&self, extension: &str) -> bool {
        if self.tag() != NodeTag::T_DropStmt {
            return false;
        }
        let node = self.node::<pg_sys::DropStmt>();
        // SAFETY: the tag says what the node is; extensions are dropped by String nodes.
        unsafe {
            (*node).removeType == ObjectType::OBJECT_EXTENSION
                && list::iter((*node).objects)
                    .any(|name| parse_nodes::string(name).as_deref() == Some(extension))
        }
    }

    /// The existing roles listed in DROP OWNED; None for other statements.
    pub fn drops_owned(&self) -> Option<Vec<pg_sys::Oid>> {
        if self.tag() != NodeTag::T_DropOwnedStmt {
            return None;
        }
        let node = self.node::<pg_sys::DropOwnedStmt>();
        // SAFETY: the tag says what the node is; its roles are role specifications.
        let roles = unsafe { list::members::<pg_sys::RoleSpec>((*node).roles) };
        // SAFETY: as above; does a syscache lookup.
        Some(
            roles.into_iter().map(|role| unsafe { pg_sys::get_rolespec_oid(role, true) }).collect(),
        )
    }

    /// The objects of a GRANT or REVOKE on objects; None for other statements.
    pub fn granted(&self) -> Option<Granted> {
        if self.tag() != NodeTag::T_GrantStmt {
            return None;
        }
        let node = self.node::<pg_sys::GrantStmt>();
        // SAFETY: the tag says what the node is; what its objects are follows from their type.
        unsafe {
            let objects = list::members::<pg_sys::Node>((*node).objects);
            let names = || objects.iter().filter_map(|&name| parse_nodes::string(name));
            if (*node).targtype == GrantTargetType::ACL_TARGET_ALL_IN_SCHEMA {
                let schemas =
                    names().filter_map(|name| crate::pg::session::namespace(&name)).collect();
                return Some(match (*node).objtype {
                    ObjectType::OBJECT_TABLE | ObjectType::OBJECT_SEQUENCE => {
                        Granted::RelationsIn(schemas)
                    }
                    _ => Granted::RoutinesIn(schemas),
                });
            }
            Some(match (*node).objtype {
                ObjectType::OBJECT_TABLE | ObjectType::OBJECT_SEQUENCE => {
                    let relations = objects.iter().filter_map(|name| relation(name.cast()));
                    Granted::Objects(relations.collect())
                }
                ObjectType::OBJECT_SCHEMA => {
                    let schemas = names().filter_map(|name| crate::pg::session::namespace(&name));
                    Granted::Objects(schemas.map(object::of_schema).collect())
                }
                ObjectType::OBJECT_DATABASE => Granted::Databases(names().collect()),
                ObjectType::OBJECT_TABLESPACE | ObjectType::OBJECT_LARGEOBJECT => Granted::Server,
                kind @ (ObjectType::OBJECT_FUNCTION
                | ObjectType::OBJECT_PROCEDURE
                | ObjectType::OBJECT_ROUTINE) => Granted::Objects(
                    objects
                        .iter()
                        .filter_map(|&name| address(kind, name, pg_sys::AccessShareLock))
                        .collect(),
                ),
                ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN => {
                    let types = objects.iter().filter_map(|name| data_type(name.cast()));
                    Granted::Objects(types.collect())
                }
                _ => Granted::Everywhere,
            })
        }
    }
}

/// # Safety
/// `name` is what DROP has for an object of this kind.
unsafe fn dropped(kind: ObjectType::Type, name: *mut pg_sys::Node) -> Option<Object> {
    // SAFETY: by the caller's promise; relations are named by lists, and are locked only by the statement, after it has
    // checked permissions.
    unsafe {
        match kind {
            ObjectType::OBJECT_TABLE
            | ObjectType::OBJECT_VIEW
            | ObjectType::OBJECT_MATVIEW
            | ObjectType::OBJECT_INDEX
            | ObjectType::OBJECT_SEQUENCE
            | ObjectType::OBJECT_FOREIGN_TABLE => {
                relation(pg_sys::makeRangeVarFromNameList(name.cast()))
            }
            _ => address(kind, name, pg_sys::AccessExclusiveLock),
        }
    }
}

/// # Safety
/// A valid list member of the kind that names a type.
unsafe fn data_type(name: *mut pg_sys::List) -> Option<Object> {
    // SAFETY: by the caller's promise; the type is looked up without raising an error.
    unsafe {
        let name = pg_sys::makeTypeNameFromNameList(name);
        let oid = pg_sys::LookupTypeNameOid(std::ptr::null_mut(), name, true);
        (oid != InvalidOid).then_some(Object { class: pg_sys::TypeRelationId, id: oid })
    }
}

/// # Safety
/// A valid RangeVar.
unsafe fn relation(name: *mut pg_sys::RangeVar) -> Option<Object> {
    // SAFETY: by the caller's promise.
    unsafe { parse_nodes::relation(name) }.map(object::of_relation)
}

/// # Safety
/// `name` is what the grammar makes of the name of an object of this kind. `lock` is the one that the statement itself
/// takes: a weaker one first would make two such statements wait for each other.
unsafe fn address(kind: ObjectType::Type, name: *mut pg_sys::Node, lock: u32) -> Option<Object> {
    let mut relation: pg_sys::Relation = std::ptr::null_mut();
    // SAFETY: by the caller's promise; the relation that the object is a part of is closed again, its lock stays, as it does
    // in the statement itself.
    unsafe {
        let lock = lock as pg_sys::LOCKMODE;
        // ALTER … SET SCHEMA has the bare name of a type where other statements have a TypeName.
        let is_type = matches!(kind, ObjectType::OBJECT_TYPE | ObjectType::OBJECT_DOMAIN);
        let name = match is_type && (*name).type_ == NodeTag::T_List {
            true => pg_sys::makeTypeNameFromNameList(name.cast()).cast(),
            false => name,
        };
        let address = pg_sys::get_object_address(kind, name, &mut relation, lock, true);
        if !relation.is_null() {
            pg_sys::relation_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
        let found = Object { class: address.classId, id: address.objectId };
        (found.id != InvalidOid).then_some(found)
    }
}
