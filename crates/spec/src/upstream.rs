//! Names of hyperparameters of the stages before a model selection: `prepare.pca.components`.

use crate::diagnostic::did_you_mean;

/// A stage that may be searched: its name, and the words of its steps.
pub struct Searchable<'a> {
    /// The stage's name.
    pub id: &'a str,
    /// The words of its steps, in their order.
    pub steps: Vec<&'a str>,
}

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stage's position among those before.
    pub stage: usize,
    /// The step's position in the stage.
    pub step: usize,
    /// The hyperparameter of the step.
    pub parameter: String,
}

/// Why a name leads nowhere, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoPlace {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

impl Place {
    /// Finds what `STAGE.STEP.PARAMETER` names. A step that the stage has more than once is named by its number, counted from 1.
    pub fn find(name: &str, before: &[Searchable]) -> Result<Self, NoPlace> {
        let wrong = |message: String, help: String| NoPlace { message, help };
        // A stage's name may have dots itself; the longest that fits is meant.
        let fitting = before
            .iter()
            .enumerate()
            .filter_map(|(position, stage)| Some((position, stage, name.strip_prefix(stage.id)?.strip_prefix('.')?)));
        let Some((position, stage, rest)) = fitting.max_by_key(|(_, stage, _)| stage.id.len()) else {
            let first = name.split('.').next().unwrap_or_default();
            let help = match did_you_mean(first, before.iter().map(|stage| stage.id)) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "write STAGE.STEP.PARAMETER of a stage before this one".to_owned(),
            };
            return Err(wrong(format!("`{name}` names no stage before this one"), help));
        };
        let id = stage.id;
        let Some((step, parameter)) = rest.split_once('.') else {
            let help = format!("write {id}.STEP.PARAMETER, as in `prepare.pca.components`");
            return Err(wrong(format!("`{name}` names no hyperparameter"), help));
        };
        let number = step.parse::<usize>().ok();
        let is_meant = |at: &usize| number.map_or(stage.steps[*at] == step, |number| at + 1 == number);
        let found: Vec<usize> = (0..stage.steps.len()).filter(is_meant).collect();
        match found.as_slice() {
            [at] => Ok(Self { stage: position, step: *at, parameter: parameter.to_owned() }),
            [] => {
                let help = match did_you_mean(step, stage.steps.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("its steps are {}", stage.steps.join(", ")),
                };
                Err(wrong(format!("stage `{id}` has no step `{step}`"), help))
            }
            [first, ..] => {
                let help = format!("name one by its number, as in `{id}.{}.{parameter}`", first + 1);
                Err(wrong(format!("stage `{id}` has {} steps `{step}`", found.len()), help))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_steps() {
        let before = [
            Searchable { id: "a", steps: vec!["pca"] },
            Searchable { id: "a.b", steps: vec!["impute", "pca", "impute"] },
        ];
        let find = |name: &str| Place::find(name, &before);
        let place = |stage, step, parameter: &str| Ok(Place { stage, step, parameter: parameter.to_owned() });
        assert_eq!(find("a.pca.components"), place(0, 0, "components"));
        assert_eq!(find("a.b.pca.components"), place(1, 1, "components"));
        assert_eq!(find("a.b.3.strategy"), place(1, 2, "strategy"));
        let message = |name| find(name).map_err(|wrong| format!("{}; {}", wrong.message, wrong.help));
        let several = "stage `a.b` has 2 steps `impute`; name one by its number, as in `a.b.1.strategy`";
        assert_eq!(message("a.b.impute.strategy"), Err(several.to_owned()));
        assert_eq!(
            message("a.b.4.strategy"),
            Err("stage `a.b` has no step `4`; its steps are impute, pca, impute".to_owned())
        );
    }
}
