//! Plots as SVG that takes its colours from the page, so that they follow the light and the dark theme.

use std::error::Error;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::numbers::short;

/// Width and height in units of the page's font: small, so that text can be read on a phone, where a plot is as wide as the screen.
const SIZE: (u32, u32) = (380, 264);

/// How many colours there are for series.
pub const N_COLOURS: usize = 10;

/// The colours are places in the page's palette: red 1, green 1, and the number of the colour as blue.
const fn place(number: u8) -> RGBColor {
    RGBColor(1, 1, number)
}

const INK: RGBColor = place(100);
const GRID: RGBColor = place(101);

fn colour(series: usize) -> RGBColor {
    place((series % N_COLOURS) as u8)
}

/// The page's variable for a series.
pub fn variable(series: usize) -> String {
    format!("var(--s{})", series % N_COLOURS)
}

/// What points of a series look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Joined by a line.
    Line,
    /// Joined by a line of dashes.
    Dashed,
    /// Dots.
    Dots,
    /// Dots joined by a line.
    DottedLine,
}

/// Points that belong together.
#[derive(Clone, Debug)]
pub struct Series {
    /// What the legend says.
    pub name: String,
    /// x and y; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Its look.
    pub style: Style,
    /// Its colour, from 0.
    pub colour: usize,
}

impl Series {
    /// Points joined by a line.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>, colour: usize) -> Self {
        Self { name: name.into(), points, style: Style::Line, colour }
    }

    /// The same with another look.
    #[must_use]
    pub fn styled(mut self, style: Style) -> Self {
        self.style = style;
        self
    }
}

/// One of the two directions of a plot.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    is_log: bool,
    range: Option<(f64, f64)>,
    is_whole: bool,
}

impl Axis {
    /// As long as the points need.
    pub fn of(label: impl Into<String>) -> Self {
        Self { label: label.into(), is_log: false, range: None, is_whole: false }
    }

    /// From 0 to 1.
    pub fn share(label: impl Into<String>) -> Self {
        Self { range: Some((0.0, 1.0)), ..Self::of(label) }
    }

    /// Of whole numbers.
    pub fn whole(label: impl Into<String>) -> Self {
        Self { is_whole: true, ..Self::of(label) }
    }

    /// Logarithmic, where no value is in the way of that.
    #[must_use]
    pub fn log_if(mut self, is_log: bool) -> Self {
        self.is_log = is_log;
        self
    }

    fn place(&self, value: f64) -> f64 {
        if self.is_log { value.log10() } else { value }
    }

    fn value(&self, place: f64) -> f64 {
        if self.is_log { 10_f64.powf(place) } else { place }
    }

    fn tick(&self, place: f64) -> String {
        match self.value(place) {
            value if self.is_whole && value.fract() != 0.0 => String::new(),
            value => short(value),
        }
    }

    fn ends(&self, values: impl Iterator<Item = f64>, room: f64) -> (f64, f64) {
        if let Some(range) = self.range {
            // A little more, so that lines along the border are whole.
            return (range.0 - 0.01, range.1 + 0.01);
        }
        let (least, most) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), value| (a.min(value), b.max(value)));
        let width = most - least;
        // One value only still needs some room.
        let room = if width > 0.0 { width * room } else { (most.abs() * 0.1).max(1e-9) };
        (least - room, most + room)
    }
}

/// Lines and dots over two axes.
#[derive(Clone, Debug)]
pub struct Lines {
    /// What the plot shows, for those who do not see it.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From the bottom to the top.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Whether there is a line from corner to corner.
    pub diagonal: bool,
}

impl Lines {
    /// The plot; `None` where nothing of it can be drawn.
    pub fn draw(&self) -> Option<Markup> {
        let can = |(x, y): &(f64, f64)| {
            let (x, y) = (self.x.place(*x), self.y.place(*y));
            x.is_finite() && y.is_finite()
        };
        let place = |(x, y): &(f64, f64)| (self.x.place(*x), self.y.place(*y));
        let series: Vec<(&Series, Vec<(f64, f64)>)> = self
            .series
            .iter()
            .map(|series| (series, series.points.iter().filter(|point| can(point)).map(place).collect()))
            .collect();
        if series.iter().all(|(_, points): &(_, Vec<_>)| points.is_empty()) {
            return None;
        }
        let all = || series.iter().flat_map(|(_, points)| points.iter());
        let x = self.x.ends(all().map(|point| point.0), 0.02);
        let y = self.y.ends(all().map(|point| point.1), 0.06);
        let frame = Frame { title: &self.title, x: &self.x, y: &self.y, ends: [x, y], x_grid: true };
        frame.draw(|chart| {
            if self.diagonal {
                let ends = (x.0.max(y.0), x.1.min(y.1));
                chart.draw_series(DashedLineSeries::new(
                    [(ends.0, ends.0), (ends.1, ends.1)],
                    5,
                    4,
                    INK.mix(0.6).stroke_width(1),
                ))?;
            }
            for (series, points) in &series {
                let colour = colour(series.colour);
                match series.style {
                    Style::Line | Style::DottedLine => {
                        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
                    }
                    Style::Dashed => {
                        chart.draw_series(DashedLineSeries::new(
                            points.iter().copied(),
                            6,
                            4,
                            colour.stroke_width(2),
                        ))?;
                    }
                    Style::Dots => {}
                }
                // A line of a single point is none.
                if matches!(series.style, Style::Dots | Style::DottedLine) || points.len() == 1 {
                    let opacity = if points.len() > 150 { 0.45 } else { 0.85 };
                    chart
                        .draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.mix(opacity).filled())))?;
                }
            }
            Ok(())
        })
    }

    /// What the colours mean, where there is more than one.
    pub fn legend(&self) -> Markup {
        let named: Vec<&Series> = self.series.iter().filter(|series| !series.name.is_empty()).collect();
        html! {
            @if named.len() > 1 {
                ul.legend {
                    @for series in named {
                        li {
                            span.swatch.(swatch(series.style)) style=(format!("--c: {}", variable(series.colour))) aria-hidden="true" {}
                            (series.name)
                        }
                    }
                }
            }
        }
    }
}

fn swatch(style: Style) -> &'static str {
    match style {
        Style::Line | Style::DottedLine => "solid",
        Style::Dashed => "dashed",
        Style::Dots => "dots",
    }
}

/// Counts between edges, as bars.
pub fn histogram(title: &str, x: Axis, edges: &[f64], counts: &[f64]) -> Option<Markup> {
    if edges.len() != counts.len() + 1 || counts.is_empty() {
        return None;
    }
    let most = counts.iter().copied().fold(0.0, f64::max);
    let y = Axis::of("rows");
    let edges: Vec<f64> = edges.iter().map(|&edge| x.place(edge)).collect();
    let ends = [x.ends(edges.iter().copied(), 0.02), (0.0, (most * 1.05).max(1.0))];
    Frame { title, x: &x, y: &y, ends, x_grid: false }.draw(|chart| {
        let bars = counts.iter().zip(edges.windows(2));
        chart.draw_series(bars.map(|(&count, edge)| {
            let mut bar = Rectangle::new([(edge[0], 0.0), (edge[1], count)], colour(0).filled());
            bar.set_margin(0, 0, 1, 1);
            bar
        }))?;
        Ok(())
    })
}

/// The axes of a plot.
struct Frame<'a> {
    title: &'a str,
    x: &'a Axis,
    y: &'a Axis,
    ends: [(f64, f64); 2],
    x_grid: bool,
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

impl Frame<'_> {
    /// A plot that cannot be drawn is left out: its numbers are in the table below it.
    fn draw(&self, inside: impl FnOnce(&mut Chart) -> Result<(), Box<dyn Error>>) -> Option<Markup> {
        let mut svg = String::new();
        let drawn = (|| -> Result<(), Box<dyn Error>> {
            let area: DrawingArea<SVGBackend, Shift> = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            let [x, y] = self.ends;
            let mut chart = ChartBuilder::on(&area)
                .margin(6)
                .margin_right(14)
                .x_label_area_size(44)
                .y_label_area_size(58)
                .build_cartesian_2d(x.0..x.1, y.0..y.1)?;
            let text = ("sans-serif", 16).into_font().color(&INK);
            let (x_tick, y_tick) = (|place: &f64| self.x.tick(*place), |place: &f64| self.y.tick(*place));
            let mut mesh = chart.configure_mesh();
            mesh.light_line_style(TRANSPARENT)
                .bold_line_style(GRID)
                .axis_style(GRID)
                .label_style(text.clone())
                .axis_desc_style(text)
                .x_labels(6)
                .y_labels(6)
                .x_desc(&self.x.label)
                .y_desc(&self.y.label)
                .x_label_formatter(&x_tick)
                .y_label_formatter(&y_tick);
            if !self.x_grid {
                mesh.disable_x_mesh();
            }
            mesh.draw()?;
            inside(&mut chart)?;
            area.present()?;
            Ok(())
        })();
        drawn.ok().map(|()| themed(&svg, self.title))
    }
}

/// The drawing with the page's colours and a title.
fn themed(svg: &str, title: &str) -> Markup {
    let inner = svg.split_once('>').map_or("", |(_, rest)| rest);
    let (mut out, mut rest) = (String::with_capacity(inner.len()), inner);
    // Attributes alone have such quotes: in text they are escaped.
    const MARK: &str = "\"#0101";
    while let Some(at) = rest.find(MARK) {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let number = after.get(MARK.len()..MARK.len() + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match number {
            Some(100) => out.push_str("\"var(--muted)"),
            Some(101) => out.push_str("\"var(--line)"),
            number => out.push_str(&format!("\"{}", variable(usize::from(number.unwrap_or_default())))),
        }
        rest = after.get(MARK.len() + 2..).unwrap_or_default();
    }
    out.push_str(rest);
    let out = out.replace(" font-family=\"sans-serif\"", "").replace(" opacity=\"1\"", "");
    svg_of(
        title,
        (f64::from(SIZE.0), f64::from(SIZE.1)),
        "plot",
        PreEscaped(out.trim_end().trim_end_matches("</svg>").to_owned()),
    )
}

/// An SVG image with a title, as wide as there is room, up to the width that its class says.
pub fn svg_of(title: &str, (width, height): (f64, f64), class: &str, inside: Markup) -> Markup {
    html! {
        svg class=(class) width=(width) height=(height) viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(title) xmlns="http://www.w3.org/2000/svg" {
            title { (title) }
            (inside)
        }
    }
}

/// Small bars without axes, for a cell of a table.
pub fn sparkline(title: &str, counts: &[f64]) -> Markup {
    let most = counts.iter().copied().fold(0.0, f64::max);
    let width = 120.0 / counts.len().max(1) as f64;
    svg_of(
        title,
        (120.0, 28.0),
        "spark",
        html! {
            @for (number, count) in counts.iter().enumerate() {
                @let height = if most > 0.0 { (26.0 * count / most).max(if *count > 0.0 { 1.0 } else { 0.0 }) } else { 0.0 };
                rect x=(format!("{:.2}", number as f64 * width)) y=(format!("{:.2}", 28.0 - height))
                    width=(format!("{:.2}", (width - 1.0).max(0.5))) height=(format!("{height:.2}")) fill="var(--s0)" {}
            }
        },
    )
}

/// A value within its interval, on a scale that goes from `ends.0` to `ends.1`.
pub fn whisker(
    title: &str,
    value: f64,
    interval: Option<(f64, f64)>,
    ends: (f64, f64),
    series: usize,
    zero: bool,
) -> Markup {
    let width = (ends.1 - ends.0).max(f64::MIN_POSITIVE);
    let at = |value: f64| format!("{:.2}", 5.0 + 130.0 * ((value - ends.0) / width).clamp(0.0, 1.0));
    let colour = variable(series);
    svg_of(
        title,
        (140.0, 18.0),
        "whisker",
        html! {
            line x1="5" x2="135" y1="9" y2="9" stroke="var(--line)" {}
            @if zero && ends.0 < 0.0 && ends.1 > 0.0 { line x1=(at(0.0)) x2=(at(0.0)) y1="1" y2="17" stroke="var(--muted)" stroke-dasharray="2 2" {} }
            @if let Some((low, high)) = interval {
                line x1=(at(low)) x2=(at(high)) y1="9" y2="9" stroke=(colour) stroke-width="3" stroke-linecap="round" opacity="0.5" {}
            }
            circle cx=(at(value)) cy="9" r="4" fill=(colour) {}
        },
    )
}

/// Lines across upright axes, one axis for each column. `rows` hold a place from 0 to 1 for each axis, and how good the row is, from 0 to 1; the best are drawn
/// last.
pub fn parallel(title: &str, axes: &[(String, String, String)], rows: &[(Vec<Option<f64>>, f64)]) -> Markup {
    let step = 104.0;
    let (width, height) = (step * axes.len() as f64, 240.0);
    let x = |axis: usize| step * (axis as f64 + 0.5);
    let y = |place: f64| 200.0 - 160.0 * place;
    let path = |row: &[Option<f64>]| {
        let mut path = String::new();
        let mut command = 'M';
        for (axis, place) in row.iter().enumerate() {
            let Some(place) = place else {
                command = 'M';
                continue;
            };
            path.push_str(&format!("{command}{:.1} {:.1}", x(axis), y(*place)));
            command = 'L';
        }
        path
    };
    let mut order: Vec<&(Vec<Option<f64>>, f64)> = rows.iter().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let last = order.len().saturating_sub(1);
    svg_of(
        title,
        (width, height),
        "parallel",
        html! {
            @for (axis, (name, least, most)) in axes.iter().enumerate() {
                line x1=(x(axis)) x2=(x(axis)) y1="36" y2="204" stroke="var(--line)" stroke-width="1.5" {}
                text x=(x(axis)) y="14" text-anchor="middle" fill="var(--ink)" font-size="12" { (clipped(name, 16)) }
                text x=(x(axis)) y="30" text-anchor="middle" fill="var(--muted)" font-size="11" { (clipped(most, 16)) }
                text x=(x(axis)) y="220" text-anchor="middle" fill="var(--muted)" font-size="11" { (clipped(least, 16)) }
            }
            @for (number, (row, good)) in order.iter().enumerate() {
                @let is_best = number == last;
                path d=(path(row)) fill="none" stroke=(variable(usize::from(is_best)))
                    stroke-width=(if is_best { "2.5" } else { "1.5" }) opacity=(format!("{:.2}", if is_best { 1.0 } else { 0.2 + 0.6 * good })) {}
            }
        },
    )
}

/// A text of at most so many characters.
pub fn clipped(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn lines(points: Vec<(f64, f64)>) -> Lines {
        let series = vec![Series::line("<one> \"#010101\"", points, 0)];
        Lines { title: "a & b".into(), x: Axis::of("x <script>"), y: Axis::of("y"), series, diagonal: true }
    }

    #[test]
    fn plots_take_the_colours_of_the_page_and_escape_text() {
        let svg = lines(vec![(0.0, 1.0), (1.0, 2.0), (f64::NAN, 3.0)]).draw().unwrap().into_string();
        assert!(svg.contains("role=\"img\"") && svg.contains("<title>a &amp; b</title>"), "{svg}");
        assert!(svg.contains("var(--s0)") && svg.contains("var(--muted)") && svg.contains("var(--line)"), "{svg}");
        assert!(!svg.contains("#0101") && !svg.contains("<script>") && svg.contains("x &lt;script&gt;"), "{svg}");
        assert_eq!(svg.matches("<svg").count(), svg.matches("</svg>").count());
    }

    #[test]
    fn nothing_to_draw_is_no_plot_and_one_point_is_a_dot() {
        assert!(lines(Vec::new()).draw().is_none());
        assert!(lines(vec![(f64::INFINITY, 1.0)]).draw().is_none());
        assert!(lines(vec![(3.0, 3.0)]).draw().unwrap().into_string().contains("<circle"));
        let mut plot = lines(vec![(1e-6, 1.0), (0.0, 2.0), (1e-2, 3.0)]);
        plot.x = plot.x.log_if(true);
        assert!(plot.draw().unwrap().into_string().contains("1.0e-5"));
        assert!(histogram("h", Axis::of("x"), &[0.0, 1.0], &[2.0, 3.0]).is_none());
        assert!(histogram("h", Axis::of("x"), &[0.0, 1.0, 2.0], &[0.0, 0.0]).is_some());
    }

    #[test]
    fn long_names_are_clipped() {
        assert_eq!([clipped("short", 5), clipped("longer", 5)], ["short", "long…"]);
    }
}
