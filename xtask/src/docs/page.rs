//! The commands of a page.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A page and what can be run in it.
pub(super) struct Page {
    /// Name of the file without its ending.
    pub(super) name: String,
    /// Lines of its `console` blocks.
    pub(super) commands: Vec<Code>,
    /// Its `python` blocks.
    pub(super) python: Vec<Code>,
}

/// Something to run.
pub(super) struct Code {
    /// File and line.
    pub(super) at: String,
    pub(super) text: String,
}

impl Page {
    /// README and guide.
    pub(super) fn of_guide(root: &Path) -> Result<Vec<Self>> {
        let mut paths: Vec<PathBuf> = fs::read_dir(root.join("docs"))
            .context("cannot read docs")?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|it| it == "md"));
        paths.sort();
        paths.insert(0, root.join("README.md"));
        let read = |path: &PathBuf| {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
            Ok(Self::parse(&file, &text))
        };
        paths.iter().map(read).collect()
    }

    fn parse(file: &str, text: &str) -> Self {
        let name = file.trim_end_matches(".md").replace('/', "-");
        let mut page = Self {
            name,
            commands: Vec::new(),
            python: Vec::new(),
        };
        let mut fence = None;
        for (number, line) in (1..).zip(text.lines()) {
            let at = || format!("{file}:{number}");
            match (fence, line.strip_prefix("```")) {
                (None, Some(kind)) => {
                    fence = Some(kind);
                    if kind == "python" {
                        page.python.push(Code {
                            at: at(),
                            text: String::new(),
                        });
                    }
                }
                (Some(_), Some(_)) => fence = None,
                (Some("console"), None) if !line.trim().is_empty() => {
                    let text = without_comment(line).to_owned();
                    // A line that is indented goes on with the one before.
                    match page.commands.last_mut() {
                        Some(last) if last.text.ends_with('\\') => {
                            last.text.pop();
                            last.text.push_str(text.trim_start());
                        }
                        _ => page.commands.push(Code { at: at(), text }),
                    }
                }
                (Some("python"), None) => {
                    if let Some(code) = page.python.last_mut() {
                        code.text.push_str(line);
                        code.text.push('\n');
                    }
                }
                _ => {}
            }
        }
        page.commands.retain(|it| !it.text.is_empty());
        page
    }
}

/// The line up to a `#` after a space; none of our commands has one in quotes.
fn without_comment(line: &str) -> &str {
    let end = line.find(" #").unwrap_or(line.len());
    match line.starts_with('#') {
        true => "",
        false => line[..end].trim_end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_from_console_blocks_only() {
        let text = "Text `a`.\n```console\ndeberta a   # why\n\n# note\ndeberta b \\\n    --c\n```\n\
                    ```toml\nd = 1\n```\n```python\ne()\nf()\n```\n";
        let page = Page::parse("docs/x.md", text);
        assert_eq!(page.name, "docs-x");
        let commands: Vec<_> = page
            .commands
            .iter()
            .map(|it| (&*it.at, &*it.text))
            .collect();
        assert_eq!(
            commands,
            [
                ("docs/x.md:3", "deberta a"),
                ("docs/x.md:6", "deberta b --c")
            ]
        );
        assert_eq!(page.python.len(), 1);
        assert_eq!(page.python[0].text, "e()\nf()\n");
    }
}
