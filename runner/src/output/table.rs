//! Tables without lines between the columns.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Row, Table, Width};
use longboat::job::State;
use std::io::IsTerminal;

/// Columns are this far apart.
const GAP: u16 = 2;
/// Texts are cut to fit a terminal, but their column stays at least this wide.
const NARROWEST: u16 = 9;

/// The content of a table's cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    text: String,
    colour: Option<Color>,
}

impl From<String> for Field {
    fn from(text: String) -> Self {
        Self { text, colour: None }
    }
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A state in its colour.
impl From<State> for Field {
    fn from(state: State) -> Self {
        let colour = match state {
            State::Done => Some(Color::DarkGreen),
            State::Dead => Some(Color::DarkRed),
            State::Running => Some(Color::DarkCyan),
            State::Held | State::Delayed => Some(Color::DarkYellow),
            State::Cancelled => Some(Color::DarkGrey),
            State::Ready => None,
        };
        Self { text: state.to_string(), colour }
    }
}

/// Whether standard output is a terminal, and the environment allows colours (<https://no-color.org>).
fn has_colours() -> bool {
    let is_unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    std::io::stdout().is_terminal() && is_unset("NO_COLOR") && !is_dumb
}

fn cell(field: Field, colours: bool) -> Cell {
    let cell = Cell::new(field.text);
    match field.colour.filter(|_| colours) {
        Some(colour) => cell.fg(colour),
        None => cell,
    }
}

fn new_table() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // Colours are set cell by cell here.
    table.force_no_tty().enforce_styling().style_text_only();
    table
}

fn text(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// A table that is as wide as its fields.
pub fn table<F: Into<Field>>(header: &[&str], rows: impl IntoIterator<Item = Vec<F>>) -> String {
    let colours = has_colours();
    let mut table = new_table();
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    for row in rows {
        table.add_row(row.into_iter().map(|field| cell(field.into(), colours)));
    }
    text(table)
}

/// Pairs of a name and a value, one a line, aligned.
pub fn pairs<F: Into<Field> + Clone>(pairs: &[(&str, F)]) -> String {
    let colours = has_colours();
    let mut table = new_table();
    for (name, field) in pairs {
        table.add_row([Cell::new(name), cell(field.clone().into(), colours)]);
    }
    text(table)
}

/// How much room a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    Full,
    /// Too little: the terminal is too narrow for everything.
    Little,
}

/// A column of a [`Pages`] table.
#[derive(Debug, Clone)]
pub struct Heading {
    /// Its title.
    pub title: &'static str,
    /// Its title where there is little room.
    pub short: &'static str,
    /// The kind of its fields.
    pub kind: Kind,
}

/// The kind of a column's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Short words, which are never cut.
    Word,
    /// Texts, which are cut where there is little room.
    Text,
    /// Numbers, which are aligned to the right.
    Number,
}

/// A table that is printed page by page. Columns keep their places from page to page, as far as possible.
#[derive(Debug)]
pub struct Pages {
    headings: Vec<Heading>,
    /// The widths on the pages so far; they only grow.
    widths: Vec<u16>,
    is_begun: bool,
    room: Room,
    /// The columns of the terminal, if standard output is one.
    terminal: Option<u16>,
    colours: bool,
}

impl Pages {
    /// A table for standard output.
    pub fn new(headings: Vec<Heading>) -> Self {
        let terminal = Table::new().width().filter(|width| *width > 0 && std::io::stdout().is_terminal());
        Self::sized(headings, terminal, has_colours())
    }

    fn sized(headings: Vec<Heading>, terminal: Option<u16>, colours: bool) -> Self {
        let widths = vec![0; headings.len()];
        Self { headings, widths, is_begun: false, room: Room::Full, terminal, colours }
    }

    /// The next page. `rows` makes its rows for the given room.
    pub fn page(&mut self, rows: impl Fn(Room) -> Vec<Vec<Field>>) -> String {
        let mut table = self.fill(rows(self.room));
        if self.room == Room::Full && self.width(&table) > self.most() {
            self.room = Room::Little;
            table = self.fill(rows(Room::Little));
        }
        let widths = table.column_max_content_widths();
        self.widths.iter_mut().zip(widths).for_each(|(widest, width)| *widest = width.max(*widest));
        self.cut();
        let fixed = self.widths.iter().map(|width| ColumnConstraint::Absolute(Width::Fixed(width + GAP)));
        table.set_constraints(fixed);
        for (column, heading) in table.column_iter_mut().zip(&self.headings) {
            if heading.kind == Kind::Number {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self.is_begun = true;
        text(table)
    }

    fn fill(&self, rows: Vec<Vec<Field>>) -> Table {
        let mut table = new_table();
        if !self.is_begun {
            let title = |heading: &Heading| if self.room == Room::Full { heading.title } else { heading.short };
            let mut header =
                Row::from(self.headings.iter().map(|heading| title(heading).to_uppercase()).collect::<Vec<_>>());
            header.max_height(1);
            table.set_header(header);
        }
        for fields in rows {
            let mut row = Row::from(fields.into_iter().map(|field| cell(field, self.colours)).collect::<Vec<_>>());
            row.max_height(1);
            table.add_row(row);
        }
        table
    }

    fn most(&self) -> u16 {
        self.terminal.unwrap_or(u16::MAX)
    }

    fn width(&self, table: &Table) -> u16 {
        let widths = table.column_max_content_widths().into_iter().zip(&self.widths);
        total(widths.map(|(width, widest)| width.max(*widest)))
    }

    /// Narrows the widest column of texts until the table fits. If that is impossible, nothing is cut.
    fn cut(&mut self) {
        let mut widths = self.widths.clone();
        while total(widths.iter().copied()) > self.most() {
            let texts = widths.iter_mut().zip(&self.headings).filter(|(_, heading)| heading.kind == Kind::Text);
            match texts.map(|(width, _)| width).max() {
                Some(width) if *width > NARROWEST => *width -= 1,
                _ => return,
            }
        }
        self.widths = widths;
    }
}

/// The width of a table whose columns have these widths.
fn total(widths: impl ExactSizeIterator<Item = u16>) -> u16 {
    let gaps = GAP.saturating_mul(u16::try_from(widths.len()).unwrap_or(u16::MAX).saturating_sub(1));
    widths.fold(gaps, u16::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings() -> Vec<Heading> {
        let heading = |title, short, kind| Heading { title, short, kind };
        let algorithm = heading("algorithm", "algorithm", Kind::Text);
        vec![heading("id", "id", Kind::Word), algorithm, heading("attempts", "tries", Kind::Number)]
    }

    fn rows(names: &'static [&'static str]) -> impl Fn(Room) -> Vec<Vec<Field>> {
        |_| names.iter().map(|name| vec![Field::from("1"), Field::from(*name), Field::from("2")]).collect()
    }

    #[test]
    fn columns_keep_their_places_on_the_next_page() {
        let mut pages = Pages::sized(headings(), None, false);
        let first = pages.page(rows(&["a-rather-long-name", "b"]));
        let expected = [
            "ID  ALGORITHM           ATTEMPTS",
            "1   a-rather-long-name         2",
            "1   b                          2",
        ];
        assert_eq!(first.lines().collect::<Vec<_>>(), expected);
        assert_eq!(pages.page(rows(&["c"])), "1   c                          2");
    }

    #[test]
    fn narrow_terminal_gets_short_titles_then_cut_texts() {
        let page = |width| Pages::sized(headings(), Some(width), false).page(rows(&["a-rather-long-name"]));
        assert_eq!(page(29), "ID  ALGORITHM           TRIES\n1   a-rather-long-name      2");
        assert_eq!(page(22), "ID  ALGORITHM    TRIES\n1   a-rather-l…      2");
        assert_eq!(page(5), page(29), "a table that cannot fit is not cut");
    }

    #[test]
    fn colour_takes_no_room() {
        let mut pages = Pages::sized(headings(), None, true);
        let page = pages.page(|_| {
            vec![vec![State::Dead.into(), "x".into(), "1".into()], vec![State::Ready.into(), "y".into(), "2".into()]]
        });
        let plain = page.replace("\x1b[38;5;1m", "").replace("\x1b[39m", "").replace("\x1b[0m", "");
        assert_ne!(page, plain);
        assert_eq!(plain, "ID     ALGORITHM  ATTEMPTS\ndead   x                 1\nready  y                 2");
    }
}
