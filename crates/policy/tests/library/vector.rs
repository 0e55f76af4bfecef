//! Vectors in float64.

pub(crate) type Vector = Vec<f64>;

pub(crate) fn wide(values: &[f32]) -> Vector {
    values.iter().map(|&value| f64::from(value)).collect()
}

pub(crate) fn zero(length: usize) -> Vector {
    vec![0.0; length]
}

/// `target += factor * values`
pub(crate) fn add(target: &mut Vector, factor: f64, values: &Vector) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += factor * value;
    }
}

/// The sum of `weights[k] * vectors[k]`.
pub(crate) fn sum(weights: &[f64], vectors: &[Vector]) -> Vector {
    let mut sum = zero(vectors[0].len());
    for (weight, vector) in weights.iter().zip(vectors) {
        add(&mut sum, *weight, vector);
    }
    sum
}

pub(crate) fn dot(left: &Vector, right: &Vector) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

pub(crate) fn norm(vector: &Vector) -> f64 {
    dot(vector, vector).sqrt()
}

pub(crate) fn distance(left: &Vector, right: &Vector) -> f64 {
    left.iter().zip(right).map(|(left, right)| (left - right) * (left - right)).sum::<f64>().sqrt()
}
