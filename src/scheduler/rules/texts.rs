//! All texts that a simple expression matches: `r1|r2` or `rack-[0-3]`, as people write them for racks.
//! What repeats, or is in brackets, has no list.

/// Texts of one expression at most: no list of racks that somebody wrote by hand is longer.
const TEXTS_MAX: usize = 64;

/// Every text that `pattern` matches as a whole; nothing where that is not plain, or there are many.
pub(super) fn all_of(pattern: &str) -> Option<Vec<String>> {
    let (mut done, mut heads) = (Vec::new(), vec![String::new()]);
    let mut rest = pattern.chars();
    while let Some(letter) = rest.next() {
        let next = match letter {
            '|' => {
                done.append(&mut heads);
                heads.push(String::new());
                continue;
            }
            // An escaped letter is a class or a place; an escaped sign is itself.
            '\\' => vec![rest.next().filter(char::is_ascii_punctuation)?],
            '[' => class(&mut rest)?,
            '.' | '*' | '+' | '?' | '(' | ')' | '{' | '}' | '^' | '$' | ']' => return None,
            plain => vec![plain],
        };
        if heads.len() * next.len() + done.len() > TEXTS_MAX {
            return None;
        }
        heads =
            heads.iter().flat_map(|head| next.iter().map(move |letter| format!("{head}{letter}"))).collect();
    }
    done.append(&mut heads);
    done.sort_unstable();
    done.dedup();
    Some(done)
}

/// The letters of `abc]` or `0-9]`, where the opening bracket is passed already.
fn class(rest: &mut std::str::Chars<'_>) -> Option<Vec<char>> {
    let mut letters: Vec<char> = Vec::new();
    loop {
        match rest.next()? {
            ']' => return (!letters.is_empty()).then_some(letters),
            '-' => {
                let (from, to) = (letters.pop()?, rest.next().filter(char::is_ascii_alphanumeric)?);
                letters.extend(from..=to);
            }
            letter if letter.is_ascii_alphanumeric() || letter == '_' => letters.push(letter),
            _ => return None,
        }
        if letters.len() > TEXTS_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Pattern;

    #[test]
    fn simple_expressions_have_a_list_and_others_none() {
        let check = |pattern: &str, wanted: Option<&[&str]>| {
            let found = all_of(pattern);
            let told: Option<Vec<&str>> = found.as_ref().map(|all| all.iter().map(String::as_str).collect());
            assert_eq!(told.as_deref(), wanted, "{pattern}");
            let parsed = Pattern::parse(pattern).unwrap();
            assert!(found.iter().flatten().all(|text| parsed.matches(text)), "{pattern}");
        };
        check("a", Some(&["a"]));
        check("r1|r2|r1", Some(&["r1", "r2"]));
        check("r[1-3]|x", Some(&["r1", "r2", "r3", "x"]));
        check(r"a\.b|c\|d", Some(&["a.b", "c|d"]));
        check("[ab][cd]", Some(&["ac", "ad", "bc", "bd"]));
        for endless in ["a*", "a+", "r.", "(a)", r"\d", "[^a]", "a{2}", "^a", "[0-9][0-9]", "[a-]", r"[\d]"] {
            check(endless, None);
        }
    }
}
