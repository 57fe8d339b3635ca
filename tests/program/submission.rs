//! `longboat submit`: what is taken in, and what is refused.

use crate::support::{argument, file, sailor, show, state, submit, submit_text, text, work};
use anyhow::Context;
use longboat_tests::program::Longboat;
use serde_json::{Value, json};

fn count(node: &Longboat) -> anyhow::Result<usize> {
    node.json(["list"])?.as_array().map(Vec::len).context("a list is a list")
}

#[test]
fn every_field_of_a_job_can_be_given_as_an_option() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(
        &node,
        [
            "drunken_sailor",
            "--id=BC3A925099B9012E0F06549A20077664",
            "--params",
            r#"{"mode": "normal"}"#,
            "--input=a=data:,1",
            "--input=b=http://data.example.org/b?c=d",
            "--tube=night",
            "--priority=7",
            "--delay=1h30m",
            "--expires=2h",
            "--ttr=5",
            "--max-attempts=9",
            "--fuel=1e6",
            "--memory=64MiB",
            "--result-size=1MiB",
            "--result-files=3",
            "--document-size=2KiB",
            "--log-size=1KiB",
            "--input-size=4KiB",
            "--seed=42",
            "--clock=2026-11-21T19:00:00+01:00",
            "--unique=nightly",
            "--unique-for=1h",
            "--tag=a",
            "--tag=b",
            "--host=node1",
            "--hold",
        ],
    )?;
    assert_eq!(id, "bc3a9250-99b9-012e-0f06-549a20077664");
    let record = show(&node, &id)?;
    let expected = json!({
        "algorithm": "drunken-sailor", "params": {"mode": "normal"},
        "input": {"a": "data:,1", "b": "http://data.example.org/b?c=d"},
        "tube": "night", "priority": 7, "delay": 5400, "expires": 7200, "ttr": 5, "max_attempts": 9,
        "limits": {"fuel": 1_000_000, "memory": 64 << 20, "result_size": 1 << 20, "result_files": 3,
            "document_size": 2048, "log_size": 1024, "input_size": 4096},
        "seed": 42, "clock": "2026-11-21T18:00:00Z", "unique": {"key": "nightly", "for": 3600},
        "tags": ["a", "b"], "host": "node1", "hold": true, "state": "held", "attempts": 0, "history": [],
    });
    for (field, value) in expected.as_object().context("an object")? {
        assert_eq!(record[field], *value, "{field}");
    }
    Ok(())
}

#[test]
fn a_record_has_the_fields_that_were_left_at_their_defaults_too() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor"])?;
    for record in [show(&node, &id)?, node.json(["list"])?[0].clone()] {
        let defaults = [("tube", json!("default")), ("priority", json!(1024)), ("max_attempts", json!(3))];
        for (field, value) in defaults {
            assert_eq!(record[field], value, "{field}");
        }
    }
    Ok(())
}

#[test]
fn submitting_an_id_twice_is_a_no_op_with_the_same_document_and_an_error_with_another() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = "0192aaaa-bbbb-4ccc-8ddd-eeeeffff0000";
    let job = ["drunken-sailor", "--param=mode=normal", "--id", id];
    assert_eq!([submit(&node, job)?, submit(&node, job)?], [id, id]);
    let other = node.run(["submit"].iter().chain(&job).chain(&["--priority=1"]))?;
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains(id), "{}", text(&other.stderr));
    work(&node, &[])?;
    assert_eq!(submit(&node, job)?, id);
    assert_eq!((count(&node)?, state(&node, id)?.as_str()), (1, "done"), "what is done is not done again");
    // The same document in other words: no hyphens in the id, the defaults written out, keys in another order.
    let same = r#"{"priority": 1024, "params": {"mode": "normal"}, "algorithm": "drunken_sailor",
                   "id": "0192AAAABBBB4CCC8DDDEEEEFFFF0000"}"#;
    let output = submit_text(&node, same)?;
    assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(0), id), "{}", text(&output.stderr));
    Ok(())
}

#[test]
fn a_job_above_a_ceiling_is_refused_with_how_much_it_is_above() -> anyhow::Result<()> {
    let node = sailor()?;
    for (option, part) in [
        ("--memory=3GiB", "2.0 GiB"),
        ("--fuel=1e12", ""),
        ("--fuel=1000000000001", "which is 1 unit"),
        ("--result-files=10001", "which is 1 entr"),
        ("--ttr=25h", "which is 1h"),
        ("--document-size=65MiB", "1.0 MiB"),
    ] {
        let output = node.run(["submit", "drunken-sailor", option])?;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(if part.is_empty() { 0 } else { 1 }), "{option}: {errors}");
        assert!(errors.contains(part), "{option}: {errors}");
    }
    let too_long = r#"{"algorithm": "drunken-sailor", "limits": {"memory": "1GiB"}, "ttr": "30h"}"#;
    let output = submit_text(&node, too_long)?;
    assert!(!output.status.success() && text(&output.stderr).contains("`ttr`"), "{}", text(&output.stderr));
    let output = node.run(["run", "drunken-sailor", "--memory=3GiB"])?;
    assert_eq!(output.status.code(), Some(1), "a single run is held to the same ceilings");
    assert!(text(&output.stderr).contains("2.0 GiB"), "{}", text(&output.stderr));
    assert_eq!(count(&node)?, 1);
    Ok(())
}

#[test]
fn an_operators_own_ceiling_counts_and_can_be_raised() -> anyhow::Result<()> {
    let node = sailor()?;
    let job = ["submit", "drunken-sailor", "--memory=2GiB"];
    assert!(!node.run(job)?.status.success());
    file(&node, "config.toml", "[limits.ceiling]\nmemory = \"2GiB\"\nfuel = \"1e11\"\n")?;
    node.ok(job)?;
    assert!(!node.run(["submit", "drunken-sailor", "--fuel=2e11"])?.status.success());
    let output = node.command(job).env("LONGBOAT__LIMITS__CEILING__MEMORY", "1GiB").output()?;
    assert!(!output.status.success(), "the environment wins over the file");
    Ok(())
}

#[test]
fn jobs_come_as_lines_as_a_list_from_a_file_and_from_standard_input() -> anyhow::Result<()> {
    let node = sailor()?;
    let lines = "{\"algorithm\": \"drunken-sailor\", \"tags\": [\"x\"]}\n\n{\"algorithm\": \"drunken-sailor\"}\n";
    let list = r#"[{"algorithm": "drunken-sailor", "tags": ["x"]},
                   {"algorithm": "drunken-sailor"}]"#;
    for jobs in [lines, list] {
        let before = count(&node)?;
        let path = file(&node, "jobs", jobs)?;
        let from_file = node.ok(["submit", "--file", argument(&path)?])?;
        let from_input = submit_text(&node, jobs)?;
        assert_eq!((from_file.lines().count(), text(&from_input.stdout).lines().count()), (2, 2));
        assert_eq!(count(&node)?, before + 4);
        let first = from_file.lines().next().context("an id a line")?;
        assert_eq!(show(&node, first)?["tags"], json!(["x"]), "ids are in the order of the jobs");
    }
    Ok(())
}

#[test]
fn msg_qworkers_array_is_a_job() -> anyhow::Result<()> {
    let node = sailor()?;
    let jobs = r#"[{"uuid": "bc3a925099b9012e0f06549a20077664", "type": "drunken_sailor"}, {"23": "42", "mode": "rename", "count": 1}]
                  [{"uuid": "bc3a925099b9012e0f06549a20077665", "type": "drunken_sailor"}, null]"#;
    let output = submit_text(&node, jobs)?;
    let ids = text(&output.stdout);
    assert_eq!(ids, "bc3a9250-99b9-012e-0f06-549a20077664\nbc3a9250-99b9-012e-0f06-549a20077665\n");
    let record = show(&node, "bc3a925099b9012e0f06549a20077664")?;
    assert_eq!((&record["algorithm"], &record["params"]["23"]), (&json!("drunken-sailor"), &json!("42")));
    work(&node, &["--max-jobs=1"])?;
    assert_eq!(state(&node, "bc3a925099b9012e0f06549a20077664")?, "done");
    let directory = node.data_dir().join("results/bc/bc3a925099b9012e0f06549a20077664");
    assert_eq!(std::fs::read_dir(directory.join("1"))?.count(), 1, "files lie below where msg-qworker's lay");
    Ok(())
}

#[test]
fn of_a_file_with_a_mistake_nothing_is_submitted() -> anyhow::Result<()> {
    let node = sailor()?;
    let good = r#"{"algorithm": "drunken-sailor"}"#;
    for (bad, part) in [
        (r#"{"algorithm": "drunken-sailor", "prority": 1}"#, "prority"),
        (r#"{"algorithm": "drunken-sailor", "limits": {"memmory": 1}}"#, "memmory"),
        (r#"{"algorithm": "drunken-sailor", "limits": {"memory": "3GiB"}}"#, "ceiling"),
        (r#"{"algorithm": "Drunken Sailor"}"#, "Drunken Sailor"),
        (r#"{"algorithm": "drunken-sailor", "input": "file:///etc/passwd"}"#, "file:"),
        (r#"{"algorithm": "drunken-sailor", "delay": 1, "run_at": "2026-11-21T18:00:00Z"}"#, "run_at"),
        (r#"{"algorithm": "drunken-sailor", "max_attempts": 0}"#, "max_attempts"),
        (r#"{"algorithm": "drunken-sailor", "params": []}"#, "params"),
        (r#"{"algorithm": "drunken-sailor", "id": "7"}"#, "id"),
        (r#"{"params": {}}"#, "algorithm"),
        ("nonsense", "line 2"),
        (r#"{"algorithm": "#, "line 2"),
        ("17", "line 2"),
    ] {
        let output = submit_text(&node, &format!("{good}\n{bad}\n"))?;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{bad}: {errors}");
        assert!(errors.contains(part) && output.stdout.is_empty(), "{bad}: {errors}");
    }
    let one = r#"{"id": "bc3a9250-99b9-012e-0f06-549a20077664", "algorithm": "drunken-sailor", "priority": "#;
    let twice = submit_text(&node, &format!("{one}1}}\n{good}\n{one}2}}\n"))?;
    let told = "nothing was submitted: job 3 has the id bc3a9250-99b9-012e-0f06-549a20077664 of job 1";
    assert!(!twice.status.success() && text(&twice.stderr).contains(told), "{}", text(&twice.stderr));
    assert!(!submit_text(&node, "\n")?.status.success(), "no job at all is a mistake too");
    assert_eq!(count(&node)?, 0);
    Ok(())
}

#[test]
fn options_that_a_file_would_ignore_are_refused_beside_it() -> anyhow::Result<()> {
    let node = sailor()?;
    let jobs = file(&node, "jobs", r#"{"algorithm": "drunken-sailor"}"#)?;
    for option in ["drunken-sailor", "--priority=1", "--param=mode=normal", "--hold", "--tag=a", "--fuel=1"] {
        let output = node.run(["submit", "--file", argument(&jobs)?, option])?;
        assert_eq!(output.status.code(), Some(2), "{option}: {}", text(&output.stderr));
    }
    assert_eq!(count(&node)?, 0);
    Ok(())
}

#[test]
fn a_small_local_input_travels_in_the_job_and_a_large_one_is_refused() -> anyhow::Result<()> {
    let node = Longboat::with_algorithms(&["power-flow"])?;
    let case = longboat_tests::sample("power-flow", "case14.json");
    let id = submit(&node, ["power-flow", "--input", argument(&case)?])?;
    let large = file(&node, "large", vec![b'x'; (1 << 20) + 1])?;
    let output = node.run(["submit", "power-flow", "--input", argument(&large)?])?;
    let errors = text(&output.stderr);
    assert!(!output.status.success() && errors.contains("over HTTP"), "{errors}");
    assert!(!errors.contains("--input-size"), "no limit of the job would help: {errors}");
    work(&node, &[])?;
    let document = node.json(["result", &id])?;
    assert_eq!(document["result"]["bus"].as_array().map(Vec::len), Some(14));
    assert_eq!(document["usage"]["input_bytes"], std::fs::metadata(case)?.len());
    Ok(())
}

#[test]
fn a_unique_key_admits_one_job_at_a_time() -> anyhow::Result<()> {
    let node = sailor()?;
    let job = ["drunken-sailor", "--param=mode=normal", "--unique=nightly"];
    let first = submit(&node, job)?;
    let refused = node.run(["submit"].iter().chain(&job))?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains(&first), "{}", text(&refused.stderr));
    work(&node, &[])?;
    let second = submit(&node, job)?;
    assert_ne!(first, second);
    Ok(())
}

#[test]
fn ids_are_printed_one_a_line_or_as_json() -> anyhow::Result<()> {
    let node = sailor()?;
    let ids = node.json(["submit", "drunken-sailor"])?;
    let id = ids[0].as_str().context("an id")?;
    assert_eq!(id.len(), 36);
    assert_eq!(state(&node, id)?, "ready");
    let listed = node.json(["list"])?;
    assert_eq!(listed[0]["id"], Value::from(id));
    Ok(())
}

#[test]
fn a_place_for_the_result_is_judged_by_rules_of_its_own() -> anyhow::Result<()> {
    let node = Longboat::new()?;
    let rules = "[input]\nallow = [\"10.0.0.0/8\"]\n\
                 [result_url]\nallow = [\"192.168.7.0/24\"]\ndeny = [\"*.evil.example\"]\n";
    file(&node, "config.toml", rules)?;
    for (url, part) in [
        ("http://127.0.0.1/hook", "[result_url] allow = [\"127.0.0.1:80\"]"),
        ("http://10.0.0.1/hook", "results are sent to public addresses only"),
        ("http://[::ffff:169.254.169.254]/", "the metadata service of a cloud"),
        ("https://x.evil.example/hook", "the rule \"*.evil.example\" in the configuration ([result_url] deny)"),
        ("ftp://example.org/hook", "an http or https URL is needed, not ftp:"),
    ] {
        let output = submit_text(&node, &json!({"algorithm": "any", "result_url": url}).to_string())?;
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(part), "{url}: {said}");
    }
    assert_eq!(count(&node)?, 0);
    for url in ["https://example.org/hook", "http://192.168.7.1/hook"] {
        let id = submit(&node, ["any", "--result-url", url])?;
        assert_eq!(show(&node, &id)?["result_url"], url);
    }
    Ok(())
}
