//! How numbers are spelled where the reference implementations of CEL and of templates agree with each other.

/// A double with as few digits as tell it apart, with an exponent from `1e+06` on and below `0.0001`.
pub(crate) fn spell(double: f64) -> String {
    if double.is_nan() {
        return "NaN".to_owned();
    }
    if double.is_infinite() {
        return if double > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{double:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..SHORTEST_EXPONENT).contains(&exponent) {
        return format!("{double}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// From this power of ten on numbers are spelled with an exponent.
const SHORTEST_EXPONENT: i32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_spelled_with_as_few_digits_as_needed() {
        let spelled: Vec<_> = [
            0.0,
            -0.0,
            3.0,
            0.1,
            1.5e-7,
            123_456.0,
            1e6,
            1_234_567.0,
            1e21,
            f64::INFINITY,
            f64::NAN,
        ]
        .map(spell)
        .into();
        assert_eq!(
            spelled,
            [
                "0",
                "-0",
                "3",
                "0.1",
                "1.5e-07",
                "123456",
                "1e+06",
                "1.234567e+06",
                "1e+21",
                "+Inf",
                "NaN"
            ]
        );
    }
}
