//! Results over HTTP, from `up` and `serve`.

use crate::guests;
use crate::support::{argument, await_that, submit};
use anyhow::Context;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

/// What a server answered.
pub struct Answer {
    /// The status.
    pub status: u16,
    headers: BTreeMap<String, String>,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.body).context("JSON was expected")
    }

    /// A header, by its name in small letters.
    pub fn header(&self, name: &str) -> anyhow::Result<&str> {
        self.headers.get(name).map(String::as_str).with_context(|| format!("there is no header {name}"))
    }
}

/// Asks once, in as few words as HTTP allows, so that nothing between hides what the server says.
fn ask(method: &str, url: &str, headers: &[(&str, &str)]) -> anyhow::Result<Answer> {
    let rest = url.strip_prefix("http://").context("an http URL")?;
    let (host, path) = rest.split_once('/').context("a URL with a path")?;
    let mut stream = TcpStream::connect(host)?;
    let mut request = format!("{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    request.extend(headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]));
    stream.write_all(request.as_bytes())?;
    stream.write_all(b"\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").context("a head ends with an empty line")?;
    let head = String::from_utf8(answer[..end].to_vec())?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("a status line")?.parse()?;
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let body = answer[end + 4..].to_vec();
    assert!(!headers.contains_key("transfer-encoding"), "a length is always known here");
    Ok(Answer { status, headers, body })
}

/// Asks for what is at a URL, and follows no redirect.
pub fn get(url: &str) -> anyhow::Result<Answer> {
    ask("GET", url, &[])
}

/// A node that runs `plain` and serves its results.
fn node() -> anyhow::Result<Longboat> {
    let node = Longboat::new()?;
    node.ok(["algorithm", "add", "plain", argument(&guests::rust("plain")?)?])?;
    Ok(node)
}

#[test]
fn a_submitted_job_has_a_result_at_its_url() -> anyhow::Result<()> {
    let node = node()?;
    let server = node.start(["up", "--slots=1"])?;
    let id = submit(&node, ["plain", "--input=data:,hello", "--seed=7"])?;
    let url = format!("{}/{id}", server.url);
    let answer = await_that("the job has a result", || Ok(Some(get(&url)?).filter(|answer| answer.status != 202)))?;
    assert_eq!((answer.status, answer.header("content-type")?), (200, "application/json"));
    assert_eq!(answer.json()?, node.json(["result", &id])?);
    assert_eq!(answer.json()?["result"]["bytes"], 5);
    assert_eq!(get(&format!("{}/{}", server.url, id.replace('-', "")))?.body, answer.body, "either way to write an id");
    assert_eq!(answer.header("access-control-allow-origin")?, "*");
    answer.header("cache-control")?;

    let etag = answer.header("etag")?;
    let unchanged = ask("GET", &url, &[("if-none-match", etag)])?;
    assert_eq!((unchanged.status, unchanged.body.len(), unchanged.header("etag")?), (304, 0, etag));
    let since = answer.header("last-modified")?;
    assert_eq!(ask("GET", &url, &[("if-modified-since", since)])?.status, 304);
    assert_eq!(ask("GET", &url, &[("if-none-match", "\"other\"")])?.status, 200);

    let part = ask("GET", &url, &[("range", "bytes=1-4")])?;
    assert_eq!((part.status, &part.body[..]), (206, &answer.body[1..5]));
    assert_eq!(part.header("content-range")?, format!("bytes 1-4/{}", answer.body.len()));
    assert_eq!(ask("GET", &url, &[("range", "bytes=999999-")])?.status, 416);
    let head = ask("HEAD", &url, &[])?;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length")?, answer.body.len().to_string());
    Ok(())
}

#[test]
fn the_files_of_a_result_can_be_listed_and_downloaded() -> anyhow::Result<()> {
    let node = node()?;
    let id = submit(&node, ["plain", "--input=data:,hello"])?;
    node.ok(["worker", "--until-empty"])?;
    let server = node.start(["serve"])?;
    let base = format!("{}/{id}", server.url);
    let listing = get(&format!("{base}/"))?.json()?;
    assert_eq!((&listing["files"][0]["name"], &listing["files"][0]["size"]), (&json!("copies/input.txt"), &json!(5)));
    let url = listing["files"][0]["url"].as_str().context("a listed file has a URL")?;
    let file = get(&format!("{}{url}", server.url))?;
    assert_eq!((file.status, &file.body[..]), (200, &b"hello"[..]));
    assert_eq!(file.header("x-content-type-options")?, "nosniff");
    let part = ask("GET", &format!("{base}/copies/input.txt"), &[("range", "bytes=-2")])?;
    assert_eq!((part.status, &part.body[..]), (206, &b"lo"[..]));
    assert_eq!(get(&format!("{base}.log"))?.body, b"read 5 bytes\n");
    let page = ask("GET", &format!("{base}/"), &[("accept", "text/html")])?;
    assert!(page.header("content-type")?.starts_with("text/html"));
    Ok(())
}

#[test]
fn what_is_not_there_is_told_in_json_with_a_timestamp() -> anyhow::Result<()> {
    let node = node()?;
    let done = submit(&node, ["plain"])?;
    node.ok(["worker", "--until-empty"])?;
    let ready = submit(&node, ["plain"])?;
    let cancelled = submit(&node, ["plain", "--expires=2001-01-01T00:00:00Z", "--tube=expired"])?;
    node.ok(["worker", "--until-empty", "--tube=expired"])?;
    let server = node.start(["serve"])?;
    for (path, status) in [
        ("00000000-0000-0000-0000-000000000000".to_owned(), 404),
        ("nobody".to_owned(), 404),
        (String::new(), 404),
        (format!("{done}/gone.txt"), 404),
        (format!("{done}/copies"), 404),
        (format!("{done}/../../queue.db"), 404),
        (format!("{done}/%2e%2e/%2e%2e/queue.db"), 404),
        (format!("{done}/..%2f..%2fresult.json"), 404),
        (format!("{done}/%00"), 404),
        (ready.clone(), 202),
        (format!("{ready}/"), 202),
        (format!("{ready}/copies/input.txt"), 202),
        (cancelled, 410),
    ] {
        let answer = get(&format!("{}/{path}", server.url))?;
        assert_eq!(answer.status, status, "{path}");
        let document = answer.json().with_context(|| format!("/{path}"))?;
        assert!(document["timestamp"].is_string(), "{path}: {document}");
        assert_eq!(answer.header("cache-control")?, "no-store", "{path}");
    }
    let pending = get(&format!("{}/{ready}", server.url))?;
    assert_eq!(pending.json()?["state"], "ready");
    pending.header("retry-after")?;
    assert_eq!(ask("POST", &format!("{}/{done}", server.url), &[("content-length", "0")])?.status, 405);
    assert_eq!(get(&format!("{}/healthz", server.url))?.status, 200);
    assert_eq!(get(&format!("{}/readyz", server.url))?.status, 200);
    Ok(())
}

#[test]
fn a_dead_job_is_explained_by_its_verdict_at_its_url() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    node.ok(["algorithm", "add", "greedy", argument(&guests::rust("greedy")?)?])?;
    let id = submit(&node, ["greedy", "--param=want=panic", "--max-attempts=1"])?;
    node.ok(["worker", "--until-empty"])?;
    let server = node.start(["serve"])?;
    let answer = get(&format!("{}/{id}", server.url))?;
    assert_eq!((answer.status, &answer.json()?["verdict"]["kind"]), (200, &json!("trapped")));
    assert!(String::from_utf8(get(&format!("{}/{id}.log", server.url))?.body)?.contains("as it was asked to"));
    Ok(())
}

#[test]
fn up_ends_at_the_first_sigterm_once_its_jobs_are_done() -> anyhow::Result<()> {
    let node = node()?;
    let mut server = node.start(["up"])?;
    let id = submit(&node, ["plain"])?;
    node.ok(["wait", &id])?;
    let status = std::process::Command::new("kill").arg(server.child.id().to_string()).status()?;
    assert!(status.success());
    let status = await_that("up has ended", || Ok(server.child.try_wait()?))?;
    assert!(status.success(), "{status}");
    Ok(())
}
