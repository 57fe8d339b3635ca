//! Every way to misbehave that the tests know of, with the verdict that it must get.

use super::row::Ends::{BadResult, Deadline, Done, Failed, InputUnavailable, OutOfFuel, OutOfMemory, Quota, Trapped};
use super::row::{Ends, Input, Row};
use crate::guests;
use longboat_tests::build;
use std::path::PathBuf;

/// The guests of the table. Those in C are missing where nothing compiles them.
pub fn modules() -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
    let mut modules = vec![
        ("drunken-sailor", build::algorithm("drunken-sailor")?),
        ("greedy", guests::rust("greedy")?),
        ("greedy-wrapped", guests::wrapped(&guests::rust("greedy")?)?),
        ("pointers", guests::rust("pointers")?),
        ("pointers-wrapped", guests::wrapped(&guests::rust("pointers")?)?),
        ("branches", guests::wat("branches")?),
        ("double-drop", guests::wat("double-drop")?),
        ("false-list", guests::wat("false-list")?),
        ("false-result", guests::wat("false-result")?),
        ("handle-churn", guests::wat("handle-churn")?),
        ("handles", guests::wat("handles")?),
        ("indirect-recursion", guests::wat("indirect-recursion")?),
        ("large-memory", guests::wat("large-memory")?),
        ("memories-together", guests::wat("memories-together")?),
        ("memory-init", guests::wat("memory-init")?),
        ("start-calls", guests::wat("start-calls")?),
        ("start-exits", guests::wat("start-exits")?),
        ("start-grows", guests::wat("start-grows")?),
        ("start-never-returns", guests::wat("start-never-returns")?),
        ("start-traps", guests::wat("start-traps")?),
        ("table-bomb", guests::wat("table-bomb")?),
        ("table-nibble", guests::wat("table-nibble")?),
        ("tail-calls", guests::wat("tail-calls")?),
    ];
    match guests::c("rogue")? {
        Ok(module) => modules.push(("rogue", module)),
        Err(reason) => println!("what C programs do is left out: {reason}"),
    }
    Ok(modules)
}

/// The modules that nobody can run, each with a part of what is said about it.
pub fn unrunnable() -> anyhow::Result<Vec<(PathBuf, &'static str)>> {
    Ok(vec![
        (guests::rust("smuggler")?, "`env`"),
        (guests::wat("huge-memory")?, "memory"),
        (guests::wat("huge-table")?, "table"),
        (guests::wat("many-memories")?, "memor"),
        (guests::wat("many-tables")?, "table"),
        (guests::wat("no-entry")?, "no entry"),
        (guests::wat("no-memory")?, "memory"),
        (guests::wat("wrong-entry")?, "_start"),
    ])
}

/// The whole table. The algorithm of the SDK is a component; commands are core modules, and some are both.
pub fn rows() -> Vec<Row> {
    let mut rows =
        [endings(), time(), memory(), quota(), names_and_handles(), words(), calls(), pointers(), structure(), in_c()]
            .concat();
    let wrapped = rows.iter().filter(|row| row.guest == "greedy").cloned();
    let wrapped: Vec<_> = wrapped.map(|row| row.of("greedy-wrapped")).collect();
    rows.extend(wrapped);
    rows
}

fn sailor(mode: &str, ends: Ends) -> Row {
    Row::new("drunken-sailor", ends).with("mode", mode)
}

fn greedy(want: &str, ends: Ends) -> Row {
    Row::new("greedy", ends).with("want", want)
}

fn endings() -> Vec<Row> {
    vec![
        sailor("normal", Done),
        sailor("exit", Failed(Some(10), false)),
        sailor("exit", Failed(Some(65), true)).with("code", 65),
        sailor("exit", Failed(Some(u32::MAX), false)).with("code", -1),
        sailor("exit", BadResult).with("code", 0),
        sailor("endless-loop", OutOfFuel),
        sailor("endless-loop", Deadline),
        sailor("endless-recursion", Trapped),
        sailor("large-frames", Trapped),
        sailor("panic", Trapped),
        sailor("panic-in-drop", Trapped),
        sailor("abort", Trapped),
        sailor("fail", Failed(None, false)),
        sailor("fail", Failed(None, true)).with("permanent", true),
        sailor("no-such-mode", Failed(None, true)),
    ]
}

fn time() -> Vec<Row> {
    vec![
        sailor("slow", Done).with("seconds", 0.1),
        sailor("slow", Deadline).with("seconds", 100),
        sailor("sleep", Deadline),
        sailor("naps", OutOfFuel),
        sailor("clocks", OutOfFuel),
        sailor("clocks", Deadline),
        sailor("poll-clocks", Deadline),
        sailor("poll-clocks", Trapped).with("count", 1100),
        sailor("poll-clocks", Trapped).with("count", 100_000),
        sailor("fuel-left", OutOfFuel).limited(|limits| limits.fuel = 50_000_000),
    ]
}

fn memory() -> Vec<Row> {
    vec![
        sailor("memory-bomb", OutOfMemory),
        sailor("memory-nibble", OutOfFuel).limited(|limits| limits.fuel = 10_000_000),
        sailor("memory-nibble", Deadline),
        sailor("memory-fill", OutOfFuel).with("size", 8 << 20),
        sailor("memory-fill", Deadline).with("size", 8 << 20),
        sailor("memory-fill", OutOfMemory),
        sailor("memory-copy", OutOfFuel).with("size", 8 << 20),
        sailor("memory-copy", Deadline).with("size", 8 << 20),
        sailor("memory-fail", OutOfMemory),
        sailor("memory-cope", Done),
    ]
}

fn quota() -> Vec<Row> {
    const SIZE: Ends = Quota("result_size");
    const FILES: Ends = Quota("result_files");
    vec![
        sailor("result-files", FILES),
        // Each entry counts as at least 4 KiB.
        sailor("result-files", SIZE).limited(|limits| limits.result_files = 1000),
        sailor("result-bytes", SIZE),
        sailor("append", SIZE),
        sailor("sparse", SIZE),
        sailor("sparse", SIZE).with("size", (1 << 20) + 1),
        sailor("sparse", Done).with("size", 1 << 20),
        sailor("seek", SIZE),
        sailor("seek", SIZE).with("size", 1 << 20),
        sailor("seek", SIZE).with("size", i64::MAX),
        sailor("unlink-open", SIZE),
        sailor("write-then-trap", SIZE),
        sailor("files-cope", Done),
        sailor("rename", Done),
        sailor("truncate", OutOfFuel).limited(|limits| limits.fuel = 30_000_000),
        sailor("truncate", Deadline),
        sailor("overwrite", OutOfFuel).limited(|limits| limits.fuel = 30_000_000),
        greedy("size", SIZE),
        greedy("files", FILES),
    ]
}

fn names_and_handles() -> Vec<Row> {
    vec![
        sailor("deep-directories", Done),
        sailor("long-names", Done),
        // More than a guest may hand to the host in one call.
        sailor("long-names", Trapped).with("size", 1 << 20),
        sailor("odd-names", Done),
        sailor("escape", Done),
        sailor("links", Done),
        sailor("open-files", Done),
        sailor("open-directories", Done),
        sailor("list-for-ever", OutOfFuel).with("count", 40),
        Row::new("handles", Trapped),
        Row::new("handle-churn", OutOfFuel).limited(|limits| limits.fuel = 5_000_000),
        Row::new("double-drop", Trapped),
    ]
}

fn words() -> Vec<Row> {
    vec![
        sailor("log-flood", OutOfFuel),
        sailor("log-flood", Done).with("count", 2000),
        sailor("progress-flood", OutOfFuel).with("size", 64 << 10).limited(|limits| limits.fuel = 1_000_000),
        sailor("not-json", BadResult),
        sailor("not-json", BadResult).with("text", ""),
        sailor("not-json", BadResult).with("text", "NaN"),
        sailor("not-json", BadResult).with("text", "[1,"),
        sailor("nested-result", BadResult),
        sailor("nested-result", Trapped).with("count", 1_000_000),
        sailor("huge-result", OutOfMemory),
        sailor("huge-result", Quota("document_size")).with("size", 100_000),
        greedy("document", Quota("document_size")).limited(|limits| limits.memory = 32 << 20),
        greedy("silence", BadResult),
        greedy("prose", BadResult),
        greedy("two-values", BadResult),
        greedy("latin1", BadResult),
        greedy("nesting", BadResult).limited(|limits| limits.document_size = 1 << 20),
        Row::new("false-result", Trapped),
        Row::new("false-list", Trapped),
    ]
}

fn calls() -> Vec<Row> {
    vec![
        sailor("random", OutOfFuel).limited(|limits| limits.fuel = 2_000_000),
        sailor("random", Trapped).with("size", 2 << 20),
        sailor("environment", OutOfFuel),
        sailor("sockets", Done),
        sailor("read-input", OutOfFuel).reading(Input::Ready),
        sailor("read-input", Failed(None, true)),
        sailor("read-input", InputUnavailable).reading(Input::Endless),
        sailor("read-input", Deadline).reading(Input::Trickle),
    ]
}

/// What makes no sense is answered by an error, which a program is free to live with. The preview 1 adapter may also trap.
fn pointers() -> Vec<Row> {
    let nowhere = [
        "write-length",
        "write-nowhere",
        "write-vectors-nowhere",
        "write-written-nowhere",
        "read-nowhere",
        "readdir-nowhere",
        "path-nowhere",
        "path-length",
        "path-not-text",
        "random-gigabyte",
        "accept",
        "receive",
        "send",
    ];
    let answered = [
        "write-count",
        "read-over-itself",
        "readdir-cookie",
        "path-flags",
        "poll-nothing",
        "poll-millions",
        "no-descriptor",
        "shutdown",
    ];
    let row = |guest, call: &str, ends| Row::new(guest, ends).with("call", call).reading(Input::Ready);
    let core = [&nowhere[..], &["write-empty"], &answered].concat().into_iter().map(|call| row("pointers", call, Done));
    let traps = nowhere.into_iter().map(|call| row("pointers-wrapped", call, Trapped));
    let lives = answered.into_iter().map(|call| row("pointers-wrapped", call, Done));
    let closes = ["pointers", "pointers-wrapped"].map(|guest| row(guest, "close-everything", BadResult));
    core.chain(traps).chain(lives).chain(closes).collect()
}

fn structure() -> Vec<Row> {
    let row = Row::new;
    vec![
        row("branches", OutOfFuel),
        row("branches", Deadline),
        row("tail-calls", OutOfFuel),
        row("tail-calls", Deadline),
        row("indirect-recursion", Trapped),
        row("large-memory", OutOfMemory),
        row("memories-together", OutOfMemory),
        // The fuel for so many bytes must be there first.
        row("memory-init", OutOfFuel),
        row("memory-init", Trapped).limited(|limits| limits.fuel = 10_000_000_000),
        row("start-never-returns", OutOfFuel),
        row("start-never-returns", Deadline),
        row("start-grows", OutOfMemory),
        row("start-traps", Trapped),
        row("start-calls", OutOfFuel),
        row("start-exits", Failed(Some(7), false)),
        row("table-bomb", OutOfMemory).limited(|limits| limits.memory = 512 << 10),
        row("table-bomb", OutOfMemory).sharing(800_000),
        row("table-nibble", OutOfFuel),
    ]
}

fn in_c() -> Vec<Row> {
    let row = |way, ends| Row::new("rogue", ends).with("way", way);
    vec![
        row("memory", OutOfMemory),
        row("write-flood", Quota("result_size")),
        row("print-flood", Quota("document_size")),
        row("sparse", Quota("result_size")),
        row("escape", Done),
        row("list", OutOfFuel).limited(|limits| (limits.result_files, limits.fuel) = (1000, 100_000_000)),
        row("doze", Deadline),
        row("entropy", OutOfFuel).limited(|limits| limits.fuel = 50_000_000),
        row("corrupt", OutOfFuel),
        row("recurse", Trapped),
    ]
}
