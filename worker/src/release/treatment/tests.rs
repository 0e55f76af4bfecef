use super::*;

fn treated(values: &[f32], treatment: Treatment) -> Vec<f32> {
    let mut values = values.to_vec();
    let (norm, _) = measure(&values);
    treat(&mut values, norm, &treatment).unwrap();
    values
}

fn rounded(value: f32, precision: Precision) -> f32 {
    treated(&[value], Treatment { precision, ..Treatment::default() })[0]
}

#[test]
fn nothing_asked_for_is_nothing_done() {
    let values = [1.5, -0.0, f32::MIN_POSITIVE / 4.0, 1e30];
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&treated(&values, Treatment::default())), bits(&values));
    let noise = Some(0.0);
    assert_eq!(bits(&treated(&values, Treatment { noise, clip: Some(1e31), ..Treatment::default() })), bits(&values));
}

#[test]
fn norms_are_of_the_whole_update_and_do_not_overflow() {
    assert_eq!(measure(&[3.0, -4.0, 0.0]), (5.0, 4.0));
    assert_eq!(measure(&[]), (0.0, 0.0));
    let (norm, largest) = measure(&[f32::MAX; 4]);
    assert_eq!((norm, largest), (2.0 * f64::from(f32::MAX), f64::from(f32::MAX)));
}

#[test]
fn a_clipped_update_has_the_norm_that_was_asked_for_and_its_direction() {
    let values: Vec<f32> = (0..1000).map(|place| ((place * 37 % 101) as f32 - 50.0) / 10.0).collect();
    let clip = |clip| treated(&values, Treatment { clip: Some(clip), ..Treatment::default() });
    let clipped = clip(2.5);
    assert!((measure(&clipped).0 - 2.5).abs() < 1e-6);
    let scale = clipped[0] / values[0];
    assert!(clipped.iter().zip(&values).all(|(clipped, value)| (clipped - value * scale).abs() < 1e-6));
    assert_eq!(clip(measure(&values).0 * 1.01), values, "a short one was changed");
}

/// Half the values of the normal distribution lie within 0.6745 standard deviations, and so on.
#[test]
fn noise_is_gaussian_and_never_the_same() {
    const COUNT: usize = 200_000;
    let noise = |deviation| treated(&vec![1.0; COUNT], Treatment { noise: Some(deviation), ..Treatment::default() });
    let noisy = noise(0.5);
    let shifts: Vec<f64> = noisy.iter().map(|value| (f64::from(*value) - 1.0) / 0.5).collect();
    let mean = shifts.iter().sum::<f64>() / COUNT as f64;
    let variance = shifts.iter().map(|shift| shift * shift).sum::<f64>() / COUNT as f64;
    // Six standard errors of each.
    assert!(mean.abs() < 6.0 / (COUNT as f64).sqrt(), "{mean}");
    assert!((variance - 1.0).abs() < 6.0 * (2.0 / COUNT as f64).sqrt(), "{variance}");
    for (within, share) in [(0.6745, 0.5), (1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)] {
        let found = shifts.iter().filter(|shift| shift.abs() <= within).count() as f64 / COUNT as f64;
        let error = 6.0 * (share * (1.0_f64 - share) / COUNT as f64).sqrt() + 1e-4;
        assert!((found - share).abs() < error, "{found} within {within}");
    }
    // Neighbours have nothing to do with each other, and a second time is another time.
    let together = shifts.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / COUNT as f64;
    assert!(together.abs() < 6.0 / (COUNT as f64).sqrt(), "{together}");
    let equal = noisy.iter().zip(noise(0.5)).filter(|(a, b)| **a == *b).count();
    assert!(equal < COUNT / 1000, "{equal}");
}

/// Ties go to the even neighbour, as IEEE 754 says; 2049 and 2051 lie in the middle of two float16.
#[test]
fn values_are_rounded_to_the_nearest_and_ties_to_even() {
    let float16 = |value| rounded(value, Precision::Float16);
    assert_eq!([2049.0, 2050.0, 2051.0, -2049.0].map(float16), [2048.0, 2050.0, 2052.0, -2048.0]);
    assert_eq!(float16(0.1).to_bits(), 0x3dcc_c000);
    assert_eq!(float16(65519.0), 65504.0);
    // The smallest float16, half of it, and a little more than half.
    let tiny = 2.0_f32.powi(-24);
    assert_eq!([tiny, tiny / 2.0, tiny * 0.51].map(float16), [tiny, 0.0, tiny]);

    let bfloat16 = |value| rounded(value, Precision::Bfloat16);
    assert_eq!([257.0, 258.0, 259.0, -257.0].map(bfloat16), [256.0, 258.0, 260.0, -256.0]);
    assert_eq!(bfloat16(0.1).to_bits(), 0x3dcd_0000);
}

/// Against the definition, for every float16 and the float32 around it.
#[test]
fn every_float16_is_its_own_and_the_middle_between_two_goes_to_the_even_one() {
    for bits in 0..0x7bff_u16 {
        let (low, high) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32());
        // Exact: float32 has 13 more digits.
        let middle = (low + high) / 2.0;
        let even = if bits % 2 == 0 { low } else { high };
        let values = [low, middle.next_down().max(low), middle, middle.next_up().min(high), high];
        assert_eq!(values.map(|value| rounded(value, Precision::Float16)), [low, low, even, high, high], "{bits}");
    }
}

#[test]
fn what_does_not_fit_is_not_sent() {
    let treat = |value: f32, treatment: Treatment| {
        let mut values = [value];
        super::treat(&mut values, value.abs().into(), &treatment).unwrap_err().to_string()
    };
    let precision = |precision| Treatment { precision, ..Treatment::default() };
    assert!(treat(65520.0, precision(Precision::Float16)).contains("rounded to float16"));
    assert!(treat(f32::MAX, precision(Precision::Bfloat16)).contains("rounded to bfloat16"));
    assert!(treat(0.0, Treatment { noise: Some(f64::MAX), ..Treatment::default() }).contains("no finite number"));
}

/// The order matters: noise after clipping, rounding after noise.
#[test]
fn clip_comes_first_and_precision_last() {
    let treatment = Treatment { clip: Some(1.0), noise: Some(0.25), precision: Precision::Bfloat16 };
    let treated = treated(&vec![100.0; 10_000], treatment);
    assert!(treated.iter().all(|value| value.to_bits() & 0xffff == 0), "not rounded");
    let (norm, _) = measure(&treated);
    // 10,000 values of deviation 0.25, around 0.01 each.
    assert!((norm - 25.0).abs() < 1.5, "{norm}");
}
