//! A company's proxy: it passes TLS on unopened, to the hub's port and no other place.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};

/// A proxy; it ends with this process.
pub(super) struct Proxy {
    port: u16,
    passed: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts one that lets nobody go elsewhere.
    pub(super) fn start(only: String) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("failed to listen for those who go through the proxy")?;
        let port = listener.local_addr()?.port();
        let (passed, refused) = (Arc::default(), Arc::default());
        let counts = (Arc::clone(&passed), Arc::clone(&refused));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (only, counts) = (only.clone(), counts.clone());
                // who asked sees a broken connection
                std::thread::spawn(move || drop(pass(stream, &only, &counts.0, &counts.1)));
            }
        });
        Ok(Self {
            port,
            passed,
            refused,
        })
    }

    /// Its URL.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many connections went through.
    pub(super) fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }

    /// How many wanted to go elsewhere.
    pub(super) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

fn pass(
    mut near: TcpStream,
    only: &str,
    passed: &AtomicUsize,
    refused: &AtomicUsize,
) -> anyhow::Result<()> {
    let mut reader = BufReader::new(near.try_clone()?);
    let mut head = String::new();
    reader.read_line(&mut head)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    if !head.starts_with("CONNECT ") || target != only {
        refused.fetch_add(1, Ordering::Relaxed);
        near.write_all(b"HTTP/1.1 403 Forbidden by policy\r\n\r\n")?;
        bail!("{target} is not {only}");
    }
    let mut far = TcpStream::connect(target)?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    passed.fetch_add(1, Ordering::Relaxed);
    let (mut from_far, mut to_near) = (far.try_clone()?, near.try_clone()?);
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from_far, &mut to_near));
        drop(to_near.shutdown(Shutdown::Both));
    });
    drop(std::io::copy(&mut reader, &mut far));
    drop(far.shutdown(Shutdown::Both));
    Ok(())
}
