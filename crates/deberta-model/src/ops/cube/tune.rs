//! The choice of a tile by measuring, with the tuner of Burn's own kernels.
//!
//! The first call with a [`Key`] runs each candidate a few times and waits for the device; all others
//! launch the fastest.

use std::fmt::{self, Display};

use burn::tensor::DType;
use burn_cubecl::cubecl::tune::{
    AutotuneKey, AutotuneOutput, LocalTuner, Tunable, TunableSet, local_tuner,
};
use burn_cubecl::{CubeRuntime, CubeTuneId};
use serde::{Deserialize, Serialize};

use super::call::{Attention, Sizes};
use super::tiles::{Layout, Pass, Tile};

/// Fewer pairs than these are not worth measuring.
const PAIRS: usize = 1 << 22;

/// How many candidates are measured.
const CANDIDATES: usize = 4;

/// A kernel with all it reads.
pub(super) trait Launch<R: CubeRuntime>: Clone + Send + Sync + 'static {
    const PASS: Pass;

    /// What the kernel writes.
    type Output: Send + 'static;

    fn attention(&self) -> &Attention<R>;

    /// Launches the kernel on new outputs, since it may add to them.
    fn run(self, tile: Tile) -> Self::Output;
}

/// What a kernel writes, for the tuner.
struct Output<T>(T);

impl<T: Send + 'static> AutotuneOutput for Output<T> {}

/// What the best tile depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Key {
    pass: Pass,
    dtype: DType,
    head_dim: usize,
    /// Lengths and cubes of rows, rounded up to powers of two.
    q_len: usize,
    k_len: usize,
    sequence_heads: usize,
    /// Whether there are tables of either kind.
    positions: [bool; 2],
    dropout: bool,
    /// What there is to choose from: what was the fastest may not be there any more once a driver
    /// is another.
    candidates: Vec<Layout>,
}

impl AutotuneKey for Key {}

impl Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Launches with the tile that is the fastest for calls like this one.
pub(super) fn tuned<R: CubeRuntime, L: Launch<R>>(launch: L) -> L::Output {
    tuned_from(PAIRS, launch)
}

/// As [`tuned`], where `pairs` are worth measuring.
pub(super) fn tuned_from<R: CubeRuntime, L: Launch<R>>(pairs: usize, launch: L) -> L::Output {
    static TUNER: LocalTuner<Key, CubeTuneId> = local_tuner!("disentangled-attention");

    let attention = launch.attention();
    let Sizes {
        heads,
        sequences,
        q_len,
        k_len,
        ..
    } = attention.sizes;
    let candidates = candidates(attention, L::PASS);
    let Some(&(_, first)) = candidates.first() else {
        unreachable!("`fuses` is false where no tile fits");
    };
    if candidates.len() == 1 || heads * sequences * q_len * k_len < pairs {
        return launch.run(first);
    }
    let tunables = TUNER.init(|| {
        let tunables = TunableSet::<_, L, _>::new_cloning_inputs(key::<R, L>);
        let tunable = |layout: Layout| {
            Tunable::new(&format!("{layout:?}"), move |launch: L| {
                let candidates = self::candidates(launch.attention(), L::PASS);
                let candidate = candidates.iter().find(|(it, _)| *it == layout);
                let (_, tile) = candidate.ok_or("not a candidate")?;
                Ok::<_, &str>(Output(launch.run(*tile)))
            })
        };
        Layout::ALL
            .into_iter()
            .fold(tunables, |tunables, layout| tunables.with(tunable(layout)))
    });
    let id = CubeTuneId::new(attention.client(), &attention.states[0].device);
    let client = attention.client().clone();
    TUNER.execute(&id, &client, tunables, launch).0
}

/// The first few tiles that the device can have, those of matrix units before others.
pub(super) fn candidates<R: CubeRuntime>(
    attention: &Attention<R>,
    pass: Pass,
) -> Vec<(Layout, Tile)> {
    let tiles: Vec<_> = attention.tiles(pass).collect();
    let has_matrices = tiles.iter().any(|(_, tile)| tile.matrices.is_some());
    let chosen = |(_, tile): &(Layout, Tile)| tile.matrices.is_some() == has_matrices;
    tiles.into_iter().filter(chosen).take(CANDIDATES).collect()
}

fn key<R: CubeRuntime, L: Launch<R>>(launch: &L) -> Key {
    let attention = launch.attention();
    let Sizes {
        heads,
        head_dim,
        sequences,
        q_len,
        k_len,
        ..
    } = attention.sizes;
    Key {
        pass: L::PASS,
        dtype: attention.dtype(),
        head_dim,
        q_len: q_len.next_power_of_two(),
        k_len: k_len.next_power_of_two(),
        sequence_heads: (sequences * heads).next_power_of_two(),
        positions: [attention.pos_key.is_some(), attention.pos_query.is_some()],
        dropout: attention.drops(),
        candidates: candidates(attention, L::PASS)
            .into_iter()
            .map(|(layout, _)| layout)
            .collect(),
    }
}
