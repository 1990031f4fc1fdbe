//! The comparison of the expected counts with toolmeter's.
//!
//! Three kinds of reading are exact: a cursor that lives for the whole run, all that resets returned
//! together with the metrics since the last of them, and the totals. Each sees every call of every
//! name, whether its tool stays or comes and goes. Where more names come and go than are remembered,
//! the counts of a forgotten name are among those of nameless tools. There the sum over all names is
//! compared, and each name that is still known (`crowd.rs`).
//!
//! While rings overflow it is not known which event is lost. So no more events of a tool and kind may
//! be received than occurred, and the number of all missing events must equal the number of lost
//! events.

use crate::counts::{self, Counts, FIELDS, Tally};
use crate::crowd;
use crate::did::Did;
#[cfg(unix)]
use crate::forks;
use crate::guests::Guests;
use crate::halting::{Halted, Halting};
use crate::listeners::{Heard, Listener};
use crate::load::Run;
use crate::roomy::Counted;
use crate::rude;
use crate::stepping;
use crate::tools::{FIXED, NAMES, TOOLS};
use crate::wakers::HOLDING;
use serde::Serialize;
use toolmeter::{ErrorKind, EventKind};

/// A number counted twice.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    /// The name of the number.
    pub(crate) what: String,
    /// The number that the soak counted.
    pub(crate) expected: u64,
    /// The number that toolmeter counted.
    pub(crate) toolmeter: u64,
}

impl Check {
    /// Returns whether both are equal.
    pub(crate) fn agrees(&self) -> bool {
        self.expected == self.toolmeter
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
        checks.guests("guests", &run.guests);
        checks.roomy("roomy", &run.roomy);
        checks.crowd(&run.crowd);
        checks.rude(&run.rude);
        checks.stepping(&run.stepping);
        #[cfg(unix)]
        checks.forks(&run.forks);
        if let Some(left) = run.threads_left {
            checks.add("threads of toolmeter that are left", 0, left);
        }
        checks.0
    }

    fn add(&mut self, what: impl Into<String>, expected: u64, toolmeter: u64) {
        self.0.push(Check {
            what: what.into(),
            expected,
            toolmeter,
        });
    }

    fn calls(&mut self, run: &Run) {
        let readers = [
            ("the frequent cursor", &run.cursors[0]),
            ("the infrequent cursor", &run.cursors[1]),
            ("resets and metrics", &run.resets),
            ("totals", &run.totals),
        ];
        for (reader, theirs) in readers {
            self.tallies(reader, &run.counts, theirs);
            let what = format!("{reader}: calls of unknown tools");
            self.add(what, run.counts.unknown, theirs.unknown);
        }
        let [metrics, published] = &run.published;
        self.tallies("metrics, and as published", metrics, published);
        let open = run.counts.sum(0..TOOLS).open();
        self.add("calls in flight", open, run.in_flight);
        self.add("tools at the end", FIXED as u64, run.visible as u64);
    }

    /// Compares each field of the sum over all tools, and adds each tool that differs.
    fn tallies(&mut self, reader: &str, ours: &Counts, theirs: &Counts) {
        self.fields(reader, &ours.sum(0..TOOLS), &theirs.sum(0..TOOLS));
        for place in 0..FIELDS {
            let field = counts::field_name(place);
            for (tool, name) in NAMES.iter().enumerate() {
                let our = ours.tool(tool).field(place);
                let their = theirs.tool(tool).field(place);
                if our != their {
                    self.add(format!("{reader}: {field} of {name}"), our, their);
                }
            }
        }
    }

    /// Compares each field.
    fn fields(&mut self, reader: &str, ours: &Tally, theirs: &Tally) {
        for place in 0..FIELDS {
            let what = format!("{reader}: {}", counts::field_name(place));
            self.add(what, ours.field(place), theirs.field(place));
        }
    }

    fn events(&mut self, run: &Run) {
        let events = &run.events;
        self.add("offered without a subscription", 0, run.overheard);
        self.add("offered", offered(run), events.offered);
        let accounted = events.lost_in_rings + events.drained;
        self.add("lost in rings and drained", offered(run), accounted);
        let [expected, lost] = run.lost_after;
        self.add("lost after the shutdown", expected, lost);
    }

    /// Compares what a subscriber received with its statistics.
    fn subscriber(&mut self, run: &Run, heard: &Heard) {
        let name = heard.listener.name();
        let stats = heard.stats.read();
        let accounted = stats.delivered + stats.filtered + stats.lost;
        for (what, expected, toolmeter) in [
            ("drained", stats.drained, run.events.drained),
            ("delivered, filtered and lost", stats.drained, accounted),
            ("received", heard.events(), stats.delivered),
            ("reported as lost", heard.told_lost, stats.lost),
            ("out of order", 0, heard.out_of_order),
            ("without a name", 0, heard.unnamed),
        ] {
            self.add(format!("{name}: {what}"), expected, toolmeter);
        }
    }

    /// Compares the events of the subscriber that loses none with the expected counts and with the
    /// other subscribers.
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
        let (excess, _) = compare(&run.counts, fast);
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
            let what = format!("{}: matching events of the fast one", listener.name());
            self.add(what, matching, theirs);
        }
    }

    fn guests(&mut self, who: &str, guests: &Guests) {
        for (what, expected, toolmeter) in [
            ("drained", guests.drained, guests.accounted),
            ("received, not delivered", 0, guests.undelivered),
            ("from before they came", 0, guests.too_early),
            ("own events missing", 0, guests.missing),
            ("own events doubled", 0, guests.doubled),
            ("counted after they left", 0, guests.haunted),
        ] {
            self.add(format!("{who}: {what}"), expected, toolmeter);
        }
    }

    /// Compares everything of a host that loses no event.
    fn roomy(&mut self, host: &str, roomy: &Counted) {
        let (counts, heard, events) = (&roomy.counts, &roomy.heard, &roomy.events);
        self.tallies(host, counts, &roomy.metrics);
        let offered = counts.sum(0..TOOLS).events();
        for (what, expected, toolmeter) in [
            ("offered", offered, events.offered),
            ("drained", offered, events.drained),
            ("lost in rings", 0, events.lost_in_rings),
            ("lost", 0, heard.stats.read().lost),
            ("late", heard.late, events.late),
            ("out of order", 0, heard.out_of_order),
            ("without a name", 0, heard.unnamed),
            ("rounds of the pump that panicked", 0, events.pump_panics),
        ] {
            self.add(format!("{host}: {what}"), expected, toolmeter);
        }
        for kind in EventKind::ALL {
            let done = |tool| counts.tool(tool).by_event()[kind as usize];
            let all = (0..TOOLS).map(done).sum();
            self.add(format!("{host}: {kind}"), all, heard.of_kind(kind));
        }
        let (excess, lack) = compare(counts, heard);
        self.add(format!("{host}: more of a kind than was done"), 0, excess);
        self.add(format!("{host}: less of a kind than was done"), 0, lack);
    }

    /// Compares everything of the hostile host, where nothing may be missing.
    fn rude(&mut self, rude: &rude::Counted) {
        self.roomy("rude", &rude.roomy);
        self.tallies("rude, a cursor", &rude.roomy.counts, &rude.cursor);
        self.guests("rude, wakers", &rude.visits.guests);
        self.add("rude: wakers that were not called", 0, rude.visits.unwoken);
        self.add("rude: wakers called in vain", 0, rude.visits.in_vain);
        let panics = rude.roomy.counts.times(Did::WakerPanicked);
        self.add(
            "rude: wakers that panicked",
            panics,
            rude.events.waker_panics,
        );
        // A waker that was only kept from a core for long may look like one that holds.
        let holding = HOLDING as u64;
        let stuck = rude.events.stuck_wakers.min(holding);
        self.add("rude: wakers that did not return", holding, stuck);
        let [made, dropped] = rude.bodies;
        self.add("rude: bodies dropped", made, dropped);
        self.add("rude: messages not redacted", 0, rude.strange_messages);
        for halted in &rude.halted {
            let Halted { who, stats, .. } = halted;
            let accounted = stats.delivered + stats.filtered + stats.lost;
            let heard = &rude.roomy.heard;
            let (wanted, lost) = match who {
                Halting::Full => (heard.events(), stats.lost),
                Halting::Ample | Halting::Polled => (heard.of_kind(EventKind::Failed), 0),
            };
            for (what, expected, toolmeter) in [
                ("drained", rude.roomy.events.drained, stats.drained),
                ("delivered, filtered and lost", stats.drained, accounted),
                ("received", halted.received, stats.delivered),
                ("what it wanted", wanted, stats.delivered + stats.lost),
                ("lost", lost, stats.lost),
                (
                    "reported as lost, beyond what was",
                    0,
                    halted.told_too_much(),
                ),
            ] {
                self.add(format!("rude, {}: {what}", who.name()), expected, toolmeter);
            }
        }
    }

    /// Compares everything of the host whose clocks step, where nothing may be missing or held.
    fn stepping(&mut self, stepping: &stepping::Counted) {
        self.roomy("stepping", &stepping.roomy);
        self.add("stepping: not published", 0, stepping.unpublished);
        self.add("stepping: held at rest", 0, stepping.held);
    }

    #[cfg(unix)]
    fn forks(&mut self, forks: &forks::Counted) {
        let forked = forks.counts.times(Did::Forked);
        self.add("forks: children that ended well", forked, forks.right);
        self.add("forks: children that hung", 0, forks.hung);
        self.add("forks: calls of the parent", forks.calls, forks.counted);
    }
}

impl Checks {
    /// Compares the sums of the host that forgets names, where no count may be missing.
    fn crowd(&mut self, crowd: &crowd::Counted) {
        for (reader, theirs) in &crowd.readers {
            self.fields(&format!("crowd, {reader}"), &crowd.counts, theirs);
        }
        self.add(
            "crowd: tools, with names and without",
            crowd.ids,
            crowd.tools,
        );
        self.add(
            "crowd: unique names with other counts",
            0,
            crowd.other_counts,
        );
        self.add("crowd: more under a name than was done", 0, crowd.excess);
        self.add("crowd: totals that went back", 0, crowd.went_back);
        let offered = crowd.counts.events();
        self.add("crowd: offered", offered, crowd.events.offered);
        let accounted = crowd.events.lost_in_rings + crowd.received + crowd.lost;
        self.add("crowd: received and lost", offered, accounted);
        self.add("crowd: events without a name", 0, crowd.unnamed);
        self.add("crowd: running calls at rest", 0, crowd.still_running);
    }
}

/// Returns the number of events that the calls must have offered.
fn offered(run: &Run) -> u64 {
    run.counts.sum(0..TOOLS).events() - run.unheard
}

fn heard_by(run: &Run, listener: Listener) -> Option<&Heard> {
    run.heard.iter().find(|heard| heard.listener == listener)
}

/// Returns the number of events received in excess and the number missing, over tools and kinds.
fn compare(counts: &Counts, heard: &Heard) -> (u64, u64) {
    let (mut excess, mut lack) = (0, 0);
    let mut add = |received: u64, done: u64| {
        excess += received.saturating_sub(done);
        lack += done.saturating_sub(received);
    };
    for tool in 0..TOOLS {
        let tally = counts.tool(tool);
        for (received, done) in heard.kinds[tool].iter().zip(tally.by_event()) {
            add(*received, done);
        }
        for kind in ErrorKind::ALL {
            add(heard.errors[tool][kind.index()], tally.failed_as(kind));
        }
    }
    (excess, lack)
}

/// Returns the names of what the run should have done and did not.
pub(crate) fn not_done(run: &Run, with_forks: bool) -> Vec<&'static str> {
    let all = Did::ALL.iter();
    let mut missing: Vec<_> = all
        .filter(|did| with_forks || !did.is_fork())
        .filter(|&&did| run.done(did) == 0)
        .map(|did| did.name())
        .collect();
    let rules = [
        ("events lost in rings", run.events.lost_in_rings),
        ("events drained", run.events.drained),
        ("events received by guests", run.guests.received),
        ("calls of unknown tools", run.counts.unknown),
        ("tools that lost their names", run.crowd.nameless),
        (
            "calls through handles of the crowd",
            run.crowd.through_handles,
        ),
        ("running calls listed", run.crowd.listed),
        ("cursors never read", run.crowd.unread),
        ("messages of the rude host", run.rude.messages),
        (
            "events lost by a receiver that stopped half way",
            run.rude.halted.iter().map(|halted| halted.stats.lost).sum(),
        ),
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
    let sum = run.counts.sum(0..TOOLS);
    missing.extend(
        (0..FIELDS)
            .filter(|&place| sum.field(place) == 0)
            .map(counts::field_name),
    );
    missing
}

fn lost_by(run: &Run, listener: Listener) -> u64 {
    heard_by(run, listener).map_or(0, |heard| heard.stats.read().lost)
}
