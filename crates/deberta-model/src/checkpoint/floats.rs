//! Types of numbers in weights files.

use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;
use serde::{Deserialize, Serialize};

/// A floating-point type that weights are stored in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum FloatType {
    /// IEEE 754 double precision.
    F64,
    /// IEEE 754 single precision.
    #[default]
    F32,
    /// IEEE 754 half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
}

impl FloatType {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::F64, Self::F32, Self::F16, Self::Bf16];

    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Whether all finite numbers of another type are finite in this one.
    pub(super) fn includes(self, other: Self) -> bool {
        match self {
            Self::F64 => true,
            Self::F32 => other != Self::F64,
            // f32 has numbers that bf16 rounds up to infinity.
            Self::Bf16 => matches!(other, Self::Bf16 | Self::F16),
            Self::F16 => other == Self::F16,
        }
    }

    /// Name in safetensors files.
    pub(super) fn safetensors_name(self) -> &'static str {
        match self {
            Self::F64 => "F64",
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    /// Name of the class of storages in PyTorch.
    pub(super) fn storage_name(self) -> &'static str {
        match self {
            Self::F64 => "DoubleStorage",
            Self::F32 => "FloatStorage",
            Self::F16 => "HalfStorage",
            Self::Bf16 => "BFloat16Storage",
        }
    }

    /// Name in `config.json`.
    pub(super) fn config_name(self) -> &'static str {
        match self {
            Self::F64 => "float64",
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    /// The type of a tensor on the host.
    pub(super) fn to_dtype(self) -> DType {
        match self {
            Self::F64 => DType::F64,
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// The type of a tensor on the host; `None` if it is not a float.
    pub(super) fn from_dtype(dtype: DType) -> Option<Self> {
        match dtype {
            DType::F64 => Some(Self::F64),
            DType::F32 | DType::Flex32 => Some(Self::F32),
            DType::F16 => Some(Self::F16),
            DType::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }
}

impl fmt::Display for FloatType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

/// A word that names no floating-point type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown type of numbers `{0}`, expected `f64`, `f32`, `f16` or `bf16`")]
pub struct UnknownFloatType(String);

impl FromStr for FloatType {
    type Err = UnknownFloatType;

    fn from_str(text: &str) -> Result<Self, UnknownFloatType> {
        let found = Self::ALL.into_iter().find(|it| it.to_string() == text);
        found.ok_or_else(|| UnknownFloatType(text.into()))
    }
}

/// Type of the entries of a stored tensor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ElementType {
    /// A type that parameters have.
    Float(FloatType),
    /// Any other, such as the integers of a buffer, by its name.
    Other(String),
}

impl ElementType {
    pub(super) fn float(&self) -> Option<FloatType> {
        match self {
            Self::Float(float) => Some(*float),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(float) => float.fmt(f),
            Self::Other(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for float in FloatType::ALL {
            assert_eq!(float.to_string().parse(), Ok(float));
        }
        assert_eq!(
            "f8".parse::<FloatType>().unwrap_err().to_string(),
            "unknown type of numbers `f8`, expected `f64`, `f32`, `f16` or `bf16`"
        );
    }
}
