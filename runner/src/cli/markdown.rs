//! The command line as Markdown, for `docs/cli.md`.

use super::Cli;
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::fmt::Write as _;

/// What stands above the commands.
const HEAD: &str = "# The command line

This page is what `longboat help-markdown` prints: its texts are those of `--help`, in `runner/src/cli`.

Results go to standard output, everything else to standard error. The exit status is 0 if the command has done its
work, 1 if it failed or a job failed, and 2 if it was used wrongly. [Job documents](job-document.md) explains the fields
that `submit` has as options, [Operating](operating.md) the commands for operators.
";

/// The page.
pub fn manual() -> String {
    let mut root = Cli::command();
    root.build();
    let mut page = format!("{HEAD}\n## Options of every command\n\n");
    options(&mut page, root.get_arguments().filter(|arg| arg.is_global_set()));
    for command in root.get_subcommands_mut() {
        section(&mut page, command);
    }
    page
}

/// A command with its arguments, or the commands below it.
fn section(page: &mut String, command: &mut Command) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    if command.has_subcommands() {
        command.get_subcommands_mut().for_each(|command| section(page, command));
        return;
    }
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let about = about.lines().map(|line| format!("{}\n", escaped(line))).collect::<String>();
    // Writing to a String does not fail.
    let _ = write!(page, "\n## `{name}`\n\n{}\n\n```\n{usage}\n```\n", about.trim_end());
    let own = || command.get_arguments().filter(|arg| !arg.is_global_set());
    let mut headings = vec![None];
    for heading in own().map(Arg::get_help_heading) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        let below = || own().filter(|arg| arg.get_help_heading() == heading && !is_left_out(arg));
        if below().next().is_some() {
            let _ = match heading {
                Some(heading) => write!(page, "\n{heading}:\n\n"),
                None => writeln!(page),
            };
            options(page, below());
        }
    }
}

/// `--help` and `--version` are the same everywhere.
fn is_left_out(arg: &Arg) -> bool {
    use ArgAction::{Help, HelpLong, HelpShort, Version};
    arg.is_hide_set() || matches!(arg.get_action(), Help | HelpLong | HelpShort | Version)
}

/// One line for each argument.
fn options<'a>(page: &mut String, arguments: impl Iterator<Item = &'a Arg>) {
    for arg in arguments.filter(|arg| !is_left_out(arg)) {
        let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
        let mut line =
            format!("- `{}`: {}", spelling(arg), escaped(&help.split_whitespace().collect::<Vec<_>>().join(" ")));
        let values: Vec<_> = arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        if arg.get_action().takes_values() && !values.is_empty() {
            let _ = write!(line, "; one of {}", values.join(", "));
        }
        let defaults: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        if arg.get_action().takes_values() && !defaults.is_empty() {
            let _ = write!(line, "; `{}` if it is left out", defaults.join(" "));
        }
        if let Some(variable) = arg.get_env() {
            let _ = write!(line, "; or the variable `{}`", variable.to_string_lossy());
        }
        let _ = writeln!(page, "{line}");
    }
}

/// How an argument is written.
fn spelling(arg: &Arg) -> String {
    let names = arg.get_value_names().unwrap_or_default().join("> <");
    let value = if arg.get_action().takes_values() { format!("<{names}>") } else { String::new() };
    let Some(long) = arg.get_long() else { return value };
    let short = arg.get_short().map_or_else(String::new, |short| format!("-{short}, "));
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    let aliases = aliases.iter().map(|alias| format!(", --{alias}")).collect::<String>();
    format!("{short}--{long}{aliases} {value}").trim_end().to_owned()
}

/// Text in which nothing is Markdown.
fn escaped(text: &str) -> String {
    // What stands between backticks is shown as it is.
    let mut is_code = true;
    let parts = text.split('`').map(|part| {
        is_code = !is_code;
        match is_code {
            true => format!("`{part}`"),
            false => part.replace('\\', "\\\\").replace('*', "\\*").replace('_', "\\_").replace('<', "\\<"),
        }
    });
    parts.collect()
}
