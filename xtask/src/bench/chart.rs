//! Horizontal bars as SVG.

use std::fmt::Write as _;

/// Bars of one subject, such as a batch shape, drawn on a common scale.
pub(crate) struct Group {
    /// What the bars have in common.
    pub(crate) title: String,
    /// Name and value of each bar, in any unit; longer is better.
    pub(crate) bars: Vec<(String, f64)>,
}

/// Distance from one bar to the next.
const STEP: usize = 20;
/// Where bars start, and their greatest length.
const LEFT: usize = 210;
const WIDTH: usize = 420;
/// The first name gets the first colour, in every group.
const COLOURS: [&str; 6] = [
    "#c2410c", "#94a3b8", "#64748b", "#0f766e", "#7c3aed", "#a16207",
];

/// A picture of all groups, one below the other; each has a scale of its own.
pub(crate) fn bars(title: &str, unit: &str, groups: &[Group]) -> String {
    let rows: usize = groups.iter().map(|it| it.bars.len() + 2).sum();
    let height = 50 + rows * STEP;
    let width = LEFT + WIDTH + 120;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(&mut svg, 10, 24, "font-size=\"16\"", title);
    let names = names(groups);
    let mut y = 50;
    for group in groups {
        text(&mut svg, 10, y, "font-weight=\"bold\"", &group.title);
        y += STEP;
        let longest = group.bars.iter().map(|it| it.1).fold(f64::MIN, f64::max);
        for (name, value) in &group.bars {
            let length = (value / longest * WIDTH as f64).round();
            let index = names.iter().position(|it| *it == name).unwrap_or(0);
            let colour = COLOURS[index % COLOURS.len()];
            let (top, end) = (y - 12, LEFT as f64 + length + 6.0);
            text(&mut svg, 20, y, "", name);
            // Writing to a string does not fail.
            let _ = writeln!(
                svg,
                "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{length}\" height=\"14\" fill=\"{colour}\"/>"
            );
            text(&mut svg, end as usize, y, "", &format!("{value:.0} {unit}"));
            y += STEP;
        }
        y += STEP;
    }
    svg + "</svg>\n"
}

fn text(svg: &mut String, x: usize, y: usize, style: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;");
    // Writing to a string does not fail.
    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" {style}>{content}</text>");
}

/// All names in the order in which they first occur.
fn names(groups: &[Group]) -> Vec<&String> {
    let mut names = Vec::new();
    for (name, _) in groups.iter().flat_map(|it| &it.bars) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_of_each_group_fills_the_width() {
        let group = |title: &str, values: [f64; 2]| Group {
            title: title.into(),
            bars: vec![("ours".into(), values[0]), ("a < b".into(), values[1])],
        };
        let groups = [group("1x128", [900.0, 450.0]), group("8x128", [10.0, 40.0])];
        let svg = bars("forward", "tokens/s", &groups);
        let lengths: Vec<&str> = svg
            .match_indices("height=\"14\"")
            .map(|(at, _)| svg[..at].rsplit("width=\"").next().unwrap())
            .map(|it| it.split('"').next().unwrap())
            .collect();
        assert_eq!(lengths, ["420", "210", "105", "420"]);
        assert!(svg.contains("a &lt; b") && svg.contains("900 tokens/s"));
        assert!(svg.ends_with("</svg>\n"));
    }
}
