//! The same operation in a stream of Burn's fusion, which runs it when it gets there.

use std::marker::PhantomData;
use std::sync::Arc;

use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Shape, TensorMetadata};
use burn_fusion::stream::{Operation, OperationStreams};
use burn_fusion::{Fusion, FusionBackend, FusionRuntime, FusionTensor};
use burn_ir::{CustomOpIr, HandleContainer, OperationIr, TensorIr};

use super::tables;
use crate::ops::{
    AttentionCall, DebertaBackend, DropoutCall, Fused, FusedCall, HostTable, MaskCall, Segment,
};

type Handles<B> =
    HandleContainer<<<B as FusionBackend>::FusionRuntime as FusionRuntime>::FusionHandle>;

/// A call without its tensors, which are listed in [`operands`]' order.
#[derive(Debug, Clone)]
struct Plan {
    inputs: usize,
    heads: usize,
    c2p: bool,
    p2c: bool,
    scale: f64,
    slots: Arc<[u32]>,
    zero_distance: usize,
    has_query_positions: bool,
    mask: MaskPlan,
    dropout: Option<f64>,
}

#[derive(Debug, Clone)]
enum MaskPlan {
    Full,
    Segments(Arc<[Segment]>),
    Padding,
    Pairwise,
}

/// The tensors of a call, in the order in which [`Plan::restore`] takes them.
fn operands<B: FusionBackend>(
    call: &AttentionCall<Fusion<B>>,
    inputs: &[FloatTensor<Fusion<B>>],
) -> Vec<FusionTensor<B::FusionRuntime>> {
    let device = inputs[0].client.device().clone();
    let mut operands = inputs.to_vec();
    operands.extend(tables::slots(call, &device));
    operands.extend(tables::segments(call, &device));
    operands.extend(call.query_positions.clone());
    match &call.mask {
        MaskCall::Padding(mask) | MaskCall::Pairwise(mask) => operands.push(mask.clone()),
        MaskCall::Full | MaskCall::Segments(_) => {}
    }
    operands.extend(call.dropout.as_ref().map(|it| it.seed.clone()));
    operands
}

impl Plan {
    fn new<B: FusionBackend>(
        call: &AttentionCall<Fusion<B>>,
        inputs: &[FloatTensor<Fusion<B>>],
    ) -> Self {
        Self {
            inputs: inputs.len(),
            heads: call.heads,
            c2p: call.c2p,
            p2c: call.p2c,
            scale: call.scale,
            slots: call.slot_of_distance.host().clone(),
            zero_distance: call.zero_distance,
            has_query_positions: call.query_positions.is_some(),
            mask: match &call.mask {
                MaskCall::Full => MaskPlan::Full,
                MaskCall::Segments(segments) => MaskPlan::Segments(segments.host().clone()),
                MaskCall::Padding(_) => MaskPlan::Padding,
                MaskCall::Pairwise(_) => MaskPlan::Pairwise,
            },
            dropout: call.dropout.as_ref().map(|it| it.prob),
        }
    }

    /// The call and its inputs, with the tensors that the stream has by now.
    fn restore<'a, B: FusionBackend>(
        &self,
        operands: &mut impl Iterator<Item = &'a TensorIr>,
        handles: &mut Handles<B>,
    ) -> (FusedCall<B>, Vec<FloatTensor<B>>) {
        let inputs = operands.by_ref().take(self.inputs);
        let inputs = inputs.map(|it| handles.get_float_tensor::<B>(it)).collect();
        let mut next = || match operands.next() {
            Some(operand) => operand,
            None => unreachable!("a tensor of attention is missing"),
        };
        let mut table = |is_empty: bool, handles: &mut Handles<B>| {
            (!is_empty).then(|| handles.get_int_tensor::<B>(next()))
        };
        let slots = table(self.slots.is_empty(), handles);
        let segments = match &self.mask {
            MaskPlan::Segments(segments) => table(segments.is_empty(), handles),
            _ => None,
        };
        let query_positions = table(!self.has_query_positions, handles);
        let call = AttentionCall {
            heads: self.heads,
            c2p: self.c2p,
            p2c: self.p2c,
            scale: self.scale,
            slot_of_distance: shared(&self.slots, slots),
            zero_distance: self.zero_distance,
            query_positions,
            mask: match &self.mask {
                MaskPlan::Full => MaskCall::Full,
                MaskPlan::Segments(it) => MaskCall::Segments(shared(it, segments)),
                MaskPlan::Padding => MaskCall::Padding(handles.get_bool_tensor::<B>(next())),
                MaskPlan::Pairwise => MaskCall::Pairwise(handles.get_bool_tensor::<B>(next())),
            },
            dropout: self.dropout.map(|prob| DropoutCall {
                prob,
                seed: handles.get_float_tensor::<B>(next()),
            }),
        };
        (FusedCall::Attention(call), inputs)
    }
}

/// The host's table with the copy that the device has, if it has one.
fn shared<I: Clone, T>(host: &Arc<[T]>, device: Option<I>) -> HostTable<I, T> {
    let table = HostTable::new(host.clone());
    if let Some(device) = device {
        table.on_device(|_| device);
    }
    table
}

/// Attention, forward.
#[derive(Debug)]
struct Forward<B> {
    plan: Plan,
    tensors: CustomOpIr,
    backend: PhantomData<fn(B)>,
}

impl<B: FusionBackend + DebertaBackend> Operation<B::FusionRuntime> for Forward<B> {
    fn execute(&self, handles: &mut Handles<B>) {
        let operands = &mut self.tensors.inputs.iter();
        let (call, inputs) = self.plan.restore::<B>(operands, handles);
        let fused = B::fused(&call, &inputs);
        let outputs = std::iter::once(fused.output).chain(fused.statistics);
        for (ir, tensor) in self.tensors.outputs.iter().zip(outputs) {
            handles.register_float_tensor::<B>(&ir.id, tensor);
        }
    }
}

/// Attention, backward.
#[derive(Debug)]
struct Backward<B> {
    plan: Plan,
    tensors: CustomOpIr,
    backend: PhantomData<fn(B)>,
}

impl<B: FusionBackend + DebertaBackend> Operation<B::FusionRuntime> for Backward<B> {
    fn execute(&self, handles: &mut Handles<B>) {
        let operands = &mut self.tensors.inputs.iter();
        let (call, inputs) = self.plan.restore::<B>(operands, handles);
        let mut float = || operands.next().map(|it| handles.get_float_tensor::<B>(it));
        let (Some(output), statistics, Some(grad)) = (float(), float(), float()) else {
            unreachable!("a tensor of the backward pass is missing");
        };
        let fused = Fused { output, statistics };
        let gradients = B::fused_backward(&call, &inputs, &fused, grad);
        for (ir, tensor) in self.tensors.outputs.iter().zip(gradients) {
            handles.register_float_tensor::<B>(&ir.id, tensor);
        }
    }
}

/// Puts attention into the stream.
pub(in crate::ops) fn forward<B: FusionBackend + DebertaBackend>(
    call: &AttentionCall<Fusion<B>>,
    inputs: &[FloatTensor<Fusion<B>>],
) -> Fused<Fusion<B>> {
    let query = &inputs[0];
    let [batch, q_len, _] = query.shape().dims();
    let log_sums = (Shape::new([call.heads, batch * q_len]), DType::F32);
    let outputs = [(query.shape(), query.dtype()), log_sums];
    let operands = operands(call, inputs);
    let plan = Plan::new(call, inputs);
    let mut outputs = register(
        "deberta_attention",
        operands,
        &outputs,
        |tensors| Forward::<B> {
            plan,
            tensors,
            backend: PhantomData,
        },
    )
    .into_iter();
    let Some(output) = outputs.next() else {
        unreachable!("attention has an output");
    };
    Fused {
        output,
        statistics: outputs.next(),
    }
}

/// Puts the gradients of attention into the stream.
pub(in crate::ops) fn backward<B: FusionBackend + DebertaBackend>(
    call: &AttentionCall<Fusion<B>>,
    inputs: &[FloatTensor<Fusion<B>>],
    output: &Fused<Fusion<B>>,
    grad: FloatTensor<Fusion<B>>,
) -> Vec<FloatTensor<Fusion<B>>> {
    let outputs: Vec<_> = inputs.iter().map(|it| (it.shape(), it.dtype())).collect();
    let mut operands = operands(call, inputs);
    operands.push(output.output.clone());
    operands.extend(output.statistics.clone());
    operands.push(grad);
    let plan = Plan::new(call, inputs);
    register(
        "deberta_attention_backward",
        operands,
        &outputs,
        |tensors| Backward::<B> {
            plan,
            tensors,
            backend: PhantomData,
        },
    )
}

/// A product of matrices.
#[derive(Debug)]
struct Product<B> {
    tensors: CustomOpIr,
    backend: PhantomData<fn(B)>,
}

impl<B: FusionBackend + DebertaBackend> Operation<B::FusionRuntime> for Product<B> {
    fn execute(&self, handles: &mut Handles<B>) {
        let ([left, right], [output]) = (&self.tensors.inputs[..], &self.tensors.outputs[..])
        else {
            unreachable!("a product has two factors");
        };
        let left = handles.get_float_tensor::<B>(left);
        let right = handles.get_float_tensor::<B>(right);
        handles.register_float_tensor::<B>(&output.id, B::product(left, right));
    }
}

/// Puts a product into the stream.
pub(in crate::ops) fn product<B: FusionBackend + DebertaBackend>(
    left: FloatTensor<Fusion<B>>,
    right: FloatTensor<Fusion<B>>,
) -> FloatTensor<Fusion<B>> {
    let (left_shape, right_shape) = (left.shape(), right.shape());
    let last = left_shape.num_dims() - 1;
    let mut shape: Vec<usize> = (0..last)
        .map(|axis| match left_shape[axis] {
            1 => right_shape[axis],
            size => size,
        })
        .collect();
    shape[last - 1] = left_shape[last - 1];
    shape.push(right_shape[last]);
    let outputs = [(Shape::from(shape), left.dtype())];
    let operation = |tensors| Product::<B> {
        tensors,
        backend: PhantomData,
    };
    let product = register("deberta_product", vec![left, right], &outputs, operation);
    match product.into_iter().next() {
        Some(product) => product,
        None => unreachable!("a product is a tensor"),
    }
}

fn register<R: FusionRuntime, O: Operation<R> + 'static>(
    name: &'static str,
    operands: Vec<FusionTensor<R>>,
    outputs: &[(Shape, DType)],
    operation: impl FnOnce(CustomOpIr) -> O,
) -> Vec<FusionTensor<R>> {
    let client = operands[0].client.clone();
    let streams = OperationStreams::with_inputs(&operands);
    let outputs: Vec<_> = outputs
        .iter()
        .map(|(shape, dtype)| TensorIr::uninit(client.create_empty_handle(), shape.clone(), *dtype))
        .collect();
    let operands: Vec<_> = operands.into_iter().map(FusionTensor::into_ir).collect();
    let tensors = CustomOpIr::new(name, &operands, &outputs);
    let operation = operation(tensors.clone());
    client.register(streams, OperationIr::Custom(tensors), operation)
}
