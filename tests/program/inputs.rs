//! Inputs over real HTTP, fetched on a job's behalf.

use crate::guests;
use crate::support::{argument, file, run, show, submit, text, verdicts, work};
use anyhow::Context;
use longboat_tests::data_server::DataServer;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;
use tokio::runtime::Runtime;

/// A node whose `plain` counts what it reads, and a server of these files.
fn node_and_server(files: &[(&str, &[u8])]) -> anyhow::Result<(Longboat, Runtime, DataServer)> {
    let node = Longboat::new()?;
    node.ok(["algorithm", "add", "plain", argument(&guests::rust("plain")?)?])?;
    let paths = files.iter().map(|(name, bytes)| file(&node, name, bytes)).collect::<anyhow::Result<Vec<PathBuf>>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let server = runtime.block_on(DataServer::start(paths))?;
    Ok((node, runtime, server))
}

/// A server that gives each connection the next of these answers, and the last one for ever.
fn answers(answers: Vec<String>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for (place, stream) in listener.incoming().map_while(Result::ok).enumerate() {
            // A client that goes away early is the client's affair.
            let _ = reply(stream, &answers[place.min(answers.len() - 1)]);
        }
    });
    Ok(address)
}

fn reply(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    // Who answers before the question was read may be hung up on.
    let _ = stream.read(&mut [0; 4096])?;
    stream.write_all(answer.as_bytes())
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len())
}

/// The only verdict of a job with this input, and the job's record.
fn sole_verdict(node: &Longboat, url: &str, options: &[&str]) -> anyhow::Result<Value> {
    let id = submit(node, ["plain", "--input", url, "--max-attempts=1"].iter().chain(options))?;
    work(node, &[])?;
    let record = show(node, &id)?;
    assert_eq!(record["history"].as_array().map(Vec::len), Some(1), "{record}");
    Ok(record["verdict"].clone())
}

fn is_unavailable(verdict: &Value, permanent: bool, part: &str) {
    assert_eq!(verdict["kind"], "input-unavailable", "{verdict}");
    assert_eq!(verdict["permanent"] == true, permanent, "{verdict}");
    assert!(verdict["message"].as_str().is_some_and(|message| message.contains(part)), "{part:?} is not in {verdict}");
}

#[test]
fn an_input_from_an_address_that_nobody_allowed_is_refused_for_good() -> anyhow::Result<()> {
    let (node, _runtime, server) = node_and_server(&[("data.csv", b"a\n")])?;
    let verdict = sole_verdict(&node, &server.url("data.csv"), &[])?;
    is_unavailable(&verdict, true, "loopback");
    let message = verdict["message"].as_str().context("a message")?;
    assert!(message.contains(&server.address().to_string()), "it says how to allow it: {message}");
    for url in ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[::1]/", "http://0.0.0.0/"] {
        is_unavailable(&sole_verdict(&node, url, &[])?, true, "refused");
    }
    Ok(())
}

#[test]
fn an_allowed_input_arrives_whole_whether_it_fits_into_memory_or_not() -> anyhow::Result<()> {
    let large: Vec<u8> = (0..20_000_000_u32).map(|place| (place % 251) as u8).collect();
    let (node, _runtime, server) = node_and_server(&[("small.csv", b"a\nb\n"), ("large.csv", &large)])?;
    node.allow_input(server.address())?;
    for (name, size) in [("small.csv", 4), ("large.csv", large.len())] {
        let id = submit(&node, ["plain", "--input", &server.url(name), "--seed=7"])?;
        work(&node, &[])?;
        let document = node.json(["result", &id])?;
        assert_eq!(document["result"]["bytes"], size, "{name}");
        assert_eq!(document["usage"]["input_bytes"], size);
        let digest = document["provenance"]["inputs"]["input"].as_str().context("a digest")?;
        let copied = document["files"][0]["sha256"].as_str().context("a digest")?;
        assert_eq!(digest, format!("sha256:{copied}"), "what was read is what was fetched");
    }
    assert_eq!(std::fs::read_dir(node.data_dir().join("spool"))?.count(), 0, "large inputs leave nothing behind");
    let (document, _) = run(&node, ["plain", "--input", &server.url("large.csv")])?;
    assert_eq!(document["result"]["bytes"], large.len(), "and so it is without a queue");
    Ok(())
}

#[test]
fn several_inputs_share_the_limit_and_the_one_that_passes_it_is_refused_for_good() -> anyhow::Result<()> {
    let (node, _runtime, server) = node_and_server(&[("a.csv", &[b'x'; 600]), ("b.csv", &[b'x'; 600])])?;
    node.allow_input(server.address())?;
    let (a, b) = (format!("a={}", server.url("a.csv")), format!("b={}", server.url("b.csv")));
    for (limit, done) in [("1200", true), ("1199", false)] {
        let limit = format!("--input-size={limit}");
        let id = submit(&node, ["plain", "--input", &a, "--input", &b, "--max-attempts=3", &limit])?;
        work(&node, &[])?;
        let record = show(&node, &id)?;
        match done {
            true => assert_eq!(verdicts(&record), ["done"]),
            false => is_unavailable(&record["verdict"], true, "b"),
        }
        assert_eq!(record["attempts"], 1);
    }
    Ok(())
}

/// A server that the node may fetch from, whose bodies have no end: this piece again and again.
fn endless_server(node: &Longboat, piece: &'static [u8], pause: Duration) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    node.allow_input(address)?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while stream.write_all(piece).is_ok() {
                std::thread::sleep(pause);
            }
        }
    });
    Ok(address)
}

#[test]
fn a_body_without_an_end_is_cut_off_at_the_limit() -> anyhow::Result<()> {
    let (node, _runtime, _) = node_and_server(&[])?;
    let address = endless_server(&node, &[b'x'; 65_536], Duration::ZERO)?;
    let verdict = sole_verdict(&node, &format!("http://{address}/"), &["--input-size=3MiB"])?;
    is_unavailable(&verdict, true, "input_size");
    Ok(())
}

#[test]
fn what_a_server_answers_decides_whether_it_is_asked_again() -> anyhow::Result<()> {
    let (node, _runtime, server) = node_and_server(&[])?;
    node.allow_input(server.address())?;
    is_unavailable(&sole_verdict(&node, &server.url("gone.csv"), &[])?, true, "404");
    for (status, permanent) in [
        ("403 Forbidden", true),
        ("204 No Content", true),
        ("500 Internal Server Error", false),
        ("429 Too Many Requests", false),
        ("408 Request Timeout", false),
    ] {
        let address = answers(vec![answer(status, "retry-after: 7\r\n", "")])?;
        node.allow_input(address)?;
        let verdict = sole_verdict(&node, &format!("http://{address}/"), &[])?;
        is_unavailable(&verdict, permanent, &status[..3]);
        assert_eq!(verdict["retry_after_ms"], if permanent { Value::Null } else { json!(7000) }, "{status}");
    }
    Ok(())
}

#[test]
fn a_server_that_recovers_is_asked_again_and_the_job_is_done() -> anyhow::Result<()> {
    let (node, _runtime, _) = node_and_server(&[])?;
    let address = answers(vec![answer("503 Service Unavailable", "", ""), answer("200 OK", "", "a\nb\n")])?;
    node.allow_input(address)?;
    let id = submit(&node, ["plain", "--input", &format!("http://{address}/data")])?;
    work(&node, &[])?;
    let record = show(&node, &id)?;
    assert_eq!(verdicts(&record), ["input-unavailable", "done"]);
    Ok(())
}

#[test]
fn nobody_listening_is_a_passing_trouble() -> anyhow::Result<()> {
    let (node, _runtime, _) = node_and_server(&[])?;
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    node.allow_input(address)?;
    is_unavailable(&sole_verdict(&node, &format!("http://{address}/"), &[])?, false, "refused");
    Ok(())
}

#[test]
fn a_redirect_leads_nowhere_that_is_not_allowed() -> anyhow::Result<()> {
    let (node, _runtime, server) = node_and_server(&[("secret.csv", b"s\n")])?;
    let location = format!("location: {}\r\n", server.url("secret.csv"));
    let address = answers(vec![answer("302 Found", &location, "")])?;
    node.allow_input(address)?;
    let verdict = sole_verdict(&node, &format!("http://{address}/"), &[])?;
    is_unavailable(&verdict, true, "loopback");
    assert!(!verdict.to_string().contains("127.0.0.1"), "what the job did not write is not told: {verdict}");
    let both = format!("[input]\nallow = [\"{address}\", \"{}\"]\n", server.address());
    file(&node, "config.toml", both)?;
    assert_eq!(sole_verdict(&node, &format!("http://{address}/"), &[])?["kind"], "done");
    let round = answers(vec![answer("302 Found", "location: /\r\n", "")])?;
    node.allow_input(round)?;
    is_unavailable(&sole_verdict(&node, &format!("http://{round}/"), &[])?, true, "redirect");
    Ok(())
}

#[test]
fn a_server_that_never_answers_costs_the_job_its_time_and_nobody_else_any() -> anyhow::Result<()> {
    let (node, _runtime, _) = node_and_server(&[])?;
    let silent = TcpListener::bind(("127.0.0.1", 0))?;
    let address = silent.local_addr()?;
    node.allow_input(address)?;
    let verdict = sole_verdict(&node, &format!("http://{address}/"), &["--ttr=300ms"])?;
    assert_eq!((&verdict["kind"], &verdict["allowed"]), (&json!("deadline"), &json!(300)));
    Ok(())
}

/// Runs a command with all that can be logged, and returns all that it said.
fn say_everything(node: &Longboat, arguments: &[&str]) -> anyhow::Result<String> {
    let output = node.command(arguments).env("RUST_LOG", "trace").output()?;
    Ok(text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn what_a_url_knows_in_secret_is_not_told_however_much_is_logged() -> anyhow::Result<()> {
    let (node, _runtime, server) = node_and_server(&[("data.csv", b"a\n")])?;
    let at = server.address();
    let to = |place: &str| answer("302 Found", &format!("location: {place}\r\n"), "");
    let elsewhere = answers(vec![to("http://eve:hunter2@10.1.2.3/?token=sesame")])?;
    let downgraded = answers(vec![to("ftp://eve:hunter2@10.1.2.3/?token=sesame")])?;
    let rules = [at, elsewhere, downgraded].map(|address| format!("\"{address}\"")).join(", ");
    file(&node, "config.toml", format!("[input]\nallow = [{rules}]\n"))?;
    for (place, done) in [
        (format!("{at}/data.csv"), true),
        (format!("{at}/gone.csv"), false),
        (format!("{elsewhere}/"), false),
        (format!("{downgraded}/"), false),
        ("127.0.0.1:1/data".to_owned(), false),
        ("nowhere.invalid/data".to_owned(), false),
    ] {
        let url = format!("http://user:hunter2@{place}?token=sesame");
        let id = submit(&node, ["plain", "--input", &url, "--max-attempts=1"])?;
        let said = say_everything(&node, &["worker", "--until-empty", "-vv"])?;
        let ran = say_everything(&node, &["run", "plain", "-vv", "--input", &url])?;
        let human = node.ok(["show", &id])?;
        let verdict = show(&node, &id)?["verdict"].clone();
        assert_eq!(verdict["kind"] == "done", done, "{verdict}");
        for text in [said, ran, human, verdict.to_string()] {
            // As it is written, and as basic authentication has it.
            for secret in ["hunter2", "sesame", "dXNlcjpodW50ZXIy"] {
                assert!(!text.contains(secret), "{secret} is in: {text}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_refusal_tells_everybody_the_rule_and_only_the_operator_the_address() -> anyhow::Result<()> {
    let (node, _runtime, server) = node_and_server(&[("data.csv", b"a\n")])?;
    let port = server.address().port();
    let url = format!("http://localhost:{port}/data.csv");
    let id = submit(&node, ["plain", "--input", &url, "--max-attempts=1"])?;
    let output = node.run(["worker", "--until-empty", "-v"])?;
    assert!(text(&output.stderr).contains("address="), "{}", text(&output.stderr));
    let verdict = show(&node, &id)?["verdict"].clone();
    is_unavailable(&verdict, true, "it resolves to a loopback address");
    let message = verdict["message"].as_str().context("a message")?;
    assert!(!message.contains("127.0.0.1") && !message.contains("::1"), "{message}");
    let rule = format!("\"localhost:{port}\"");
    assert!(message.contains(&format!("[input] allow = [{rule}]")), "{message}");
    file(&node, "config.toml", format!("[input]\nallow = [{rule}]\n"))?;
    assert_eq!(sole_verdict(&node, &url, &[])?["kind"], "done", "as the refusal said");
    Ok(())
}

#[test]
fn proxies_of_the_environment_are_not_used() -> anyhow::Result<()> {
    let (node, _runtime, server) = node_and_server(&[("data.csv", b"a\n")])?;
    node.allow_input(server.address())?;
    let proxy = TcpListener::bind(("127.0.0.1", 0))?;
    proxy.set_nonblocking(true)?;
    let mut command = node.command(["run", "plain", "--input", &server.url("data.csv")]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        let at = format!("http://{}", proxy.local_addr()?);
        command.env(name, &at).env(name.to_lowercase(), &at);
    }
    for name in ["NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    let output = command.output()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let seen = proxy.accept().map(drop).map_err(|error| error.kind());
    assert_eq!(seen, Err(std::io::ErrorKind::WouldBlock), "nobody asked the proxy");
    Ok(())
}

#[test]
fn a_server_that_trickles_costs_a_run_without_a_queue_its_time_and_no_more() -> anyhow::Result<()> {
    let (node, _runtime, _) = node_and_server(&[])?;
    let address = endless_server(&node, b"x", Duration::from_millis(5))?;
    let url = format!("http://{address}/");
    let (document, code) = run(&node, ["plain", "--input", &url, "--timeout=300ms"])?;
    assert_eq!((&document["verdict"]["kind"], code), (&json!("deadline"), Some(1)));
    assert_eq!(sole_verdict(&node, &url, &["--ttr=300ms"])?["kind"], "deadline");
    Ok(())
}
