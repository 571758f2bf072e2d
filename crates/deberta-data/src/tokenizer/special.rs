//! Where the special pieces are, whatever a vocabulary calls them.

use std::path::Path;

use super::{SpecialTokens, TokenizerError};

/// Names of each special piece, DeBERTa's own first.
const PAD: [&str; 2] = ["[PAD]", "<pad>"];
const CLS: [&str; 2] = ["[CLS]", "<s>"];
const SEP: [&str; 2] = ["[SEP]", "</s>"];
const UNK: [&str; 2] = ["[UNK]", "<unk>"];
/// Names of the mask piece; v2 and v3 vocabularies have none and get the first as an extra id.
pub(super) const MASK: [&str; 2] = ["[MASK]", "<mask>"];

/// Looks the special pieces up; a missing mask takes the id `mask_otherwise`.
///
/// # Errors
///
/// [`TokenizerError::MissingSpecials`] with every name that was not found.
pub(super) fn find(
    path: &Path,
    id: impl Fn(&str) -> Option<u32>,
    mask_otherwise: Option<u32>,
) -> Result<SpecialTokens, TokenizerError> {
    let mut missing = Vec::new();
    let mut look_up = |names: [&'static str; 2], otherwise: Option<u32>| {
        let found = names.into_iter().find_map(&id).or(otherwise);
        found.unwrap_or_else(|| {
            missing.push(names[0]);
            0
        })
    };
    let special = SpecialTokens {
        pad: look_up(PAD, None),
        cls: look_up(CLS, None),
        sep: look_up(SEP, None),
        unk: look_up(UNK, None),
        mask: look_up(MASK, mask_otherwise),
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
