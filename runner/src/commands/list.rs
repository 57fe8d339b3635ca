//! `longboat list`.

use super::pages::Pages;
use super::{Node, columns};
use crate::cli::{Column, Format, ListArgs};
use crate::output::{self, Array};
use jiff::Timestamp;
use longboat::job::Record;

pub async fn list(node: &Node, args: ListArgs, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue()?;
    let mut printer = Printer::new(format, chosen(args.columns, args.wide));
    let mut pages = Pages::new(&*queue, args.filter.at(Timestamp::now()), args.limit);
    while let Some(page) = pages.next().await? {
        if !printer.print(&page)? {
            return Ok(true);
        }
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

    fn end(mut self) -> anyhow::Result<()> {
        match self {
            // A table of no jobs has its titles all the same.
            Printer::Table { is_begun: false, .. } => self.print(&[]).map(drop),
            Printer::Table { .. } => Ok(()),
            Printer::Array(array) => array.end(),
        }
    }
}
