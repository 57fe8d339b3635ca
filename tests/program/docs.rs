//! README and docs: the commands that they show are run, and what they show as output is compared.
//!
//! All blocks of a page share one shell, as if a reader pasted one after the other. It starts in a directory
//! that has what the checkout has, with the algorithms built and an empty data directory. `docs/testing.md` has
//! the rules for authors of pages.

use anyhow::{Context, ensure};
use longboat_tests::{build, program::Longboat, workspace};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What stands in the pages for the address that a node listens on.
const ADDRESS: &str = "127.0.0.1:7654";
/// Stands before the output of each step, and is in no output.
const MARK: char = '\u{1e}';
/// Far longer than any page takes, in seconds; README's own algorithm is compiled with what it depends on.
const PATIENCE: &str = "900";

/// What a fenced block is, by the words behind its fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// `sh`: commands to paste as they are.
    Script,
    /// `console`: commands behind `$ `, and what they print.
    Console,
    /// Anything else, or a block that is marked with `no-run`.
    Shown,
}

/// A fenced block of a page.
struct Block {
    /// The line of its first fence, from 1.
    line: usize,
    kind: Kind,
    text: String,
}

/// One thing to run, and the lines that it must print. Without such lines it may print anything.
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

/// README and the pages of `docs/`, as paths from the top of the checkout.
fn pages() -> anyhow::Result<Vec<String>> {
    let mut pages = vec!["README.md".to_owned()];
    for entry in fs::read_dir(workspace().join("docs"))? {
        let name = entry?.file_name().into_string().ok().context("names of pages are text")?;
        pages.extend(name.ends_with(".md").then(|| format!("docs/{name}")));
    }
    pages.sort();
    ensure!(pages.len() > 5, "the pages were not found");
    Ok(pages)
}

fn read(page: &str) -> anyhow::Result<String> {
    fs::read_to_string(workspace().join(page)).context(page.to_owned())
}

/// The fenced blocks of a page.
fn blocks(text: &str) -> anyhow::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => blocks.push(block),
            (Some(info), None) => {
                let words: Vec<_> = info.split_whitespace().collect();
                let kind = match words[..] {
                    ["sh"] => Kind::Script,
                    ["console"] => Kind::Console,
                    [_] | [] | ["sh" | "console", "no-run"] => Kind::Shown,
                    _ => anyhow::bail!("line {}: what is ```{info}?", at + 1),
                };
                open = Some(Block { line: at + 1, kind, text: String::new() });
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    ensure!(open.is_none(), "the last block has no end");
    Ok(blocks)
}

/// What is to be run of a block.
fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    match block.kind {
        Kind::Shown => {}
        Kind::Script => steps.push(Step { line: block.line, command: block.text.clone(), output: Vec::new() }),
        Kind::Console => {
            let mut goes_on = false;
            for (at, line) in block.text.lines().enumerate() {
                match (line.strip_prefix("$ "), steps.last_mut()) {
                    (None, Some(step)) if goes_on => step.command += line,
                    (None, Some(step)) => step.output.push(line.to_owned()),
                    (command, _) => {
                        let command = command.unwrap_or(line).to_owned();
                        steps.push(Step { line: block.line + 1 + at, command, output: Vec::new() });
                    }
                }
                let is_command = goes_on || line.starts_with("$ ");
                goes_on = is_command && line.ends_with('\\');
                if let Some(step) = steps.last_mut().filter(|_| is_command) {
                    step.command.push('\n');
                }
            }
        }
    }
    steps
}

/// Whether a line is the expected one, in which `…` stands for anything. The width of gaps does not matter.
fn fits_line(expected: &str, line: &str) -> bool {
    let [expected, line] = [expected, line].map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let parts: Vec<_> = expected.split('…').collect();
    let [first, middle @ .., last] = &parts[..] else { return line == expected };
    let Some(mut rest) = line.strip_prefix(first).and_then(|rest| rest.strip_suffix(last)) else { return false };
    middle.iter().all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

/// Whether lines are the expected ones, in which a line of `…` alone stands for any number of lines.
fn fits(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.iter().all(|line| line.trim().is_empty()),
        Some((line, rest)) if line.trim() == "…" => (0..=lines.len()).any(|after| fits(rest, &lines[after..])),
        Some((line, rest)) => lines.split_first().is_some_and(|(own, more)| fits_line(line, own) && fits(rest, more)),
    }
}

/// A directory that has what the checkout has, and in which new files harm nothing. Its path is always the same,
/// so that cargo compiles nothing anew; `target` has the algorithms.
fn checkout(page: &str) -> anyhow::Result<PathBuf> {
    let module = build::algorithm("forecast")?;
    let guests = module.ancestors().nth(3).context("a module is in a target directory")?;
    let directory = guests.join("pages").join(page.replace('/', "-"));
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    for entry in fs::read_dir(workspace())? {
        let entry = entry?;
        if entry.file_name() != "target" && entry.file_name() != ".git" {
            symlink(entry.path().canonicalize()?, directory.join(entry.file_name()))?;
        }
    }
    symlink(guests, directory.join("target"))?;
    Ok(directory)
}

/// The search path, with the program in front.
fn search_path() -> anyhow::Result<OsString> {
    let program = build::longboat()?;
    let own = program.parent().context("the program is in a directory")?.to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&others)))?)
}

/// A script that runs all steps, and ends at the first that fails.
fn script(steps: &[Step], address: &str) -> String {
    // What a page leaves in the background ends with it.
    let mut script = "set -eo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT\n".to_owned();
    for step in steps {
        // Writing to a String does not fail.
        let _ = writeln!(script, "printf '\\036'\n{}", step.command.replace(ADDRESS, address));
    }
    script
}

/// Runs all steps of a page, and returns how many these were.
fn run(page: &str, node: &Longboat) -> anyhow::Result<usize> {
    let blocks = blocks(&read(page)?).context(page.to_owned())?;
    let steps: Vec<_> = blocks.iter().flat_map(steps).collect();
    if steps.is_empty() {
        return Ok(0);
    }
    // The port is free again when the node of the page asks for it.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let (directory, scratch) = (checkout(page)?, tempfile::tempdir()?);
    let [lines, printed] = ["script", "printed"].map(|name| scratch.path().join(name));
    fs::write(&lines, script(&steps, &address))?;
    let output = File::create(&printed)?;
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", PATIENCE, "bash", "--noprofile", "--norc"]).arg(&lines);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LONGBOAT")) {
        command.env_remove(name);
    }
    let status = command
        .current_dir(&directory)
        .env("PATH", search_path()?)
        .env("LONGBOAT_DATA_DIR", node.data_dir())
        .env("LONGBOAT__HTTP__LISTEN", &address)
        .env("CARGO_NET_OFFLINE", "true")
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(output.try_clone()?)
        .stdout(output)
        .status()?;
    let printed = String::from_utf8_lossy(&fs::read(&printed)?).replace(&address, ADDRESS);
    compare(page, &steps, &printed)?;
    ensure!(status.success(), "{page} ended with {status}:\n{printed}");
    Ok(steps.len())
}

/// Holds what the steps printed against what the page shows.
fn compare(page: &str, steps: &[Step], printed: &str) -> anyhow::Result<()> {
    let parts: Vec<_> = printed.split(MARK).skip(1).collect();
    for (step, part) in steps.iter().zip(&parts) {
        let lines: Vec<_> = part.trim_end().lines().collect();
        ensure!(
            step.output.is_empty() || fits(&step.output, &lines),
            "{page}, line {}: `{}` should print\n{}\nand printed\n{part}",
            step.line,
            step.command.trim_end(),
            step.output.join("\n"),
        );
    }
    let last = parts.len().checked_sub(1).map(|at| (&steps[at], parts[at]));
    let (step, part) = last.context("nothing was run")?;
    let command = step.command.trim_end();
    ensure!(parts.len() == steps.len(), "{page}, line {}: `{command}` failed:\n{part}", step.line);
    Ok(())
}

#[test]
fn readme_runs_as_pasted() -> anyhow::Result<()> {
    let steps = run("README.md", &Longboat::new()?)?;
    ensure!(steps >= 5, "README has a tour");
    Ok(())
}

#[test]
fn docs_show_what_happens() -> anyhow::Result<()> {
    let mut total = 0;
    for page in pages()?.iter().filter(|page| *page != "README.md") {
        let steps = run(page, &Longboat::with_algorithms(&build::ALGORITHMS)?)?;
        println!("{page}: {steps} steps");
        total += steps;
    }
    ensure!(total > 10, "the pages show commands");
    Ok(())
}

/// Commands in another kind of block would never be run.
#[test]
fn prompts_stand_in_console_blocks() -> anyhow::Result<()> {
    for page in pages()? {
        let text = read(&page)?;
        for block in blocks(&text).context(page.clone())? {
            let fence = text.lines().nth(block.line - 1).unwrap_or_default();
            let prompts = block.text.lines().any(|line| line.starts_with("$ "));
            ensure!(prompts == fence.starts_with("```console"), "{page}, line {}: {fence}", block.line);
        }
    }
    Ok(())
}

#[test]
fn cli_reference_is_current() -> anyhow::Result<()> {
    let output = Command::new(build::longboat()?).arg("help-markdown").output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (page, current) = (workspace().join("docs/cli.md"), String::from_utf8(output.stdout)?);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, &current)?;
    }
    let written = fs::read_to_string(&page)?;
    let line = written.lines().zip(current.lines()).position(|(one, other)| one != other);
    ensure!(
        written == current,
        "docs/cli.md is not what `longboat help-markdown` prints, from line {} on; UPDATE_DOCS=1 writes it anew",
        line.unwrap_or(written.lines().count().min(current.lines().count())) + 1
    );
    Ok(())
}

#[test]
fn readme_has_150_lines_at_most() -> anyhow::Result<()> {
    let lines = read("README.md")?.lines().count();
    ensure!(lines <= 150, "README has {lines} lines");
    Ok(())
}

#[test]
fn every_figure_is_filled_in() -> anyhow::Result<()> {
    for page in pages()? {
        let text = read(&page)?;
        let missing = text.split("FIGURE_").nth(1).and_then(|rest| rest.split([' ', ',', '.']).next());
        ensure!(missing.is_none(), "{page} has no value for FIGURE_{}", missing.unwrap_or_default());
    }
    Ok(())
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_to_files_and_headings() -> anyhow::Result<()> {
    for page in pages()? {
        let text = read(&page)?;
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let beside = workspace().join(Path::new(&page).parent().context("a page is in a directory")?);
            let path = if file.is_empty() { workspace().join(&page) } else { beside.join(file) };
            ensure!(path.exists(), "{page} links to {target}, which is not there");
            let is_there = anchor.is_empty() || anchors(&fs::read_to_string(&path)?).iter().any(|own| own == anchor);
            ensure!(is_there, "{page} links to {target}, and no heading is called so");
        }
    }
    Ok(())
}

#[test]
fn blocks_are_cut_into_steps() -> anyhow::Result<()> {
    let text = "```console\n$ a \\\n  b\none\n$ c\n```\n```sh\nd\ne\n```\n```sh no-run\nf\n```\n```json\n{}\n```\n";
    let steps: Vec<_> = blocks(text)?.iter().flat_map(steps).collect();
    let found: Vec<_> = steps.iter().map(|step| (step.line, &*step.command, step.output.join(","))).collect();
    let expected = [(2, "a \\\n  b\n", "one".to_owned()), (5, "c\n", String::new()), (7, "d\ne\n", String::new())];
    assert_eq!(found, expected);
    assert!(blocks("```sh maybe\n```\n").is_err() && blocks("```sh\n").is_err());
    Ok(())
}

#[test]
fn ellipsis_stands_for_anything() {
    let fits = |expected: &str, lines: &str| {
        let expected: Vec<_> = expected.lines().map(str::to_owned).collect();
        fits(&expected, &lines.lines().collect::<Vec<_>>())
    };
    assert!(fits("a … c\n…\nend", "a b c\nx\ny\nend\n") && fits("a   b", "a b") && fits("…", ""));
    assert!(fits("…x…y…", "1x2y3") && fits("aa…aa", "aaaa"));
    assert!(
        !fits("a", "b") && !fits("a", "a\nb") && !fits("a\nb", "a") && !fits("aa…aa", "aaa") && !fits("…x…y…", "y x")
    );
}
