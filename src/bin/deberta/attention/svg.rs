//! The heads of one layer as SVG: a row of maps for each.

use std::fmt::Write;

use super::escape;
use super::maps::{Head, Maps, Part};

/// Shades of each colour.
const SHADES: usize = 24;
/// Width of a map, in pixels.
const MAP: usize = 260;
/// Room around a map.
const GAP: usize = 24;
/// Room for the names of tokens, left of the maps.
const TOKENS: usize = 110;
/// Room for titles.
const TITLE: usize = 56;

/// The picture of a layer, counted from 0.
pub(super) fn picture(maps: &Maps, layer: usize) -> String {
    let heads = &maps.layers[layer];
    let columns = heads.first().map_or(0, |head| head.parts.len());
    let width = TOKENS + columns * (MAP + GAP) + GAP;
    let height = TITLE + heads.len() * (MAP + GAP);
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>Attention of layer {}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>",
        layer + 1
    );
    for (column, part) in heads
        .iter()
        .flat_map(|it| it.parts.iter().enumerate())
        .take(columns)
    {
        let x = TOKENS + column * (MAP + GAP);
        let _ = writeln!(
            svg,
            "<text x=\"{x}\" y=\"30\" font-weight=\"bold\">{}</text>",
            part.name
        );
    }
    let _ = writeln!(svg, "<text x=\"8\" y=\"30\">layer {}</text>", layer + 1);
    for (number, head) in heads.iter().enumerate() {
        let y = TITLE + number * (MAP + GAP);
        row(&mut svg, maps, head, number, y);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The maps of one head, side by side.
fn row(svg: &mut String, maps: &Maps, head: &Head, number: usize, y: usize) {
    let count = maps.tokens.len();
    let cell = MAP as f64 / count.max(1) as f64;
    let size = (cell * 0.8).clamp(3.0, 11.0);
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{}\">head {}</text>\n<g font-size=\"{size:.1}\" text-anchor=\"end\">",
        y - 6,
        number + 1
    );
    for (at, token) in maps.tokens.iter().enumerate() {
        let shown: String = token.chars().take(16).collect();
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\">{}</text>",
            TOKENS - 6,
            y as f64 + (at as f64 + 0.5) * cell + size * 0.35,
            escape(&shown)
        );
    }
    svg.push_str("</g>\n");
    let largest = head.largest_score();
    for (column, part) in head.parts.iter().enumerate() {
        let x = TOKENS + column * (MAP + GAP);
        let most = if part.is_probability { 1.0 } else { largest };
        let _ = writeln!(
            svg,
            "<g transform=\"translate({x} {y}) scale({cell:.4})\" shape-rendering=\"crispEdges\">\
             <title>{}, head {}{}</title>",
            part.name,
            number + 1,
            if part.is_probability {
                String::new()
            } else {
                format!(", darkest is {most:.3}")
            },
        );
        map(svg, part, count, most);
        let _ = writeln!(
            svg,
            "</g><rect x=\"{x}\" y=\"{y}\" width=\"{MAP}\" height=\"{MAP}\" fill=\"none\" \
             stroke=\"#999\"/>"
        );
    }
}

/// Cells of one map in units, those of a shade in one path; white ones are left out.
fn map(svg: &mut String, part: &Part, count: usize, most: f32) {
    let mut paths: Vec<String> = vec![String::new(); 2 * SHADES + 1];
    for (pair, &value) in part.values.iter().enumerate() {
        let share = if most > 0.0 { value / most } else { 0.0 };
        let shade = (share.clamp(-1.0, 1.0) * SHADES as f32).round() as isize;
        let path = &mut paths[(shade + SHADES as isize) as usize];
        let _ = write!(path, "M{} {}h1v1h-1z", pair % count, pair / count);
    }
    for (index, path) in paths.iter().enumerate() {
        let shade = index as isize - SHADES as isize;
        if shade == 0 || path.is_empty() {
            continue;
        }
        let colour = if shade > 0 { "#08306b" } else { "#a50f15" };
        let opacity = shade.unsigned_abs() as f64 / SHADES as f64;
        let _ = writeln!(
            svg,
            "<path fill=\"{colour}\" fill-opacity=\"{opacity:.3}\" d=\"{path}\"/>"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tokens, one layer of one head.
    fn maps() -> Maps {
        let part = |name, values: [f32; 4], is_probability| Part {
            name,
            values: values.into(),
            is_probability,
        };
        let parts = vec![
            part("attention", [1.0, 0.0, 0.5, 0.5], true),
            part("content to content", [2.0, -1.0, 0.0, 4.0], false),
        ];
        Maps {
            tokens: vec!["[CLS]".into(), "▁<b>".into()],
            layers: vec![vec![Head { parts }]],
        }
    }

    #[test]
    fn the_darkest_cell_is_the_largest_value() {
        let svg = picture(&maps(), 0);
        // Query 0 looks at itself only, query 1 at both.
        assert!(
            svg.contains("fill-opacity=\"1.000\" d=\"M0 0h1v1h-1z\""),
            "{svg}"
        );
        assert!(svg.contains("fill-opacity=\"0.500\" d=\"M0 1h1v1h-1zM1 1h1v1h-1z\""));
        // Of the scores, 4 at (1, 1) is darkest, and -1 at (0, 1) is red.
        assert!(svg.contains("fill-opacity=\"1.000\" d=\"M1 1h1v1h-1z\""));
        assert!(svg.contains("<path fill=\"#a50f15\" fill-opacity=\"0.250\" d=\"M1 0h1v1h-1z\"/>"));
    }

    #[test]
    fn tokens_cannot_be_markup() {
        let svg = picture(&maps(), 0);
        assert!(svg.contains("▁&lt;b&gt;") && !svg.contains("<b>"));
    }
}
