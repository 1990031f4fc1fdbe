//! A copy of the project in which one file is changed and put back.
//!
//! Owns the copy, below the project's own `target`. The project itself is never written to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use walkdir::{DirEntry, WalkDir};

/// What the tests are built from.
const PARTS: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "README.md",
    "core",
    "events",
    "src",
    "tests",
    "benches",
    "docs",
    "examples",
];

/// The copy.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Copies the project at `project` to `root`, replacing what is there.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or written.
    pub(crate) fn copy(project: &Path, root: &Path) -> io::Result<Self> {
        if root.exists() {
            fs::remove_dir_all(root)?;
        }
        for part in PARTS {
            let from = project.join(part);
            if !from.exists() {
                continue;
            }
            for entry in WalkDir::new(&from).into_iter().filter_entry(is_source) {
                let entry = entry?;
                let to = root.join(
                    entry
                        .path()
                        .strip_prefix(project)
                        .map_err(io::Error::other)?,
                );
                if entry.file_type().is_dir() {
                    fs::create_dir_all(to)?;
                } else {
                    fs::create_dir_all(to.parent().unwrap_or(root))?;
                    fs::copy(entry.path(), to)?;
                }
            }
        }
        Ok(Self {
            root: root.to_path_buf(),
        })
    }

    /// Where the copy is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The text of a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn read(&self, file: &Path) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
    }

    /// Returns what `built` does while `make` has changed the text of a file.
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
    entry.file_name() != "target"
}
