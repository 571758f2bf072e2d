//! How long the sequences of a model are unless something else is said.

use deberta_data::tokenizer::Tokenizer;
use deberta_model::DebertaConfig;
use deberta_model::config::AbsolutePositions;

/// What `model_max_length` in `tokenizer_config.json` says, else the positions that the network was
/// made for, which a network that reads absolute positions cannot exceed.
pub(crate) fn usual_length(tokenizer: &Tokenizer, config: &DebertaConfig) -> usize {
    let positions = config.max_position_embeddings;
    let said = tokenizer.max_length().unwrap_or(positions);
    match config.absolute_positions {
        AbsolutePositions::Input => said.min(positions),
        AbsolutePositions::None | AbsolutePositions::Decoder => said,
    }
}
