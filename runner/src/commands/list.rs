//! `longboat list`.

use super::pages::Pages;
use super::unreadable::{self, Other};
use super::{Node, columns};
use crate::cli::{Column, Format, ListArgs};
use crate::output::{self, Array};
use jiff::Timestamp;
use longboat::job::Record;
use longboat::queue::Unreadable;

pub async fn list(node: &Node, args: ListArgs, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue()?;
    let mut printer = Printer::new(format, chosen(args.columns, args.wide));
    let filter = args.filter.at(Timestamp::now());
    let mut pages = Pages::new(&*queue, filter.clone(), args.limit);
    while let Some(page) = pages.next().await? {
        if !printer.print(&page)? {
            return Ok(true);
        }
    }
    if args.limit.is_none() {
        printer.others(&unreadable::fitting(&*queue, &filter).await?)?;
    }
    printer.end()?;
    Ok(true)
}

fn chosen(columns: Vec<Column>, is_wide: bool) -> Vec<Column> {
    match (columns.is_empty(), is_wide) {
        (false, _) => columns,
        (true, false) => Column::USUAL.to_vec(),
        (true, true) => [&Column::USUAL[..], &Column::WIDE[..]].concat(),
    }
}

/// Prints jobs as they come.
enum Printer {
    Table { columns: Vec<Column>, table: output::Pages, is_begun: bool },
    Array(Array),
}

impl Printer {
    fn new(format: Format, columns: Vec<Column>) -> Self {
        match format {
            Format::Human => {
                let table = output::Pages::new(columns::headings(&columns));
                Printer::Table { columns, table, is_begun: false }
            }
            Format::Json | Format::Yaml => Printer::Array(Array::new(format)),
        }
    }

    /// Prints a page; whether anybody still reads.
    fn print(&mut self, page: &[Record]) -> anyhow::Result<bool> {
        match self {
            Printer::Table { columns, table, is_begun } => {
                *is_begun = true;
                let text = table.page(|room| columns::rows(columns, page, room));
                output::write(format!("{text}\n").as_bytes())
            }
            Printer::Array(array) => array.extend(page),
        }
    }

    /// Prints what lies among the jobs and is none.
    fn others(&mut self, others: &[Unreadable]) -> anyhow::Result<()> {
        match self {
            _ if others.is_empty() => Ok(()),
            Printer::Table { is_begun, .. } => {
                let apart = if *is_begun { "\n" } else { "" };
                *is_begun = true;
                output::write(format!("{apart}{}\n", unreadable::table(others)).as_bytes()).map(drop)
            }
            Printer::Array(array) => array.extend(&others.iter().map(Other::of).collect::<Vec<_>>()).map(drop),
        }
    }

    fn end(mut self) -> anyhow::Result<()> {
        match self {
            // A table of no jobs has its titles all the same.
            Printer::Table { is_begun: false, .. } => self.print(&[]).map(drop),
            Printer::Table { .. } => Ok(()),
            Printer::Array(array) => array.end(),
        }
    }
}
