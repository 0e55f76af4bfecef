use super::*;

#[test]
fn what_leaves_is_no_longer_than_the_norm() {
    let review = |norm| Clip::review(Question::new(norm), Parameters { norm: 1.5 }).unwrap();
    let clipped = |reason: &str| Answer::release(Treatment::none().with_clip(1.5), reason);
    assert_eq!(review(3.0), clipped("norm 3 is scaled down to 1.5"));
    assert_eq!(review(1.5), clipped("norm 1.5 is within 1.5"));
    assert_eq!(review(0.0), clipped("norm 0 is within 1.5"));
}

#[test]
fn a_norm_is_above_0() {
    assert!(Clip::check(Parameters { norm: 1e-9 }).is_ok());
    assert_eq!(Clip::check(Parameters { norm: 0.0 }), Err(Error::Parameters("norm is 0; it must be above 0".into())));
    for norm in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(Clip::check(Parameters { norm }).is_err(), "{norm} was accepted");
    }
}
