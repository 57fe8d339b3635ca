//! JSON that any terminal can show.

use longboat::job::is_unshowable;
use serde::Serialize;
use std::borrow::Cow;

/// A value as indented JSON.
///
/// # Errors
/// If it has no form in JSON.
pub fn json<T: Serialize>(value: &T) -> serde_json::Result<String> {
    let text = serde_json::to_string_pretty(value)?;
    Ok(match shown(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(shown) => shown,
    })
}

/// The same JSON without characters that draw on a terminal, change the direction of text or are invisible.
/// In strings they are escaped. A carriage return between values becomes a space.
pub fn shown(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_hidden) {
        return json.into();
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        match c {
            '\r' => shown.push(' '),
            c if is_hidden(c) => shown.push_str(&escaped(c)),
            c => shown.push(c),
        }
    }
    shown.into()
}

/// Line breaks and tabs stand between values only, and are harmless. YAML has no U+FFFE and U+FFFF.
fn is_hidden(c: char) -> bool {
    (is_unshowable(c) && !matches!(c, '\n' | '\t')) || matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn escaped(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    #[test]
    fn json_escapes_hidden_characters_and_keeps_the_value() {
        let hidden: String = (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| is_hidden(*c)).collect();
        assert!(hidden.contains('\u{9b}') && hidden.contains('\u{7f}') && hidden.contains('\u{202e}'));
        let value = serde_json::json!({ "a": format!("{hidden}\n\t\r\u{1b}[31m"), &hidden: ["b", "ü", "😀"] });
        let text = json(&value).unwrap();
        assert!(!text.chars().any(is_hidden), "{text}");
        assert!(text.contains("ü") && text.contains("😀"), "visible characters stay");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
        // An algorithm's result keeps its white space.
        let raw = RawValue::from_string("{\"a\":\r\n\t1,\r\"b\":\"\u{9b}\"}".to_owned()).unwrap();
        assert_eq!(json(&raw).unwrap(), "{\"a\": \n\t1, \"b\":\"\\u009b\"}");
    }
}
