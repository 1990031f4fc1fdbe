//! The figures as a table and as JSON.

use crate::harness::{Measured, THREADS};
use crate::row::Pace;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write};

/// The remark on a paced row that lost events: a call whose events are lost is cheaper.
const NOT_VALID: &str = ": it should be 0, so this row does not count";

/// All rows, with the floors that they are compared with.
pub(crate) struct Report {
    /// Two reads of toolmeter's clock.
    pub(crate) floor: Measured,
    /// Two reads of [`Instant`](std::time::Instant), which is what the peers start from.
    pub(crate) instant: Measured,
    /// Two reads of toolmeter's clock at the pace of `toolmeter/subscribed`.
    pub(crate) paced_floor: Measured,
    /// `toolmeter/idle` at the pace of `toolmeter/subscribed`.
    pub(crate) paced_idle: Measured,
    /// toolmeter's rows, then the peers'; the first is `toolmeter/idle`.
    pub(crate) rows: Vec<Measured>,
    /// The source of toolmeter's clock.
    pub(crate) clock: &'static str,
}

#[derive(Serialize)]
struct JsonReport {
    floor_ns: BTreeMap<usize, f64>,
    rows: Vec<JsonRow>,
}

#[derive(Serialize)]
struct JsonRow {
    name: &'static str,
    threads: usize,
    median_ns: f64,
    min_ns: f64,
    max_ns: f64,
    x_floor: f64,
    x_toolmeter: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    floor_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    toolmeter_ns: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calls_per_second: Option<f64>,
}

impl Report {
    /// Returns one JSON object in one line.
    ///
    /// Rows with a subscriber also have `lost` (events) and `calls_per_second` (of one thread). A
    /// paced row also has what it is compared with: `floor_ns` and `toolmeter_ns`, which are
    /// paced too.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let floor_ns = THREADS
            .iter()
            .zip(&self.floor.cells)
            .map(|(&threads, cell)| (threads, cell.median_ns()))
            .collect();
        let mut rows = Vec::new();
        for measured in &self.rows {
            let compared = self.compared_with(measured);
            let is_paced = measured.row.pace() == Pace::Million;
            for (at, (&threads, cell)) in THREADS.iter().zip(&measured.cells).enumerate() {
                let [floor_ns, idle_ns] = compared.map(|other| other.cells[at].median_ns());
                rows.push(JsonRow {
                    name: measured.row.name(),
                    threads,
                    median_ns: cell.median_ns(),
                    min_ns: cell.min_ns(),
                    max_ns: cell.max_ns(),
                    x_floor: cell.median_ns() / floor_ns,
                    x_toolmeter: cell.median_ns() / idle_ns,
                    floor_ns: is_paced.then_some(floor_ns),
                    toolmeter_ns: is_paced.then_some(idle_ns),
                    lost: cell.lost,
                    calls_per_second: cell.lost.map(|_| cell.calls_per_second()),
                });
            }
        }
        serde_json::to_string(&JsonReport { floor_ns, rows })
    }

    /// Returns the floor and the `toolmeter/idle` that a row is compared with.
    ///
    /// A paced row shares the cores with no other row while it waits, so on a machine with fewer cores
    /// than threads it would look cheap next to rows that do not wait.
    fn compared_with(&self, measured: &Measured) -> [&Measured; 2] {
        match measured.row.pace() {
            Pace::Unpaced => [&self.floor, &self.rows[0]],
            Pace::Million => [&self.paced_floor, &self.paced_idle],
        }
    }

    fn write_row(&self, f: &mut fmt::Formatter<'_>, measured: &Measured) -> fmt::Result {
        let [floor, idle] = self.compared_with(measured);
        write!(f, "{:<28}", measured.row.name())?;
        for (at, cell) in measured.cells.iter().enumerate() {
            let median_ns = cell.median_ns();
            write!(
                f,
                " |{median_ns:>7.1} {:>15} {:>6.2} {:>6.2}",
                format!("{:.1}..{:.1}", cell.min_ns(), cell.max_ns()),
                median_ns / floor.cells[at].median_ns(),
                median_ns / idle.cells[at].median_ns(),
            )?;
        }
        f.write_char('\n')
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        writeln!(
            f,
            "ns a call: median and range of the rounds, as a multiple of the floor (two reads of \
             toolmeter's clock,\nhere {}), and as a multiple of toolmeter/idle. {cores} cores; \
             all threads meter one tool.\nPaced rows make 1 million calls a second on each thread \
             and are compared with paced ones, waits excluded;\ntoolmeter/subscribed is one.\n",
            self.clock
        )?;
        write!(f, "{:<28}", "")?;
        for threads in THREADS {
            let threads = format!("{threads} thread{}", if threads == 1 { "" } else { "s" });
            write!(f, " |{threads:>37}")?;
        }
        write!(f, "\n{:<28}", "")?;
        for _ in THREADS {
            write!(
                f,
                " |{:>7} {:>15} {:>6} {:>6}",
                "median", "range", "floor", "idle"
            )?;
        }
        writeln!(f, "\n{}", "-".repeat(28 + THREADS.len() * 39))?;
        for measured in [
            &self.floor,
            &self.instant,
            &self.paced_floor,
            &self.paced_idle,
        ] {
            self.write_row(f, measured)?;
        }
        for measured in &self.rows {
            self.write_row(f, measured)?;
        }
        writeln!(f)?;
        if cores > 1 && self.floor.cells[1].median_ns() > 1.3 * self.floor.cells[0].median_ns() {
            writeln!(
                f,
                "Two threads took turns on one core while the floor was measured: something else \
                 kept the machine busy.\nNeither contention nor its absence shows in such a run; \
                 measure again.\n"
            )?;
        }
        for measured in &self.rows {
            for (threads, cell) in THREADS.iter().zip(&measured.cells) {
                if let Some(lost) = cell.lost {
                    let rate = cell.calls_per_second() / 1e6;
                    let is_invalid = lost > 0 && measured.row.pace() == Pace::Million;
                    let name = measured.row.name();
                    writeln!(
                        f,
                        "{name} with {threads} thread{}: {rate:.2} million calls a second a \
                         thread, {lost} events lost of {}{}",
                        if *threads == 1 { "" } else { "s" },
                        cell.events(),
                        if is_invalid { NOT_VALID } else { "" },
                    )?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Cell;
    use crate::toolmeter_rows;
    use serde_json::{Value, json};

    /// Returns a report whose rows have three rounds each: a base times the number of threads, 1
    /// more and 2 more.
    fn report(lost: u64) -> Report {
        let measured = |row, base: f64| Measured {
            row,
            cells: THREADS.map(|threads| {
                let ns = base * threads as f64;
                Cell::of_rounds(&[ns, ns + 2.0, ns + 1.0])
            }),
        };
        let references = toolmeter_rows::references().expect("built");
        let [floor, instant, paced_floor, paced_idle] = references;
        let [idle, mut subscribed, ..] = toolmeter_rows::rows()
            .expect("built")
            .map(|row| measured(row, 39.0));
        subscribed.cells[0].lost = Some(lost);
        Report {
            floor: measured(floor, 19.0),
            instant: measured(instant, 24.0),
            paced_floor: measured(paced_floor, 9.0),
            paced_idle: measured(paced_idle, 7.0),
            rows: vec![idle, subscribed],
            clock: "a test",
        }
    }

    #[test]
    fn json_has_the_floor_and_a_row_for_each_number_of_threads() {
        let json = report(0).to_json().expect("it is an object");
        assert_eq!(json.lines().count(), 1);
        let json: Value = serde_json::from_str(&json).expect("it is JSON");
        assert_eq!(
            json["floor_ns"],
            json!({"1": 20.0, "2": 39.0, "4": 77.0}),
            "{json}"
        );
        let rows = json["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 2 * THREADS.len());
        assert_eq!(
            rows[0],
            json!({
                "name": "toolmeter/idle", "threads": 1,
                "median_ns": 40.0, "min_ns": 39.0, "max_ns": 41.0,
                "x_floor": 2.0, "x_toolmeter": 1.0,
            })
        );
        assert_eq!(rows[1]["threads"], 2);
    }

    #[test]
    fn a_paced_row_is_compared_with_paced_ones() {
        let json = report(3).to_json().expect("it is an object");
        let json: Value = serde_json::from_str(&json).expect("it is JSON");
        let row = &json["rows"][3];
        assert_eq!(row["name"], "toolmeter/subscribed");
        assert_eq!(
            (&row["floor_ns"], &row["x_floor"]),
            (&json!(10.0), &json!(4.0))
        );
        assert_eq!(
            (&row["toolmeter_ns"], &row["x_toolmeter"]),
            (&json!(8.0), &json!(5.0))
        );
        assert_eq!(row["lost"], 3);
    }

    #[test]
    fn the_table_says_when_events_were_lost_that_should_not_be() {
        assert!(!report(0).to_string().contains(NOT_VALID));
        let table = report(1).to_string();
        assert!(
            table.contains("1 events lost") && table.contains(NOT_VALID),
            "{table}"
        );
    }
}
