//! The heads of one layer as SVG: a row of maps for each.

use std::fmt::Write;

use super::escape;
use super::maps::{Head, Maps, Part};

/// Shades of each colour.
const SHADES: usize = 24;
/// Least width of a map, in pixels.
const MAP: f64 = 260.0;
/// Least width of a cell: smaller ones have no room for the name of a token.
const CELL: f64 = 9.0;
/// Room around a map; below it stands its scale.
const GAP: f64 = 28.0;
/// Room for the names of tokens, left of the maps and above the first row of them.
const TOKENS: f64 = 110.0;
/// Room for titles.
const TITLE: f64 = 56.0;
/// Longest name of a token, in characters.
const LONGEST: usize = 16;

/// Where things are.
struct Layout {
    /// Width of a cell.
    cell: f64,
    /// Width of a map.
    map: f64,
    /// Size of the names of tokens.
    font: f64,
}

impl Layout {
    fn of(tokens: usize) -> Self {
        let count = tokens.max(1) as f64;
        let cell = (MAP / count).max(CELL);
        Self {
            cell,
            map: cell * count,
            font: (cell * 0.85).min(12.0),
        }
    }

    fn x(&self, column: usize) -> f64 {
        TOKENS + column as f64 * (self.map + GAP)
    }

    fn y(&self, row: usize) -> f64 {
        TITLE + TOKENS + row as f64 * (self.map + GAP)
    }

    /// The middle of a token, from the edge of its map.
    fn token(&self, at: usize) -> f64 {
        (at as f64 + 0.5) * self.cell
    }
}

/// The picture of a layer, counted from 0.
pub(super) fn picture(maps: &Maps, layer: usize) -> String {
    let heads = &maps.layers[layer];
    let columns = heads.first().map_or(0, |head| head.parts.len());
    let layout = Layout::of(maps.tokens.len());
    let (width, height) = (layout.x(columns), layout.y(heads.len()));
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.1} {height:.1}\" \
         width=\"{width:.1}\" height=\"{height:.1}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<title>Attention of layer {}</title>\n\
         <rect width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#fff\"/>",
        layer + 1
    );
    let _ = writeln!(svg, "<text x=\"8\" y=\"30\">layer {}</text>", layer + 1);
    for (column, part) in heads.iter().take(1).flat_map(|it| &it.parts).enumerate() {
        let x = layout.x(column);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"30\" font-weight=\"bold\">{}</text>",
            part.name
        );
        keys(&mut svg, maps, &layout, x);
    }
    for (number, head) in heads.iter().enumerate() {
        row(&mut svg, maps, head, number, &layout);
    }
    svg.push_str("</svg>\n");
    svg
}

/// The name of a token, cut if it is long.
fn shown(token: &str) -> String {
    escape(&token.chars().take(LONGEST).collect::<String>())
}

/// The names of tokens above a map, from below.
fn keys(svg: &mut String, maps: &Maps, layout: &Layout, x: f64) {
    let _ = writeln!(svg, "<g font-size=\"{:.1}\">", layout.font);
    for (at, token) in maps.tokens.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text transform=\"translate({:.1} {:.1}) rotate(-90)\">{}</text>",
            x + layout.token(at) + layout.font * 0.35,
            layout.y(0) - 6.0,
            shown(token)
        );
    }
    svg.push_str("</g>\n");
}

/// The maps of one head, side by side.
fn row(svg: &mut String, maps: &Maps, head: &Head, number: usize, layout: &Layout) {
    let (y, map_size, cell) = (layout.y(number), layout.map, layout.cell);
    let _ = writeln!(
        svg,
        "<text x=\"8\" y=\"{:.1}\">head {}</text>\n<g font-size=\"{:.1}\" text-anchor=\"end\">",
        y - 8.0,
        number + 1,
        layout.font
    );
    for (at, token) in maps.tokens.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\">{}</text>",
            TOKENS - 6.0,
            y + layout.token(at) + layout.font * 0.35,
            shown(token)
        );
    }
    svg.push_str("</g>\n");
    for (column, part) in head.parts.iter().enumerate() {
        let x = layout.x(column);
        let most = head.largest_of(part);
        let _ = writeln!(
            svg,
            "<g transform=\"translate({x:.1} {y:.1}) scale({cell:.4})\" \
             shape-rendering=\"crispEdges\"><title>{}, head {}</title>",
            part.name,
            number + 1,
        );
        map(svg, part, maps.tokens.len(), most);
        let _ = writeln!(
            svg,
            "</g><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{map_size:.1}\" \
             height=\"{map_size:.1}\" fill=\"none\" stroke=\"#999\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\" fill=\"#666\" \
             text-anchor=\"end\">darkest is {most:.3}</text>",
            x + map_size,
            y + map_size + 12.0
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
    fn a_map_of_many_tokens_grows_so_that_their_names_can_be_read() {
        let mut maps = maps();
        maps.tokens = vec!["a very long token indeed".into(); 100];
        let svg = picture(&maps, 0);
        assert!(svg.contains("width=\"900.0\" height=\"900.0\""));
        assert!(svg.contains("font-size=\"7.6\"") && svg.contains(">a very long toke</text>"));
        // Beside the only row and above both of its maps.
        assert_eq!(svg.matches(">a very long toke<").count(), 300);
    }

    #[test]
    fn tokens_cannot_be_markup() {
        let svg = picture(&maps(), 0);
        assert!(svg.contains("▁&lt;b&gt;") && !svg.contains("<b>"));
    }
}
