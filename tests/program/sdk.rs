//! What an author sees who uses the SDK wrongly: the compiler's own words, with the shape that is needed.

use anyhow::{Context, ensure};
use longboat_tests::workspace;
use std::fs;
use std::process::Command;

/// Compiles a crate with this code against the SDK, and returns what the compiler says.
fn mistake(code: &str) -> anyhow::Result<String> {
    let author = tempfile::tempdir()?;
    let sdk = workspace().join("guest-sdk").canonicalize()?;
    fs::create_dir(author.path().join("src"))?;
    fs::write(author.path().join("src/lib.rs"), code)?;
    fs::write(
        author.path().join("Cargo.toml"),
        format!(
            "[package]\nname = \"author\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\
             [dependencies]\nlongboat-sdk = {{ path = {sdk:?} }}\nserde = {{ version = \"1\", features = [\"derive\"] }}\n[workspace]\n"
        ),
    )?;
    // The same versions as everywhere, and compiled once for all of these tests.
    fs::copy(workspace().join("Cargo.lock"), author.path().join("Cargo.lock"))?;
    let program = longboat_tests::build::longboat()?;
    let target =
        program.parent().and_then(|release| release.parent()).context("the program is in a target directory")?;
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["check", "--quiet", "--offline", "--target-dir"])
        .arg(target.join("mistakes"))
        .current_dir(author.path())
        .output()?;
    ensure!(!output.status.success(), "this compiles: {code}");
    Ok(String::from_utf8(output.stderr)?)
}

#[test]
fn a_function_of_another_shape_is_told_the_shape_of_an_algorithm() -> anyhow::Result<()> {
    let said = mistake("fn greet(name: String) -> String { name }\nlongboat_sdk::algorithm!(greet);\n")?;
    for part in [
        "does not have the shape of an algorithm",
        "fn(longboat_sdk::Job<P>) -> Result<R, longboat_sdk::Failure>",
        "its params, implements `serde::Deserialize`",
    ] {
        ensure!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    Ok(())
}

#[test]
fn params_that_cannot_be_read_are_named() -> anyhow::Result<()> {
    let said = mistake(
        "use longboat_sdk::{Failure, Job};\npub struct Params;\n\
         fn run(_: Job<Params>) -> Result<(), Failure> { Ok(()) }\nlongboat_sdk::algorithm!(run);\n",
    )?;
    ensure!(said.contains("Params") && said.contains("Deserialize"), "{said}");
    Ok(())
}

#[test]
fn the_macro_asks_for_a_function() -> anyhow::Result<()> {
    let said = mistake("longboat_sdk::algorithm!();\n")?;
    ensure!(said.contains("name the function that is the algorithm"), "{said}");
    let said = mistake("longboat_sdk::algorithm!(|x| x);\n")?;
    ensure!(said.contains("takes the name of one function"), "{said}");
    Ok(())
}
