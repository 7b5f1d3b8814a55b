//! What an input holds, compared with what `git` says.

use std::collections::BTreeMap;

use base_json::Digest;
use roadstead_source::{Limits, Snapshot};

use crate::support::{World, git_bytes, refused};

/// Reads a commit's files with `git` itself.
fn oracle(world: &World, commit: &str) -> BTreeMap<String, (bool, Vec<u8>)> {
    let listing = git_bytes(&world.repo(), &["ls-tree", "-r", "-z", commit]);
    let listing = String::from_utf8(listing).unwrap();
    listing
        .split_terminator('\0')
        .map(|line| {
            let (meta, path) = line.split_once('\t').unwrap();
            let mut meta = meta.split(' ');
            let mode = meta.next().unwrap();
            let id = meta.nth(1).unwrap();
            let content = git_bytes(&world.repo(), &["cat-file", "blob", id]);
            (path.to_owned(), (mode == "100755", content))
        })
        .collect()
}

fn agrees(world: &World, snapshot: &Snapshot) {
    let input = snapshot.input("").unwrap();
    let content = input.load().unwrap();
    let ours: BTreeMap<_, _> = input
        .files
        .iter()
        .map(|(path, blob)| {
            let bytes = content[path].to_vec();
            assert_eq!(blob.digest, Digest::of(&bytes), "{path}");
            assert_eq!(blob.size, bytes.len() as u64, "{path}");
            assert_eq!(input.read(path).unwrap(), bytes);
            (path.clone(), (blob.executable, bytes))
        })
        .collect();
    assert_eq!(ours, oracle(world, &snapshot.commit));
}

#[test]
fn odd_names_and_modes_come_out_as_git_has_them() {
    let world = World::with(&[
        ("plain", "x"),
        ("empty", ""),
        ("with space/a b.yaml", "1"),
        ("ünï/ cödé ☃.yml", "2"),
        ("quote\"s and 'these'/back\\slash", "3"),
        ("new\nline", "4"),
        ("-dash", "5"),
        (".hidden/.file", "6"),
        ("a.b/c", "7"),
        ("a/c", "8"),
        ("a-b/c", "9"),
    ]);
    world.write("binary", [0u8, 255, 10, 13, 128]);
    world.write("crlf", "a\r\nb\r\n");
    world.write(".gitattributes", "* text=auto eol=crlf ident\n");
    world.write("run.sh", "#!/bin/sh\n");
    std::process::Command::new("chmod")
        .args(["+x", "run.sh"])
        .current_dir(world.repo())
        .status()
        .unwrap();
    world.commit("more", &[]);
    agrees(&world, &world.snapshot());
}

#[test]
fn a_thousand_files() {
    let world = World::new();
    for n in 0..1000 {
        world.write(
            &format!("apps/{}/{n}.yaml", n % 37),
            format!("n: {n}\n").repeat(20),
        );
    }
    world.commit("many", &[]);
    agrees(&world, &world.snapshot());
}

#[test]
fn a_digest_changes_with_what_is_below_its_path_only() {
    let world = World::with(&[
        ("a/x", "1"),
        ("a/y", "2"),
        ("b/x", "1"),
        ("b/y", "2"),
        ("c", "3"),
    ]);
    let digests = |paths: &[&str]| -> Vec<Digest> {
        let snapshot = world.snapshot();
        paths
            .iter()
            .map(|path| snapshot.subtree_digest(path).unwrap())
            .collect()
    };
    let first = digests(&["a", "b", "", "c", "a/x"]);
    assert_eq!(first[0], first[1], "the same content below two paths");
    assert_eq!(
        first[0],
        Digest::of_value(&base_json::json!([
            ["x", false, Digest::of(b"1").to_string()],
            ["y", false, Digest::of(b"2").to_string()]
        ])),
        "the documented form"
    );
    world.commit("touch b", &[("b/x", "1!")]);
    let second = digests(&["a", "b", "", "c", "a/x"]);
    let same: Vec<bool> = first.iter().zip(&second).map(|(a, b)| a == b).collect();
    assert_eq!(same, [true, false, false, true, true]);
    world.git(&["update-index", "--chmod=+x", "a/y"]);
    world.git(&["commit", "-q", "-m", "mode"]);
    assert_ne!(digests(&["a"])[0], first[0], "the executable bit counts");
}

#[test]
fn an_input_may_be_one_file() {
    let world = World::with(&[("apps/shop.yaml", "a: 1\n")]);
    let input = world.snapshot().input("./apps//shop.yaml").unwrap();
    assert_eq!(input.path, "apps/shop.yaml");
    let files: Vec<_> = input.load().unwrap().into_iter().collect();
    assert_eq!(files, [("shop.yaml".to_owned(), "a: 1\n".into())]);
}

#[test]
fn paths_that_are_not_there() {
    let world = World::with(&[
        ("apps/shop/x.yaml", "1"),
        ("apps/cart/x.yaml", "2"),
        ("README", ""),
    ]);
    let snapshot = world.snapshot();
    let commit = &snapshot.commit;
    let leaves = |path: &str| {
        format!(
            "path {path:?} leaves the repository\nhint: write the path relative to the repository's root, without \"..\""
        )
    };
    for (path, expected) in [
        ("../x", leaves("../x")),
        ("/etc/passwd", leaves("/etc/passwd")),
        ("apps/../../x", leaves("apps/../../x")),
        (
            "app/shop",
            format!("path \"app/shop\" is not in commit {commit}\nhint: did you mean apps/shop?"),
        ),
        (
            "shop",
            format!("path \"shop\" is not in commit {commit}\nhint: did you mean apps/shop?"),
        ),
        (
            "quite/another/thing",
            format!("path \"quite/another/thing\" is not in commit {commit}"),
        ),
        (
            "README/x",
            format!("path \"README/x\" is not in commit {commit}\nhint: did you mean README?"),
        ),
    ] {
        assert_eq!(refused(snapshot.input(path)), expected, "{path}");
    }
}

#[test]
fn links_inside_the_tree_are_followed() {
    let world = World::with(&[
        ("base/a.yaml", "a"),
        ("base/deep/b.yaml", "b"),
        ("apps/shop/own.yaml", "own"),
    ]);
    world.link("../../base/a.yaml", "apps/shop/a.yaml");
    world.link("../../base", "apps/shop/base");
    world.link("shop", "apps/alias");
    world.link("../apps/shop/../../base/./deep//", "apps/chain");
    world.commit("links", &[]);
    let snapshot = world.snapshot();
    let expected = [
        ("a.yaml", "a"),
        ("base/a.yaml", "a"),
        ("base/deep/b.yaml", "b"),
        ("own.yaml", "own"),
    ];
    for path in ["apps/shop", "apps/alias"] {
        let input = snapshot.input(path).unwrap();
        let found: Vec<_> = input
            .load()
            .unwrap()
            .into_iter()
            .map(|(name, bytes)| (name, String::from_utf8(bytes.to_vec()).unwrap()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, content)| ((*name).to_owned(), (*content).to_owned()))
            .collect();
        assert_eq!(found, expected, "{path}");
    }
    assert_eq!(
        snapshot.subtree_digest("apps/shop").unwrap(),
        snapshot.subtree_digest("apps/alias").unwrap()
    );
    assert_eq!(snapshot.list("apps/chain").unwrap(), ["b.yaml"]);
    assert_eq!(
        snapshot.read_file("apps/alias/base/deep/b.yaml").unwrap(),
        "b"
    );
}

#[test]
fn links_that_leave_or_never_end_are_refused_by_name() {
    for (path, target, expected) in [
        (
            "in/x",
            "/etc/passwd",
            "symbolic link \"in/x\" leaves the repository: it points to \"/etc/passwd\"",
        ),
        (
            "in/x",
            "../../etc",
            "symbolic link \"in/x\" leaves the repository: it points to \"../../etc\"",
        ),
        (
            "in/x",
            "a/../../../repo/in/a",
            "symbolic link \"in/x\" leaves the repository",
        ),
        (
            "in/x",
            "nothing",
            "symbolic link \"in/x\" points to \"nothing\", which is not in the repository",
        ),
        (
            "in/x",
            "x",
            "symbolic link \"in/x\" never ends: it points to \"x\"",
        ),
        (
            "in/x",
            "..",
            "symbolic link \"in/x\" never ends: it points to \"..\"",
        ),
        (
            "in/x",
            ".",
            "symbolic link \"in/x\" never ends: it points to \".\"",
        ),
        (
            "in/x",
            "a/f/g",
            "symbolic link \"in/x\" points to \"a/f/g\", which is not in the repository",
        ),
    ] {
        let world = World::with(&[("in/a/f", "f"), ("other/f", "f")]);
        world.link(target, path);
        world.commit("link", &[]);
        let snapshot = world.snapshot();
        let text = refused(snapshot.input("in"));
        assert!(text.starts_with(expected), "{path} -> {target}: {text}");
        assert!(
            text.contains("\nhint: replace the link by a file"),
            "{text}"
        );
        // What does not reach the link does not suffer from it.
        snapshot.input("other").unwrap();
        snapshot.input("in/a").unwrap();
    }
}

#[test]
fn links_that_multiply_are_stopped() {
    let world = World::with(&[("l0/f", "x")]);
    for level in 1..12 {
        for n in 0..8 {
            world.link(&format!("../l{}", level - 1), &format!("l{level}/{n}"));
        }
    }
    world.commit("bomb", &[]);
    assert!(
        refused(world.snapshot().input("l11"))
            .starts_with("path \"l11\" holds more than 20000 files")
    );
}

#[test]
fn a_submodule_is_left_out_with_a_warning() {
    let world = World::with(&[("apps/x", "1")]);
    let commit = world.git(&["rev-parse", "HEAD"]);
    world.write(
        ".gitmodules",
        "[submodule \"lib\"]\n\tpath = apps/lib\n\turl = ../lib\n",
    );
    world.git(&["add", "-A"]);
    world.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{commit},apps/lib"),
    ]);
    world.git(&["commit", "-q", "-m", "submodule"]);
    let snapshot = world.snapshot();
    let input = snapshot.input("apps").unwrap();
    assert_eq!(input.files.keys().collect::<Vec<_>>(), ["x"]);
    let warning = "submodule \"apps/lib\" is not followed: its files are not part of the input";
    assert_eq!(input.warnings, [warning]);
    assert_eq!(snapshot.input("apps/lib").unwrap().warnings, [warning]);
}

#[test]
fn limits_name_what_is_too_much() {
    let world = World::with(&[
        ("a/1", "12345"),
        ("a/2", "12345"),
        ("a/3", "12345"),
        ("b/big", &"x".repeat(100)),
    ]);
    let limits = Limits {
        tree_bytes: 14,
        blob_bytes: 50,
        files: 2,
        ..Limits::default()
    };
    for (limits, path, expected) in [
        (
            limits,
            "b",
            "file \"b/big\" has 100 bytes: more than the 50 that one file may have",
        ),
        (
            limits,
            "b/big",
            "file \"b/big\" has 100 bytes: more than the 50 that one file may have",
        ),
        (limits, "a", "path \"a\" holds more than 2 files"),
        (
            Limits { files: 3, ..limits },
            "a",
            "path \"a\" holds more than 14 bytes (passed at file \"a/3\")",
        ),
    ] {
        let text = refused(world.snapshot_within(limits).input(path));
        assert_eq!(
            text,
            format!("{expected}\nhint: name a narrower path, or raise the limit")
        );
    }
    let generous = Limits {
        files: 3,
        tree_bytes: 15,
        ..limits
    };
    assert_eq!(
        world
            .snapshot_within(generous)
            .input("a")
            .unwrap()
            .files
            .len(),
        3
    );
}
