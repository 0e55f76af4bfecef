//! The CUDA toolkit's headers, which every kernel includes when it is compiled at run time.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where cubecl-cuda 0.10 looks for a toolkit. It takes the first that exists and gives up if the headers are not there.
pub(crate) fn candidates(cuda_path: Option<OsString>) -> Vec<PathBuf> {
    match cuda_path {
        Some(path) => vec![PathBuf::from(path)],
        None => vec![PathBuf::from("/usr/local/cuda"), PathBuf::from("/opt/cuda")],
    }
}

/// Says in a line what is missing, if the headers are not in the first of `candidates` that exists.
pub(crate) fn headers(candidates: &[PathBuf]) -> Result<(), String> {
    let Some(toolkit) = candidates.iter().find(|path| path.exists()) else {
        let places: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        return Err(format!("no CUDA toolkit in {}; install its headers or set CUDA_PATH", places.join(" or ")));
    };
    let header = toolkit.join(Path::new("include/cuda_runtime.h"));
    if header.is_file() {
        Ok(())
    } else {
        Err(format!("{} is missing; install the CUDA toolkit's headers or set CUDA_PATH", header.display()))
    }
}
