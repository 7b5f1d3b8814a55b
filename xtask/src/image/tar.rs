//! A tar whose bytes depend on its content alone.

/// A tar that grows.
#[derive(Default)]
pub(super) struct Tar(Vec<u8>);

impl Tar {
    /// Adds a folder; its path ends with a slash.
    pub(super) fn folder(&mut self, path: &str, mode: u32, owner: u32, time: i64) {
        self.header(path, mode, owner, 0, time, b'5', "");
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &str, mode: u32, bytes: &[u8], time: i64) {
        self.header(path, mode, 0, bytes.len(), time, b'0', "");
        self.0.extend(bytes);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    /// Adds another name of a file.
    pub(super) fn link(&mut self, path: &str, to: &str, time: i64) {
        self.header(path, 0o755, 0, 0, time, b'1', to);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a header, in their order"
    )]
    fn header(
        &mut self,
        path: &str,
        mode: u32,
        owner: u32,
        size: usize,
        time: i64,
        kind: u8,
        to: &str,
    ) {
        let mut block = [0_u8; 512];
        let mut put =
            |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
        assert!(
            path.len() <= 100 && to.len() <= 100,
            "{path} is too long for a tar of this kind"
        );
        put(0, path);
        put(100, &format!("{mode:07o}\0"));
        put(108, &format!("{owner:07o}\0"));
        put(116, &format!("{owner:07o}\0"));
        put(124, &format!("{size:011o}\0"));
        put(136, &format!("{time:011o}\0"));
        put(148, "        ");
        put(157, to);
        put(257, "ustar\0");
        put(263, "00");
        block[156] = kind;
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(block);
    }

    /// Ends it.
    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_a_tar_that_tar_reads() {
        let mut tar = Tar::default();
        tar.folder("etc/", 0o755, 0, 0);
        tar.file(
            "etc/passwd",
            0o644,
            b"nonroot:x:65532:65532::/:/\n",
            1_000_000_000,
        );
        tar.link("etc/users", "etc/passwd", 1_000_000_000);
        let folder = std::env::temp_dir().join(format!("roadstead-tar-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("a.tar");
        std::fs::write(&path, tar.end()).unwrap();
        let out = std::process::Command::new("tar")
            .args(["--numeric-owner", "--utc", "-tvf"])
            .arg(&path)
            .output()
            .unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success() && text.lines().count() == 3, "{text}");
        assert!(
            text.contains("-rw-r--r-- 0/0")
                && text.contains("2001-09-09")
                && text.contains("etc/users link to etc/passwd"),
            "{text}"
        );
    }
}
