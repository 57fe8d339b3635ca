//! Results that are sent to where their jobs want them, and results that are at another node.

use crate::http::get;
use crate::support::{
    LEAVES_A_FILE, Worker, argument, await_state, await_that, file, sailor, show, submit, submit_text, text, work,
};
use anyhow::{Context, ensure};
use base64::Engine as _;
use longboat_tests::program::Longboat;
use longboat_tests::receiver::{Answer, Receiver};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::TcpListener;

/// A node that may send results to the loopback.
fn node() -> anyhow::Result<Longboat> {
    let node = sailor()?;
    file(&node, "config.toml", "[result_url]\nallow = [\"127.0.0.1\"]\n")?;
    Ok(node)
}

/// A job that does nothing, and whose result is wanted at this URL.
fn wanted_at(node: &Longboat, url: &str) -> anyhow::Result<String> {
    submit(node, ["drunken-sailor", "--param=mode=normal", "--result-url", url])
}

fn delivery(node: &Longboat, id: &str) -> anyhow::Result<Value> {
    Ok(show(node, id)?["delivery"].clone())
}

/// Waits until a result is delivered, or given up.
fn await_delivery(node: &Longboat, id: &str, wanted: &str) -> anyhow::Result<Value> {
    let look = || Ok(Some(delivery(node, id)?).filter(|delivery| delivery["state"] == wanted));
    await_that(&format!("the result of job {id} is {wanted}"), look)
}

#[test]
fn the_document_arrives_as_it_is_stored_with_its_digest_and_a_key() -> anyhow::Result<()> {
    let (node, receiver) = (node()?, Receiver::start(vec![Answer::status("201 Created")])?);
    let done = wanted_at(&node, &receiver.url("/done?token=hidden"))?;
    let dead = json!({"algorithm": "unknown", "result_url": receiver.url("/dead"), "max_attempts": 1});
    let dead = text(&submit_text(&node, &dead.to_string())?.stdout).trim().to_owned();
    submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    let said = work(&node, &["--slots=1"])?;
    // Deliveries do not wait for each other, so either may come first.
    let mut both = [receiver.next()?, receiver.next()?];
    both.sort_by(|one, other| one.request.cmp(&other.request));
    let expected = [(&dead, "PUT /dead", "dead"), (&done, "PUT /done?token=hidden", "done")];
    for (received, (id, request, state)) in both.iter().zip(expected) {
        assert_eq!(received.request, request);
        let saved = node.data_dir().join(format!("saved-{id}"));
        node.run(["result", id, "--save", argument(&saved)?])?;
        assert_eq!(received.body, std::fs::read(saved.join("result.json"))?);
        assert_eq!(serde_json::from_slice::<Value>(&received.body)?["state"], state);
        let digest = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&received.body));
        assert_eq!(received.headers["content-digest"], format!("sha-256=:{digest}:"));
        assert_eq!(received.headers["content-type"], "application/json");
        assert_eq!(received.headers["idempotency-key"], format!("\"{id}-1\""));
        let delivery = delivery(&node, id)?;
        assert_eq!(
            (&delivery["state"], &delivery["tries"], &delivery["attempt"]),
            (&json!("delivered"), &json!(1), &json!(1))
        );
        assert!(
            said.contains(&format!("### Sent the result of job {id}, attempt 1, to {}", receiver.url(""))),
            "{said}"
        );
    }
    assert!(receiver.try_next().is_none(), "nobody wants the third, and none is sent twice");
    let shown = node.ok(["show", &done])?;
    assert!(shown.contains("with 1 try") && !shown.contains("hidden") && !said.contains("hidden"), "{shown}");
    Ok(())
}

#[test]
fn a_receiver_that_is_busy_is_asked_again_with_the_same_key() -> anyhow::Result<()> {
    let busy = Answer::Status("503 Service Unavailable", "retry-after: 1\r\n".to_owned());
    let (node, receiver) = (node()?, Receiver::start(vec![busy, Answer::status("200 OK")])?);
    let id = wanted_at(&node, &receiver.url("/"))?;
    let mut worker = Worker::start(&node, &[])?;
    let (first, second) = (receiver.next()?, receiver.next()?);
    assert_eq!((&first.body, &first.headers), (&second.body, &second.headers));
    let delivery = await_delivery(&node, &id, "delivered")?;
    assert_eq!((&delivery["tries"], &delivery["reason"]), (&json!(2), &Value::Null));
    worker.await_line("the receiver answered 503")?;
    worker.await_line("it is sent again in 1.")?;
    worker.kill()
}

#[test]
fn a_redirect_that_keeps_the_method_is_followed_where_the_rules_let_it() -> anyhow::Result<()> {
    let accept = || Receiver::start(vec![Answer::status("200 OK")]);
    let (node, there, outside) = (node()?, accept()?, accept()?);
    let to = |url: &str| Answer::Status("307 Temporary Redirect", format!("location: {url}\r\n"));
    let here = Receiver::start(vec![to(&there.url("/there")), to(&outside.url("/")), Answer::status("302 Found")])?;
    let rules = format!("[result_url]\nallow = [\"{}\", \"{}\"]\n", here.address(), there.address());
    file(&node, "config.toml", rules)?;
    let followed = wanted_at(&node, &here.url("/1"))?;
    work(&node, &[])?;
    assert_eq!(await_delivery(&node, &followed, "delivered")?["url"], here.url("/1"));
    let received = there.next()?;
    assert_eq!((received.request.as_str(), received.body), ("PUT /there", here.next()?.body));
    for part in ["loopback", "302"] {
        let refused = wanted_at(&node, &here.url("/2"))?;
        work(&node, &[])?;
        let reason = await_delivery(&node, &refused, "given-up")?["reason"].to_string();
        let beyond = reason.replace(&here.address().to_string(), "");
        assert!(reason.contains(part) && !beyond.contains("127.0.0.1"), "{reason}");
    }
    assert!(there.try_next().is_none() && outside.try_next().is_none());
    Ok(())
}

#[test]
fn what_a_receiver_refuses_is_given_up_at_once_and_visibly() -> anyhow::Result<()> {
    let (node, receiver) = (node()?, Receiver::start(vec![Answer::status("400 Bad Request")])?);
    let id = wanted_at(&node, &receiver.url("/"))?;
    let said = work(&node, &[])?;
    let delivery = delivery(&node, &id)?;
    assert_eq!((&delivery["state"], &delivery["tries"]), (&json!("given-up"), &json!(1)));
    assert_eq!(show(&node, &id)?["state"], "done", "the job is none the worse for it");
    for text in [&said, &node.ok(["show", &id])?] {
        assert!(text.contains("the receiver answered 400") && text.contains("given up"), "{text}");
    }
    Ok(())
}

#[test]
fn a_place_that_the_rules_forbid_by_now_is_sent_nothing() -> anyhow::Result<()> {
    let (node, receiver) = (node()?, Receiver::start(vec![Answer::status("200 OK")])?);
    let id = wanted_at(&node, &receiver.url("/"))?;
    file(&node, "config.toml", "")?;
    work(&node, &[])?;
    let reason = await_delivery(&node, &id, "given-up")?["reason"].to_string();
    assert!(reason.contains("results are sent to public addresses only"), "{reason}");
    assert!(receiver.try_next().is_none());
    Ok(())
}

#[test]
fn a_result_that_could_not_be_sent_outlives_its_worker() -> anyhow::Result<()> {
    let node = node()?;
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let id = wanted_at(&node, &format!("http://{address}/hook"))?;
    let worker = Worker::start(&node, &["--name=one"])?;
    let tried = || Ok(Some(delivery(&node, &id)?).filter(|delivery| delivery["reason"].is_string()));
    let waiting = await_that("a try has failed", tried)?;
    assert_eq!(waiting["state"], "pending");
    worker.kill()?;
    assert!(node.ok(["show", &id])?.contains("refused"), "and that is to be seen");
    let receiver = Receiver::start_at(address, vec![Answer::status("204 No Content")])?;
    let worker = Worker::start(&node, &["--name=two"])?;
    assert_eq!(receiver.next()?.headers["idempotency-key"], format!("\"{id}-1\""));
    await_delivery(&node, &id, "delivered")?;
    worker.kill()
}

#[test]
fn a_silent_receiver_holds_up_neither_jobs_nor_other_receivers_nor_the_worker() -> anyhow::Result<()> {
    let node = node()?;
    let (silent, good) = (Receiver::start(vec![Answer::Silence])?, Receiver::start(vec![Answer::status("200 OK")])?);
    let unanswered = (0..3).map(|_| wanted_at(&node, &silent.url("/"))).collect::<anyhow::Result<Vec<_>>>()?;
    let worker = Worker::start(&node, &["--slots=1"])?;
    silent.next()?;
    let id = wanted_at(&node, &good.url("/"))?;
    await_state(&node, &id, "done")?;
    good.next()?;
    await_delivery(&node, &id, "delivered")?;
    worker.signal("TERM")?;
    worker.signal("TERM")?;
    let (status, said) = worker.join()?;
    assert!(status.success(), "{said}");
    for id in unanswered {
        let record = show(&node, &id)?;
        assert_eq!((&record["state"], &record["delivery"]["state"]), (&json!("done"), &json!("pending")));
        assert_eq!(record["delivery"]["tries"], 0, "what was cut off does not count: {record}");
    }
    Ok(())
}

#[test]
fn a_worker_until_empty_ends_although_nobody_takes_its_results() -> anyhow::Result<()> {
    let node = node()?;
    let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
    let ids = (0..3).map(|_| wanted_at(&node, &format!("http://{address}/"))).collect::<anyhow::Result<Vec<_>>>()?;
    work(&node, &[])?;
    for id in ids {
        assert_eq!(delivery(&node, &id)?["state"], "pending");
    }
    Ok(())
}

#[test]
fn files_at_another_node_are_found_through_its_public_url() -> anyhow::Result<()> {
    let (one, two) = (sailor()?, Longboat::new()?);
    let queue = format!("sqlite:{}", argument(&one.data_dir().join("queue.db"))?);
    let (holds, asks) = (one.start(["serve"])?, two.start(["serve", "--queue", &queue])?);
    let id = submit(&one, LEAVES_A_FILE)?;
    work(&one, &["--public-url", &holds.url])?;
    for path in [id.clone(), format!("{id}.log"), format!("{id}/"), format!("{id}?x=1")] {
        let (here, there) = (get(&format!("{}/{path}", asks.url))?, get(&format!("{}/{path}", holds.url))?);
        assert_eq!((here.status, &here.body), (200, &there.body), "every node has documents and logs: {path}");
    }
    let name = two.json(["result", &id, "--queue", &queue])?["files"][0]["name"].as_str().context("a file")?.to_owned();
    for path in [format!("{id}/{name}"), format!("{id}/{name}?x=1")] {
        let answer = get(&format!("{}/{path}", asks.url))?;
        assert_eq!((answer.status, answer.header("location")?), (307, format!("{}/{path}", holds.url).as_str()));
        assert!(answer.json()?["timestamp"].is_string());
        let there = get(answer.header("location")?)?;
        assert_eq!((there.status, &there.body), (200, &get(&format!("{}/{path}", holds.url))?.body), "{path}");
    }
    let saved = two.data_dir().join("saved");
    let output = two.run(["result", &id, "--queue", &queue, "--save", argument(&saved)?])?;
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains(&format!("serves it at {}/{id}", holds.url)), "{said}");
    assert!(two.ok(["show", &id, "--queue", &queue])?.contains(&holds.url));

    // Gone for good: the node that should have it sends nobody back, whether it knows its own URL or not.
    std::fs::remove_dir_all(one.data_dir().join("results"))?;
    let knows = one.start(["serve", "--public-url", &holds.url])?;
    for (url, status) in [(&asks.url, 307), (&holds.url, 404), (&knows.url, 404)] {
        let answer = get(&format!("{url}/{id}/{name}"))?;
        ensure!(answer.status == status, "{url}: {}", answer.json()?);
        assert_eq!(get(&format!("{url}/{id}"))?.status, 200, "the document is the queue's");
    }
    Ok(())
}

#[test]
fn a_public_url_is_one_that_others_can_use() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    for url in ["node1", "ftp://node1/", "http://me:secret@node1/", "http://node1/?x", "http://node1/#x"] {
        for command in ["worker", "serve", "up"] {
            let output = node.run([command, "--public-url", url])?;
            assert_eq!(output.status.code(), Some(2), "{command} {url}");
            assert!(text(&output.stderr).contains("is no public URL"), "{}", text(&output.stderr));
        }
    }
    file(&node, "config.toml", "[http]\npublic_url = \"http://node1/?x\"\n")?;
    let said = text(&node.run(["status"])?.stderr);
    said.contains("http.public_url").then_some(()).context(said)
}
