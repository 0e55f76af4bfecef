//! Examples in memory: rows of f32 features, each with a label.

use crate::rng::{Purpose, rng, shuffled};

mod skew;
mod write;

/// Most feature values of a data set in memory: 4 GiB of f32.
pub const VALUES_MAX: usize = 1 << 30;

/// Labelled examples; at least one.
#[derive(Clone, PartialEq)]
pub struct DataSet {
    /// `[examples, feature_count]`, row by row.
    features: Vec<f32>,
    labels: Vec<u32>,
    feature_count: usize,
    classes: usize,
}

/// Training data and what is kept from it to evaluate on.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub train: DataSet,
    /// `None` when nothing was to be held out.
    pub held_out: Option<DataSet>,
}

/// Why something is no data set, or cannot be divided so.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DataSetError {
    #[error("a data set needs at least one example")]
    Empty,
    #[error("a data set needs at least one feature")]
    NoFeatures,
    #[error("{labels} labels of {feature_count} features each need {expected} values, but there are {found}")]
    FeatureValues { labels: usize, feature_count: usize, expected: usize, found: usize },
    #[error("{values} feature values are more than the {VALUES_MAX} allowed")]
    TooLarge { values: usize },
    #[error("example {example} has label {label}; with {classes} classes labels are 0 to {}", classes.saturating_sub(1))]
    LabelOutOfRange { example: usize, label: u32, classes: usize },
    #[error("feature {feature} of example {example} is {value}, which is no finite number")]
    NotFinite { example: usize, feature: usize, value: f32 },
    #[error("the held-out share is {share}; allowed is at least 0, below 1")]
    HeldOutShare { share: f64 },
    #[error("{examples} examples are too few for {parts} parts; each needs one at least")]
    TooFew { examples: usize, parts: usize },
    #[error("alpha is {alpha}; allowed is 0.001 to 1000000")]
    Alpha { alpha: f64 },
    #[error("there is no example {index}; the data set has {examples}")]
    NoSuchExample { index: usize, examples: usize },
}

impl DataSet {
    /// Takes `features` row by row, `feature_count` values for each of `labels`, and how many `classes` there are.
    pub fn new(
        features: Vec<f32>,
        labels: Vec<u32>,
        feature_count: usize,
        classes: usize,
    ) -> Result<Self, DataSetError> {
        if labels.is_empty() {
            return Err(DataSetError::Empty);
        }
        if feature_count == 0 {
            return Err(DataSetError::NoFeatures);
        }
        let expected = labels.len().saturating_mul(feature_count);
        if expected != features.len() {
            let (labels, found) = (labels.len(), features.len());
            return Err(DataSetError::FeatureValues { labels, feature_count, expected, found });
        }
        if features.len() > VALUES_MAX {
            return Err(DataSetError::TooLarge { values: features.len() });
        }
        if let Some(example) = labels.iter().position(|label| *label as usize >= classes) {
            return Err(DataSetError::LabelOutOfRange { example, label: labels[example], classes });
        }
        if let Some(place) = features.iter().position(|value| !value.is_finite()) {
            let (example, feature, value) = (place / feature_count, place % feature_count, features[place]);
            return Err(DataSetError::NotFinite { example, feature, value });
        }
        Ok(Self { features, labels, feature_count, classes })
    }

    /// How many examples there are; never 0.
    #[must_use]
    pub fn examples(&self) -> usize {
        self.labels.len()
    }

    /// Features of one example.
    #[must_use]
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// Labels are below this. Of IDX files, which do not say, it is the highest label found and one.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// All features, `[examples, feature_count]` row by row.
    #[must_use]
    pub fn features(&self) -> &[f32] {
        &self.features
    }

    #[must_use]
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The features of one example, if there is such an example.
    #[must_use]
    pub fn row(&self, example: usize) -> Option<&[f32]> {
        self.features.chunks_exact(self.feature_count).nth(example)
    }

    /// How many examples each class has.
    #[must_use]
    pub fn label_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes];
        for label in &self.labels {
            counts[*label as usize] += 1;
        }
        counts
    }

    /// The examples at `indices`, in that order; an index may come twice.
    pub fn subset(&self, indices: &[usize]) -> Result<Self, DataSetError> {
        if indices.is_empty() {
            return Err(DataSetError::Empty);
        }
        let examples = self.examples();
        if let Some(index) = indices.iter().copied().find(|index| *index >= examples) {
            return Err(DataSetError::NoSuchExample { index, examples });
        }
        let values = indices.len().saturating_mul(self.feature_count);
        if values > VALUES_MAX {
            return Err(DataSetError::TooLarge { values });
        }
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        self.gather(indices, &mut features, &mut labels);
        Ok(Self { features, labels, feature_count: self.feature_count, classes: self.classes })
    }

    /// Keeps a random `held_out` share (at least 0, below 1) back, at least one example where the share is not 0, and
    /// leaves at least one to train on. The same seed gives the same split; a share of 0 keeps the order.
    pub fn split(&self, held_out: f64, seed: u64) -> Result<Split, DataSetError> {
        let (train, kept) = split_indices(self.examples(), held_out, seed)?;
        let held_out = if kept.is_empty() { None } else { Some(self.subset(&kept)?) };
        Ok(Split { train: self.subset(&train)?, held_out })
    }

    /// Divides the examples over `parts` regions whose mixes of labels differ; every example lands in one of them.
    ///
    /// Each part draws its mix of labels from a Dirichlet distribution, then its equal share of the examples by that
    /// mix, without replacement: Hsu, Qi & Brown 2019, "Measuring the Effects of Non-Identical Data Distribution for
    /// Federated Visual Classification", section 3. The concentration of a class is `alpha` (0.001 to 1,000,000) times
    /// how common the class is, compared with the average class; so it is `alpha` itself where all are equally
    /// common. At 0.1 a part has one or two classes for the most part, at 100 nearly the mix of the whole.
    pub fn dirichlet_split(&self, parts: usize, alpha: f64, seed: u64) -> Result<Vec<Self>, DataSetError> {
        let indices = dirichlet_split(&self.labels, parts, alpha, seed)?;
        indices.iter().map(|part| self.subset(part)).collect()
    }

    /// Replaces every value by `map(feature, value)`, which must be finite.
    pub(crate) fn map_features(&mut self, map: impl Fn(usize, f32) -> f32) {
        for row in self.features.chunks_exact_mut(self.feature_count) {
            for (feature, value) in row.iter_mut().enumerate() {
                *value = map(feature, *value);
            }
        }
    }

    /// Appends the examples at `indices`, all of which exist.
    pub(crate) fn gather(&self, indices: &[usize], features: &mut Vec<f32>, labels: &mut Vec<u32>) {
        features.reserve(indices.len() * self.feature_count);
        labels.reserve(indices.len());
        for index in indices {
            features.extend_from_slice(&self.features[index * self.feature_count..][..self.feature_count]);
            labels.push(self.labels[*index]);
        }
    }
}

impl std::fmt::Debug for DataSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataSet({} examples, {} features, {} classes)", self.examples(), self.feature_count, self.classes)
    }
}

pub use skew::dirichlet_split;

/// Which of `examples` to train on, and which to hold out.
fn split_indices(examples: usize, held_out: f64, seed: u64) -> Result<(Vec<usize>, Vec<usize>), DataSetError> {
    if !(0.0..1.0).contains(&held_out) {
        return Err(DataSetError::HeldOutShare { share: held_out });
    }
    if held_out == 0.0 {
        return Ok(((0..examples).collect(), Vec::new()));
    }
    if examples < 2 {
        return Err(DataSetError::TooFew { examples, parts: 2 });
    }
    let mut order = shuffled(examples, &mut rng(seed, Purpose::HeldOut));
    let kept = ((examples as f64 * held_out).round() as usize).clamp(1, examples - 1);
    let train = order.split_off(kept);
    Ok((train, order))
}

#[cfg(test)]
mod tests;
