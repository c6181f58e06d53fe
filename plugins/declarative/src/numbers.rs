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

/// A double in JSON: a whole one without decimals, as Kubernetes wants its integers. None for what JSON cannot say.
pub(crate) fn to_json(double: f64) -> Option<serde_json::Number> {
    if double.fract() == 0.0 && double.abs() <= EXACT {
        // Exact: it is whole and small enough.
        return Some((double as i64).into());
    }
    serde_json::Number::from_f64(double)
}

/// Up to here every whole number is a double.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// From this power of ten on numbers are spelled with an exponent.
const SHORTEST_EXPONENT: i32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_doubles_are_integers_in_json() {
        let written: Vec<_> = [2.0, -0.0, 0.5, 1e300, f64::NAN]
            .map(|double| to_json(double).map(|n| n.to_string()))
            .into();
        let expected = [Some("2"), Some("0"), Some("0.5"), Some("1e+300"), None].map(|text| text.map(str::to_owned));
        assert_eq!(written, expected);
    }

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
