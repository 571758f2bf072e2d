//! Names of models on the Hub.

use super::HubError;
use super::error::invalid;

/// Longest owner or name on the Hub.
const MAX_NAME: usize = 96;

/// The branch that is meant if none is given.
const DEFAULT_REVISION: &str = "main";

/// A model on the Hub and a state of it: `owner/name` or `owner/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId {
    name: String,
    revision: String,
}

impl ModelId {
    /// Reads `owner/name`, or `owner/name@revision` for a branch, a tag or a commit.
    ///
    /// What passes is safe as a part of a path and of an address.
    ///
    /// # Errors
    ///
    /// [`HubError::InvalidId`].
    pub fn parse(model: &str) -> Result<Self, HubError> {
        let (name, revision) = model.split_once('@').unwrap_or((model, DEFAULT_REVISION));
        let Some((owner, short)) = name.split_once('/') else {
            return Err(invalid(model, "expected `owner/name`"));
        };
        for part in [owner, short] {
            if let Some(problem) = fault_of_part(part) {
                return Err(invalid(model, format!("`{part}` {problem}")));
            }
        }
        let parts_of_path = |part: &str| !part.is_empty() && !part.starts_with(['.', '-']);
        let is_plain = revision.chars().all(|it| is_plain(it) || "/+".contains(it));
        if !is_plain || revision.contains("..") || !revision.split('/').all(parts_of_path) {
            let problem = format!("`{revision}` is not the name of a branch, a tag or a commit");
            return Err(invalid(model, problem));
        }
        Ok(Self {
            name: name.into(),
            revision: revision.into(),
        })
    }

    /// `owner/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Whether the revision is a whole commit, whose files never change.
    pub fn is_commit(&self) -> bool {
        is_commit(&self.revision)
    }
}

/// Whether this is the 40 hexadecimal digits of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_lower_hex(text)
}

pub(super) fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
}

/// Letters that mean nothing special in paths and addresses.
pub(super) fn is_plain(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._-".contains(letter)
}

/// What is wrong with an owner or a name.
fn fault_of_part(part: &str) -> Option<&'static str> {
    if part.is_empty() || part.len() > MAX_NAME {
        Some("has not 1 to 96 letters")
    } else if !part.chars().all(is_plain) {
        Some("has letters other than `A-Z a-z 0-9 . _ -`")
    } else if part.starts_with(['.', '-']) || part.ends_with(['.', '-']) {
        Some("begins or ends with `.` or `-`")
    } else if part.contains("..") || part.contains("--") {
        Some("has `..` or `--`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_an_owner_and_perhaps_a_revision() {
        let id = ModelId::parse("microsoft/deberta-v3-base").unwrap();
        assert_eq!(
            (id.name(), id.revision()),
            ("microsoft/deberta-v3-base", "main")
        );
        let id = ModelId::parse("a/b_C.1@refs/pr/2").unwrap();
        assert_eq!((id.name(), id.revision()), ("a/b_C.1", "refs/pr/2"));
        assert!(!id.is_commit());
        let commit = "8ccc9b6f36199bec6961081d44eb72fb3f7353f3";
        assert!(
            ModelId::parse(&format!("a/b@{commit}"))
                .unwrap()
                .is_commit()
        );
    }

    #[test]
    fn what_would_leave_the_cache_or_the_address_is_no_name() {
        for model in [
            "", "deberta", "/etc", "a/", "/b", "./b", "../b", "a/..", "a/b/c", "a/b c", "a/b?c",
            "a/b--c", "-a/b", "a/b.", "C:\\a/b", "a/b@", "a/b@../x", "a/b@/x", "a/b@x/",
            "a/b@x//y", "a/b@x?y", "a/b@x y", "a/b@-x", "a/b@x#y", "a/b@x%2e", "ä/b",
        ] {
            let error = ModelId::parse(model).unwrap_err();
            assert!(matches!(error, HubError::InvalidId { .. }), "{model}");
        }
        assert!(ModelId::parse(&format!("a/{}", "b".repeat(97))).is_err());
    }
}
