//! `random_over_sample`.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use retune_spec::preprocessing::RandomOverSample;
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::balance::{self, Labels, Way};
use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// Nothing is learned: rows to predict are never repeated.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedRandomOverSample {}

impl FitStep for RandomOverSample {
    type Fitted = FittedRandomOverSample;
    const KINDS: &'static [Kind] = &Kind::ALL;
    const SPARSE: bool = true;

    fn check(&self, _columns: &[String], outline: &mut Outline) -> Result<()> {
        balance::check(outline, Some(self.sampling))
    }

    fn fit(
        &self,
        source: &Source,
        _columns: &[String],
        context: &FitContext,
    ) -> Result<Learnt<FittedRandomOverSample>> {
        let frame = source.frame()?;
        let labels = Labels::of(source)?;
        let wanted = labels.wanted(self.sampling, Way::Over)?;
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed.0);
        let mut rows: Vec<usize> = (0..frame.n_rows()).collect();
        for (label, &wanted) in wanted.iter().enumerate().filter(|(label, wanted)| **wanted > labels.counts[*label]) {
            let own = labels.rows_of(label);
            rows.extend((own.len()..wanted).map(|_| own[rng.random_range(0..own.len())]));
        }
        let text = format!(
            "repeated {} of {}",
            counted(rows.len() - frame.n_rows(), "training row"),
            counted(labels.n_changed(&wanted), "label")
        );
        let train = Train::Frame(frame.take(&rows)?);
        Ok(Learnt::new(FittedRandomOverSample {}, train, text))
    }
}

impl ApplyStep for FittedRandomOverSample {
    fn apply(&self, frame: &Frame) -> Result<Frame> {
        Ok(frame.clone())
    }
}
