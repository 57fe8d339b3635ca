//! The targets, one reader of foreign bytes each.

pub mod beanstalkd;
pub mod calls;
pub mod config;
pub mod data_url;
pub mod document;
pub mod import;
pub mod jobs;
pub mod module;
pub mod name;
pub mod program;
pub mod quantity;
pub mod request;
pub mod response;
pub mod returned;
pub mod rule;
pub mod tree;
