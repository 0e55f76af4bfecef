//! `polder model pull`

use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use polder_core::digest::Algorithm;
use polder_core::{Digest, RunId};
use serde::Serialize;

use crate::args::Context;
use crate::client::{CallError, Client};
use crate::failure::{Ended, Exit};
use crate::output::{bytes, talk};

#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// A run, or the digest of a model (blake3:…).
    #[arg(value_name = "RUN|DIGEST")]
    model: Wanted,
    /// Which version of the run's model [default: the newest].
    #[arg(long)]
    version: Option<u64>,
    /// Where to write it; replaced at once and only when all of it has arrived and its digest is right. A download that
    /// was cut off goes on where it stopped [default: RUN.safetensors].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Digest(Digest),
    Run(RunId),
}

impl Wanted {
    /// Where it goes if nothing else is said: named by the run, or by a digest's first digits.
    fn file(&self) -> PathBuf {
        let name = match self {
            Self::Digest(digest) => digest.hex()[..12].to_owned(),
            Self::Run(run) => run.to_string(),
        };
        format!("{name}.safetensors").into()
    }
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // No run's name has a colon.
        if text.contains(':') {
            let digest: Digest = text.parse().map_err(|error| format!("{error}"))?;
            return match digest.algorithm {
                Algorithm::Blake3 => Ok(Self::Digest(digest)),
                Algorithm::Sha256 => Err("a model's digest starts with `blake3:`".into()),
            };
        }
        text.parse().map(Self::Run).map_err(|error| format!("{error}"))
    }
}

#[derive(Serialize)]
struct Pulled {
    digest: Digest,
    bytes: u64,
    file: PathBuf,
}

impl Pull {
    pub(crate) async fn perform(self, context: &Context) -> anyhow::Result<()> {
        if self.version.is_some() && matches!(self.model, Wanted::Digest(_)) {
            return Err(Ended::usage("--version goes with a run; a digest names one version already"));
        }
        let client = context.client().await?;
        let digest = match &self.model {
            Wanted::Digest(digest) => *digest,
            Wanted::Run(run) => find(&client, run, self.version).await?,
        };
        let file = self.output.unwrap_or_else(|| self.model.file());
        let bytes_written = pull(&client, &digest, &file).await?;
        if context.output.is_json() {
            return context.output.object(&Pulled { digest, bytes: bytes_written, file });
        }
        talk(&format!("{} holds {digest} ({}).", file.display(), bytes(bytes_written)))
    }
}

async fn find(client: &Client, run: &RunId, version: Option<u64>) -> anyhow::Result<Digest> {
    let models = client.models(Some(run)).await?;
    let found = match version {
        None => models.last(),
        Some(version) => models.iter().find(|model| model.version == version),
    };
    found.map(|model| model.digest).ok_or_else(|| {
        let newest = models.last().map_or(0, |model| model.version);
        Ended::error(Exit::NotFound, why_not(run, version.unwrap_or(0), newest))
    })
}

/// Why a run has no model `version`: it never had one, or does not have it any more.
fn why_not(run: &RunId, version: u64, newest: u64) -> String {
    if version > newest {
        return format!("{run} has no model version {version}; its newest is {newest}");
    }
    format!(
        "{run} no longer has model version {version}: a run keeps the submitted model, the newest, the best evaluated, and as \
         many others as its `retention.models` says; `polder model list {run}` shows them"
    )
}

/// Downloads the model `digest` to `path` and returns its size. What was downloaded before a cut lies beside it, named
/// by digest, and is built upon.
pub(crate) async fn pull(client: &Client, digest: &Digest, path: &Path) -> anyhow::Result<u64> {
    let partial = partial_path(path, digest)?;
    let writing = || format!("cannot write `{}`", partial.display());
    let (mut hasher, mut offset) = hash_so_far(&partial)?;
    let mut pull = match client.pull_model(digest, offset).await {
        Err(CallError::Refused { code: tonic::Code::OutOfRange, .. }) => {
            // Longer than the model: not ours. What cannot become the model is not kept.
            fs::remove_file(&partial).with_context(|| format!("cannot remove `{}`", partial.display()))?;
            (hasher, offset) = (blake3::Hasher::new(), 0);
            client.pull_model(digest, 0).await?
        }
        pull => pull?,
    };
    let mut file = OpenOptions::new().create(true).append(true).open(&partial).with_context(writing)?;

    let bar = ProgressBar::new(pull.total_bytes()).with_position(offset).with_style(style());
    while let Some(piece) = pull.next().await.context("the download was cut off; the same command goes on with it")? {
        hasher.update(&piece);
        file.write_all(&piece).with_context(writing)?;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    file.sync_all().with_context(writing)?;
    drop(file);

    let found = Digest::blake3(*hasher.finalize().as_bytes());
    if found != *digest {
        fs::remove_file(&partial).with_context(|| format!("cannot remove `{}`", partial.display()))?;
        bail!("what arrived is {found}, not {digest}; it was thrown away: try again");
    }
    fs::rename(&partial, path).with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(pull.total_bytes())
}

/// `.NAME.<digest>.partial` beside the file.
fn partial_path(path: &Path, digest: &Digest) -> anyhow::Result<PathBuf> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Ended::usage(format!("`{}` is no file name to write to", path.display())))?;
    if path.is_dir() {
        return Err(Ended::usage(format!("`{}` is a directory; give the name of a file", path.display())));
    }
    Ok(path.with_file_name(format!(".{name}.{}.partial", &digest.hex()[..12])))
}

/// The hash and the length of what a download left behind; of nothing if there is nothing.
fn hash_so_far(partial: &Path) -> anyhow::Result<(blake3::Hasher, u64)> {
    let mut hasher = blake3::Hasher::new();
    let reading = || format!("cannot read `{}`", partial.display());
    match File::open(partial) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(reading),
        Ok(file) => {
            hasher.update_reader(BufReader::new(file)).with_context(reading)?;
        }
    }
    let length = hasher.count();
    Ok((hasher, length))
}

fn style() -> ProgressStyle {
    // The template is ours; were it wrong, the default style would do.
    ProgressStyle::with_template("  {bar:30.cyan/dim} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━━─")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_was_removed_is_told_from_one_that_never_was() {
        let run = "digits-3f9a1c".parse().unwrap();
        assert_eq!(why_not(&run, 9, 8), "digits-3f9a1c has no model version 9; its newest is 8");
        assert!(why_not(&run, 3, 8).starts_with("digits-3f9a1c no longer has model version 3: a run keeps"));
    }

    #[test]
    fn a_digest_is_told_from_a_run() {
        let digest = Digest::blake3([7; 32]);
        assert_eq!(digest.to_string().parse(), Ok(Wanted::Digest(digest)));
        assert!(matches!("digits-3f9a1c".parse(), Ok(Wanted::Run(_))));
        let of_a_policy = Digest::sha256([7; 32]).to_string();
        for bad in [of_a_policy.as_str(), "blake3:12", "Not A Run"] {
            assert!(bad.parse::<Wanted>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_named_by_what_is_pulled() {
        assert_eq!(Wanted::Run("digits-3f9a1c".parse().unwrap()).file(), Path::new("digits-3f9a1c.safetensors"));
        assert_eq!(Wanted::Digest(Digest::blake3([7; 32])).file(), Path::new("070707070707.safetensors"));
    }

    #[test]
    fn a_download_goes_on_where_it_stopped_and_never_with_another_model() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors");
        let partial = partial_path(&path, &Digest::blake3([7; 32])).unwrap();
        assert_ne!(partial, partial_path(&path, &Digest::blake3([8; 32])).unwrap());
        assert_eq!(hash_so_far(&partial).unwrap().1, 0);
        fs::write(&partial, "half a").unwrap();
        let (mut hasher, offset) = hash_so_far(&partial).unwrap();
        hasher.update(b" model");
        assert_eq!((offset, hasher.finalize()), (6, blake3::hash(b"half a model")));
        assert!(partial_path(dir.path(), &Digest::blake3([7; 32])).is_err(), "a directory is no file");
    }
}
