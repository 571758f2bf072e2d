//! Jobs as JSON files, whose settings are changed by name.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// `job` with one setting changed, such as `train.run.steps=200`; the value is JSON, or text where it
/// is not.
///
/// # Errors
///
/// What is wrong, if there is no such setting or it cannot have this value.
pub(crate) fn with_setting<T: Serialize + DeserializeOwned>(
    job: &T,
    setting: &str,
) -> Result<T, String> {
    let (name, value) = setting
        .split_once('=')
        .ok_or_else(|| "expected `name=value`".to_owned())?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.into()));
    let mut json = serde_json::to_value(job).map_err(|error| error.to_string())?;
    let pointer = format!("/{}", name.replace('.', "/"));
    let place = json
        .pointer_mut(&pointer)
        .ok_or_else(|| format!("there is no setting `{name}`"))?;
    *place = value;
    serde_json::from_value(json).map_err(|error| error.to_string())
}
