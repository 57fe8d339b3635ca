//! Whatever readers are shown of a job, looked at all the time.

use crate::http::get;
use crate::support::{results, show};
use longboat_tests::program::{Longboat, Server};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long it rests between two looks, so that whoever is looked at gets on.
const REST: Duration = Duration::from_millis(5);

/// One node's results: by HTTP, by command, and in the part of its tree that the record names.
pub struct Site<'a> {
    node: &'a Longboat,
    server: Server,
    id: String,
}

impl<'a> Site<'a> {
    /// Starts to serve a node's results.
    pub fn open(node: &'a Longboat, id: &str) -> anyhow::Result<Self> {
        Ok(Self { node, server: node.start(["serve"])?, id: id.to_owned() })
    }

    /// The attempts that something that is shown here says it was made by.
    fn shown(&self) -> anyhow::Result<BTreeSet<u32>> {
        let mut texts = Vec::new();
        for page in ["", ".log", "/", "/witness.txt"] {
            texts.push(get(&format!("{}/{}{page}", self.server.url, self.id))?.body);
        }
        if let Some(published) = show(self.node, &self.id)?["published"].as_u64() {
            let file = results(self.node, &self.id).join(published.to_string()).join("witness.txt");
            texts.extend(std::fs::read(file).ok());
        }
        texts.push(self.node.run(["result", &self.id])?.stdout);
        Ok(texts.iter().flat_map(|text| makers(&String::from_utf8_lossy(text))).collect())
    }
}

fn makers(text: &str) -> BTreeSet<u32> {
    let numbers = text.split("made by attempt ").skip(1);
    numbers.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()).collect()
}

/// Looks at all sites for as long as `during` takes, and returns which attempts were ever shown, together with what it
/// returned.
pub fn watch<T>(sites: &[Site<'_>], during: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(BTreeSet<u32>, T)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut shown = BTreeSet::new();
            // Once more at the end, so that what was left in place is seen for certain.
            loop {
                let is_last = over.load(Ordering::SeqCst);
                for site in sites {
                    shown.extend(site.shown()?);
                }
                if is_last {
                    return Ok(shown);
                }
                std::thread::sleep(REST);
            }
        });
        let done = during();
        over.store(true, Ordering::SeqCst);
        let shown: anyhow::Result<_> = watcher.join().expect("looking does not panic");
        Ok((shown?, done?))
    })
}
