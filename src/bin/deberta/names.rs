//! Names on the command line: labels and columns, separated by commas.

/// A name between commas, without the white space around it.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name is empty".into()),
        name => Ok(name.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_belong_to_no_name() {
        assert_eq!(name(" New York\t").unwrap(), "New York");
        assert_eq!(name(" ").unwrap_err(), "a name is empty");
    }
}
