//! What is read, and what is refused.

use super::*;

fn read(toml: &str) -> Result<Config, String> {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::io::Write::write_all(&mut file, toml.as_bytes()).unwrap();
    Config::load(Some(file.path())).map_err(|error| error.to_string())
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
