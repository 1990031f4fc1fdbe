//! The orderings that can be weakened.
//!
//! The search finds every `Release`, `Acquire`, `AcqRel` or `SeqCst` that is an expression in the
//! code of the three crates, except in tests and in the files that replace other crates in a model.

use std::fmt;
use std::path::{Path, PathBuf};
use syn::visit::{self, Visit};
use walkdir::WalkDir;

/// The folders with the code of the crates, below the root.
const SOURCES: [&str; 3] = ["core/src", "events/src", "src"];
/// The name of the files that replace other crates in a model.
const MODEL_ONLY: &str = "model.rs";
/// The names of the orderings that can be weakened.
const STRONG: [&str; 4] = ["Release", "Acquire", "AcqRel", "SeqCst"];

/// One ordering in the sources.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The file, below the root.
    pub(crate) file: PathBuf,
    /// The line, counted from 1.
    pub(crate) line: usize,
    /// The column of the ordering's name, in characters from 0.
    column: usize,
    /// Its name.
    ordering: String,
    /// The text of the line, without the space around it.
    pub(crate) text: String,
}

impl Site {
    /// Returns the file's text with this ordering relaxed.
    pub(crate) fn relaxed(&self, source: &str) -> String {
        let mut weakened = String::with_capacity(source.len());
        for (at, line) in source.split_inclusive('\n').enumerate() {
            if at + 1 != self.line {
                weakened.push_str(line);
                continue;
            }
            let before: String = line.chars().take(self.column).collect();
            let after = &line[before.len() + self.ordering.len()..];
            weakened.push_str(&before);
            weakened.push_str("Relaxed");
            weakened.push_str(after);
        }
        weakened
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file, line, text, ..
        } = self;
        write!(
            f,
            "{}:{line}: {} in `{text}`",
            file.display(),
            self.ordering
        )
    }
}

/// Returns all orderings below `root`, by file and line.
///
/// # Errors
///
/// One line about a file that cannot be read or parsed.
pub(crate) fn find(root: &Path) -> Result<Vec<Site>, String> {
    let mut sites = Vec::new();
    for folder in SOURCES {
        for entry in WalkDir::new(root.join(folder)).sort_by_file_name() {
            let path = entry.map_err(|error| error.to_string())?.into_path();
            let file = path.strip_prefix(root).map_err(|error| error.to_string())?;
            let is_test = file.file_stem().is_some_and(|stem| stem == "tests");
            if path.extension().is_none_or(|end| end != "rs")
                || is_test
                || file.ends_with(MODEL_ONLY)
            {
                continue;
            }
            let source = std::fs::read_to_string(&path)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            sites.extend(in_source(file, &source)?);
        }
    }
    Ok(sites)
}

fn in_source(file: &Path, source: &str) -> Result<Vec<Site>, String> {
    let parsed = syn::parse_file(source).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut search = Search {
        file,
        lines: source.lines().collect(),
        sites: Vec::new(),
    };
    search.visit_file(&parsed);
    Ok(search.sites)
}

struct Search<'a> {
    file: &'a Path,
    lines: Vec<&'a str>,
    sites: Vec<Site>,
}

impl<'ast> Visit<'ast> for Search<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.ident != "tests" {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let Some(last) = path.path.segments.last() else {
            return;
        };
        let ordering = last.ident.to_string();
        if STRONG.contains(&ordering.as_str()) {
            let start = last.ident.span().start();
            self.sites.push(Site {
                file: self.file.to_path_buf(),
                line: start.line,
                column: start.column,
                ordering,
                text: self.lines[start.line - 1].trim().to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "\
use std::sync::atomic::Ordering::{self, Acquire};
/// Release, as a comment.
fn f(a: &AtomicU64) {
    let ä = (a.load(Acquire), a.swap(1, Ordering::AcqRel)); // Acquire
    a.load(Ordering::Relaxed);
}
#[cfg(test)]
mod tests {
    fn g(a: &AtomicU64) { a.load(Acquire); }
}
";

    #[test]
    fn orderings_in_code_are_found_and_nothing_else() {
        let sites = in_source(Path::new("src/f.rs"), SOURCE).unwrap();
        let found: Vec<_> = sites
            .iter()
            .map(|s| (s.line, s.ordering.as_str()))
            .collect();
        assert_eq!(found, [(4, "Acquire"), (4, "AcqRel")]);
    }

    #[test]
    fn one_ordering_is_relaxed_and_nothing_else() {
        let sites = in_source(Path::new("src/f.rs"), SOURCE).unwrap();
        let relaxed = sites[1].relaxed(SOURCE);
        assert_eq!(relaxed, SOURCE.replace("AcqRel", "Relaxed"));
        let relaxed = sites[0].relaxed(SOURCE);
        assert_eq!(
            relaxed,
            SOURCE.replacen("load(Acquire)", "load(Relaxed)", 1)
        );
        assert!(syn::parse_file(&relaxed).is_ok());
    }

    #[test]
    fn the_crates_have_orderings() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let sites = find(&root).unwrap();
        assert!(
            sites
                .iter()
                .any(|site| site.file.ends_with("ring/place.rs"))
        );
        assert!(
            sites
                .iter()
                .any(|site| site.file.ends_with("slot/stripe.rs"))
        );
    }
}
