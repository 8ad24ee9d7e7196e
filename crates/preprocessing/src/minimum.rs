//! The minimum of a function of one number.

/// How near to the minimum the search comes, besides what the precision of numbers sets.
const TOLERANCE: f64 = 1.48e-8;

/// The most evaluations.
const MAX_EVALUATIONS: usize = 500;

/// Where between `low` and `high` a function is least: golden sections and parabolas (Brent 1973), as scipy's `fminbound`. Where there is more than
/// one valley, the least of one of them.
pub(crate) fn minimum(function: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    let golden = 0.5 * (3.0 - 5_f64.sqrt());
    let precision = f64::EPSILON.sqrt();
    let (mut low, mut high) = (low, high);
    let mut best = low + golden * (high - low);
    let mut value = function(best);
    // The second best point, and the second best of before.
    let (mut second, mut third) = ((best, value), (best, value));
    let (mut step, mut step_before) = (0.0_f64, 0.0_f64);
    for _ in 1..MAX_EVALUATIONS {
        let middle = 0.5 * (low + high);
        let near = precision * best.abs() + TOLERANCE / 3.0;
        if (best - middle).abs() <= 2.0 * near - 0.5 * (high - low) {
            break;
        }
        let parabolic = (step_before.abs() > near).then(|| vertex((best, value), second, third)).filter(|(p, q)| {
            p.abs() < (0.5 * q * step_before).abs() && *p > q * (low - best) && *p < q * (high - best)
        });
        match parabolic {
            Some((p, q)) => {
                step_before = step;
                step = p / q;
                let at = best + step;
                if at - low < 2.0 * near || high - at < 2.0 * near {
                    step = if middle >= best { near } else { -near };
                }
            }
            None => {
                step_before = if best >= middle { low - best } else { high - best };
                step = golden * step_before;
            }
        }
        let at = best + if step >= 0.0 { step.max(near) } else { step.min(-near) };
        let found = function(at);
        if found <= value {
            *(if at >= best { &mut low } else { &mut high }) = best;
            (third, second) = (second, (best, value));
            (best, value) = (at, found);
        } else {
            *(if at < best { &mut low } else { &mut high }) = at;
            if found <= second.1 || second.0 == best {
                (third, second) = (second, (at, found));
            } else if found <= third.1 || third.0 == best || third.0 == second.0 {
                third = (at, found);
            }
        }
    }
    best
}

/// How far from the first point the vertex of the parabola through three points lies: the numerator, and the denominator, which is not negative.
fn vertex(best: (f64, f64), second: (f64, f64), third: (f64, f64)) -> (f64, f64) {
    let r = (best.0 - second.0) * (best.1 - third.1);
    let q = (best.0 - third.0) * (best.1 - second.1);
    let p = (best.0 - third.0) * q - (best.0 - second.0) * r;
    let q = 2.0 * (q - r);
    if q > 0.0 { (-p, q) } else { (p, -q) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minima_are_found() {
        // Expected places from calculus.
        for (function, low, high, expected) in [
            ((|x| (x - 2.0) * (x - 2.0)) as fn(f64) -> f64, -10.0, 10.0, 2.0),
            (|x| x.cosh() - x, -5.0, 9.0, 1_f64.asinh()),
            (|x| (x - 1.0).abs(), 0.0, 3.0, 1.0),
            // At an end, where the slope is.
            (|x| x, -3.0, 4.0, -3.0),
            // With a part in which it is infinite.
            (|x| if x > 5.0 { f64::INFINITY } else { (x + 1.0) * (x + 1.0) }, -4.0, 12.0, -1.0),
        ] {
            let found = minimum(function, low, high);
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
    }
}
