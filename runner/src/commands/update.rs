//! What `longboat update` changes in job documents, as merge patches (RFC 7396).

use super::node::Node;
use super::{Usage, source};
use crate::cli::{ChangeArgs, JobArgs, Unset};
use anyhow::Context;
use clap::ValueEnum;
use longboat::job::{Document, LimitsRequest};
use serde::Serialize;
use serde_json::{Map, Value};

/// The changes that the command line asks for.
#[derive(Debug)]
pub struct Changes {
    /// The patch that is the same for all jobs.
    common: Map<String, Value>,
    own: OwnChanges,
}

/// Changes whose patch depends on the job's document.
#[derive(Debug, Default, PartialEq)]
struct OwnChanges {
    /// Replaces all params.
    params: Option<Map<String, Value>>,
    /// Replaces the params of these names.
    param: Map<String, Value>,
    /// Replaces all inputs.
    input: Option<Value>,
    add_tags: Vec<String>,
    remove_tags: Vec<String>,
}

impl Changes {
    /// Reads the changes from the arguments.
    ///
    /// # Errors
    /// [`Usage`] if there are none or they contradict each other; else if a limit is above the operator's
    /// ceiling, or results may not be sent to the URL.
    pub fn new(node: &Node, job: &JobArgs, args: ChangeArgs) -> anyhow::Result<Self> {
        let limits = job.limits.request();
        let config = &node.config.limits;
        limits.resolve(args.ttr, &config.default, &config.ceiling).context("nothing was done")?;
        if let Some(url) = &args.result_url {
            node.result_policy().check_url(url).context("--result-url")?;
        }
        let own = OwnChanges {
            params: job.params.as_deref().map(|params| source::params(Some(params), &[])).transpose()?,
            param: source::params(None, &job.param)?,
            input: source::urls(&job.inputs)?.map(serde_json::to_value).transpose()?,
            add_tags: args.add_tags.clone(),
            remove_tags: args.remove_tags.clone(),
        };
        let changes = Self { common: common(job, &limits, args)?, own };
        changes.checked()
    }

    fn checked(self) -> anyhow::Result<Self> {
        let own = &self.own;
        let touched = [
            ("params", own.params.is_some() || !own.param.is_empty()),
            ("input", own.input.is_some()),
            ("tags", !own.add_tags.is_empty() || !own.remove_tags.is_empty()),
        ];
        if let Some((field, _)) =
            touched.iter().find(|(field, is_touched)| *is_touched && self.common.contains_key(*field))
        {
            return Err(twice(field).into());
        }
        if self.common.is_empty() && self.own == OwnChanges::default() {
            return Err(Usage("say what to change, such as --priority 10; --help has all of it".to_owned()).into());
        }
        Ok(self)
    }

    /// The patch that is the same for all jobs; nothing if the patch depends on the job's document.
    pub fn common(&self) -> Option<&Map<String, Value>> {
        (self.own == OwnChanges::default()).then_some(&self.common)
    }

    /// The patch for a job with this document.
    ///
    /// # Errors
    /// If a value has no form in JSON.
    pub fn patch(&self, document: &Document) -> anyhow::Result<Map<String, Value>> {
        let own = &self.own;
        let mut patch = self.common.clone();
        if own.params.is_some() || !own.param.is_empty() {
            let mut params = own.params.clone().unwrap_or_else(|| document.params.clone());
            params.extend(own.param.clone());
            patch
                .insert("params".to_owned(), replacing(&Value::Object(document.params.clone()), Value::Object(params)));
        }
        if let Some(input) = &own.input {
            let before = serde_json::to_value(&document.input)?;
            patch.insert("input".to_owned(), replacing(&before, input.clone()));
        }
        if !own.add_tags.is_empty() || !own.remove_tags.is_empty() {
            let mut tags: Vec<_> = document.tags.iter().filter(|tag| !own.remove_tags.contains(tag)).cloned().collect();
            for tag in &own.add_tags {
                if !tags.contains(tag) {
                    tags.push(tag.clone());
                }
            }
            patch.insert("tags".to_owned(), serde_json::to_value(tags)?);
        }
        Ok(patch)
    }
}

fn common(job: &JobArgs, limits: &LimitsRequest, args: ChangeArgs) -> anyhow::Result<Map<String, Value>> {
    let mut patch = Map::new();
    set(&mut patch, "algorithm", args.set_algorithm)?;
    set(&mut patch, "tube", args.set_tube)?;
    set(&mut patch, "host", args.set_host)?;
    set(&mut patch, "tags", Some(args.set_tags).filter(|tags| !tags.is_empty()))?;
    set(&mut patch, "result_url", args.result_url)?;
    set(&mut patch, "priority", args.priority)?;
    set(&mut patch, "expires", args.expires)?;
    set(&mut patch, "ttr", args.ttr)?;
    set(&mut patch, "max_attempts", args.max_attempts)?;
    set(&mut patch, "seed", job.seed)?;
    set(&mut patch, "clock", job.clock)?;
    set(&mut patch, "limits", Some(limits).filter(|limits| **limits != LimitsRequest::default()))?;
    set(&mut patch, "delay", args.delay)?;
    set(&mut patch, "run_at", args.run_at)?;
    for field in args.unset {
        let name = field_name(field);
        if patch.insert(name.clone(), Value::Null).is_some_and(|value| !value.is_null()) {
            return Err(twice(&name).into());
        }
    }
    // A job has one of these: setting one removes the other.
    for (one, other) in [("delay", "run_at"), ("run_at", "delay")] {
        if patch.get(one).is_some_and(|time| !time.is_null()) {
            patch.entry(other).or_insert(Value::Null);
        }
    }
    Ok(patch)
}

fn set(patch: &mut Map<String, Value>, field: &str, value: Option<impl Serialize>) -> anyhow::Result<()> {
    if let Some(value) = value {
        patch.insert(field.to_owned(), serde_json::to_value(value)?);
    }
    Ok(())
}

fn field_name(field: Unset) -> String {
    field.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn twice(field: &str) -> Usage {
    Usage(format!("{field}: set it or --unset it, not both"))
}

/// The patch that turns `before` into `after`. Where both are objects, it has a null for each name that is
/// removed.
fn replacing(before: &Value, after: Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after.clone()) else { return after };
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let mut patch: Map<_, _> = gone.collect();
    for (name, value) in after {
        let value = match before.get(&name) {
            Some(old) => replacing(old, value),
            None => value,
        };
        patch.insert(name, value);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replacement_has_null_for_each_removed_name() {
        for (before, after, patch) in [
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
                json!({"b": {"c": 3}}),
                json!({"a": null, "b": {"c": 3, "d": null}}),
            ),
            (json!({"a": 1}), json!({"a": {"b": 2}}), json!({"a": {"b": 2}})),
            (json!("http://a/"), json!({"x": "http://b/"}), json!({"x": "http://b/"})),
            (json!({"x": "http://b/"}), json!("http://a/"), json!("http://a/")),
            (Value::Null, json!("http://a/"), json!("http://a/")),
        ] {
            assert_eq!(replacing(&before, after.clone()), patch, "{before} to {after}");
        }
    }

    #[test]
    fn patch_depends_on_the_document() {
        let document = Document {
            params: json!({"keep": 1, "change": {"x": 1}, "drop": 2}).as_object().unwrap().clone(),
            tags: vec!["a".to_owned(), "b".to_owned()],
            ..Document::new("x".parse().unwrap())
        };
        let own = OwnChanges {
            param: json!({"change": {"y": 2}, "drop": null}).as_object().unwrap().clone(),
            add_tags: vec!["c".to_owned(), "a".to_owned()],
            remove_tags: vec!["b".to_owned()],
            ..OwnChanges::default()
        };
        let patch = Changes { common: Map::new(), own }.patch(&document).unwrap();
        let params = json!({"keep": 1, "change": {"x": null, "y": 2}, "drop": null});
        assert_eq!(Value::Object(patch), json!({"params": params, "tags": ["a", "c"]}));
    }
}
