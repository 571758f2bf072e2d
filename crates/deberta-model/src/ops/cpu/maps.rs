//! Linear maps and tables of words, from tensors to their kernels.

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Shape, TensorMetadata};

use super::host::HostBackend;
use super::linear::{self, Epilogue, Matrix};
use super::rows;
use crate::ops::{Fused, LinearGradients};

/// `x W + b`, or its GELU.
pub(super) fn linear<B: HostBackend>(
    gelu: bool,
    tied: bool,
    inputs: &[FloatTensor<B>],
) -> Fused<B> {
    let (x, weight) = (B::floats(&inputs[0]), B::floats(&inputs[1]));
    let bias = inputs.get(2).map(B::floats);
    let epilogue = match &bias {
        None => Epilogue::None,
        Some(bias) if gelu => Epilogue::BiasGelu(bias),
        Some(bias) => Epilogue::Bias(bias),
    };
    let [w_rows, w_columns] = inputs[1].shape().dims();
    let weight = Matrix::new(&weight, w_columns);
    let (weight, d_input, d_output) = match tied {
        true => (weight.transpose(), w_columns, w_rows),
        false => (weight, w_rows, w_columns),
    };
    let output = linear::product(Matrix::new(&x, d_input), weight, epilogue);
    Fused {
        output: B::tensor(output, with_width(inputs[0].shape(), d_output)),
        statistics: None,
    }
}

fn with_width(mut shape: Shape, width: usize) -> Shape {
    let last = shape.num_dims() - 1;
    shape[last] = width;
    shape
}

/// Those gradients of a linear map that are wanted, each in one pass with the sum that it goes into.
pub(in crate::ops) fn linear_backward<B: HostBackend>(
    call: LinearGradients<'_, B>,
) -> [Option<FloatTensor<B>>; 3] {
    let (shape, d_y) = (call.grad.shape(), B::floats(call.grad));
    let d_output = shape[shape.num_dims() - 1];
    let d_y = Matrix::new(&d_y, d_output);
    let [x_sum, weight_sum, bias_sum] = call.sums;
    let d_x = call.weight.map(|weight| {
        let [_, columns] = weight.shape().dims();
        let values = B::floats(weight);
        let by_output = Matrix::new(&values, columns);
        let (by_output, d_input) = match call.tied {
            true => (by_output, columns),
            false => (by_output.transpose(), weight.shape()[0]),
        };
        product_onto::<B>(x_sum, d_y, by_output, with_width(shape.clone(), d_input))
    });
    let d_weight = call.x.map(|x| {
        let d_input = x.shape()[x.rank() - 1];
        let values = B::floats(x);
        let x = Matrix::new(&values, d_input);
        let (a, b, dims) = match call.tied {
            true => (d_y.transpose(), x, [d_output, d_input]),
            false => (x.transpose(), d_y, [d_input, d_output]),
        };
        product_onto::<B>(weight_sum, a, b, dims.into())
    });
    let d_bias = call.bias.then(|| {
        let mut sums = rows::column_sums(&B::floats(call.grad), d_output);
        if let Some(others) = bias_sum {
            rows::add_to(&mut sums, &B::floats(&others));
        }
        B::tensor(sums, [d_output].into())
    });
    [d_x, d_weight, d_bias]
}

/// `a b`, and `sum` if there is one.
fn product_onto<B: HostBackend>(
    sum: Option<FloatTensor<B>>,
    a: Matrix<'_>,
    b: Matrix<'_>,
    shape: Shape,
) -> FloatTensor<B> {
    let sum = sum.as_ref().map(B::floats);
    let epilogue = sum.as_deref().map_or(Epilogue::None, Epilogue::Add);
    B::tensor(linear::product(a, b, epilogue), shape)
}

/// Gradient of a table of words, in the memory of `sum`.
pub(in crate::ops) fn lookup_backward<B: HostBackend>(
    table: Shape,
    ids: &IntTensor<B>,
    grad: &FloatTensor<B>,
    sum: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let mut total = match sum {
        Some(sum) => B::take(sum),
        None => vec![0.0; table.num_elements()],
    };
    rows::add_rows(&mut total, table[1], &B::ints(ids), &B::floats(grad));
    B::tensor(total, table)
}
