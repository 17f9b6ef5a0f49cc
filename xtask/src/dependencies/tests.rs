use super::*;

const POLICY: &str = r#"
[licenses]
allow = ["MIT", "Apache-2.0", "Unicode-3.0"]
[bans]
multiple-versions = "deny"
skip = [{ crate = "old@1.0.0", reason = "a test" }]
[sources]
allow-registry = ["https://example.org/index"]
"#;

const REGISTRY: Option<&str> = Some("registry+https://example.org/index");

fn package(name: &str, version: &str, license: &str, source: Option<&str>) -> Package {
    Package {
        id: format!("{name}#{version}"),
        name: name.to_owned(),
        version: version.to_owned(),
        license: Some(license.to_owned()),
        source: source.map(str::to_owned),
        manifest_path: PathBuf::new(),
        dependencies: Vec::new(),
    }
}

/// Returns the violations of these packages, in addition to two versions of a package for which that is allowed.
fn faults(packages: Vec<Package>) -> Vec<String> {
    let old = ["1.0.0", "2.0.0"].map(|version| package("old", version, "MIT", REGISTRY));
    let packages = packages.into_iter().chain(old).collect();
    let metadata = Metadata { packages, workspace_members: vec!["own#1.0.0".to_owned()] };
    Policy::parse(POLICY).unwrap().faults(&metadata)
}

fn license(license: &str) -> Vec<String> {
    faults(vec![package("it", "1.0.0", license, REGISTRY)])
}

#[test]
fn licenses_must_be_allowed() {
    for good in ["MIT", "GPL-3.0-only OR MIT", "GPL-2.0/MIT", "(MIT OR ISC) AND Unicode-3.0"] {
        assert_eq!(license(good), Vec::<String>::new(), "{good}");
    }
    for bad in ["GPL-3.0-only", "MIT AND ISC", "Apache-2.0 WITH LLVM-exception"] {
        assert_eq!(license(bad), [format!("it 1.0.0: license \"{bad}\" is not allowed")]);
    }
    assert!(license("nonsense")[0].contains("invalid license"));
    let silent = Package { license: None, ..package("it", "1.0.0", "", REGISTRY) };
    assert_eq!(faults(vec![silent]), ["it 1.0.0: no license specified"]);
}

#[test]
fn sources_must_be_allowed() {
    assert_eq!(faults(vec![package("own", "1.0.0", "MIT", None)]), Vec::<String>::new());
    for (source, shown) in [
        (Some("git+https://example.org/it"), "git+https://example.org/it"),
        (Some("registry+https://example.com/index"), "registry+https://example.com/index"),
        (None, "a folder outside of the workspace"),
    ] {
        let found = faults(vec![package("it", "1.0.0", "MIT", source)]);
        assert_eq!(found, [format!("it 1.0.0: comes from {shown}")]);
    }
}

#[test]
fn versions_must_be_one_or_skipped() {
    let twice = ["1.0.0", "2.0.0"].map(|version| package("it", version, "MIT", REGISTRY));
    assert_eq!(faults(twice.into()), ["it: multiple versions 1.0.0, 2.0.0"]);
    let thrice = faults(vec![package("old", "3.0.0", "MIT", REGISTRY)]);
    assert_eq!(thrice, ["old: multiple versions 3.0.0, 1.0.0, 2.0.0"]);
}

#[test]
fn skips_must_be_needed() {
    let packages = vec![package("old", "1.0.0", "MIT", REGISTRY)];
    let metadata = Metadata { packages, workspace_members: Vec::new() };
    let found = Policy::parse(POLICY).unwrap().faults(&metadata);
    assert_eq!(found, ["deny.toml: skip of old@1.0.0 is unnecessary"]);
}

#[test]
fn dependencies_must_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let src = dir.path().join("src");
    std::fs::create_dir(&src).unwrap();
    let text = "//! said::once\nuse whole;\nuse crate::inner::x;\n/// told::twice\n\
                fn f(arg: two_words::T) { let plain = \"text::t\"; m!(in_macro::x(plain)); }";
    std::fs::write(src.join("lib.rs"), text).unwrap();
    let names =
        ["whole", "two-words", "in_macro", "inner", "plain", "said", "told", "text", "other"];
    let mut dependencies: Vec<Dependency> =
        names.map(|name| Dependency { name: name.to_owned(), rename: None }).into();
    let renamed = Dependency { name: "other".to_owned(), rename: Some("whole".to_owned()) };
    dependencies.push(renamed);
    let manifest_path = dir.path().join("Cargo.toml");
    let package = Package { dependencies, manifest_path, ..package("it", "1.0.0", "MIT", None) };
    let unused = ["inner", "plain", "said", "told", "text", "other"];
    let expected = unused.map(|name| format!("it: dependency {name} is not used"));
    assert_eq!(unused::faults(&package).unwrap(), expected);
}
