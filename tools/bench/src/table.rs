//! How measurements are shown.

/// A table in Markdown; the first column is text, the others are numbers.
pub fn markdown(header: &[&str], rows: &[Vec<String>]) -> String {
    let rule = " ---: |".repeat(header.len().saturating_sub(1));
    let rows: Vec<String> = rows.iter().map(|row| format!("| {} |\n", row.join(" | "))).collect();
    format!("| {} |\n| --- |{rule}\n{}", header.join(" | "), rows.concat())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_aligns_its_numbers_to_the_right() {
        let row = ["one", "2"].map(str::to_owned).to_vec();
        let table = super::markdown(&["routes", "calls"], &[row]);
        assert_eq!(table, "| routes | calls |\n| --- | ---: |\n| one | 2 |\n");
    }
}
