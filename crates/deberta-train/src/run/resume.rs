//! Continuing a run: what must not change, and how the state comes back.

use std::path::Path;

use burn::module::AutodiffModule;
use burn::optim::Optimizer;
use burn::tensor::backend::AutodiffBackend;
use serde_json::Value;

use super::TrainError;
use crate::checkpoint::{Restored, TrainState};

/// Parts of the configuration without which a checkpoint has no meaning, as JSON pointers.
const FIXED: [&str; 6] = [
    "/model",
    "/objective",
    "/rtd",
    "/head",
    "/masking",
    "/run/seed",
];

/// Compares the configuration with that of the checkpoint in `path`.
///
/// Other settings, such as the number of steps, may change; they are only reported.
pub(crate) fn check_unchanged(now: &Value, then: &Value, path: &Path) -> Result<(), TrainError> {
    for pointer in FIXED {
        let prefix = pointer.trim_start_matches('/').replace('/', ".");
        let mut changes = Vec::new();
        differences(
            &prefix,
            now.pointer(pointer),
            then.pointer(pointer),
            &mut changes,
        );
        if let Some(Change { field, now, then }) = changes.into_iter().next() {
            return Err(TrainError::Changed {
                field,
                now,
                then,
                path: path.to_owned(),
            });
        }
    }
    let mut changes = Vec::new();
    differences("", Some(now), Some(then), &mut changes);
    for Change { field, now, then } in changes {
        log::warn!("the run goes on with `{field}` = {now}, it was {then}");
    }
    Ok(())
}

/// Compares the number of training examples, which gives the cursor its meaning.
pub(crate) fn check_same_length(restored: &Restored, epoch_len: usize) -> Result<(), TrainError> {
    let then = restored.checkpoint.state.epoch_len;
    match then == epoch_len {
        true => Ok(()),
        false => Err(TrainError::Changed {
            field: "number of training examples".to_owned(),
            now: epoch_len.to_string(),
            then: then.to_string(),
            path: restored.path.clone(),
        }),
    }
}

struct Change {
    field: String,
    now: String,
    then: String,
}

/// Collects the leaves in which two JSON values differ, with their dotted paths.
fn differences(path: &str, now: Option<&Value>, then: Option<&Value>, changes: &mut Vec<Change>) {
    match (now, then) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let only_then = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(only_then) {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                differences(&path, a.get(key), b.get(key), changes);
            }
        }
        _ if now == then => {}
        _ => {
            let text = |value: Option<&Value>| value.map_or("not set".to_owned(), Value::to_string);
            changes.push(Change {
                field: path.to_owned(),
                now: text(now),
                then: text(then),
            });
        }
    }
}

/// Loads parameters, then moments of a checkpoint.
pub(crate) fn restore<B, M, O>(
    restored: Restored,
    module: M,
    optimizer: O,
    device: &B::Device,
) -> Result<(M, O, TrainState), TrainError>
where
    B: AutodiffBackend,
    M: AutodiffModule<B>,
    O: Optimizer<M, B>,
{
    let module = module.load_record(restored.model::<B, _>(device)?);
    let optimizer = optimizer.load_record(restored.optimizer::<B, _>(device)?);
    Ok((module, optimizer, restored.checkpoint.state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_network_and_the_seed_must_stay() {
        let then = json!({ "model": { "hidden_size": 64 }, "run": { "seed": 1, "steps": 10 } });
        let path = Path::new("run/checkpoints/step-0000010");
        check_unchanged(&then, &then, path).unwrap();

        let mut now = then.clone();
        now["run"]["steps"] = 20.into();
        check_unchanged(&now, &then, path).unwrap();

        now["model"]["hidden_size"] = 32.into();
        let message = check_unchanged(&now, &then, path).unwrap_err().to_string();
        assert_eq!(
            message,
            "`model.hidden_size` is 32, but the run in run/checkpoints/step-0000010 was started \
             with 64"
        );

        let mut now = then.clone();
        now["run"]["seed"] = 2.into();
        let error = check_unchanged(&now, &then, path).unwrap_err();
        assert!(matches!(error, TrainError::Changed { field, .. } if field == "run.seed"));
    }
}
