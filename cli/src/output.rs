//! What goes to stdout: tables for people, JSON for programs (`--json`): one object, or one object a line. Talk and
//! progress go to stderr. Colours only where a person looks on.

use std::io::{self, Write};

use console::{Style, measure_text_width};
use serde::Serialize;

/// Where results go, and in which form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// One line of text, flushed: somebody may wait for it.
    pub(crate) fn line(self, line: &str) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "{line}")?;
        Ok(stdout.flush()?)
    }

    /// One JSON object on a line.
    pub(crate) fn object(self, object: &impl Serialize) -> anyhow::Result<()> {
        self.line(&serde_json::to_string(object)?)
    }

    /// A table for people; says on stderr when there is nothing in it.
    pub(crate) fn table(self, table: &Table, nothing: &str) -> anyhow::Result<()> {
        if table.rows.is_empty() {
            return talk(nothing);
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(table.render(console::colors_enabled()).as_bytes())?;
        Ok(stdout.flush()?)
    }
}

/// Says something to the person at the terminal, on stderr.
pub(crate) fn talk(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stderr().lock(), "{text}")?)
}

/// Which way a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// Rows under headings, columns as wide as they must be.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    headings: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A heading that starts with `>` leans to the right, as numbers do.
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        let heading = |text: &&'static str| match text.strip_prefix('>') {
            Some(text) => (text, Align::Right),
            None => (*text, Align::Left),
        };
        Self { headings: headings.iter().map(heading).collect(), rows: Vec::new() }
    }

    /// Adds a row; a cell for each heading.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.headings.len());
        self.rows.push(cells.into_iter().map(|cell| plain(&cell)).collect());
    }

    /// The text, each line ended.
    pub(crate) fn render(&self, is_colored: bool) -> String {
        let width = |column: usize, heading: &str| {
            let cells = self.rows.iter().map(|row| measure_text_width(&row[column]));
            cells.chain([heading.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> =
            self.headings.iter().enumerate().map(|(column, (heading, _))| width(column, heading)).collect();
        let bold = Style::new().bold().force_styling(is_colored);
        let headings: Vec<String> = self.headings.iter().map(|(heading, _)| (*heading).to_owned()).collect();
        let mut text = self.line(&headings, &widths, |_, cell| bold.apply_to(cell).to_string());
        for row in &self.rows {
            text += &self.line(row, &widths, |cell, padded| state_style(cell, is_colored).apply_to(padded).to_string());
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize], style: impl Fn(&str, String) -> String) -> String {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let gap = " ".repeat(widths[column].saturating_sub(measure_text_width(cell)));
            let is_last = column + 1 == cells.len();
            line += &match self.headings[column].1 {
                Align::Right => style(cell, format!("{gap}{cell}")),
                Align::Left if is_last => style(cell, cell.clone()),
                Align::Left => style(cell, cell.clone()) + &gap,
            };
            line += if is_last { "\n" } else { "  " };
        }
        line
    }
}

/// The colour of a state's word; any other text stays as it is.
pub(crate) fn state_style(word: &str, is_colored: bool) -> Style {
    let style = match word {
        "completed" | "connected" | "committed" | "reported" | "passed" => Style::new().green(),
        "running" | "away" | "draining" => Style::new().yellow(),
        "failed" | "lost" | "abandoned" | "stopped" => Style::new().red(),
        _ => Style::new(),
    };
    style.force_styling(is_colored)
}

/// Without control characters, which could rewrite a terminal: texts come from workers and policies too.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `1.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A value, or a dash where there is none.
pub(crate) fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}

/// `94.2%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["RUN", "STATUS", ">ROUNDS", "REASON"]);
        table.row(["digits-1a2b3c".into(), "completed".into(), "20/20".into(), "all rounds".into()]);
        table.row(["m".into(), "failed".into(), "3/7".into(), "five\nabandoned\u{1b}[2J".into()]);
        table
    }

    #[test]
    fn columns_line_up_and_nothing_rewrites_the_terminal() {
        assert_eq!(
            table().render(false),
            "RUN            STATUS     ROUNDS  REASON\n\
             digits-1a2b3c  completed   20/20  all rounds\n\
             m              failed        3/7  five abandoned [2J\n"
        );
    }

    #[test]
    fn colours_add_nothing_but_colours() {
        let colored = table().render(true);
        assert!(colored.contains("\u{1b}[32mcompleted"), "{colored:?}");
        assert_eq!(console::strip_ansi_codes(&colored), table().render(false));
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(percent(0.9416), "94.2%");
        assert_eq!(bytes(1_363_149), "1.30 MiB");
        assert_eq!(or_dash::<u32>(None), "-");
        assert_eq!(or_dash(Some(3)), "3");
    }
}
