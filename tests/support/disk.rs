//! A disk of a test's own, small enough to be filled to the last byte.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A file system in memory, mounted below a temporary directory; gone with this value.
pub struct Disk {
    dir: TempDir,
}

impl Disk {
    /// The error says why this machine cannot have one; mostly because we are not root.
    pub fn mount(mib: u32) -> Result<Self, String> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m,mode=0700");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "polder-test"]).arg(dir.path());
        match mount.output() {
            Ok(output) if output.status.success() => Ok(Self { dir }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("`mount` cannot be run: {error}")),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Leaves no room for a single byte more.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        for piece in [1 << 20, 4 << 10, 1] {
            let piece = vec![1; piece];
            while ballast.write_all(&piece).is_ok() {}
        }
    }

    pub fn is_filled(&self) -> bool {
        self.ballast().exists()
    }

    pub fn clear(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there must not keep it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
