//! What a cutover costs: calls of AWS, and the cold starts of its functions.

pub mod calls;
pub mod cold_start;
mod stubs;

/// A table in Markdown; the first column is text, the others are numbers.
fn markdown(header: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule: String = header.iter().skip(1).map(|_| " ---: |").collect();
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}| --- |{rule}\n{rows}", line(header))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_aligns_its_numbers_to_the_right() {
        let cells = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        let table = super::markdown(&cells("routes", "calls"), &[cells("one", "2")]);
        assert_eq!(table, "| routes | calls |\n| --- | ---: |\n| one | 2 |\n");
    }
}
