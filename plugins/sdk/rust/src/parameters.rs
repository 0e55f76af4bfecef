//! Parameters: the run's JSON object, as the policy's own type.

use serde::de::DeserializeOwned;

use crate::Error;

/// Reads `text`, one JSON object; blank text means that none were given.
pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|error| Error::Parameters(error.to_string()))
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
    fn what_is_no_object_is_refused() {
        for text in ["3", "{", r#"{"trim": "a"}"#, "{} {}"] {
            assert!(matches!(parse::<Parameters>(text), Err(Error::Parameters(_))), "{text} was accepted");
        }
    }
}
