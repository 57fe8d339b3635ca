//! Limits that are met, and what a guest makes of them.

use crate::guests;
use crate::support::{argument, run, show, submit, text, verdicts, work};
use anyhow::Context;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};

fn greedy(node: &Longboat, want: &str, limits: &[&str]) -> anyhow::Result<Value> {
    let module = guests::rust("greedy")?;
    let want_it = format!("--param=want={want}");
    let (document, code) = run(node, [argument(&module)?, &want_it].iter().chain(limits))?;
    let done = document["verdict"]["kind"] == "done";
    assert_eq!(code, Some(if done { 0 } else { 1 }), "{want}: {document}");
    assert_eq!(document["state"], if done { "done" } else { "dead" }, "{want}");
    assert_eq!(document["result"].is_null(), !done, "{want}: a result only of what is done");
    Ok(document)
}

#[test]
fn every_limit_that_is_met_is_named_with_what_was_allowed_and_what_was_wanted() -> anyhow::Result<()> {
    const MIB: u64 = 1 << 20;
    let node = Longboat::new()?;
    for (want, limits, kind, limit, allowed) in [
        ("fuel", &["--fuel=1e7"][..], "out-of-fuel", "fuel", 10_000_000),
        ("memory", &[], "out-of-memory", "memory", 256 * MIB),
        ("memory", &["--memory=64MiB"], "out-of-memory", "memory", 64 * MIB),
        ("nothing", &["--memory=64KiB"], "out-of-memory", "memory", 64 * 1024),
        ("document", &[], "result-quota", "document_size", 8 * MIB),
        ("document", &["--document-size=1KiB"], "result-quota", "document_size", 1024),
        ("size", &["--result-size=1MiB"], "result-quota", "result_size", MIB),
        ("files", &["--result-files=10"], "result-quota", "result_files", 10),
        ("files", &["--result-size=40KiB"], "result-quota", "result_size", 40 * 1024),
        ("time", &["--timeout=200ms"], "deadline", "ttr", 200),
        ("fuel", &["--fuel=1e12", "--timeout=200ms"], "deadline", "ttr", 200),
    ] {
        let document = greedy(&node, want, limits)?;
        let verdict = &document["verdict"];
        assert_eq!(
            (&verdict["kind"], &verdict["limit"]),
            (&json!(kind), &json!(limit)),
            "{want} {limits:?}: {verdict}"
        );
        assert_eq!(verdict["allowed"], allowed, "{want} {limits:?}: {verdict}");
        assert!(
            verdict["observed"].as_u64().is_some_and(|observed| observed >= allowed),
            "{want} {limits:?}: {verdict}"
        );
        let message = verdict["message"].as_str().context("a limit has a message")?;
        assert!(message.contains(&format!("`{limit}`")), "{message}");
        assert_eq!(document["files"], json!([]), "nothing of a failed attempt is published");
    }
    Ok(())
}

#[test]
fn a_guest_that_copes_with_a_refusal_is_done() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    assert_eq!(greedy(&node, "memory-and-cope", &[])?["result"], json!({"refused": true}));
    let document = greedy(&node, "files-and-cope", &["--result-files=10"])?;
    assert_eq!(document["result"]["made"], 10);
    assert_eq!(document["files"].as_array().map(Vec::len), Some(10));
    greedy(&node, "many-handles", &[])?;
    Ok(())
}

#[test]
fn a_limit_that_is_just_enough_is_enough() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let usage = greedy(&node, "nothing", &["--seed=1"])?["usage"].clone();
    let figure = |name: &str| usage[name].as_u64().context("a number");
    let (fuel, memory) = (figure("fuel")?, figure("peak_memory")?);
    assert_eq!(greedy(&node, "nothing", &["--seed=1", &format!("--memory={memory}")])?["state"], "done");
    assert_eq!(greedy(&node, "nothing", &["--seed=1", &format!("--memory={}", memory - 1)])?["state"], "dead");
    assert_eq!(greedy(&node, "nothing", &["--seed=1", &format!("--fuel={}", fuel + 1)])?["state"], "done");
    assert_eq!(
        greedy(&node, "nothing", &["--seed=1", &format!("--fuel={}", fuel / 2)])?["verdict"]["kind"],
        "out-of-fuel"
    );
    Ok(())
}

#[test]
fn how_a_command_ends_decides_its_verdict() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    for (want, kind, part) in [
        ("panic", "trapped", "unreachable"),
        ("deep", "trapped", ""),
        ("exit-7", "failed", "code 7"),
        ("exit-65", "failed", "code 65"),
        ("silence", "bad-result", "nothing"),
        ("prose", "bad-result", "not JSON"),
        ("two-values", "bad-result", "not JSON"),
        ("latin1", "bad-result", "UTF-8"),
    ] {
        let verdict = greedy(&node, want, &[])?["verdict"].clone();
        assert_eq!(verdict["kind"], kind, "{want}: {verdict}");
        assert!(verdict["message"].as_str().is_some_and(|message| message.contains(part)), "{want}: {verdict}");
        let code = want.strip_prefix("exit-").map(str::parse::<u32>).transpose()?;
        assert_eq!(verdict["exit_code"], json!(code), "{want}: {verdict}");
        assert_eq!(verdict["permanent"] == true, want == "exit-65", "{want}: {verdict}");
    }
    Ok(())
}

#[test]
fn a_long_log_loses_its_middle_and_ends_nothing() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("greedy")?;
    let output = node.run(["run", argument(&module)?, "--param=want=log", "--log-size=4KiB"])?;
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.len() < 6000 && log.contains("the end") && log.contains("bytes dropped"), "{log}");
    Ok(())
}

#[test]
fn params_reach_a_command_whole_or_are_refused() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let core = guests::rust("plain")?;
    let wrapped = guests::wrapped(&core)?;
    // {"a":"…"} are eight characters more than the text.
    for (module, length, kind) in [
        (&core, 100_000, "done"),
        (&core, 900_000, "done"),
        (&wrapped, 24 * 1024 - 8, "done"),
        (&wrapped, 24 * 1024 - 7, "failed"),
    ] {
        let params = crate::support::file(&node, "params.json", format!(r#"{{"a":"{}"}}"#, "x".repeat(length)))?;
        let (document, _) = run(&node, [argument(module)?, "--params", &format!("@{}", argument(&params)?)])?;
        assert_eq!(document["verdict"]["kind"], kind, "{length}: {}", document["verdict"]);
    }
    Ok(())
}

#[test]
fn a_run_that_depends_only_on_what_is_pinned_is_never_repeated() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    node.ok(["algorithm", "add", "greedy", argument(&guests::rust("greedy")?)?])?;
    let pinned = submit(&node, ["greedy", "--param=want=panic", "--seed=7", "--max-attempts=2"])?;
    let free = submit(&node, ["greedy", "--param=want=panic", "--max-attempts=2"])?;
    let permanent = submit(&node, ["greedy", "--param=want=exit-65", "--max-attempts=2"])?;
    work(&node, &[])?;
    let (pinned, free, permanent) = (show(&node, &pinned)?, show(&node, &free)?, show(&node, &permanent)?);
    assert_eq!((verdicts(&pinned), verdicts(&free)), (vec!["trapped"], vec!["trapped", "trapped"]));
    assert_eq!(verdicts(&permanent), ["failed"]);
    for record in [pinned, free, permanent] {
        assert_eq!(record["state"], "dead");
    }
    Ok(())
}

#[test]
fn an_algorithm_that_returns_too_much_has_met_the_limit_on_the_document() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = longboat_tests::build::algorithm("forecast")?;
    let input = longboat_tests::sample("forecast", "demand.csv");
    let arguments = [argument(&module)?, "--input", argument(&input)?, "--param=method=seasonal-naive"];
    for horizon in ["--param=horizon=48", "--param=horizon=9000"] {
        let (document, code) = run(&node, arguments.iter().chain(&[horizon, "--document-size=1KiB"]))?;
        assert_eq!(code, Some(1));
        assert_eq!(
            (&document["verdict"]["kind"], &document["verdict"]["limit"]),
            (&json!("result-quota"), &json!("document_size")),
            "{horizon}: {document}"
        );
    }
    Ok(())
}

/// A module with one function that takes and gives nothing, with this body and what may come before it.
fn module(memory: &[u8], body: &[u8]) -> Vec<u8> {
    // Sections of at most 16 KiB: their sizes fit in two bytes of seven bits.
    let number = |size: usize| [(size & 0x7f) as u8 | 0x80, (size >> 7) as u8];
    let mut bytes = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0".to_vec();
    bytes.extend(memory);
    bytes.push(10);
    bytes.extend(number(body.len() + 3));
    bytes.push(1);
    bytes.extend(number(body.len()));
    bytes.extend(body);
    bytes
}

#[test]
fn a_module_that_would_be_too_much_to_compile_is_refused_when_it_is_registered() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let two_gibibytes = module(b"\x05\x05\x01\0\x80\x80\x02", b"\0\x0b");
    let locals = module(b"", b"\x01\xff\xff\xff\xff\x0f\x7f\x0b");
    let loops = module(b"", &[&b"\0"[..], &b"\x03\x40\x0b".repeat(1_001), b"\x0b"].concat());
    for (name, bytes, parts) in [
        ("memory", two_gibibytes, ["starts with 2.0 GiB of memory", "may have more than 1.0 GiB"]),
        ("locals", locals, ["4294967295 locals in one function", "may have 5000"]),
        ("loops", loops, ["1001 loops in one function", "may have 1000"]),
    ] {
        let path = crate::support::file(&node, &format!("{name}.wasm"), bytes)?;
        for command in [&["algorithm", "add", name][..], &["run"]] {
            let output = node.command(command.iter().copied().chain([argument(&path)?])).output()?;
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
        }
    }
    assert_eq!(node.json(["algorithm", "list"])?, json!([]));
    Ok(())
}
