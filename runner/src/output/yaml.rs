//! JSON in the layout of YAML, which readers of YAML 1.1 and of 1.2 take for the same.
//!
//! They do not agree on what a word without quotes is: `on` may be a truth, `12:34` a number and `=` a value of its own.
//! So whatever is not plainly a word is written as in JSON, quotes included.

use super::json::shown;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Words that stand for something else.
const TAKEN: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
/// Readers do not look for the end of a longer key unless they are told that there is one.
const LONG_KEY: usize = 120;

/// The same document as YAML, with its fields in the same order.
///
/// # Errors
/// If there is a number in it that cannot be read, such as 1e400.
pub fn yaml(json: &str) -> serde_json::Result<String> {
    let mut text = String::new();
    let document = Node { text: &mut text, indent: 0, after: After::Nothing };
    document.deserialize(&mut serde_json::Deserializer::from_str(json))?;
    Ok(text)
}

/// What stands before a value on its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Key,
    Dash,
}

/// A value that is still to be read, and where it is written.
struct Node<'t> {
    text: &'t mut String,
    /// Where the lines of what it is part of begin.
    indent: usize,
    after: After,
}

impl Node<'_> {
    fn scalar<E>(self, text: &str) -> Result<(), E> {
        let space = if self.after == After::Key { " " } else { "" };
        self.text.extend([space, text, "\n"]);
        Ok(())
    }

    /// Begins the line of an entry of this collection.
    fn begin(&mut self, is_first: bool, indent: usize) {
        match (is_first, self.after) {
            (true, After::Nothing | After::Dash) => return,
            (true, After::Key) => self.text.push('\n'),
            (false, _) => {}
        }
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar("null")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(if value { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(&string(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        let indent = if self.after == After::Dash { self.indent + 2 } else { self.indent };
        let mut is_empty = true;
        while elements.next_element_seed(Element { of: &mut self, is_first: is_empty, indent })?.is_some() {
            is_empty = false;
        }
        if is_empty { self.scalar("[]") } else { Ok(()) }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let indent = if self.after == After::Nothing { 0 } else { self.indent + 2 };
        let mut is_empty = true;
        while let Some(key) = fields.next_key::<String>()? {
            self.begin(is_empty, indent);
            let key = string(&key);
            if key.len() > LONG_KEY {
                self.text.extend(["? ", &*key, "\n"]);
                self.text.extend(std::iter::repeat_n(' ', indent));
            } else {
                self.text.push_str(&key);
            }
            self.text.push(':');
            fields.next_value_seed(Node { text: &mut *self.text, indent, after: After::Key })?;
            is_empty = false;
        }
        if is_empty { self.scalar("{}") } else { Ok(()) }
    }
}

/// The next element of a sequence, if there is one.
struct Element<'n, 't> {
    of: &'n mut Node<'t>,
    is_first: bool,
    indent: usize,
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        let Self { of, is_first, indent } = self;
        of.begin(is_first, indent);
        of.text.push_str("- ");
        Node { text: &mut *of.text, indent, after: After::Dash }.deserialize(from)
    }
}

/// A text, in quotes unless everybody takes it for one without.
fn string(text: &str) -> Cow<'_, str> {
    let is_word = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || " _./-".contains(c))
        && !text.ends_with(' ');
    if is_word && !TAKEN.iter().any(|taken| taken.eq_ignore_ascii_case(text)) {
        return text.into();
    }
    shown(&serde_json::Value::from(text).to_string()).into_owned().into()
}

/// A number with a fraction, and with a sign before the exponent: without them YAML 1.1 takes it for a text.
fn number(value: f64) -> String {
    let text = serde_json::Value::from(value).to_string();
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let fraction = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with(['-', '+']) { "" } else { "+" };
    format!("{digits}{fraction}e{sign}{exponent}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn what_readers_of_yaml_1_1_take_for_something_else_stands_in_quotes() {
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
            "12:34:56",
            "2026-11-22",
            "0x1f",
            "1e3",
            ".5",
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
            assert_eq!(string(text), shown(&json!(text).to_string()), "{text:?}");
        }
        for text in ["forecast", "drunken-sailor", "out of memory", "a.b/c_d", "Yesterday"] {
            assert_eq!(string(text), text);
        }
        let numbers = [0.5, 1e16, 1.5e300, 1e-7, -0.0].map(number);
        assert_eq!(numbers, ["0.5", "1.0e+16", "1.5e+300", "1.0e-7", "-0.0"]);
    }

    #[test]
    fn collections_stand_in_each_other_as_people_write_them() {
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
        fn it_is_read_as_the_same_document(value in any_json()) {
            let text = yaml(&value.to_string()).unwrap();
            let read: Value = yaml_serde::from_str(&text).unwrap();
            prop_assert_eq!(&read, &value, "{}", text);
        }
    }
}
