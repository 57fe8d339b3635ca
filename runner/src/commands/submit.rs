//! `longboat submit`.

use super::{Node, Usage, source};
use crate::cli::{Format, SubmitArgs};
use crate::output;
use anyhow::Context;
use longboat::job::{Document, Input, JobId, Unique, UniqueFor};
use longboat::policy::{Purpose, UrlPolicy};
use longboat::queue::Submission;
use serde_json::value::RawValue;
use source::Source;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use url::Url;

/// The largest local input that travels in the job itself.
const MAX_INLINE: u64 = 1 << 20;
/// The largest file of jobs.
const MAX_FILE: u64 = 256 << 20;

pub async fn submit(node: &Node, args: SubmitArgs, format: Format) -> anyhow::Result<bool> {
    let documents = match &args.file {
        Some(file) => read_jobs(file)?,
        None => vec![document(args)?],
    };
    let mut jobs = Vec::with_capacity(documents.len());
    for (place, document) in documents.into_iter().enumerate() {
        let limits = &node.config.limits;
        document
            .limits
            .resolve(document.ttr, &limits.default, &limits.ceiling)
            .with_context(|| format!("job {} is refused", place + 1))?;
        if let Some(url) = &document.result_url {
            refuse_result_url(node, url).with_context(|| format!("job {} is refused", place + 1))?;
        }
        jobs.push(Submission { id: document.id.unwrap_or_else(JobId::new), document });
    }
    let ids: Vec<JobId> = jobs.iter().map(|job| job.id).collect();
    node.queue()?.submit(jobs).await?;
    output::print(format, &ids, |ids| ids.iter().map(JobId::to_string).collect::<Vec<_>>().join("\n"))?;
    Ok(true)
}

/// Says which rule forbids sending a result there, or else that this version sends none.
fn refuse_result_url(node: &Node, url: &Url) -> anyhow::Result<()> {
    let policy = UrlPolicy::new(Purpose::Result, node.config.result_url.clone());
    policy.check_url(url).context("result_url")?;
    anyhow::bail!("this version sends no result to a result_url; leave it out and read the result at its URL")
}

fn document(args: SubmitArgs) -> anyhow::Result<Document> {
    let algorithm =
        args.algorithm.ok_or_else(|| Usage("name an algorithm, or a file of jobs with --file".to_owned()))?;
    let mut document = Document::new(algorithm);
    document.id = args.id;
    document.params = source::params(args.job.params.as_deref(), &args.job.param)?;
    document.input = input(&args.job.inputs)?;
    document.tube = args.tube.unwrap_or(document.tube);
    document.priority = args.priority.unwrap_or(document.priority);
    document.delay = args.delay;
    document.run_at = args.run_at;
    document.expires = args.expires;
    document.ttr = args.ttr;
    document.max_attempts = args.max_attempts.unwrap_or(document.max_attempts);
    document.limits = args.job.limits.request();
    document.seed = args.job.seed;
    document.clock = args.job.clock;
    document.unique =
        args.unique.map(|key| Unique { key, period: args.unique_for.map_or(UniqueFor::Done, UniqueFor::For) });
    document.tags = args.tags;
    document.host = args.host;
    document.hold = args.hold;
    Ok(document.checked().map_err(|error| Usage(error.to_string()))?)
}

fn input(arguments: &[String]) -> anyhow::Result<Option<Input>> {
    let mut urls = BTreeMap::new();
    for (name, source) in source::inputs(arguments)? {
        let url = match source {
            Source::Url(url) => url,
            local => inline(&local)?,
        };
        urls.insert(name, url);
    }
    Ok(match urls.len() {
        0 => None,
        1 if urls.contains_key("input") => urls.remove("input").map(Input::One),
        _ => Some(Input::Named(urls)),
    })
}

/// A local input as a `data:` URL: a worker may run elsewhere and see no file of this machine.
fn inline(source: &Source) -> anyhow::Result<Url> {
    use base64::Engine as _;
    let advice = "a job cannot carry that: serve the file over HTTP and give its URL";
    let body = source::read(source, MAX_INLINE, &std::env::temp_dir(), advice)?;
    let mut bytes = vec![0; usize::try_from(body.size())?];
    body.read_at(&mut bytes, 0)?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    Ok(Url::parse(&format!("data:application/octet-stream;base64,{encoded}"))?)
}

/// Reads job documents, one a line, or one that fills the file, or a JSON array of them.
fn read_jobs(file: &Path) -> anyhow::Result<Vec<Document>> {
    let mut text = String::new();
    let reader: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(std::fs::File::open(file).with_context(|| format!("opening {} failed", file.display()))?)
    };
    reader
        .take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {} failed", file.display()))?;
    anyhow::ensure!(
        text.len() as u64 <= MAX_FILE,
        "{} has more than {MAX_FILE} bytes; submit it in parts",
        file.display()
    );
    let documents = parse_jobs(&text).with_context(|| format!("{}: nothing was submitted", file.display()))?;
    anyhow::ensure!(!documents.is_empty(), "{} holds no job", file.display());
    Ok(documents)
}

/// The jobs in a text: values one after the other, each a job or an array of jobs.
fn parse_jobs(text: &str) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    loop {
        let start = values.byte_offset();
        let start = start + text[start..].len() - text[start..].trim_start().len();
        let line = text[..start].matches('\n').count() + 1;
        let Some(value) = values.next() else { return Ok(documents) };
        let value = value.with_context(|| format!("what starts at line {line} is not JSON"))?.get();
        match serde_json::from_str::<Vec<Head<'_>>>(value) {
            Ok(list) if list.iter().all(|head| head.is_job) => {
                for (place, head) in list.iter().enumerate() {
                    let document = Document::read(head.text.get());
                    documents.push(document.with_context(|| format!("line {line}, job {} of the list", place + 1))?);
                }
            }
            _ => documents.push(Document::read(value).with_context(|| format!("line {line}"))?),
        }
    }
}

/// An element of an array: a job if it names an algorithm, as neither half of msg-qworker's array does.
struct Head<'a> {
    text: &'a RawValue,
    is_job: bool,
}

impl<'de> serde::Deserialize<'de> for Head<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Algorithm {
            #[serde(rename = "algorithm")]
            _name: serde::de::IgnoredAny,
        }
        let text = <&RawValue>::deserialize(deserializer)?;
        Ok(Self { text, is_job: serde_json::from_str::<Algorithm>(text.get()).is_ok() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse_jobs(text).unwrap().iter().map(|document| document.algorithm.to_string()).collect()
    }

    #[test]
    fn jobs_come_one_a_line_or_pretty_or_in_a_list() {
        assert_eq!(names("{\"algorithm\":\"a\"}\n\n{\"algorithm\":\"b\"}\n"), ["a", "b"]);
        assert_eq!(names("{\n \"algorithm\":\n \"a\"\n}"), ["a"]);
        assert_eq!(names("[{\"algorithm\":\"a\"},{\"algorithm\":\"b\"}]"), ["a", "b"]);
        let qworker = r#"[{"uuid":"bc3a925099b9012e0f06549a20077664","type":"drunken_sailor"},{"23":"42"}]"#;
        assert_eq!(names(&format!("{qworker}\n{qworker}")), ["drunken-sailor", "drunken-sailor"]);
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        let error = parse_jobs("{\"algorithm\":\"a\"}\n{\"algorithm\":\"a\",\"prority\":1}").unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("line 2") && message.contains("prority"), "{message}");
        assert!(format!("{:#}", parse_jobs("{\"algorithm\":\"a\"}\nnonsense").unwrap_err()).contains("line 2"));
    }
}
