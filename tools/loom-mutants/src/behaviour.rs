//! The runs of the handwritten changes: making one at a time, and running the test that must fail.

use crate::changes::{CHANGES, Change, In};
use crate::programs::{self, Ended, LIBRARY, Test};
use crate::tree::Tree;
use crate::{patience, project, time};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Makes each change and runs its test. Returns `true` if the test fails, or passes where the list
/// says that no test can notice the change.
pub(crate) fn run(words: &[String]) -> Result<bool, String> {
    let said = |error: io::Error| error.to_string();
    let project = project()?;
    let folder = project.join("target/behaviour-mutants");
    let tree = Tree::copy(&project, &folder.join("tree")).map_err(said)?;
    let wanted = |change: &Change| {
        let texts = [change.file, change.breaks];
        let has = |word: &String| texts.iter().any(|text| text.contains(word.as_str()));
        words.is_empty() || words.iter().any(has)
    };
    let changes: Vec<_> = CHANGES.iter().filter(|change| wanted(change)).collect();
    for change in &changes {
        change.made_in(&tree.read(Path::new(change.file)).map_err(said)?)?;
    }

    println!("the unchanged code");
    let build = Build {
        tree: &tree,
        target: folder.join("build"),
    };
    let timed = build.time(&changes)?;
    let mut counts = Counts::default();
    for (at, change) in changes.iter().enumerate() {
        let took = timed[&(change.tests, change.test)];
        let make = |source: &str| {
            // The loop above found it in the same text.
            change.made_in(source).unwrap_or_default()
        };
        let ended = tree.with(Path::new(change.file), make, || {
            build.test_of(change)?.run(patience(took))
        });
        let ended = ended
            .map_err(said)?
            .map_err(|error| format!("{change}: {error}"))?;
        let verdict = counts.add(change, &ended, patience(took));
        println!("{}/{} {change}: {verdict}", at + 1, changes.len());
    }
    let Counts {
        failed,
        stopped,
        explained,
        wrong,
    } = counts;
    println!(
        "{} changes: {failed} caught by a test that fails, {stopped} by the time limit, \
         {explained} explained, {wrong} not as listed",
        changes.len()
    );
    Ok(wrong == 0)
}

/// The results of the changes.
#[derive(Default)]
struct Counts {
    failed: usize,
    stopped: usize,
    explained: usize,
    wrong: usize,
}

impl Counts {
    fn add(&mut self, change: &Change, ended: &Ended, limit: Duration) -> String {
        let Change { tests, test, .. } = change;
        let (count, verdict) = match (ended, change.unseen_because) {
            (Ended::Failed, None) => (&mut self.failed, format!("caught by {tests} {test}")),
            (Ended::TooLong, None) => (
                &mut self.stopped,
                format!("caught by the limit of {limit:.0?} for {tests} {test}"),
            ),
            (Ended::Failed | Ended::TooLong, Some(_)) => (
                &mut self.wrong,
                format!("noticed by {tests} {test}, THOUGH IT IS LISTED AS UNSEEN"),
            ),
            (Ended::Passed(_), Some(reason)) => {
                (&mut self.explained, format!("not seen: {reason}"))
            }
            (Ended::Passed(_), None) => (&mut self.wrong, format!("NOT NOTICED by {tests} {test}")),
        };
        *count += 1;
        verdict
    }
}

/// The target directory of the copy.
struct Build<'a> {
    tree: &'a Tree,
    target: std::path::PathBuf,
}

impl Build<'_> {
    /// Runs the tests of these changes on the unchanged code. Returns how long each took.
    fn time(&self, changes: &[&Change]) -> Result<BTreeMap<(In, &'static str), Duration>, String> {
        let mut timed = BTreeMap::new();
        let places: BTreeSet<In> = changes.iter().map(|change| change.tests).collect();
        for tests in places {
            let built = self.tests(tests)?;
            let here = changes.iter().filter(|change| change.tests == tests);
            let names: BTreeSet<_> = here.map(|change| change.test).collect();
            for name in names {
                let (took, _) = time(named(&built, tests, name)?)?;
                timed.insert((tests, name), took);
            }
        }
        Ok(timed)
    }

    fn test_of(&self, change: &Change) -> Result<Test, String> {
        let built = self.tests(change.tests)?;
        named(&built, change.tests, change.test).cloned()
    }

    fn tests(&self, tests: In) -> Result<Vec<Test>, String> {
        let root = self.tree.root();
        match tests {
            In::Library => programs::build_tests(root, &self.target, In::PACKAGE, LIBRARY),
            In::Core => programs::build_tests(root, &self.target, In::CORE, LIBRARY),
            In::Tests(file) => programs::build_tests(root, &self.target, In::PACKAGE, file),
            In::Models(file) => programs::build_models(root, &self.target.join("loom"), file),
        }
    }
}

fn named<'a>(built: &'a [Test], tests: In, name: &str) -> Result<&'a Test, String> {
    let mut named = built.iter().filter(|test| test.name == name);
    named.next().ok_or(format!("{tests} has no test `{name}`"))
}
