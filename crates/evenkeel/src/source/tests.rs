use std::os::unix::fs::symlink;

use evenkeel_testkit::TempDir;

use super::*;

const POOL: &str = "[pool.app]\ntargets = [\"10.0.0.1:80\"]\n";
const LISTENER: &str = "[listener.web]\nbind = \":8080\"\nprotocol = \"http\"\npool = \"app\"\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    dir
}

fn included(dir: &TempDir, pattern: &str) -> Result<Vec<String>, String> {
    let files = Files::beside(&dir.path().join("evenkeel.toml")).include(pattern)?;
    let base = format!("{}/", dir.path().display());
    Ok(files.into_iter().map(|(name, _)| name.strip_prefix(&base).unwrap().to_owned()).collect())
}

#[test]
fn patterns_match_as_shells_do() {
    for (pattern, name) in [
        ("*", ""),
        ("*", "a"),
        ("*.toml", "a.toml"),
        ("*.toml", ".toml.toml"),
        ("a*b*c", "aXXbYYbZc"),
        ("**", "ab"),
        ("a", "a"),
        ("", ""),
        ("*ä*", "xäy"),
    ] {
        assert!(matches(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("*.toml", "a.toml~"),
        ("*.toml", "toml"),
        ("a*b", "a"),
        ("", "a"),
        ("a", ""),
        ("a?", "ab"),
        ("*a", "ab"),
    ] {
        assert!(!matches(pattern, name), "{pattern} {name}");
    }
    // A matcher that tries every star would not come back.
    assert!(!matches(&format!("{}c", "a*".repeat(60)), &"a".repeat(250)));
}

#[test]
fn a_pattern_finds_files_sorted_and_leaves_hidden_ones_and_folders_out() {
    let dir = folder(&[
        ("conf.d/b.toml", "1"),
        ("conf.d/a.toml", "2"),
        ("conf.d/.#a.toml", "3"),
        ("conf.d/c.toml~", "4"),
        ("conf.d/d.toml/x", "5"),
    ]);
    assert_eq!(included(&dir, "conf.d/*.toml").unwrap(), ["conf.d/a.toml", "conf.d/b.toml"]);
    assert_eq!(included(&dir, "conf.d/.*.toml").unwrap(), ["conf.d/.#a.toml"]);
    assert_eq!(included(&dir, "conf.d/b.toml").unwrap(), ["conf.d/b.toml"]);
    let absolute = format!("{}/conf.d/*~", dir.path().display());
    assert_eq!(included(&dir, &absolute).unwrap(), ["conf.d/c.toml~"]);
    for nothing in ["conf.d/*.yaml", "nowhere/*.toml", "nowhere.toml"] {
        assert_eq!(included(&dir, nothing).unwrap(), [""; 0], "{nothing}");
    }
}

#[test]
fn what_cannot_be_included_says_why() {
    let dir = folder(&[("a.toml", "1"), ("latin.toml", "")]);
    std::fs::write(dir.path().join("latin.toml"), b"# \xe4\n").unwrap();
    symlink("gone", dir.path().join("link.toml")).unwrap();
    let error = |pattern| included(&dir, pattern).unwrap_err();
    assert!(error("*/a.toml").contains("only in the last part"));
    assert!(error("a?.toml").contains("only '*'"));
    assert!(error("latin.toml").contains("latin.toml: it is not UTF-8 text"));
    assert!(error("l*k.toml").contains("link.toml: no such file"));
    assert!(error(".").contains("is a directory"));
}

#[test]
fn a_file_that_two_patterns_reach_has_one_name() {
    let dir = folder(&[("evenkeel.toml", "x"), ("conf.d/a.toml", "1")]);
    symlink("conf.d", dir.path().join("link.d")).unwrap();
    let files = Files::beside(&dir.path().join("evenkeel.toml"));
    let first = files.include("conf.d/*.toml").unwrap();
    assert_eq!(files.include("link.d/*.toml").unwrap(), first);
    assert_eq!(files.include("./conf.d/a.toml").unwrap(), first);
    let own = files.include("./*.toml").unwrap();
    assert_eq!(own[0].0, dir.path().join("evenkeel.toml").display().to_string());
}

#[test]
fn a_file_with_includes_and_a_secret_loads() {
    let main = format!(
        "include = [\"conf.d/*.toml\", \"./*.toml\"]\n[admin]\nbind = \":0\"\ntoken = {{ file = \"secrets/token\" }}\n{LISTENER}"
    );
    let dir = folder(&[("evenkeel.toml", &main), ("conf.d/app.toml", POOL), ("secrets/token", "s3cret\n")]);
    let path = dir.path().join("evenkeel.toml");
    let config = load_file(&path).unwrap();
    assert!(config.pool("app").is_some());
    assert_eq!(config.admin.as_ref().unwrap().token.as_ref().unwrap().0, "s3cret");
    let mut files = included_by(&path).files;
    files.dedup();
    assert!(files.contains(&dir.path().join("conf.d/app.toml")), "{files:?}");
}

#[test]
fn included_files_are_told_although_there_are_problems() {
    let dir = folder(&[("evenkeel.toml", "include = \"a.toml\"\nnonsense = 1\n"), ("a.toml", "also = 1\n")]);
    let path = dir.path().join("evenkeel.toml");
    assert!(matches!(load_file(&path), Err(LoadError::Problems(_))));
    assert_eq!(included_by(&path).files, [dir.path().join("a.toml")]);
    assert!(included_by(Path::new("/nowhere/evenkeel.toml")).files.is_empty());
}

#[test]
fn a_secret_loses_one_end_of_line() {
    let dir = folder(&[("a", "x\n"), ("b", "x\r\n"), ("c", "x"), ("d", "x\n\n")]);
    let files = Files::beside(&dir.path().join("evenkeel.toml"));
    let secret = |name| files.secret_file(name).unwrap();
    assert_eq!([secret("a"), secret("b"), secret("c"), secret("d")], ["x", "x", "x", "x\n"]);
    assert_eq!(files.secret_file("e").unwrap_err(), "no such file");
    assert!(files.secret_file("/dev/zero").unwrap_err().contains("larger than 64 KiB"));
}

#[test]
fn variables_are_read_and_odd_names_do_no_harm() {
    let files = Files::beside(Path::new("x"));
    assert_eq!(files.env("PATH"), std::env::var("PATH").ok());
    for odd in ["", "A=B", "A\0B", "EVENKEEL_SURELY_UNSET"] {
        assert_eq!(files.env(odd), None, "{odd:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load_file(Path::new("/nowhere/evenkeel.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration /nowhere/evenkeel.toml: no such file");
}
