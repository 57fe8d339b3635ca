//! `longboat run`: what goes in, what comes out, and how it is refused.

use crate::guests;
use crate::support::{argument, file, run, sailor, submit, text, with_input, work};
use anyhow::Context;
use longboat_tests::build;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};

#[test]
fn the_document_of_a_run_has_every_field_of_the_contract() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("plain")?;
    let input = file(&node, "input", "a\nb\n")?;
    let clock = "2026-11-21T18:00:00Z";
    let (document, code) = run(
        &node,
        [argument(&module)?, "--input", argument(&input)?, "--seed=7", "--clock", clock, "--params", r#"{"a": 1}"#],
    )?;
    assert_eq!(code, Some(0));
    let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
    let fields =
        ["algorithm", "attempt", "files", "id", "provenance", "result", "state", "timestamp", "usage", "verdict"];
    assert_eq!(keys(&document).context("an object")?, fields);
    assert_eq!(document["algorithm"], "plain");
    assert_eq!((&document["attempt"], &document["state"]), (&json!(1), &json!("done")));
    assert_eq!(document["verdict"], json!({"kind": "done"}));
    assert_eq!(document["id"], document["result"]["id"], "the guest saw the same id");
    assert_eq!(document["files"][0]["name"], "copies/input.txt");
    assert_eq!(document["files"][0]["size"], 4);
    assert_eq!(document["files"][0]["sha256"], sha256(&std::fs::read(&input)?));
    let usage = &document["usage"];
    assert_eq!(usage["input_bytes"], 4);
    let returned = serde_json::to_string(&document["result"])?.len() as u64;
    assert!(usage["result_bytes"].as_u64().context("a number")? >= returned + 4);
    assert!(usage["fuel"].as_u64().is_some_and(|fuel| fuel > 0) && usage["fuel_is_lower_bound"].is_null());
    assert!(usage["peak_memory"].as_u64().is_some_and(|bytes| bytes >= 65_536));
    assert!(usage["wall_ms"].as_f64().is_some_and(|wall| wall > 0.0));
    let provenance = &document["provenance"];
    let sha256_of = |bytes: &[u8]| json!(format!("sha256:{}", sha256(bytes)));
    assert_eq!(provenance["module"], sha256_of(&std::fs::read(module)?));
    assert_eq!(provenance["params"], sha256_of(br#"{"a":1}"#));
    assert_eq!(provenance["inputs"], json!({"input": sha256_of(b"a\nb\n")}));
    assert_eq!((&provenance["seed"], &provenance["clock"]), (&json!(7), &json!(clock)));
    assert!(provenance["engine"].as_str().is_some_and(|engine| engine.contains("wasmtime")));
    assert_eq!(provenance["limits"]["memory"], 256 << 20);
    document["timestamp"].as_str().context("a time")?;
    Ok(())
}

#[test]
fn all_formats_tell_the_same() -> anyhow::Result<()> {
    let node = sailor()?;
    let arguments = ["run", "drunken-sailor", "--param=mode=normal", "-o"];
    let human: Value = serde_json::from_str(&node.ok(&arguments[..3])?)?;
    let json: Value = serde_json::from_str(&node.ok(arguments.iter().chain(&["json"]))?)?;
    let yaml = node.ok(arguments.iter().chain(&["yaml"]))?;
    assert_eq!(human, json["result"]);
    assert!(yaml.contains("result:\n  mode: normal\n  attempt: 1\n"), "{yaml}");
    Ok(())
}

#[test]
fn every_result_that_is_done_can_be_printed_in_every_format() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("greedy")?;
    for want in ["nesting", "numbers"] {
        for format in ["human", "json", "yaml"] {
            let want = format!("--param=want={want}");
            let output = node.run(["run", argument(&module)?, &want, "-o", format])?;
            let (code, errors) = (output.status.code(), text(&output.stderr));
            let refused = errors.contains("bad-result");
            assert!(code == Some(0) || refused, "{want} -o {format}: {errors:.300}");
        }
    }
    Ok(())
}

#[test]
fn in_a_pipe_nothing_is_drawn() -> anyhow::Result<()> {
    let node = sailor()?;
    for mode in ["slow", "exit"] {
        let output = node.run(["run", "drunken-sailor", "--param=seconds=0.3", &format!("--param=mode={mode}")])?;
        let (out, errors) = (text(&output.stdout), text(&output.stderr));
        assert!(!out.contains('\x1b') && !errors.contains('\x1b'), "no escape sequences: {errors:?}");
        assert!(!errors.contains('\r') && !errors.contains('█') && !errors.contains("░"), "no bar: {errors:?}");
    }
    Ok(())
}

#[test]
fn a_run_that_returns_nothing_prints_nothing_on_standard_output() -> anyhow::Result<()> {
    let node = sailor()?;
    let output = node.run(["run", "drunken-sailor", "--param=mode=exit"])?;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    Ok(())
}

#[test]
fn a_guests_log_cannot_draw_on_the_terminal() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let output = node.run(["run", argument(&guests::rust("greedy")?)?, "--param=want=escapes"])?;
    let errors = text(&output.stderr);
    assert!(errors.contains("wiped") && !errors.contains(['\x1b', '\x07']), "{errors:?}");
    Ok(())
}

#[test]
fn an_input_may_be_a_file_standard_input_a_data_url_or_have_a_name() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("plain")?;
    let input = file(&node, "input", "a\nb\n")?;
    let named = format!("load={}", argument(&input)?);
    for source in [argument(&input)?, "-", "data:,a%0Ab%0A", "data:text/plain;base64,YQpiCg==", &named] {
        let command = node.command(["run", argument(&module)?, "--input", source]);
        let output = with_input(command, b"a\nb\n")?;
        let result: Value = serde_json::from_slice(&output.stdout).with_context(|| text(&output.stderr))?;
        assert_eq!((&result["bytes"], &result["lines"]), (&json!(4), &json!(2)), "{source}");
    }
    let result: Value = serde_json::from_str(&node.ok(["run", argument(&module)?])?)?;
    assert_eq!(result["bytes"], 0, "no input is an empty standard input");
    Ok(())
}

#[test]
fn params_come_from_text_from_a_file_and_one_by_one() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let module = guests::rust("plain")?;
    let params = file(&node, "params.json", r#"{"a": 1, "b": {"c": [null, "ä"]}}"#)?;
    let from_file = format!("@{}", argument(&params)?);
    let seen = |arguments: &[&str]| -> anyhow::Result<Value> {
        let output = node.ok(["run", argument(&module)?].iter().chain(arguments))?;
        Ok(serde_json::from_str::<Value>(&output)?["params"].clone())
    };
    assert_eq!(seen(&[])?, json!({}));
    assert_eq!(seen(&["--params", &from_file])?, json!({"a": 1, "b": {"c": [null, "ä"]}}));
    assert_eq!(seen(&["--params", &from_file, "--param=a=two", "--param=d=[3]"])?["a"], "two");
    assert_eq!(seen(&["--param=x=1e3", "--param=y=", "--param=z=a=b"])?, json!({"x": 1e3, "y": "", "z": "a=b"}));
    Ok(())
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() -> anyhow::Result<()> {
    let node = sailor()?;
    for (arguments, part) in [
        (vec!["run"], "FILE|NAME"),
        (vec!["sail"], "sail"),
        (vec!["run", "drunken-sailor", "--params", "[1]"], "--params"),
        (vec!["run", "drunken-sailor", "--params", "{"], "--params"),
        (vec!["run", "drunken-sailor", "--param", "mode"], "NAME=VALUE"),
        (vec!["run", "drunken-sailor", "--fuel", "lots"], "lots"),
        (vec!["run", "drunken-sailor", "--memory", "big"], "big"),
        (vec!["run", "drunken-sailor", "--timeout", "soon"], "soon"),
        (vec!["run", "drunken-sailor", "--timeout", "0"], "ttr"),
        (vec!["run", "drunken-sailor", "--clock", "noon"], "noon"),
        (vec!["run", "drunken-sailor", "--seed", "-1"], "-1"),
        (vec!["run", "drunken-sailor", "--input", "a", "--input", "b"], "two inputs"),
        (vec!["run", "Drunken Sailor"], "Drunken Sailor"),
        (vec!["run", "drunken-sailor", "-o", "xml"], "xml"),
        (vec!["show", "nobody"], "UUID"),
        (vec!["list", "--state", "drunk"], "drunk"),
        (vec!["run", "drunken-sailor", "--queue", "carrier-pigeon"], "carrier-pigeon"),
        (vec!["wait"], "by their ids, by a filter"),
    ] {
        let output = node.run(&arguments)?;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(part) && output.stdout.is_empty(), "{arguments:?}: {errors}");
    }
    Ok(())
}

#[test]
fn what_cannot_be_run_is_refused_with_the_reason() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let whole = std::fs::read(guests::rust("plain")?)?;
    let prose = file(&node, "prose.wasm", "#!/bin/sh\n")?;
    let half = file(&node, "half.wasm", &whole[..whole.len() / 2])?;
    let empty = file(&node, "empty.wasm", "")?;
    let entryless = file(&node, "entryless.wasm", b"\0asm\x01\0\0\0")?;
    let smuggler = guests::rust("smuggler")?;
    let gone = node.data_dir().join("gone.wasm");
    for (module, part) in [
        (&prose, "not WebAssembly"),
        (&half, "not valid WebAssembly"),
        (&empty, "not WebAssembly"),
        (&entryless, "no entry"),
        (&smuggler, "`launch` from `env`"),
        (&gone, "No such file"),
    ] {
        let file = argument(module)?;
        for command in [&["run", file][..], &["algorithm", "add", "bad", file]] {
            let output = node.run(command)?;
            let errors = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{command:?}: {errors}");
            assert!(errors.contains(part) && errors.contains(file), "{command:?}: {errors}");
        }
    }
    let errors = text(&node.run(["run", "nobody"])?.stderr);
    assert!(errors.contains("nobody") && errors.contains("algorithm add"), "{errors}");
    assert_eq!(node.json(["algorithm", "list"])?, json!([]), "nothing was registered");
    Ok(())
}

#[test]
fn files_of_a_result_appear_where_they_were_asked_for_and_nowhere_else() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let (plain, greedy) = (guests::rust("plain")?, guests::rust("greedy")?);
    let to = node.data_dir().join("deep/out");
    node.ok(["run", argument(&plain)?, "--input=data:,x", "--result-dir", argument(&to)?])?;
    assert_eq!(std::fs::read_to_string(to.join("copies/input.txt"))?, "x");
    let again = node.run(["run", argument(&plain)?, "--result-dir", argument(&to)?])?;
    assert_eq!(again.status.code(), Some(2), "what is there is not overwritten: {}", text(&again.stderr));
    let failed = node.data_dir().join("failed");
    let output = node.run(["run", argument(&greedy)?, "--param=want=files", "--result-dir", argument(&failed)?])?;
    assert_eq!(output.status.code(), Some(1));
    assert!(!failed.exists(), "an attempt that failed leaves no files");
    Ok(())
}

#[test]
fn a_registered_algorithm_is_found_by_name_and_by_digest() -> anyhow::Result<()> {
    let node = sailor()?;
    let add = |name: &str, module: &str| node.ok(["algorithm", "add", name, module]);
    let sailor = build::algorithm("drunken-sailor")?;
    let plain = guests::rust("plain")?;
    let digest = format!("sha256:{}", sha256(&std::fs::read(&sailor)?));
    assert_eq!(node.json(["algorithm", "show", "drunken_sailor"])?["module"], digest.as_str(), "_ and - are alike");
    add("drunken-sailor", argument(&plain)?)?;
    let now = node.json(["algorithm", "show", "drunken-sailor"])?;
    assert_eq!((&now["shape"], &now["earlier"][0]["module"]), (&json!("command"), &json!(digest)));
    let (document, code) = run(&node, [&format!("drunken-sailor@{digest}"), "--param=mode=normal"])?;
    assert_eq!((&document["result"]["mode"], code), (&json!("normal"), Some(0)));
    node.ok(["algorithm", "remove", "drunken-sailor"])?;
    assert_eq!(node.json(["algorithm", "list"])?, json!([]));
    assert_eq!(node.run(["run", "drunken-sailor"])?.status.code(), Some(1));
    Ok(())
}

#[test]
fn a_damaged_module_is_refused_and_registering_it_again_heals_it() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let plain = guests::rust("plain")?;
    node.ok(["algorithm", "add", "plain", argument(&plain)?])?;
    let digest = sha256(&std::fs::read(&plain)?);
    let queue = rusqlite::Connection::open(node.data_dir().join("queue.db"))?;
    queue.execute("UPDATE module_pieces SET bytes = zeroblob(length(bytes)) WHERE place = 1", [])?;
    let output = node.run(["run", "plain"])?;
    let errors = text(&output.stderr);
    assert!(!output.status.success() && errors.contains("damaged") && errors.contains("register it again"), "{errors}");
    node.ok(["algorithm", "add", "plain", argument(&plain)?])?;
    node.ok(["run", "plain"])?;
    // A damaged copy of a sound module is replaced.
    let copy = node.data_dir().join("algorithms").join(digest).with_extension("wasm");
    submit(&node, ["plain"])?;
    for _ in 0..2 {
        work(&node, &["--max-jobs=1"])?;
        assert_eq!(std::fs::read(&copy)?, std::fs::read(&plain)?);
        std::fs::write(&copy, "half")?;
        submit(&node, ["plain"])?;
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    format!("{:x}", sha2::Sha256::digest(bytes))
}
