//! Burn records to bytes and back, exact to the bit.

use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Record, Recorder};
use burn::tensor::backend::Backend;

use super::CheckpointError;

/// MessagePack, because its decoder reports errors where Burn's bincode recorder panics.
type Format = NamedMpkBytesRecorder<FullPrecisionSettings>;

/// Turns a record into bytes.
///
/// # Errors
///
/// [`CheckpointError::Record`], naming `what`.
pub fn encode_record<B: Backend>(
    what: &'static str,
    record: impl Record<B>,
) -> Result<Vec<u8>, CheckpointError> {
    Recorder::<B>::record(&Format::default(), record, ())
        .map_err(|source| CheckpointError::Record { what, source })
}

/// Turns bytes into a record.
///
/// # Errors
///
/// [`CheckpointError::Record`], naming `what`.
pub fn decode_record<B: Backend, R: Record<B>>(
    what: &'static str,
    bytes: Vec<u8>,
    device: &B::Device,
) -> Result<R, CheckpointError> {
    Recorder::<B>::load(&Format::default(), bytes, device)
        .map_err(|source| CheckpointError::Record { what, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::test_modules::Block;
    use burn::backend::Flex;
    use burn::module::{Module, list_param_ids};

    #[test]
    fn records_come_back_with_their_ids_and_bits() {
        let device = Default::default();
        let block = Block::<Flex>::new(3, 5, &device);
        // Burn draws lazily: of an untouched parameter, each clone would draw its own values.
        let weight = block.linear.weight.to_data();
        let bytes = encode_record::<Flex>("model", block.clone().into_record()).unwrap();
        let record = decode_record::<Flex, _>("model", bytes, &device).unwrap();
        let restored = Block::<Flex>::new(3, 5, &device).load_record(record);

        assert_eq!(list_param_ids(&restored), list_param_ids(&block));
        assert_eq!(restored.linear.weight.to_data(), weight);
    }

    #[test]
    fn nonsense_is_an_error() {
        let bytes = vec![0xc1, 2, 3];
        let result = decode_record::<Flex, usize>("optimizer", bytes, &Default::default());
        let message = result.unwrap_err().to_string();
        assert_eq!(message, "cannot convert the record of the optimizer");
    }
}
