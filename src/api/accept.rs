//! Which of the forms that we have does a client want? Source: RFC 9110, 12.5.1.

/// The offered media type that an `Accept` header likes best; earlier ones win ties.
/// Nothing when it refuses all of them. No header means anything goes.
pub fn best<'a>(accept: Option<&str>, offered: &[&'a str]) -> Option<&'a str> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return offered.first().copied();
    };
    let mut chosen: Option<(&str, u32)> = None;
    for kind in offered {
        let quality = quality_of(accept, kind);
        if quality > chosen.map_or(0, |(_, best)| best) {
            chosen = Some((kind, quality));
        }
    }
    chosen.map(|(kind, _)| kind)
}

/// Thousandths of liking for one media type: the most specific range that matches decides.
fn quality_of(accept: &str, kind: &str) -> u32 {
    let group = kind.split('/').next().unwrap_or_default();
    let mut found: Option<(u32, u32)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let wanted = parts.next().unwrap_or_default().to_ascii_lowercase();
        let specificity = match wanted.as_str() {
            "*/*" => 1,
            it if it.strip_suffix("/*") == Some(group) => 2,
            it if it == kind => 3,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1_000, thousandths);
        if found.is_none_or(|(best, _)| specificity > best) {
            found = Some((specificity, quality));
        }
    }
    found.map_or(0, |(_, quality)| quality)
}

fn thousandths(text: &str) -> u32 {
    let Some((whole, part)) = text.split_once('.') else {
        return if text == "0" { 0 } else { 1_000 };
    };
    if whole != "0" {
        return 1_000;
    }
    let digits: String = part.chars().chain("000".chars()).take(3).collect();
    digits.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 3] = ["text/plain", "application/json", "text/html"];

    #[track_caller]
    fn check(accept: &str, wanted: Option<&str>) {
        assert_eq!(best(Some(accept), &OFFERED), wanted);
    }

    #[test]
    fn the_best_liked_form_wins() {
        check("*/*", Some("text/plain"));
        check("application/json", Some("application/json"));
        check("text/html,application/xhtml+xml,*/*;q=0.8", Some("text/html"));
        check("text/*;q=0.3, application/json;q=0.7", Some("application/json"));
        check("text/plain;q=0, */*", Some("application/json"));
        check("image/png", None);
        assert_eq!(best(None, &OFFERED), Some("text/plain"));
    }
}
