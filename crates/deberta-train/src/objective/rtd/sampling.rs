//! Drawing replacements from the generator.

use burn::tensor::{DType, Distribution, Int, Tensor, TensorData, backend::Backend};

/// Added to the logits of what is never drawn: no noise makes up for it, and it is a number in f32.
const BARRED: f32 = -1e30;

/// What to add to logits so that only `pieces` are drawn, `[vocab]`.
pub(super) fn barrier<B: Backend>(
    pieces: &[u32],
    vocab: usize,
    device: &B::Device,
) -> Tensor<B, 1> {
    let mut barrier = vec![BARRED; vocab];
    for &piece in pieces {
        if let Some(place) = barrier.get_mut(piece as usize) {
            *place = 0.0;
        }
    }
    Tensor::from_data(TensorData::from(barrier.as_slice()), device)
}

/// One draw of `softmax(logits / temperature)` for each row, `[rows]`, from the backend's random
/// state and without reading anything back.
///
/// ```text
/// argmaxᵥ (logitsᵥ / T + gᵥ),  gᵥ = −ln(−ln u),  u uniform in (0, 1)          is v with p(v)
/// ```
///
/// # Shapes
///
/// - logits: `[rows, vocab]`
/// - barrier: `[vocab]`, from [`barrier`]
pub(super) fn draw<B: Backend>(
    logits: Tensor<B, 2>,
    barrier: Tensor<B, 1>,
    temperature: f64,
) -> Tensor<B, 1, Int> {
    let (shape, device) = (logits.dims(), logits.device());
    let unit = Distribution::Uniform(0.0, 1.0);
    let uniform = Tensor::<B, 2>::random(shape, unit, (&device, DType::F32));
    // Neither end may be reached: both have an infinite logarithm.
    let uniform = uniform.clamp(f32::MIN_POSITIVE, 1.0 - f32::EPSILON / 2.0);
    let noise = uniform.log().neg().log().neg();
    let logits = logits.cast(DType::F32).div_scalar(temperature);
    let perturbed = logits + barrier.cast(DType::F32).unsqueeze() + noise;
    perturbed.argmax(1).squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    type B = Flex;

    /// χ² of the frequencies of so many draws against `softmax(logits / temperature)` over `pieces`.
    fn chi_square(temperature: f64, draws: usize) -> (f64, Vec<usize>) {
        let logits = [2.0f32, -1.0, 0.5, 9.0, 0.0, 1.0, -2.0];
        let pieces = [0u32, 1, 2, 4, 5, 6];
        let device = Default::default();
        let row = Tensor::<B, 1>::from_floats(logits, &device);
        let rows = row.unsqueeze::<2>().expand([draws, logits.len()]);
        let barrier = barrier::<B>(&pieces, logits.len(), &device);
        B::seed(&device, 7);
        let drawn = draw(rows, barrier, temperature).into_data();
        let mut counts = vec![0usize; logits.len()];
        for id in drawn.iter::<i64>() {
            counts[id as usize] += 1;
        }
        let weight = |piece: u32| (f64::from(logits[piece as usize]) / temperature).exp();
        let total: f64 = pieces.iter().map(|piece| weight(*piece)).sum();
        let deviation = |piece: &u32| {
            let expected = weight(*piece) / total * draws as f64;
            (counts[*piece as usize] as f64 - expected).powi(2) / expected
        };
        (pieces.iter().map(deviation).sum(), counts)
    }

    /// With 5 degrees of freedom, χ² is above 36 once in a million times.
    #[test]
    fn frequencies_are_those_of_the_softmax() {
        for temperature in [1.0, 0.5, 3.0] {
            let (chi_square, counts) = chi_square(temperature, 100_000);
            assert!(chi_square < 36.0, "{chi_square} for {counts:?}");
            assert_eq!(counts[3], 0, "the likeliest one is no piece");
        }
    }

    #[test]
    fn a_wrong_temperature_shows() {
        let (_, counts) = chi_square(1.0, 100_000);
        let (_, colder) = chi_square(0.5, 100_000);
        assert!(colder[0] > counts[0] + 5_000, "{colder:?} {counts:?}");
    }
}
