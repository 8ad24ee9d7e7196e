//! `random_under_sample`.

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use retune_spec::preprocessing::RandomUnderSample;
use retune_stage::{FitContext, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::balance::{self, Labels, Way};
use crate::frame::Frame;
use crate::outline::Outline;
use crate::source::Source;
use crate::step::{ApplyStep, FitStep, Learnt, Train, counted};

/// Nothing is learned: rows to predict are never dropped.
#[derive(Serialize, Deserialize)]
pub(crate) struct FittedRandomUnderSample {}

impl FitStep for RandomUnderSample {
    type Fitted = FittedRandomUnderSample;
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
    ) -> Result<Learnt<FittedRandomUnderSample>> {
        let labels = Labels::of(source)?;
        let wanted = labels.wanted(self.sampling, Way::Under)?;
        let mut rng = ChaCha8Rng::seed_from_u64(context.seed.0);
        let mut kept = vec![true; labels.codes.len()];
        for (label, &wanted) in wanted.iter().enumerate().filter(|(label, wanted)| **wanted < labels.counts[*label]) {
            let own = labels.rows_of(label);
            own.iter().for_each(|&row| kept[row] = false);
            sample(&mut rng, own.len(), wanted).into_iter().for_each(|place| kept[own[place]] = true);
        }
        let n_dropped = kept.iter().filter(|kept| !**kept).count();
        let n_labels = labels.n_changed(&wanted);
        let text = format!("dropped {} of {}", counted(n_dropped, "training row"), counted(n_labels, "label"));
        Ok(Learnt::new(FittedRandomUnderSample {}, Train::Kept(kept), text))
    }
}

impl ApplyStep for FittedRandomUnderSample {
    fn apply(&self, frame: &Frame) -> Result<Frame> {
        Ok(frame.clone())
    }
}
