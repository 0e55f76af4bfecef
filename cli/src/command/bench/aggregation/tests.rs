use super::*;

#[tokio::test]
async fn every_case_but_those_of_other_processes_measures_something() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench { shrink: 10_000, repeats: 1, dir: dir.path().to_path_buf(), only: None };
    let mut names = Vec::new();
    for case in cases::all() {
        if matches!(case, cases::Case::Memory { .. }) {
            continue;
        }
        for measured in case.run(&bench).await.unwrap() {
            assert!(measured.seconds > 0.0, "{measured:?}");
            names.push(measured.name.clone());
            measured.cells();
        }
    }
    assert_eq!(names.len(), 2 * 3 + 2 * 2 + 1 + 1 + 2 + 1 + 2, "{names:?}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "files are gone");
}

#[tokio::test]
async fn what_is_not_wanted_is_not_measured() {
    let dir = tempfile::tempdir().unwrap();
    let only = Some("no such thing".into());
    let bench = Bench { shrink: 1, repeats: 1, dir: dir.path().to_path_buf(), only };
    for case in cases::all() {
        assert!(case.run(&bench).await.unwrap().is_empty());
    }
}

#[test]
fn times_have_fitting_units() {
    assert_eq!([12.345, 0.0456, 0.000_078_9].map(seconds), ["12.35 s", "45.6 ms", "78.9 µs"]);
}
