//! What is wrong with a run file: where, which key, what it holds and what is allowed there.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

/// Longest piece of somebody's file that an error quotes, in characters.
const QUOTED_MAX: usize = 60;

/// Why a run file cannot be used. Displays as a page of a few lines, like a compiler's.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    #[error("cannot read `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` is larger than {limit} bytes; it is no run file", path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("`{}` is not text (UTF-8)", path.display())]
    NotText { path: PathBuf },
    #[error("{0}")]
    Fault(Box<Fault>),
}

/// One fault in the text or in a `--set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub place: Place,
    /// Dotted; none where the text is no TOML.
    pub key: Option<String>,
    /// What is wrong and what is allowed.
    pub problem: String,
}

/// Where a fault is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file; line and column count from 1.
    File { path: PathBuf, line: usize, column: usize, excerpt: String, width: usize },
    /// In `--set`.
    Set { text: String },
}

impl Place {
    /// The place of `span` in `text`.
    pub(super) fn in_text(path: PathBuf, text: &str, span: Range<usize>) -> Self {
        let start = floor_char(text, span.start.min(text.len()));
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char(text, span.end.clamp(start, line_end));
        let chars = |piece: &str| piece.chars().count();
        // A key that is missing from the whole file stands nowhere in it.
        let is_nowhere = span.is_empty() && start == 0;
        Self::File {
            path,
            line: text[..start].matches('\n').count() + 1,
            column: chars(&text[line_start..start]) + 1,
            excerpt: if is_nowhere { String::new() } else { text[line_start..line_end].trim_end().to_owned() },
            width: chars(text[start..end].trim_end()).max(1),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Set { text } => write!(f, "--set {text}: {}", self.problem),
            Place::File { path, line, column, excerpt, width } => {
                write!(f, "{}:{line}:{column}: {}", path.display(), self.problem)?;
                // A long line would push the caret out of sight.
                if excerpt.chars().count() > 120 || excerpt.is_empty() {
                    return Ok(());
                }
                let excerpt: String = excerpt.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let gutter = line.to_string().len();
                write!(f, "\n{:gutter$} |\n{line} | {excerpt}\n{:gutter$} | ", "", "")?;
                write!(f, "{:indent$}{}", "", "^".repeat(*width), indent = column - 1)
            }
        }
    }
}

/// A piece of somebody's text, on one line and bounded.
pub(super) fn quoted(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("");
    let cut = line.chars().count() > QUOTED_MAX || text.trim().lines().nth(1).is_some();
    let kept: String = line.chars().filter(|c| !c.is_control()).take(QUOTED_MAX).collect();
    if cut { kept + "…" } else { kept }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
