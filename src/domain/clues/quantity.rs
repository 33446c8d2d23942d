//! Kubernetes' quantities, such as `7910m` and `32780552Ki`, as whole numbers.

/// Thousandths of a core; `None` if it is no such quantity.
pub fn cpu_milli(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse().ok();
    }
    decimal(text, 1000)
}

/// Bytes; `None` if it is no such quantity.
pub fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 11] = [
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("e3", 1_000),
        ("e6", 1_000_000),
        ("e9", 1_000_000_000),
    ];
    let text = text.trim();
    for (unit, factor) in UNITS {
        if let Some(number) = text.strip_suffix(unit) {
            return decimal(number, factor);
        }
    }
    // Requests may come in thousandths of a byte.
    if let Some(milli) = text.strip_suffix('m') {
        return milli.parse::<u64>().ok().map(|milli| milli / 1000);
    }
    decimal(text, 1)
}

/// `1.5` times a factor, rounded down.
fn decimal(text: &str, factor: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let whole: u64 = whole.parse().ok()?;
    if !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // More digits than that make no difference.
    let part = part.get(..part.len().min(18))?;
    let places = u32::try_from(part.len()).ok()?;
    let part = format!("0{part}").parse::<u128>().ok()? * u128::from(factor);
    let part = u64::try_from(part / 10_u128.pow(places)).ok()?;
    whole.checked_mul(factor)?.checked_add(part)
}

/// An amount of memory for people, such as `31.3 GiB`.
pub fn gib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 30;
    if tenths == 0 {
        return format!("{} MiB", bytes >> 20);
    }
    if tenths.is_multiple_of(10) {
        return format!("{} GiB", tenths / 10);
    }
    format!("{}.{} GiB", tenths / 10, tenths % 10)
}

/// Thousandths of a core for people, such as `2.5`.
pub fn cores(milli: u64) -> String {
    if milli.is_multiple_of(1000) {
        return (milli / 1000).to_string();
    }
    format!("{}.{}", milli / 1000, milli % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_and_bytes_as_kubernetes_writes_them() {
        for (text, milli) in [("8", 8000), ("7910m", 7910), ("0.5", 500), ("1.25", 1250)] {
            assert_eq!(cpu_milli(text), Some(milli), "{text}");
        }
        for (text, number) in [
            ("32780552Ki", 33_567_285_248),
            ("2Gi", 2 << 30),
            ("1.5G", 1_500_000_000),
            ("128974848", 128_974_848),
            ("128974848000m", 128_974_848),
            ("129e6", 129_000_000),
        ] {
            assert_eq!(bytes(text), Some(number), "{text}");
        }
        for bad in [
            "",
            "-1",
            "x",
            "1.x",
            "99999999999999999999",
            "18446744073709551615Ti",
        ] {
            assert_eq!(bytes(bad), None, "{bad}");
            assert_eq!(cpu_milli(bad), None, "{bad}");
        }
    }

    #[test]
    fn amounts_are_short_for_people() {
        assert_eq!(gib(33_567_285_248), "31.2 GiB");
        assert_eq!(gib(1 << 30), "1 GiB");
        assert_eq!(gib(1 << 20), "1 MiB");
        assert_eq!(cores(2500), "2.5");
        assert_eq!(cores(8000), "8");
    }
}
