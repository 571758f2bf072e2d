//! Names of parameters: foreign spellings, the Hub's and ours.
//!
//! A tensor's name takes two steps. [`Spelling`] undoes what programs put around or in place of the
//! Hub's names; [`from_hub`] turns the Hub's name into the path of a parameter of our modules.

use crate::config::Family;
use crate::hf_config::RtdPart;

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

/// The head of transformers' older masked language models, and the newer spelling.
const LEGACY_HEAD: [(&str, &str); 2] = [
    ("cls.predictions.transform.", "lm_predictions.lm_head."),
    ("cls.predictions.bias", "lm_predictions.lm_head.bias"),
];

/// Names of a layer norm's parameters in the oldest files.
const OLD_NORM: [(&str, &str); 2] = [
    ("LayerNorm.gamma", "LayerNorm.weight"),
    ("LayerNorm.beta", "LayerNorm.bias"),
];

/// Burn's names for the parameters of a layer norm.
const NORM_PARAMETERS: [(&str, &str); 2] = [
    ("layer_norm.weight", "layer_norm.gamma"),
    ("layer_norm.bias", "layer_norm.beta"),
];

/// What data-parallel training, `torch.compile` and wrapping modules put before all names.
const WRAPPERS: [&str; 3] = ["module.", "_orig_mod.", "model."];

/// Ending of what GLiNER puts before the names of its encoder.
const GLINER_ENCODER: &str = "bert_layer.model.";

/// Before every name of the encoder.
pub(super) const ENCODER: &str = "deberta.";

/// v1's query, key and value matrices in one.
pub(super) const FUSED_PROJECTION: &str = "in_proj.weight";

/// The three matrices, in the order in which they are fused.
pub(super) const PROJECTIONS: [&str; 3] =
    ["query_proj.weight", "key_proj.weight", "value_proj.weight"];

/// The table that only the mask decoder reads, unless positions are added to the input.
pub(super) const POSITION_TABLE: &str = "deberta.embeddings.position_embeddings.weight";

/// Input embeddings, and output matrix of the masked-language-model head.
pub(super) const WORD_TABLE: &str = "deberta.embeddings.word_embeddings.weight";

/// Output bias of the masked-language-model head, in our name.
pub(super) const OUTPUT_BIAS: &str = "lm_head.bias";

/// First parts of the names of all heads.
pub(super) const HEADS: [&str; 6] = [
    "lm_predictions.",
    "mask_predictions.",
    "pooler.",
    "classifier.",
    "qa_outputs.",
    "proj.",
];

/// What a tensor of a file is to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// A parameter, with its name on the Hub, or something unknown.
    Parameter(String),
    /// Weight of an output layer that should be the word table again.
    TiedCopy,
    /// Something that holds nothing of its own: constant buffers, biases held twice, and the
    /// difference of embeddings that was added to the table before release.
    Leftover,
    /// A tensor of another network in the same file.
    Foreign,
}

/// How the names of one file differ from the Hub's.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Spelling {
    /// Put before all names.
    wrapper: String,
    /// Put before the names of the chosen one of several networks.
    network: Option<String>,
}

impl Spelling {
    /// Finds out from all names of a file. Of a generator and a discriminator, `part` is meant.
    pub(super) fn detect<'a>(names: impl Iterator<Item = &'a str> + Clone, part: RtdPart) -> Self {
        let mut wrapper = String::new();
        let unwrapped = |name: &'a str, wrapper: &str| name.strip_prefix(wrapper);
        while let Some(found) = WRAPPERS.iter().find(|found| {
            let mut rest = names.clone().map(|name| unwrapped(name, &wrapper));
            let mut all = rest.clone().flatten();
            rest.next().is_some() && all.all(|name| name.starts_with(**found))
        }) {
            wrapper.push_str(found);
        }
        let mut inner = names.filter_map(|name| unwrapped(name, &wrapper));
        let network = inner.find_map(|name| {
            if name.starts_with("discriminator.") || name.starts_with("generator.") {
                return Some(part.prefix().to_owned());
            }
            let at = name.find(GLINER_ENCODER)?;
            Some(name[..at + GLINER_ENCODER.len()].to_owned())
        });
        Self { wrapper, network }
    }

    pub(super) fn role(&self, name: &str) -> Role {
        let name = name.strip_prefix(&self.wrapper).unwrap_or(name);
        let name = match &self.network {
            Some(network) => match name.strip_prefix(network) {
                Some(name) => name,
                None => return Role::Foreign,
            },
            None => name,
        };
        let bare = ["deberta.", "bert."]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .or_else(|| {
                ["embeddings.", "encoder."]
                    .iter()
                    .find_map(|first| name.starts_with(first).then_some(name))
            });
        if name.ends_with("cls.predictions.decoder.weight") {
            return Role::TiedCopy;
        }
        let leftovers = [
            "cls.predictions.decoder.bias",
            "embeddings.position_ids",
            "word_embeddings._weight",
            "position_embeddings._weight",
        ];
        if leftovers.iter().any(|ending| name.ends_with(ending)) {
            return Role::Leftover;
        }
        let mut name = match bare {
            Some(bare) => format!("{ENCODER}{bare}"),
            None => name.to_owned(),
        };
        for (theirs, hub) in LEGACY_HEAD.into_iter().chain(OLD_NORM) {
            name = name.replace(theirs, hub);
        }
        Role::Parameter(name)
    }
}

impl RtdPart {
    fn prefix(self) -> &'static str {
        match self {
            Self::Discriminator => "discriminator.",
            Self::Generator => "generator.",
        }
    }
}

/// Our name of a parameter that the Hub calls `name`.
pub(super) fn from_hub(name: &str) -> String {
    let mut name = name.to_owned();
    for (theirs, ours) in RENAMES.into_iter().chain(NORM_PARAMETERS) {
        name = name.replace(theirs, ours);
    }
    name
}

/// The Hub's name of our parameter.
pub(super) fn to_hub(name: &str, family: Family) -> String {
    let mut name = name.to_owned();
    for (theirs, ours) in NORM_PARAMETERS {
        name = name.replace(ours, theirs);
    }
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

/// As [`to_hub`], where v1's three matrices are one.
pub(super) fn to_hub_file(name: &str, family: Family) -> String {
    if family == Family::V1
        && let Some((attention, _)) = split_projection(name)
    {
        return to_hub(&format!("{attention}{FUSED_PROJECTION}"), family);
    }
    to_hub(name, family)
}

/// For one of the three matrices of an attention, the name of the attention with a dot, and which.
pub(super) fn split_projection(name: &str) -> Option<(&str, usize)> {
    let found = PROJECTIONS.iter().enumerate().find_map(|(part, suffix)| {
        let attention = name.strip_suffix(suffix)?;
        Some((attention, part))
    });
    // `pos_query_proj.weight` ends alike but is a matrix of its own.
    found.filter(|(attention, _)| attention.ends_with('.'))
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
            assert_eq!(to_hub(&from_hub(hub), family), hub);
        }
    }

    fn roles(names: &[&str], part: RtdPart) -> Vec<Role> {
        let spelling = Spelling::detect(names.iter().copied(), part);
        names.iter().map(|name| spelling.role(name)).collect()
    }

    fn parameter(name: &str) -> Role {
        Role::Parameter(name.into())
    }

    #[test]
    fn old_spellings_are_read() {
        let names = [
            "bert.encoder.layer.0.output.LayerNorm.beta",
            "cls.predictions.transform.LayerNorm.weight",
            "cls.predictions.bias",
            "cls.predictions.decoder.weight",
            "cls.predictions.decoder.bias",
            "bert.embeddings.word_embeddings._weight",
        ];
        let expected = [
            parameter("deberta.encoder.layer.0.output.LayerNorm.bias"),
            parameter("lm_predictions.lm_head.LayerNorm.weight"),
            parameter("lm_predictions.lm_head.bias"),
            Role::TiedCopy,
            Role::Leftover,
            Role::Leftover,
        ];
        assert_eq!(roles(&names, RtdPart::Discriminator), expected);
    }

    #[test]
    fn wrappers_are_taken_off_if_all_names_have_them() {
        let expected = [
            parameter("deberta.encoder.LayerNorm.bias"),
            parameter("pooler.dense.bias"),
        ];
        for names in [
            ["deberta.encoder.LayerNorm.bias", "pooler.dense.bias"],
            ["encoder.LayerNorm.bias", "pooler.dense.bias"],
            ["module.encoder.LayerNorm.bias", "module.pooler.dense.bias"],
            [
                "_orig_mod.module.deberta.encoder.LayerNorm.bias",
                "_orig_mod.module.pooler.dense.bias",
            ],
        ] {
            assert_eq!(roles(&names, RtdPart::Discriminator), expected);
        }
        let mixed = ["module.a", "deberta.encoder.LayerNorm.bias"];
        assert_eq!(
            roles(&mixed, RtdPart::Discriminator)[0],
            parameter("module.a")
        );
        assert_eq!(roles(&[], RtdPart::Discriminator), []);
    }

    #[test]
    fn one_of_several_networks_is_chosen() {
        let names = [
            "generator.lm_predictions.lm_head.bias",
            "discriminator.deberta.encoder.LayerNorm.bias",
        ];
        assert_eq!(
            roles(&names, RtdPart::Generator),
            [parameter("lm_predictions.lm_head.bias"), Role::Foreign]
        );
        assert_eq!(
            roles(&names, RtdPart::Discriminator),
            [Role::Foreign, parameter("deberta.encoder.LayerNorm.bias")]
        );
        let names = [
            "rnn.lstm.weight_hh_l0",
            "token_rep_layer.bert_layer.model.encoder.LayerNorm.bias",
        ];
        assert_eq!(
            roles(&names, RtdPart::Discriminator),
            [Role::Foreign, parameter("deberta.encoder.LayerNorm.bias")]
        );
    }
}
