//! What `scripts/cuda_check` runs: every kernel is compiled, on a machine that need not be able to run it.

use burn::backend::Autodiff;
use burn::tensor::DType;

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
