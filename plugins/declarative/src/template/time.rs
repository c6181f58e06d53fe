//! Times by an example layout: `2006-01-02T15:04:05Z07:00` stands for RFC 3339.

use chrono::{DateTime, Datelike, FixedOffset, Timelike};

/// Parts of a layout, longest first where one begins another.
const PARTS: &[&str] = &[
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "-07:00:00",
    "-070000",
    "-07:00",
    "-0700",
    "-07",
    "Z07:00:00",
    "Z070000",
    "Z07:00",
    "Z0700",
    "Z07",
    "002",
    "__2",
    "_2006",
    "_2",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "PM",
    "pm",
    "1",
    "2",
    "3",
    "4",
    "5",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Formats a time.
pub(super) fn format(layout: &str, time: &DateTime<FixedOffset>) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(next) = rest.chars().next() {
        if let Some((text, length)) = fraction(rest, time).filter(|_| rest.len() < layout.len()) {
            out.push_str(&text);
            rest = rest.get(length..).unwrap_or_default();
        } else if let Some(part) = PARTS.iter().find(|part| begins(rest, part)) {
            out.push_str(&spell(part, time));
            rest = rest.get(part.len()..).unwrap_or_default();
        } else {
            out.push(next);
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

/// Whether the layout goes on with that part; `Jan` in `January` and `Mon` in `Month` are not parts.
fn begins(rest: &str, part: &str) -> bool {
    rest.strip_prefix(part).is_some_and(|after| {
        !matches!(part, "Jan" | "Mon") || !after.starts_with(|next: char| next.is_ascii_lowercase())
    })
}

/// `.000` or `,999`: decimals of the second, and the length of the part.
fn fraction(rest: &str, time: &DateTime<FixedOffset>) -> Option<(String, usize)> {
    let mut chars = rest.chars();
    let separator = chars.next().filter(|char| matches!(char, '.' | ','))?;
    let digit = chars.next().filter(|char| matches!(char, '0' | '9'))?;
    let after = rest.get(1..)?;
    let count = after.chars().take_while(|char| *char == digit).count();
    if after.chars().nth(count).is_some_and(|char| char.is_ascii_digit()) {
        return None;
    }
    let decimals = format!("{:09}", time.nanosecond() % 1_000_000_000);
    let mut decimals = decimals.get(..count.min(9))?;
    if digit == '9' {
        decimals = decimals.trim_end_matches('0');
        if decimals.is_empty() {
            return Some((String::new(), 1 + count));
        }
    }
    Some((format!("{separator}{decimals}"), 1 + count))
}

fn spell(part: &str, time: &DateTime<FixedOffset>) -> String {
    let month = MONTHS.get(time.month0() as usize).copied().unwrap_or_default();
    let day = DAYS
        .get(time.weekday().num_days_from_monday() as usize)
        .copied()
        .unwrap_or_default();
    match part {
        "January" => month.to_owned(),
        "Jan" => month.chars().take(3).collect(),
        "Monday" => day.to_owned(),
        "Mon" => day.chars().take(3).collect(),
        "2006" => format!("{:04}", time.year()),
        "_2006" => format!("_{:04}", time.year()),
        "06" => format!("{:02}", time.year().rem_euclid(100)),
        "01" => format!("{:02}", time.month()),
        "1" => time.month().to_string(),
        "02" => format!("{:02}", time.day()),
        "_2" => format!("{:2}", time.day()),
        "2" => time.day().to_string(),
        "002" => format!("{:03}", time.ordinal()),
        "__2" => format!("{:3}", time.ordinal()),
        "15" => format!("{:02}", time.hour()),
        "03" => format!("{:02}", time.hour12().1),
        "3" => time.hour12().1.to_string(),
        "04" => format!("{:02}", time.minute()),
        "4" => time.minute().to_string(),
        "05" => format!("{:02}", time.second()),
        "5" => time.second().to_string(),
        "PM" => if time.hour() >= 12 { "PM" } else { "AM" }.to_owned(),
        "pm" => if time.hour() >= 12 { "pm" } else { "am" }.to_owned(),
        zone => spell_zone(zone, time.offset().local_minus_utc()),
    }
}

fn spell_zone(part: &str, offset: i32) -> String {
    if offset == 0 && part.starts_with('Z') {
        return "Z".to_owned();
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let (hours, minutes, seconds) = (offset.abs() / 3600, offset.abs() % 3600 / 60, offset.abs() % 60);
    match part {
        "MST" if offset == 0 => "UTC".to_owned(),
        "-07" | "Z07" => format!("{sign}{hours:02}"),
        "-07:00" | "Z07:00" => format!("{sign}{hours:02}:{minutes:02}"),
        "-07:00:00" | "Z07:00:00" => format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"),
        "-070000" | "Z070000" => format!("{sign}{hours:02}{minutes:02}{seconds:02}"),
        _ => format!("{sign}{hours:02}{minutes:02}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop here")]
    use super::*;

    #[test]
    fn layouts_are_examples() {
        let time = DateTime::parse_from_rfc3339("2026-03-07T15:04:05.120+02:00").unwrap();
        let formatted: Vec<_> = [
            "2006-01-02T15:04:05Z07:00",
            "Mon, 02 Jan 2006 15:04:05.000 MST",
            "Monday January _2 3:4PM 06",
            "15:04:05.999999 -07 002",
            "month Month Janitor é",
        ]
        .map(|layout| format(layout, &time))
        .into();
        assert_eq!(
            formatted,
            [
                "2026-03-07T15:04:05+02:00",
                "Sat, 07 Mar 2026 15:04:05.120 +0200",
                "Saturday March  7 3:4PM 26",
                "15:04:05.12 +02 066",
                "month Month Janitor é",
            ]
        );
    }
}
