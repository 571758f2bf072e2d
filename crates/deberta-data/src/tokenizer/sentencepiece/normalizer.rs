//! Text as SentencePiece prepares it: rules applied, spaces squeezed and made visible.

use super::charsmap::CharsMap;
use super::double_array::DoubleArray;
use super::proto::NormalizerProto;
use crate::tokenizer::vocab::SPACE_MARK;

/// Turns raw text into the text that the pieces are made of.
#[derive(Debug)]
pub(super) struct Normalizer {
    rules: Option<CharsMap>,
    /// User-defined pieces, which pass untouched.
    verbatim: Option<DoubleArray>,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    escape_whitespaces: bool,
    whitespace_as_suffix: bool,
}

/// Where each byte of the normalised text comes from, if anybody wants to know.
pub(super) trait Origins {
    /// The next `count` bytes come from position `origin` of the raw text.
    fn extend(&mut self, count: usize, origin: usize);
    /// Forgets all but the first `len` bytes; returns the origin of the first one dropped.
    fn truncate(&mut self, len: usize) -> usize;
}

/// Nobody wants to know.
impl Origins for () {
    fn extend(&mut self, _count: usize, _origin: usize) {}

    fn truncate(&mut self, _len: usize) -> usize {
        0
    }
}

impl Origins for Vec<usize> {
    fn extend(&mut self, count: usize, origin: usize) {
        self.resize(self.len() + count, origin);
    }

    fn truncate(&mut self, len: usize) -> usize {
        let origin = self.get(len).copied().unwrap_or(0);
        Vec::truncate(self, len);
        origin
    }
}

impl Normalizer {
    /// Reads the rules of a model; the error says what is wrong with them.
    pub(super) fn new(
        proto: &NormalizerProto,
        whitespace_as_suffix: bool,
        user_defined: Vec<(&[u8], u32)>,
    ) -> Result<Self, String> {
        let rules = match proto.precompiled_charsmap() {
            [] => None,
            blob => Some(CharsMap::parse(blob)?),
        };
        let verbatim = if user_defined.is_empty() {
            None
        } else {
            Some(DoubleArray::build(user_defined).ok_or("too many user-defined pieces")?)
        };
        Ok(Self {
            rules,
            verbatim,
            add_dummy_prefix: proto.add_dummy_prefix(),
            remove_extra_whitespaces: proto.remove_extra_whitespaces(),
            escape_whitespaces: proto.escape_whitespaces(),
            whitespace_as_suffix,
        })
    }

    /// Whether a space before the first word is an artefact of encoding.
    pub(super) fn adds_dummy_prefix(&self) -> bool {
        self.add_dummy_prefix
    }

    /// Normalises `text`; with `Vec<usize>` as `origins` there is one entry per byte of the
    /// result and one more for its end.
    pub(super) fn normalize(&self, text: &str, origins: &mut impl Origins) -> String {
        let mut start = 0;
        while self.remove_extra_whitespaces && start < text.len() {
            let (len, replacement) = self.step(&text[start..]);
            if replacement != " " {
                break;
            }
            start += len;
        }
        if start == text.len() {
            return String::new();
        }

        let mut out = Output {
            text: String::with_capacity(text.len() + 64),
            origins,
        };
        let space = if self.escape_whitespaces {
            SPACE_MARK
        } else {
            ' '
        };
        if self.add_dummy_prefix && !self.whitespace_as_suffix {
            out.push(space, start);
        }
        self.rewrite(text, start, space, &mut out);

        let mut consumed = text.len();
        if self.remove_extra_whitespaces {
            while out.text.ends_with(space) {
                out.text.truncate(out.text.len() - space.len_utf8());
                consumed = out.origins.truncate(out.text.len());
            }
        }
        if self.add_dummy_prefix && self.whitespace_as_suffix {
            out.push(space, consumed);
        }
        out.origins.extend(1, consumed);
        out.text
    }

    fn rewrite(&self, text: &str, start: usize, space: char, out: &mut Output<impl Origins>) {
        let bytes = text.as_bytes();
        let mut after_space = self.remove_extra_whitespaces;
        let mut at = start;
        while at < bytes.len() {
            let plain = self.plain_run(&bytes[at..]);
            if plain > 0 {
                for (index, part) in text[at..at + plain].bytes().enumerate() {
                    if part != b' ' {
                        out.push(char::from(part), at + index);
                    } else if !after_space {
                        out.push(space, at + index);
                    }
                    after_space = self.remove_extra_whitespaces && part == b' ';
                }
                at += plain;
                continue;
            }
            let (len, replacement) = self.step(&text[at..]);
            let kept = if after_space {
                replacement.trim_start_matches(' ')
            } else {
                replacement
            };
            for character in kept.chars() {
                out.push(if character == ' ' { space } else { character }, at);
            }
            if !kept.is_empty() {
                after_space = self.remove_extra_whitespaces && kept.ends_with(' ');
            }
            at += len;
        }
    }

    /// Number of leading bytes that are ASCII and certain to stay as they are.
    fn plain_run(&self, bytes: &[u8]) -> usize {
        if self.verbatim.is_some() {
            return 0;
        }
        let Some(rules) = &self.rules else {
            return bytes.iter().take_while(|byte| byte.is_ascii()).count();
        };
        let alone = bytes
            .iter()
            .take_while(|byte| rules.leaves_alone(**byte))
            .count();
        match bytes.get(alone) {
            // A combining mark may follow and take the last byte into a rule.
            Some(next) if !next.is_ascii() => alone.saturating_sub(1),
            _ => alone,
        }
    }

    /// Consumes the shortest prefix that can be rewritten on its own.
    fn step<'t>(&'t self, text: &'t str) -> (usize, &'t str) {
        if let Some(verbatim) = &self.verbatim {
            let mut longest = 0;
            verbatim.prefixes(text.as_bytes(), |len, _| longest = len);
            if longest > 0 {
                return (longest, &text[..longest]);
            }
        }
        let rule = self
            .rules
            .as_ref()
            .and_then(|rules| rules.longest_prefix(text.as_bytes()));
        match rule {
            // A corrupt table could match half a character; the rule is then ignored.
            Some((len, replacement)) if text.is_char_boundary(len) => (len, replacement),
            _ => {
                let len = text.chars().next().map_or(0, char::len_utf8);
                (len, &text[..len])
            }
        }
    }
}

/// Normalised text with the origin of each byte.
struct Output<'o, O> {
    text: String,
    origins: &'o mut O,
}

impl<O: Origins> Output<'_, O> {
    fn push(&mut self, character: char, origin: usize) {
        self.text.push(character);
        self.origins.extend(character.len_utf8(), origin);
    }
}
