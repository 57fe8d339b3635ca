//! From the way a guest's call came back to a verdict.

use super::host::{AlgorithmError, Exit, MAX_HANDLES, Remains};
use super::limits::Refusal;
use super::stop::Stop;
use super::tree::HostFault;
use crate::job::{Excess, LimitName, Limits, Verdict, is_unshowable};
use serde_json::value::RawValue;
use wasmtime::Trap;
use wasmtime::component::ResourceTableError;

/// The exit code by which a command says that every attempt would fail (`EX_DATAERR` of sysexits.h).
const EX_DATAERR: u32 = 65;

/// How deep a result may be nested: readers that recurse, as most JSON parsers do, take somewhat more than
/// this.
const MAX_DEPTH: usize = 100;
/// How many functions of a trap's backtrace are named.
const MAX_FRAMES: usize = 6;

/// How many characters of a function's name are looked at.
const MAX_NAME: usize = 300;

/// What a guest may hand to the host in one call, beside a document, in bytes.
pub(super) const MAX_ARGUMENTS: u64 = 256 << 10;

/// How a guest's call came back.
#[derive(Debug)]
pub(super) enum Ending {
    /// An algorithm returned.
    Returned(Result<String, AlgorithmError>),
    /// A program ended itself.
    Exited(u32),
    /// WebAssembly did not let it go on.
    Trapped(Trap, String),
    /// It was stopped, with this verdict.
    Stopped(Verdict),
    /// It returned more than was to be copied.
    Overflowed,
    /// The host could not keep or read the guest's bytes, which is no fault of the guest.
    HostFailed(HostFault),
    /// Anything else that ended the call, such as a broken rule of an interface.
    Broken(String),
}

impl Ending {
    pub(super) fn from_error(error: &wasmtime::Error, limits: &Limits, stop: &Stop) -> Self {
        if let Some(Exit(code)) = error.downcast_ref() {
            return Ending::Exited(*code);
        }
        if let Some(reason) = error.downcast_ref() {
            return Ending::Stopped(stop.verdict(*reason, limits));
        }
        if let Some(fault) = error.downcast_ref() {
            return Ending::HostFailed(*fault);
        }
        if let Some(trap) = error.downcast_ref::<Trap>() {
            return Ending::Trapped(*trap, describe(error));
        }
        let message = format!("{:#}", error.root_cause());
        // The error's type is private to wasmtime, so a test holds its words. What a guest returns is copied
        // outside of any of its functions; within one it is an argument of a host call that is too large.
        let is_outside = error.downcast_ref::<wasmtime::WasmBacktrace>().is_none();
        if message.contains("fuel allocated for hostcalls") {
            if is_outside {
                return Ending::Overflowed;
            }
            let most = LimitName::DocumentSize.display(limits.document_size.saturating_add(MAX_ARGUMENTS));
            return Ending::Broken(format!("it handed the host more in one call than is taken: {most}"));
        }
        let is_full = matches!(error.downcast_ref(), Some(ResourceTableError::Full));
        if is_full || message.contains("store handle limit exceeded") {
            return Ending::Broken(format!(
                "it holds {MAX_HANDLES} handles (files, streams, timers), the most that a guest may hold at once"
            ));
        }
        Ending::Broken(message)
    }

    /// Whether all of the guest's fuel is accounted for: it came to an end of its own, or there is none
    /// left.
    pub(super) fn is_orderly(&self) -> bool {
        matches!(self, Ending::Returned(_) | Ending::Exited(_) | Ending::Trapped(Trap::OutOfFuel, _))
    }

    /// The verdict, and the result if the guest is done.
    pub(super) fn judge(self, remains: &Remains, limits: &Limits) -> (Verdict, Option<String>) {
        let refused = remains.memory.refused().or_else(|| remains.tree.quota.refused());
        let verdict = match self {
            Ending::Stopped(verdict) => verdict,
            Ending::HostFailed(fault) => Verdict::HostError { message: fault.to_string() },
            Ending::Trapped(Trap::OutOfFuel, _) => out_of_fuel(limits),
            Ending::Overflowed => over_document(limits, limits.document_size.saturating_add(1)),
            Ending::Returned(Ok(json)) => return document(json.into_bytes(), limits),
            Ending::Exited(0) => match remains.document_refused {
                // What was cut short may look like a whole document, if the program did not look whether its
                // writes went well.
                Some(refusal) => too_large(refusal),
                None => return document(remains.stdout.clone().unwrap_or_default(), limits),
            },
            ending => match refused {
                Some(refusal) => over_limit(refusal, &ending),
                None => ending.failed(),
            },
        };
        (verdict, None)
    }

    fn failed(self) -> Verdict {
        match self {
            Ending::Returned(Err(AlgorithmError { message, permanent })) => {
                Verdict::Failed { message, permanent, exit_code: None }
            }
            Ending::Exited(code) => Verdict::Failed {
                message: format!("the algorithm exited with code {code}"),
                permanent: code == EX_DATAERR,
                exit_code: Some(code),
            },
            Ending::Trapped(_, message) | Ending::Broken(message) => Verdict::Trapped { message },
            Ending::Returned(Ok(_)) | Ending::Stopped(_) | Ending::HostFailed(_) | Ending::Overflowed => {
                Verdict::HostError { message: "an ending was judged twice".to_owned() }
            }
        }
    }
}

fn out_of_fuel(limits: &Limits) -> Verdict {
    Verdict::OutOfFuel(Excess {
        limit: LimitName::Fuel,
        allowed: limits.fuel,
        observed: limits.fuel,
        message: format!(
            "it used up all {} units of fuel that its limit `fuel` allows without coming to an end",
            limits.fuel
        ),
    })
}

fn over_document(limits: &Limits, observed: u64) -> Verdict {
    too_large(Refusal { limit: LimitName::DocumentSize, allowed: limits.document_size, observed, share: "" })
}

fn too_large(refusal: Refusal) -> Verdict {
    Verdict::ResultQuota(refusal.excess("the returned document is too large"))
}

fn over_limit(refusal: Refusal, ending: &Ending) -> Verdict {
    let how = match ending {
        Ending::Returned(_) => "it reported an error",
        Ending::Exited(_) => "it exited with an error",
        Ending::Trapped(..) => "it trapped",
        _ => "it could not go on",
    };
    match refusal.limit {
        LimitName::Memory => Verdict::OutOfMemory(refusal.excess(&format!("{how} after it was refused memory"))),
        _ => Verdict::ResultQuota(refusal.excess(&format!("{how} after a write was refused"))),
    }
}

fn document(bytes: Vec<u8>, limits: &Limits) -> (Verdict, Option<String>) {
    let observed = bytes.len() as u64;
    if observed > limits.document_size {
        return (over_document(limits, observed), None);
    }
    let checked = String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()).and_then(|text| {
        if text.trim().is_empty() {
            return Err("nothing was returned, where JSON is needed".to_owned());
        }
        serde_json::from_str::<&RawValue>(&text).map_err(|error| error.to_string())?;
        let depth = depth(&text);
        if depth > MAX_DEPTH {
            return Err(format!("it is nested {depth} levels deep, where {MAX_DEPTH} are allowed"));
        }
        Ok(text.trim().to_owned())
    });
    match checked {
        Ok(text) => (Verdict::Done, Some(text)),
        Err(reason) => (Verdict::BadResult { message: format!("what it returned is not JSON: {reason}") }, None),
    }
}

/// How deep the arrays and objects of a JSON text are nested.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What a trap is, and where in the guest it happened.
fn describe(error: &wasmtime::Error) -> String {
    let trap = error.root_cause().to_string();
    let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
    let frames = error.downcast_ref::<wasmtime::WasmBacktrace>().map_or(&[][..], wasmtime::WasmBacktrace::frames);
    let names = frames.iter().filter_map(wasmtime::FrameInfo::func_name).take(MAX_FRAMES);
    let names = names.map(function_name).collect::<Vec<_>>();
    if names.is_empty() { trap.to_owned() } else { format!("{trap} in {}", names.join(" < ")) }
}

/// A function's name as people read it; the module may call it anything, at any length.
fn function_name(name: &str) -> String {
    let name: String = name.chars().filter(|c| !is_unshowable(*c)).take(MAX_NAME).collect();
    format!("{:#}", rustc_demangle::demangle(&name))
}
