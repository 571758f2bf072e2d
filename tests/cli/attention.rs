//! Pictures of attention, and completions.

use crate::answers::checkpoint;
use crate::{run, succeed, text};

#[test]
fn attention_is_drawn_for_people_who_have_nothing_but_a_browser() {
    let dir = checkpoint("classify_softmax");
    let folder = tempfile::tempdir().unwrap();
    let draw = |name: &str, options: &[&str]| {
        let path = folder.path().join(name);
        let start = [
            "attention",
            "-m",
            text(dir.path()),
            "Ada <b> Lovelace",
            "--out",
            text(&path),
        ];
        let run = run(&[&start[..], options].concat(), "");
        (run, std::fs::read_to_string(path).unwrap_or_default())
    };
    let (drawn, svg) = draw("a.svg", &["--layer", "1"]);
    assert!(drawn.success, "{}", drawn.stderr);
    for name in [
        "attention",
        "content to content",
        "content to position",
        "position to content",
    ] {
        assert!(svg.contains(&format!(">{name}</text>")), "{name}");
    }
    // Two heads, four maps each.
    assert_eq!(svg.matches("shape-rendering").count(), 8);
    roxmltree::Document::parse(&svg).unwrap();

    let (drawn, html) = draw("a.html", &[]);
    assert!(drawn.success, "{}", drawn.stderr);
    assert_eq!(html.matches("\"position to content\"").count(), 4);

    let (refused, _) = draw("b.svg", &["--layer", "3"]);
    assert!(
        refused.stderr.contains("the network has layers 1 to 2"),
        "{}",
        refused.stderr
    );
    let (refused, _) = draw("b.png", &[]);
    assert!(
        refused.stderr.contains("ends in .html or .svg"),
        "{}",
        refused.stderr
    );
}

#[test]
fn shells_get_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(&["completions", shell]);
        assert!(script.contains("zero-shot"), "{shell}");
    }
}
