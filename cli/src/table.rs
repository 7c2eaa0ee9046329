//! The ruling room: columns that stand under each other.

/// How a column's cells stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of cells under a heading.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; it has a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The table as text, each line after `indent`. Columns that are empty in all rows are left out.
    pub(crate) fn render(&self, indent: &str) -> String {
        let used = |column: usize| self.rows.iter().any(|row| !row[column].is_empty());
        let columns: Vec<usize> = (0..self.columns.len()).filter(|column| used(*column)).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].0.len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = columns.iter().map(|column| width(*column)).collect();
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut text = String::new();
        for row in [&heading].into_iter().chain(&self.rows) {
            let mut line = indent.to_owned();
            for (column, width) in columns.iter().zip(&widths) {
                let cell = &row[*column];
                let padding = " ".repeat(width - cell.chars().count());
                match self.columns[*column].1 {
                    Align::Left => line.extend([cell.as_str(), &padding]),
                    Align::Right => line.extend([padding.as_str(), cell]),
                }
                line.push_str("  ");
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Lines of a name and what it is, one under the other.
#[derive(Debug, Default)]
pub(crate) struct Facts(Vec<(String, String)>);

impl Facts {
    /// Adds a fact.
    pub(crate) fn add(&mut self, name: &str, value: impl Into<String>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// The facts as text, each line after `indent`.
    pub(crate) fn render(&self, indent: &str) -> String {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let line =
            |(name, value): &(String, String)| format!("{indent}{name:width$}  {value}").trim_end().to_owned() + "\n";
        self.0.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let mut table = Table::new(&[("NAME", Align::Left), ("SIZE", Align::Right), ("NOTE", Align::Left)]);
        table.row(vec!["caf\u{e9}".to_owned(), "1".to_owned(), String::new()]);
        table.row(vec!["longer".to_owned(), "12345".to_owned(), String::new()]);
        let lines = "  NAME     SIZE\n  caf\u{e9}        1\n  longer  12345\n";
        assert_eq!(table.render("  "), lines);
    }

    #[test]
    fn facts_stand_under_each_other() {
        let mut facts = Facts::default();
        facts.add("id", "a");
        facts.add("root", "b");
        assert_eq!(facts.render(" "), " id    a\n root  b\n");
    }
}
