//! The median, the quartiles and the extremes of some rounds.

/// Quartiles and extremes of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    pub(crate) upper_quartile: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Returns the spread of `values`, of which there must be at least one. Between two values it
    /// interpolates linearly.
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, above) = (sorted[place as usize], sorted[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Self {
            least: at(0.0),
            lower_quartile: at(0.25),
            median: at(0.5),
            upper_quartile: at(0.75),
            most: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: &[f64]) -> [f64; 5] {
        let Spread {
            least,
            lower_quartile,
            median,
            upper_quartile,
            most,
        } = Spread::of(values);
        [least, lower_quartile, median, upper_quartile, most]
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(spread(&[7.0]), [7.0; 5]);
        assert_eq!(spread(&[9.0, 1.0, 2.0]), [1.0, 1.5, 2.0, 5.5, 9.0]);
        assert_eq!(spread(&[9.0, 1.0, 2.0, 4.0]), [1.0, 1.75, 3.0, 5.25, 9.0]);
    }
}
