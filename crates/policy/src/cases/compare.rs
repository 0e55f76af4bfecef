//! Answers against what is expected of them, as JSON.

use serde_json::Value;

/// `base` with what `over` has put over it. Lists are put over each other element by element, as long as the upper one.
///
/// # Errors
/// A sentence that names a field of `over` that `base` does not have.
pub(super) fn overlaid(base: &Value, over: &Value, place: &str) -> Result<Value, String> {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) if !are_variants(base, over) => {
            let mut whole = base.clone();
            for (key, over) in over {
                let known: Vec<&str> = base.keys().map(String::as_str).collect();
                let below = base.get(key).ok_or_else(|| format!("{place} has no `{key}`, but {}", known.join(", ")))?;
                whole.insert(key.clone(), overlaid(below, over, &format!("{place}.{key}"))?);
            }
            Ok(Value::Object(whole))
        }
        (Value::Array(base), Value::Array(over)) => {
            let element = |(index, over): (usize, &Value)| match base.get(index) {
                Some(base) => overlaid(base, over, &format!("{place}[{index}]")),
                None => Ok(over.clone()),
            };
            over.iter().enumerate().map(element).collect::<Result<_, _>>().map(Value::Array)
        }
        _ => Ok(over.clone()),
    }
}

/// Two different cases of one variant: `{"release": ...}` and `{"withhold": ...}`.
fn are_variants(base: &serde_json::Map<String, Value>, over: &serde_json::Map<String, Value>) -> bool {
    base.len() == 1 && over.len() == 1 && !base.keys().eq(over.keys())
}

/// Where two values first differ, and how.
pub(super) fn difference(found: &Value, expected: &Value, tolerance: f64, place: &str) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) if found.keys().eq(expected.keys()) => {
            let mut pairs = found.iter().zip(expected.values());
            pairs.find_map(|((key, found), expected)| difference(found, expected, tolerance, &format!("{place}.{key}")))
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            let mut pairs = found.iter().zip(expected).enumerate();
            pairs.find_map(|(index, (found, expected))| {
                difference(found, expected, tolerance, &format!("{place}[{index}]"))
            })
        }
        (Value::Array(found), Value::Array(expected)) => {
            Some(format!("{place} has {} entries, and {} are expected", found.len(), expected.len()))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            let is_close = a == b || (a - b).abs() <= tolerance * b.abs().max(1.0);
            (!is_close).then(|| format!("{place} is {a}, and {b} is expected"))
        }
        _ => (found != expected).then(|| format!("{place} is {found}, and {expected} is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_expected_is_compared() {
        let found = json!({"weights": [0.25, 0.75], "reason": "because"});
        let whole = overlaid(&found, &json!({"weights": [0.25, 0.5]}), "it").unwrap();
        assert_eq!(whole, json!({"weights": [0.25, 0.5], "reason": "because"}));
        assert_eq!(difference(&found, &whole, 0.0, "it").unwrap(), "it.weights[1] is 0.75, and 0.5 is expected");
        assert_eq!(difference(&found, &whole, 0.25, "it"), None);
    }

    #[test]
    fn a_field_that_is_not_there_is_named() {
        let error = overlaid(&json!({"weights": [], "reason": ""}), &json!({"wieghts": []}), "the answer").unwrap_err();
        assert_eq!(error, "the answer has no `wieghts`, but reason, weights");
    }

    #[test]
    fn lists_differ_in_length_too() {
        let (found, expected) = (json!([1.0, 2.0]), json!([1.0]));
        let whole = overlaid(&found, &expected, "it").unwrap();
        assert_eq!(difference(&found, &whole, 1.0, "it").unwrap(), "it has 2 entries, and 1 are expected");
    }

    #[test]
    fn one_case_of_a_variant_replaces_another() {
        let found = json!({"control-variates": {"state_tensor": 0}});
        let expected = json!({"dynamic-regularizer": {"alpha": 0.5}});
        assert_eq!(overlaid(&found, &expected, "it").unwrap(), expected);
        assert!(difference(&found, &expected, 0.0, "it").is_some());
    }
}
