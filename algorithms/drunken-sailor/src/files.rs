//! Ways to misuse the result directory.

pub mod handles;
pub mod names;
pub mod quota;
