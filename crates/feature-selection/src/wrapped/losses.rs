//! The cross-entropy of rows and its derivatives by their scores, which are kept output after output.

/// In place of the label of a row that is not learned from.
pub(crate) const NOT_LEARNED: u32 = u32::MAX;

/// The sum of the losses of rows, and the derivatives of each by its scores [outputs, rows]. Two labels share one output, the score of the second.
pub(crate) fn losses(outputs: usize, labels: &[u32], scores: &[f64], slopes: &mut [f64]) -> f64 {
    if outputs == 1 { binary(labels, scores, slopes) } else { multinomial(outputs, labels, scores, slopes) }
}

fn multinomial(outputs: usize, labels: &[u32], scores: &[f64], slopes: &mut [f64]) -> f64 {
    let n = labels.len();
    let mut value = 0.0;
    for (row, &label) in labels.iter().enumerate() {
        let at = |output: usize| output * n + row;
        if label == NOT_LEARNED {
            (0..outputs).for_each(|output| slopes[at(output)] = 0.0);
            continue;
        }
        let greatest = (0..outputs).map(|output| scores[at(output)]).fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        for output in 0..outputs {
            let power = (scores[at(output)] - greatest).exp();
            slopes[at(output)] = power;
            sum += power;
        }
        (0..outputs).for_each(|output| slopes[at(output)] /= sum);
        slopes[at(label as usize)] -= 1.0;
        value += sum.ln() + greatest - scores[at(label as usize)];
    }
    value
}

/// The sum of the losses of two labels, and their derivatives by the scores.
fn binary(labels: &[u32], scores: &[f64], slopes: &mut [f64]) -> f64 {
    // Logarithms are dear, so that one is taken of a product of factors between 1 and 2.
    const FACTORS: usize = 64;
    let mut value = 0.0;
    for ((labels, scores), slopes) in labels.chunks(FACTORS).zip(scores.chunks(FACTORS)).zip(slopes.chunks_mut(FACTORS))
    {
        let mut product = 1.0_f64;
        for ((&label, &score), slope) in labels.iter().zip(scores).zip(slopes) {
            if label == NOT_LEARNED {
                *slope = 0.0;
                continue;
            }
            let power = (-score.abs()).exp();
            let probability = if score >= 0.0 { 1.0 } else { power } / (1.0 + power);
            product *= 1.0 + power;
            value += score.max(0.0) - f64::from(label) * score;
            *slope = probability - f64::from(label);
        }
        value += product.ln();
    }
    value
}
