//! Why a case has no solution; every message names the element.

use crate::case::BusId;

/// What is wrong with params or case, or why the equations could not be solved; none is mended by another try.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A param outside its range.
    #[error("the param `{name}` is {value}, and must be within {allowed}")]
    Param {
        /// The param.
        name: &'static str,
        /// What was given.
        value: String,
        /// The range.
        allowed: String,
    },
    /// Not JSON of the expected shape.
    #[error("the input is not a case: at `{path}`: {reason}")]
    Shape {
        /// Where in the document, such as `branch[3].x_pu`.
        path: String,
        /// What the parser found there.
        reason: String,
    },
    /// More than is accepted.
    #[error("the case has more than {limit} {what}, the most that is accepted")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The most that is accepted.
        limit: u64,
    },
    /// A number outside its range.
    #[error("{element}: `{field}` is {value}, and must be within {allowed}")]
    Value {
        /// The element, such as `branch[3] (1 to 5)`.
        element: String,
        /// The field.
        field: &'static str,
        /// What was given.
        value: f64,
        /// The range.
        allowed: String,
    },
    /// A text id that is too long.
    #[error("bus[{position}]: the id has {length} bytes, and at most {limit} are accepted")]
    LongId {
        /// Position in `bus`.
        position: usize,
        /// Bytes found.
        length: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// No buses at all.
    #[error("the case has no buses: `bus` is empty")]
    NoBuses,
    /// The same id twice.
    #[error("bus {id} is there twice, as bus[{first}] and bus[{second}]: give each bus an id of its own")]
    DuplicateBus {
        /// The id.
        id: BusId,
        /// Position of the first in `bus`.
        first: usize,
        /// Position of the second.
        second: usize,
    },
    /// No reference.
    #[error("the case has no slack bus: give exactly one bus the type `slack`")]
    NoSlack,
    /// Two references.
    #[error("bus {first} and bus {second} are both of type `slack`: keep one and make the other `pv`")]
    SeveralSlacks {
        /// The first in the order of the input.
        first: BusId,
        /// The second.
        second: BusId,
    },
    /// A reference to a bus that is not there.
    #[error("{element} names bus {id}, and there is no such bus")]
    UnknownBus {
        /// The element that refers to it.
        element: String,
        /// The id.
        id: BusId,
    },
    /// Both ends at one bus.
    #[error("{element} begins and ends at the same bus: remove it")]
    SelfLoop {
        /// The branch.
        element: String,
    },
    /// No series impedance to speak of.
    #[error(
        "{element} has a series impedance of {impedance:e} p.u., and at least {least:e} is needed: merge its two buses"
    )]
    ZeroImpedance {
        /// The branch.
        element: String,
        /// |r + jx| in p.u.
        impedance: f64,
        /// The least that is accepted.
        least: f64,
    },
    /// Nothing holds the voltage.
    #[error("bus {id} is of type `{kind}`, and no generator {why}: add one, or make it a `pq` bus")]
    NoSetPoint {
        /// The bus.
        id: BusId,
        /// Its type.
        kind: &'static str,
        /// What is missing.
        why: &'static str,
    },
    /// A generator that should hold a voltage does not say which.
    #[error("{element} holds the voltage of its bus and has no `vm_pu`")]
    MissingSetPoint {
        /// The generator.
        element: String,
    },
    /// Generators of one bus that want different voltages.
    #[error("{first} and {second} want {first_vm} and {second_vm} p.u. at the same bus: give them one `vm_pu`")]
    SetPointsDiffer {
        /// The first generator.
        first: String,
        /// Another one at its bus.
        second: String,
        /// What the first asks for.
        first_vm: f64,
        /// What the other asks for.
        second_vm: f64,
    },
    /// Buses that the slack bus does not supply.
    #[error(
        "{count} of {buses} buses, bus {example} among them, are not connected to the slack bus {slack} by branches \
         in service: connect them or leave them out"
    )]
    Island {
        /// The first of them in the order of the input.
        example: BusId,
        /// How many they are.
        count: usize,
        /// All buses.
        buses: usize,
        /// The slack bus.
        slack: BusId,
    },
    /// The iteration did not reach the tolerance.
    #[error(
        "the load flow diverged ({tried}): {reason} after {iterations} iterations, with the largest mismatch, \
         {mismatch:.3e} p.u. of {power} power, at bus {bus}; the case may ask for more than the network can carry"
    )]
    Diverged {
        /// The starts that were tried.
        tried: String,
        /// What ended the last one.
        reason: &'static str,
        /// Steps made from the last start.
        iterations: usize,
        /// The largest mismatch then, in p.u.
        mismatch: f64,
        /// `active` or `reactive`.
        power: &'static str,
        /// Where it is.
        bus: BusId,
    },
    /// The factors do not fit.
    #[error("the factors of the Jacobian do not fit into memory: raise the job's `memory` limit")]
    OutOfMemory,
}
