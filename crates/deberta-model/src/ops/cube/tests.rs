//! All tiles that the device can have, of which a short call launches the first only, and the choice of
//! one by measuring.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "test helpers; what is skipped is said"
)]

use burn::backend::wgpu::WgpuRuntime;
use burn::tensor::{Bool, DType, Shape, Tensor, TensorData, TensorMetadata, TensorPrimitive};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::ir::{ElemType, FloatKind};
use burn_cubecl::ops::reshape;
use burn_cubecl::tensor::CubeTensor;

use super::Forward;
use super::backward::{Gradient, Keys, Queries};
use super::call::{Attention, PositionScores};
use super::tiles::Pass;
use super::tune::{Launch, candidates, tuned_from};
use crate::ops::{AttentionCall, DebertaBackend, DropoutCall, FusedKind, HostTable, MaskCall};
use crate::relative_position::{LongDistance, RelativePositionConfig, RelativeRows};

type R = WgpuRuntime;
type B = CubeBackend<R, f32, i32, u32>;

const BATCH: usize = 2;
const HEADS: usize = 2;
/// The second is no multiple of matrices side by side.
const HEADS_OF: [usize; 2] = [32, 24];
/// Neither one tile nor a whole number of them.
const LEN: usize = 70;

const TABLE: RelativePositionConfig = RelativePositionConfig {
    max_distance: 64,
    buckets: Some(16),
    long_distance: LongDistance::Clamp,
};

fn tensor<const D: usize>(shape: [usize; D], salt: usize, dtype: DType) -> CubeTensor<R> {
    let number = |at: usize| {
        let hash = (at * 2_654_435_761 + salt * 40_503_007) % 1_000_003;
        2.0 * hash as f32 / 1_000_003.0 - 1.0
    };
    let numbers: Vec<f32> = (0..shape.iter().product()).map(number).collect();
    let data = TensorData::new(numbers, shape);
    let tensor = Tensor::<B, D>::from_data(data, &Default::default()).cast(dtype);
    tensor.into_primitive().tensor()
}

fn numbers(x: &CubeTensor<R>) -> Vec<f64> {
    let count = x.shape().num_elements();
    let flat = reshape(x.clone(), Shape::new([count]));
    let flat = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(flat));
    flat.into_data().iter::<f64>().collect()
}

fn supports(dtype: DType) -> bool {
    let [head_dim, _] = HEADS_OF;
    let kind = FusedKind::Attention { head_dim };
    B::fuses(kind, dtype, &Default::default())
}

/// A call with everything that a kernel may have: both tables, padding and dropout.
struct TestCall {
    attention: Attention<R>,
    scores: PositionScores<R>,
    shape: [usize; 3],
    dtype: DType,
}

impl TestCall {
    fn forward(&self) -> Forward<R> {
        Forward {
            attention: self.attention.clone(),
            scores: self.scores.clone(),
            shape: Shape::new(self.shape),
        }
    }

    fn gradient(self, out: CubeTensor<R>, log_sums: CubeTensor<R>) -> Gradient<R> {
        let d_out = tensor(self.shape, 9, self.dtype);
        Gradient::new(self.attention, self.scores, out, d_out, log_sums)
    }
}

fn test_call(head_dim: usize, dtype: DType) -> TestCall {
    let device = <B as burn::tensor::backend::BackendTypes>::Device::default();
    let rows = RelativeRows::new(&TABLE, LEN, LEN);
    let padding = (0..BATCH * LEN).map(|at| at % LEN % 7 == 3 || at >= BATCH * LEN - 9);
    let padding = TensorData::new(padding.collect::<Vec<bool>>(), [BATCH, LEN]);
    let padding = Tensor::<B, 2, Bool>::from_data(padding, &device);
    let seed = Tensor::<B, 1>::from_data([12_345.0, 16_000_001.0], (&device, DType::F32));
    let call = AttentionCall::<B> {
        heads: HEADS,
        c2p: true,
        p2c: true,
        scale: 1.0 / (3.0 * head_dim as f64).sqrt(),
        slot_of_distance: HostTable::new(rows.slot_of_distance.clone()),
        zero_distance: LEN - 1,
        query_positions: None,
        mask: MaskCall::Padding(padding.into_primitive()),
        dropout: Some(DropoutCall {
            prob: 0.1,
            seed: seed.into_primitive().tensor(),
        }),
    };
    let shape = [BATCH, LEN, HEADS * head_dim];
    let table = [rows.live.len(), HEADS * head_dim];
    let mut inputs: Vec<_> = (1..4).map(|salt| tensor(shape, salt, dtype)).collect();
    inputs.extend((4..6).map(|salt| tensor(table, salt, dtype)));
    let attention = Attention::read(&call, &inputs);
    let scores = attention.position_scores();
    TestCall {
        attention,
        scores,
        shape,
        dtype,
    }
}

/// What a pass writes.
trait Numbers {
    fn numbers(&self) -> Vec<Vec<f64>>;
}

impl Numbers for (CubeTensor<R>, CubeTensor<R>) {
    fn numbers(&self) -> Vec<Vec<f64>> {
        vec![numbers(&self.0), numbers(&self.1)]
    }
}

impl Numbers for (CubeTensor<R>, Option<CubeTensor<R>>) {
    fn numbers(&self) -> Vec<Vec<f64>> {
        vec![numbers(&self.0), numbers(self.1.as_ref().unwrap())]
    }
}

impl Numbers for (CubeTensor<R>, CubeTensor<R>, Option<CubeTensor<R>>) {
    fn numbers(&self) -> Vec<Vec<f64>> {
        let (first, second, third) = self;
        vec![
            numbers(first),
            numbers(second),
            numbers(third.as_ref().unwrap()),
        ]
    }
}

#[track_caller]
fn assert_close(actual: &[Vec<f64>], expected: &[Vec<f64>], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len());
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        assert_eq!(actual.len(), expected.len());
        // The sums of blind rows stand for infinity.
        let finite = expected.iter().map(|it| it.abs()).filter(|it| *it < 1e29);
        let largest = finite.fold(0.1_f64, f64::max);
        for (at, (x, y)) in actual.iter().zip(expected).enumerate() {
            assert!(
                (x - y).abs() <= tolerance * largest,
                "{what}: tensor {index}[{at}] is {x}, not {y}"
            );
        }
    }
}

/// Every tile of a pass against the last, in which units multiply; then the one that the tuner takes.
#[track_caller]
fn check<L: Launch<R, Output: Numbers>>(launch: &L, dtype: DType) -> L::Output {
    let tolerance = match dtype {
        DType::F32 => 1e-5,
        DType::F16 => 4e-3,
        _ => 3e-2,
    };
    let tiles: Vec<_> = launch.attention().tiles(L::PASS).collect();
    let (_, last) = tiles.last().unwrap();
    assert!(last.matrices.is_none());
    let expected = launch.clone().run(*last);
    let numbers = expected.numbers();
    for (layout, tile) in tiles {
        println!("{:?} {dtype:?} {layout:?}", L::PASS);
        // Tiles of units do not differ by type, which is only how numbers are read.
        if dtype == DType::F32 || tile.matrices.is_some() {
            let actual = launch.clone().run(tile).numbers();
            let what = format!("{:?} {dtype:?} {layout:?}", L::PASS);
            assert_close(&actual, &numbers, tolerance, &what);
        }
    }
    for _ in 0..2 {
        let actual = tuned_from(0, launch.clone()).numbers();
        assert_close(&actual, &numbers, tolerance, "the chosen one");
    }
    expected
}

#[test]
fn every_tile_gives_the_same_numbers_and_so_does_the_fastest() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        if !supports(dtype) {
            println!("{dtype:?} is skipped: the device has no such type");
            continue;
        }
        for head_dim in HEADS_OF {
            let call = test_call(head_dim, dtype);
            let (_, first) = candidates(&call.attention, Pass::Forward)[0];
            let is_new = match dtype {
                DType::F32 => head_dim == HEADS_OF[0],
                _ => first.matrices.is_some(),
            };
            if !is_new {
                println!("{dtype:?}, {head_dim} is skipped: it has no tiles of its own");
                continue;
            }
            let shape = Shape::new(call.shape);
            let (out, log_sums) = check(&call.forward(), dtype);
            let gradient = call.gradient(out, log_sums);
            check(&Queries(gradient.clone(), shape.clone()), dtype);
            check(&Keys(gradient, shape), dtype);
        }
    }
}

/// Without this, a mistake in what is asked of the device would go unnoticed: units give the same
/// numbers.
#[test]
fn matrix_units_are_used_where_the_device_has_them() {
    let client = <R as burn_cubecl::cubecl::Runtime>::client(&Default::default());
    let properties = client.properties();
    let hardware = &properties.hardware;
    for (dtype, kind) in [(DType::F16, FloatKind::F16), (DType::BF16, FloatKind::BF16)] {
        let cmma = &properties.features.matmul.cmma;
        let has = cmma.iter().any(|it| {
            it.m == it.n
                && it.a_type == ElemType::Float(kind).into()
                && it.b_type == it.a_type
                && it.cd_type == ElemType::Float(FloatKind::F32).into()
        });
        let has = has && hardware.plane_size_min == hardware.plane_size_max;
        println!("matrix units for {dtype:?}: {has}");
        if !supports(dtype) {
            continue;
        }
        let [head_dim, _] = HEADS_OF;
        let call = test_call(head_dim, dtype);
        for pass in [Pass::Forward, Pass::QueryGradients, Pass::KeyGradients] {
            for (layout, tile) in candidates(&call.attention, pass) {
                assert_eq!(tile.matrices.is_some(), has, "{pass:?} {layout:?}");
            }
        }
    }
}
