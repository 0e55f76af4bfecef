//! The forward pass: an architecture's layers over burn's tensors.

use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::backend::Backend;
use burn::tensor::module::{conv2d, max_pool2d};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Int, Tensor, TensorData};
use polder_tensor::Layout;

use crate::architecture::{Architecture, KERNEL, Layer};

/// What flows between two layers.
enum Activation<B: Backend> {
    /// `[features, examples]`: one example a column. So a dense layer is `weight · x` with the weight as it is stored,
    /// and its gradient comes out in that order too; with examples as rows both would be transposed at every step.
    Columns(Tensor<B, 2>),
    /// `[examples, channels, height, width]`
    Images(Tensor<B, 4>),
}

/// Values in a layout's order as one flat tensor for each of its tensors. Flat, so that optimizers need to know one rank.
pub(super) fn upload<B: Backend>(layout: &Layout, values: &[f32], device: &B::Device) -> Vec<Tensor<B, 1>> {
    layout
        .spans()
        .map(|(_, span)| Tensor::from_data(TensorData::new(values[span.clone()].to_vec(), [span.len()]), device))
        .collect()
}

/// Logits `[examples, classes]` for `features` `[examples, inputs]`. `parameters` are those of the architecture's
/// layout, in order.
pub(super) fn logits<B: Backend>(
    architecture: &Architecture,
    parameters: &[Tensor<B, 1>],
    features: Tensor<B, 2>,
) -> Tensor<B, 2> {
    let [examples, _] = features.dims();
    let mut activation = match architecture.image() {
        Some([channels, height, width]) => Activation::Images(features.reshape([examples, channels, height, width])),
        None => Activation::Columns(features.transpose()),
    };
    let mut parameters = parameters.chunks_exact(2);
    for layer in architecture.layers() {
        activation = match (layer, activation) {
            (Layer::Dense { inputs, outputs }, Activation::Columns(x)) => match parameters.next() {
                Some([weight, bias]) => Activation::Columns(
                    weight.clone().reshape([outputs, inputs]).matmul(x) + bias.clone().reshape([outputs, 1]),
                ),
                _ => Activation::Columns(x),
            },
            (Layer::Convolution { inputs, outputs }, Activation::Images(x)) => match parameters.next() {
                Some([weight, bias]) => {
                    let weight = weight.clone().reshape([outputs, inputs, KERNEL, KERNEL]);
                    let same = ConvOptions::new([1, 1], [KERNEL / 2, KERNEL / 2], [1, 1], 1);
                    Activation::Images(conv2d(x, weight, Some(bias.clone()), same))
                }
                _ => Activation::Images(x),
            },
            (Layer::Relu, Activation::Columns(x)) => Activation::Columns(relu(x)),
            (Layer::Relu, Activation::Images(x)) => Activation::Images(relu(x)),
            (Layer::MaxPool, Activation::Images(x)) => {
                Activation::Images(max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false))
            }
            (Layer::Flatten, Activation::Images(x)) => Activation::Columns(x.flatten::<2>(1, 3).transpose()),
            // No architecture puts its layers together like this.
            (_, other) => other,
        };
    }
    match activation {
        Activation::Columns(x) => x.transpose(),
        Activation::Images(x) => x.flatten(1, 3),
    }
}

/// Mean cross-entropy of `logits` `[examples, classes]` against `targets` `[examples, 1]`.
pub(super) fn cross_entropy<B: Backend>(logits: Tensor<B, 2>, targets: Tensor<B, 2, Int>) -> Tensor<B, 1> {
    log_softmax(logits, 1).gather(1, targets).mean().neg()
}
