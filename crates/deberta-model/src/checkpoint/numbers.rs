//! Conversion of numbers from files between floating-point types, and transposition on the way.

use burn::tensor::{Element, TensorData};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::floats::FloatType;

/// Numbers converted at a time, on the stack.
const CHUNK: usize = 256;

/// Edge of the square blocks in which a matrix is transposed: reads and writes stay in the cache.
const BLOCK: usize = 64;

/// Threads that convert one tensor; more than saturate the memory are of no use.
const MAX_THREADS: usize = 8;

/// Least numbers that are worth a thread.
const MIN_PIECE: usize = 1 << 18;

/// A number that files hold in little-endian order.
///
/// Everything but f64 fits into f32 exactly, so one of the two is the way between any two types.
trait Float: Element + Copy + Default + Send {
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

/// Converts columns of a matrix with rows of `columns` numbers, from column `first` on, into rows.
fn convert_columns<S: Float, D: Float>(
    bytes: &[u8],
    columns: usize,
    first: usize,
    rows: usize,
    out: &mut [D],
) {
    let size = S::TYPE.size();
    let mut block = [D::default(); BLOCK * BLOCK];
    for (index, out) in out.chunks_mut(BLOCK * rows).enumerate() {
        let first_column = first + index * BLOCK;
        let width = out.len() / rows;
        for first_row in (0..rows).step_by(BLOCK) {
            let height = BLOCK.min(rows - first_row);
            for (row, block) in block.chunks_mut(BLOCK).take(height).enumerate() {
                let start = ((first_row + row) * columns + first_column) * size;
                let bytes = &bytes[start..start + width * size];
                convert::<S, D>(bytes, &mut block[..width]);
            }
            for (column, out) in out.chunks_mut(rows).enumerate() {
                let out = &mut out[first_row..first_row + height];
                for (out, block) in out.iter_mut().zip(block.chunks(BLOCK)) {
                    *out = block[column];
                }
            }
        }
    }
}

/// Calls `work` with pieces of `out`, each a multiple of `unit` long but the last, and the place of
/// the first number of each: on several threads if it is worth it.
fn in_pieces<D: Send>(out: &mut [D], unit: usize, work: impl Fn(usize, &mut [D]) + Sync) {
    if out.is_empty() {
        // Its other axis may be as long as it likes.
        return;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.min(MAX_THREADS).min(out.len() / MIN_PIECE);
    if threads < 2 {
        return work(0, out);
    }
    let piece = out.len().div_ceil(threads).next_multiple_of(unit);
    std::thread::scope(|scope| {
        for (index, out) in out.chunks_mut(piece).enumerate() {
            let work = &work;
            scope.spawn(move || work(index * piece, out));
        }
    });
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
            // An empty matrix has no column to begin with.
            let unit = (*rows).max(1);
            in_pieces(&mut out, unit, |first, out| {
                convert_columns::<S, D>(self.bytes, *columns, first / unit, unit, out);
            });
            shape = vec![*columns, *rows];
        } else {
            in_pieces(&mut out, CHUNK, |first, out| {
                convert::<S, D>(&self.bytes[first * S::TYPE.size()..], out);
            });
        }
        if !D::TYPE.includes(S::TYPE) && overflows::<S, D>(self.bytes, &out) {
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
        // The larger one is worth several threads.
        for (rows, columns) in [(70, 131), (131, 70), (1, 5), (5, 1), (777, 1001)] {
            check_transposed(rows, columns);
        }
    }

    #[track_caller]
    fn check_transposed(rows: usize, columns: usize) {
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
}
