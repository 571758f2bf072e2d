//! What `scripts/cuda_check` runs on a machine that need not be able to run kernels: they are compiled.

use burn::backend::Autodiff;
use burn::tensor::{DType, Shape, Tensor, TensorPrimitive};
use deberta_model::DebertaBackend;

use crate::Accelerator;
use crate::case::{Case, Mask};

/// So many tokens that all candidates for a tile are tried.
const LONG: usize = 1449;

#[test]
fn kernels_in_f32_compile() {
    compile(DType::F32);
}

#[test]
fn kernels_in_f16_compile() {
    compile(DType::F16);
}

#[test]
fn kernels_in_bf16_compile() {
    compile(DType::BF16);
}

/// Burn chooses kernels and their tiles by the sizes, and the device must not refuse any.
#[test]
fn products_of_any_size_are_taken() {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for inner in [1, 2, 3, 8, 24, 33, 100, 130, 611] {
            for rows in [1, 3, 33, 600] {
                for columns in [1, 2, 33, 512] {
                    products(dtype, [rows, inner, columns]);
                }
            }
        }
    }
}

/// Products of factors that are contiguous or transposed.
fn products(dtype: DType, [rows, inner, columns]: [usize; 3]) {
    let device = Default::default();
    let tensor = |shape: [usize; 2]| Tensor::<Accelerator, 2>::ones(shape, (&device, dtype));
    let factor = |shape: [usize; 2]| [tensor(shape), tensor([shape[1], shape[0]]).transpose()];
    for left in factor([rows, inner]) {
        for right in factor([inner, columns]) {
            let [left, right] = [left.clone(), right].map(|it| it.into_primitive().tensor());
            let product = Accelerator::product(left, right);
            let product = Tensor::<Accelerator, 2>::from_primitive(TensorPrimitive::Float(product));
            assert_eq!(product.into_data().shape, Shape::new([rows, columns]));
        }
    }
}

fn compile(dtype: DType) {
    let results = |case: &Case| {
        let results = case.run::<Autodiff<Accelerator>>(dtype);
        assert_eq!(results[0].len(), case.rows[0] * case.width());
    };
    for head_dim in [32, 64, 128] {
        results(&Case::new(1, 2, LONG, LONG, head_dim));
    }
    let case = Case::new(2, 2, 70, 70, 64);
    let masks = [
        Mask::Padding(case.padding()),
        Mask::Pairwise(case.pairs()),
        Mask::Segments,
    ];
    for mask in masks {
        results(&case.clone().with_mask(mask).with_dropout(0.1));
    }
    results(&case.with_terms([false, false]));
    results(&Case::new(2, 2, 20, 70, 64).at(|query| query * 37));
}
