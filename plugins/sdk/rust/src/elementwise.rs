//! Server steps, value by value, in the blocks that make WebAssembly fast: compilers do not unroll loops for it, and every turn of a
//! loop pays for the host's check of its deadline.

use crate::Error;
use crate::aggregation::Part;

#[cfg(test)]
mod tests;

/// Values in a block: four 128-bit vectors.
pub const BLOCK: usize = 16;

/// One block of values.
pub type Block = [f32; BLOCK];

/// Calls `f` on the model, the aggregate and `S` state tensors, block by block. The last block is filled up with zeros.
///
/// # Errors
/// The part has other than `S` state tensors, or its lists differ in length.
pub fn for_each_block<const S: usize>(
    part: &mut Part,
    mut f: impl FnMut(&mut Block, &Block, [&mut Block; S]),
) -> Result<(), Error> {
    let length = part.model.len();
    let found = part.state.len();
    let state: &mut [Vec<f32>; S] = part
        .state
        .as_mut_slice()
        .try_into()
        .map_err(|_| Error::Question(format!("the step keeps {S} state tensors and was given {found}")))?;
    if part.aggregate.len() != length || state.iter().any(|state| state.len() != length) {
        return Err(Error::Question(format!("the step's lists are not all of the model's {length} values")));
    }
    let (models, model_rest) = part.model.as_chunks_mut::<BLOCK>();
    let (aggregates, aggregate_rest) = part.aggregate.as_chunks::<BLOCK>();
    let mut states = state.each_mut().map(|state| state.as_chunks_mut::<BLOCK>());
    for (index, (model, aggregate)) in models.iter_mut().zip(aggregates).enumerate() {
        f(model, aggregate, states.each_mut().map(|(blocks, _)| &mut blocks[index]));
    }

    let rest = model_rest.len();
    let (mut model, mut aggregate, mut state) = ([0.0; BLOCK], [0.0; BLOCK], [[0.0; BLOCK]; S]);
    model[..rest].copy_from_slice(model_rest);
    aggregate[..rest].copy_from_slice(aggregate_rest);
    for (block, (_, state_rest)) in state.iter_mut().zip(&states) {
        block[..rest].copy_from_slice(state_rest);
    }
    f(&mut model, &aggregate, state.each_mut());
    model_rest.copy_from_slice(&model[..rest]);
    for (block, (_, state_rest)) in state.iter().zip(&mut states) {
        state_rest.copy_from_slice(&block[..rest]);
    }
    Ok(())
}

/// Gradient descent with momentum, as PyTorch's SGD has it, on the aggregate as the negative gradient. State tensor 0 is the
/// momentum: `m = momentum * m + aggregate`, then `model += learning_rate * m`, or with Nesterov's momentum
/// `model += learning_rate * (aggregate + momentum * m)`.
///
/// # Errors
/// As for [`for_each_block`].
pub fn descend(part: &mut Part, learning_rate: f32, momentum: f32, nesterov: bool) -> Result<(), Error> {
    if nesterov {
        return for_each_block(part, |model, aggregate, [m]| {
            for i in 0..BLOCK {
                m[i] = momentum * m[i] + aggregate[i];
                model[i] += learning_rate * (aggregate[i] + momentum * m[i]);
            }
        });
    }
    for_each_block(part, |model, aggregate, [m]| {
        for i in 0..BLOCK {
            m[i] = momentum * m[i] + aggregate[i];
            model[i] += learning_rate * m[i];
        }
    })
}

/// The aggregate, times `rate`, added to the model.
pub fn follow(part: &mut Part, rate: f32) {
    let (models, model_rest) = part.model.as_chunks_mut::<BLOCK>();
    let (aggregates, aggregate_rest) = part.aggregate.as_chunks::<BLOCK>();
    for (model, aggregate) in models.iter_mut().zip(aggregates) {
        for i in 0..BLOCK {
            model[i] += rate * aggregate[i];
        }
    }
    for (model, aggregate) in model_rest.iter_mut().zip(aggregate_rest) {
        *model += rate * aggregate;
    }
}

/// Scales the only state tensor and adds a multiple of another list to it: `state = keep * state + add * list`.
///
/// # Errors
/// The part has other than one state tensor, or the lists differ in length.
pub fn renew(part: &mut Part, list: &[f32], keep: f32, add: f32) -> Result<(), Error> {
    let [state] = part.state.as_mut_slice() else {
        return Err(Error::Question(format!("the step keeps 1 state tensor and was given {}", part.state.len())));
    };
    if state.len() != list.len() {
        return Err(Error::Question(format!("the step's lists have {} and {} values", state.len(), list.len())));
    }
    let (states, state_rest) = state.as_chunks_mut::<BLOCK>();
    let (lists, list_rest) = list.as_chunks::<BLOCK>();
    for (state, list) in states.iter_mut().zip(lists) {
        for i in 0..BLOCK {
            state[i] = keep * state[i] + add * list[i];
        }
    }
    for (state, value) in state_rest.iter_mut().zip(list_rest) {
        *state = keep * *state + add * value;
    }
    Ok(())
}

/// How an adaptive server optimizer gathers squares; `Δ` is the aggregate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Squares {
    /// `v = v + Δ²`
    Adagrad,
    /// `v = beta_2 v + (1 - beta_2) Δ²`
    Adam { beta_2: f32 },
    /// `v = v - (1 - beta_2) Δ² sign(v - Δ²)`
    Yogi { beta_2: f32 },
}

/// S. Reddi et al., *Adaptive Federated Optimization*, ICLR 2021, Algorithm 2: state tensor 0 is `m = beta_1 m + (1 - beta_1) Δ`, state
/// tensor 1 is `v` (see [`Squares`]), and `model += eta * m / (sqrt(v) + tau)`. Both start at 0, as in Flower; the paper starts `v` at
/// `tau²` or above.
///
/// # Errors
/// As for [`for_each_block`].
pub fn adapt(part: &mut Part, eta: f32, beta_1: f32, tau: f32, squares: Squares) -> Result<(), Error> {
    // one loop for each, so that nothing is decided within it
    match squares {
        Squares::Adagrad => adapt_with(part, eta, beta_1, tau, |v, square| v + square),
        Squares::Adam { beta_2 } => {
            let fresh = 1.0 - beta_2;
            adapt_with(part, eta, beta_1, tau, |v, square| beta_2 * v + fresh * square)
        }
        Squares::Yogi { beta_2 } => {
            let fresh = 1.0 - beta_2;
            adapt_with(part, eta, beta_1, tau, |v, square| {
                let step = fresh * square;
                let step = if v < square { -step } else { step };
                v - if v == square { 0.0 } else { step }
            })
        }
    }
}

#[inline(always)]
fn adapt_with(part: &mut Part, eta: f32, beta_1: f32, tau: f32, gather: impl Fn(f32, f32) -> f32) -> Result<(), Error> {
    let fresh = 1.0 - beta_1;
    for_each_block(part, |model, aggregate, [m, v]| {
        for i in 0..BLOCK {
            let delta = aggregate[i];
            m[i] = beta_1 * m[i] + fresh * delta;
            v[i] = gather(v[i], delta * delta);
            model[i] += eta * m[i] / (v[i].sqrt() + tau);
        }
    })
}
