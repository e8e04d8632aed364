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
