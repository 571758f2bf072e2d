//! Names of parameters: the Hub's on one side, ours on the other.

use crate::config::Family;

/// Spellings that differ wherever they occur: the Hub's, ours.
const RENAMES: [(&str, &str); 8] = [
    ("LayerNorm", "layer_norm"),
    ("encoder.layer.", "encoder.layers."),
    (".attention.self.", ".attention.self_attention."),
    ("lm_predictions.lm_head.", "lm_head."),
    (".pos_proj.", ".pos_key_proj."),
    (".pos_q_proj.", ".pos_query_proj."),
    (".q_bias", ".query_proj.bias"),
    (".v_bias", ".value_proj.bias"),
];

/// Renames that occur in v1 files only; v2 files use our spelling.
const V1_ONLY: [&str; 4] = [".pos_proj.", ".pos_q_proj.", ".q_bias", ".v_bias"];

/// The head of transformers' older masked language models.
const LEGACY_HEAD: [(&str, &str); 2] = [
    ("cls.predictions.transform.", "lm_head."),
    ("cls.predictions.bias", "lm_head.bias"),
];

/// Burn's names for the parameters of a layer norm; its PyTorch adapter undoes them when saving.
const NORM_PARAMETERS: [(&str, &str); 2] = [
    ("layer_norm.weight", "layer_norm.gamma"),
    ("layer_norm.bias", "layer_norm.beta"),
];

/// v1's query, key and value matrices in one.
pub(super) const FUSED_PROJECTION: &str = "in_proj.weight";

/// Our name of a Hub tensor, without any prefix of the whole file.
pub(super) fn from_hub(name: &str) -> String {
    let mut name = match name.strip_prefix("bert.") {
        Some(rest) => format!("deberta.{rest}"),
        None => name.to_owned(),
    };
    for (theirs, ours) in LEGACY_HEAD
        .into_iter()
        .chain(RENAMES)
        .chain(NORM_PARAMETERS)
    {
        name = name.replace(theirs, ours);
    }
    name
}

/// The Hub's name of our parameter.
pub(super) fn to_hub(name: &str, family: Family) -> String {
    let mut name = name.to_owned();
    for (theirs, ours) in RENAMES {
        if theirs.starts_with("lm_predictions") {
            name = match name.strip_prefix(ours) {
                Some(rest) => format!("{theirs}{rest}"),
                None => name,
            };
        } else if family == Family::V1 || !V1_ONLY.contains(&theirs) {
            name = name.replace(ours, theirs);
        }
    }
    name
}

/// A tied copy of the word table, which the network does not store twice.
pub(super) fn is_tied_copy(name: &str) -> bool {
    name.ends_with("cls.predictions.decoder.weight")
        || name.ends_with("cls.predictions.decoder.bias")
        || name.ends_with("embeddings.position_ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_round_trip() {
        for (family, hub) in [
            (
                Family::V2,
                "deberta.encoder.layer.3.attention.self.pos_key_proj.bias",
            ),
            (
                Family::V2,
                "deberta.encoder.layer.3.attention.output.LayerNorm.weight",
            ),
            (Family::V2, "deberta.encoder.LayerNorm.bias"),
            (Family::V2, "deberta.encoder.conv.LayerNorm.bias"),
            (Family::V1, "deberta.encoder.layer.11.attention.self.q_bias"),
            (
                Family::V1,
                "deberta.encoder.layer.11.attention.self.pos_q_proj.weight",
            ),
            (Family::V1, "lm_predictions.lm_head.bias"),
            (Family::V2, "lm_predictions.lm_head.LayerNorm.weight"),
        ] {
            let exported = from_hub(hub)
                .replace(".gamma", ".weight")
                .replace(".beta", ".bias");
            assert_eq!(to_hub(&exported, family), hub);
        }
    }

    #[test]
    fn old_spellings_are_read() {
        assert_eq!(
            from_hub("bert.encoder.layer.0.output.LayerNorm.bias"),
            "deberta.encoder.layers.0.output.layer_norm.beta"
        );
        assert_eq!(
            from_hub("cls.predictions.transform.LayerNorm.weight"),
            "lm_head.layer_norm.gamma"
        );
        assert_eq!(from_hub("cls.predictions.bias"), "lm_head.bias");
    }
}
