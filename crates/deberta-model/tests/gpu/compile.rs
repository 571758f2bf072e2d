//! What `scripts/cuda_check` runs: every kernel is compiled, on a machine that need not be able to run it.

use burn::backend::Autodiff;
use burn::tensor::DType;

use crate::Accelerator;
use crate::case::{Case, Mask};

/// So many tokens that all candidates for a tile are tried.
const LONG: usize = 1449;

#[test]
fn kernels_of_every_type_and_head_compile() {
    let results = |case: &Case, dtype: DType| {
        let results = case.run::<Autodiff<Accelerator>>(dtype);
        assert_eq!(results[0].len(), case.rows[0] * case.width());
    };
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for head_dim in [32, 64, 128] {
            let case = Case::new(1, 2, LONG, LONG, head_dim);
            results(&case, dtype);
        }
        let case = Case::new(2, 2, 70, 70, 64);
        let (padding, pairs) = (case.padding(), case.pairs());
        let masks = [
            Mask::Padding(padding),
            Mask::Pairwise(pairs),
            Mask::Segments,
        ];
        for mask in masks {
            results(&case.clone().with_mask(mask).with_dropout(0.1), dtype);
        }
        results(&case.with_terms([false, false]), dtype);
        results(&Case::new(2, 2, 20, 70, 64).at(|query| query * 37), dtype);
    }
}
