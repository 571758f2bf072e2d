//! A call on the host: sizes, and tensors laid out as the kernels read them.

use burn::tensor::ops::{FloatTensor, IntTensor, IntTensorOps};
use burn::tensor::{DType, IntDType, Shape, TensorMetadata};
use burn_cubecl::cubecl::prelude::*;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::ops::{permute, reshape};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use super::matrices::Matrices;
use super::pairs::{Geometry, PairsLaunch};
use super::tables;
use super::tiles::{Layout, Limits, Pass, Tile, VECTOR};
use crate::ops::{AttentionCall, MaskCall, Segment};

/// Sizes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) q_rows: usize,
    pub(super) k_rows: usize,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
    /// Rows of the position tables, 0 without any.
    pub(super) live: usize,
    pub(super) sequences: usize,
    /// Of the longest sequence.
    pub(super) q_len: usize,
    pub(super) k_len: usize,
}

impl Sizes {
    /// Takes the sequences from `segments`; whether these are all rows.
    fn read_segments(&mut self, segments: &[Segment]) -> bool {
        let (mut q_rows, mut k_rows) = (0, 0);
        (self.sequences, self.q_len, self.k_len) = (segments.len(), 0, 0);
        for Segment { queries, keys } in segments {
            q_rows += queries.len();
            k_rows += keys.len();
            self.q_len = self.q_len.max(queries.len());
            self.k_len = self.k_len.max(keys.len());
        }
        [q_rows, k_rows] == [self.q_rows, self.k_rows]
    }
}

/// What the kernels read besides states.
#[derive(Clone)]
pub(super) struct Attention<R: CubeRuntime> {
    pub(super) sizes: Sizes,
    /// Every row belongs to a sequence, so every row is written.
    pub(super) covered: bool,
    /// Queries stand at chosen positions.
    pub(super) scattered: bool,
    /// States `[rows, heads * head_dim]`: query, key, value.
    pub(super) states: [CubeTensor<R>; 3],
    /// Position tables `[live, heads * head_dim]`.
    pub(super) pos_key: Option<CubeTensor<R>>,
    pub(super) pos_query: Option<CubeTensor<R>>,
    slots: Option<CubeTensor<R>>,
    segments: Option<CubeTensor<R>>,
    positions: Option<CubeTensor<R>>,
    mask: Option<CubeTensor<R>>,
    seed: Option<CubeTensor<R>>,
    pairwise: bool,
    distances: usize,
    zero_distance: usize,
    scale: f32,
    dropout: f64,
}

/// Scores of states against the position tables.
#[derive(Clone)]
pub(super) struct PositionScores<R: CubeRuntime> {
    /// `[heads, q_rows, live]`
    c2p: Option<CubeTensor<R>>,
    /// `[heads, k_rows, live]`
    p2c: Option<CubeTensor<R>>,
}

impl<R: CubeRuntime> Attention<R> {
    pub(super) fn read<F: FloatElement, I: IntElement, BT: BoolElement>(
        call: &AttentionCall<CubeBackend<R, F, I, BT>>,
        inputs: &[FloatTensor<CubeBackend<R, F, I, BT>>],
    ) -> Self {
        type Ints<R, F, I, BT> = IntTensor<CubeBackend<R, F, I, BT>>;
        let device = &inputs[0].device;
        let [batch, q_len, width] = inputs[0].shape().dims();
        // Chosen queries come packed in one row where their keys still have a batch axis.
        let [key_batch, k_len, _] = inputs[1].shape().dims();
        let mut positions = inputs[3..].iter().cloned().map(into_contiguous);
        let pos_key = call.c2p.then(|| positions.next()).flatten();
        let pos_query = call.p2c.then(|| positions.next()).flatten();
        let live = inputs.get(3).map_or(0, |table| table.shape()[0]);
        let ints = |tensor: Ints<R, F, I, BT>| {
            let tensor = match tensor.dtype {
                DType::I32 => tensor,
                _ => CubeBackend::<R, F, I, BT>::int_cast(tensor, IntDType::I32),
            };
            into_contiguous(tensor)
        };
        let mut sizes = Sizes {
            q_rows: batch * q_len,
            k_rows: key_batch * k_len,
            heads: call.heads,
            head_dim: width / call.heads,
            live,
            sequences: batch,
            q_len,
            k_len,
        };
        let covered = match &call.mask {
            MaskCall::Segments(table) => sizes.read_segments(table.host()),
            _ => true,
        };
        let state = |index: usize| into_contiguous(inputs[index].clone());
        Self {
            sizes,
            covered,
            scattered: call.query_positions.is_some(),
            states: [state(0), state(1), state(2)],
            pos_key,
            pos_query,
            slots: tables::slots(call, device).map(ints),
            segments: tables::segments(call, device).map(ints),
            positions: call.query_positions.clone().map(ints),
            mask: match &call.mask {
                MaskCall::Padding(mask) | MaskCall::Pairwise(mask) => {
                    Some(into_contiguous(mask.clone()))
                }
                MaskCall::Full | MaskCall::Segments(_) => None,
            },
            seed: call
                .dropout
                .as_ref()
                .map(|dropout| into_contiguous(dropout.seed.clone())),
            pairwise: matches!(call.mask, MaskCall::Pairwise(_)),
            distances: call.slot_of_distance.host().len(),
            zero_distance: call.zero_distance,
            scale: call.scale as f32,
            dropout: call.dropout.as_ref().map_or(0.0, |dropout| dropout.prob),
        }
    }

    /// Whether probabilities are dropped.
    pub(super) fn drops(&self) -> bool {
        self.seed.is_some()
    }

    pub(super) fn client(&self) -> &ComputeClient<R> {
        &self.states[0].client
    }

    pub(super) fn dtype(&self) -> DType {
        self.states[0].dtype
    }

    /// A mask whose elements are bytes, as CUDA has them.
    pub(super) fn mask_is_bytes(&self) -> bool {
        self.mask.as_ref().is_some_and(|mask| mask.elem_size() == 1)
    }

    /// The tiles that a pass can have, those of matrix units before others.
    pub(super) fn tiles(&self, pass: Pass) -> impl Iterator<Item = (Layout, Tile)> {
        let client = self.client();
        let (matrices, limits) = (Matrices::of(client, self.dtype()), limits(client));
        let head_dim = self.sizes.head_dim;
        let tile = move |layout: Layout| layout.tile(pass, head_dim, matrices, limits);
        let with_tile = move |layout| Some((layout, tile(layout)?));
        Layout::ALL.into_iter().filter_map(with_tile)
    }

    /// What a kernel is compiled for.
    pub(super) fn geometry(&self, tile: Tile) -> Geometry {
        Geometry {
            tile,
            head_vectors: self.sizes.head_dim / VECTOR,
            pairwise: self.pairwise,
            blind_padded_queries: !self.scattered,
        }
    }

    /// The type of states, as memory has them and as the tile does.
    pub(super) fn dtypes(&self, tile: Tile) -> [StorageType; 2] {
        let dtype = self.dtype();
        let of_tile = if tile.matrices.is_some() {
            dtype
        } else {
            DType::F32
        };
        [dtype.into(), of_tile.into()]
    }

    /// Everything about pairs, for the launch of a kernel.
    pub(super) fn pairs<F: Float, M: BoolElement>(
        &self,
        scores: &PositionScores<R>,
    ) -> PairsLaunch<F, M, R> {
        let Sizes {
            q_rows,
            k_rows,
            heads,
            live,
            sequences,
            q_len,
            k_len,
            ..
        } = self.sizes;
        fn optional<T, R>(tensor: &Option<CubeTensor<R>>) -> ComptimeOptionArgs<T, R>
        where
            T: LaunchArg<RuntimeArg<R> = TensorArg<R>>,
            R: CubeRuntime,
        {
            tensor.clone().map(CubeTensor::into_tensor_arg).into()
        }
        PairsLaunch::new(
            optional(&self.slots),
            optional(&scores.c2p),
            optional(&scores.p2c),
            optional(&self.segments),
            optional(&self.positions),
            optional(&self.mask),
            optional(&self.seed),
            heads,
            sequences,
            q_rows,
            k_rows,
            q_len,
            k_len,
            live,
            self.distances,
            self.zero_distance,
            self.scale,
            // `as` saturates: a probability of one drops all but one hash in 2^32, which the factor
            // of zero drops too.
            (self.dropout * 2_f64.powi(32)) as u32,
            if self.dropout < 1.0 {
                (1.0 / (1.0 - self.dropout)) as f32
            } else {
                0.0
            },
        )
    }

    /// Products of states and live rows, whose number does not grow with the lengths beyond twice the
    /// paper's *k*. In the states' type, like all that is kept of products.
    pub(super) fn position_scores(&self) -> PositionScores<R> {
        let scores = |table: &Option<CubeTensor<R>>, states: &CubeTensor<R>| {
            let table = permute(self.heads_first(table.clone()?), &[0, 2, 1]);
            Some(product(
                self.heads_first(states.clone()),
                table,
                self.dtype(),
            ))
        };
        PositionScores {
            c2p: scores(&self.pos_key, &self.states[0]),
            p2c: scores(&self.pos_query, &self.states[1]),
        }
    }

    /// `[heads, rows, head_dim]` of rows of all heads; nothing is copied.
    pub(super) fn heads_first(&self, x: CubeTensor<R>) -> CubeTensor<R> {
        let Sizes {
            heads, head_dim, ..
        } = self.sizes;
        let rows = x.shape().num_elements() / (heads * head_dim);
        permute(reshape(x, Shape::new([rows, heads, head_dim])), &[1, 0, 2])
    }

    /// Rows of all heads, with the shape of `like`, of `[heads, rows, head_dim]`.
    pub(super) fn rows_first(&self, x: CubeTensor<R>, like: Shape) -> CubeTensor<R> {
        reshape(into_contiguous(permute(x, &[1, 0, 2])), like)
    }

    /// Memory for rows of which all sequences write theirs.
    pub(super) fn rows(&self, shape: Shape, dtype: DType) -> CubeTensor<R> {
        if self.covered {
            self.unwritten(shape, dtype)
        } else {
            self.zeros(shape, dtype)
        }
    }

    pub(super) fn zeros(&self, shape: Shape, dtype: DType) -> CubeTensor<R> {
        let device = self.states[0].device.clone();
        zeros_client(self.client().clone(), device, shape, dtype)
    }

    pub(super) fn unwritten(&self, shape: Shape, dtype: DType) -> CubeTensor<R> {
        let device = self.states[0].device.clone();
        empty_device_contiguous_dtype(self.client().clone(), device, shape, dtype)
    }
}

/// What the device offers.
pub(super) fn limits<R: Runtime>(client: &ComputeClient<R>) -> Limits {
    let hardware = &client.properties().hardware;
    Limits {
        shared_memory: hardware.max_shared_memory_size,
        units: hardware.max_units_per_cube.min(hardware.max_cube_dim.0) as usize,
    }
}

/// A matrix product by Burn's kernels, which choose their tiles by measuring where that is safe.
pub(in crate::ops) fn product<R: CubeRuntime>(
    left: CubeTensor<R>,
    right: CubeTensor<R>,
    dtype: DType,
) -> CubeTensor<R> {
    let plane = left.client.properties().hardware.plane_size_max as usize;
    let strategy = if is_tunable(&left.shape(), plane) {
        MatmulStrategy::default()
    } else {
        MatmulStrategy::Cube
    };
    match matmul(left, right, None, strategy, dtype) {
        Ok(product) => product,
        Err(error) => unreachable!("the general kernel takes any matrices: {error:?}"),
    }
}

/// Most units that a plane has on any GPU.
pub(in crate::ops) const LARGEST_PLANE: usize = 64;

/// Whether all kernels that Burn may choose from are right for `left` `[..., rows, inner]`.
///
/// Those of CubeK 0.2 with two buffers take an even number of steps along the inner axis. If it is an odd
/// multiple of their step, they read beyond it and add what they find. Steps are powers of two, up to 32
/// or the units of a plane.
pub(in crate::ops) fn is_tunable(left: &Shape, plane: usize) -> bool {
    left[left.num_dims() - 1].is_multiple_of(2 * plane.max(32))
}
