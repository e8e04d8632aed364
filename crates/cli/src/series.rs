//! Reads a series: what was counted on both sides, period by period, as CSV with a header line or
//! as JSON lines of the same names. Whoever hands in a faulty one is told every fault at once.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, SeekFrom};

use chart::shortened;
use csv::{Position, ReaderBuilder, StringRecord, Terminator, Trim};
use cutover_core::Counts;
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Longest input, in bytes: two years of minutes as CSV, and an end for a pipe that has none.
pub const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Highest count. Up to here each whole number has its own `f64`, and JSON means the same number to
/// everybody. Source: RFC 8259, section 6.
pub const COUNT_MAX: u64 = 1 << 53;

/// Longest period, in seconds.
pub const PERIOD_S_MAX: u32 = 3_600;

/// The period of a series of one row, which has no distance to tell it by, in seconds.
const PERIOD_S_ALONE: u32 = 60;

/// Problems that are kept, those of the first lines; the others are only counted.
pub const PROBLEMS_KEPT_MAX: usize = 20;

/// Longer values are cut in a problem.
const VALUE_CHARS_MAX: usize = 60;

/// What both sides did in one period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// When the period began, on a whole second.
    pub start: Timestamp,
    /// The old side; `None`: nothing was counted, which is no evidence.
    pub old: Option<Counts>,
    /// The new side; `None`: nothing was counted, which is no evidence.
    pub new: Option<Counts>,
    /// Requests of the old side that were slow, at most its requests; `None`: not told.
    pub slow_old: Option<u64>,
    /// Requests of the new side that were slow, at most its requests; `None`: not told.
    pub slow_new: Option<u64>,
}

/// What was counted on both sides, period by period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Length of a period, in seconds, 1 to [`PERIOD_S_MAX`].
    pub period_s: u32,
    /// At least one row, oldest first, apart by multiples of `period_s`: a period may be missing.
    pub rows: Vec<Row>,
}

impl Series {
    /// Reads CSV, or JSON lines when the first character that is not blank is `{`. Blank lines, a
    /// byte order mark and CRLF are nothing to complain about.
    ///
    /// # Errors
    /// [`Refused`] with every problem, when the input is no series.
    pub fn parse(input: &[u8]) -> Result<Self, Refused> {
        let mut problems = Refused::default();
        let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
        let seen = match std::str::from_utf8(input) {
            Ok(text) => match text.trim_start().chars().next() {
                Some('{') => json_rows(text, &mut problems),
                _ => csv_rows(text, &mut problems),
            },
            Err(e) => {
                problems.add(not_utf8(input, e.valid_up_to()));
                vec![]
            }
        };
        let period_s = period_s(&seen, &mut problems);
        if problems.count > 0 {
            return Err(problems);
        }
        Ok(Self { period_s, rows: seen.into_iter().map(|seen| seen.row).collect() })
    }
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// [`Unreadable`] when there is no such file, when it cannot be read, or when it is longer than
/// [`INPUT_BYTES_MAX`].
pub fn read(path: &str) -> Result<Vec<u8>, Unreadable> {
    let (name, read) = if path == "-" {
        ("standard input", up_to(INPUT_BYTES_MAX, io::stdin().lock()))
    } else {
        (path, File::open(path).and_then(|file| up_to(INPUT_BYTES_MAX, file)))
    };
    read.map_err(|source| Unreadable { name: name.to_owned(), source })
}

fn up_to(bytes_max: u64, from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    // One more, to tell a full measure from too much.
    if from.take(bytes_max + 1).read_to_end(&mut bytes)? as u64 > bytes_max {
        let message = format!("it is longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// An input that could not be read at all.
#[derive(Debug, thiserror::Error)]
#[error("Could not read {name}: {source}")]
pub struct Unreadable {
    /// The path, or "standard input".
    pub name: String,
    /// Why.
    pub source: io::Error,
}

/// A name of a column in CSV, of a key in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// When the period began.
    PeriodStart,
    /// Requests of the old side.
    RequestsOld,
    /// Those of them that failed.
    ErrorsOld,
    /// Requests of the new side.
    RequestsNew,
    /// Those of them that failed.
    ErrorsNew,
    /// Requests of the old side that were slow; may be left out together with the other one.
    SlowOld,
    /// Requests of the new side that were slow.
    SlowNew,
}

impl Column {
    /// In the order in which the documentation names them.
    pub const ALL: [Self; 7] = [
        Self::PeriodStart,
        Self::RequestsOld,
        Self::ErrorsOld,
        Self::RequestsNew,
        Self::ErrorsNew,
        Self::SlowOld,
        Self::SlowNew,
    ];

    /// As it stands in the header or as a key.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeriodStart => "period_start",
            Self::RequestsOld => "requests_old",
            Self::ErrorsOld => "errors_old",
            Self::RequestsNew => "requests_new",
            Self::ErrorsNew => "errors_new",
            Self::SlowOld => "slow_old",
            Self::SlowNew => "slow_new",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }

    const fn may_be_left_out(self) -> bool {
        matches!(self, Self::SlowOld | Self::SlowNew)
    }

    fn all_names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// One fault of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// In CSV the number of the column, from 1; in a line that is no JSON the character, from 1.
    pub column: Option<usize>,
    /// The column's name, or the key's, where it is one that is known.
    pub name: Option<Column>,
    /// What stands there, shortened.
    pub found: String,
    /// What may stand there.
    pub allowed: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, found, allowed, .. } = self;
        write!(f, "line {line}")?;
        match (self.column, self.name.map(Column::name)) {
            (Some(column), Some(name)) => write!(f, ", column {column} ({name})")?,
            (Some(column), None) => write!(f, ", column {column}")?,
            (None, Some(name)) => write!(f, ", {name}")?,
            (None, None) => {}
        }
        write!(f, ": {found}; allowed: {allowed}")
    }
}

/// Why an input is no series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The first [`PROBLEMS_KEPT_MAX`] problems, in the order of their lines.
    pub problems: Vec<Problem>,
    /// How many there are, kept or not.
    pub count: usize,
}

impl std::error::Error for Refused {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            1 => write!(f, "The series has a problem:")?,
            count => write!(f, "The series has {count} problems:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        match self.count - self.problems.len() {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more"),
        }
    }
}

impl Refused {
    /// The distances are looked at last, yet their problems belong to their lines. Of one line those
    /// come first that have a column.
    fn add(&mut self, problem: Problem) {
        self.count += 1;
        let order = |problem: &Problem| (problem.line, problem.column.unwrap_or(usize::MAX));
        let place = self.problems.partition_point(|known| order(known) <= order(&problem));
        if place < PROBLEMS_KEPT_MAX {
            self.problems.insert(place, problem);
            self.problems.truncate(PROBLEMS_KEPT_MAX);
        }
    }

    /// A problem of a whole line.
    fn of_line(&mut self, line: usize, found: String, allowed: impl Into<String>) {
        self.add(Problem { line, column: None, name: None, found, allowed: allowed.into() });
    }
}

/// What a line says under one name.
#[derive(Clone, Debug)]
struct Cell {
    line: usize,
    /// In CSV the number of the column, from 1.
    column: Option<usize>,
    name: Column,
    /// `Null`: nothing.
    value: Value,
}

impl Cell {
    fn problem(&self, allowed: impl Into<String>) -> Problem {
        Problem {
            line: self.line,
            column: self.column,
            name: Some(self.name),
            found: shown(&self.value),
            allowed: allowed.into(),
        }
    }

    /// `None` for what is neither text nor a number.
    fn text(&self) -> Option<String> {
        match &self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => quoted(text),
        other => shortened(&other.to_string(), VALUE_CHARS_MAX),
    }
}

fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text, VALUE_CHARS_MAX))
}

/// A row, and where its start stands.
struct Seen {
    start: Cell,
    row: Row,
}

fn not_utf8(input: &[u8], valid_bytes: usize) -> Problem {
    let (valid, rest) = input.split_at_checked(valid_bytes).unwrap_or((input, &[]));
    let lines = || valid.split(|byte| *byte == b'\n');
    let before = String::from_utf8_lossy(lines().next_back().unwrap_or_default());
    Problem {
        line: lines().count(),
        column: Some(before.chars().count() + 1),
        name: None,
        found: rest.first().map_or_else(String::new, |byte| format!("byte 0x{byte:02x}")),
        allowed: "text in UTF-8".to_owned(),
    }
}

/// The lines that are not blank, with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// Reads each line alone: no field has reason to hold a line's end, and a quote that is never closed
/// spoils its own line only. There is one reader for all lines, as a reader is costly to make.
struct CsvLines<'a>(csv::Reader<Cursor<&'a [u8]>>);

impl<'a> CsvLines<'a> {
    fn new() -> Self {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).trim(Trim::All);
        builder.terminator(Terminator::Any(b'\n'));
        Self(builder.from_reader(Cursor::default()))
    }

    fn fields(&mut self, line: &'a str) -> StringRecord {
        let mut fields = StringRecord::new();
        *self.0.get_mut() = Cursor::new(line.as_bytes());
        let read = self
            .0
            .seek_raw(SeekFrom::Start(0), Position::new())
            .and_then(|()| self.0.read_record(&mut fields));
        // Memory does not fail to be read, and parts of UTF-8 text between ASCII are UTF-8. No field
        // at all would be refused.
        read.map_or_else(|_| StringRecord::new(), |_| fields)
    }
}

fn csv_rows(text: &str, problems: &mut Refused) -> Vec<Seen> {
    let mut lines = lines(text);
    let Some((header_line, header)) = lines.next() else {
        let allowed = format!("a header line of {}", Column::all_names());
        problems.of_line(1, "nothing".to_owned(), allowed);
        return vec![];
    };
    if header.trim_start().starts_with('[') {
        let allowed = "CSV with a header line, or JSON lines: one object a line, in no array";
        problems.of_line(header_line, quoted(header.trim()), allowed);
        return vec![];
    }
    let mut csv = CsvLines::new();
    let header = csv_header(header_line, &csv.fields(header), problems);
    let mut rows = Rows::default();
    let mut last_line = header_line;
    for (line, text) in lines {
        last_line = line;
        let fields = csv.fields(text);
        if fields.len() != header.len() {
            let allowed = format!("{} fields, as in the header", header.len());
            problems.of_line(line, format!("{} fields", fields.len()), allowed);
            continue;
        }
        let cells = (1..).zip(&header).zip(&fields).filter_map(|((number, name), field)| {
            let value = if field.is_empty() { Value::Null } else { field.into() };
            Some(Cell { line, column: Some(number), name: (*name)?, value })
        });
        rows.add(&cells.collect::<Vec<_>>(), problems);
    }
    if last_line == header_line {
        problems.of_line(header_line + 1, "nothing".to_owned(), "at least one row");
    }
    rows.seen
}

/// The columns in their order; `None` for one that counts for nothing, which is a problem already.
fn csv_header(line: usize, fields: &StringRecord, problems: &mut Refused) -> Vec<Option<Column>> {
    let mut header: Vec<Option<Column>> = vec![];
    for (field, number) in fields.iter().zip(1..) {
        let named = Column::named(field);
        let fresh = named.filter(|name| !header.contains(&Some(*name)));
        if fresh.is_none() {
            let allowed = match named {
                Some(_) => "each column once".to_owned(),
                None => Column::all_names(),
            };
            let found = if field.is_empty() { "nothing".to_owned() } else { quoted(field) };
            problems.add(Problem { line, column: Some(number), name: named, found, allowed });
        }
        header.push(fresh);
    }
    let slow = Column::ALL.iter().any(|c| c.may_be_left_out() && header.contains(&Some(*c)));
    for name in Column::ALL {
        if header.contains(&Some(name)) || (name.may_be_left_out() && !slow) {
            continue;
        }
        let both = if name.may_be_left_out() { ", or neither slow_old nor slow_new" } else { "" };
        problems.add(Problem {
            line,
            column: None,
            name: Some(name),
            found: "nothing".to_owned(),
            allowed: format!("a column of this name{both}"),
        });
    }
    header
}

/// The pairs of a JSON object in their order: a map would keep the last of two with one key.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap;

        impl<'de> Visitor<'de> for OfMap {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = vec![];
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(OfMap)
    }
}

fn json_rows(text: &str, problems: &mut Refused) -> Vec<Seen> {
    let mut rows = Rows::default();
    for (line, text) in lines(text) {
        match serde_json::from_str(text) {
            Ok(pairs) => rows.add(&json_cells(line, pairs, problems), problems),
            Err(e) => problems.add(not_json(line, text, &e)),
        }
    }
    rows.seen
}

/// A cell for every column: what is absent is nothing.
fn json_cells(line: usize, Pairs(pairs): Pairs, problems: &mut Refused) -> Vec<Cell> {
    let mut cells: Vec<Cell> = vec![];
    for (key, value) in pairs {
        let Some(name) = Column::named(&key) else {
            let found = format!("key {}", quoted(&key));
            problems.of_line(line, found, format!("the keys {}", Column::all_names()));
            continue;
        };
        let cell = Cell { line, column: None, name, value };
        if cells.iter().any(|known| known.name == name) {
            problems.add(cell.problem("each key once"));
        } else {
            cells.push(cell);
        }
    }
    for name in Column::ALL {
        if !cells.iter().any(|known| known.name == name) {
            cells.push(Cell { line, column: None, name, value: Value::Null });
        }
    }
    cells
}

fn not_json(line: usize, text: &str, e: &serde_json::Error) -> Problem {
    // It counts bytes, and says at the end where it stands, which the problem says itself.
    let before = e.column().saturating_sub(1);
    let rest: String =
        text.char_indices().filter(|(byte, _)| *byte >= before).map(|(_, c)| c).collect();
    let message = e.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
    Problem {
        line,
        column: Some(text.char_indices().take_while(|(byte, _)| *byte < before).count() + 1),
        name: None,
        found: quoted(&rest),
        allowed: format!("one JSON object a line ({message})"),
    }
}

/// Gathers rows, and holds each against the one before.
#[derive(Default)]
struct Rows {
    seen: Vec<Seen>,
}

impl Rows {
    fn add(&mut self, cells: &[Cell], problems: &mut Refused) {
        let cell = |name| cells.iter().find(|cell| cell.name == name);
        let old = [Column::RequestsOld, Column::ErrorsOld, Column::SlowOld].map(cell);
        let new = [Column::RequestsNew, Column::ErrorsNew, Column::SlowNew].map(cell);
        let start_cell = cell(Column::PeriodStart);
        let start = start_cell.and_then(|cell| start(cell, problems));
        let (old, slow_old) = side(old, problems);
        let (new, slow_new) = side(new, problems);
        let (Some(cell), Some(start)) = (start_cell, start) else { return };
        if let Some(before) = self.seen.last()
            && start <= before.row.start
        {
            let (line, value) = (before.start.line, shown(&before.start.value));
            problems.add(cell.problem(format!("later than {value} of line {line}")));
        }
        let row = Row { start, old, new, slow_old, slow_new };
        self.seen.push(Seen { start: cell.clone(), row });
    }
}

fn start(cell: &Cell, problems: &mut Refused) -> Option<Timestamp> {
    let start = cell.text().and_then(|text| {
        let digits = text.strip_prefix('-').unwrap_or(&text);
        if digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Timestamp::from_second(text.parse().ok()?).ok();
        }
        text.parse::<Timestamp>().ok().filter(|start| start.subsec_nanosecond() == 0)
    });
    if start.is_none() {
        let allowed = "a time as 2026-01-31T08:30:00Z, or seconds since 1970; on a whole second";
        problems.add(cell.problem(allowed));
    }
    start
}

/// What a cell tells of a count.
#[derive(Clone, Copy)]
enum Told {
    Nothing,
    Count(u64),
}

/// One side's counts and its slow requests, from its three cells. A cell that is not there, and one
/// whose value is refused, is held against no other.
fn side(cells: [Option<&Cell>; 3], problems: &mut Refused) -> (Option<Counts>, Option<u64>) {
    let [requests, errors, slow] =
        cells.map(|cell| cell.and_then(|cell| Some((cell, told(cell, problems)?))));
    let mut counts = None;
    if let (Some((requests_cell, requests)), Some((errors_cell, errors))) = (requests, errors) {
        match (requests, errors) {
            (Told::Count(requests), Told::Count(errors)) if errors <= requests => {
                counts = Some(Counts { requests, errors });
            }
            (Told::Count(requests), Told::Count(_)) => {
                problems.add(errors_cell.problem(at_most(requests)));
            }
            (Told::Count(_), Told::Nothing) => {
                problems.add(errors_cell.problem(beside(requests_cell)));
            }
            (Told::Nothing, Told::Count(_)) => {
                problems.add(requests_cell.problem(beside(errors_cell)));
            }
            (Told::Nothing, Told::Nothing) => {}
        }
    }
    let Some((slow_cell, Told::Count(slow))) = slow else { return (counts, None) };
    match requests {
        Some((_, Told::Count(requests))) if slow > requests => {
            problems.add(slow_cell.problem(at_most(requests)));
        }
        Some((_, Told::Nothing)) => {
            problems.add(slow_cell.problem("nothing, where no requests are counted"));
        }
        _ => {}
    }
    (counts, Some(slow))
}

fn at_most(requests: u64) -> String {
    format!("at most {requests}, the side's requests")
}

fn beside(other: &Cell) -> String {
    let (value, name) = (shown(&other.value), other.name.name());
    format!("a number beside {value} in {name}, or nothing in both")
}

/// `None`: refused.
fn told(cell: &Cell, problems: &mut Refused) -> Option<Told> {
    if cell.value.is_null() {
        return Some(Told::Nothing);
    }
    let count = cell
        .text()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse().ok())
        .filter(|count| *count <= COUNT_MAX);
    if count.is_none() {
        let allowed = format!("a whole number from 0 to {COUNT_MAX}, or nothing");
        problems.add(cell.problem(allowed));
    }
    count.map(Told::Count)
}

/// The smallest distance between two rows, in seconds, of which every other must be a multiple.
fn period_s(seen: &[Seen], problems: &mut Refused) -> u32 {
    // Those that run backwards are a problem already.
    let distances = || {
        seen.array_windows().filter_map(|[before, after]| {
            let distance_s = after.row.start.as_second() - before.row.start.as_second();
            (distance_s > 0).then_some((distance_s, before, after))
        })
    };
    let Some((smallest_s, from, to)) = distances().min_by_key(|(distance_s, ..)| *distance_s)
    else {
        return PERIOD_S_ALONE;
    };
    let Some(period_s) = u32::try_from(smallest_s).ok().filter(|s| *s <= PERIOD_S_MAX) else {
        let line = from.start.line;
        let allowed = format!(
            "at most {PERIOD_S_MAX} s from one period to the next; the nearest two, this and \
             line {line}, are {smallest_s} s apart"
        );
        problems.add(to.start.problem(allowed));
        return PERIOD_S_MAX;
    };
    for (distance_s, before, after) in distances().filter(|(s, ..)| s % smallest_s != 0) {
        let (line, from, to) = (before.start.line, from.start.line, to.start.line);
        let allowed = format!(
            "a multiple of {period_s} s after line {line}, not {distance_s} s; lines {from} and \
             {to} are {period_s} s apart"
        );
        problems.add(after.start.problem(allowed));
    }
    period_s
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "period_start,requests_old,errors_old,requests_new,errors_new";

    const fn counts(requests: u64, errors: u64) -> Counts {
        Counts { requests, errors }
    }

    fn row(second: i64, old: impl Into<Option<Counts>>, new: impl Into<Option<Counts>>) -> Row {
        let start = Timestamp::from_second(second).expect("in range");
        Row { start, old: old.into(), new: new.into(), slow_old: None, slow_new: None }
    }

    fn parsed(text: &str) -> Series {
        Series::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}\n{e}"))
    }

    /// The problems as they are shown, one a line.
    fn refused(input: impl AsRef<[u8]>) -> Vec<String> {
        let refused = Series::parse(input.as_ref()).expect_err("no series");
        assert_eq!(refused.count, refused.problems.len());
        refused.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_series_is_read_from_each_of_its_spellings() {
        let wanted = Series {
            period_s: 60,
            rows: vec![
                row(1_769_848_200, counts(100, 1), counts(10, 0)),
                row(1_769_848_260, None, counts(0, 0)),
                // A period is missing before this one.
                row(1_769_848_380, counts(90, 90), None),
            ],
        };
        for text in [
            "period_start,requests_old,errors_old,requests_new,errors_new\n\
             1769848200,100,1,10,0\n1769848260,,,0,0\n1769848380,90,90,,\n",
            // Any order, times of any zone, spaces, quotes, CRLF, blank lines, a byte order mark.
            "\u{feff}\r\n\"errors_new\", requests_new,errors_old,requests_old,period_start\r\n\r\n\
             0,10,1,100,2026-01-31T08:30:00Z\r\n 0 ,0,,,2026-01-31T09:31:00+01:00\r\n\
             ,,\"90\",90,2026-01-31 08:33:00.000Z",
            "{\"period_start\":\"2026-01-31T08:30:00Z\",\"requests_old\":100,\"errors_old\":1,\
             \"errors_new\":0,\"requests_new\":10}\n\
             {\"period_start\":1769848260,\"requests_old\":null,\"requests_new\":0,\"errors_new\":0}\n\
             {\"period_start\":\"1769848380\",\"errors_old\":90,\"requests_old\":90}",
            "\u{feff}\r\n {\"period_start\":1769848200,\"requests_old\":\"100\",\"errors_old\":1,\
             \"errors_new\":0,\"requests_new\":10}\r\n\r\n\
             {\"period_start\":1769848260,\"requests_new\":0,\"errors_new\":0}\r\n\
             {\"errors_old\":90,\"requests_old\":90,\"period_start\":1769848380}\r\n",
        ] {
            assert_eq!(parsed(text), wanted, "{text}");
        }
    }

    #[test]
    fn slow_requests_are_told_on_either_side_or_on_none() {
        let csv = format!("{HEADER},slow_old,slow_new\n0,10,1,5,1,3,5\n60,10,1,5,1,0,\n120,,,,,,");
        let json = r#"{"period_start":0,"requests_old":10,"errors_old":1,"requests_new":5,"errors_new":1,"slow_old":3,"slow_new":5}
            {"period_start":60,"requests_old":10,"errors_old":1,"requests_new":5,"errors_new":1,"slow_old":0}
            {"period_start":120}"#;
        for text in [csv.as_str(), json] {
            let slow =
                parsed(text).rows.iter().map(|r| (r.slow_old, r.slow_new)).collect::<Vec<_>>();
            assert_eq!(slow, [(Some(3), Some(5)), (Some(0), None), (None, None)]);
        }
    }

    #[test]
    fn the_smallest_distance_is_the_period() {
        for (starts, period_s) in [
            (&[7][..], 60),
            (&[0, 1], 1),
            (&[-60, 0], 60),
            (&[0, 3_600], 3_600),
            (&[0, 600, 900, 1_200], 300),
        ] {
            let rows = starts.iter().map(|start| format!("\n{start},1,0,1,0"));
            let text = HEADER.to_owned() + &rows.collect::<String>();
            assert_eq!(parsed(&text).period_s, period_s, "{starts:?}");
        }
    }

    #[test]
    fn counts_go_up_to_the_last_that_is_exact() {
        let text = format!("{HEADER}\n0,{COUNT_MAX},{COUNT_MAX},0007,0");
        assert_eq!(parsed(&text).rows, [row(0, counts(COUNT_MAX, COUNT_MAX), counts(7, 0))]);
    }

    #[test]
    fn a_faulty_header_is_refused_by_name() {
        let columns =
            "period_start, requests_old, errors_old, requests_new, errors_new, slow_old, slow_new";
        for (header, problems) in [
            ("", vec![format!("line 1: nothing; allowed: a header line of {columns}")]),
            (
                "period_start,requests_old,errors_old,requests_new",
                vec!["line 1, errors_new: nothing; allowed: a column of this name".to_owned()],
            ),
            (
                "period_start,requests_old,errors_old,requests_new,Errors_New,",
                vec![
                    format!("line 1, column 5: \"Errors_New\"; allowed: {columns}"),
                    format!("line 1, column 6: nothing; allowed: {columns}"),
                    "line 1, errors_new: nothing; allowed: a column of this name".to_owned(),
                ],
            ),
            (
                "period_start,requests_old,errors_old,requests_new,errors_new,errors_old",
                vec![
                    "line 1, column 6 (errors_old): \"errors_old\"; allowed: each column once"
                        .to_owned(),
                ],
            ),
            (
                "period_start,requests_old,errors_old,requests_new,errors_new,slow_new",
                vec![
                    "line 1, slow_old: nothing; allowed: a column of this name, or neither \
                     slow_old nor slow_new"
                        .to_owned(),
                ],
            ),
            (
                "[{\"period_start\": 0}]",
                vec![
                    "line 1: \"[{\\\"period_start\\\": 0}]\"; allowed: CSV with a header line, or \
                     JSON lines: one object a line, in no array"
                        .to_owned(),
                ],
            ),
        ] {
            // The row brings no problem of its own, whatever the header lacks.
            let row = match header.split(',').count() {
                1 => String::new(),
                fields => format!("\n0{}", ",0".repeat(fields - 1)),
            };
            assert_eq!(refused(header.to_owned() + &row), problems, "{header}");
        }
    }

    #[test]
    fn a_header_alone_is_no_series() {
        assert_eq!(
            refused(format!("\n{HEADER}\n\n")),
            ["line 3: nothing; allowed: at least one row"]
        );
    }

    #[test]
    fn a_faulty_csv_row_is_refused_with_its_line_column_and_value() {
        let whole = "a whole number from 0 to 9007199254740992, or nothing";
        let time = "a time as 2026-01-31T08:30:00Z, or seconds since 1970; on a whole second";
        for (row, problem) in [
            ("60,1,0,1", "4 fields; allowed: 5 fields, as in the header".to_owned()),
            ("60,1,0,1,0,0", "6 fields; allowed: 5 fields, as in the header".to_owned()),
            ("60,\"1,0,1,0", "2 fields; allowed: 5 fields, as in the header".to_owned()),
            (",1,0,1,0", format!("column 1 (period_start): nothing; allowed: {time}")),
            ("-,1,0,1,0", format!("column 1 (period_start): \"-\"; allowed: {time}")),
            (
                "2026-01-31T08:30:00,1,0,1,0",
                format!("column 1 (period_start): \"2026-01-31T08:30:00\"; allowed: {time}"),
            ),
            (
                "2026-01-31T08:30:00.5Z,1,0,1,0",
                format!("column 1 (period_start): \"2026-01-31T08:30:00.5Z\"; allowed: {time}"),
            ),
            (
                "1769848200000,1,0,1,0",
                format!("column 1 (period_start): \"1769848200000\"; allowed: {time}"),
            ),
            ("60,x7,0,1,0", format!("column 2 (requests_old): \"x7\"; allowed: {whole}")),
            ("60,+7,0,1,0", format!("column 2 (requests_old): \"+7\"; allowed: {whole}")),
            ("60,1,0,-1,0", format!("column 4 (requests_new): \"-1\"; allowed: {whole}")),
            ("60,1.0,0,1,0", format!("column 2 (requests_old): \"1.0\"; allowed: {whole}")),
            (
                "60,9007199254740993,0,1,0",
                format!("column 2 (requests_old): \"9007199254740993\"; allowed: {whole}"),
            ),
            (
                "60,99999999999999999999,0,1,0",
                format!("column 2 (requests_old): \"99999999999999999999\"; allowed: {whole}"),
            ),
            ("60,\u{1b}[0m,0,1,0", format!("column 2 (requests_old): \"\\u{{1b}}[0m\"; allowed: {whole}")),
            (
                "60,1,0,3,4",
                "column 5 (errors_new): \"4\"; allowed: at most 3, the side's requests".to_owned(),
            ),
            (
                "60,1,0,3,",
                "column 5 (errors_new): nothing; allowed: a number beside \"3\" in requests_new, or \
                 nothing in both"
                    .to_owned(),
            ),
            (
                "60,,0,3,0",
                "column 2 (requests_old): nothing; allowed: a number beside \"0\" in errors_old, or \
                 nothing in both"
                    .to_owned(),
            ),
            (
                "0,1,0,1,0",
                "column 1 (period_start): \"0\"; allowed: later than \"0\" of line 2".to_owned(),
            ),
            (
                "3601,1,0,1,0",
                "column 1 (period_start): \"3601\"; allowed: at most 3600 s from one period to the \
                 next; the nearest two, this and line 2, are 3601 s apart"
                    .to_owned(),
            ),
        ] {
            for line_end in ["\n", "\r\n", "\n\n"] {
                let line = if line_end == "\n\n" { 5 } else { 3 };
                let text = [HEADER, "0,1,0,1,0", row].join(line_end);
                let problem = problem.replace("line 2", if line == 5 { "line 3" } else { "line 2" });
                let separator = if problem.starts_with("column") { "," } else { ":" };
                assert_eq!(refused(text), [format!("line {line}{separator} {problem}")]);
            }
        }
    }

    #[test]
    fn slow_requests_are_held_against_the_sides_requests() {
        for (row, problem) in [
            ("1,0,3,0,2,0", "column 6 (slow_old): \"2\"; allowed: at most 1, the side's requests"),
            (
                "1,0,,,0,1",
                "column 7 (slow_new): \"1\"; allowed: nothing, where no requests are counted",
            ),
        ] {
            let text = format!("{HEADER},slow_old,slow_new\n0,{row}");
            assert_eq!(refused(text), [format!("line 2, {problem}")]);
        }
    }

    #[test]
    fn a_faulty_json_line_is_refused_with_its_key_or_its_character() {
        let keys = "the keys period_start, requests_old, errors_old, requests_new, errors_new, \
                    slow_old, slow_new";
        let whole = "a whole number from 0 to 9007199254740992, or nothing";
        let time = "a time as 2026-01-31T08:30:00Z, or seconds since 1970; on a whole second";
        for (line, problem) in [
            ("{}", format!(", period_start: nothing; allowed: {time}")),
            (r#"{"period_start":true}"#, format!(", period_start: true; allowed: {time}")),
            (r#"{"period_start":""}"#, format!(", period_start: \"\"; allowed: {time}")),
            (r#"{"period_start":60.5}"#, format!(", period_start: 60.5; allowed: {time}")),
            (r#"{"period_start":60,"errors":1}"#, format!(": key \"errors\"; allowed: {keys}")),
            (
                r#"{"period_start":60,"period_start":90}"#,
                ", period_start: 90; allowed: each key once".to_owned(),
            ),
            (
                r#"{"period_start":60,"requests_old":1.5,"errors_old":0}"#,
                format!(", requests_old: 1.5; allowed: {whole}"),
            ),
            (
                r#"{"period_start":60,"requests_old":[1],"errors_old":0}"#,
                format!(", requests_old: [1]; allowed: {whole}"),
            ),
            (
                r#"{"period_start":60,"requests_old":5}"#,
                ", errors_old: nothing; allowed: a number beside 5 in requests_old, or nothing in \
                 both"
                    .to_owned(),
            ),
            (
                r#"{"period_start":60,"requests_new":5,"errors_new":6}"#,
                ", errors_new: 6; allowed: at most 5, the side's requests".to_owned(),
            ),
            (
                "{\"größe\": x}",
                ", column 11: \"x}\"; allowed: one JSON object a line (expected value)".to_owned(),
            ),
            (
                "{\"period_start\":60",
                ", column 18: \"0\"; allowed: one JSON object a line (EOF while parsing an object)"
                    .to_owned(),
            ),
            (
                "[60]",
                ", column 1: \"[60]\"; allowed: one JSON object a line (invalid type: sequence, \
                 expected an object)"
                    .to_owned(),
            ),
            (
                "{} {}",
                ", column 4: \"{}\"; allowed: one JSON object a line (trailing characters)"
                    .to_owned(),
            ),
        ] {
            let text = format!("{{\"period_start\":0}}\n\n{line}\n");
            assert_eq!(refused(&text), [format!("line 3{problem}")], "{text}");
        }
    }

    #[test]
    fn every_distance_is_a_multiple_of_the_smallest() {
        let text = format!("{HEADER}\n0,1,0,1,0\n60,1,0,1,0\n110,1,0,1,0\n180,1,0,1,0");
        let allowed = "lines 3 and 4 are 50 s apart";
        assert_eq!(
            refused(text),
            [
                format!(
                    "line 3, column 1 (period_start): \"60\"; allowed: a multiple of 50 s after \
                     line 2, not 60 s; {allowed}"
                ),
                format!(
                    "line 5, column 1 (period_start): \"180\"; allowed: a multiple of 50 s after \
                     line 4, not 70 s; {allowed}"
                ),
            ]
        );
    }

    #[test]
    fn every_problem_is_told_in_the_order_of_the_lines() {
        let text =
            "period_start,requests_old,errors_old,requests_new\n0,1,2,x\n90,y,0,\nz,1,,\n150,0,0,0";
        let places = refused(text).into_iter().map(|problem| {
            let (place, _) = problem.split_once(": ").expect("a place");
            place.to_owned()
        });
        assert_eq!(
            places.collect::<Vec<_>>(),
            [
                "line 1, errors_new",
                "line 2, column 3 (errors_old)",
                "line 2, column 4 (requests_new)",
                "line 3, column 1 (period_start)",
                "line 3, column 2 (requests_old)",
                "line 4, column 1 (period_start)",
                "line 4, column 3 (errors_old)",
            ]
        );
    }

    #[test]
    fn many_problems_are_counted_and_the_first_are_shown() {
        let rows = (0..100).map(|start| format!("\n{start},x,0,0,0"));
        let text = HEADER.to_owned() + &rows.collect::<String>();
        let refused = Series::parse(text.as_bytes()).expect_err("no series");
        assert_eq!((refused.count, refused.problems.len()), (100, PROBLEMS_KEPT_MAX));
        let shown = refused.to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines.first(), Some(&"The series has 100 problems:"));
        assert!(lines[1].starts_with("  line 2, column 2 (requests_old): \"x\"; allowed: "));
        assert!(lines[20].starts_with("  line 21, "));
        assert_eq!(lines.last(), Some(&"  and 80 more"));
        let one = Series::parse(b"").expect_err("no series").to_string();
        assert!(
            one.starts_with("The series has a problem:\n  line 1: nothing; allowed: "),
            "{one}"
        );
    }

    #[test]
    fn what_is_no_utf_8_is_refused_with_its_line() {
        for (input, problem) in [
            (&b"\xff\xfep\0"[..], "line 1, column 1: byte 0xff; allowed: text in UTF-8"),
            ("ü\nü,".as_bytes(), ""),
            (b"a\n\xc3\xbc,\xfc\n", "line 2, column 3: byte 0xfc; allowed: text in UTF-8"),
            (b"a\r\n\r\nb\xe2\x82", "line 3, column 2: byte 0xe2; allowed: text in UTF-8"),
        ] {
            if problem.is_empty() {
                assert!(!refused(input).iter().any(|problem| problem.contains("UTF-8")));
            } else {
                assert_eq!(refused(input), [problem]);
            }
        }
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = format!("{HEADER}\n0,{},0,1,0", "9".repeat(10_000));
        assert!(refused(text)[0].len() < 200);
        let text = format!("{{\"period_start\":0,\"{}\":1,{}", "k".repeat(500), "[".repeat(500));
        assert!(refused(text)[0].len() < 400);
    }

    #[test]
    fn a_file_is_read_up_to_a_bound() {
        let path = std::env::temp_dir().join(format!("cutover-series-{}.csv", std::process::id()));
        File::create(&path).and_then(|mut file| file.write_all(b"abc")).expect("written");
        let path = path.to_str().expect("UTF-8");
        assert_eq!(read(path).expect("readable"), b"abc");
        std::fs::remove_file(path).expect("removed");
        let gone = read(path).expect_err("it is gone").to_string();
        assert!(gone.starts_with(&format!("Could not read {path}: No such file")), "{gone}");

        assert_eq!(up_to(3, &b"abc"[..]).expect("just short enough"), b"abc");
        let long = up_to(3, io::repeat(b'x')).expect_err("it has no end");
        assert_eq!(long.to_string(), "it is longer than 3 bytes");
    }

    /// Whatever comes in, an answer comes out that keeps what it promises.
    fn holds(input: &[u8]) -> Result<(), TestCaseError> {
        match Series::parse(input) {
            Ok(series) => {
                prop_assert!(
                    (1..=PERIOD_S_MAX).contains(&series.period_s) && !series.rows.is_empty()
                );
                for [before, after] in series.rows.array_windows() {
                    let distance_s = after.start.as_second() - before.start.as_second();
                    prop_assert!(distance_s > 0 && distance_s % i64::from(series.period_s) == 0);
                }
                for row in &series.rows {
                    for (side, slow) in [(row.old, row.slow_old), (row.new, row.slow_new)] {
                        let requests = side.map_or(0, |side| side.requests);
                        prop_assert!(requests <= COUNT_MAX && slow.unwrap_or(0) <= requests);
                        prop_assert!(side.is_none_or(|side| side.errors <= requests));
                    }
                }
            }
            Err(refused) => {
                prop_assert!(refused.problems.len() == refused.count.min(PROBLEMS_KEPT_MAX));
                prop_assert!(refused.count > 0 && refused.problems.is_sorted_by_key(|p| p.line));
                let lines = input.split(|byte| *byte == b'\n').count() + 1;
                prop_assert!(refused.problems.iter().all(|p| (1..=lines).contains(&p.line)));
                prop_assert!(!refused.to_string().is_empty());
            }
        }
        Ok(())
    }

    /// What series are made of, and what spoils them.
    fn piece() -> impl Strategy<Value = String> {
        let pieces = [
            ",",
            ",",
            "\n",
            "\n",
            "\r\n",
            "\r",
            "\"",
            "{",
            "}",
            "[",
            ":",
            "null",
            "\u{feff}",
            "ü",
            "period_start",
            "\"period_start\":",
            "\"requests_old\":",
            "\"errors_old\":",
            "errors_new",
            "2026-01-31T08:30:00Z",
            "-9999999999999999999",
            "9007199254740993",
            "0",
            "60",
            "1e400",
        ];
        prop_oneof![
            proptest::sample::select(pieces.map(str::to_owned).to_vec()),
            (0_u64..300).prop_map(|number| number.to_string()),
            proptest::collection::vec(any::<char>(), 0..4).prop_map(|c| c.into_iter().collect()),
        ]
    }

    /// A line of CSV: mostly one that is good.
    fn csv_line() -> impl Strategy<Value = String> {
        let cell = prop_oneof![
            8 => (0_u64..20).prop_map(|count| count.to_string()),
            1 => Just(String::new()),
            1 => piece(),
        ];
        proptest::collection::vec(cell, 4).prop_map(|cells| cells.join(","))
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(input: Vec<u8>) {
            holds(&input)?;
        }

        #[test]
        fn no_text_makes_it_panic(pieces in proptest::collection::vec(piece(), 0..60), header: bool) {
            let header = if header { format!("{HEADER}\n") } else { String::new() };
            holds((header + &pieces.concat()).as_bytes())?;
        }

        #[test]
        fn no_rows_make_it_panic(
            lines in proptest::collection::vec((0_i64..4, csv_line()), 1..8),
            step_s in prop_oneof![Just(60), -60_i64..4_000],
        ) {
            let mut start = 0;
            let rows = lines.into_iter().map(|(steps, line)| {
                start += steps * step_s;
                format!("\n{start},{line}")
            });
            holds((HEADER.to_owned() + &rows.collect::<String>()).as_bytes())?;
        }
    }
}
