//! A figure, and its line of the table.

use crate::spread::Spread;

/// A figure, and its aim: the value that it should not exceed.
pub(super) struct Figure {
    pub(super) name: String,
    /// One value for each round; a single one where there are no rounds.
    pub(super) values: Vec<f64>,
    at_most: Option<f64>,
}

impl Figure {
    /// Returns a figure with its aim.
    pub(super) fn new(name: impl Into<String>, at_most: f64, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            values,
            at_most: Some(at_most),
        }
    }

    /// Returns a figure without an aim, which shows how reliable the others are.
    pub(super) fn control(name: impl Into<String>, values: Vec<f64>) -> Self {
        Self {
            name: name.into(),
            values,
            at_most: None,
        }
    }

    /// Returns its line of the table.
    pub(super) fn line(&self) -> String {
        let spread = Spread::of(&self.values);
        let median = spread.median;
        let (quartiles, range) = if self.values.len() > 1 {
            (
                format!(
                    "{}..{}",
                    short(spread.lower_quartile),
                    short(spread.upper_quartile)
                ),
                format!("{}..{}", short(spread.least), short(spread.most)),
            )
        } else {
            (String::new(), String::new())
        };
        let (at_most, verdict) = match self.at_most {
            Some(at_most) if median <= at_most => (short(at_most), "reached"),
            Some(at_most) => (short(at_most), "missed"),
            None => (String::new(), ""),
        };
        let name = &self.name;
        format!(
            "{name:<68}{:>10}{quartiles:>18}{range:>18}{at_most:>10}  {verdict}\n",
            short(median)
        )
    }
}

/// Formats a number in at most seven characters.
fn short(number: f64) -> String {
    match number {
        ..100.0 => format!("{number:.2}"),
        _ => format!("{number:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(figure: &Figure) -> Vec<String> {
        let line = figure.line();
        let columns = line.split_whitespace();
        columns.map(str::to_owned).collect()
    }

    #[test]
    fn a_figure_is_reached_up_to_its_aim() {
        let figure = Figure::new("one", 2.0, vec![1.0, 3.0, 2.0]);
        assert_eq!(
            columns(&figure),
            ["one", "2.00", "1.50..2.50", "1.00..3.00", "2.00", "reached"]
        );
        let figure = Figure::new("many", 250_000.0, vec![250_001.0]);
        assert_eq!(columns(&figure), ["many", "250001", "250000", "missed"]);
        let figure = Figure::control("floor", vec![1.0]);
        assert_eq!(columns(&figure), ["floor", "1.00"]);
    }
}
