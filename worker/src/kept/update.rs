//! An update on disk: everything that sending it takes, and what changes here once it counts.

use std::fs::File;
use std::io::{self, BufReader, Take, Write};

use polder_core::effect::Assignment;
use polder_core::round::UpdateReceipt;
use polder_tensor::Parameters;
use serde::{Deserialize, Serialize};

use crate::correction::{Change, ChangeHead};

/// What the first line says of an update; the update's file follows, and the control variate's if the change has one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UpdateHead {
    receipt: UpdateReceipt,
    /// Who let it out; another release policy, or other parameters, might not.
    released_by: String,
    change: Option<ChangeHead>,
}

/// An update that is about to be sent.
pub(crate) struct Sent<'a> {
    pub(crate) receipt: &'a UpdateReceipt,
    pub(crate) released_by: &'a str,
    pub(crate) change: Option<&'a Change>,
    /// The update's file, in two parts.
    pub(crate) parts: [&'a [u8]; 2],
}

/// An update that an earlier worker made.
#[derive(Debug)]
pub(crate) struct KeptUpdate {
    pub(crate) assignment: Assignment,
    pub(crate) receipt: UpdateReceipt,
    pub(crate) released_by: String,
    pub(crate) parameters: Parameters,
    pub(crate) change: Option<Change>,
}

impl Sent<'_> {
    pub(super) fn bytes(&self) -> u64 {
        let variate = self.change.and_then(Change::global).map_or(0, |global| global.layout().file_bytes());
        self.receipt.bytes.saturating_add(variate)
    }

    pub(super) fn head(&self) -> UpdateHead {
        UpdateHead {
            receipt: self.receipt.clone(),
            released_by: self.released_by.into(),
            change: self.change.map(Change::head),
        }
    }

    pub(super) fn write(&self, mut file: &mut dyn Write) -> io::Result<()> {
        for part in self.parts {
            file.write_all(part)?;
        }
        self.change.and_then(Change::global).map_or(Ok(()), |global| global.write(&mut file))
    }
}

impl KeptUpdate {
    pub(super) fn read(assignment: Assignment, head: UpdateHead, mut file: Take<BufReader<File>>) -> io::Result<Self> {
        let UpdateHead { receipt, released_by, change } = head;
        receipt.check().map_err(io::Error::other)?;
        let parameters = Parameters::read(&mut file, receipt.bytes).map_err(io::Error::other)?;
        if parameters.digest() != receipt.update {
            return Err(io::Error::other("it is damaged: the update's digest is another"));
        }
        let global = match &change {
            Some(change) if change.has_global() => {
                Some(Parameters::read(&mut file, receipt.bytes).map_err(io::Error::other)?)
            }
            _ => None,
        };
        let change = change.map(|change| Change::from_head(change, global));
        Ok(Self { assignment, receipt, released_by, parameters, change })
    }
}
