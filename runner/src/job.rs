//! The data model: what is asked for, what happened to it, and what follows from that.
//!
//! A [`Document`] is what a submitter writes. A queue keeps it in a [`Record`] and hands it to a worker as a
//! [`Job`]. An attempt ends in a [`Verdict`]; [`decide`] says what becomes of the job; what readers get is a
//! [`ResultDocument`].

mod batch;
mod decide;
mod digest;
mod document;
mod limits;
mod names;
mod outcome;
mod quantity;
mod record;
mod timestamp;
mod verdict;

pub use batch::{BatchError, MAX_JOBS, read_jobs};
pub use decide::{Decision, Standing, backoff, decide};
pub use digest::Digest;
pub use document::{Document, DocumentError, Input, Job, MAX_DOCUMENT, MAX_PARAMS, Unique, UniqueFor};
pub use limits::{AboveCeiling, LimitName, Limits, LimitsRequest, Usage};
pub(crate) use names::excerpt;
pub use names::{AlgorithmName, AlgorithmRef, JobId, NameError, Tube};
pub use names::{check_label, is_unshowable};
pub use outcome::{FileEntry, Provenance, ResultDocument, Shape};
pub use quantity::{Span, When, parse_fuel, parse_size};
pub use record::{AttemptRecord, DeliveryRecord, DeliveryState, Progress, Record, State};
pub use verdict::{Class, Exceeded, Excess, Verdict};
