//! The guest's paths.

use super::TreeError;
use crate::job::is_unshowable;

/// How deep a directory may lie.
pub(super) const MAX_DEPTH: usize = 32;
/// How long an entry's path from the root may be, in bytes: what is kept can then be named in a URL, and on
/// any host below wherever results are.
pub(super) const MAX_LENGTH: usize = 1024;
/// How long a path may be that a guest asks for, before `.` and `..` are resolved.
pub(in crate::sandbox) const MAX_PATH: usize = 4096;
const MAX_NAME: usize = 255;

/// The names along a relative path, with `.` and `..` resolved.
///
/// There are no symbolic links, so `..` can be resolved without looking. A path that leaves the directory,
/// or is absolute, is not permitted; a name that could not be shown safely, or not at all, is illegal.
pub(super) fn normalise(path: &str) -> Result<Vec<&str>, TreeError> {
    if path.len() > MAX_PATH {
        return Err(TreeError::NameTooLong);
    }
    if path.is_empty() {
        return Err(TreeError::NoEntry);
    }
    if path.starts_with('/') {
        return Err(TreeError::NotPermitted);
    }
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop().ok_or(TreeError::NotPermitted)?;
            }
            name if name.len() > MAX_NAME => return Err(TreeError::NameTooLong),
            name if name.chars().any(is_unshowable) || name.trim().is_empty() => return Err(TreeError::IllegalName),
            name => names.push(name),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_path_leads_out() {
        for path in ["..", "a/../..", "../x", "/etc/passwd", "/", "./.."] {
            assert_eq!(normalise(path), Err(TreeError::NotPermitted), "{path}");
        }
        assert_eq!(normalise("a/./b/../c"), Ok(vec!["a", "c"]));
        assert_eq!(normalise("."), Ok(vec![]));
    }

    #[test]
    fn names_that_no_host_should_see_are_refused() {
        assert_eq!(normalise("a\0b"), Err(TreeError::IllegalName));
        for name in ["a\n", "\u{202e}gpj.exe", "\u{200b}", " ", "a/\u{feff}b"] {
            assert_eq!(normalise(name), Err(TreeError::IllegalName), "{name:?}");
        }
        assert_eq!(normalise(&"a".repeat(256)), Err(TreeError::NameTooLong));
        assert_eq!(normalise(&"a/".repeat(3000)), Err(TreeError::NameTooLong));
    }

    proptest! {
        #[test]
        fn what_comes_out_are_plain_names(path in "[a./\\x00é]{0,20}") {
            if let Ok(names) = normalise(&path) {
                prop_assert!(names.iter().all(|name| !name.is_empty() && *name != "." && *name != ".." && !name.contains('/')));
            }
        }
    }
}
