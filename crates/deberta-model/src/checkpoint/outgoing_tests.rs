//! Tensors that are written a few rows at a time.

use burn::tensor::TensorData;

use super::floats::FloatType;
use super::numbers::Numbers;
use super::outgoing::{Outgoing, fuse_projections};
use crate::config::DebertaConfig;

/// A tensor of f32 whose entries are `first`, `first + 1` and so on.
pub(super) fn counting(name: &str, shape: &[usize], first: usize) -> Outgoing<'static> {
    let row_len: usize = shape[1..].iter().product();
    Outgoing {
        name: name.into(),
        shape: shape.to_vec(),
        dtype: FloatType::F32,
        read: Box::new(move |to, rows| {
            let entries = rows.start * row_len..rows.end * row_len;
            let values: Vec<f32> = entries.map(|it| (first + it) as f32).collect();
            let data = TensorData::from(values.as_slice());
            let numbers = Numbers {
                bytes: data.as_bytes(),
                dtype: FloatType::F32,
                shape: &[values.len()],
            };
            Ok(numbers.to_data(to, false).unwrap().bytes)
        }),
    }
}

/// Pieces of any size must be the whole; returns its numbers.
#[track_caller]
pub(super) fn in_pieces(tensor: &Outgoing<'_>) -> Vec<f32> {
    let whole = tensor.bytes().unwrap().to_vec();
    assert_eq!(whole.len() as u64, tensor.byte_len());
    for piece in [1, 7, 40, 100, 1000, usize::MAX] {
        let mut written = Vec::new();
        assert!(tensor.write_pieces(&mut written, piece).is_ok());
        assert!(written == whole, "pieces of {piece} bytes");
    }
    let numbers = whole.chunks_exact(4);
    let numbers = numbers.map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]));
    numbers.collect()
}

#[test]
fn pieces_of_a_fused_matrix_take_the_heads_in_turn() {
    let config = DebertaConfig::v1(9, 6, 1, 2);
    let names = [
        "a.query_proj.weight",
        "a.key_proj.weight",
        "a.value_proj.weight",
    ];
    let parts = names.iter().zip([0, 100, 200]);
    let parts = parts.map(|(name, first)| counting(name, &[6, 6], first));
    let fused = fuse_projections(parts.collect(), &config);
    assert_eq!(fused.len(), 1);
    let numbers = in_pieces(&fused[0]);
    // First entries of the rows: two heads of three rows, each of query, key and value.
    let firsts: Vec<f32> = numbers.iter().step_by(6).copied().collect();
    let head =
        |row: f32| [0.0, 100.0, 200.0].map(|first| [0.0, 6.0, 12.0].map(|it| first + row + it));
    assert_eq!(firsts, [head(0.0), head(18.0)].concat().concat());
}

#[test]
fn matrices_of_other_shapes_stay_apart() {
    let config = DebertaConfig::v1(9, 6, 1, 2);
    let names = [
        "a.query_proj.weight",
        "a.key_proj.weight",
        "a.value_proj.weight",
    ];
    let parts = names.iter().zip([[6, 6], [6, 6], [4, 6]]);
    let parts = parts.map(|(name, shape)| counting(name, &shape, 0));
    assert_eq!(fuse_projections(parts.collect(), &config).len(), 3);
}
