//! `cargo loom-mutants`: weakens each ordering to `Relaxed`, one at a time, and asks the loom
//! models whether they notice.
//!
//! Exit status: 0 if a model failed for each ordering, but for those in [`BLIND_SPOTS`], which no
//! model can see; 1 if an ordering survived, or one of the blind spots was caught after all; 2 if
//! the models of the unchanged code do not pass or the tree does not build.
//!
//! With words on the command line, only sites whose file and line contain one of them are tried:
//! `cargo loom-mutants ring.rs`.
//!
//! | file | what it owns |
//! | --- | --- |
//! | `sites` | which orderings there are |
//! | `tree` | the copy in which they are weakened |
//! | `models` | building and running the models |

mod models;
mod sites;
mod tree;

use models::{Ended, Model};
use sites::Site;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tree::Tree;

/// Orderings that are needed and that loom cannot see weakened: the file, what the line contains,
/// and the reason.
const BLIND_SPOTS: [(&str, &str, &str); 1] = [(
    "events/src/ring.rs",
    "floor.starts =",
    "loom does not move a load behind a later write of the same thread",
)];

/// A model of weakened code may take this much longer than of the real code before it is given
/// up; it then counts as not having noticed.
const PATIENCE: u32 = 10;
/// And at least this long.
const LEAST_PATIENCE: Duration = Duration::from_secs(60);

/// A model, and how long it takes on the unchanged code.
struct Timed {
    name: String,
    took: Duration,
}

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loom-mutants: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether the models are as good as they are said to be.
fn run(words: &[String]) -> Result<bool, String> {
    let said = |error: std::io::Error| error.to_string();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .map_err(said)?;
    let folder = project.join("target/loom-mutants");
    let tree = Tree::copy(&project, &folder.join("tree")).map_err(said)?;
    let target = folder.join("build");
    let mut sites = sites::find(tree.root())?;
    if !words.is_empty() {
        let wanted = |site: &Site| words.iter().any(|word| site.to_string().contains(word));
        sites.retain(wanted);
    }

    println!("the unchanged code");
    let timed = time_models(models::build(tree.root(), &target)?)?;
    let (mut caught, mut as_good) = (0, true);
    for (at, site) in sites.iter().enumerate() {
        let source = tree.read(&site.file).map_err(said)?;
        tree.write(&site.file, &site.relaxed(&source))
            .map_err(said)?;
        let built = models::build(tree.root(), &target);
        tree.write(&site.file, &source).map_err(said)?;
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
                format!("caught by {model}, though it is said to be a blind spot")
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
fn time_models(models: Vec<Model>) -> Result<Vec<Timed>, String> {
    let mut timed = Vec::new();
    for model in models {
        let began = Instant::now();
        let Ended::Passed(output) = model.run(Duration::MAX)? else {
            return Err(format!(
                "{} does not hold on the unchanged code",
                model.name
            ));
        };
        for line in output.lines().filter(|line| line.contains("interleavings")) {
            println!("  {line}");
        }
        timed.push(Timed {
            name: model.name,
            took: began.elapsed(),
        });
    }
    timed.sort_by_key(|model| model.took);
    Ok(timed)
}

/// The first model, from the fastest on, that fails.
fn who_notices(models: &[Model], timed: &[Timed]) -> Result<Option<String>, String> {
    for Timed { name, took } in timed {
        let limit = LEAST_PATIENCE.max(*took * PATIENCE);
        for model in models.iter().filter(|model| model.name == *name) {
            if model.run(limit)? == Ended::Failed {
                return Ok(Some(name.clone()));
            }
        }
    }
    Ok(None)
}
