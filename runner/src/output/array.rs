//! An array that is printed while it is made, so that its length costs no memory.

use super::{json, shown, write, yaml};
use crate::cli::Format;
use serde::Serialize;

/// An array on standard output, in JSON or YAML.
#[derive(Debug)]
pub struct Array {
    format: Format,
    is_empty: bool,
    /// Whether its end is still to be printed, for it to be read.
    is_open: bool,
}

impl Array {
    /// One without elements so far, and with nothing printed.
    pub fn new(format: Format) -> Self {
        Self { format, is_empty: true, is_open: false }
    }

    /// Prints these elements next; whether anybody still reads.
    ///
    /// # Errors
    /// Standard output's.
    pub fn extend<T: Serialize>(&mut self, elements: &[T]) -> anyhow::Result<bool> {
        let mut text = String::new();
        for element in elements {
            self.append(element, &mut text)?;
        }
        let is_wanted = write(text.as_bytes())?;
        self.is_open = self.format != Format::Yaml && !self.is_empty;
        Ok(is_wanted)
    }

    fn append(&mut self, element: &impl Serialize, text: &mut String) -> anyhow::Result<()> {
        if self.format == Format::Yaml {
            // A sequence of one element is, without more, a part of a longer one.
            let json = serde_json::to_string(element)?;
            text.push_str(&yaml(&format!("[{json}]")).unwrap_or_else(|_| format!("- {}\n", shown(&json))));
        } else {
            let json = json(element)?;
            text.push_str(if self.is_empty { "[" } else { "," });
            // No text in JSON has a line break of its own.
            json.lines().for_each(|line| text.extend(["\n  ", line]));
        }
        self.is_empty = false;
        Ok(())
    }

    /// Prints its end.
    ///
    /// # Errors
    /// Standard output's.
    pub fn end(mut self) -> anyhow::Result<()> {
        self.close()?;
        if self.is_empty {
            write(b"[]\n")?;
        }
        Ok(())
    }

    /// Closes it if it was begun and is open.
    fn close(&mut self) -> anyhow::Result<()> {
        if !self.is_open {
            return Ok(());
        }
        self.is_open = false;
        write(b"\n]\n").map(drop)
    }
}

/// What breaks off leaves an array that can be read, as far as it has come.
impl Drop for Array {
    fn drop(&mut self) {
        // Whatever broke it off is the error that is told.
        let _ = self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The whole of an array of these elements.
    fn whole(format: Format, elements: &[serde_json::Value]) -> String {
        let mut array = Array::new(format);
        let mut text = String::new();
        elements.iter().for_each(|element| array.append(element, &mut text).unwrap());
        array.is_open = false;
        if format == Format::Json { text + "\n]" } else { text }
    }

    #[test]
    fn in_parts_it_is_what_it_would_be_at_once() {
        let elements = [json!({"a": "line\nbreak", "b": [1, {}]}), json!("x"), json!({"n": null})];
        assert_eq!(whole(Format::Json, &elements), serde_json::to_string_pretty(&elements).unwrap());
        let yaml: serde_json::Value = yaml_serde::from_str(&whole(Format::Yaml, &elements)).unwrap();
        assert_eq!(yaml, json!(elements));
    }
}
