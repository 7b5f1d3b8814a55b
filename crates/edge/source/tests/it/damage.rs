//! Clones that a crash, a full disk or a bad one left behind.

use std::fs;
use std::path::{Path, PathBuf};

use roadstead_source::Reference;

use crate::support::{World, changed, poll, refused, unchanged};

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

fn only(folder: &Path, ending: &str) -> PathBuf {
    let found = files(folder, ending);
    assert_eq!(found.len(), 1, "{ending}: {found:?}");
    let path = found.into_iter().next().unwrap();
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a file of this test")]
    permissions.set_readonly(false);
    fs::set_permissions(&path, permissions).unwrap();
    path
}

/// A repository whose files do not compress away.
fn world() -> World {
    let world = World::new();
    for n in 0..50u32 {
        let text: String = (0..200u32)
            .map(|i| format!("{:08x}\n", (i + n * 1000).wrapping_mul(2_654_435_761)))
            .collect();
        world.write(&format!("apps/{n}"), text);
    }
    world.commit("first", &[]);
    world
}

#[test]
fn a_damaged_clone_is_made_again_once_with_a_warning() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage); 8] = [
        ("pack cut off", |cache| {
            let pack = only(cache, ".pack");
            let bytes = fs::read(&pack).unwrap();
            fs::write(&pack, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("pack empty", |cache| {
            fs::write(only(cache, ".pack"), "").unwrap()
        }),
        ("pack gone", |cache| {
            fs::remove_file(only(cache, ".pack")).unwrap()
        }),
        ("index gone", |cache| {
            fs::remove_file(only(cache, ".idx")).unwrap()
        }),
        ("both gone", |cache| {
            fs::remove_file(only(cache, ".pack")).unwrap();
            fs::remove_file(only(cache, ".idx")).unwrap();
        }),
        ("never finished", |cache| {
            fs::remove_file(only(cache, "1.git/HEAD")).unwrap()
        }),
        ("configuration is garbage", |cache| {
            fs::write(only(cache, "1.git/config"), "[core\n\0").unwrap();
        }),
        ("index is garbage", |cache| {
            let index = only(cache, ".idx");
            let mut bytes = fs::read(&index).unwrap();
            bytes[..1100].fill(0xa5);
            fs::write(&index, bytes).unwrap();
        }),
    ];
    for (name, damage) in cases {
        let world = world();
        let request = world.request(Reference::DefaultBranch);
        let sources = world.sources();
        let first = changed(poll(&sources, &request, None));
        let digest = first.subtree_digest("apps").unwrap();
        drop((first, sources));
        damage(&world.cache());

        let sources = world.sources();
        let again = changed(poll(&sources, &request, None));
        assert_eq!(again.subtree_digest("apps").unwrap(), digest, "{name}");
        assert_eq!(
            again.input("apps").unwrap().load().unwrap().len(),
            50,
            "{name}"
        );
        assert_eq!(again.warnings.len(), 1, "{name}: {:?}", again.warnings);
        let warning = "the local clone was damaged and made again: ";
        assert!(
            again.warnings[0].starts_with(warning),
            "{name}: {:?}",
            again.warnings
        );
        let commit = again.commit.clone();
        assert_eq!(unchanged(poll(&sources, &request, Some(&commit))), commit);
        assert_eq!(changed(poll(&sources, &request, None)).warnings.len(), 0);
        drop((again, sources));
        assert_eq!(
            files(&world.cache(), ".pack").len(),
            1,
            "{name}: the damaged clone is gone"
        );
    }
}

#[test]
fn a_flipped_bit_in_a_file_is_found_when_it_is_read() {
    let world = world();
    let request = world.request(Reference::DefaultBranch);
    let commit = changed(poll(&world.sources(), &request, None)).commit;
    let pack = only(&world.cache(), ".pack");
    let mut bytes = fs::read(&pack).unwrap();
    // Blobs come last in a pack.
    let middle = bytes.len() - bytes.len() / 4;
    bytes[middle] ^= 0x10;
    fs::write(&pack, bytes).unwrap();

    let sources = world.sources();
    let snapshot = changed(poll(&sources, &request, None));
    let text = refused(snapshot.input("apps"));
    assert!(
        text.starts_with(&format!("local clone of {} is damaged: blob ", world.url()))
            && text.ends_with("\nhint: nothing: the next poll clones it again"),
        "{text}"
    );
    let again = changed(poll(&sources, &request, Some(&commit)));
    assert_eq!(again.warnings.len(), 1);
    assert_eq!(again.input("apps").unwrap().load().unwrap().len(), 50);
}

#[test]
fn what_a_killed_process_left_behind_does_not_stop_the_next() {
    let world = world();
    let request = world.request(Reference::DefaultBranch);
    let commit = changed(poll(&world.sources(), &request, None)).commit;
    let folder = world.cache().join("clones");
    let clone = only(&folder, "1.git/HEAD").parent().unwrap().to_owned();
    fs::create_dir_all(clone.join("refs/roadstead")).unwrap();
    for file in [
        "packed-refs.lock",
        "shallow.lock",
        "HEAD.lock",
        "config.lock",
        "refs/roadstead/0123456789ab.lock",
        "objects/pack/tmp_pack_abc",
        "objects/pack/.tmpXyZ",
        "objects/pack/pack-0000000000000000000000000000000000000000.keep",
    ] {
        fs::write(clone.join(file), "left behind").unwrap();
    }
    fs::write(world.cache().join("private/99-0"), "a key").unwrap();

    let second = world.commit("second", &[("apps/0", "new")]);
    let sources = world.sources();
    let snapshot = changed(poll(&sources, &request, Some(&commit)));
    assert_eq!(snapshot.commit, second);
    assert_eq!(snapshot.warnings, Vec::<String>::new());
    assert_eq!(snapshot.read_file("apps/0").unwrap(), "new");
    assert_eq!(files(&world.cache(), ".lock"), Vec::<PathBuf>::new());
    assert_eq!(files(&clone.join("objects/pack"), "tmp_pack_abc").len(), 0);
    assert!(!world.cache().join("private/99-0").exists());
}

#[test]
fn a_snapshot_outlives_the_clone_that_the_next_poll_replaces() {
    let world = world();
    let request = world.request(Reference::DefaultBranch);
    let sources = world.sources();
    let mut held = Vec::new();
    let mut last = None;
    for n in 0..70 {
        let commit = world.commit("next", &[("n", &n.to_string())]);
        let snapshot = changed(poll(&sources, &request, last.as_deref()));
        assert_eq!(snapshot.warnings, Vec::<String>::new());
        last = Some(commit);
        held.push(snapshot);
    }
    let folder = world.cache().join("clones");
    assert_eq!(
        files(&folder, ".git/HEAD").len(),
        2,
        "packs were gathered into a new clone"
    );
    for (n, snapshot) in held.iter().enumerate() {
        assert_eq!(snapshot.read_file("n").unwrap(), n.to_string());
    }
    drop(held);
    assert_eq!(
        files(&folder, ".git/HEAD").len(),
        1,
        "the old clone went with its last snapshot"
    );
}

#[test]
fn one_process_at_a_time() {
    let world = World::with(&[("a", "1")]);
    let sources = world.sources();
    let text = refused(
        roadstead_source::Sources::open(world.cache(), roadstead_source::Limits::default())
            .map(drop),
    );
    assert!(text.contains("is used by another process"), "{text}");
    drop(sources);
    world.sources();
}

/// The process that the next test kills.
#[test]
#[ignore = "started by its neighbour"]
fn polls_without_end() {
    let cache = std::env::var_os("ROADSTEAD_TEST_CACHE").unwrap();
    let url = std::env::var("ROADSTEAD_TEST_URL").unwrap();
    let sources =
        roadstead_source::Sources::open(cache, roadstead_source::Limits::default()).unwrap();
    let request = roadstead_source::GitRequest::new(url);
    loop {
        let snapshot = changed(poll(&sources, &request, None));
        snapshot.input("").unwrap();
        drop(snapshot);
        // Clone anew each time, so that most kills hit in the middle of one.
        sources.retain([]).unwrap();
    }
}

#[test]
fn survives_a_kill_at_any_moment() {
    let world = world();
    let request = world.request(Reference::DefaultBranch);
    for n in 0..12u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "damage::polls_without_end",
                "--ignored",
                "--nocapture",
            ])
            .env("ROADSTEAD_TEST_CACHE", world.cache())
            .env("ROADSTEAD_TEST_URL", world.url())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(60 + n * 17));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let sources = world.sources();
        let snapshot = changed(poll(&sources, &request, None));
        assert_eq!(
            snapshot.input("").unwrap().load().unwrap().len(),
            50,
            "kill {n}"
        );
    }
}
