//! All layers and heads as a page: thumbnails to choose from, and the maps of the one chosen.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::maps::{Head, Maps, Part};

/// Markup, style and script; the numbers go in the place of the word `DATA`.
const PAGE: &str = include_str!("page.html");

/// A page that needs nothing else, showing a layer (counted from 0) first.
pub(super) fn page(maps: &Maps, layer: usize) -> Result<String> {
    let head = |head: &Head| -> Value {
        head.parts
            .iter()
            .map(|it| part(it, head.largest_of(it)))
            .collect()
    };
    let layers: Vec<Vec<Value>> = maps
        .layers
        .iter()
        .map(|heads| heads.iter().map(head).collect())
        .collect();
    let data = json!({"tokens": maps.tokens, "layers": layers, "layer": layer});
    // The end of a script element cannot be written in it.
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    Ok(PAGE.replacen("DATA", &data, 1))
}

/// A map with its values in steps of 1/127 of the largest, one byte each.
fn part(part: &Part, most: f32) -> Value {
    let most = most.max(f32::MIN_POSITIVE);
    let steps = part
        .values
        .iter()
        .map(|it| (it / most * 127.0).round() as i8 as u8);
    json!({
        "name": part.name,
        "most": most,
        "values": STANDARD.encode(steps.collect::<Vec<u8>>()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_numbers_and_no_way_out_of_its_script() {
        let part = Part {
            name: "content to content",
            values: vec![1.0, -2.0, 0.0, 0.5],
            is_probability: false,
        };
        let maps = Maps {
            tokens: vec!["</script>".into(), "b".into()],
            layers: vec![vec![Head { parts: vec![part] }]],
        };
        let page = page(&maps, 0).unwrap();
        assert_eq!(page.matches("</script>").count(), 1);
        assert!(page.contains("\\u003c/script>"));
        // 1 / 2 of 127 rounds to 64; -127 is 129 as a byte.
        let bytes = STANDARD.encode([64_u8, 129, 0, 32]);
        assert!(page.contains(&bytes), "{page}");
        assert!(!page.contains("http"), "a page that needs something else");
    }
}
