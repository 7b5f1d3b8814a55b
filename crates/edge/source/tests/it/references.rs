//! Branches, tags and commits as they move.

use roadstead_source::Reference;

use crate::support::{World, changed, poll, refused, unchanged};

fn branch(name: &str) -> Reference {
    Reference::Branch(name.into())
}

fn tag(name: &str) -> Reference {
    Reference::Tag(name.into())
}

#[test]
fn first_clone_then_unchanged_then_fast_forward() {
    let world = World::new();
    let first = world.commit(
        "Add the shop\n\nBecause.\n",
        &[("apps/shop.yaml", "a: 1\n")],
    );
    let sources = world.sources();
    for reference in [branch("main"), Reference::DefaultBranch] {
        let request = world.request(reference);
        let snapshot = changed(poll(&sources, &request, None));
        assert_eq!(snapshot.commit, first);
        assert_eq!(snapshot.title, "Add the shop");
        assert_eq!(snapshot.message, "Add the shop\n\nBecause.\n");
        assert_eq!(snapshot.author.name, "Ada Ä");
        assert_eq!(snapshot.author.email, "ada@example.org");
        assert_eq!(snapshot.committed_at, 1_700_000_100);
        assert_eq!(snapshot.warnings, Vec::<String>::new());
        assert_eq!(snapshot.read_file("apps/shop.yaml").unwrap(), "a: 1\n");
        assert_eq!(unchanged(poll(&sources, &request, Some(&first))), first);
    }

    let second = world.commit("second", &[("apps/shop.yaml", "a: 2\n")]);
    let request = world.request(branch("main"));
    let snapshot = changed(poll(&sources, &request, Some(&first)));
    assert_eq!(snapshot.commit, second);
    assert_eq!(snapshot.read_file("apps/shop.yaml").unwrap(), "a: 2\n");
    // Who lost what it had seen gets it again, although nothing has to be fetched.
    assert_eq!(changed(poll(&sources, &request, None)).commit, second);
}

#[test]
fn many_commits_one_after_the_other() {
    let world = World::with(&[("a", "0")]);
    let sources = world.sources();
    let request = world.request(branch("main"));
    let mut last = changed(poll(&sources, &request, None)).commit;
    for n in 1..80 {
        let commit = world.commit("next", &[("a", &n.to_string())]);
        let snapshot = changed(poll(&sources, &request, Some(&last)));
        assert_eq!(snapshot.commit, commit);
        assert_eq!(snapshot.read_file("a").unwrap(), n.to_string());
        assert_eq!(snapshot.warnings, Vec::<String>::new());
        last = commit;
    }
}

#[test]
fn force_push_goes_back_and_sideways() {
    let world = World::with(&[("a", "1")]);
    let first = world.git(&["rev-parse", "HEAD"]);
    let sources = world.sources();
    let request = world.request(branch("main"));
    let second = world.commit("second", &[("a", "2")]);
    assert_eq!(changed(poll(&sources, &request, None)).commit, second);

    world.git(&["reset", "-q", "--hard", &first]);
    let snapshot = changed(poll(&sources, &request, Some(&second)));
    assert_eq!(snapshot.commit, first);
    assert_eq!(snapshot.read_file("a").unwrap(), "1");

    world.git(&["checkout", "-q", "--orphan", "other"]);
    let unrelated = world.commit("unrelated", &[("a", "3")]);
    world.git(&["branch", "-f", "main", &unrelated]);
    let snapshot = changed(poll(&sources, &request, Some(&first)));
    assert_eq!(snapshot.commit, unrelated);
    assert_eq!(snapshot.read_file("a").unwrap(), "3");
}

#[test]
fn tags_are_peeled_and_may_move() {
    let world = World::with(&[("a", "1")]);
    let first = world.git(&["rev-parse", "HEAD"]);
    world.git(&["tag", "light"]);
    world.git(&["tag", "-a", "-m", "one", "v1"]);
    world.git(&["tag", "-a", "-m", "a tag of a tag", "nested", "v1"]);
    let sources = world.sources();
    for name in ["light", "v1", "nested"] {
        let request = world.request(tag(name));
        assert_eq!(changed(poll(&sources, &request, None)).commit, first);
        assert_eq!(unchanged(poll(&sources, &request, Some(&first))), first);
    }
    let second = world.commit("second", &[("a", "2")]);
    world.git(&["tag", "-f", "-a", "-m", "moved", "v1"]);
    let request = world.request(tag("v1"));
    let snapshot = changed(poll(&sources, &request, Some(&first)));
    assert_eq!(snapshot.commit, second);
    assert_eq!(snapshot.read_file("a").unwrap(), "2");

    world.git(&["tag", "blob", "HEAD:a"]);
    world.git(&["tag", "-a", "-m", "tree", "tree", "HEAD^{tree}"]);
    for (name, kind) in [("blob", "blob"), ("tree", "tree")] {
        let text = refused(poll(&sources, &world.request(tag(name)), None));
        assert_eq!(
            text,
            format!(
                "tag {name:?} in {} leads to a {kind}, not to a commit\nhint: tag a commit",
                world.url()
            )
        );
    }
}

#[test]
fn commits_by_id_old_and_new() {
    let world = World::with(&[("a", "1")]);
    let first = world.git(&["rev-parse", "HEAD"]);
    let second = world.commit("second", &[("a", "2")]);
    let sources = world.sources();
    for (id, content) in [(&first, "1"), (&second, "2"), (&first, "1")] {
        let request = world.request(Reference::Commit(id.clone()));
        let snapshot = changed(poll(&sources, &request, None));
        assert_eq!(&snapshot.commit, id);
        assert_eq!(snapshot.read_file("a").unwrap(), content);
        assert_eq!(&unchanged(poll(&sources, &request, Some(id))), id);
    }
    let absent = "0123456789012345678901234567890123456789";
    let text = refused(poll(
        &sources,
        &world.request(Reference::Commit(absent.into())),
        None,
    ));
    assert_eq!(text, format!("commit {absent} is not in {}", world.url()));
    let text = refused(poll(
        &sources,
        &world.request(Reference::Commit(first[..7].into())),
        None,
    ));
    assert_eq!(
        text,
        format!(
            "invalid commit {}: it is not 40 hexadecimal digits\nhint: write the full commit id: 40 hexadecimal digits",
            &first[..7]
        )
    );
}

#[test]
fn unknown_names_say_what_there_is() {
    let world = World::with(&[("a", "1")]);
    world.git(&["branch", "release/1"]);
    world.git(&["branch", "zzz"]);
    world.git(&["tag", "v1.0.0"]);
    let sources = world.sources();
    let url = world.url();
    for (reference, expected) in [
        (
            branch("mian"),
            format!("branch \"mian\" is not in {url}\nhint: there are: main, zzz, release/1"),
        ),
        (
            tag("1.0.0"),
            format!("tag \"1.0.0\" is not in {url}\nhint: there are: v1.0.0"),
        ),
        (
            branch("a..b"),
            "invalid branch \"a..b\": it is not a name that Git allows\nhint: write the name without refs/heads/ or refs/tags/".into(),
        ),
        (
            branch("x:refs/heads/y"),
            "invalid branch \"x:refs/heads/y\": it is not a name that Git allows\nhint: write the name without refs/heads/ or refs/tags/".into(),
        ),
    ] {
        assert_eq!(refused(poll(&sources, &world.request(reference), None)), expected);
    }
}

#[test]
fn a_branch_goes_and_a_folder_of_branches_takes_its_name() {
    let world = World::with(&[("a", "1")]);
    world.git(&["branch", "next"]);
    let sources = world.sources();
    let first = changed(poll(&sources, &world.request(branch("next")), None)).commit;
    world.git(&["branch", "-D", "next"]);
    let text = refused(poll(&sources, &world.request(branch("next")), Some(&first)));
    assert!(text.starts_with("branch \"next\" is not in "), "{text}");

    let second = world.commit("second", &[("a", "2")]);
    world.git(&["branch", "next/step"]);
    let snapshot = changed(poll(&sources, &world.request(branch("next/step")), None));
    assert_eq!(snapshot.commit, second);
    world.git(&["branch", "-D", "next/step"]);
    world.git(&["branch", "next", &first]);
    let snapshot = changed(poll(
        &sources,
        &world.request(branch("next")),
        Some(&second),
    ));
    assert_eq!(snapshot.commit, first);
}

#[test]
fn an_empty_repository_says_so() {
    let world = World::new();
    let sources = world.sources();
    assert_eq!(
        refused(poll(
            &sources,
            &world.request(Reference::DefaultBranch),
            None
        )),
        format!(
            "repository {} is empty: it has no commit yet\nhint: push a commit",
            world.url()
        )
    );
    let commit = world.commit("first", &[("a", "1")]);
    let request = world.request(Reference::DefaultBranch);
    assert_eq!(changed(poll(&sources, &request, None)).commit, commit);
}

#[test]
fn what_is_no_repository_says_so() {
    let world = World::with(&[("a", "1")]);
    let sources = world.sources();
    for (path, reason) in [
        ("nothing", "there is no such folder"),
        ("cache", "does not appear to be a git repository"),
    ] {
        let mut request = world.request(Reference::DefaultBranch);
        request.url = format!("file://{}/{path}", world.root.path().display());
        let text = refused(poll(&sources, &request, None));
        assert!(
            text.starts_with(&format!("no Git repository at {}: ", request.url))
                && text.contains(reason),
            "{text}"
        );
    }
}
