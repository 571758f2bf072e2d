//! Types of numbers in weights files, and conversion between the floating-point ones.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Element, TensorData};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};

/// Numbers converted at a time, on the stack.
const CHUNK: usize = 256;

/// Edge of the square blocks in which a matrix is transposed: reads and writes stay in the cache.
const BLOCK: usize = 64;

/// A floating-point type that weights are stored in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum FloatType {
    /// IEEE 754 double precision.
    F64,
    /// IEEE 754 single precision.
    #[default]
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
}

impl FloatType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F64, Self::F32, Self::F16, Self::Bf16];

    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Name in safetensors files.
    pub(super) fn safetensors_name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    /// Name of the class of storages in PyTorch.
    pub(super) fn storage_name(self) -> &'static str {
        match self {
            Self::F64 => "DoubleStorage",
            Self::F32 => "FloatStorage",
            Self::F16 => "HalfStorage",
            Self::Bf16 => "BFloat16Storage",
        }
    }

    /// Name in `config.json`.
    pub(super) fn config_name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    /// The type of a tensor on the host.
    pub(super) fn to_dtype(self) -> DType {
        match self {
            Self::F64 => DType::F64,
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// The type of a tensor on the host; `None` if it is not a float.
    pub(super) fn from_dtype(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F64 => Some(Self::F64),
            DType::F32 | DType::Flex32 => Some(Self::F32),
            DType::F16 => Some(Self::F16),
            DType::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }
}

impl fmt::Display for FloatType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// A word that names no floating-point type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown type of numbers `{0}`, expected `f64`, `f32`, `f16` or `bf16`")]
pub struct UnknownFloatType(String);

impl FromStr for FloatType {
    type Err = UnknownFloatType;

    fn from_str(text: &str) -> Result<Self, UnknownFloatType> {
        let found = Self::ALL.into_iter().find(|it| it.to_string() == text);
        found.ok_or_else(|| UnknownFloatType(text.into()))
    }
}

/// Type of the entries of a stored tensor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementType {
    /// A type that parameters have.
    Float(FloatType),
    /// Any other, such as the integers of a buffer, by its name.
    Other(String),
}

impl ElementType {
    pub(super) fn float(&self) -> Option<FloatType> {
        match self {
            Self::Float(float) => Some(*float),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(float) => float.fmt(f),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A number that files hold in little-endian order.
///
/// Everything but f64 fits into f32 exactly, so one of the two is the way between any two types.
trait Float: Element + Copy + Default {
    const TYPE: FloatType;

    fn decode(bytes: &[u8], out: &mut [f32]);
    fn decode_wide(bytes: &[u8], out: &mut [f64]);
    fn encode(values: &[f32], out: &mut [Self]);
    fn encode_wide(values: &[f64], out: &mut [Self]);
    fn copy(bytes: &[u8], out: &mut [Self]);
    fn is_finite(self) -> bool;
}

macro_rules! impl_float {
    ($name:ident, $float:ident, $to_f32:expr, $to_f64:expr, $from_f32:expr, $from_f64:expr) => {
        impl Float for $float {
            const TYPE: FloatType = FloatType::$name;

            fn decode(bytes: &[u8], out: &mut [f32]) {
                $to_f32(bytes, out);
            }
            fn decode_wide(bytes: &[u8], out: &mut [f64]) {
                for (out, value) in out.iter_mut().zip(numbers::<$float>(bytes)) {
                    *out = $to_f64(value);
                }
            }
            fn encode(values: &[f32], out: &mut [Self]) {
                $from_f32(values, out);
            }
            fn encode_wide(values: &[f64], out: &mut [Self]) {
                for (out, value) in out.iter_mut().zip(values) {
                    *out = $from_f64(*value);
                }
            }
            fn copy(bytes: &[u8], out: &mut [Self]) {
                for (out, value) in out.iter_mut().zip(numbers(bytes)) {
                    *out = value;
                }
            }
            fn is_finite(self) -> bool {
                self.is_finite()
            }
        }

        impl LittleEndian for $float {
            const SIZE: usize = size_of::<$float>();

            fn from_bytes(bytes: &[u8]) -> Self {
                let mut array = [0; size_of::<$float>()];
                array.copy_from_slice(bytes);
                Self::from_le_bytes(array)
            }
        }
    };
}

trait LittleEndian: Copy {
    const SIZE: usize;

    fn from_bytes(bytes: &[u8]) -> Self;
}

fn numbers<T: LittleEndian>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.chunks_exact(T::SIZE).map(T::from_bytes)
}

fn each<T: LittleEndian, U>(convert: impl Fn(T) -> U) -> impl Fn(&[u8], &mut [U]) {
    move |bytes, out| {
        for (out, value) in out.iter_mut().zip(numbers(bytes)) {
            *out = convert(value);
        }
    }
}

/// Half-precision numbers have conversions of whole slices, which use the processor's instructions.
fn decode_half<T: LittleEndian + Default>(bytes: &[u8], out: &mut [f32])
where
    [T]: HalfFloatSliceExt,
{
    let mut buffer = [T::default(); CHUNK];
    for (out, bytes) in out.chunks_mut(CHUNK).zip(bytes.chunks(CHUNK * T::SIZE)) {
        let buffer = &mut buffer[..out.len()];
        for (half, value) in buffer.iter_mut().zip(numbers(bytes)) {
            *half = value;
        }
        buffer.convert_to_f32_slice(out);
    }
}

fn encode_half<T>(values: &[f32], out: &mut [T])
where
    [T]: HalfFloatSliceExt,
{
    out.convert_from_f32_slice(values);
}

/// f32 with its last bit set if anything was cut off, so that rounding it again to a type at least two
/// bits shorter gives what rounding once would have given.
///
/// `half`'s own conversion rounds twice on processors that convert in hardware.
///
/// Reference: Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms
/// using rounding to odd", 2008.
fn round_to_odd(value: f64) -> f32 {
    let nearest = value as f32;
    if value.is_nan() || f64::from(nearest) == value {
        return nearest;
    }
    let away = f64::from(nearest).abs() > value.abs();
    let towards_zero = nearest.to_bits() - u32::from(away);
    f32::from_bits(towards_zero | 1)
}

fn widen(values: &[f32], out: &mut [f64]) {
    for (out, value) in out.iter_mut().zip(values) {
        *out = f64::from(*value);
    }
}

fn same(values: &[f32], out: &mut [f32]) {
    out.copy_from_slice(values);
}

impl_float!(F64, f64, each(|it: f64| it as f32), |it| it, widen, |it| it);
impl_float!(F32, f32, each(|it: f32| it), f64::from, same, |it| it
    as f32);
impl_float!(
    F16,
    f16,
    decode_half::<f16>,
    f64::from,
    encode_half::<f16>,
    |it| f16::from_f32(round_to_odd(it))
);
impl_float!(
    Bf16,
    bf16,
    decode_half::<bf16>,
    f64::from,
    encode_half::<bf16>,
    |it| bf16::from_f32(round_to_odd(it))
);

/// Converts as many numbers as `out` has, rounding to the nearest.
fn convert<S: Float, D: Float>(bytes: &[u8], out: &mut [D]) {
    if S::TYPE == D::TYPE {
        return D::copy(bytes, out);
    }
    let wide = S::TYPE == FloatType::F64 || D::TYPE == FloatType::F64;
    let chunks = out.chunks_mut(CHUNK);
    for (out, bytes) in chunks.zip(bytes.chunks(CHUNK * S::TYPE.size())) {
        if wide {
            let mut values = [0.0; CHUNK];
            S::decode_wide(bytes, &mut values[..out.len()]);
            D::encode_wide(&values[..out.len()], out);
        } else {
            let mut values = [0.0; CHUNK];
            S::decode(bytes, &mut values[..out.len()]);
            D::encode(&values[..out.len()], out);
        }
    }
}

/// Converts a matrix `[rows, columns]` into its transpose.
fn convert_transposed<S: Float, D: Float>(bytes: &[u8], columns: usize, out: &mut [D]) {
    let rows = out.len() / columns.max(1);
    let size = S::TYPE.size();
    let mut block = [D::default(); BLOCK];
    for first_row in (0..rows).step_by(BLOCK) {
        for first_column in (0..columns).step_by(BLOCK) {
            let width = BLOCK.min(columns - first_column);
            for row in first_row..rows.min(first_row + BLOCK) {
                let start = (row * columns + first_column) * size;
                convert::<S, D>(&bytes[start..start + width * size], &mut block[..width]);
                for (column, value) in block[..width].iter().enumerate() {
                    out[(first_column + column) * rows + row] = *value;
                }
            }
        }
    }
}

/// Whether a finite number became infinite.
fn overflows<S: Float, D: Float>(bytes: &[u8], out: &[D]) -> bool {
    let finite = |values: &[D]| values.iter().filter(|it| it.is_finite()).count();
    if finite(out) == out.len() {
        return false;
    }
    let mut before = 0;
    for bytes in bytes.chunks(CHUNK * S::TYPE.size()) {
        let mut values = [0.0; CHUNK];
        let count = bytes.len() / S::TYPE.size();
        S::decode_wide(bytes, &mut values[..count]);
        before += values[..count].iter().filter(|it| it.is_finite()).count();
    }
    before != finite(out)
}

/// Numbers of a file: where they are and how they are laid out.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) dtype: FloatType,
    pub(super) shape: &'a [usize],
}

impl Numbers<'_> {
    /// The numbers as a tensor of another type, a matrix transposed if asked for.
    ///
    /// `None` if a finite number is beyond the range of that type.
    pub(super) fn to_data(self, to: FloatType, transpose: bool) -> Option<TensorData> {
        match to {
            FloatType::F64 => self.dispatch::<f64>(transpose),
            FloatType::F32 => self.dispatch::<f32>(transpose),
            FloatType::F16 => self.dispatch::<f16>(transpose),
            FloatType::Bf16 => self.dispatch::<bf16>(transpose),
        }
    }

    fn dispatch<D: Float>(self, transpose: bool) -> Option<TensorData> {
        match self.dtype {
            FloatType::F64 => self.convert::<f64, D>(transpose),
            FloatType::F32 => self.convert::<f32, D>(transpose),
            FloatType::F16 => self.convert::<f16, D>(transpose),
            FloatType::Bf16 => self.convert::<bf16, D>(transpose),
        }
    }

    fn convert<S: Float, D: Float>(self, transpose: bool) -> Option<TensorData> {
        let mut out = vec![D::default(); self.bytes.len() / S::TYPE.size()];
        let mut shape = self.shape.to_vec();
        if transpose && let [rows, columns] = self.shape {
            convert_transposed::<S, D>(self.bytes, *columns, &mut out);
            shape = vec![*columns, *rows];
        } else {
            convert::<S, D>(self.bytes, &mut out);
        }
        if S::TYPE != D::TYPE && overflows::<S, D>(self.bytes, &out) {
            return None;
        }
        Some(TensorData::new(out, shape))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers_of<'a>(data: &'a TensorData, shape: &'a [usize]) -> Numbers<'a> {
        Numbers {
            bytes: data.as_bytes(),
            dtype: FloatType::from_dtype(data.dtype).unwrap(),
            shape,
        }
    }

    #[test]
    fn every_pair_of_types_converts_numbers_that_both_have() {
        // Exact in bf16, whose significand is the shortest.
        let values: Vec<f64> = (0..600).map(|it| f64::from(it % 128 - 64) / 8.0).collect();
        let exact = TensorData::new(values, [600]);
        for from in FloatType::ALL {
            let source = numbers_of(&exact, &[600]).to_data(from, false).unwrap();
            for to in FloatType::ALL {
                let there = numbers_of(&source, &[600]).to_data(to, false).unwrap();
                assert_eq!(FloatType::from_dtype(there.dtype), Some(to));
                let back = numbers_of(&there, &[600]).to_data(FloatType::F64, false);
                assert_eq!(back.unwrap(), exact, "{from} to {to}");
            }
        }
    }

    #[test]
    fn f64_is_rounded_once() {
        // Through f32 this would round to the even neighbour below.
        let data = TensorData::new(vec![1.0 + 2f64.powi(-11) + 2f64.powi(-40)], [1]);
        let half = numbers_of(&data, &[1]).to_data(FloatType::F16, false);
        let half = half.unwrap().to_vec::<f16>().unwrap()[0];
        assert_eq!(half.to_f64(), 1.0 + 2f64.powi(-10));
        assert_eq!(round_to_odd(1e300), f32::MAX);
        assert_eq!(round_to_odd(-1e-300), -f32::from_bits(1));
        assert_eq!(round_to_odd(f64::NEG_INFINITY), f32::NEG_INFINITY);
        assert_eq!(round_to_odd(0.5), 0.5);
    }

    #[test]
    fn transposing_works_across_blocks() {
        let (rows, columns) = (70, 131);
        let values: Vec<f32> = (0..rows * columns).map(|it| it as f32).collect();
        let data = TensorData::new(values, [rows, columns]);
        let turned = numbers_of(&data, &[rows, columns]).to_data(FloatType::F32, true);
        let turned = turned.unwrap();
        assert_eq!(turned.shape.to_vec(), [columns, rows]);
        let turned = turned.to_vec::<f32>().unwrap();
        for row in 0..rows {
            for column in 0..columns {
                let expected = (row * columns + column) as f32;
                assert_eq!(turned[column * rows + row], expected);
            }
        }
    }

    #[test]
    fn numbers_beyond_the_range_are_noticed_but_infinity_is_not_one() {
        let data = TensorData::new(vec![1.0f32, 70_000.0], [2]);
        assert!(
            numbers_of(&data, &[2])
                .to_data(FloatType::F16, false)
                .is_none()
        );
        assert!(
            numbers_of(&data, &[2])
                .to_data(FloatType::Bf16, false)
                .is_some()
        );
        let data = TensorData::new(vec![1.0f32, f32::INFINITY, f32::NAN], [3]);
        assert!(
            numbers_of(&data, &[3])
                .to_data(FloatType::F16, false)
                .is_some()
        );
    }

    #[test]
    fn names_are_read_back() {
        for float in FloatType::ALL {
            assert_eq!(float.to_string().parse(), Ok(float));
        }
        assert_eq!(
            "f8".parse::<FloatType>().unwrap_err().to_string(),
            "unknown type of numbers `f8`, expected `f64`, `f32`, `f16` or `bf16`"
        );
    }
}
