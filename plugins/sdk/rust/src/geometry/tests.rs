use super::*;

fn products(points: &[[f64; 2]]) -> Vec<f64> {
    points.iter().flat_map(|a| points.iter().map(move |b| a[0] * b[0] + a[1] * b[1])).collect()
}

const SEARCH: Weiszfeld = Weiszfeld { maxiter: 1000, eps: 1e-9, tolerance: 1e-12 };

#[test]
fn distances_and_angles_follow_from_products() {
    let values = products(&[[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]]);
    let products = Products::new(3, &values).unwrap();
    assert_eq!(products.norm(0), 5.0);
    assert_eq!(products.distance_squared(0, 1), 18.0);
    assert_eq!(products.cosine(0, 1), 0.8);
    assert_eq!(products.cosine(0, 2), 0.0);
    let middle = products.combination(vec![0.5, 0.5, 0.0]);
    assert!((middle.distance(0) - 4.5f64.sqrt()).abs() < 1e-12);
    assert!((middle.norm() - 8.5f64.sqrt()).abs() < 1e-12);
    assert!(Products::new(2, &values).is_err());
}

#[test]
fn krum_sums_the_nearest() {
    let values = products(&[[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [100.0, 0.0]]);
    let products = Products::new(4, &values).unwrap();
    assert_eq!(krum_scores(products, &[0, 1, 2, 3], 0), [10.0, 5.0, 13.0, 99.0 * 99.0 + 97.0 * 97.0]);
    assert_eq!(krum_scores(products, &[0, 1, 3], 9), [1.0, 1.0, 99.0 * 99.0]);
    assert_eq!(krum_scores(products, &[2], 0), [0.0]);
    assert_eq!(smallest(&[2.0, 1.0, 1.0]), Some(1));
}

#[test]
fn the_median_of_a_triangle_is_its_fermat_point() {
    let values = products(&[[0.0, 0.0], [2.0, 0.0], [1.0, 3f64.sqrt()]]);
    let products = Products::new(3, &values).unwrap();
    let (point, _) = geometric_median(products, &[1.0 / 3.0; 3], SEARCH);
    // equilateral: the same distance from all corners, side / sqrt(3)
    for corner in 0..3 {
        assert!((point.distance(corner) - 2.0 / 3f64.sqrt()).abs() < 1e-6);
    }
}

#[test]
fn one_far_away_hardly_moves_the_median() {
    let values = products(&[[1.0, 0.0], [1.0, 0.1], [1.1, 0.0], [1e20, -1e20]]);
    let products = Products::new(4, &values).unwrap();
    let (point, _) = geometric_median(products, &[0.25; 4], SEARCH);
    assert!(point.distance(0) < 0.2, "{}", point.distance(0));
    assert!(point.coefficients()[3] < 1e-19);
}

#[test]
fn the_same_points_are_their_median() {
    let values = products(&[[1.0, 2.0]; 3]);
    let (point, _) = geometric_median(Products::new(3, &values).unwrap(), &[1.0 / 3.0; 3], SEARCH);
    assert!(point.distance(0) < 1e-6);
    let values = products(&[[0.0, 0.0]]);
    let (point, _) = geometric_median(Products::new(1, &values).unwrap(), &[1.0], SEARCH);
    assert_eq!(point.coefficients(), [1.0]);
}
