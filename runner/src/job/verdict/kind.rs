//! The names of verdicts.

use super::Verdict;

impl Verdict {
    /// The kinds that there are, as JSON spells them.
    pub const KINDS: [&str; 14] = [
        "done",
        "failed",
        "trapped",
        "out-of-fuel",
        "out-of-memory",
        "deadline",
        "result-quota",
        "bad-result",
        "input-unavailable",
        "bad-module",
        "cancelled",
        "interrupted",
        "lost",
        "host-error",
    ];

    /// The kind, as JSON spells it.
    pub fn kind(&self) -> &'static str {
        match self {
            Verdict::Done => "done",
            Verdict::Failed { .. } => "failed",
            Verdict::Trapped { .. } => "trapped",
            Verdict::OutOfFuel(_) => "out-of-fuel",
            Verdict::OutOfMemory(_) => "out-of-memory",
            Verdict::Deadline(_) => "deadline",
            Verdict::ResultQuota(_) => "result-quota",
            Verdict::BadResult { .. } => "bad-result",
            Verdict::InputUnavailable { .. } => "input-unavailable",
            Verdict::BadModule { .. } => "bad-module",
            Verdict::Cancelled { .. } => "cancelled",
            Verdict::Interrupted { .. } => "interrupted",
            Verdict::Lost { .. } => "lost",
            Verdict::HostError { .. } => "host-error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_by_its_name_and_there_are_no_others() {
        for kind in Verdict::KINDS {
            let fields = r#""message":"","limit":"fuel","allowed":0,"observed":0"#;
            let verdict: Verdict = serde_json::from_str(&format!(r#"{{"kind":"{kind}",{fields}}}"#)).unwrap();
            assert_eq!(verdict.kind(), kind);
        }
        let refusal = serde_json::from_str::<Verdict>(r#"{"kind":"x"}"#).unwrap_err().to_string();
        assert_eq!(
            refusal.matches('`').count() / 2,
            1 + Verdict::KINDS.len(),
            "the unknown one and all others: {refusal}"
        );
    }
}
