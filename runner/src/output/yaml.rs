//! YAML that readers of YAML 1.1 and of 1.2 take for the same document.
//!
//! The two do not agree on what a word without quotes is: `on` may be a boolean, `12:34` a number and `=` a
//! value of its own. `yaml_serde` writes for readers of 1.2 and cannot be told to quote more. JSON's strings
//! are YAML's too, so `serde_json` does the writing here, and its indented form only gets YAML's layout.

use super::json::shown;
use std::borrow::Cow;
use std::iter::repeat_n;

/// Words that stand for something else.
const TAKEN: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
/// A reader looks for the end of a key in 1,024 bytes only, unless a question mark announces the key.
const LONG_KEY: usize = 120;

/// The same document as YAML, with its fields in the same order.
///
/// # Errors
/// If there is a number in it that cannot be read, such as 1e400.
pub fn yaml(json: &str) -> serde_json::Result<String> {
    let mut indented = Vec::with_capacity(json.len() * 2);
    let mut to = serde_json::Serializer::pretty(&mut indented);
    serde_transcode::transcode(&mut serde_json::Deserializer::from_str(json), &mut to)?;
    let indented = String::from_utf8_lossy(&indented);
    let mut text = String::with_capacity(indented.len());
    // The collections around a line: the indent of their entries, and whether these are elements of an
    // array.
    let mut around: Vec<(usize, bool)> = Vec::new();
    let mut is_after_dash = false;
    for line in indented.lines().map(|line| line.trim_start().trim_end_matches(',')) {
        if matches!(line, "}" | "]") {
            around.pop();
            continue;
        }
        let place = around.last().copied();
        let (indent, is_element) = place.unwrap_or((0, false));
        text.extend(repeat_n(' ', if is_after_dash { 0 } else { indent }));
        let (key, value) = if place.is_some() && !is_element { split(line) } else { (None, line) };
        if let Some(key) = key.map(scalar) {
            let is_long = key.len() > LONG_KEY;
            text.extend([if is_long { "? " } else { "" }, &*key]);
            if is_long {
                text.push('\n');
                text.extend(repeat_n(' ', indent));
            }
            text.push(':');
        }
        let is_array = value == "[";
        let begins = is_array || value == "{";
        let before = match key {
            _ if is_element => "- ",
            Some(_) if !begins => " ",
            _ => "",
        };
        text.push_str(before);
        if !begins {
            text.push_str(&scalar(value));
        }
        if !begins || key.is_some() {
            text.push('\n');
        }
        if begins {
            // An array may stand at the indent of its own key.
            let is_deeper = is_element || (key.is_some() && !is_array);
            around.push((if is_deeper { indent + 2 } else { indent }, is_array));
        }
        is_after_dash = begins && is_element;
    }
    Ok(text)
}

/// The key of a line, and what stands after it.
fn split(line: &str) -> (Option<&str>, &str) {
    let mut is_escaped = false;
    let end = line.char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    end.map_or((None, line), |(end, _)| (Some(&line[..=end]), line[end + 1..].trim_start_matches([':', ' '])))
}

/// A text without quotes if every reader takes it for a text; a number with a fraction and a signed
/// exponent, since YAML 1.1 takes it for a text otherwise.
fn scalar(json: &str) -> Cow<'_, str> {
    if let Some(text) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || " _./-".contains(c))
            && !text.ends_with(' ')
            && !TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(text));
        return if is_word { text.into() } else { shown(json) };
    }
    let Some((digits, exponent)) = json.split_once('e').filter(|_| !matches!(json, "true" | "false")) else {
        return json.into();
    };
    let fraction = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{fraction}e{sign}{exponent}").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn what_yaml_1_1_takes_for_another_type_stands_in_quotes() {
        let doubtful = [
            "",
            "y",
            "No",
            "ON",
            "off",
            "true",
            "Null",
            "~",
            "=",
            "<<",
            "1_000",
            "1:30",
            "12:34:56",
            "190:20:30.15",
            "2026-11-22",
            "2026-11-22T10:00:00Z",
            "0x1f",
            "0b1",
            "017",
            "0o17",
            "+1",
            "1e3",
            ".5",
            ".inf",
            ".NaN",
            "-",
            "- a",
            "a: b",
            "a #b",
            "a ",
            " a",
            "[a]",
            "{a}",
            "*a",
            "&a",
            "!a",
            "|",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"a\"",
            "a,b",
            "über",
            "\u{9b}31m",
            "a\nb",
            "\u{ffff}",
        ];
        for text in doubtful {
            let json = json!(text).to_string();
            assert_eq!(scalar(&json), shown(&json), "{text:?}");
        }
        for text in ["forecast", "drunken-sailor", "out of memory", "a.b/c_d", "Yesterday"] {
            assert_eq!(scalar(&json!(text).to_string()), text);
        }
        let numbers = [0.5, 1e16, 1.5e300, 1e-7, -0.0].map(|number| scalar(&json!(number).to_string()).into_owned());
        assert_eq!(numbers, ["0.5", "1.0e+16", "1.5e+300", "1.0e-7", "-0.0"]);
    }

    #[test]
    fn collections_are_laid_out_as_people_write_them() {
        let json = r#"{"b":{"x":[1,[2,[]],{"w":null,"z":[true]}]},"a":[],"c":{},"d":{"e":"two words"}}"#;
        let expected =
            "b:\n  x:\n  - 1\n  - - 2\n    - []\n  - w: null\n    z:\n    - true\na: []\nc: {}\nd:\n  e: two words\n";
        assert_eq!(yaml(json).unwrap(), expected);
        assert_eq!((yaml("\"on\"").unwrap(), yaml("[{}]").unwrap()), ("\"on\"\n".to_owned(), "- {}\n".to_owned()));
        assert!(yaml("1e400").is_err());
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof![any::<String>(), "[ -~]{0,8}", "[a-zA-Z]{120,130}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn text_without_quotes_is_text_in_yaml_1_1(text in "[a-zA-Z0-9 :._/~=<+-]{0,6}|[yYnN]|[a-zA-Z]{2,5}") {
            let json = json!(text).to_string();
            if scalar(&json) != json {
                // Numbers, dates, `~`, `=` and `<<` do not begin with a letter. These do.
                prop_assert!(text.starts_with(|c: char| c.is_ascii_alphabetic()), "{text}");
                let lower = text.to_lowercase();
                let truths = ["y", "yes", "on", "true", "n", "no", "off", "false", "null"];
                prop_assert!(!truths.contains(&lower.as_str()) && !text.contains([':', '#']), "{text}");
            }
        }

        #[test]
        fn yaml_is_read_as_the_same_document(value in any_json()) {
            let text = yaml(&value.to_string()).unwrap();
            let read: Value = yaml_serde::from_str(&text).unwrap();
            prop_assert_eq!(&read, &value, "{}", text);
        }
    }
}
