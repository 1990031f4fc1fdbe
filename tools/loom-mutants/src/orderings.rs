//! The runs with weakened orderings: weakening one at a time, and running the loom models.

use crate::programs::{self, Ended, Test};
use crate::sites::{self, Site};
use crate::tree::Tree;
use crate::{patience, project, time};
use std::path::Path;
use std::time::Duration;

/// Orderings that are needed and that loom cannot see weakened: the file, what the line contains,
/// and the reason.
const BLIND_SPOTS: [(&str, &str, &str); 2] = [
    ("core/src/ring/place.rs", "fetch_or(HELD,", MOVED_LOAD),
    (
        "core/src/ring/place.rs",
        "fetch_add(full_with.wrapping_neg(),",
        MOVED_LOAD,
    ),
];
const MOVED_LOAD: &str = "loom does not move a load behind a later write of the same thread";

/// A model, and its time on the unchanged code.
struct Timed {
    name: String,
    took: Duration,
}

/// Weakens each ordering and runs the models. Returns `true` if they notice all orderings except
/// [`BLIND_SPOTS`]. A model that exceeds its time limit counts as not having noticed.
pub(crate) fn run(words: &[String]) -> Result<bool, String> {
    let said = |error: std::io::Error| error.to_string();
    let project = project()?;
    let folder = project.join("target/loom-mutants");
    let tree = Tree::copy(&project, &folder.join("tree")).map_err(said)?;
    let target = folder.join("build");
    let build = || programs::build_models(tree.root(), &target, "loom_*");
    let mut sites = sites::find(tree.root())?;
    if !words.is_empty() {
        let wanted = |site: &Site| words.iter().any(|word| site.to_string().contains(word));
        sites.retain(wanted);
    }

    println!("the unchanged code");
    let timed = time_models(build()?)?;
    let (mut caught, mut as_good) = (0, true);
    for (at, site) in sites.iter().enumerate() {
        let built = tree
            .with(&site.file, |source| site.relaxed(source), build)
            .map_err(said)?;
        let noticed = who_notices(&built?, &timed)?;
        let blind = BLIND_SPOTS
            .iter()
            .find(|(file, text, _)| site.file == Path::new(file) && site.text.contains(text));
        let verdict = match (&noticed, blind) {
            (Some(model), None) => {
                caught += 1;
                format!("caught by {model}")
            }
            (Some(model), Some(_)) => {
                as_good = false;
                format!("caught by {model}, though it is listed as a blind spot")
            }
            (None, Some((_, _, reason))) => format!("not seen: {reason}"),
            (None, None) => {
                as_good = false;
                "SURVIVED".to_owned()
            }
        };
        println!("{}/{} {site}: {verdict}", at + 1, sites.len());
    }
    println!("{} orderings weakened, {caught} caught", sites.len());
    Ok(as_good)
}

/// Runs every model on the unchanged code; the fastest come first.
fn time_models(models: Vec<Test>) -> Result<Vec<Timed>, String> {
    let mut timed = Vec::new();
    for model in models {
        let (took, output) = time(&model)?;
        for line in output.lines().filter(|line| line.contains("interleavings")) {
            println!("  {line}");
        }
        timed.push(Timed {
            name: model.name,
            took,
        });
    }
    timed.sort_by_key(|model| model.took);
    Ok(timed)
}

/// Returns the first model that fails, tried from the fastest to the slowest.
fn who_notices(models: &[Test], timed: &[Timed]) -> Result<Option<String>, String> {
    for Timed { name, took } in timed {
        for model in models.iter().filter(|model| model.name == *name) {
            if model.run(patience(*took))? == Ended::Failed {
                return Ok(Some(name.clone()));
            }
        }
    }
    Ok(None)
}
