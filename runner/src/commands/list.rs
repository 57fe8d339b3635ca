//! `longboat list`.

use super::chosen::Pages;
use super::node::Node;
use super::record::{self, Shown};
use crate::cli::{Column, Format, ListArgs};
use crate::output::{self, Array};
use jiff::Timestamp;
use longboat::job::Record;

pub async fn list(node: &Node, args: ListArgs, format: Format) -> anyhow::Result<bool> {
    let queue = node.queue().await?;
    let mut printer = Printer::new(format, chosen(args.columns, args.wide), args.full);
    let mut pages = Pages::new(&*queue, args.filter.at(Timestamp::now()), args.limit);
    while let Some(page) = pages.next().await? {
        if !printer.print(page)? {
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
    Array { array: Array, full: bool },
}

impl Printer {
    fn new(format: Format, columns: Vec<Column>, full: bool) -> Self {
        match format {
            Format::Human => {
                let table = output::Pages::new(record::headings(&columns));
                Printer::Table { columns, table, is_begun: false }
            }
            Format::Json | Format::Yaml => Printer::Array { array: Array::new(format), full },
        }
    }

    /// Prints a page, and returns whether standard output is still open.
    fn print(&mut self, page: Vec<Record>) -> anyhow::Result<bool> {
        match self {
            Printer::Table { columns, table, is_begun } => {
                *is_begun = true;
                let text = table.page(|room| record::rows(columns, &page, room));
                output::write(format!("{text}\n").as_bytes())
            }
            Printer::Array { array, full } => {
                let page: Vec<_> = page.into_iter().map(|record| Shown::new(record, *full)).collect();
                array.extend(&page)
            }
        }
    }

    fn end(mut self) -> anyhow::Result<()> {
        match self {
            // A table without jobs still has its titles.
            Printer::Table { is_begun: false, .. } => self.print(Vec::new()).map(drop),
            Printer::Table { .. } => Ok(()),
            Printer::Array { array, .. } => array.end(),
        }
    }
}
