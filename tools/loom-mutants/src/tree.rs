//! A copy of the project in which one file is changed and put back.
//!
//! The copy is below the project's own `target`. The sources of the project are never written to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// A copy of the project.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Copies the project at `project` to `root`, replacing what is there. What was built or
    /// installed is left out, and so is the history.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub(crate) fn copy(project: &Path, root: &Path) -> io::Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        for entry in WalkDir::new(project).into_iter().filter_entry(is_source) {
            let entry = entry?;
            let path = entry.path();
            let to = root.join(path.strip_prefix(project).map_err(io::Error::other)?);
            if entry.file_type().is_dir() {
                fs::create_dir_all(to)?;
            } else if entry.file_type().is_file() {
                fs::copy(path, to)?;
            }
        }
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// Returns the root of the copy.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the text of a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn read(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
    }

    /// Replaces the text of a file by that which `make` returns, runs `built`, and puts the old
    /// text back. Returns the result of `built`.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub(crate) fn with<R>(
        &self,
        file: &Path,
        make: impl FnOnce(&str) -> String,
        built: impl FnOnce() -> R,
    ) -> io::Result<R> {
        let source = self.read(file)?;
        self.write(file, &make(&source))?;
        let result = built();
        self.write(file, &source)?;
        Ok(result)
    }

    fn write(&self, file: &Path, text: &str) -> io::Result<()> {
        fs::write(self.root.join(file), text)
    }
}

fn is_source(entry: &DirEntry) -> bool {
    !["target", "node_modules", ".git"]
        .iter()
        .any(|name| entry.file_name() == *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_copy_has_every_member_of_the_workspace() {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let folder = tempfile::tempdir().unwrap();
        let copy = Tree::copy(&project, &folder.path().join("tree")).unwrap();
        let metadata = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--no-deps",
                "--offline",
                "--format-version",
                "1",
            ])
            .current_dir(copy.root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&metadata.stderr);
        assert!(metadata.status.success(), "{said}");
        assert!(copy.read(Path::new("src/lib.rs")).is_ok());
        assert!(!copy.root().join("target").exists());
    }
}
