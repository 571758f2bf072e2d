//! Commands that train on tasks, score and predict.

pub(crate) mod args;
pub(crate) mod evaluate;
pub(crate) mod finetune;
pub(crate) mod predict;
