//! Changing jobs that wait.

use crate::support::{argument, file, sailor, show, state, submit, text, time, work};
use longboat_tests::program::Longboat;
use serde_json::{Value, json};

/// A job that waits until somebody releases it.
fn held(node: &Longboat, options: &[&str]) -> anyhow::Result<String> {
    submit(node, ["drunken-sailor", "--hold"].iter().chain(options))
}

#[test]
fn every_field_that_can_be_changed_has_its_option() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = held(&node, &[])?;
    for (options, field, value) in [
        (&["--priority=7"][..], "priority", json!(7)),
        (&["--set-tube=night"], "tube", json!("night")),
        (&["--set-host=node1"], "host", json!("node1")),
        (&["--set-tag=a", "--set-tag=b"], "tags", json!(["a", "b"])),
        (&["--add-tag=c", "--add-tag=a", "--remove-tag=b"], "tags", json!(["a", "c"])),
        (&["--set-algorithm=forecast"], "algorithm", json!("forecast")),
        (&["--param=a={\"x\":1}", "--param=b=2"], "params", json!({"a": {"x": 1}, "b": 2})),
        (&["--param=a={\"y\":2}", "--param=b=null"], "params", json!({"a": {"y": 2}})),
        (&["--params={\"c\":3}", "--param=d=4"], "params", json!({"c": 3, "d": 4})),
        (&["--input=one=data:,1", "--input=two=data:,2"], "input", json!({"one": "data:,1", "two": "data:,2"})),
        (&["--input=two=data:,3"], "input", json!({"two": "data:,3"})),
        (&["--input=data:,4"], "input", json!("data:,4")),
        (&["--memory=64MiB"], "limits", json!({"memory": 64 << 20})),
        (&["--fuel=1e6"], "limits", json!({"memory": 64 << 20, "fuel": 1_000_000})),
        (&["--ttr=90s"], "ttr", json!(90)),
        (&["--max-attempts=5"], "max_attempts", json!(5)),
        (&["--seed=9"], "seed", json!(9)),
        (&["--clock=2026-11-21T18:00:00Z"], "clock", json!("2026-11-21T18:00:00Z")),
        (&["--expires=2h"], "expires", json!(7200)),
        (&["--delay=1h"], "delay", json!(3600)),
        (&["--run-at=2051-01-01T00:00:00Z"], "run_at", json!("2051-01-01T00:00:00Z")),
        (&["--result-url=https://hooks.example.org/x"], "result_url", json!("https://hooks.example.org/x")),
    ] {
        let updated = node.json(["update", &id].iter().chain(options))?;
        assert_eq!(updated, json!([{"id": id, "state": "held"}]), "{options:?}");
        assert_eq!(show(&node, &id)?[field], value, "{options:?}");
    }
    let record = show(&node, &id)?;
    assert!(record.get("delay").is_none() && time(&record["ready_at"])?.starts_with("2051"), "{record}");
    let all =
        "algorithm,params,input,result_url,tube,priority,run_at,expires,ttr,max_attempts,limits,seed,clock,tags,host";
    let (_, optional) = all.split_once(',').unwrap_or_default();
    node.ok(["update", &id, "--unset", optional])?;
    let untouched = show(&node, &held(&node, &["--param=x=1"])?)?;
    let (record, untouched) = (show(&node, &id)?, untouched.as_object().cloned().unwrap_or_default());
    for field in optional.split(',').filter(|field| *field != "params") {
        assert_eq!(record.get(field), untouched.get(field), "{field} is what it is by default");
    }
    assert_eq!((&record["params"], &record["algorithm"]), (&json!({}), &json!("forecast")));
    Ok(())
}

#[test]
fn a_changed_job_runs_as_it_was_changed() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = submit(&node, ["drunken-sailor", "--param=mode=exit", "--tube=night", "--delay=1h"])?;
    let input = file(&node, "input.txt", "a file of this machine")?;
    let options = ["--param=mode=read-input", "--set-tube=default", "--unset=delay", "--fuel=1e6", "--max-attempts=1"];
    node.ok(["update", &id, "--input", argument(&input)?].iter().chain(&options))?;
    assert_eq!(state(&node, &id)?, "ready");
    work(&node, &[])?;
    let record = show(&node, &id)?;
    assert_eq!(
        (&record["verdict"]["kind"], &record["history"][0]["usage"]["input_bytes"]),
        (&json!("out-of-fuel"), &json!(22))
    );
    Ok(())
}

#[test]
fn many_jobs_are_changed_at_once_each_by_what_it_has() -> anyhow::Result<()> {
    let node = sailor()?;
    let mut ids = Vec::new();
    for options in [&["--tag=a", "--param=x=1"][..], &["--tag=b", "--param=y=1"], &["--tag=a", "--param=x=1"]] {
        ids.push(held(&node, options)?);
    }
    let updated = node.json(["update", "--all", "--add-tag=new", "--remove-tag=b", "--params={\"z\":2}", "--yes"])?;
    assert_eq!(updated, json!(ids.iter().map(|id| json!({"id": id, "state": "held"})).collect::<Vec<_>>()));
    let changed = |id: &String| show(&node, id).map(|job| json!([job["tags"], job["params"]]));
    let changed = ids.iter().map(changed).collect::<Result<Vec<Value>, _>>()?;
    assert_eq!(changed, [json!([["a", "new"], {"z": 2}]), json!([["new"], {"z": 2}]), json!([["a", "new"], {"z": 2}])]);
    Ok(())
}

#[test]
fn a_change_that_cannot_be_is_refused_and_nothing_is_done() -> anyhow::Result<()> {
    let node = sailor()?;
    let id = held(&node, &["--tag=x"])?;
    let before = show(&node, &id)?;
    for (options, code, why) in [
        (&[][..], 2, "say what to change"),
        (&["--priority=1", "--unset=priority"], 2, "priority: set it or --unset it, not both"),
        (&["--param=x=1", "--unset=params"], 2, "params: set it or --unset it, not both"),
        (&["--memory=1MiB", "--unset=limits"], 2, "limits: set it or --unset it, not both"),
        (&["--delay=1h", "--run-at=2051-01-01T00:00:00Z"], 2, "cannot be used with"),
        (&["--set-tag=a", "--add-tag=b"], 2, "cannot be used with"),
        (&["--unset=id"], 2, "invalid value"),
        (&["--input=ftp://host/"], 2, "not by ftp"),
        (&["--memory=2TiB"], 1, "above this operator's ceiling"),
        (&["--ttr=48h"], 1, "above this operator's ceiling"),
        (&["--result-url=http://127.0.0.1/"], 1, "--result-url"),
        (&["--max-attempts=0"], 1, "max_attempts: at least 1"),
        (&["--add-tag="], 1, "tags: from 1 to"),
        (&["--input=../x=data:,1"], 1, "no such file"),
    ] {
        let output = node.run(["update", &id].iter().chain(options))?;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{options:?}: {errors}");
        assert!(errors.to_lowercase().contains(&why.to_lowercase()), "{options:?}: {errors}");
    }
    assert_eq!(show(&node, &id)?, before);
    let done = submit(&node, ["drunken-sailor", "--param=mode=normal"])?;
    work(&node, &[])?;
    for options in [&["--priority=1"][..], &["--add-tag=y"]] {
        let output = node.run(["update", &id, &done].iter().chain(options))?;
        let errors = text(&output.stderr);
        assert!(errors.contains(&done) && errors.contains("it is done") && !errors.contains(&id), "{errors}");
        assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(1), "updated 1 job"));
    }
    Ok(())
}
