//! What trainings make small.

use tch::{Kind, Reduction, Tensor};

use crate::Result;
use crate::rows::Batch;

/// What is made small: its mean over the rows, each times its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// The cross-entropy of classes.
    CrossEntropy {
        /// The share that the target's probability gives up to all labels alike.
        label_smoothing: f64,
    },
    /// The cross-entropy of classes, each label by itself against all others (sigmoid instead of softmax).
    BinaryCrossEntropy,
    /// The cross-entropy of classes times the square of how far the true class's probability is from one (Lin et al. 2017, gamma 2).
    Focal,
    /// The squared error of values.
    MeanSquaredError,
    /// The absolute error of values.
    MeanAbsoluteError,
    /// Half the squared error of values up to one, and the absolute error less a half beyond (Huber 1964).
    Huber,
}

impl Loss {
    /// The loss of a network's output for rows: a tensor of one value. Rows that were mixed have both targets, each by its share.
    pub fn of(self, output: &Tensor, rows: &Batch) -> Result<Tensor> {
        if rows.weights.is_none() && rows.mixed.is_none() {
            return self.reduced(output, &rows.targets, Reduction::Mean);
        }
        let mut losses = self.by_row(output, &rows.targets)?;
        if let Some(mixed) = &rows.mixed {
            let partners = self.by_row(output, &rows.targets.f_index_select(0, &mixed.partners)?)?;
            losses = partners.f_lerp_tensor(&losses, &mixed.shares)?;
        }
        let losses = match &rows.weights {
            Some(weights) => losses.f_mul(weights)?,
            None => losses,
        };
        Ok(losses.f_mean(None::<Kind>)?)
    }

    /// The loss of each row [rows].
    fn by_row(self, output: &Tensor, targets: &Tensor) -> Result<Tensor> {
        let losses = self.reduced(output, targets, Reduction::None)?;
        Ok(if losses.dim() > 1 { losses.f_mean_dim([1i64].as_slice(), false, None::<Kind>)? } else { losses })
    }

    fn reduced(self, output: &Tensor, targets: &Tensor, reduction: Reduction) -> Result<Tensor> {
        Ok(match self {
            Self::CrossEntropy { label_smoothing } => {
                output.f_cross_entropy_loss(targets, None::<&Tensor>, reduction, -100, label_smoothing)?
            }
            Self::BinaryCrossEntropy => {
                let truth = targets.f_one_hot(output.size()[1])?.f_to_kind(output.f_kind()?)?; // [rows, labels]
                output.f_binary_cross_entropy_with_logits::<&Tensor>(&truth, None, None, reduction)?
            }
            Self::Focal => {
                let entropies =
                    Self::CrossEntropy { label_smoothing: 0.0 }.reduced(output, targets, Reduction::None)?;
                let missed = entropies.f_neg()?.f_expm1()?; // The true label's probability less one.
                let losses = missed.f_square()?.f_mul(&entropies)?;
                if reduction == Reduction::None { losses } else { losses.f_mean(None::<Kind>)? }
            }
            Self::MeanSquaredError => output.f_mse_loss(targets, reduction)?,
            Self::MeanAbsoluteError => output.f_l1_loss(targets, reduction)?,
            Self::Huber => output.f_huber_loss(targets, reduction, 1.0)?,
        })
    }
}
