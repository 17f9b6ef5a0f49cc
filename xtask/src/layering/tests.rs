use super::*;

/// Creates a crate with these files below `src`; the first is the root.
fn crate_of(files: &[(&str, &str)]) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let sources = Sources::read(dir.path()).unwrap();
    (dir, sources)
}

fn found(files: &[(&str, &str)]) -> Vec<String> {
    violations(&crate_of(files).1)
}

/// Creates a crate with the rooms `api`, `remote` and `pg`, with the given code in each, and returns the violations.
fn rooms(api: &str, remote: &str, pg: &str) -> Vec<String> {
    let root = "mod api; mod pg; mod remote; mod error;";
    found(&[
        ("lib.rs", root),
        ("api.rs", &format!("pub struct Api; {api}")),
        ("remote/mod.rs", &format!("mod session; pub use session::Session; {remote}")),
        ("remote/session.rs", "pub struct Session;"),
        ("pg/mod.rs", &format!("pub mod lock; {pg}")),
        ("pg/lock.rs", "pub fn take() {}"),
        ("error.rs", "pub struct Error;"),
    ])
}

#[test]
fn arrows_downward_are_allowed() {
    let api =
        "use crate::{pg::{self, lock}, remote::Session}; fn f() { lock::take(); pg::lock::take() }";
    let remote = "use crate::error::Error;";
    assert_eq!(rooms(api, remote, "use super::error::Error;"), [""; 0]);
}

#[test]
fn upward_arrows_are_found() {
    let up = |line: &str, path: &str| {
        vec![format!("upward: src/pg/mod.rs uses src/api.rs: {path} in line {line}")]
    };
    assert_eq!(rooms("", "", "\nuse crate::api::Api;"), up("2", "crate::api::Api"));
    assert_eq!(rooms("", "", "use crate::{error::Error, api::Api};"), up("1", "crate::api::Api"));
    assert_eq!(rooms("", "", "\n\nfn f() { super::api::Api.g() }"), up("3", "super::api::Api"));
    assert_eq!(rooms("", "", "fn f() { g!(1, crate::api::Api) }"), up("1", "crate::api::Api"));
    assert_eq!(rooms("", "", "fn f() { use crate::api::*; }"), [""; 0], "nothing of it is named");
    let imported = rooms("", "", "use crate::api; fn f(_: api::Api) {}");
    assert_eq!(imported, up("1", "api::Api"));
}

#[test]
fn reexports_lead_to_the_defining_file() {
    let found = rooms("", "", "use crate::remote::Session;");
    let expected =
        "upward: src/pg/mod.rs uses src/remote/session.rs: crate::remote::Session in line 1";
    assert_eq!(found, [expected]);
    let found = rooms("", "", "use crate::remote::*; fn f(_: Session) {}");
    assert_eq!(found, ["upward: src/pg/mod.rs uses src/remote/session.rs: Session in line 1"]);
}

#[test]
fn comments_strings_and_tests_do_not_count() {
    let text = "// use crate::api::Api;\nconst A: &str = \"crate::api::Api unsafe\"; /* unsafe */\n\
                #[cfg(test)] mod tests { use crate::api::Api; }\n#[cfg(test)] use crate::api::Api;\n\
                const B: &str = r#\"unsafe \" crate::api\"#;";
    assert_eq!(rooms("", text, ""), [""; 0]);
}

#[test]
fn circles_are_found_with_what_ties_them() {
    let files = |first: &'static str| {
        [
            ("lib.rs", "mod ddl;"),
            ("ddl/mod.rs", "mod a; mod b; pub use a::A; pub fn run() {}"),
            ("ddl/a.rs", first),
            ("ddl/b.rs", "use super::A;"),
        ]
    };
    assert_eq!(found(&files("pub struct A;")), [""; 0]);
    let found = found(&files("pub struct A; fn f() { super::b::g() }"));
    let expected = "cyclic dependency of 2 files:\n    src/ddl/a.rs uses src/ddl/b.rs: super::b::g in line 1\n    \
                    src/ddl/b.rs uses src/ddl/a.rs: super::A in line 1";
    assert_eq!(found, [expected]);
}

#[test]
fn module_that_runs_its_children_is_in_a_circle_with_those_that_use_it() {
    let files = |root: &'static str| {
        [
            ("lib.rs", "mod ddl;"),
            ("ddl/mod.rs", root),
            ("ddl/a.rs", "use super::Plan; pub fn run(_: Plan) {}"),
        ]
    };
    assert_eq!(found(&files("mod a; pub use a::run; pub struct Plan;")), [""; 0]);
    assert_eq!(found(&files("mod a; pub struct Plan; fn f() { a::run(Plan) }")).len(), 1);
}

#[test]
fn unsafe_outside_its_room_is_found() {
    let call = "fn f() {\n    unsafe { g() }\n}\nmacro_rules! m { () => { unsafe { g() } } }";
    let seen = rooms("", call, call);
    let at = |line| format!("src/remote/mod.rs:{line}: unsafe outside src/pg");
    assert_eq!(seen, [at(2), at(4)]);
    assert_eq!(found(&[("lib.rs", "#![deny(unsafe_code)]")]), [""; 0]);
}

#[test]
fn long_files_and_strange_rooms_are_found() {
    assert_eq!(rooms(&"\n".repeat(421), "", ""), ["src/api.rs: 421 lines, maximum is 420"]);
    let found = found(&[("lib.rs", "mod cellar;"), ("cellar.rs", "")]);
    assert_eq!(found, ["src/cellar.rs: \"cellar\" is not a room"]);
}

#[test]
fn unused_items_of_the_core_are_found() {
    let core = crate_of(&[
        ("lib.rs", "pub mod slot; pub mod twin;"),
        (
            "slot.rs",
            "pub struct Slot(Inner); pub struct Inner; impl Slot { pub fn of() -> Self { help() } pub fn lost() {} } fn help() {}",
        ),
        (
            "twin.rs",
            "pub struct Twin; impl Twin { pub fn find() { crate::slot::Slot::of(); } }\n#[cfg(test)] mod tests { use super::Twin; }",
        ),
    ]);
    let user = ("a.rs", "use helios_core::slot::Slot; pub fn f() { Slot::of() }");
    let other = ("b.rs", "pub struct Twin; fn find() {}");
    let extension = crate_of(&[("lib.rs", "mod a; mod b;"), user, other]);
    let found = unused::check(&core.1, &extension.1);
    let expected = |place: &str, name: &str| {
        format!("core/src/{place}: {name} is public, but not used in production code")
    };
    assert_eq!(found, [expected("slot.rs:1", "lost"), expected("twin.rs:1", "Twin")]);
}

#[test]
fn sql_on_our_tables_outside_its_room_is_found() {
    let tables = ["node", "schema"].map(str::to_owned).into();
    let sql = |catalog: &str, ddl: &str| {
        let files = [("lib.rs", "mod catalog; mod ddl;"), ("catalog.rs", catalog), ("ddl.rs", ddl)];
        catalog_sql::check(&crate_of(&files).1, &tables)
    };
    let found = |text: &str| sql("", &format!("fn f() {{ g(\n{text}) }}"));
    let at = |sql: &str| vec![format!("src/ddl.rs:2: \"{sql}\" outside src/catalog")];
    for (text, seen) in [
        (r#""SELECT name FROM helios.node""#, "FROM helios.node"),
        (r##"r#"SELECT FROM t JOIN  helios.schema s"#"##, "JOIN helios.schema"),
        (r#"format!("INSERT INTO helios.node (name) VALUES ({x})")"#, "INTO helios.node"),
        (r#"b"UPDATE helios.node SET name = $1""#, "UPDATE helios.node"),
        (r#""LOCK TABLE helios.node""#, "TABLE helios.node"),
        (r#""DELETE FROM ONLY helios.node""#, "ONLY helios.node"),
        ("\"a FROM \\\n     helios.node\"", "FROM helios.node"),
        (r#"format!("SELECT FROM helios.{table}")"#, "FROM helios."),
        (r#"x.hint("Run: UPDATE helios.node SET name = 'a'")"#, "UPDATE helios.node"),
    ] {
        assert_eq!(found(text), at(seen), "{text}");
    }
    for text in [
        r#""SELECT helios.pull_rows() FROM helios.pull_rows(1)""#,
        r#""its addresses in helios.node; insert it into helios.node""#,
        r#""SELECT FROM helios.nodes, other_helios.node, pg_class""#,
    ] {
        assert_eq!(found(text), [""; 0], "{text}");
    }
    for item in [
        "// FROM helios.node\nfn f() {}",
        "/// FROM helios.node\nfn f() {}",
        r#"#![doc = "FROM helios.node"]"#,
    ] {
        assert_eq!(sql("", item), [""; 0], "{item}");
    }
    assert_eq!(sql(r#"const A: &str = "FROM helios.node";"#, "//! FROM helios.node"), [""; 0]);
}

#[test]
fn the_tables_are_those_of_the_scripts() {
    let install = testkit::paths::workspace().join("sql/install");
    let tables = catalog_sql::tables(&install).unwrap();
    assert!(["cluster", "node", "migration_marker"].iter().all(|name| tables.contains(*name)));
}
