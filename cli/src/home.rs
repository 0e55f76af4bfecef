//! Where things lie on this machine: `$POLDER_HOME`, and which coordinator the client commands talk to.
//!
//! | below `$POLDER_HOME` (by default `~/.polder`) | holds |
//! | --- | --- |
//! | `coordinator/` | all that a coordinator started here keeps; its own operator's profile is `coordinator/operator/` |
//! | `workers/<name>/` | what one worker keeps |
//! | `operator/` | the profile that `polder login` writes |
//!
//! A profile is a directory with `credentials.pem` and `endpoint`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use polder_core::WorkerName;
use polder_security::endpoint::EndpointError;
use polder_security::{Credentials, CredentialsError, Endpoint};

/// The environment variable that names the home.
pub const HOME_VARIABLE: &str = "POLDER_HOME";

const CREDENTIALS: &str = "credentials.pem";
const ENDPOINT: &str = "endpoint";

/// Why there is no profile to work with.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error(
        "no coordinator is known here; start one (`polder coordinator start`), log in to one (`polder login TOKEN`), \
         or name a profile's directory with --profile"
    )]
    None,
    #[error("neither {HOME_VARIABLE} nor HOME is set, so there is no place to keep things; set {HOME_VARIABLE}")]
    NoHome,
    #[error("`{}` is no profile: it has no `{CREDENTIALS}`; give the directory that `polder login` or a coordinator wrote", dir.display())]
    NotAProfile { dir: PathBuf },
    #[error("cannot {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("`{}` does not say where the coordinator is; log in again (`polder login TOKEN`)", path.display())]
    Endpoint { path: PathBuf, source: EndpointError },
    #[error("the operator's credentials cannot be used")]
    Credentials(#[from] CredentialsError),
}

/// The home directory; nothing is created by asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home(PathBuf);

impl Home {
    /// By the environment.
    pub fn find() -> Result<Self, ProfileError> {
        Self::of(std::env::var_os(HOME_VARIABLE), std::env::home_dir())
    }

    /// At `dir`, whatever the environment says.
    #[must_use]
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    fn of(named: Option<OsString>, user: Option<PathBuf>) -> Result<Self, ProfileError> {
        let named = named.filter(|named| !named.is_empty()).map(PathBuf::from);
        let user = user.filter(|user| !user.as_os_str().is_empty()).map(|user| user.join(".polder"));
        named.or(user).map(Self).ok_or(ProfileError::NoHome)
    }

    #[must_use]
    pub fn coordinator(&self) -> PathBuf {
        self.0.join("coordinator")
    }

    #[must_use]
    pub fn workers(&self) -> PathBuf {
        self.0.join("workers")
    }

    #[must_use]
    pub fn worker(&self, name: &WorkerName) -> PathBuf {
        self.workers().join(name.as_str())
    }

    /// Where `polder login` writes.
    #[must_use]
    pub fn operator(&self) -> PathBuf {
        self.0.join("operator")
    }

    /// Names of the workers that have joined from here before; a directory without credentials is of one that tried.
    pub fn worker_names(&self) -> Vec<WorkerName> {
        let entries = fs::read_dir(self.workers()).into_iter().flatten().flatten();
        let entries = entries.filter(|entry| entry.path().join(CREDENTIALS).is_file());
        let mut names: Vec<WorkerName> =
            entries.filter_map(|entry| WorkerName::new(entry.file_name().into_string().ok()?).ok()).collect();
        names.sort();
        names
    }
}

/// Who we are to which coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    dir: PathBuf,
}

impl Profile {
    /// The profile in `named`; else the one that was logged in to, else that of a coordinator on this machine.
    pub fn find(named: Option<&Path>, home: &Home) -> Result<Self, ProfileError> {
        let profile = |dir: PathBuf| dir.join(CREDENTIALS).is_file().then_some(Self { dir });
        match named {
            // A coordinator's own directory will do: its operator lives in it.
            Some(dir) => profile(dir.into())
                .or_else(|| profile(dir.join("operator")))
                .ok_or_else(|| ProfileError::NotAProfile { dir: dir.into() }),
            None => profile(home.operator())
                .or_else(|| profile(home.coordinator().join("operator")))
                .ok_or(ProfileError::None),
        }
    }

    /// The profile to be written at `dir`, which is made if need be, for its owner only.
    pub fn create(dir: &Path) -> Result<Self, ProfileError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let failed = |source| ProfileError::Io { action: "create", path: dir.into(), source };
        builder.create(dir).map_err(failed)?;
        Ok(Self { dir: dir.into() })
    }

    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where its coordinator is.
    pub fn endpoint(&self) -> Result<Endpoint, ProfileError> {
        let path = self.dir.join(ENDPOINT);
        match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|source| ProfileError::Endpoint { path, source }),
            Err(source) => Err(ProfileError::Io { action: "read", path, source }),
        }
    }

    pub fn credentials(&self) -> Result<Credentials, ProfileError> {
        Ok(Credentials::load(&self.dir.join(CREDENTIALS))?)
    }

    /// Writes both files, each replaced at once; the credentials last, as they make it a profile.
    pub fn save(&self, credentials: &Credentials, endpoint: &Endpoint) -> Result<(), ProfileError> {
        let path = self.dir.join(ENDPOINT);
        let failed = |source| ProfileError::Io { action: "write", path: path.clone(), source };
        let mut file = tempfile::NamedTempFile::new_in(&self.dir).map_err(failed)?;
        writeln!(file, "{endpoint}").and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(credentials.save(&self.dir.join(CREDENTIALS))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    #[test]
    fn the_home_is_named_or_the_users_own() {
        let named = Home::of(Some("/srv/polder".into()), Some("/home/ada".into())).unwrap();
        assert_eq!(named.coordinator(), Path::new("/srv/polder/coordinator"));
        let own = Home::of(Some("".into()), Some("/home/ada".into())).unwrap();
        assert_eq!(own.operator(), Path::new("/home/ada/.polder/operator"));
        let name = WorkerName::new("eu-west-1").unwrap();
        assert_eq!(own.worker(&name), Path::new("/home/ada/.polder/workers/eu-west-1"));
        assert!(matches!(Home::of(None, None), Err(ProfileError::NoHome)));
    }

    #[test]
    fn a_login_goes_before_the_coordinator_next_door_and_a_flag_before_both() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home(dir.path().join("home"));
        assert!(matches!(Profile::find(None, &home), Err(ProfileError::None)));

        touch(&home.coordinator().join("operator/credentials.pem"));
        assert_eq!(Profile::find(None, &home).unwrap().dir(), home.coordinator().join("operator"));

        touch(&home.operator().join("credentials.pem"));
        assert_eq!(Profile::find(None, &home).unwrap().dir(), home.operator());

        // Named by its coordinator's directory, and by its own.
        let other = dir.path().join("other");
        touch(&other.join("operator/credentials.pem"));
        for named in [&other, &other.join("operator")] {
            assert_eq!(Profile::find(Some(named), &home).unwrap().dir(), other.join("operator"));
        }
        let refusal = Profile::find(Some(dir.path()), &home).unwrap_err();
        assert!(refusal.to_string().contains("is no profile"), "{refusal}");
    }

    #[test]
    fn an_endpoint_that_is_none_names_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::create(&dir.path().join("a/b")).unwrap();
        assert!(matches!(profile.endpoint(), Err(ProfileError::Io { action: "read", .. })));
        fs::write(profile.dir().join("endpoint"), "127.0.0.1:7700\n").unwrap();
        assert_eq!(profile.endpoint().unwrap().to_string(), "127.0.0.1:7700");
        fs::write(profile.dir().join("endpoint"), "nowhere").unwrap();
        assert!(profile.endpoint().unwrap_err().to_string().contains("a/b/endpoint"));
    }

    #[test]
    fn workers_are_listed_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home(dir.path().into());
        assert!(home.worker_names().is_empty());
        touch(&home.workers().join("eu-west-1/credentials.pem"));
        touch(&home.workers().join("ap-south-1/credentials.pem"));
        touch(&home.workers().join("No Name/credentials.pem"));
        touch(&home.workers().join("never-joined/lock"));
        let names: Vec<String> = home.worker_names().into_iter().map(String::from).collect();
        assert_eq!(names, ["ap-south-1", "eu-west-1"]);
    }
}
