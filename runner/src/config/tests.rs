//! What is read, and what is refused.

use super::*;

fn read(toml: &str) -> Result<Config, String> {
    read_with(toml, &[])
}

fn read_with(toml: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::io::Write::write_all(&mut file, toml.as_bytes()).unwrap();
    let environment = environment.iter().map(|(name, text)| (name.into(), text.into()));
    load::load(Some(file.path()), environment).map_err(|error| error.to_string())
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(read(""), Ok(Config::default()));
}

#[test]
fn what_a_ceiling_leaves_out_is_the_default_ceiling() {
    let config = read("[limits.ceiling]\nmemory = \"2GiB\"\n").unwrap();
    assert_eq!(config.limits.ceiling, Limits { memory: 2 << 30, ..Limits::default_ceiling() });
}

#[test]
fn jobs_are_kept_for_a_time_or_for_ever() {
    let retention = read("[retention]\ndone = \"2w\"\ndead = 90\n").unwrap().retention;
    let kept = [retention.done, retention.dead, retention.cancelled].map(Keep::duration);
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    assert_eq!(kept, [days(14), Some(Duration::from_secs(90)), days(30)]);
    let retention = read("[retention]\ndone = \"forever\"\n").unwrap().retention;
    assert_eq!((retention.done, retention.dead), (Keep::Forever, Keep::Forever));
}

#[test]
fn a_mistake_is_named() {
    for (toml, part) in [
        ("[worker]\nslotts = 3\n", "slotts"),
        ("[worker]\nslots = \"many\"\n", "slots"),
        ("[limits.default]\nfuel = 1_000_000_000_000_000\n", "limits.default.fuel"),
        ("[worker]\nslots = 0\n", "worker.slots"),
        ("[worker]\nlease = \"5s\"\n", "worker.lease"),
        ("[worker]\nconfinement = \"maybe\"\n", "worker.confinement: one of best-effort, required, off, not \"maybe\""),
        ("[worker]\nepoch_checks = 1\n", "worker.epoch_checks: one of in-guest, at-slices, not \"1\""),
        ("[worker]\nnan_bits = \"\"\n", "worker.nan_bits: one of platform, canonical, not \"\""),
        ("[input]\nallow = [\"http://x/\"]\n", "http://x/"),
        ("[result_url]\ndeny = [\"10.0.0.0/99\"]\n", "10.0.0.0/99"),
        ("[retention]\ndone = \"never\"\n", "retention.done: \"never\" is not a duration"),
        ("[retention]\ndone = \"0s\"\n", "retention.done: at least 1s"),
        ("[retention]\ndead = true\n", "retention.dead"),
        ("[retention]\nheld = \"1d\"\n", "held"),
        ("[http]\npublic_url = \"http://me@node1/\"\n", "http.public_url: \"http://me@node1/\" is no public URL"),
        ("what", "what"),
    ] {
        let error = read(toml).unwrap_err();
        assert!(error.contains(part), "{toml}: {error}");
    }
}

#[test]
fn variables_win_over_the_file() {
    let file = "[worker]\nslots = 2\nname = \"a\"\n";
    let variables = [
        ("LONGBOAT__WORKER__SLOTS", "8"),
        ("LONGBOAT__WORKER__NAME", "007"),
        ("LONGBOAT__RETENTION__DONE", "2w"),
        ("LONGBOAT__LIMITS__CEILING__FUEL", "1e11"),
        ("LONGBOAT__HTTP__PUBLIC_URL", "https://node1.example.org"),
        ("LONGBOAT__INPUT__ALLOW", "[\"data.example.org\"]"),
        ("LONGBOAT_DATA_DIR", "elsewhere"),
    ];
    let config = read_with(file, &variables).unwrap();
    assert_eq!((config.worker.slots, config.worker.name.as_deref()), (Some(8), Some("007")));
    assert_eq!(config.retention.done.duration(), Some(Duration::from_secs(14 * 86_400)));
    assert_eq!(config.limits.ceiling.fuel, 100_000_000_000);
    assert_eq!(config.http.public_url.unwrap().as_str(), "https://node1.example.org/");
    assert_ne!(config.input, Rules::default());
    // A name may look like a number or a truth.
    for name in ["8", "true", "1e3", "2026-11-22"] {
        let config = read_with("", &[("LONGBOAT__WORKER__NAME", name)]).unwrap();
        assert_eq!(config.worker.name.as_deref(), Some(name));
    }
}

#[test]
fn an_error_says_where_and_what_to_do() {
    for (toml, said) in [
        ("# a node\n\n[worker]\nslotts = 3\n", "line 4, worker.slotts: unknown field `slotts`, expected one of"),
        (
            "[worker]\nslots = \"many\"\n",
            "line 2, worker.slots: invalid type: string \"many\", expected u32; correct it",
        ),
        ("worker.lease = 1\nworker.slots = 3", "line 1, worker.lease: at least twice worker.heartbeat"),
        ("[worker]\nslots = \n", "line 2, \"slots = \": "),
        ("[worker]\nslots = 1\nslots = 2\n", "line 3, \"slots = 2\": duplicate key"),
    ] {
        let error = read(toml).unwrap_err();
        assert!(error.contains(".toml, ") && error.contains(said), "{toml}: {error}");
    }
    for (name, text, said) in [
        ("LONGBOAT__WORKER__SLOTS", "many", "LONGBOAT__WORKER__SLOTS, worker.slots: invalid type: string \"many\""),
        ("LONGBOAT__WORKER__SLOTTS", "1", "LONGBOAT__WORKER__SLOTTS, worker.slotts: unknown field `slotts`"),
        ("LONGBOAT__WORKER__SLOTS", "0", "LONGBOAT__WORKER__SLOTS, worker.slots: at least 1"),
    ] {
        let error = read_with("[worker]\nslots = 1\n", &[(name, text)]).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let missing = Config::load(Some(Path::new("no-such.toml"))).unwrap_err().to_string();
    assert!(missing.starts_with("failed to read no-such.toml: ") && missing.ends_with("--config"), "{missing}");
}
