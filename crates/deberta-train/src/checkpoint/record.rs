//! Burn records to files and back, exact to the bit.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::Path;

use burn::record::{
    BurnRecord, FullPrecisionSettings, NamedMpkBytesRecorder, Record, RecorderError,
};
use burn::tensor::backend::Backend;
use serde::Serialize;

use super::CheckpointError;

/// Numbers as they are.
pub(crate) type Settings = FullPrecisionSettings;

/// MessagePack, because its decoder reports errors where Burn's bincode recorder panics.
type Format = NamedMpkBytesRecorder<Settings>;

/// Writes a record as Burn's recorder would, but without a copy of all its bytes in memory.
///
/// # Errors
///
/// What the file says; errors of the encoder are errors of the file, too.
pub fn write_record<B: Backend>(record: impl Record<B>, file: &mut dyn Write) -> io::Result<()> {
    write_item::<B>(record.into_item::<Settings>(), file)
}

/// Writes what stands for a record.
pub(crate) fn write_item<B: Backend>(item: impl Serialize, file: &mut dyn Write) -> io::Result<()> {
    let record = BurnRecord::<_, B>::new::<Format>(item);
    rmp_serde::encode::write_named(file, &record).map_err(|error| match error {
        rmp_serde::encode::Error::InvalidValueWrite(error) => error.into(),
        error => io::Error::other(error),
    })
}

/// Reads a record from a file.
///
/// - `what`: `model` or `optimizer`, for the message
///
/// # Errors
///
/// [`CheckpointError::Io`], and [`CheckpointError::Record`] if the bytes are no such record.
pub(crate) fn read_record<B: Backend, R: Record<B>>(
    what: &'static str,
    path: &Path,
    device: &B::Device,
) -> Result<R, CheckpointError> {
    let file = File::open(path).map_err(CheckpointError::io(path))?;
    let record: BurnRecord<R::Item<Settings>, B> =
        rmp_serde::decode::from_read(BufReader::new(file)).map_err(|error| {
            let source = RecorderError::DeserializeError(error.to_string());
            CheckpointError::Record { what, source }
        })?;
    Ok(R::from_item(record.item, device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::test_modules::Block;
    use burn::backend::Flex;
    use burn::module::{Module, list_param_ids};
    use burn::record::Recorder;

    #[test]
    fn records_come_back_with_their_ids_and_bits() {
        let (device, dir) = (Default::default(), tempfile::tempdir().unwrap());
        let block = Block::<Flex>::new(3, 5, &device);
        // Burn draws lazily: of an untouched parameter, each clone would draw its own values.
        let weight = block.linear.weight.to_data();
        let mut bytes = Vec::new();
        write_record::<Flex>(block.clone().into_record(), &mut bytes).unwrap();
        let path = dir.path().join("model.mpk");
        std::fs::write(&path, &bytes).unwrap();
        let record = read_record::<Flex, _>("model", &path, &device).unwrap();
        let restored = Block::<Flex>::new(3, 5, &device).load_record(record);

        assert_eq!(list_param_ids(&restored), list_param_ids(&block));
        assert_eq!(restored.linear.weight.to_data(), weight);
        // Burn's own recorder writes the same.
        let record = restored.into_record();
        let expected = Recorder::<Flex>::record(&Format::default(), record, ());
        assert!(bytes == expected.unwrap());
    }

    #[test]
    fn nonsense_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimizer.mpk");
        std::fs::write(&path, [0xc1, 2, 3]).unwrap();
        let result = read_record::<Flex, usize>("optimizer", &path, &Default::default());
        let message = result.unwrap_err().to_string();
        assert_eq!(message, "cannot convert the record of the optimizer");
    }
}
