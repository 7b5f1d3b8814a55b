//! The ssh program is started with the right words, and its answers are understood.

use std::fs;

use roadstead_source::{Auth, GitRequest, Reference, Sources, SshKey};

use crate::support::{World, changed, poll, refused};

/// Makes a stand-in for ssh: it notes its words, the key and the host keys, then runs the remote command here.
fn with_ssh(world: &World, script: &str) -> Sources {
    let program = world.root.path().join("fake-ssh");
    let log = world.root.path().join("log");
    let text = format!("#!/bin/sh\nlog='{}'\n{script}\n", log.display());
    fs::write(&program, text).unwrap();
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(&program)
        .status()
        .unwrap();
    world.sources().with_ssh_program(program)
}

const RUN: &str = r#"
for word in "$@"; do
  echo "$word" >> "$log"
  case "$prev $word" in
    "-i "*) stat -c 'mode %a' "$word" >> "$log"; sed 's/^/key /' "$word" >> "$log";;
    *UserKnownHostsFile=*) sed 's/^/host /' "${word#*=}" >> "$log";;
  esac
  prev=$word; last=$word
done
exec sh -c "$last"
"#;

#[test]
fn fetches_through_the_ssh_program() {
    let world = World::with(&[("a", "1")]);
    let odd = world.root.path().join("it's-$HOME;odd");
    fs::rename(world.repo(), &odd).unwrap();
    let sources = with_ssh(&world, RUN);
    let request = GitRequest {
        auth: Auth::Ssh {
            key: SshKey::Inline("-----BEGIN KEY-----\nsecret".into()),
            known_hosts: Some("example.org ssh-ed25519 AAAA\n".into()),
        },
        reference: Reference::Branch("main".into()),
        ..GitRequest::new(format!("ssh://git@example.org:2222{}", odd.display()))
    };
    let snapshot = changed(poll(&sources, &request, None));
    assert_eq!(snapshot.read_file("a").unwrap(), "1");

    let log = fs::read_to_string(world.root.path().join("log")).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    for expected in [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "StrictHostKeyChecking=yes",
        "mode 600",
        "key -----BEGIN KEY-----",
        "key secret",
        "host example.org ssh-ed25519 AAAA",
        "2222",
        "git@example.org",
    ] {
        assert!(lines.contains(&expected), "{expected}: {log}");
    }
    let quoted = odd.display().to_string().replace('\'', r"'\''");
    assert_eq!(
        lines.last(),
        Some(&format!("git-upload-pack '{quoted}'").as_str())
    );
    let left = fs::read_dir(world.cache().join("private")).unwrap().count();
    assert_eq!(left, 0, "the key does not stay");
}

#[test]
fn the_short_form_keeps_relative_paths() {
    let world = World::with(&[("a", "1")]);
    let log = world.root.path().join("log");
    for (url, command) in [
        (
            "git@example.org:team/repo.git",
            "git-upload-pack 'team/repo.git'",
        ),
        ("ssh://example.org/~ada/repo", "git-upload-pack '~ada/repo'"),
        ("example.org:/srv/repo", "git-upload-pack '/srv/repo'"),
    ] {
        let sources = with_ssh(
            &world,
            r#"for last in "$@"; do :; done; echo "$last" > "$log"; exit 1"#,
        );
        let text = refused(poll(&sources, &GitRequest::new(url), None));
        assert!(text.contains(url), "{text}");
        assert_eq!(fs::read_to_string(&log).unwrap().trim(), command, "{url}");
    }
}

#[test]
fn says_what_ssh_says() {
    let world = World::new();
    let url = "ssh://git@example.org/a";
    for (script, expected) in [
        (
            "echo 'git@example.org: Permission denied (publickey).' >&2; exit 255",
            "ssh://git@example.org/a refused access: git@example.org: Permission denied (publickey).\nhint: check that the credentials are right, have not ended, and may read this repository",
        ),
        (
            "echo 'Host key verification failed.' >&2; exit 255",
            "host key of ssh://git@example.org/a is not trusted: Host key verification failed.\nhint: give the host's public key as known_hosts",
        ),
        (
            "echo 'ssh: Could not resolve hostname example.org: Name or service not known' >&2; exit 255",
            "cannot reach ssh://git@example.org/a: ssh: Could not resolve hostname example.org: Name or service not known\nhint: check the host name, the port and the network or proxy between",
        ),
        (
            "echo \"fatal: '/a' does not appear to be a git repository\" >&2; exit 128",
            "no Git repository at ssh://git@example.org/a: fatal: '/a' does not appear to be a git repository\nhint: check the path; some hosts also answer so when the credentials may not see the repository",
        ),
    ] {
        let sources = with_ssh(&world, script);
        let mut request = GitRequest::new(url);
        request.auth = Auth::Ssh {
            key: SshKey::Path("/nonexistent/key".into()),
            known_hosts: None,
        };
        assert_eq!(refused(poll(&sources, &request, None)), expected);
    }
    let sources = world.sources().with_ssh_program("/nonexistent/ssh");
    assert_eq!(
        refused(poll(&sources, &GitRequest::new(url), None)),
        "failed to start \"/nonexistent/ssh\" to fetch from ssh://git@example.org/a\nhint: install /nonexistent/ssh, or check the path to it"
    );
}
