//! What `longboat update` changes in job documents, as merge patches (RFC 7396).

use super::deed::outcomes;
use super::outcome::Outcome;
use crate::cli::{ChangeArgs, JobArgs, Reference, Unset};
use crate::commands::{Node, Usage, source, submit};
use anyhow::Context;
use clap::ValueEnum;
use longboat::job::{Document, JobId, LimitsRequest};
use longboat::queue::{Action, Queue, Refusal};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};

/// What is changed.
#[derive(Debug)]
pub struct Changes {
    /// The same for all jobs.
    common: Map<String, Value>,
    own: OwnChanges,
}

/// Changes whose patch depends on what a job has so far.
#[derive(Debug, Default, PartialEq)]
struct OwnChanges {
    /// In place of all params.
    params: Option<Map<String, Value>>,
    /// In place of the params of the same names; null removes one.
    param: Map<String, Value>,
    /// In place of all inputs.
    input: Option<Value>,
    add_tags: Vec<String>,
    remove_tags: Vec<String>,
}

impl Changes {
    /// The changes that the command line asks for.
    ///
    /// # Errors
    /// [`Usage`] if they are none or contradict each other; that a limit is above the operator's ceiling, or that
    /// no result may be sent there.
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
            input: submit::input(&job.inputs)?.map(serde_json::to_value).transpose()?,
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

    /// Changes these jobs, and says what came of each, in their order.
    ///
    /// # Errors
    /// The queue's.
    pub async fn make(&self, queue: &dyn Queue, ids: &[JobId]) -> anyhow::Result<Vec<Outcome>> {
        if self.own == OwnChanges::default() {
            return Ok(outcomes(queue.act(ids, &Action::Update(self.common.clone())).await?));
        }
        // Jobs that are alike so far get the same patch, and are changed together.
        let (mut alike, mut came) = (BTreeMap::<String, (Map<String, Value>, Vec<JobId>)>::new(), HashMap::new());
        for &id in ids {
            match queue.find(id).await? {
                Some(job) => {
                    let patch = self.patch(&job.document)?;
                    let key = serde_json::to_string(&patch)?;
                    alike.entry(key).or_insert_with(|| (patch, Vec::new())).1.push(id);
                }
                None => drop(came.insert(id.into(), Outcome::refused(id.into(), Refusal::NoSuchJob.to_string()))),
            }
        }
        for (patch, ids) in alike.into_values() {
            let acted = outcomes(queue.act(&ids, &Action::Update(patch)).await?);
            came.extend(acted.into_iter().map(|outcome| (outcome.what, outcome)));
        }
        Ok(ids.iter().filter_map(|id| came.remove(&Reference::Id(*id))).collect())
    }

    fn patch(&self, document: &Document) -> anyhow::Result<Map<String, Value>> {
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
    // A job has one of these, so each goes when the other comes.
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

/// The patch that makes `after` of `before`: where both are objects, it has a null for each name that goes.
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
    fn a_replacement_names_what_goes() {
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
    fn what_a_job_has_decides_about_its_patch() {
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
