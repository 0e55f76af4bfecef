use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// `counts[c]` examples of class `c`; every feature row is unique.
fn data_set(counts: &[usize]) -> DataSet {
    let labels: Vec<u32> = counts.iter().enumerate().flat_map(|(class, n)| vec![class as u32; *n]).collect();
    let features = (0..2 * labels.len()).map(|value| value as f32).collect();
    DataSet::new(features, labels, 2, counts.len()).unwrap()
}

#[test]
fn inconsistent_parts_are_refused() {
    assert_eq!(DataSet::new(vec![], vec![], 3, 2), Err(DataSetError::Empty));
    assert_eq!(DataSet::new(vec![], vec![0], 0, 2), Err(DataSetError::NoFeatures));
    let short = DataSet::new(vec![1.0; 5], vec![0, 1], 3, 2).unwrap_err().to_string();
    assert_eq!(short, "2 labels of 3 features each need 6 values, but there are 5");
    let label = DataSet::new(vec![1.0; 2], vec![0, 2], 1, 2).unwrap_err().to_string();
    assert_eq!(label, "example 1 has label 2; with 2 classes labels are 0 to 1");
    let nan = DataSet::new(vec![0.0, 1.0, 2.0, f32::NAN], vec![0, 1], 2, 2).unwrap_err().to_string();
    assert_eq!(nan, "feature 1 of example 1 is NaN, which is no finite number");
}

#[test]
fn subsets_keep_rows_and_labels_together() {
    let all = data_set(&[2, 2]);
    let some = all.subset(&[3, 0, 0]).unwrap();
    assert_eq!(some.labels(), [1, 0, 0]);
    assert_eq!(some.features(), [6.0, 7.0, 0.0, 1.0, 0.0, 1.0]);
    assert_eq!(some.row(0), all.row(3));
    assert_eq!(some.row(3), None);
    assert_eq!(some.label_counts(), [2, 1]);
    assert_eq!(all.subset(&[4]), Err(DataSetError::NoSuchExample { index: 4, examples: 4 }));
    assert_eq!(all.subset(&[]), Err(DataSetError::Empty));
}

#[test]
fn a_split_follows_its_seed_and_loses_nothing() {
    let all = data_set(&[30, 20]);
    let split = all.split(0.2, 5).unwrap();
    assert_eq!(split, all.split(0.2, 5).unwrap());
    assert_ne!(split, all.split(0.2, 6).unwrap());

    let held_out = split.held_out.unwrap();
    assert_eq!((split.train.examples(), held_out.examples()), (40, 10));
    let rows: BTreeSet<u32> =
        [&split.train, &held_out].iter().flat_map(|part| part.features().iter().map(|value| *value as u32)).collect();
    assert_eq!(rows, (0..100).collect());
}

#[test]
fn a_split_leaves_no_side_empty() {
    let two = data_set(&[1, 1]);
    for share in [1e-9, 0.5, 0.999_999] {
        let split = two.split(share, 0).unwrap();
        assert_eq!((split.train.examples(), split.held_out.unwrap().examples()), (1, 1));
    }
    assert_eq!(two.split(0.0, 0).unwrap(), Split { train: two.clone(), held_out: None });
    assert_eq!(two.split(1.0, 0), Err(DataSetError::HeldOutShare { share: 1.0 }));
    assert!(two.split(f64::NAN, 0).is_err());
    assert_eq!(data_set(&[1]).split(0.5, 0), Err(DataSetError::TooFew { examples: 1, parts: 2 }));
}

/// How far the parts' label mixes lie from the whole's, 0 (the same) to 1 (disjoint), on average.
fn skew(all: &DataSet, parts: &[DataSet]) -> f64 {
    let mix = |set: &DataSet| -> Vec<f64> {
        set.label_counts().iter().map(|count| *count as f64 / set.examples() as f64).collect()
    };
    let whole = mix(all);
    let distance = |part: &DataSet| mix(part).iter().zip(&whole).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
    parts.iter().map(distance).sum::<f64>() / parts.len() as f64
}

#[test]
fn a_small_alpha_skews_labels_and_a_large_one_does_not() {
    let all = data_set(&[180; 10]);
    let skews = [0.1, 1.0, 1000.0].map(|alpha| skew(&all, &all.dirichlet_split(3, alpha, 1).unwrap()));
    assert!(skews[0] > 0.45 && skews[2] < 0.1, "{skews:?}");
    assert!(skews[0] > skews[1] && skews[1] > skews[2], "{skews:?}");
}

#[test]
fn a_label_split_follows_its_seed() {
    let labels: Vec<u32> = (0..300).map(|index| index % 10).collect();
    let split = dirichlet_split(&labels, 3, 0.3, 9).unwrap();
    assert_eq!(split, dirichlet_split(&labels, 3, 0.3, 9).unwrap());
    assert_ne!(split, dirichlet_split(&labels, 3, 0.3, 10).unwrap());
}

#[test]
fn impossible_label_splits_are_refused() {
    assert_eq!(dirichlet_split(&[0, 1], 3, 0.3, 0), Err(DataSetError::TooFew { examples: 2, parts: 3 }));
    assert!(dirichlet_split(&[0, 1], 0, 0.3, 0).is_err());
    for alpha in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(dirichlet_split(&[0, 1], 2, alpha, 0).is_err(), "{alpha}");
    }
}

proptest! {
    #[test]
    fn label_splits_are_even_and_take_every_example_once(
        labels in prop::collection::vec(0_u32..6, 1..200),
        parts in 1_usize..8,
        alpha in prop_oneof![Just(0.001), Just(0.3), Just(1e6)],
        seed: u64,
    ) {
        prop_assume!(labels.len() >= parts);
        let split = dirichlet_split(&labels, parts, alpha, seed).unwrap();
        let sizes: Vec<usize> = split.iter().map(Vec::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
        let mut all: Vec<usize> = split.concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
    }
}
