//! Shares of a mean, from what updates say of themselves.

use crate::Error;
use crate::aggregation::{Plan, Update};

/// Every update's share of the mean, adding up to 1: by training examples, or all the same.
///
/// # Errors
/// There is no update, or none with an example although examples are to count.
pub fn shares(updates: &[Update], weighted: bool) -> Result<Vec<f64>, Error> {
    let count = updates.len();
    if count == 0 {
        return Err(Error::Question("there is no update to average".into()));
    }
    if !weighted {
        return Ok(vec![1.0 / count as f64; count]);
    }
    let total = examples(updates);
    if total == 0 {
        return Err(Error::Question(format!(
            "none of the {count} updates reports a training example; set weighted = false to count them the same"
        )));
    }
    Ok(updates.iter().map(|update| update.examples as f64 / total as f64).collect())
}

/// The plan of a mean by [`shares`].
///
/// # Errors
/// Those of [`shares`].
pub fn mean(updates: &[Update], weighted: bool) -> Result<Plan, Error> {
    let weights = shares(updates, weighted)?.into_iter().map(|share| share as f32).collect();
    Ok(Plan::new(weights, mean_in_words(updates, weighted)))
}

/// What [`mean`] says of itself.
pub fn mean_in_words(updates: &[Update], weighted: bool) -> String {
    let count = updates.len();
    if weighted {
        return format!("the mean of {count} updates, weighted by their {} training examples", examples(updates));
    }
    format!("the plain mean of {count} updates")
}

fn examples(updates: &[Update]) -> u128 {
    updates.iter().map(|update| u128::from(update.examples)).sum()
}

/// What an update must report for a policy to work, or an error that says which update lacks what.
///
/// # Errors
/// [`Error::Question`] where there is none.
pub fn reported<T>(value: Option<T>, update: usize, what: &str) -> Result<T, Error> {
    value.ok_or_else(|| Error::Question(format!("update {update} reports no {what}, which this policy needs")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(examples: &[u64]) -> Vec<Update> {
        examples.iter().map(|&examples| Update::new(examples)).collect()
    }

    #[test]
    fn shares_follow_the_examples_or_not() {
        assert_eq!(shares(&updates(&[100, 300]), true), Ok(vec![0.25, 0.75]));
        assert_eq!(shares(&updates(&[u64::MAX, u64::MAX]), true), Ok(vec![0.5, 0.5]));
        assert_eq!(shares(&updates(&[0, 1, 2, 3]), false), Ok(vec![0.25; 4]));
    }

    #[test]
    fn nothing_to_share_is_said() {
        assert!(matches!(shares(&[], false), Err(Error::Question(_))));
        assert!(matches!(shares(&updates(&[0, 0]), true), Err(Error::Question(_))));
    }
}
