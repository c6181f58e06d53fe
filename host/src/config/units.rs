//! Durations, sizes and counts as people write them.

use std::time::Duration;

/// Why a text is not a quantity: what is wrong, and what to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// `250ms`, `10s`, `2m`, `1h30m`, `7d`; `0s` is none.
pub(crate) fn duration(text: &str) -> Result<Duration, Unreadable> {
    let unreadable = |what: &str| Unreadable {
        message: format!("`{text}` is not a duration: {what}"),
        hint: "write a number with a unit: `250ms`, `10s`, `2m`, `1h30m` or `7d`".to_owned(),
    };
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(unreadable("it is empty"));
    }
    while !rest.is_empty() {
        let (number, unit, tail) = leading(rest);
        let number: u64 = number.parse().map_err(|_| unreadable("it needs whole numbers"))?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(unreadable("it has no unit")),
            other => return Err(unreadable(&format!("`{other}` is not a unit"))),
        };
        let part = number
            .checked_mul(milliseconds)
            .ok_or_else(|| unreadable("it is too long"))?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or_else(|| unreadable("it is too long"))?;
        rest = tail;
    }
    Ok(total)
}

/// `512B`, `64KiB`, `32MiB`, `1GiB`; also `64kB`, `32MB`, `1GB` by thousands.
pub(crate) fn size(text: &str) -> Result<usize, Unreadable> {
    let unreadable = |what: &str| Unreadable {
        message: format!("`{text}` is not a size: {what}"),
        hint: "write a whole number with a unit: `64KiB`, `32MiB` or `1GiB`".to_owned(),
    };
    let factor = |unit: &str| match unit {
        "B" => Ok(1),
        "KiB" => Ok(1 << 10),
        "MiB" => Ok(1 << 20),
        "GiB" => Ok(1 << 30),
        "kB" => Ok(1_000),
        "MB" => Ok(1_000_000),
        "GB" => Ok(1_000_000_000),
        "" => Err(unreadable("it has no unit")),
        other => Err(unreadable(&format!("`{other}` is not a unit"))),
    };
    let (number, unit, tail) = leading(text);
    let number: u64 = number.parse().map_err(|_| unreadable("it needs a whole number"))?;
    if !tail.is_empty() {
        return Err(unreadable("it must be one number and one unit"));
    }
    let bytes = number
        .checked_mul(factor(unit)?)
        .ok_or_else(|| unreadable("it is too large"))?;
    usize::try_from(bytes).map_err(|_| unreadable("it is too large"))
}

/// `50000000`, `500k`, `50M`, `2G`.
pub(crate) fn count(text: &str) -> Result<u64, Unreadable> {
    let unreadable = |what: &str| Unreadable {
        message: format!("`{text}` is not a count: {what}"),
        hint: "write a whole number, with `k`, `M` or `G` for thousands, millions or billions: `50M`".to_owned(),
    };
    let (number, unit, tail) = leading(text);
    let number: u64 = number.parse().map_err(|_| unreadable("it needs a whole number"))?;
    let factor: u64 = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        other => return Err(unreadable(&format!("`{other}` is not a unit"))),
    };
    if !tail.is_empty() {
        return Err(unreadable("it must be one number and one unit"));
    }
    number.checked_mul(factor).ok_or_else(|| unreadable("it is too large"))
}

/// The shortest way to write a duration that [`duration`] reads.
pub(crate) fn write_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, milliseconds) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if rest >= milliseconds {
            text.push_str(&format!("{}{unit}", rest / milliseconds));
            rest %= milliseconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The shortest way to write a size that [`size`] reads.
pub(crate) fn write_size(bytes: usize) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    format!("{bytes}B")
}

/// The shortest way to write a count that [`count`] reads.
pub(crate) fn write_count(count: u64) -> String {
    for (unit, factor) in [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)] {
        if count >= factor && count.is_multiple_of(factor) {
            return format!("{}{unit}", count / factor);
        }
    }
    count.to_string()
}

/// Digits, letters, and what follows.
fn leading(text: &str) -> (&str, &str, &str) {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, tail) = rest.split_at(letters);
    (number, unit, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let read = |text| {
            duration(text)
                .map(|duration| duration.as_millis())
                .map_err(|problem| problem.message)
        };
        assert_eq!(read("250ms"), Ok(250));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("0s"), Ok(0));
        assert_eq!(read("10"), Err("`10` is not a duration: it has no unit".to_owned()));
        assert_eq!(
            read("10 minutes"),
            Err("`10 minutes` is not a duration: ` minutes` is not a unit".to_owned())
        );
        assert_eq!(
            read("-5s"),
            Err("`-5s` is not a duration: it needs whole numbers".to_owned())
        );
        assert_eq!(
            read("1.5h"),
            Err("`1.5h` is not a duration: `.` is not a unit".to_owned())
        );
        assert_eq!(
            read("999999999999999999d"),
            Err("`999999999999999999d` is not a duration: it is too long".to_owned())
        );
        assert_eq!(read(""), Err("`` is not a duration: it is empty".to_owned()));
    }

    #[test]
    fn sizes_and_counts_are_read() {
        assert_eq!(size("32MiB").ok(), Some(32 << 20));
        assert_eq!(size("1GB").ok(), Some(1_000_000_000));
        assert_eq!(
            size("32Mi").map_err(|problem| problem.message),
            Err("`32Mi` is not a size: `Mi` is not a unit".to_owned())
        );
        assert_eq!(
            size("99999999999GiB").map_err(|problem| problem.message),
            Err("`99999999999GiB` is not a size: it is too large".to_owned())
        );
        assert_eq!(count("50M").ok(), Some(50_000_000));
        assert_eq!(count("7").ok(), Some(7));
        assert_eq!(
            count("5 M").map_err(|problem| problem.message),
            Err("`5 M` is not a count: ` M` is not a unit".to_owned())
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same(value in 0_u64..u64::from(u32::MAX)) {
            let time = Duration::from_millis(value);
            proptest::prop_assert_eq!(duration(&write_duration(time)).ok(), Some(time));
            let bytes = usize::try_from(value).unwrap_or_default();
            proptest::prop_assert_eq!(size(&write_size(bytes)).ok(), Some(bytes));
            proptest::prop_assert_eq!(count(&write_count(value)).ok(), Some(value));
        }
    }
}
