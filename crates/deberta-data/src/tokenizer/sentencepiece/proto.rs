//! The parts of a SentencePiece model file that decide how a text is encoded.
//!
//! Field numbers follow `sentencepiece_model.proto`; unknown fields are skipped. The structs are
//! written by hand so that building needs no `protoc`.

use std::path::Path;

use prost::Message;

use crate::tokenizer::TokenizerError;

/// Root message of a model file.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pub(super) pieces: Vec<PieceProto>,
    #[prost(message, optional, tag = "2")]
    pub(super) trainer: Option<TrainerProto>,
    #[prost(message, optional, tag = "3")]
    pub(super) normalizer: Option<NormalizerProto>,
}

/// One vocabulary entry; its id is its position.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PieceProto {
    #[prost(string, optional, tag = "1")]
    pub(super) piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    pub(super) score: Option<f32>,
    #[prost(enumeration = "PieceType", optional, tag = "3", default = "Normal")]
    pub(super) kind: Option<i32>,
}

/// What a vocabulary entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(super) enum PieceType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// How the model was trained; a few of its fields matter afterwards.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TrainerProto {
    #[prost(int32, optional, tag = "3", default = "1")]
    pub(super) model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    pub(super) treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    pub(super) byte_fallback: Option<bool>,
}

/// How text is prepared before it is cut into pieces.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NormalizerProto {
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3", default = "true")]
    pub(super) add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4", default = "true")]
    pub(super) remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5", default = "true")]
    pub(super) escape_whitespaces: Option<bool>,
}

/// `model_type` of a unigram model.
const UNIGRAM: i32 = 1;

/// Parses a model file and checks that it is one we can run.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<ModelProto, TokenizerError> {
    let model = ModelProto::decode(bytes).map_err(|error| {
        TokenizerError::malformed(path, format!("SentencePiece model: {error}"))
    })?;
    if model.pieces.is_empty() {
        return Err(TokenizerError::malformed(
            path,
            "the SentencePiece model has no pieces",
        ));
    }
    let model_type = model
        .trainer
        .as_ref()
        .map_or(UNIGRAM, TrainerProto::model_type);
    if model_type != UNIGRAM {
        let name = match model_type {
            2 => "BPE",
            3 => "word",
            4 => "character",
            _ => "unknown",
        };
        let reason = format!("SentencePiece model of type {name}, expected unigram");
        return Err(TokenizerError::malformed(path, reason));
    }
    Ok(model)
}
