//! One line of the table: who does what under which limits, and how that must end.

use serde_json::{Map, Value, json};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// What a guest does, and how that must end.
#[derive(Debug, Clone)]
pub struct Row {
    /// The name under which its module is registered.
    pub guest: &'static str,
    params: Map<String, Value>,
    limits: Limits,
    share: Option<u64>,
    input: Option<Input>,
    /// How it must end.
    pub ends: Ends,
}

/// What an attempt may use: little, so that meeting a limit takes little time, and of each something else, so that none
/// can be taken for another.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub fuel: u64,
    pub memory: u64,
    pub result_size: u64,
    pub result_files: u64,
    pub document_size: u64,
    pub log_size: u64,
    pub input_size: u64,
    pub ttr_ms: u64,
}

/// So much time that what is to end at another limit does so on a busy machine too.
const LIMITS: Limits = Limits {
    fuel: 300_000_000,
    memory: 16 * MIB,
    result_size: MIB,
    result_files: 50,
    document_size: 64 * KIB,
    log_size: 16 * KIB,
    input_size: 2 * MIB,
    ttr_ms: 60_000,
};

/// Where a job's input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// 64 KiB that are there at once.
    Ready,
    /// A server that sends more and more.
    Endless,
    /// A server that sends a byte now and then.
    Trickle,
}

/// How an attempt must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    Done,
    /// With an exit code, if it exited, and whether for good.
    Failed(Option<u32>, bool),
    Trapped,
    BadResult,
    /// Since it is too large.
    InputUnavailable,
    OutOfFuel,
    OutOfMemory,
    Deadline,
    /// At `result_size`, `result_files` or `document_size`.
    Quota(&'static str),
}

impl Ends {
    /// The verdict's kind.
    pub fn kind(self) -> &'static str {
        match self {
            Ends::Done => "done",
            Ends::Failed(..) => "failed",
            Ends::Trapped => "trapped",
            Ends::BadResult => "bad-result",
            Ends::InputUnavailable => "input-unavailable",
            Ends::OutOfFuel => "out-of-fuel",
            Ends::OutOfMemory => "out-of-memory",
            Ends::Deadline => "deadline",
            Ends::Quota(_) => "result-quota",
        }
    }

    /// The limit that the verdict names.
    pub fn limit(self) -> Option<&'static str> {
        match self {
            Ends::OutOfFuel => Some("fuel"),
            Ends::OutOfMemory => Some("memory"),
            Ends::Deadline => Some("ttr"),
            Ends::InputUnavailable => Some("input_size"),
            Ends::Quota(limit) => Some(limit),
            Ends::Done | Ends::Failed(..) | Ends::Trapped | Ends::BadResult => None,
        }
    }
}

impl Row {
    /// A guest that ends so, without params.
    pub fn new(guest: &'static str, ends: Ends) -> Self {
        let mut limits = LIMITS;
        if ends == Ends::Deadline {
            (limits.fuel, limits.ttr_ms) = (1_000_000_000_000, 400);
        }
        Self { guest, params: Map::new(), limits, share: None, input: None, ends }
    }

    /// With a share of its memory that one thing may have, which it meets before the limit.
    pub fn sharing(mut self, share: u64) -> Self {
        self.share = Some(share);
        self
    }

    /// The same for another guest.
    pub fn of(self, guest: &'static str) -> Self {
        Self { guest, ..self }
    }

    /// With a param.
    pub fn with(mut self, param: &str, value: impl Into<Value>) -> Self {
        self.params.insert(param.to_owned(), value.into());
        self
    }

    /// With other limits.
    pub fn limited(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// With an input.
    pub fn reading(mut self, input: Input) -> Self {
        self.input = Some(input);
        self
    }

    /// What the attempt may use.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// What the limit that the verdict names allows.
    pub fn allowed(&self) -> Option<u64> {
        let limits = self.limits;
        self.ends.limit().map(|limit| match limit {
            "fuel" => limits.fuel,
            "memory" => self.share.unwrap_or(limits.memory),
            "result_size" => limits.result_size,
            "result_files" => limits.result_files,
            "document_size" => limits.document_size,
            "input_size" => limits.input_size,
            _ => limits.ttr_ms,
        })
    }

    /// The job document, for one attempt only.
    pub fn job(&self, server: std::net::SocketAddr) -> Value {
        let limits = self.limits;
        let mut job = json!({
            "algorithm": self.guest,
            "params": self.params,
            "max_attempts": 1,
            "ttr": format!("{}ms", limits.ttr_ms),
            "limits": {
                "fuel": limits.fuel, "memory": limits.memory, "result_size": limits.result_size,
                "result_files": limits.result_files, "document_size": limits.document_size,
                "log_size": limits.log_size, "input_size": limits.input_size,
            },
        });
        if let Some(input) = self.input {
            job["input"] = match input {
                Input::Ready => json!(format!("data:,{}", "x".repeat(64 << 10))),
                Input::Endless => json!(format!("http://{server}/endless")),
                Input::Trickle => json!(format!("http://{server}/trickle")),
            };
        }
        job
    }
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.guest, Value::Object(self.params.clone()))
    }
}
