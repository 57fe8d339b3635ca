//! The documents that guests return.

use crate::guest::{DOCUMENT, compile_own, endure};
use crate::wasi::ECHO;
use crate::{Target, texts};
use longboat::job::Verdict;
use longboat::sandbox::Program;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// As deep as the README's readers are told that a result is.
const DEEPEST: usize = 100;

static GUEST: LazyLock<Arc<Program>> = LazyLock::new(|| compile_own(ECHO));

/// Returned documents.
pub const TARGET: Target = Target {
    name: "returned",
    check,
    cases: 1_500,
    largest: 20_000,
    samples: || {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let (deepest, too_deep, large) = (deep(DEEPEST), deep(DEEPEST + 1), format!("\"{}\"", "x".repeat(17_000)));
        let plain = r#"{"method":"mstl","values":[1,2.5e-3,-0,null,true],"text":"é\n\ud83d\ude00 \"[{"}"#;
        texts([plain, "null\n", " [1, 2] ", "\"\"", &deepest, &too_deep, &large])
    },
    words: super::document::WORDS,
    reached: &["done", "bad-result", "result-quota"],
};

/// A guest that returns these bytes is done if they are JSON within the bounds, and only then, with just that result.
pub fn check(bytes: &[u8]) -> &'static str {
    let ended = endure(&GUEST, bytes.to_vec());
    let is_json = serde_json::from_slice::<IgnoredAny>(bytes).is_ok() && str::from_utf8(bytes).is_ok();
    assert!(is_json || !ended.verdict.is_done(), "{:?}", ended.verdict);
    if let Some(depth) = depth(bytes).filter(|_| bytes.len() as u64 <= DOCUMENT) {
        assert_eq!(ended.verdict.is_done(), depth <= DEEPEST, "{:?}, where the depth is {depth}", ended.verdict);
    }
    match (&ended.verdict, &ended.result) {
        (Verdict::Done, Some(json)) => {
            let trimmed = bytes.trim_ascii();
            assert!(json.as_bytes() == trimmed, "what is published is what was returned");
        }
        (Verdict::BadResult { message }, _) => assert!(!message.contains(char::is_control), "{message:?}"),
        _ => {}
    }
    ended.verdict.kind()
}

/// How deep a JSON text is, if serde_json can hold it, as it cannot hold 1e400 or half of a surrogate pair.
fn depth(json: &[u8]) -> Option<usize> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let (mut deepest, mut waiting) = (0, vec![(&value, 0)]);
    while let Some((value, depth)) = waiting.pop() {
        deepest = deepest.max(depth + usize::from(value.is_array() || value.is_object()));
        match value {
            Value::Array(values) => waiting.extend(values.iter().map(|value| (value, depth + 1))),
            Value::Object(values) => waiting.extend(values.values().map(|value| (value, depth + 1))),
            _ => {}
        }
    }
    Some(deepest)
}
