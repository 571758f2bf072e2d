//! Many runs: several seeds, and folds for predictions of examples that were not trained on.

use std::collections::BTreeMap;
use std::sync::Arc;

use deberta_model::DebertaAutodiffBackend;
use serde::Serialize;

use super::finetune::{FinetuneConfig, FinetuneData, Finetuned, fine_tune, predict};
use super::order::EpochOrder;
use super::scoring::TaskMetrics;
use super::{ExampleId, ExampleSource, RunOptions, SourceError, TrainError};
use crate::objective::{ExampleLogits, Scores, TaskBatch, TaskObjective, TrainableNetwork};

/// Results of the same run with several seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedSummary {
    /// Each run.
    pub runs: Vec<SeedResult>,
    /// Mean of each metric.
    pub mean: Scores,
    /// Standard deviation of each metric among runs, `n − 1` in the denominator; 0 for one run.
    pub deviation: Scores,
}

/// The best evaluation of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedResult {
    /// The seed.
    pub seed: u64,
    /// Step after which the run was best.
    pub step: usize,
    /// Metrics then.
    pub scores: Scores,
}

impl SeedSummary {
    /// Sums runs up; those of seeds whose run was stopped have no part in it.
    pub fn new(runs: Vec<SeedResult>) -> Self {
        let names = runs.first().map(|run| run.scores.keys().cloned());
        let names: Vec<String> = names.into_iter().flatten().collect();
        let column = |name: &str| -> Vec<f64> {
            let scores = runs.iter().filter_map(|run| run.scores.get(name));
            scores.copied().collect()
        };
        let statistic = |of: fn(&[f64]) -> f64| -> Scores {
            let values = names.iter().map(|name| (name.clone(), of(&column(name))));
            values.collect()
        };
        Self {
            mean: statistic(mean),
            deviation: statistic(deviation),
            runs,
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The same options for a run in a folder inside.
fn below(options: &RunOptions, name: &str) -> RunOptions {
    RunOptions {
        run_dir: options.run_dir.join(name),
        ..options.clone()
    }
}

/// Examples that are split into folds.
#[derive(Clone)]
pub struct CrossValidation {
    /// All examples.
    pub examples: Arc<dyn ExampleSource<TaskBatch>>,
    /// Metrics of any of them.
    pub metrics: Arc<dyn TaskMetrics>,
    /// Number of folds, from 2 to the number of examples or groups.
    pub folds: usize,
    /// Group of each example; those of a group are never apart, such as windows over one text. `None`
    /// for each on its own.
    pub groups: Option<Vec<usize>>,
}

/// Predictions for every example by a model that was not trained on it.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfFold {
    /// Logits in the order of the examples.
    pub logits: Vec<ExampleLogits>,
    /// Metrics of all examples together.
    pub scores: Scores,
    /// Metrics of each fold.
    pub fold_scores: Vec<Scores>,
}

impl CrossValidation {
    /// Examples of each fold, a random split that belongs to the seed.
    fn split(&self, seed: u64) -> Vec<Vec<usize>> {
        let members = self.members();
        let order = EpochOrder::new(members.len(), seed, 0);
        let mut folds: Vec<Vec<usize>> = vec![Vec::new(); self.folds];
        for position in 0..members.len() {
            // The smallest so far, the first of several.
            if let Some(fold) = folds.iter_mut().min_by_key(|fold| fold.len()) {
                fold.extend(&members[order.example(position)]);
            }
        }
        folds
    }

    /// Examples of each group.
    fn members(&self) -> Vec<Vec<usize>> {
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for example in 0..self.examples.len() {
            let groups = self.groups.as_ref();
            let group = groups.and_then(|it| it.get(example).copied());
            members
                .entry(group.unwrap_or(example))
                .or_default()
                .push(example);
        }
        members.into_values().collect()
    }

    /// Trains on all folds but one, evaluates on that.
    fn data(&self, folds: &[Vec<usize>], held_out: usize) -> FinetuneData {
        let rest = folds
            .iter()
            .enumerate()
            .filter(|(fold, _)| *fold != held_out);
        let rest = rest
            .flat_map(|(_, examples)| examples.iter().copied())
            .collect();
        FinetuneData {
            train: self.subset(rest),
            held_out: self.subset(folds[held_out].clone()),
            metrics: Arc::clone(&self.metrics),
        }
    }

    fn subset(&self, indices: Vec<usize>) -> Arc<dyn ExampleSource<TaskBatch>> {
        Arc::new(Subset {
            source: Arc::clone(&self.examples),
            indices,
        })
    }
}

/// Fine-tunes once per fold, each in a folder `fold-…` of its own, and predicts the fold left out.
///
/// # Errors
///
/// [`TrainError::Setting`] for a number of folds that makes no sense, [`TrainError::Stopped`] if a
/// run was stopped, otherwise the first error of a run.
pub fn cross_validate<B, M>(
    config: &FinetuneConfig,
    build: impl Fn(u64) -> Result<M, TrainError>,
    validation: &CrossValidation,
    options: &RunOptions,
    device: &B::Device,
) -> Result<OutOfFold, TrainError>
where
    B: DebertaAutodiffBackend,
    M: TrainableNetwork<B>,
{
    if !(2..=validation.members().len()).contains(&validation.folds) {
        return Err(TrainError::Setting {
            field: "folds",
            value: validation.folds.to_string(),
            expected: "from 2 to the number of examples, or of groups of them",
        });
    }
    let folds = validation.split(config.run.seed);
    let (mut logits, mut fold_scores) = (Vec::new(), Vec::new());
    for fold in 0..folds.len() {
        let data = validation.data(&folds, fold);
        let options = below(options, &format!("fold-{fold}"));
        let model = build(config.run.seed)?;
        let tuned: Finetuned<M::InnerModule> =
            fine_tune::<B, M>(config, model, &data, &options, device)?;
        if !tuned.report.completed {
            return Err(TrainError::Stopped);
        }
        let objective = TaskObjective::new(tuned.model, config.settings(M::ROWS));
        logits.extend(predict(&objective, &data.held_out, &config.run)?);
        fold_scores.push(tuned.scores);
    }
    logits.sort_by_key(|it| it.example);
    Ok(OutOfFold {
        scores: validation
            .metrics
            .score(&logits)
            .map_err(TrainError::Metric)?,
        logits,
        fold_scores,
    })
}

/// Some of the examples of a source, which keep their indices there.
struct Subset {
    source: Arc<dyn ExampleSource<TaskBatch>>,
    indices: Vec<usize>,
}

impl ExampleSource<TaskBatch> for Subset {
    fn len(&self) -> usize {
        self.indices.len()
    }

    fn tokens(&self, index: usize) -> usize {
        self.source.tokens(self.indices[index])
    }

    fn batch(&self, examples: &[ExampleId]) -> Result<TaskBatch, SourceError> {
        let examples: Vec<ExampleId> = examples
            .iter()
            .map(|it| ExampleId {
                index: self.indices[it.index],
                ..*it
            })
            .collect();
        self.source.batch(&examples)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing but a number of examples.
    struct Blank(usize);

    impl ExampleSource<TaskBatch> for Blank {
        fn len(&self) -> usize {
            self.0
        }

        fn tokens(&self, _: usize) -> usize {
            1
        }

        fn batch(&self, _: &[ExampleId]) -> Result<TaskBatch, SourceError> {
            Err("there is nothing in it".into())
        }
    }

    struct NoMetrics;

    impl TaskMetrics for NoMetrics {
        fn names(&self) -> Vec<String> {
            Vec::new()
        }

        fn score(&self, _: &[ExampleLogits]) -> Result<Scores, SourceError> {
            Ok(Scores::new())
        }
    }

    #[test]
    fn a_group_is_in_one_fold_and_folds_are_of_like_size() {
        // Groups of one to four examples, which do not stand together.
        let groups: Vec<usize> = (0..60).map(|it| it * it % 23).collect();
        let validation = CrossValidation {
            examples: Arc::new(Blank(60)),
            metrics: Arc::new(NoMetrics),
            folds: 4,
            groups: Some(groups.clone()),
        };
        let folds = validation.split(5);
        let mut all: Vec<usize> = folds.concat();
        all.sort_unstable();
        assert_eq!(all, (0..60).collect::<Vec<_>>());
        for group in 0..23 {
            let holds = |fold: &&Vec<usize>| fold.iter().any(|it| groups[*it] == group);
            assert!(folds.iter().filter(holds).count() <= 1);
        }
        assert!(folds.iter().all(|fold| (10..=20).contains(&fold.len())));
        assert_ne!(validation.split(6), folds);
    }

    #[test]
    fn seeds_are_summed_up_by_mean_and_deviation() {
        let run = |seed, accuracy| SeedResult {
            seed,
            step: 10,
            scores: [("accuracy".to_owned(), accuracy)].into(),
        };
        let summary = SeedSummary::new(vec![run(1, 0.8), run(2, 0.9), run(3, 0.7)]);
        assert!((summary.mean["accuracy"] - 0.8).abs() < 1e-12);
        assert!((summary.deviation["accuracy"] - 0.1).abs() < 1e-12);
        assert_eq!(
            SeedSummary::new(vec![run(1, 0.8)]).deviation["accuracy"],
            0.0
        );
    }
}
