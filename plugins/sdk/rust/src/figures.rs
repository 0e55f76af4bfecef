//! Numbers in reasons.

/// A number as people read it, four significant digits: `3.142`, `0`, `-12`, `1.5e20`.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e6).contains(&size) {
        let whole_digits = if size < 1.0 { 0 } else { size.log10() as usize + 1 };
        let decimals = if size < 0.1 { 5 } else { 4usize.saturating_sub(whole_digits) };
        let text = format!("{value:.decimals$}");
        return if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text };
    }
    let text = format!("{value:.3e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => {
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::figure;

    #[test]
    fn figures_have_four_digits_and_no_idle_zeros() {
        let cases: [(f64, &str); 12] = [
            (0.0, "0"),
            (-12.0, "-12"),
            (2.34567, "2.346"),
            (0.5, "0.5"),
            (0.0123456, "0.01235"),
            (99.999, "100"),
            (1234.5678, "1235"),
            (999_999.0, "999999"),
            (1.5e20, "1.5e20"),
            (2e20, "2e20"),
            (1e-9, "1e-9"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(figure(value), text);
        }
    }
}
