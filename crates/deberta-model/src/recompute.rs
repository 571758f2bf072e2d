//! Gradient checkpointing: layers whose inner states are computed again in the backward pass.
//!
//! Without it autodiff keeps what every layer computes on its way, thirty numbers and more for each
//! of a token's hidden ones. With a [`Tape`] in the [input](crate::DebertaInput::tape), only the
//! input of each layer is kept, and one layer at a time is run again while gradients go back through
//! it. That costs one more forward pass.
//!
//! ```text
//! forward     x₀ → x₁ → … → xₙ → loss          xᵢ: kept; layers are not tracked
//! backward    ∂loss/∂xₙ;  for i = n … 1: run layer i on xᵢ₋₁ again, tracked, and
//!             take ∂/∂xᵢ₋₁ and ∂/∂parameters of ⟨layer i(xᵢ₋₁), ∂loss/∂xᵢ⟩
//! ```
//!
//! The backward passes are separate ones, since Burn's autodiff cannot start one inside another.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Distribution, Int, Tensor, backend::AutodiffBackend, backend::Backend};

use crate::encoder::{DebertaEncoder, EncoderContext};
use crate::ops::{self, DebertaAutodiffBackend, DebertaBackend};

/// What a backward pass computes layers again from.
///
/// One tape belongs to one loss, whatever number of forward passes went into it; clones share it.
/// Gradients then come from [`backward`](Self::backward), not from that of the loss: below the
/// layers, the graph of the loss ends. Without autodiff a tape changes nothing.
///
/// # One kind of loss at a time
///
/// While a loss with a tape waits for its backward pass, no loss *without* one may wait that depends
/// on the same parameters: Burn 0.21's autodiff would put both into one graph, and may drop what is
/// left of it after the first backward pass, silently. Losses that all have tapes are safe, and so is
/// a forward pass after the backward pass of the other loss.
///
/// # Deviation
///
/// A layer that runs twice must draw the same dropout twice, so each has a seed of its own, from the
/// seed of the tape or the backend's random state. With dropout a run therefore differs from one
/// without a tape as it does from one with another seed. Without dropout the gradients of a loss of
/// one forward pass are the same to the bit.
pub struct Tape<B: Backend>(Arc<Mutex<Record<B>>>);

struct Record<B: Backend> {
    lookups: Vec<Lookup<B>>,
    cuts: Vec<Cut<B>>,
    passes: Vec<Pass<B>>,
    seeds: Option<Seeds>,
}

/// Seeds of forward passes, drawn on the host.
struct Seeds {
    first: u64,
    drawn: usize,
}

impl Seeds {
    fn draw(&mut self) -> u64 {
        let seed = layer_seed(!self.first, self.drawn);
        self.drawn += 1;
        seed
    }
}

/// A tensor at which the graph of the loss ends, and goes on once the layers are done.
struct Cut<B: Backend> {
    outside: Tensor<B, 3>,
    leaf: Tensor<B, 3>,
}

/// Rows of a table of words.
///
/// The table's gradient from the logits is there before that from the rows, and each is as large as
/// the table: the second goes into the first.
struct Lookup<B: Backend> {
    table: Tensor<B, 2>,
    ids: Tensor<B, 2, Int>,
    /// A leaf of the graph.
    rows: Tensor<B, 3>,
}

/// The layers of one forward pass.
struct Pass<B: Backend> {
    encoder: DebertaEncoder<B>,
    context: EncoderContext<B>,
    /// Input of the first layer, then the output of each; leaves of the graph.
    states: Vec<Tensor<B, 3>>,
    /// Seed of the first layer; the others follow from it.
    seed: u64,
}

impl<B: Backend> Clone for Tape<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> Default for Tape<B> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Record {
            lookups: Vec::new(),
            cuts: Vec::new(),
            passes: Vec::new(),
            seeds: None,
        })))
    }
}

impl<B: Backend> fmt::Debug for Tape<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passes = self.with(|record| record.passes.len());
        f.debug_struct("Tape").field("passes", &passes).finish()
    }
}

impl<B: Backend> Tape<B> {
    /// A tape whose layers draw dropout from this seed, whatever the backend's random state is.
    ///
    /// Without one each forward pass waits for the device, once, to read a seed.
    pub fn seeded(seed: u64) -> Self {
        let tape = Self::default();
        tape.with(|record| {
            record.seeds = Some(Seeds {
                first: seed,
                drawn: 0,
            });
        });
        tape
    }

    /// An empty tape for another loss, with other dropout.
    pub fn fresh(&self) -> Self {
        self.draw_seed().map_or_else(Self::default, Self::seeded)
    }

    fn draw_seed(&self) -> Option<u64> {
        self.with(|record| record.seeds.as_mut().map(Seeds::draw))
    }

    fn with<T>(&self, action: impl FnOnce(&mut Record<B>) -> T) -> T {
        action(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same numbers as a leaf, whose gradient later goes on to `outside` `[_, _, hidden]`.
    pub(crate) fn cut(&self, outside: Tensor<B, 3>) -> Tensor<B, 3> {
        let leaf = leaf(outside.clone());
        self.with(|record| {
            record.cuts.push(Cut {
                outside,
                leaf: leaf.clone(),
            });
        });
        leaf
    }
}

impl<B: DebertaBackend> Tape<B> {
    /// Rows `ids` `[batch, seq_len]` of a table of words `[vocab, width]`.
    pub(crate) fn lookup(&self, table: Tensor<B, 2>, ids: Tensor<B, 2, Int>) -> Tensor<B, 3> {
        // The gradient of a table that is computed itself has to go on from there.
        if !table.is_require_grad() {
            return ops::lookup(table, ids);
        }
        let rows = leaf(ops::lookup(untracked(table.clone()), ids.clone()));
        let lookup = Lookup {
            table,
            ids,
            rows: rows.clone(),
        };
        self.with(|record| record.lookups.push(lookup));
        rows
    }
}

/// Layers on their way forward.
pub(crate) struct Recording<B: Backend> {
    tape: Tape<B>,
    untracked: (DebertaEncoder<B>, EncoderContext<B>),
    pass: Pass<B>,
}

impl<B: DebertaBackend> Recording<B> {
    /// Starts where the layers start; also returns their input.
    pub(crate) fn start(
        tape: &Tape<B>,
        encoder: &DebertaEncoder<B>,
        context: &EncoderContext<B>,
        embeddings: Tensor<B, 3>,
    ) -> (Self, Tensor<B, 3>) {
        let seed = tape.draw_seed();
        let seed = seed.unwrap_or_else(|| random_seed::<B>(&embeddings.device()));
        let embeddings = tape.cut(embeddings);
        encoder.visit(&mut Initialize);
        let untracked = (encoder.clone().no_grad(), context.map_rows(untracked));
        let pass = Pass {
            encoder: encoder.clone(),
            context: context.map_rows(|rows| rows),
            states: vec![embeddings.clone()],
            seed,
        };
        let recording = Self {
            tape: tape.clone(),
            untracked,
            pass,
        };
        (recording, embeddings)
    }

    /// Runs a layer on the states `[_, _, hidden]` that the one before it gave.
    pub(crate) fn layer(&mut self, index: usize, states: Tensor<B, 3>) -> Tensor<B, 3> {
        B::seed(&states.device(), layer_seed(self.pass.seed, index));
        let (encoder, context) = &self.untracked;
        let output = leaf(encoder.layer(index, untracked(states), context));
        self.pass.states.push(output.clone());
        output
    }

    pub(crate) fn finish(self) {
        self.tape.with(|record| record.passes.push(self.pass));
    }
}

impl<B: DebertaAutodiffBackend> Tape<B> {
    /// Gradients of `loss` `[1]`, which is the last thing that the tape serves for.
    ///
    /// They come in parts, one per layer and some besides: the gradient of a tensor or parameter is
    /// the [sum](gradient) over all parts that have one.
    pub fn backward(&self, loss: Tensor<B, 1>) -> Vec<B::Gradients> {
        let device = loss.device();
        let mut parts = vec![loss.backward()];
        let (lookups, cuts, passes) = self.with(|record| {
            let lookups = std::mem::take(&mut record.lookups);
            let passes = std::mem::take(&mut record.passes);
            (lookups, std::mem::take(&mut record.cuts), passes)
        });
        // What is drawn later must not repeat what the layers drew again.
        let next_seed = passes.first().map(|pass| layer_seed(pass.seed, usize::MAX));
        for pass in passes.into_iter().rev() {
            pass.backward(&device, &mut parts);
        }
        if let Some(seed) = next_seed {
            B::seed(&device, seed);
        }
        // Together, because they may share a part of the graph, which goes with its first use.
        let ends = cuts.into_iter().filter_map(|cut| {
            let grad = gradient(&cut.leaf, &mut parts)?;
            Some(weighted_sum(cut.outside, grad))
        });
        let ends = ends.reduce(|sum, end| sum + end);
        if let Some(ends) = ends {
            // Where all below the layers is frozen, nothing else in the sum is tracked.
            let zero = Tensor::<B, 1>::zeros([1], (&device, ends.dtype()));
            parts.push((ends + zero.require_grad()).backward());
        }
        for Lookup { table, ids, rows } in lookups {
            let Some(grad) = gradient(&rows, &mut parts) else {
                continue;
            };
            let sum = gradient(&table, &mut parts);
            let total = ops::lookup_backward(table.clone().inner(), ids.inner(), grad, sum);
            table.grad_replace(&mut parts[0], total);
        }
        parts
    }
}

impl<B: DebertaAutodiffBackend> Pass<B> {
    fn backward(mut self, device: &B::Device, parts: &mut Vec<B::Gradients>) {
        while let Some(output) = self.states.pop() {
            let Some(input) = self.states.last() else {
                return;
            };
            let Some(grad) = gradient(&output, parts) else {
                continue;
            };
            let index = self.states.len() - 1;
            B::seed(device, layer_seed(self.seed, index));
            let output = self.encoder.layer(index, input.clone(), &self.context);
            parts.push(weighted_sum(output, grad).backward());
        }
    }
}

/// Takes the gradient of a tensor out of all parts; `None` if the loss does not depend on it.
///
/// The first layers are added first, as Burn's autodiff does by itself.
pub fn gradient<B: AutodiffBackend, const D: usize>(
    tensor: &Tensor<B, D>,
    parts: &mut [B::Gradients],
) -> Option<Tensor<B::InnerBackend, D>> {
    let parts = parts.iter_mut().rev();
    let grads = parts.filter_map(|it| tensor.grad_remove(it));
    grads.reduce(|sum, grad| sum + grad)
}

/// A number whose gradient in `x` is `grad`, exactly.
fn weighted_sum<B: AutodiffBackend>(
    x: Tensor<B, 3>,
    grad: Tensor<B::InnerBackend, 3>,
) -> Tensor<B, 1> {
    (x * Tensor::from_inner(grad)).sum()
}

/// Gives parameters their values, so that copies share them.
///
/// A parameter that nobody has asked for yet gets a value, and a gradient, of its own in each copy.
struct Initialize;

impl<B: Backend> ModuleVisitor<B> for Initialize {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        param.val();
    }
}

/// `detach` would leave a leaf tracked.
fn untracked<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    x.set_require_grad(false)
}

fn leaf<B: Backend>(x: Tensor<B, 3>) -> Tensor<B, 3> {
    untracked(x).require_grad()
}

/// A seed from the backend's random state; waits for the device, once for each forward pass.
fn random_seed<B: Backend>(device: &B::Device) -> u64 {
    // Two draws of 24 bits, which f32 holds exactly.
    let bits = Distribution::Uniform(0.0, f64::from(1 << 24));
    let draws = Tensor::<B, 1>::random([2], bits, device).into_data();
    draws
        .iter::<f64>()
        .fold(0, |seed, draw| (seed << 24) | draw as u64)
}

/// Seed of a layer: SplitMix64, so that neighbours have nothing in common.
fn layer_seed(seed: u64, index: usize) -> u64 {
    let steps = (index as u64).wrapping_add(1);
    let mut z = seed.wrapping_add(steps.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
