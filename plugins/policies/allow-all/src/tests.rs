use super::*;

#[test]
fn everything_leaves_as_it_is() {
    let answer = AllowAll::review(Question::new(2.5), Parameters {}).unwrap();
    assert_eq!(answer, Answer::release(Treatment::none(), "every update leaves; this one has norm 2.5"));
}
