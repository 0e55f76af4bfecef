//! The soak, for a moment: what grows with every round shows within a few hundred of them.

use polder_tests::Polder;
use serde_json::Value;

use crate::world::PROGRAM;

#[test]
fn rounds_leave_no_descriptors_no_threads_and_no_files_behind() {
    let _turn = crate::turn();
    let polder = Polder::new(PROGRAM);
    let soak = ["bench", "soak", "--minutes", "0.4", "--every", "0.5", "--workers", "2", "--json"];
    // Whether memory is flat says only a longer one; what it says of everything is printed all the same.
    let said = polder.run(&soak);
    let soaked: Value = serde_json::from_str(said.stdout.trim()).unwrap_or_else(|_| panic!("it failed: {said:?}"));
    assert!(soaked["rounds_committed"].as_u64().unwrap() > 10, "{soaked}");
    let trends = soaked["trends"].as_array().unwrap();
    for trend in trends {
        eprintln!("{trend}");
    }
    for what in ["file descriptors of the coordinator", "file descriptors of the workers", "spool on disk", "files"] {
        let trend = trends.iter().find(|trend| trend["what"] == what).unwrap();
        assert_eq!(trend["is_flat"], true, "{what}: {trend}\n{}", soaked["samples"]);
    }
}
