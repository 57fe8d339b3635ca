//! What the benches share: contenders, which criterion measures alone and a contest measures in turn; guests and whole
//! nodes to measure; and tables for people.

pub mod claimant;
pub mod contest;
pub mod guest;
pub mod hostile;
pub mod network;
pub mod node;
pub mod noop;
pub mod table;
