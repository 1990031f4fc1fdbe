//! `--figures`: toolmeter's figures in one run, each next to its aim.
//!
//! All rows take turns in many short rounds. A figure is a ratio of two things measured in the same
//! round; shown are the median of these ratios, the quartiles and the extremes. No absolute time is
//! compared with anything. What holds for one thread is measured on one. By default a slice is half
//! a millisecond long for each of its threads. On a busy machine most slices then end before the
//! system interrupts them, and the median is that of uninterrupted calls.
//!
//! The calls are those of the table. `metrics()` is read once a round, from 1,000 tools with two
//! stripes in use: first tools that were called once on each of two threads, then tools that were
//! used like those of `--memory`, whose latencies span twenty octaves in each outcome. The snapshot
//! is dropped outside of the measured time, and all readings take time in addition to `--seconds`.
//! `published()` returns a snapshot of the latter tools.
//!
//! The percentile of single calls is that of `--tail`, a ratio for each slice; memory is that of
//! `--memory`, which is measured once, in processes of its own, and has no spread.

mod figure;
mod growth;

use crate::harness::{Cell, Measured, Measurement};
use crate::memory;
use crate::peers;
use crate::row::Row;
use crate::tail;
use crate::toolmeter_rows;
use figure::Figure;
use growth::growth;
use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use toolmeter::{Pump, Registry, ToolSpec};

/// The numbers of threads that the aims are for.
const THREADS: [usize; 3] = [1, 2, 4];
const TOOLS: usize = 1_000;
const STRIPES: usize = 2;
/// The part of the time that single calls get: one in this many.
const TAIL_SHARE: u32 = 5;
/// A slice shorter than this would be mostly the start of its threads.
const SHORTEST_SLICE: Duration = Duration::from_micros(500);

/// Measures for about `measure_for`, in `rounds` rounds, and returns the table.
///
/// # Errors
///
/// When a registry cannot be built, or a row has not counted every call.
pub(crate) fn report(measure_for: Duration, rounds: usize) -> Result<String, Box<dyn Error>> {
    let touched = tools_touched()?;
    let (in_use, _tools) = memory::tools_in_use(STRIPES)?;
    in_use.publish();
    let rows = rows(&in_use)?.to_vec();
    let for_tail = measure_for / TAIL_SHARE;
    let slices = rounds * rows.len() * THREADS.iter().sum::<usize>();
    let slice = ((measure_for - for_tail) / u32::try_from(slices)?).max(SHORTEST_SLICE);

    let mut measurement = Measurement::new(rows)?;
    let mut readings_ns = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        measurement.round(slice, &THREADS);
        for (registry, readings_ns) in [&touched, &in_use].into_iter().zip(&mut readings_ns) {
            readings_ns.push(reading_ns(registry));
        }
    }
    let Ok(measured) = <[Measured; ROWS]>::try_from(measurement.finish()?) else {
        return Err("a row was not measured".into());
    };
    let mut figures = timed(&measured, readings_ns);
    figures.push(Figure::new(
        "99.99th percentile of a call, overloaded / bare clock pair",
        2.0,
        tail::overload_ratios(for_tail)?,
    ));
    figures.extend(growth(STRIPES)?);
    figures.extend(resident()?);
    Ok(table(&figures, &measured))
}

/// The number of rows, in the order of [`timed`].
const ROWS: usize = 11;

fn rows(published: &Registry) -> Result<[Arc<dyn Row>; ROWS], Box<dyn Error>> {
    let [floor, _, paced_floor, _] = toolmeter_rows::references()?;
    let [run, subscribed, overload, by_name, invoke] = toolmeter_rows::rows()?;
    let [guards, futures, published] = toolmeter_rows::rows_of_figures(published.clone())?;
    Ok([
        floor,
        paced_floor,
        run,
        guards,
        futures,
        subscribed,
        overload,
        by_name,
        peers::dash_map()?,
        invoke,
        published,
    ])
}

/// Returns a registry of tools each of which was called once on each of two threads.
fn tools_touched() -> Result<Registry, Box<dyn Error>> {
    let registry = Registry::builder()
        .pump(Pump::manual())
        .stripes(STRIPES)
        .build()?;
    let specs = (0..TOOLS).map(|tool| ToolSpec::new(format!("tool_{tool}")));
    let tools = registry.register_all(specs)?;
    let call_all = || {
        for tool in &tools {
            tool.start().succeed();
        }
    };
    // This thread keeps its stripe, so the other one gets another.
    call_all();
    thread::scope(|scope| {
        scope.spawn(call_all);
    });
    let metrics = registry.metrics();
    let counted: u64 = metrics.tools.values().map(|tool| tool.success()).sum();
    if counted != 2 * TOOLS as u64 {
        return Err(format!("{counted} calls are counted of two of each tool").into());
    }
    Ok(registry)
}

fn reading_ns(registry: &Registry) -> f64 {
    let start = Instant::now();
    let metrics = black_box(registry.metrics());
    let elapsed = start.elapsed();
    drop(metrics);
    elapsed.as_secs_f64() * 1e9
}

/// Returns the figures of the rounds.
fn timed(measured: &[Measured; ROWS], readings_ns: [Vec<f64>; 2]) -> Vec<Figure> {
    let [
        floor,
        paced_floor,
        run,
        guards,
        futures,
        subscribed,
        overload,
        by_name,
        dash_map,
        invoke,
        published,
    ] = measured.each_ref().map(|row| &row.cells);
    let x_floor = |cell: &Cell| ratios(cell.rounds_ns(), floor[0].rounds_ns());
    let two_threads = |cells: &[Cell]| ratios(cells[1].rounds_ns(), cells[0].rounds_ns());
    let over_dash_map =
        |threads: usize| ratios(by_name[threads].rounds_ns(), dash_map[threads].rounds_ns());
    // A burst is too short to be interrupted often and a slice is not, so on a busy machine paced
    // calls and others are each compared with a floor of their own kind.
    let with_room = ratios(subscribed[0].rounds_ns(), paced_floor[0].rounds_ns());
    let lost = subscribed[0].lost.unwrap_or(0) as f64;
    let [touched, in_use] = readings_ns.map(|readings| ratios(&readings, floor[0].rounds_ns()));
    vec![
        Figure::control("two threads / one: floor", two_threads(floor)),
        Figure::control("paced floor / floor", x_floor(&paced_floor[0])),
        Figure::new("run, no subscriber / floor", 1.35, x_floor(&run[0])),
        Figure::new(
            "start and succeed, no subscriber / floor",
            1.35,
            x_floor(&guards[0]),
        ),
        Figure::new(
            "run_async of a ready future / floor",
            1.6,
            x_floor(&futures[0]),
        ),
        Figure::new("two threads on one tool / one: run", 1.15, two_threads(run)),
        Figure::new(
            "two threads on one tool / one: start and succeed",
            1.15,
            two_threads(guards),
        ),
        Figure::new(
            "run, one subscriber, paced / paced floor",
            3.5,
            with_room.clone(),
        ),
        Figure::new("  events lost by it", 0.0, vec![lost]),
        Figure::new(
            "run, overloaded / with room, each over its own floor",
            1.0,
            ratios(&x_floor(&overload[0]), &with_room),
        ),
        Figure::new("by name, own closure / floor", 2.2, x_floor(&by_name[0])),
        Figure::new("  / DashMap by name, 1 thread", 1.0, over_dash_map(0)),
        Figure::new("  / DashMap by name, 2 threads", 1.0, over_dash_map(1)),
        Figure::new("  / DashMap by name, 4 threads", 1.0, over_dash_map(2)),
        Figure::new("invoke by name / floor", 3.5, x_floor(&invoke[0])),
        Figure::new(
            "two threads on one tool / one: invoke",
            1.15,
            two_threads(invoke),
        ),
        Figure::new("published() / floor", 0.75, x_floor(&published[0])),
        Figure::new(
            "metrics() of 1,000 tools, two calls each / floor",
            90_000.0,
            touched,
        ),
        Figure::new(
            "metrics() of 1,000 tools as in --memory / floor",
            250_000.0,
            in_use,
        ),
    ]
}

/// Divides `ones` by `others`, round by round.
fn ratios(ones: &[f64], others: &[f64]) -> Vec<f64> {
    ones.iter()
        .zip(others)
        .map(|(one, other)| one / other)
        .collect()
}

/// Returns the figures of `--memory`.
fn resident() -> Result<Vec<Figure>, Box<dyn Error>> {
    let mut figures = Vec::new();
    for figure in [memory::USED, memory::REUSED] {
        for stripes in memory::STRIPES {
            let kibibytes = figure.measured_apart(stripes)?.kibibytes_of_a_share();
            let name = format!("{}, {stripes} stripes, KiB a tool and thread", figure.name);
            figures.push(Figure::new(name, 32.0, vec![kibibytes]));
        }
    }
    for stripes in memory::STRIPES {
        let mebibytes = memory::UNUSED.measured_apart(stripes)?.mebibytes();
        let name = format!("{}, {stripes} stripes, MiB", memory::UNUSED.name);
        figures.push(Figure::new(name, 64.0, vec![mebibytes]));
    }
    Ok(figures)
}

fn table(figures: &[Figure], measured: &[Measured; ROWS]) -> String {
    let [floor, _, _, _, _, subscribed, ..] = measured.each_ref().map(|row| &row.cells);
    let mut text = format!(
        "{:<68}{:>10}{:>18}{:>18}{:>10}\n{}\n",
        "",
        "median",
        "quartiles",
        "range",
        "at most",
        "-".repeat(133)
    );
    for figure in figures {
        text.push_str(&figure.line());
    }
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "\nThe floor, two reads of toolmeter's clock, took {:.1} ns. The paced calls were {:.2} \
         million a second;\nthey should be about 1. Where the floor of two threads is far above \
         that of one, they took turns on one core:\nmeasure again.\n",
        floor[0].median_ns(),
        subscribed[0].calls_per_second() / 1e6,
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::Spread;

    #[test]
    fn a_ratio_is_taken_within_its_round() {
        // The machine was twice as slow in the second round, for both.
        assert_eq!(ratios(&[30.0, 60.0], &[20.0, 40.0]), [1.5, 1.5]);
    }

    #[test]
    fn every_row_finds_its_figure() {
        let registry = tools_touched().expect("built");
        registry.publish();
        let names = rows(&registry).expect("built").map(|row| row.name());
        assert_eq!(
            names,
            [
                "floor",
                "floor, paced",
                "toolmeter/idle",
                "toolmeter/guards",
                "toolmeter/async",
                "toolmeter/subscribed",
                "toolmeter/overload",
                "toolmeter/by_name",
                "DashMap/by_name",
                "toolmeter/invoke",
                "toolmeter/published",
            ]
        );
        // Numbers that differ, so that no two can be mixed up.
        let measured = rows(&registry).expect("built");
        let mut next = 0.0;
        let measured = measured.map(|row| Measured {
            row,
            cells: [1, 2, 4].map(|_| {
                next += 1.0;
                Cell::of_rounds(&[next])
            }),
        });
        let medians: Vec<f64> = timed(&measured, [vec![5.0], vec![7.0]])
            .iter()
            .map(|figure| Spread::of(&figure.values).median)
            .collect();
        let expected = [
            2.0 / 1.0,
            4.0 / 1.0,
            7.0,
            10.0,
            13.0,
            8.0 / 7.0,
            11.0 / 10.0,
            16.0 / 4.0,
            0.0,
            (19.0 / 1.0) / (16.0 / 4.0),
            22.0,
            22.0 / 25.0,
            23.0 / 26.0,
            24.0 / 27.0,
            28.0,
            29.0 / 28.0,
            31.0,
            5.0,
            7.0,
        ];
        assert_eq!(medians, expected);
    }
}
