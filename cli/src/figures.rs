//! The figures room: numbers, times and names as people read them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Bytes in binary units: `1.2 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next().expect("there are six");
    // What would be rounded up to 1024.0 is told in the next unit.
    while value >= 1023.95 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}")
}

/// Bytes per second; of no time at all, nothing is said.
pub(crate) fn rate(bytes: u64, time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds <= 0.0 {
        return "-".to_owned();
    }
    format!("{}/s", size((bytes as f64 / seconds) as u64))
}

/// A number with its thousands apart: `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 file`, `2 files`.
pub(crate) fn things(number: u64, thing: &str) -> String {
    match (number, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{} {stem}ies", count(number)),
        _ => format!("{} {thing}s", count(number)),
    }
}

/// A span of time: `0.4 s`, `2:05`, `1:02:03`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", time.as_secs_f64().min(59.9)),
        60..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

/// A moment as the clock on the wall had it.
pub(crate) fn moment(time: Timestamp) -> String {
    moment_in(time, TimeZone::system())
}

fn moment_in(time: Timestamp, zone: TimeZone) -> String {
    time.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A name or a text from outside, safe to print: what is not UTF-8 is replaced, and what a terminal could take for a
/// command is spelled out.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text
}

/// An error and all its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    shown(text.as_bytes())
}

/// A word as it can be pasted into a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+=:@%,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Reads a number of bytes: `256MiB`, `1G`, `4096`. Units are binary.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u32); 4] = [("k", 10), ("m", 20), ("g", 30), ("t", 40)];
    let lower = text.trim().to_ascii_lowercase();
    let stem = lower
        .strip_suffix("ib")
        .or_else(|| lower.strip_suffix('b'))
        .unwrap_or(&lower);
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| stem.strip_suffix(unit).map(|number| (number, *shift)))
        .unwrap_or((stem, 0));
    let number: u64 = number
        .trim()
        .parse()
        .map_err(|_| "write a number of bytes, such as 256MiB or 1GiB".to_owned())?;
    let bytes = number.checked_mul(1 << shift);
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| format!("{text} is not a possible number of bytes"))
}

/// Reads a span of time: `45m`, `90s`, `1h 30m`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let parsed = parsed.ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "write a span of time, such as 45m, 90s or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_binary_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(rate(10 << 20, Duration::from_millis(500)), "20.0 MiB/s");
        assert_eq!(rate(10, Duration::ZERO), "-");
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(things(1, "file"), "1 file");
        assert_eq!(things(0, "directory"), "0 directories");
        assert_eq!(things(2000, "key"), "2,000 keys");
    }

    #[test]
    fn times_are_told_as_a_clock_does() {
        for (seconds, text) in [
            (0.04, "0.0 s"),
            (59.99, "59.9 s"),
            (60.0, "1:00"),
            (3599.0, "59:59"),
            (3723.0, "1:02:03"),
        ] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
        let moment = moment_in(Timestamp::UNIX_EPOCH, TimeZone::UTC);
        assert_eq!(moment, "1970-01-01 00:00:00 UTC");
    }

    #[test]
    fn names_cannot_command_the_terminal() {
        assert_eq!(shown(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(b"bad-\xff"), "bad-\u{fffd}");
        assert_eq!(shown("na\u{ef}ve".as_bytes()), "na\u{ef}ve");
    }

    #[test]
    fn words_can_be_pasted_into_a_shell() {
        for (word, quote) in [
            ("/a/b-1.c", "/a/b-1.c"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$x", "'$x'"),
        ] {
            assert_eq!(quoted(word), quote);
        }
    }

    #[test]
    fn sizes_and_spans_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("4096", 4096),
            ("256MiB", 256 << 20),
            ("256M", 256 << 20),
            ("1 gb", 1 << 30),
            ("2k", 2048),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "0", "MiB", "-1", "1.5G", "99999999T", "1x"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_duration("45m"), Ok(Duration::from_secs(2700)));
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "0s", "-1h", "soon"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
