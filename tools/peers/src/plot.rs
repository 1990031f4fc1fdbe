//! The plot of cost against threads, as SVG.
//!
//! The scale is logarithmic, since the rows lie up to two orders of magnitude apart. Labels stand
//! at the right end of the lines and are pushed apart where lines end close to each other.

use crate::harness::{Cell, Measured, THREADS};
use crate::report::Report;
use std::fmt::Write;

const WIDTH: f64 = 820.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 500.0;
const LABEL_HEIGHT: f64 = 17.0;

/// Colours that stay apart for readers with a colour vision deficiency, darker ones first.
const COLOURS: [&str; 9] = [
    "#a6611a", "#7b3294", "#4d4d4d", "#c2185b", "#b8860b", "#33691e", "#6d4c41", "#607d8b",
    "#00897b",
];

struct Line {
    label: String,
    colour: &'static str,
    width: f64,
    dashes: &'static str,
    values_ns: [f64; THREADS.len()],
}

/// The plot of `report` as the text of an SVG file.
pub(crate) fn svg(report: &Report) -> String {
    let lines = lines(report);
    let all = || lines.iter().flat_map(|line| line.values_ns);
    let scale = Scale {
        least: all().fold(f64::MAX, f64::min).log10() - 0.05,
        most: all().fold(1.0, f64::max).log10() + 0.05,
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"26\" font-size=\"16\" fill=\"#111111\">Cost of one metered call \
         against threads that meter the same tool</text>\n\
         <text x=\"{LEFT}\" y=\"45\" fill=\"#444444\">nanoseconds a call, median of rounds, \
         logarithmic scale</text>\n"
    );
    axes(&mut svg, &scale);
    for line in &lines {
        curve(&mut svg, &scale, line);
    }
    labels(&mut svg, &scale, &lines);
    svg.push_str("</svg>\n");
    svg
}

fn lines(report: &Report) -> Vec<Line> {
    let values = |measured: &Measured| measured.cells.each_ref().map(Cell::median_ns);
    let mut lines = vec![Line {
        label: "floor: two clock reads".to_owned(),
        colour: "#9e9e9e",
        width: 1.5,
        dashes: "5 4",
        values_ns: values(&report.floor),
    }];
    let mut colours = COLOURS.iter().cycle();
    for measured in report.rows.iter().filter(|one| one.row.in_plot()) {
        let name = measured.row.name();
        let (colour, width, dashes) = match name {
            "toolmeter/idle" => ("#0050c8", 3.5, "none"),
            "toolmeter/subscribed" => ("#0090d0", 3.0, "none"),
            "toolmeter/overload" => ("#0090d0", 2.0, "2 4"),
            _ => (*colours.next().unwrap_or(&"#000000"), 1.7, "none"),
        };
        lines.push(Line {
            label: name.to_owned(),
            colour,
            width,
            dashes,
            values_ns: values(measured),
        });
    }
    lines
}

/// From nanoseconds to places on the page; bounds are decimal logarithms.
struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    fn y(&self, ns: f64) -> f64 {
        BOTTOM - (ns.log10() - self.least) / (self.most - self.least) * (BOTTOM - TOP)
    }

    fn x(at: usize) -> f64 {
        LEFT + 30.0 + at as f64 / (THREADS.len() - 1) as f64 * (RIGHT - LEFT - 60.0)
    }

    fn holds(&self, ns: f64) -> bool {
        (self.least..=self.most).contains(&ns.log10())
    }
}

fn axes(svg: &mut String, scale: &Scale) {
    let ticks = (0..7).flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(power)));
    for ns in ticks.filter(|&ns| scale.holds(ns)) {
        let y = scale.y(ns);
        push(
            svg,
            format_args!(
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444444\">{ns}</text>\n",
                LEFT - 8.0,
                y + 4.5
            ),
        );
    }
    for (at, threads) in THREADS.iter().enumerate() {
        let x = Scale::x(at);
        push(
            svg,
            format_args!(
                "<line x1=\"{x:.1}\" y1=\"{BOTTOM}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#444444\"/>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">{threads}</text>\n",
                BOTTOM + 5.0,
                BOTTOM + 21.0
            ),
        );
    }
    push(
        svg,
        format_args!(
            "<line x1=\"{LEFT}\" y1=\"{BOTTOM}\" x2=\"{RIGHT}\" y2=\"{BOTTOM}\" stroke=\"#444444\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#444444\">threads</text>\n",
            f64::midpoint(LEFT, RIGHT),
            BOTTOM + 42.0
        ),
    );
}

fn curve(svg: &mut String, scale: &Scale, line: &Line) {
    let Line {
        colour,
        width,
        dashes,
        values_ns,
        ..
    } = line;
    let mut points = String::new();
    for (at, &ns) in values_ns.iter().enumerate() {
        let (x, y) = (Scale::x(at), scale.y(ns));
        push(&mut points, format_args!("{x:.1},{y:.1} "));
        push(
            svg,
            format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{width}\" fill=\"{colour}\"/>\n"),
        );
    }
    push(
        svg,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
             stroke-dasharray=\"{dashes}\"/>\n",
            points.trim_end()
        ),
    );
}

/// Labels at the right, from the highest line to the lowest.
fn labels(svg: &mut String, scale: &Scale, lines: &[Line]) {
    let last = THREADS.len() - 1;
    let mut ends: Vec<(f64, &Line)> = lines
        .iter()
        .map(|line| (scale.y(line.values_ns[last]), line))
        .collect();
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted: Vec<f64> = ends.iter().map(|(y, _)| *y).collect();
    for ((y_line, line), y) in ends.iter().zip(spread(&wanted)) {
        let weight = if line.label.starts_with("toolmeter/") {
            "bold"
        } else {
            "normal"
        };
        push(
            svg,
            format_args!(
                "<line x1=\"{:.1}\" y1=\"{y_line:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{}\" \
                 stroke-width=\"0.7\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{}\" font-weight=\"{weight}\">{} {:.0}</text>\n",
                Scale::x(last) + 5.0,
                RIGHT + 4.0,
                line.colour,
                RIGHT + 8.0,
                y + 4.5,
                line.colour,
                escaped(&line.label),
                line.values_ns[last],
            ),
        );
    }
}

/// Moves ascending places apart until no two are closer than a label is high, within the page.
fn spread(wanted: &[f64]) -> Vec<f64> {
    let mut places: Vec<f64> = wanted.to_vec();
    for at in 1..places.len() {
        places[at] = places[at].max(places[at - 1] + LABEL_HEIGHT);
    }
    let mut limit = BOTTOM;
    for place in places.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - LABEL_HEIGHT;
    }
    places
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = text.write_fmt(what);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_never_overlap_and_stay_on_the_page() {
        let crowded = [490.0, 491.0, 492.0, 498.0, 499.0];
        let places = spread(&crowded);
        for pair in places.windows(2) {
            assert!(pair[1] - pair[0] >= LABEL_HEIGHT - 1e-9, "{places:?}");
        }
        assert!(places.iter().all(|place| *place <= BOTTOM), "{places:?}");
        assert_eq!(spread(&[100.0, 200.0]), [100.0, 200.0]);
    }

    #[test]
    fn names_are_text_and_not_markup() {
        assert_eq!(
            escaped("Mutex<hdrhistogram> & more"),
            "Mutex&lt;hdrhistogram&gt; &amp; more"
        );
    }
}
