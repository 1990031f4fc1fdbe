//! Whether it adds up: both columns, the soak's own books and toolmeter's, line by line.
//!
//! # Who is exact for what
//!
//! A cursor that lives for the whole run sees every call of every tool: a tool that was
//! deregistered stays until each cursor has read it to its end. Resets and metrics see every
//! call of the tools that stay. Of tools that come and go they do not: registering a name again
//! starts from zero, and a tool that is gone is in no later snapshot. So those are compared with
//! the cursors alone.
//!
//! While rings overflow nobody can say which event is lost. So of each tool and kind no more
//! may be received than was done, and what is missing, all together, must be what was lost.

use crate::books::{self, Books, Did, FIELDS};
use crate::listeners::{Heard, Listener};
use crate::load::Run;
use crate::roomy::Counted;
use crate::tools::{FIXED, NAMES, TOOLS};
use serde::Serialize;
use std::ops::Range;
use toolmeter::{ErrorKind, EventKind};

/// One number, counted twice.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// What was counted.
    pub(crate) what: String,
    /// By the soak itself.
    pub(crate) books: u64,
    /// By toolmeter.
    pub(crate) toolmeter: u64,
}

impl Check {
    /// Whether both agree.
    pub(crate) fn agrees(&self) -> bool {
        self.books == self.toolmeter
    }
}

/// All comparisons of a run.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<Check>);

impl Checks {
    /// Compares everything.
    pub(crate) fn of(run: &Run) -> Vec<Check> {
        let mut checks = Self::default();
        checks.calls(run);
        checks.events(run);
        for heard in &run.heard {
            checks.subscriber(run, heard);
        }
        checks.fast(run);
        checks.guests(run);
        checks.roomy(&run.roomy);
        checks.0
    }

    fn add(&mut self, what: impl Into<String>, books: u64, toolmeter: u64) {
        self.0.push(Check {
            what: what.into(),
            books,
            toolmeter,
        });
    }

    fn calls(&mut self, run: &Run) {
        let readers = [
            ("the frequent cursor", &run.cursors[0], 0..TOOLS),
            ("the seldom cursor", &run.cursors[1], 0..TOOLS),
            ("resets and metrics", &run.resets, 0..FIXED),
        ];
        for (reader, theirs, tools) in readers {
            self.tallies(reader, &run.books, theirs, tools);
            let what = format!("{reader}: calls of unknown tools");
            self.add(what, run.books.unknown, theirs.unknown);
        }
        let [metrics, published] = &run.published;
        self.tallies("metrics, and as published", metrics, published, 0..FIXED);
        let open = run.books.sum(0..TOOLS).open();
        self.add("calls in flight", open, run.in_flight);
        self.add("tools at the end", FIXED as u64, run.visible as u64);
    }

    /// Each field of all these tools added up, and each tool that is not as it should be.
    fn tallies(&mut self, reader: &str, ours: &Books, theirs: &Books, tools: Range<usize>) {
        let (our_sum, their_sum) = (ours.sum(tools.clone()), theirs.sum(tools.clone()));
        for place in 0..FIELDS {
            let field = books::field_name(place);
            let what = format!("{reader}: {field}");
            self.add(what, our_sum.field(place), their_sum.field(place));
            for tool in tools.clone() {
                let our = ours.tool(tool).field(place);
                let their = theirs.tool(tool).field(place);
                if our != their {
                    self.add(format!("{reader}: {field} of {}", NAMES[tool]), our, their);
                }
            }
        }
    }

    fn events(&mut self, run: &Run) {
        let events = &run.events;
        self.add("offered while nobody subscribed", 0, run.overheard);
        self.add("offered", offered(run), events.offered);
        let accounted = events.lost_in_rings + events.drained;
        self.add("lost in rings and drained", offered(run), accounted);
        let [expected, lost] = run.lost_after;
        self.add("lost after the shutdown", expected, lost);
        self.add("found full", 0, events.found_full);
    }

    /// What a subscriber received and was told, and what toolmeter says of it.
    fn subscriber(&mut self, run: &Run, heard: &Heard) {
        let name = heard.listener.name();
        let stats = heard.stats.read();
        let accounted = stats.delivered + stats.filtered + stats.lost;
        for (what, books, toolmeter) in [
            ("drained", stats.drained, run.events.drained),
            ("delivered, filtered and lost", stats.drained, accounted),
            ("received", heard.events(), stats.delivered),
            ("told to be lost", heard.told_lost, stats.lost),
            ("out of order", 0, heard.out_of_order),
            ("without a name", 0, heard.unnamed),
        ] {
            self.add(format!("{name}: {what}"), books, toolmeter);
        }
    }

    /// What the subscriber that loses nothing says of the books and of the others.
    fn fast(&mut self, run: &Run) {
        let Some(fast) = heard_by(run, Listener::Fast) else {
            self.add("subscribers that lose nothing", 1, 0);
            return;
        };
        let stats = fast.stats.read();
        self.add("fast: lost", 0, stats.lost);
        self.add("fast: late", fast.late, stats.late);
        self.add("fast: late, in the account", fast.late, run.events.late);
        let all = fast.events() + run.events.lost_in_rings;
        self.add("fast: received, and lost in rings", offered(run), all);
        let (excess, _) = compare(&run.books, fast);
        self.add("fast: more of a kind than was done", 0, excess);
        for (listener, matching) in [
            (Listener::Failures, fast.of_kind(EventKind::Failed)),
            (Listener::Retries, fast.retries),
            (Listener::Slow, fast.events()),
            (Listener::Dead, fast.events()),
        ] {
            let theirs = heard_by(run, listener).map_or(0, |heard| {
                let stats = heard.stats.read();
                stats.delivered + stats.lost
            });
            let what = format!("{}: what it wanted of the fast one's", listener.name());
            self.add(what, matching, theirs);
        }
    }

    fn guests(&mut self, run: &Run) {
        let guests = &run.guests;
        let drained = guests.drained;
        self.add("guests: drained", drained, guests.accounted);
        self.add("guests: received, not delivered", 0, guests.undelivered);
        self.add("guests: from before they came", 0, guests.too_early);
        self.add("guests: own events missing", 0, guests.missing);
        self.add("guests: own events doubled", 0, guests.doubled);
        self.add("guests: counted after they left", 0, guests.haunted);
    }

    /// Where nothing is lost, what was received is what was done.
    fn roomy(&mut self, roomy: &Counted) {
        let (books, heard, events) = (&roomy.books, &roomy.heard, &roomy.events);
        self.tallies("roomy", books, &roomy.metrics, 0..TOOLS);
        let offered = 2 * books.sum(0..TOOLS).calls();
        self.add("roomy: offered", offered, events.offered);
        self.add("roomy: drained", offered, events.drained);
        self.add("roomy: lost in rings", 0, events.lost_in_rings);
        self.add("roomy: found full", 0, events.found_full);
        self.add("roomy: lost", 0, heard.stats.read().lost);
        self.add("roomy: late", heard.late, events.late);
        self.add("roomy: out of order", 0, heard.out_of_order);
        self.add("roomy: without a name", 0, heard.unnamed);
        for kind in EventKind::ALL {
            let done = |tool| books.tool(tool).by_event()[kind as usize];
            let all = (0..TOOLS).map(done).sum();
            self.add(format!("roomy: {kind}"), all, heard.of_kind(kind));
        }
        let (excess, lack) = compare(books, heard);
        self.add("roomy: more of a kind than was done", 0, excess);
        self.add("roomy: less of a kind than was done", 0, lack);
    }
}

/// How many events the calls must have offered.
fn offered(run: &Run) -> u64 {
    2 * run.books.sum(0..TOOLS).calls() - run.unheard
}

fn heard_by(run: &Run, listener: Listener) -> Option<&Heard> {
    run.heard.iter().find(|heard| heard.listener == listener)
}

/// Events received beyond what was done and events missing, of each tool and kind.
fn compare(books: &Books, heard: &Heard) -> (u64, u64) {
    let (mut excess, mut lack) = (0, 0);
    let mut add = |received: u64, done: u64| {
        excess += received.saturating_sub(done);
        lack += done.saturating_sub(received);
    };
    for tool in 0..TOOLS {
        let tally = books.tool(tool);
        for (received, done) in heard.kinds[tool].iter().zip(tally.by_event()) {
            add(*received, done);
        }
        for kind in ErrorKind::ALL {
            add(heard.errors[tool][kind.index()], tally.failed_as(kind));
        }
    }
    (excess, lack)
}

/// What the run should have done and did not.
pub(crate) fn not_done(run: &Run) -> Vec<&'static str> {
    let all = Did::ALL.into_iter();
    let mut missing: Vec<_> = all
        .filter(|&did| run.done(did) == 0)
        .map(Did::name)
        .collect();
    let rules = [
        ("events lost in rings", run.events.lost_in_rings),
        ("events drained", run.events.drained),
        ("events received by guests", run.guests.received),
        ("calls of unknown tools", run.books.unknown),
        (
            "events lost by the slow subscriber",
            lost_by(run, Listener::Slow),
        ),
        (
            "events lost by the dead subscriber",
            lost_by(run, Listener::Dead),
        ),
    ];
    missing.extend(rules.iter().filter(|rule| rule.1 == 0).map(|rule| rule.0));
    // A kind of failure or an outcome that never occurred was not tested.
    let sum = run.books.sum(0..TOOLS);
    missing.extend(
        (0..FIELDS)
            .filter(|&place| sum.field(place) == 0)
            .map(books::field_name),
    );
    missing
}

fn lost_by(run: &Run, listener: Listener) -> u64 {
    heard_by(run, listener).map_or(0, |heard| heard.stats.read().lost)
}
