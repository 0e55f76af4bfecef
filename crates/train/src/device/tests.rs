use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::*;

#[cfg(not(feature = "cuda"))]
#[test]
fn without_the_feature_the_probe_says_so_in_a_line() {
    let probe = Device::probe();
    assert_eq!(probe.device(), Device::Cpu);
    assert_eq!(probe.to_string(), "training on the CPU: this binary was built without the `cuda` feature");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn without_the_feature_a_gpu_is_refused_with_an_error() {
    let error = Device::Cuda { index: 1 }.not_built().to_string();
    assert_eq!(error, "cuda:1 cannot be used: this binary was built without the `cuda` feature");
}

#[cfg(feature = "cuda")]
#[test]
fn the_probe_finds_a_gpu_or_says_in_a_line_what_is_missing() {
    match Device::probe() {
        DeviceProbe::Cpu { why } => assert!(!why.is_empty() && !why.contains('\n'), "{why}"),
        DeviceProbe::Cuda { name, memory_bytes, .. } => assert!(!name.is_empty() && memory_bytes > 0),
    }
}

#[test]
fn a_gpu_is_described_in_a_line() {
    let probe = DeviceProbe::Cuda { index: 0, name: "NVIDIA L4".to_owned(), memory_bytes: 24 << 30 };
    assert_eq!(probe.device(), Device::Cuda { index: 0 });
    assert_eq!(probe.to_string(), "training on GPU 0, NVIDIA L4 with 24576 MiB");
}

#[test]
fn the_toolkit_is_looked_for_where_cuda_path_says_or_in_the_usual_places() {
    assert_eq!(toolkit::candidates(Some(OsString::from("/cuda"))), [PathBuf::from("/cuda")]);
    assert_eq!(toolkit::candidates(None).len(), 2);
}

#[test]
fn missing_headers_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("absent");
    let none = toolkit::headers(std::slice::from_ref(&absent)).unwrap_err();
    assert!(none.contains("absent") && none.contains("CUDA_PATH"), "{none}");

    let toolkit = folder.path().to_owned();
    let no_header = toolkit::headers(&[absent.clone(), toolkit.clone()]).unwrap_err();
    assert!(no_header.contains("include/cuda_runtime.h is missing"), "{no_header}");

    fs::create_dir(toolkit.join("include")).unwrap();
    fs::write(toolkit.join("include/cuda_runtime.h"), "").unwrap();
    assert_eq!(toolkit::headers(&[absent, toolkit]), Ok(()));
}
