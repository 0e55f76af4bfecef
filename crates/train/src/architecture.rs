//! Models by name: their shape, their tensors' names, their first parameters.

use std::sync::Arc;

use polder_tensor::{Layout, LayoutError, Parameters, ParametersError, TensorSpec};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::rng::{Purpose, rng};

/// Most parameters of a model trained here: 1 GiB of f32.
pub const PARAMETERS_MAX: u64 = 1 << 28;
const INPUTS_MAX: usize = 1 << 20;
const CLASSES_MAX: usize = 1 << 16;
const HIDDEN_LAYERS_MAX: usize = 32;
const HIDDEN_WIDTH_MAX: usize = 1 << 16;
const IMAGE_SIDE_MIN: usize = 4;
const IMAGE_SIDE_MAX: usize = 1024;
const IMAGE_CHANNELS_MAX: usize = 64;
/// The convolutions of the FedAvg paper's network are 5×5 with "same" padding.
pub(crate) const KERNEL: usize = 5;

/// A model, as `run.toml` names it (`kind = "mlp"` and so on).
///
/// Every one is a classifier: it maps rows of f32 features to one logit per class. Tensors are named and shaped as
/// PyTorch does for the same `nn.Sequential`, so that `load_state_dict` takes them as they are: layer `i` has
/// `i.weight` (dense: `[outputs, inputs]`, convolution: `[outputs, inputs, height, width]`) and `i.bias` (`[outputs]`),
/// where `i` counts every layer, activations too.
///
/// | kind | `nn.Sequential` |
/// | --- | --- |
/// | `logistic-regression` | `Linear(inputs, classes)` |
/// | `mlp` | `Linear(inputs, h0), ReLU, Linear(h0, h1), ReLU, …, Linear(hn, classes)` |
/// | `cnn` | `Conv2d(channels, 32, 5, padding=2), ReLU, MaxPool2d(2), Conv2d(32, 64, 5, padding=2), ReLU, MaxPool2d(2), Flatten, Linear(64·⌊height/4⌋·⌊width/4⌋, 512), ReLU, Linear(512, classes)` |
///
/// The `cnn` is that of McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized
/// Data", section 3 (1,663,370 parameters for 28×28 images of 10 classes); its `mlp` there has `hidden = [200, 200]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// Multinomial logistic regression.
    LogisticRegression { inputs: usize, classes: usize },
    /// Fully connected with ReLU between the layers; `hidden` holds their widths.
    Mlp { inputs: usize, hidden: Vec<usize>, classes: usize },
    /// The FedAvg paper's convolutional network. A row of features is an image: channels, then rows, then columns.
    Cnn {
        height: usize,
        width: usize,
        #[serde(default = "one")]
        channels: usize,
        classes: usize,
    },
}

fn one() -> usize {
    1
}

/// Why a model cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ArchitectureError {
    #[error("model key `{key}` is {value}; allowed is {min} to {max}")]
    OutOfRange { key: &'static str, value: usize, min: usize, max: usize },
    #[error("model key `hidden` names {layers} layers; allowed are 1 to {HIDDEN_LAYERS_MAX}")]
    Layers { layers: usize },
    #[error("the model would have {parameters} parameters; at most {PARAMETERS_MAX} are allowed")]
    TooLarge { parameters: u64 },
    #[error("the model's tensors are no layout")]
    Layout(#[from] LayoutError),
    #[error("the model's first parameters do not fit its layout")]
    Parameters(#[from] ParametersError),
}

/// One step of the `nn.Sequential` that an architecture stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Dense { inputs: usize, outputs: usize },
    Convolution { inputs: usize, outputs: usize },
    Relu,
    MaxPool,
    Flatten,
}

impl Layer {
    /// Shape of the weight tensor; the bias has its first dimension.
    fn weight_shape(self) -> Option<Vec<usize>> {
        match self {
            Self::Dense { inputs, outputs } => Some(vec![outputs, inputs]),
            Self::Convolution { inputs, outputs } => Some(vec![outputs, inputs, KERNEL, KERNEL]),
            Self::Relu | Self::MaxPool | Self::Flatten => None,
        }
    }
}

impl Architecture {
    /// Checks every size against its bounds.
    pub fn check(&self) -> Result<(), ArchitectureError> {
        in_range("classes", self.classes(), 2, CLASSES_MAX)?;
        match self {
            Self::LogisticRegression { inputs, .. } => in_range("inputs", *inputs, 1, INPUTS_MAX)?,
            Self::Mlp { inputs, hidden, .. } => {
                in_range("inputs", *inputs, 1, INPUTS_MAX)?;
                if hidden.is_empty() || hidden.len() > HIDDEN_LAYERS_MAX {
                    return Err(ArchitectureError::Layers { layers: hidden.len() });
                }
                for width in hidden {
                    in_range("hidden", *width, 1, HIDDEN_WIDTH_MAX)?;
                }
            }
            Self::Cnn { height, width, channels, .. } => {
                in_range("height", *height, IMAGE_SIDE_MIN, IMAGE_SIDE_MAX)?;
                in_range("width", *width, IMAGE_SIDE_MIN, IMAGE_SIDE_MAX)?;
                in_range("channels", *channels, 1, IMAGE_CHANNELS_MAX)?;
            }
        }
        match self.parameter_count() {
            parameters if parameters > PARAMETERS_MAX => Err(ArchitectureError::TooLarge { parameters }),
            _ => Ok(()),
        }
    }

    /// Features in a row that the model takes.
    #[must_use]
    pub fn inputs(&self) -> usize {
        match self {
            Self::LogisticRegression { inputs, .. } | Self::Mlp { inputs, .. } => *inputs,
            Self::Cnn { height, width, channels, .. } => height.saturating_mul(*width).saturating_mul(*channels),
        }
    }

    /// Classes that the model tells apart.
    #[must_use]
    pub fn classes(&self) -> usize {
        match self {
            Self::LogisticRegression { classes, .. } | Self::Mlp { classes, .. } | Self::Cnn { classes, .. } => {
                *classes
            }
        }
    }

    /// Names and shapes of the model's tensors, in the order of its layers; see [`Architecture`].
    pub fn layout(&self) -> Result<Layout, ArchitectureError> {
        self.check()?;
        let mut specs = Vec::new();
        for (index, layer) in self.layers().into_iter().enumerate() {
            if let Some(weight) = layer.weight_shape() {
                let bias = vec![weight[0]];
                specs.push(TensorSpec { name: format!("{index}.weight"), shape: weight });
                specs.push(TensorSpec { name: format!("{index}.bias"), shape: bias });
            }
        }
        Ok(Layout::new(specs)?)
    }

    /// Parameters to start a run from, the same for a seed whatever the training library.
    ///
    /// Weights and biases are uniform in ±1/√(inputs to one output), which is PyTorch's default for `Linear` and
    /// `Conv2d` (Kaiming uniform with a = √5; He et al. 2015, equation 14).
    pub fn initial(&self, seed: u64) -> Result<Parameters, ArchitectureError> {
        let layout = self.layout()?;
        let mut rng = rng(seed, Purpose::InitialParameters);
        let mut values = Vec::new();
        for weight in self.layers().into_iter().filter_map(Layer::weight_shape) {
            let fan_in: usize = weight[1..].iter().product();
            let bound = 1.0 / (fan_in as f32).sqrt();
            let count = weight[0] * (fan_in + 1);
            values.extend((0..count).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound));
        }
        Ok(Parameters::new(Arc::new(layout), values)?)
    }

    pub(crate) fn layers(&self) -> Vec<Layer> {
        match self {
            Self::LogisticRegression { inputs, classes } => vec![Layer::Dense { inputs: *inputs, outputs: *classes }],
            Self::Mlp { inputs, hidden, classes } => {
                let mut layers = Vec::with_capacity(2 * hidden.len() + 1);
                let mut width = *inputs;
                for next in hidden {
                    layers.push(Layer::Dense { inputs: width, outputs: *next });
                    layers.push(Layer::Relu);
                    width = *next;
                }
                layers.push(Layer::Dense { inputs: width, outputs: *classes });
                layers
            }
            Self::Cnn { height, width, channels, classes } => vec![
                Layer::Convolution { inputs: *channels, outputs: 32 },
                Layer::Relu,
                Layer::MaxPool,
                Layer::Convolution { inputs: 32, outputs: 64 },
                Layer::Relu,
                Layer::MaxPool,
                Layer::Flatten,
                Layer::Dense { inputs: 64 * (height / 4) * (width / 4), outputs: 512 },
                Layer::Relu,
                Layer::Dense { inputs: 512, outputs: *classes },
            ],
        }
    }

    /// Rows of features as images: `[channels, height, width]`, if the model takes images.
    pub(crate) fn image(&self) -> Option<[usize; 3]> {
        match self {
            Self::Cnn { height, width, channels, .. } => Some([*channels, *height, *width]),
            Self::LogisticRegression { .. } | Self::Mlp { .. } => None,
        }
    }

    /// Values that one example takes on its way through the model, which is what a large batch costs in memory.
    pub(crate) fn activation_count(&self) -> u64 {
        let dense = |layers: &[Layer]| {
            layers.iter().map(|layer| if let Layer::Dense { outputs, .. } = layer { *outputs as u64 } else { 0 }).sum()
        };
        let outputs: u64 = dense(&self.layers());
        let images = match self.image() {
            // 32 channels of the full image and 64 of a quarter, each before and after the activation.
            Some([_, height, width]) => 2 * (32 + 64 / 4) * (height * width) as u64,
            None => 0,
        };
        self.inputs() as u64 + 2 * outputs + images
    }

    /// Only meaningful once the single sizes are in range: within their bounds nothing here overflows.
    fn parameter_count(&self) -> u64 {
        let shapes = self.layers().into_iter().filter_map(Layer::weight_shape);
        shapes.map(|shape| shape.iter().map(|size| *size as u64).product::<u64>() + shape[0] as u64).sum()
    }
}

fn in_range(key: &'static str, value: usize, min: usize, max: usize) -> Result<(), ArchitectureError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(ArchitectureError::OutOfRange { key, value, min, max }) }
}

#[cfg(test)]
mod tests;
