//! The rows of a series.

use std::ops::Range;

use cutover_core::Counts;
use jiff::Timestamp;

/// What both sides did in one period.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// When the period began, on a whole second.
    pub start: Timestamp,
    /// The old side; `None`: nothing was counted, which is no evidence.
    pub old: Option<Counts>,
    /// The new side; `None`: nothing was counted, which is no evidence.
    pub new: Option<Counts>,
    /// Requests of the old side that were slow, at most its requests; `None`: not known.
    pub slow_old: Option<u64>,
    /// Requests of the new side that were slow, at most its requests; `None`: not known.
    pub slow_new: Option<u64>,
    /// Requests of the old side that were refused (4xx), at most its requests; `None`: not known.
    pub refused_old: Option<u64>,
    /// Requests of the new side that were refused, at most its requests; `None`: not known.
    pub refused_new: Option<u64>,
    /// The share of the requests that was meant for the new side, 0–1; `None`: not known.
    pub intended: Option<f64>,
}

/// What stands in a column for nothing: no count is as high, and as a share it is no number.
const NOTHING: u64 = u64::MAX;

/// Rows, kept by columns: one that a series lacks takes no space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// In seconds since 1970.
    starts: Vec<i64>,
    /// The fields of [`Row`] in their order, each empty or as long as `starts`; the last one has the bits of its numbers.
    columns: [Vec<u64>; 9],
}

impl Rows {
    /// Number of rows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// All rows.
    pub fn iter(&self) -> impl Iterator<Item = Row> {
        self.range(0..self.len())
    }

    /// Some rows.
    pub fn range(&self, places: Range<usize>) -> impl Iterator<Item = Row> {
        places.map_while(|place| self.get(place))
    }

    pub(crate) fn starts(&self) -> &[i64] {
        &self.starts
    }

    pub(crate) fn reverse(&mut self) {
        self.starts.reverse();
        for column in &mut self.columns {
            column.reverse();
        }
    }

    pub(crate) fn push(&mut self, row: &Row) {
        let Row { start, old, new, slow_old, slow_new, refused_old, refused_new, intended } = *row;
        let values = [
            old.map(|old| old.requests),
            old.map(|old| old.errors),
            new.map(|new| new.requests),
            new.map(|new| new.errors),
            slow_old,
            slow_new,
            refused_old,
            refused_new,
            intended.map(f64::to_bits),
        ];
        for (column, value) in self.columns.iter_mut().zip(values) {
            if value.is_some() || !column.is_empty() {
                column.resize(self.starts.len(), NOTHING);
                column.push(value.unwrap_or(NOTHING));
            }
        }
        self.starts.push(start.as_second());
    }

    fn get(&self, place: usize) -> Option<Row> {
        let start = Timestamp::from_second(*self.starts.get(place)?).ok()?;
        let values = self
            .columns
            .each_ref()
            .map(|column| column.get(place).copied().filter(|value| *value != NOTHING));
        let [requests_old, errors_old, requests_new, errors_new, rest @ ..] = values;
        let [slow_old, slow_new, refused_old, refused_new, intended] = rest;
        let side = |requests: Option<u64>, errors: Option<u64>| {
            requests.zip(errors).map(|(requests, errors)| Counts { requests, errors })
        };
        Some(Row {
            start,
            old: side(requests_old, errors_old),
            new: side(requests_new, errors_new),
            slow_old,
            slow_new,
            refused_old,
            refused_new,
            intended: intended.map(f64::from_bits),
        })
    }
}

impl FromIterator<Row> for Rows {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        rows.into_iter().fold(Self::default(), |mut all, row| {
            all.push(&row);
            all
        })
    }
}
