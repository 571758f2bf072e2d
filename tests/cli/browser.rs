//! The pictures of attention in a real browser, where there is one: `CHROMIUM`, or Chromium or Chrome
//! on the path.
#![allow(clippy::print_stderr, reason = "says that it is skipped")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::answers::checkpoint;
use crate::{succeed, text};

/// Names of the program.
const BROWSERS: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// Words that would do something if they were taken for markup, and in scripts of all directions.
const TEXT: &str = "Ada <script>window.taken=1</script> <img src=x onerror=window.taken=1> & \"met\" \
                    שלום مرحبا 👩‍👩‍👧 antidisestablishmentarianism";

/// Runs before the page: remembers what goes wrong.
const WATCH: &str = "<script>window.problems = [];\
    window.addEventListener('error', (it) => problems.push(String(it.message)));</script>";

/// Runs after the page: uses it as a reader would and writes down what came of it.
const USE: &str = r##"<script>
const said = () => document.getElementById("value").textContent;
const chosen = () => [...document.querySelectorAll("#heads .chosen")].map((it) => it.id);
const maps = () => [...document.querySelectorAll("#maps figure")];
const result = { problems, title: document.title, first: chosen(), captions: maps().map((it) => it.textContent) };
document.getElementById("head-0-1").click();
result.clicked = chosen();
result.clickedSaid = said();
const enter = new KeyboardEvent("keydown", { key: "Enter" });
document.getElementById("head-1-0").dispatchEvent(enter);
result.entered = chosen();

// The darkest cell of the attention of the chosen head, by the numbers and by what is painted.
const part = data.layers[1][0][0];
const numbers = [...values(part)];
const darkest = numbers.indexOf(Math.max(...numbers));
const [query, key] = [Math.floor(darkest / count), darkest % count];
const canvas = maps()[0].querySelector("canvas");
const pixels_of = canvas.width / canvas.clientWidth;
const at = (index) => room + (index + 0.5) * cell;
const painted = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
const shade = (x, y) => painted[4 * (Math.floor(y * pixels_of) * canvas.width + Math.floor(x * pixels_of))];
const shades = numbers.map((_, it) => shade(at(it % count), at(Math.floor(it / count))));
result.darkestIsPainted = shades[darkest] === Math.min(...shades) && shades[darkest] < 20;
const box = canvas.getBoundingClientRect();
canvas.dispatchEvent(new MouseEvent("mousemove", { clientX: box.left + at(key), clientY: box.top + at(query) }));
result.pointed = said();
result.expected = [data.tokens[query], data.tokens[key], part.most.toFixed(3)];
result.readable = cell >= 10 && canvas.clientWidth === room + cell * count;
// A thumbnail of fewer pixels than there are cells loses none of the dark ones.
const thumbnail = document.createElement("canvas");
paint(thumbnail, part, 2);
const corners = thumbnail.getContext("2d").getImageData(0, 0, 2, 2).data;
result.thumbnailIsDark = [0, 4, 8, 12].some((it) => corners[it] === 8);
result.taken = window.taken ?? 0;
const pre = document.createElement("pre");
pre.id = "result";
pre.textContent = JSON.stringify(result);
document.body.append(pre);
</script>"##;

fn browser() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("CHROMIUM") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name)))
        .find(|it| it.is_file());
    if found.is_none() {
        eprintln!("skipped: no Chromium or Chrome is installed, and CHROMIUM is not set");
    }
    found
}

/// The document that a file has become once its scripts have run, and what the browser complained of.
fn open(browser: &Path, file: &Path) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let complaints = stderr.lines().filter(|line| line.contains("CONSOLE"));
    (
        String::from_utf8(output.stdout).unwrap(),
        complaints.collect::<Vec<_>>().join("\n"),
    )
}

fn draw(name: &str, folder: &Path) -> PathBuf {
    let dir = checkpoint("classify_softmax");
    let path = folder.join(name);
    let options = ["attention", "-m", text(dir.path()), TEXT, "--out"];
    succeed(&[&options[..], &[text(&path)]].concat());
    path
}

#[test]
fn the_page_of_attention_works_in_a_browser() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = draw("page.html", folder.path());
    let page = std::fs::read_to_string(&path).unwrap();
    let page = page.replacen("<meta charset", &format!("{WATCH}<meta charset"), 1);
    let page = page.replacen("</html>", &format!("{USE}</html>"), 1);
    std::fs::write(&path, page).unwrap();

    let (document, complaints) = open(&browser, &path);
    assert_eq!(complaints, "");
    let result = document.split("<pre id=\"result\">").nth(1);
    let result = result.and_then(|it| it.split("</pre>").next());
    let result = result.unwrap_or_else(|| panic!("{document}"));
    let result = result
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&nbsp;", "\u{a0}")
        .replace("&amp;", "&");
    let result: Value = serde_json::from_str(&result).unwrap();

    assert_eq!(result["problems"], serde_json::json!([]));
    assert_eq!(result["taken"], 0, "a token was taken for markup");
    assert_eq!(result["title"], "Attention maps");
    // Layer 2, the last, is shown first; its head has four maps.
    assert_eq!(result["first"], serde_json::json!(["head-1-0"]));
    let captions: Vec<&str> = result["captions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    let names = [
        "attention",
        "content to content",
        "content to position",
        "position to content",
    ];
    assert_eq!(captions.len(), names.len());
    for (caption, name) in captions.iter().zip(names) {
        assert!(
            caption.starts_with(&format!("{name} darkest is ")),
            "{caption}"
        );
    }
    assert_eq!(result["clicked"], serde_json::json!(["head-0-1"]));
    assert_eq!(result["clickedSaid"], "layer 1, head 2");
    assert_eq!(result["entered"], serde_json::json!(["head-1-0"]));
    assert_eq!(result["darkestIsPainted"], true, "{result}");
    assert_eq!(result["readable"], true);
    assert_eq!(result["thumbnailIsDark"], true);
    let pointed = result["pointed"].as_str().unwrap();
    for expected in result["expected"].as_array().unwrap() {
        assert!(pointed.contains(expected.as_str().unwrap()), "{pointed}");
    }
}

#[test]
fn the_svg_of_attention_is_drawn_by_a_browser() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = draw("picture.svg", folder.path());
    let (document, complaints) = open(&browser, &path);
    assert_eq!(complaints, "");
    assert!(!document.contains("parsererror"), "{document}");
    // Two heads of four maps, each with its frame, and a background.
    assert_eq!(document.matches("<rect").count(), 9);
    assert_eq!(document.matches("<script").count(), 0);
}
