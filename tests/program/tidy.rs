//! What compilers and linters do not check.

use crate::guests;
use anyhow::{Context, ensure};
use longboat_tests::{build, workspace};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Crates that only these files may name, tests apart.
const FENCED: [(&str, &[&str]); 5] = [
    ("wasmtime", &["runner/src/sandbox", "benches/kernels_metering"]),
    ("landlock", &["runner/src/confinement"]),
    // The bench compares with the bare cost of a job's row.
    ("rusqlite", &["runner/src/queue/sqlite", "benches/throughput"]),
    ("reqwest", &["runner/src/fetch"]),
    ("axum", &["runner/src/server"]),
];

struct Source {
    /// From the top of the checkout, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_test(&self) -> bool {
        let parts: Vec<_> = self.path.split('/').collect();
        parts.contains(&"tests") || self.path.ends_with("/tests.rs")
    }
}

fn files_below(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut waiting) = (Vec::new(), vec![directory.to_owned()]);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).context("file names here are text")?;
            if path.is_dir() && !name.starts_with('.') && !matches!(name, "target" | "seeds") {
                waiting.push(path);
            } else if path.is_file() && wanted(&path) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn texts(wanted: &dyn Fn(&Path) -> bool) -> anyhow::Result<Vec<Source>> {
    let top = workspace().canonicalize()?;
    let read = |path: PathBuf| {
        let short = path.strip_prefix(&top)?.to_str().context("paths here are text")?.replace('\\', "/");
        Ok(Source { path: short, text: std::fs::read_to_string(&path)? })
    };
    let found = files_below(&top, wanted)?.into_iter().map(read).collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(found.len() > 1, "the checkout was not found");
    Ok(found)
}

fn rust_sources() -> anyhow::Result<Vec<Source>> {
    texts(&|path| path.extension().is_some_and(|extension| extension == "rs"))
}

/// The code without its comments, so that prose may name what it likes.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(at, line)| (at + 1, line))
}

#[test]
fn a_crate_behind_a_fence_is_named_behind_it_only() -> anyhow::Result<()> {
    for (name, places) in FENCED {
        let uses = [format!("{name}::"), format!("use {name};")];
        for source in rust_sources()?.iter().filter(|source| !source.is_test()) {
            let inside = places.iter().any(|place| {
                source.path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '.']) || rest.is_empty())
            });
            for (number, line) in code(&source.text).filter(|_| !inside) {
                let named = uses.iter().any(|wanted| {
                    line.match_indices(wanted)
                        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
                });
                assert!(!named, "{}:{number} names {name}, which is for {places:?}: {line}", source.path);
            }
        }
    }
    Ok(())
}

#[test]
fn nothing_is_left_to_do_and_no_machine_is_named() -> anyhow::Result<()> {
    let extensions = ["rs", "toml", "md", "wit", "yml", "yaml", "sh", "c", "wat", "json", "html", "js", "css"];
    let is_text = |path: &Path| {
        path.extension().and_then(|extension| extension.to_str()).is_some_and(|found| extensions.contains(&found))
    };
    // In two parts, so that this file does not find itself.
    let marks = [("to", "do!("), ("TO", "DO"), ("FIX", "ME"), ("dbg", "!("), ("unimplemented", "!(")];
    let places = [("/wo", "rk/"), ("/ho", "me/"), ("/ro", "ot/"), ("/tm", "p/"), ("/Us", "ers/")];
    // A home that stands for anybody's may stand in a text.
    let innocent = ["/home/you", "/home/longboat"];
    for source in texts(&is_text)? {
        for (number, line) in source.text.lines().enumerate() {
            let place = format!("{}:{}: {line}", source.path, number + 1);
            for (one, two) in marks {
                assert!(!line.contains(&format!("{one}{two}")), "{place}");
            }
            let guest = source.path.starts_with("tests/guests/");
            for (one, two) in places.iter().filter(|_| !guest && !innocent.iter().any(|home| line.contains(home))) {
                assert!(!line.contains(&format!("{one}{two}")), "{place}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_algorithm_has_a_readme_and_is_built_by_the_tests() -> anyhow::Result<()> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(workspace().join("algorithms"))? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| anyhow::anyhow!("{name:?} is no name"))?;
        let readme = std::fs::read_to_string(entry.path().join("README.md")).with_context(|| name.clone())?;
        ensure!(readme.starts_with(&format!("# {name}\n")), "{name}: the README begins with the name");
        for part in ["longboat ", "Input", "Result", "param", "default"] {
            ensure!(readme.contains(part), "{name}: the README says nothing of {part:?}");
        }
        names.insert(name);
    }
    assert_eq!(names, build::ALGORITHMS.map(str::to_owned).into());
    Ok(())
}

#[test]
fn every_guest_is_in_the_list_and_in_a_test() -> anyhow::Result<()> {
    let entries = std::fs::read_dir(workspace().join("tests/guests"))?;
    let found = entries.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    assert_eq!(found.collect::<anyhow::Result<BTreeSet<_>>>()?, guests::ALL.map(str::to_owned).into());
    let tests = texts(&|path| path.ancestors().skip(1).any(|parent| parent.ends_with("tests/program")))?;
    for guest in guests::ALL {
        let (name, language) = guest.split_once('.').context("a guest has an extension")?;
        let call = format!("guests::{}(\"{name}\")", if language == "rs" { "rust" } else { language });
        ensure!(tests.iter().any(|source| source.text.contains(&call)), "no test runs {guest}");
    }
    Ok(())
}

/// The names of the Rust files in a directory, without their extension.
fn modules_in(directory: &str) -> anyhow::Result<BTreeSet<String>> {
    let files = files_below(&workspace().join(directory), &|path| path.extension().is_some_and(|ext| ext == "rs"))?;
    let stems = files.iter().filter_map(|path| path.file_stem()?.to_str().map(str::to_owned));
    Ok(stems.collect())
}

#[test]
fn every_reader_of_foreign_bytes_has_a_fuzz_target_and_a_test() -> anyhow::Result<()> {
    let targets = modules_in("tests/hostile/src/targets")?;
    ensure!(targets.len() > 10, "the targets were not found");
    assert_eq!(modules_in("runner/fuzz/fuzz_targets")?, targets, "each target has its fuzz target");
    let manifest = std::fs::read_to_string(workspace().join("runner/fuzz/Cargo.toml"))?;
    for name in &targets {
        let fuzz = std::fs::read_to_string(workspace().join("runner/fuzz/fuzz_targets").join(format!("{name}.rs")))?;
        let call = format!("    longboat_hostile::targets::{name}::check(bytes);");
        let lines: Vec<_> = fuzz.lines().collect();
        let whole = ["#![no_main]", "", "libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {", &call, "});"];
        assert_eq!(lines, whole, "the fuzz target {name} only calls what the tests call");
        ensure!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "the manifest has {name}");
    }
    let tests = std::fs::read_to_string(workspace().join("tests/hostile/tests/fixed.rs"))?;
    let list = tests.split("no_bytes_break! {").nth(1).and_then(|rest| rest.split('}').next());
    let listed = list.context("the list of tests was not found")?.split_whitespace().map(str::to_owned);
    assert_eq!(listed.collect::<BTreeSet<_>>(), targets, "each target has its test");
    Ok(())
}

/// What stands between backticks in a text.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The interfaces that a world of the contract imports, without their versions.
fn interfaces_of(contract: &str, world: &str) -> anyhow::Result<BTreeSet<String>> {
    let body = contract.split(&format!("world {world} {{")).nth(1).and_then(|rest| rest.split('}').next());
    let imports = body.with_context(|| format!("there is no world {world}"))?.lines();
    let names = imports.filter_map(|line| line.trim().strip_prefix("import ")?.split(['@', ';']).next());
    Ok(names
        .map(|name| if name.contains(':') { name.to_owned() } else { format!("longboat:algorithm/{name}") })
        .collect())
}

#[test]
fn every_interface_is_in_the_table_of_capabilities_with_tests_that_exist() -> anyhow::Result<()> {
    let contract = std::fs::read_to_string(workspace().join("wit/world.wit"))?;
    let page = std::fs::read_to_string(workspace().join("docs/sandbox.md"))?;
    let table = page.split("| interface | what the guest sees | held by |\n|---|---|---|\n").nth(1);
    let mut named = BTreeSet::new();
    for row in table.context("the table was not found")?.lines().take_while(|line| line.starts_with('|')) {
        let columns: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [interfaces, sees, held_by] = columns[..] else { anyhow::bail!("three columns: {row}") };
        for name in quoted(interfaces) {
            ensure!(named.insert(name.to_owned()), "{name} is in the table twice");
        }
        let kinds = ["nothing: ", "stand-in: ", "capability: "];
        ensure!(kinds.iter().any(|kind| sees.starts_with(kind)), "one of {kinds:?}: {sees}");
        ensure!(quoted(held_by).next().is_some(), "no test holds {interfaces}");
        for test in quoted(held_by) {
            let (file, name) = test.split_once("::").with_context(|| format!("file::test: {test}"))?;
            let top = if file.starts_with("tests/") { "" } else { "runner/src" };
            let text = std::fs::read_to_string(workspace().join(top).join(file)).with_context(|| test.to_owned())?;
            let heads = text.lines().map(|line| line.trim_start().trim_start_matches("async "));
            let exists =
                heads.filter_map(|line| line.strip_prefix("fn ")).any(|head| head.split('(').next() == Some(name));
            ensure!(exists, "{file} has no test {name}");
        }
    }
    let mut all = interfaces_of(&contract, "host")?;
    all.insert("wasi:sockets/*".to_owned());
    assert_eq!(named, all);
    Ok(())
}
