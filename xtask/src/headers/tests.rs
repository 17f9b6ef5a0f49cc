use super::*;

fn prototypes(rust: &str, major: u32) -> Vec<String> {
    let found = prototypes::of_source(&format!("extern \"C\" {{ {rust} }}"), major).unwrap();
    found.into_iter().map(|prototype| prototype.text).collect()
}

#[test]
fn declarations_become_prototypes() {
    let rust = "fn f(text: *const c_char, n: usize) -> *mut pg_sys::List; fn g() -> !; \
                fn h(kind: pg_sys::CommandDest::Type, call: Option<unsafe extern \"C\" fn(u8) -> bool>); \
                static S: *const pg_sys::TupleTableSlotOps;";
    let expected = [
        "List *(f)(char *, size_t)",
        "void (g)(void)",
        "void (h)(CommandDest, bool (*)(unsigned char))",
        "TupleTableSlotOps *(S)",
    ];
    assert_eq!(prototypes(rust, 15), expected);
}

#[test]
fn conditions_choose_what_a_version_has() {
    let rust = "#[cfg(not(any(feature = \"pg17\", feature = \"pg18\")))] fn old(); \
                #[cfg(any(feature = \"pg17\", feature = \"pg18\"))] fn new(); \
                #[cfg_attr(not(feature = \"pg15\"), link_name = \"walker_impl\")] fn walker();";
    assert_eq!(prototypes(rust, 15), ["void (old)(void)", "void (walker)(void)"]);
    assert_eq!(prototypes(rust, 18), ["void (new)(void)", "void (walker_impl)(void)"]);
}

/// What the compiler says of these declarations to a server whose only header is this.
fn compared(header: &str, rust: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("postgres.h"), format!("#include <stdbool.h>\n{header}")).unwrap();
    fs::write(dir.path().join("fmgr.h"), "").unwrap();
    let found = prototypes::of_source(&format!("extern \"C\" {{\n{rust}\n}}"), 15).unwrap();
    compile(dir.path(), &unit(&BTreeMap::from([("src/pg/x.rs".to_owned(), found)]))).unwrap()
}

#[test]
fn differences_are_found_at_their_place() {
    let header = "extern bool f(const char *text, int n);\n#define f(text) nothing\n";
    assert_eq!(compared(header, "fn f(text: *const c_char, n: c_int) -> bool;"), "");
    for rust in [
        "fn f(text: *const c_char) -> bool;",
        "fn f(text: *const c_char, n: i64) -> bool;",
        "fn f(text: *const c_char, n: c_int) -> c_int;",
        "fn gone();",
    ] {
        let said = compared(header, rust);
        assert!(said.contains("src/pg/x.rs:2:"), "{rust}: {said}");
    }
}
