//! The text of a run file with the `--set`s laid over it: read as TOML, and asked where a key stands.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde_path_to_error::Segment;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Place, quoted};
use super::keys;
use super::raw::RawRun;

/// One `--set KEY=VALUE`: the value is TOML, or plain text where it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    key: String,
    value: String,
}

/// A `--set` without a key or a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not KEY=VALUE; write for instance `--set train.epochs=3`")]
pub struct OverrideError {
    text: String,
}

impl std::str::FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let refuse = || OverrideError { text: quoted(text) };
        let (key, value) = text.split_once('=').ok_or_else(refuse)?;
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        if !key.trim().split('.').all(plain) {
            return Err(refuse());
        }
        Ok(Self { key: key.trim().into(), value: value.trim().into() })
    }
}

impl Override {
    fn place(&self) -> Place {
        Place::Set { text: quoted(&format!("{}={}", self.key, self.value)) }
    }

    fn fault(&self, problem: String) -> Fault {
        Fault { place: self.place(), key: Some(self.key.clone()), problem }
    }

    fn is_about(&self, key: &str) -> bool {
        key.strip_prefix(self.key.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }

    fn value(&self) -> DeValue<'_> {
        match DeValue::parse(&self.value) {
            Ok(value) => value.into_inner(),
            Err(_) => DeValue::String(self.value.as_str().into()),
        }
    }

    /// Puts the value where the key says, making tables on the way.
    fn lay_over<'a>(&'a self, root: &mut DeTable<'a>) -> Result<(), Fault> {
        let mut table = root;
        let mut parts = self.key.split('.').peekable();
        while let Some(part) = parts.next() {
            let name = || Spanned::new(0..0, part.to_owned().into());
            if parts.peek().is_none() {
                table.remove(part);
                table.insert(name(), Spanned::new(0..0, self.value()));
                return Ok(());
            }
            let next = table.entry(name()).or_insert_with(|| Spanned::new(0..0, DeValue::Table(DeTable::new())));
            let DeValue::Table(next) = next.get_mut() else {
                return Err(self.fault(format!("`{part}` is not a table, so nothing can be set in it")));
            };
            table = next;
        }
        Ok(())
    }
}

pub(super) struct Source<'a> {
    path: PathBuf,
    text: &'a str,
    /// As in the file.
    written: Spanned<DeTable<'a>>,
    overrides: &'a [Override],
}

impl<'a> Source<'a> {
    pub(super) fn parse(path: &Path, text: &'a str, overrides: &'a [Override]) -> Result<Self, Fault> {
        let written = DeTable::parse(text).map_err(|error| Fault {
            place: Place::in_text(path.into(), text, error.span().unwrap_or(0..0)),
            key: None,
            problem: format!("this is not TOML: {}", error.message().replace('\n', "; ")),
        })?;
        Ok(Self { path: path.into(), text, written, overrides })
    }

    /// The directory that paths in the file start from.
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new(""))
    }

    pub(super) fn read(&self) -> Result<RawRun, Fault> {
        let mut table = self.written.clone();
        for change in self.overrides {
            change.lay_over(table.get_mut())?;
        }
        serde_path_to_error::deserialize(toml::Deserializer::from(table)).map_err(|error| {
            let path: Vec<String> = error.path().iter().filter_map(name).collect();
            let span = error.inner().span();
            self.misfit(&path, error.path().to_string(), span)
        })
    }

    /// A fault of the value that `key` has; of the closest table around it where there is none.
    pub(super) fn fault(&self, key: &str, problem: String) -> Fault {
        let place = match self.overrides.iter().rfind(|change| change.is_about(key)) {
            Some(change) => change.place(),
            None => self.place(self.locate(key)),
        };
        Fault { place, key: Some(key.into()), problem }
    }

    fn place(&self, span: Range<usize>) -> Place {
        Place::in_text(self.path.clone(), self.text, span)
    }

    /// Something that has no place in a [`RawRun`]: an unknown key, or a value of another type.
    fn misfit(&self, path: &[String], key: String, span: Option<Range<usize>>) -> Fault {
        let change = self.overrides.iter().rfind(|change| change.is_about(&key));
        let plain = path.join(".");
        let (table, last) = plain.rsplit_once('.').unwrap_or(("", &plain));
        let found = match (change, &span) {
            (Some(change), _) => quoted(&change.value),
            (None, _) if self.is_table(&plain) => "a table".into(),
            (None, Some(span)) => quoted(self.text.get(span.clone()).unwrap_or("")),
            (None, None) => "something else".into(),
        };
        let problem = match keys::allowed(&plain) {
            Some(allowed) => format!("`{key}` is {found}; allowed: {allowed}"),
            None if !keys::inside(&plain).is_empty() => {
                format!("`{key}` is {found}, but it is a table; it may hold {}", listed(&keys::inside(&plain)))
            }
            None => unknown(table, last),
        };
        let place = match (change, span) {
            (Some(change), _) => change.place(),
            (None, Some(span)) => self.place(span),
            (None, None) => self.place(self.locate(&plain)),
        };
        Fault { place, key: Some(key), problem }
    }

    /// Whether the file has a table there.
    fn is_table(&self, key: &str) -> bool {
        let mut parts = key.split('.');
        let first = parts.next().and_then(|first| self.written.get_ref().get(first));
        let found = parts.try_fold(first, |value, part| Some(value?.get_ref().get(part))).flatten();
        found.is_some_and(|value| value.get_ref().is_table())
    }

    /// Where the value of `key` stands; where it is missing, the name of the closest table around it.
    fn locate(&self, key: &str) -> Range<usize> {
        let mut span = 0..0;
        let mut table = self.written.get_ref();
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            let Some((name, value)) = table.get_key_value(part) else { break };
            match value.get_ref() {
                DeValue::Table(inner) if parts.peek().is_some() => {
                    span = name.span();
                    table = inner;
                }
                DeValue::Table(_) => return name.span(),
                _ => return value.span(),
            }
        }
        span
    }
}

fn name(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Seq { .. } | Segment::Unknown => None,
    }
}

fn unknown(table: &str, last: &str) -> String {
    let known = keys::inside(table);
    let place = if table.is_empty() { "a run file".to_owned() } else { format!("[{table}]") };
    let likeness = |name: &&str| strsim::jaro_winkler(last, name);
    let close = known.iter().filter(|name| likeness(name) > 0.8).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = close.map(|name| format!("; did you mean `{name}`?")).unwrap_or_else(|| ";".into());
    format!("`{last}` is not a key of {place}{hint} allowed: {}", listed(&known))
}

/// `a`, `b` and `c`.
pub(super) fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
