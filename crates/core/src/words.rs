//! How numbers, shares and lists are worded, for everybody.

/// Names listed in a sentence about many routes.
const NAMES_SHOWN: usize = 5;

/// Words a number e, given its natural logarithm: `0.41`, `240`, `10^9`.
#[must_use]
pub fn e_shown(log_e: f64) -> String {
    let log10 = log_e / std::f64::consts::LN_10;
    if log10 >= 6.0 {
        format!("10^{:.0}", log10.floor())
    } else if log10 >= 1.0 {
        format!("{:.0}", log_e.exp())
    } else if log10 >= -2.0 {
        let text = format!("{:.2}", log_e.exp());
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        "0.00".to_owned()
    }
}

/// Rounds up to two digits: what an estimate is worth.
pub(crate) fn rounded(number: u64) -> u64 {
    let digits = number.checked_ilog10().unwrap_or(0);
    let unit = 10_u64.pow(digits.saturating_sub(1));
    number.div_ceil(unit) * unit
}

/// Words a rate as a percentage with two decimals at most: `0.31 %`.
#[must_use]
pub fn percent(rate: f64) -> String {
    let text = format!("{:.2}", rate * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text} %")
}

/// Words a number with commas between thousands.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The text, or its begin up to the end of a word, and an ellipsis: `chars_max` characters at most.
#[must_use]
pub fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    let goes_on = text.chars().nth(chars_max.saturating_sub(1)).is_some_and(|c| !c.is_whitespace());
    let words = kept.rsplit_once(char::is_whitespace).filter(|_| goes_on).map(|(words, _)| words);
    // What has no spaces, as a value, is not cut to its first word.
    let words = words.filter(|words| 2 * words.len() > kept.len()).unwrap_or(&kept);
    format!("{}…", words.trim_end())
}

/// Words some names, and how many more there are.
#[must_use]
pub fn listed(names: impl IntoIterator<Item = impl ToString>) -> String {
    let mut names = names.into_iter();
    let shown: Vec<String> = names.by_ref().take(NAMES_SHOWN).map(|of| of.to_string()).collect();
    let shown = shown.join(", ");
    match names.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_ends_with_a_word_and_an_ellipsis() {
        for (text, chars_max, cut) in [
            ("grün", 4, "grün"),
            ("grüner", 4, "grü…"),
            ("ab", 1, "…"),
            ("", 0, ""),
            ("a", 0, "…"),
            ("they vanish on the way", 22, "they vanish on the way"),
            ("they vanish on the way", 14, "they vanish…"),
            ("they vanish on the way", 13, "they vanish…"),
            ("they vanish on the way", 12, "they vanish…"),
            ("they vanish on the way", 11, "they vanis…"),
            ("a arn:aws:elasticloadbalancing", 20, "a arn:aws:elasticlo…"),
        ] {
            assert_eq!(shortened(text, chars_max), cut, "{text} at {chars_max}");
            assert_eq!(shortened(cut, chars_max.max(1)), cut, "what is short enough stays");
        }
    }
}
