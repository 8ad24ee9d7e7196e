//! Pictures of a tuning.

use std::error::Error;

use plotters::prelude::*;
use retune_estimators::networks::RateCurve;
use retune_stage::{Result, StageError};

/// Width and height in pixels.
const SIZE: (u32, u32) = (720, 440);

/// A search for a learning rate as SVG: the loss over the rate, and a dot at the rate that was taken; `None` where it ended before there was a line.
pub fn of_rates(curve: &RateCurve) -> Result<Option<String>> {
    if curve.learning_rate.len() < 2 {
        return Ok(None);
    }
    drawn(curve).map(Some).map_err(|error| StageError::failed(format!("the learning rates cannot be drawn: {error}")))
}

fn drawn(curve: &RateCurve) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let ends = |numbers: &[f64]| {
            numbers
                .iter()
                .fold((f64::INFINITY, 0.0_f64), |(least, most), &number| (least.min(number), most.max(number)))
        };
        let ((slowest, fastest), (least, most)) = (ends(&curve.learning_rate), ends(&curve.loss));
        // A loss that never changed still needs some room.
        let (rates, losses) = (slowest..fastest, least.min(most * 0.99)..most * 1.02 + 1e-12);
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(rates.log_scale(), losses)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("learning rate")
            .y_desc("loss, running mean")
            .x_label_formatter(&|rate| format!("{rate:.0e}"))
            .draw()?;
        let points = || curve.learning_rate.iter().copied().zip(curve.loss.iter().copied());
        chart.draw_series(LineSeries::new(points(), BLUE.stroke_width(2)))?;
        if let Some(best) = points().find(|(rate, _)| Some(*rate) == curve.best) {
            let label = format!("{:.1e}, the steepest fall", best.0);
            chart.draw_series([EmptyElement::at(best)
                + Circle::new((0, 0), 5, RED.filled())
                + Text::new(label, (10, -18), ("sans-serif", 14))])?;
        }
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_search_for_a_rate_has_a_picture_however_short_it_is() {
        let curve = |n: usize, best| RateCurve {
            learning_rate: (0..n).map(|step| 1e-7 * 1.5_f64.powi(step as i32)).collect(),
            loss: (0..n).map(|step| 3.0 - 0.1 * step as f64).collect(),
            best,
        };
        let svg = of_rates(&curve(20, Some(1e-7 * 1.5_f64.powi(4)))).unwrap().unwrap();
        assert!(svg.contains("<polyline") && svg.contains("5.1e-7, the steepest fall"), "{svg}");
        assert!(of_rates(&curve(2, None)).unwrap().is_some());
        assert_eq!(of_rates(&curve(1, None)).unwrap(), None);
    }
}
