//! Where the special pieces are, whatever a vocabulary calls them.

use std::path::Path;

use super::{SpecialTokens, TokenizerError};

/// Names of each special piece, DeBERTa's own first, in the order pad, cls, sep, unk, mask.
const NAMES: [[&str; 2]; 5] = [
    ["[PAD]", "<pad>"],
    ["[CLS]", "<s>"],
    ["[SEP]", "</s>"],
    ["[UNK]", "<unk>"],
    MASK,
];
/// Names of the mask piece; v2 and v3 vocabularies have none and get the first as an extra id.
pub(super) const MASK: [&str; 2] = ["[MASK]", "<mask>"];

/// Looks the special pieces up, first by the names `declared` in the order of [`NAMES`]; a missing
/// mask takes the id `mask_otherwise`.
///
/// # Errors
///
/// [`TokenizerError::MissingSpecials`] with every name that was not found.
pub(super) fn find(
    path: &Path,
    declared: &[Option<String>; 5],
    id: impl Fn(&str) -> Option<u32>,
    mask_otherwise: Option<u32>,
) -> Result<SpecialTokens, TokenizerError> {
    let mut missing = Vec::new();
    let mut look_up = |role: usize, otherwise: Option<u32>| {
        let declared = declared[role].as_deref().and_then(&id);
        let usual = || NAMES[role].into_iter().find_map(&id);
        declared.or_else(usual).or(otherwise).unwrap_or_else(|| {
            missing.push(NAMES[role][0]);
            0
        })
    };
    let special = SpecialTokens {
        pad: look_up(0, None),
        cls: look_up(1, None),
        sep: look_up(2, None),
        unk: look_up(3, None),
        mask: look_up(4, mask_otherwise),
    };
    if missing.is_empty() {
        Ok(special)
    } else {
        Err(TokenizerError::MissingSpecials {
            path: path.to_owned(),
            missing,
        })
    }
}
