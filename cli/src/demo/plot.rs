//! Accuracy and loss by round, as an SVG that any browser opens.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

/// How the federated model did on the held-out examples after a round; round 0 is the first model.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Point {
    pub(crate) round: u32,
    pub(crate) accuracy: f64,
    pub(crate) loss: f64,
}

const SIZE: (u32, u32) = (860, 360);
const BLUE_LINE: RGBColor = RGBColor(31, 119, 180);
const GREY: RGBColor = RGBColor(130, 130, 130);
const ORANGE_LINE: RGBColor = RGBColor(230, 120, 20);

/// Draws `points`, with the best single region and the pooled model as levels to compare with.
pub(crate) fn draw(path: &Path, points: &[Point], best_region: f64, pooled: f64) -> Result<()> {
    // Plotters' errors borrow from its backend.
    try_draw(path, points, best_region, pooled).map_err(|error| anyhow!("cannot draw {}: {error}", path.display()))
}

fn try_draw(
    path: &Path,
    points: &[Point],
    best_region: f64,
    pooled: f64,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    let rounds = points.last().map_or(1, |point| point.round.max(1));

    let levels = [("best single region", best_region, GREY), ("pooled", pooled, ORANGE_LINE)];
    let mut accuracy = ChartBuilder::on(&left)
        .caption("accuracy on held-out examples", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d(0..rounds, 0.0..1.0)?;
    accuracy.configure_mesh().x_desc("round").light_line_style(TRANSPARENT).draw()?;
    for (name, level, color) in levels {
        let line = LineSeries::new([(0, level), (rounds, level)], color.stroke_width(1));
        let legend = move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2));
        accuracy.draw_series(line)?.label(name).legend(legend);
    }
    let federated = points.iter().map(|point| (point.round, point.accuracy));
    accuracy
        .draw_series(LineSeries::new(federated, BLUE_LINE.stroke_width(2)))?
        .label("federated")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], BLUE_LINE.stroke_width(2)));
    accuracy
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(GREY)
        .draw()?;

    let highest = points.iter().map(|point| point.loss).fold(0.1, f64::max);
    let mut loss = ChartBuilder::on(&right)
        .caption("loss on held-out examples", ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(44)
        .build_cartesian_2d(0..rounds, 0.0..highest * 1.05)?;
    loss.configure_mesh().x_desc("round").light_line_style(TRANSPARENT).draw()?;
    let federated = points.iter().map(|point| (point.round, point.loss));
    loss.draw_series(LineSeries::new(federated, BLUE_LINE.stroke_width(2)))?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plot_is_an_svg_with_every_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plot.svg");
        let points = [0, 1, 2].map(|round| Point { round, accuracy: 0.3 * f64::from(round), loss: 2.0 });
        draw(&path, &points, 0.5, 0.9).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert!(svg.starts_with("<svg"), "{}", &svg[..40.min(svg.len())]);
        assert!(svg.contains("federated") && svg.contains("best single region") && svg.contains("pooled"));
    }
}
