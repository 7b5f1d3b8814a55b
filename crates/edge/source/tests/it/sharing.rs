//! One clone for all who use a URL, and what one poll means for another.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use roadstead_source::{GitRequest, Limits, Reference, Sources};

use crate::support::{World, changed, poll, refused, unchanged};

#[test]
fn many_polls_of_one_url_share_one_clone() {
    let world = World::with(&[("a", "1")]);
    for n in 0..8 {
        world.git(&["checkout", "-q", "-b", &format!("b{n}"), "main"]);
        world.commit("branch", &[("a", &format!("b{n}"))]);
    }
    let sources = world.sources();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (sources, world) = (&sources, &world);
            scope.spawn(move || {
                let request = world.request(Reference::Branch(format!("b{n}")));
                for _ in 0..3 {
                    let snapshot = changed(poll(sources, &request, None));
                    assert_eq!(snapshot.read_file("a").unwrap(), format!("b{n}"));
                    unchanged(poll(sources, &request, Some(&snapshot.commit)));
                }
            });
        }
    });
    let clones = fs::read_dir(world.cache().join("clones")).unwrap().count();
    assert_eq!(clones, 1);
}

/// A stand-in for ssh that says nothing and stays.
fn hanging(world: &World) -> (Sources, GitRequest) {
    let program = world.root.path().join("ssh");
    fs::write(&program, "#!/bin/sh\nexec sleep 300\n").unwrap();
    std::process::Command::new("chmod")
        .arg("+x")
        .arg(&program)
        .status()
        .unwrap();
    let request = GitRequest {
        timeout: Duration::from_secs(2),
        ..GitRequest::new("ssh://git@example.org/a")
    };
    (world.sources().with_ssh_program(program), request)
}

#[test]
fn a_remote_that_hangs_holds_up_nobody_else() {
    let world = World::with(&[("a", "1")]);
    let (sources, request) = hanging(&world);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let hung = scope.spawn(|| refused(poll(&sources, &request, None)));
        // The second waits for its turn, and gives up by its own clock.
        let waiting = scope.spawn(|| refused(poll(&sources, &request, None)));
        for _ in 0..5 {
            changed(poll(
                &sources,
                &world.request(Reference::DefaultBranch),
                None,
            ));
        }
        assert!(
            start.elapsed() < Duration::from_millis(1900),
            "{:?}",
            start.elapsed()
        );
        let expected = "no answer from ssh://git@example.org/a within 2 s\nhint: it is asked again at the next poll; a smaller repository takes less time";
        assert_eq!(hung.join().unwrap(), expected);
        assert_eq!(waiting.join().unwrap(), expected);
    });
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn an_interrupt_ends_a_poll() {
    let world = World::new();
    let (sources, mut request) = hanging(&world);
    request.timeout = Duration::from_secs(300);
    let interrupt = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| refused(sources.poll(&request, None, &interrupt)));
        std::thread::sleep(Duration::from_millis(200));
        interrupt.store(true, Ordering::Relaxed);
        assert_eq!(
            poll.join().unwrap(),
            "poll of ssh://git@example.org/a was interrupted"
        );
    });
}

#[test]
fn content_digests_are_remembered_over_a_restart() {
    let world = World::with(&[("a", "1"), ("b", "2")]);
    let digest = world.snapshot().subtree_digest("").unwrap();
    let clones = world.cache().join("clones");
    let clone = fs::read_dir(&clones)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let length = fs::metadata(clone.join("digests")).unwrap().len();
    assert_eq!(length, 2 * 68);
    assert_eq!(world.snapshot().subtree_digest("").unwrap(), digest);
    assert_eq!(fs::metadata(clone.join("digests")).unwrap().len(), length);
    world.commit("more", &[("c", "3")]);
    world.snapshot().subtree_digest("").unwrap();
    assert_eq!(fs::metadata(clone.join("digests")).unwrap().len(), 3 * 68);
}

#[test]
fn a_large_file_is_refused_by_name_and_size() {
    let world = World::with(&[("small/a", "1")]);
    let big = world.repo().join("big/zeros.img");
    fs::create_dir(big.parent().unwrap()).unwrap();
    fs::File::create(&big).unwrap().set_len(6 << 20).unwrap();
    world.commit("big", &[]);
    let limits = Limits {
        blob_bytes: 5 << 20,
        ..Limits::default()
    };
    let snapshot = world.snapshot_within(limits);
    for refusal in [
        refused(snapshot.input("")),
        refused(snapshot.input("big")),
        refused(snapshot.read_file("big/zeros.img")),
    ] {
        assert_eq!(
            refusal,
            "file \"big/zeros.img\" has 6291456 bytes: more than the 5242880 that one file may have\nhint: name a narrower path, or raise the limit"
        );
    }
    assert_eq!(snapshot.input("small").unwrap().files.len(), 1);
    drop(snapshot);

    fs::remove_dir_all(world.cache()).unwrap();
    let limits = Limits {
        object_bytes: 3 << 20,
        ..Limits::default()
    };
    let sources = Sources::open(world.cache(), limits).unwrap();
    let text = refused(poll(
        &sources,
        &world.request(Reference::DefaultBranch),
        None,
    ));
    assert!(
        text.contains("it holds an object larger than 3145728 bytes"),
        "{text}"
    );
}

#[test]
fn a_clone_that_outgrows_its_bound_is_stopped() {
    let world = World::new();
    let mut seed = 1u64;
    for n in 0..3 {
        let noise: Vec<u8> = (0..1 << 20)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect();
        world.write(&format!("noise/{n}"), noise);
    }
    world.commit("noise", &[]);
    let limits = Limits {
        clone_bytes: 1 << 20,
        ..Limits::default()
    };
    let sources = Sources::open(world.cache(), limits).unwrap();
    let text = refused(poll(
        &sources,
        &world.request(Reference::DefaultBranch),
        None,
    ));
    assert_eq!(
        text,
        format!(
            "fetch from {} stopped: the clone is larger than 1048576 bytes\nhint: move what is large out of the repository, or raise the limit",
            world.url()
        )
    );
}

#[test]
fn clones_that_nobody_wants_are_removed() {
    let world = World::with(&[("a", "1")]);
    let other = World::with(&[("a", "2")]);
    let sources = world.sources();
    let kept = changed(poll(
        &sources,
        &world.request(Reference::DefaultBranch),
        None,
    ));
    let gone = changed(poll(
        &sources,
        &other.request(Reference::DefaultBranch),
        None,
    ));
    let url = world.url();
    let count = || fs::read_dir(world.cache().join("clones")).unwrap().count();
    assert_eq!(
        sources.retain([url.as_str()]).unwrap(),
        0,
        "a snapshot still needs it"
    );
    assert_eq!(gone.read_file("a").unwrap(), "2");
    drop(gone);
    assert_eq!(sources.retain([url.as_str()]).unwrap(), 1);
    assert_eq!(count(), 1);
    assert_eq!(kept.read_file("a").unwrap(), "1");
    changed(poll(
        &sources,
        &other.request(Reference::DefaultBranch),
        None,
    ));
    drop((sources, kept));
    assert_eq!(world.sources().retain([]).unwrap(), 2);
    assert_eq!(count(), 0);
}

#[test]
fn web_hosts_that_hang_or_drip_are_given_up_in_time() {
    use std::io::{Read as _, Write as _};
    let world = World::new();
    let sources = world.sources();
    for drip in [false, true] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // It ends with the test's process, at the latest.
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            if drip {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\nfff0";
                let _ = stream.write_all(head.as_bytes());
                while stream.write_all(b"x").is_ok() {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
            std::thread::sleep(Duration::from_secs(60));
        });
        let request = GitRequest {
            timeout: Duration::from_millis(1500),
            ..GitRequest::new(format!("http://localhost:{port}/a"))
        };
        let start = Instant::now();
        let text = refused(poll(&sources, &request, None));
        assert!(text.starts_with("no answer from "), "{drip}: {text}");
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{drip}: {:?}",
            start.elapsed()
        );
    }
}
