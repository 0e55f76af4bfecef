//! Parameters: the run's JSON object, as the policy's own type.

use serde::de::DeserializeOwned;

use crate::Error;

/// Reads `text`, one JSON object; blank text means that none were given.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|error| Error::Parameters(error.to_string()))
}

/// Refuses a parameter's value unless `is_allowed`, in words that say which parameter and what is allowed.
///
/// # Errors
/// [`Error::Parameters`], such as `beta is 0.5; it must be at least 0 and below 0.5`.
pub fn require(is_allowed: bool, name: &str, value: f64, allowed: &str) -> Result<(), Error> {
    if is_allowed {
        return Ok(());
    }
    Err(Error::Parameters(format!("{name} is {}; it must be {allowed}", crate::figure(value))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Parameters {
        #[serde(default)]
        trim: u32,
    }

    #[test]
    fn blank_means_defaults() {
        assert_eq!(parse::<Parameters>(" "), Ok(Parameters { trim: 0 }));
        assert_eq!(parse::<Parameters>(r#"{"trim": 3}"#), Ok(Parameters { trim: 3 }));
    }

    #[test]
    fn an_unknown_key_is_named_beside_what_is_allowed() {
        let Err(Error::Parameters(message)) = parse::<Parameters>(r#"{"trimm": 3}"#) else { panic!("it was accepted") };
        assert!(message.contains("unknown field `trimm`, expected `trim`"), "{message}");
    }

    #[test]
    fn what_is_out_of_range_is_named_with_its_range() {
        assert_eq!(require(true, "beta", 0.2, "below 0.5"), Ok(()));
        let refused = require(false, "beta", 0.5, "at least 0 and below 0.5");
        assert_eq!(refused, Err(Error::Parameters("beta is 0.5; it must be at least 0 and below 0.5".into())));
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["3", "{", r#"{"trim": "a"}"#, "{} {}"] {
            assert!(matches!(parse::<Parameters>(text), Err(Error::Parameters(_))), "{text} was accepted");
        }
    }
}
