//! The configuration file.

use crate::{Target, texts};
use longboat::config::{Config, Keep};
use std::io::Write as _;

/// The configuration.
pub const TARGET: Target = Target {
    name: "config",
    check,
    cases: 3_000,
    largest: 300,
    samples: || {
        texts([
            "[limits.default]\nmemory = \"128MiB\"\nttr = \"30s\"\n\n[limits.ceiling]\nfuel = \"1e11\"\n",
            "[input]\nallow = [\"data.example.org\", \"10.1.0.0/16:443\"]\ndeny = [\"203.0.113.0/24\"]\n",
            "[worker]\nslots = 4\nname = \"node1\"\nepoch_checks = \"in-guest\"\nlease = \"15s\"\nheartbeat = \"5s\"\n",
            "[retention]\ndone = \"30d\"\ndead = \"forever\"\ncancelled = 3600\n",
            "[http]\nlisten = \"127.0.0.1:7654\"\n",
        ])
    },
    words: &[
        "[",
        "]",
        "{",
        "}",
        "a.",
        "=",
        "\"",
        "'''",
        "#",
        "\n",
        "inf",
        "nan",
        "1979-05-27T07:32:00Z",
        "-1",
        "1e400",
        "\\u0000",
        "slots = ",
        "threads = ",
        "[limits.ceiling]",
        "\u{feff}",
        "é",
        "0x",
        "true",
    ],
    reached: &["a configuration", "refused"],
};

/// A configuration is refused with a reason, or one that a worker can run by.
pub fn check(bytes: &[u8]) -> &'static str {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().expect("the disk has room");
    file.write_all(bytes).expect("the disk has room");
    let config = match Config::load(Some(file.path())) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "a refusal says why");
            return "refused";
        }
    };
    for ((limit, default), (_, ceiling)) in
        config.limits.default.values().into_iter().zip(config.limits.ceiling.values())
    {
        assert!(default <= ceiling, "{limit}: {default} {ceiling}");
    }
    let worker = &config.worker;
    assert!([worker.slots, worker.threads].iter().flatten().all(|count| (1..=1024).contains(count)), "{worker:?}");
    assert!(worker.lease.0 >= worker.heartbeat.0 * 2 && !worker.heartbeat.0.is_zero(), "{worker:?}");
    let retention = &config.retention;
    let kept = [retention.done, retention.dead, retention.cancelled].into_iter().filter_map(Keep::duration);
    assert!(kept.min().is_none_or(|shortest| shortest.as_secs() > 0), "{retention:?}");
    let json = serde_json::to_value(&config).expect("a configuration can be shown");
    let again: Config = serde_json::from_value(json).expect("what is shown can be read");
    assert_eq!(again, config);
    "a configuration"
}
