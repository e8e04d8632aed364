//! Reads a series: what was counted on both sides, period by period, as CSV with a header line or as
//! JSON lines with the same names. A faulty series is refused with all its problems at once.

use std::fs::File;
use std::io::{self, Read};

use csv::{ErrorKind, Position, ReaderBuilder, StringRecord, Trim};
use cutover_core::{Counts, shortened};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Error as _, value::MapDeserializer};
use serde_json::Value;

pub use crate::rows::{Row, Rows};

/// Longest input, in bytes: two years of minutes as CSV. A pipe need not end by itself.
const INPUT_BYTES_MAX: u64 = 64 << 20;

/// Highest count: up to here every whole number is an `f64`. Source: RFC 8259, section 6.
const COUNT_MAX: u64 = 1 << 53;

/// Longest period, in seconds.
const PERIOD_S_MAX: i64 = 3_600;

/// The period of a series of one row, in seconds.
const PERIOD_S_ALONE: i64 = 60;

/// Problems that are shown; the others are only counted.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// Longer values are cut in a problem.
const VALUE_CHARS_MAX: usize = 60;

/// The columns of CSV and the keys of JSON.
const NAMES: [&str; 10] = [
    "period_start",
    "requests_old",
    "errors_old",
    "requests_new",
    "errors_new",
    "slow_old",
    "slow_new",
    "refused_old",
    "refused_new",
    "intended",
];

/// Of [`NAMES`], those without which CSV is no series.
const REQUIRED: usize = 5;

/// Of [`NAMES`], those that may be left out, but not one alone.
const TOGETHER: [[&str; 2]; 2] = [["slow_old", "slow_new"], ["refused_old", "refused_new"]];

/// One line as it is written. `Null`: nothing.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    period_start: Value,
    requests_old: Value,
    errors_old: Value,
    requests_new: Value,
    errors_new: Value,
    slow_old: Value,
    slow_new: Value,
    refused_old: Value,
    refused_new: Value,
    intended: Value,
}

/// What was counted on both sides, period by period.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Length of a period, in seconds, 1 to 3,600.
    pub period_s: u32,
    /// At least one row, oldest first, apart by multiples of `period_s`: a period may be missing.
    pub rows: Rows,
}

impl Series {
    /// Reads CSV, or JSON lines when the first character that is not blank is `{`. Rows may stand oldest first
    /// or newest first; whole numbers may be written as decimals (`1200.0`).
    ///
    /// # Errors
    /// Every problem on a line of its own, when the input is no series.
    pub fn parse(input: &[u8]) -> Result<Self, String> {
        let mut reading = Reading::default();
        let input = input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input);
        match input.trim_ascii_start() {
            [b'{' | b'[', ..] => reading.json(input),
            _ => reading.csv(input),
        }
        let period_s = reading.period_s();
        reading.problems.none()?;
        Ok(Self { period_s, rows: reading.rows })
    }
}

/// Reads a file, or standard input for `-`.
///
/// # Errors
/// A sentence, when there is no such file, when it cannot be read, or when it is longer than 64 MiB.
pub fn read(path: &str) -> Result<Vec<u8>, String> {
    let (name, read) = if path == "-" {
        ("standard input", up_to(INPUT_BYTES_MAX, io::stdin().lock()))
    } else {
        (path, File::open(path).and_then(|file| up_to(INPUT_BYTES_MAX, file)))
    };
    read.map_err(|e| format!("Could not read {name}: {e}"))
}

fn up_to(bytes_max: u64, from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = vec![];
    // One byte more tells a full measure from too much.
    if from.take(bytes_max + 1).read_to_end(&mut bytes)? as u64 > bytes_max {
        let message = format!("it is longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// Every reason why an input is no series.
#[derive(Default)]
struct Problems {
    /// Line, from 1, and sentence of those that are shown.
    shown: Vec<(u64, String)>,
    count: usize,
}

impl Problems {
    fn add(&mut self, line: u64, name: &str, found: &str, allowed: &str) {
        self.count += 1;
        if self.count <= PROBLEMS_SHOWN_MAX {
            let comma = if name.is_empty() { "" } else { ", " };
            let problem = format!("\n  line {line}{comma}{name}: {found}; allowed: {allowed}");
            self.shown.push((line, problem));
        }
    }

    /// `Err`: what they are, in the order of their lines.
    fn none(&mut self) -> Result<(), String> {
        self.shown.sort_by_key(|(line, _)| *line);
        let shown: String = self.shown.iter().map(|(_, problem)| problem.as_str()).collect();
        match (self.count, self.count - self.shown.len()) {
            (0, _) => Ok(()),
            (count, 0) => Err(format!("The series has {count} problem(s):{shown}")),
            (count, more) => {
                Err(format!("The series has {count} problem(s):{shown}\n  and {more} more"))
            }
        }
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reading {
    /// Rows whose start could be read.
    rows: Rows,
    /// The line of each.
    lines: Vec<u32>,
    /// Columns that the header lacks, which is one problem and not one a row.
    missing: Vec<&'static str>,
    problems: Problems,
}

impl Reading {
    fn json(&mut self, input: &[u8]) {
        for (line, text) in (1..).zip(input.split(|byte| *byte == b'\n')) {
            match text.trim_ascii() {
                [] => {}
                text @ [b'{', ..] => self.row(line, text, serde_json::from_slice(text)),
                // serde would take an array for the values of an object.
                text => self.row(line, text, Err(serde_json::Error::custom("this is no object"))),
            }
        }
    }

    fn csv(&mut self, input: &[u8]) {
        let mut csv = ReaderBuilder::new();
        csv.has_headers(false).flexible(true).trim(Trim::All);
        let mut csv = csv.from_reader(input);
        let mut header = None;
        for record in csv.records() {
            let at = |position| line(input, position);
            match (record, &header) {
                (Err(e), _) => {
                    let why = match e.kind() {
                        ErrorKind::Utf8 { err, .. } => err.to_string(),
                        _ => e.to_string(),
                    };
                    self.problems.add(at(e.position()), "", &why, "CSV in UTF-8");
                }
                // A line of blanks.
                (Ok(record), _) if record.len() == 1 && record.as_slice().is_empty() => {}
                (Ok(record), None) => {
                    header = Some(self.csv_header(at(record.position()), &record));
                }
                (Ok(record), Some(header)) => {
                    self.csv_row(at(record.position()), header, &record);
                }
            }
        }
        if self.rows.is_empty() && self.problems.count == 0 {
            let allowed = format!("a header line of {}, and at least one row", NAMES.join(", "));
            self.problems.add(csv.position().line(), "", "nothing", &allowed);
        }
    }

    /// The names of the columns; `None` for one whose name is refused.
    fn csv_header(&mut self, line: u64, record: &StringRecord) -> Vec<Option<&'static str>> {
        let mut header = vec![];
        for (column, found) in (1..).zip(record) {
            let known = NAMES.into_iter().find(|name| *name == found);
            let fresh = known.filter(|_| !header.contains(&known));
            if fresh.is_none() {
                let (name, found) = (format!("column {column}"), quoted(found.as_bytes()));
                self.problems.add(line, &name, &found, &format!("each once: {}", NAMES.join(", ")));
            }
            header.push(fresh);
        }
        let is_there = |name: &&str| header.contains(&Some(*name));
        let together = TOGETHER.into_iter().filter(|both| both.iter().any(&is_there));
        let wanted = NAMES.into_iter().take(REQUIRED).chain(together.flatten());
        self.missing = wanted.filter(|name| !is_there(name)).collect();
        for name in &self.missing {
            let allowed = "a column of this name; only slow_old and slow_new, or refused_old and refused_new, may be \
                           left out together";
            self.problems.add(line, name, "nothing", allowed);
        }
        header
    }

    fn csv_row(&mut self, line: u64, header: &[Option<&str>], record: &StringRecord) {
        if record.len() != header.len() {
            let allowed = format!("{} fields, as in the header", header.len());
            self.problems.add(line, "", &format!("{} fields", record.len()), &allowed);
            return;
        }
        let cells = header.iter().zip(record).filter_map(|(name, value)| Some(((*name)?, value)));
        let cells = MapDeserializer::new(cells.filter(|(_, value)| !value.is_empty()));
        self.row(line, record.as_slice().as_bytes(), Fields::deserialize(cells));
    }

    fn row(&mut self, line: u64, text: &[u8], fields: serde_json::Result<Fields>) {
        let fields = match fields {
            Ok(fields) => fields,
            Err(e) => {
                let why = e.to_string().replace("at line 1 column", "at column");
                let why = shortened(&why, 200);
                let allowed = format!(
                    "one JSON object a line, in no array, each key once ({})",
                    why.escape_debug()
                );
                return self.problems.add(line, "", &quoted(text), &allowed);
            }
        };
        let Fields { requests_old, errors_old, slow_old, refused_old, .. } = &fields;
        let Fields { requests_new, errors_new, slow_new, refused_new, .. } = &fields;
        let start = self.start(line, &fields.period_start);
        let old = self.side(line, "old", [requests_old, errors_old, slow_old, refused_old]);
        let new = self.side(line, "new", [requests_new, errors_new, slow_new, refused_new]);
        let intended = self.intended(line, &fields.intended);
        let ((old, slow_old, refused_old), (new, slow_new, refused_new)) = (old, new);
        if let Some(start) = start {
            self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
            self.rows.push(&Row {
                start,
                old,
                new,
                slow_old,
                slow_new,
                refused_old,
                refused_new,
                intended,
            });
        }
    }

    fn intended(&mut self, line: u64, value: &Value) -> Option<f64> {
        let share = plain(value).parse().ok().filter(|share| (0.0..=1.0).contains(share));
        if share.is_none() && !value.is_null() {
            self.refuse(line, "intended", value, "a share from 0 to 1, or nothing");
        }
        share
    }

    /// Adds a problem of a field, unless the header lacks its column, which is a problem already.
    fn refuse(&mut self, line: u64, name: &str, value: &Value, allowed: &str) {
        if !self.missing.contains(&name) {
            self.problems.add(line, name, &shown(value), allowed);
        }
    }

    fn start(&mut self, line: u64, value: &Value) -> Option<Timestamp> {
        let text = plain(value);
        let second = whole(&text).and_then(|second| Timestamp::from_second(second).ok());
        let start =
            second.or_else(|| text.parse().ok()).filter(|start| start.subsec_nanosecond() == 0);
        if start.is_none() {
            let allowed =
                "a time as 2026-01-31T08:30:00Z, or seconds since 1970; on a whole second";
            self.refuse(line, "period_start", value, allowed);
        }
        start
    }

    /// `Err`: refused.
    fn count(&mut self, line: u64, name: &str, value: &Value) -> Result<Option<u64>, ()> {
        if value.is_null() {
            return Ok(None);
        }
        let count = whole(&plain(value)).and_then(|count| u64::try_from(count).ok());
        if let Some(count) = count.filter(|count| *count <= COUNT_MAX) {
            return Ok(Some(count));
        }
        let allowed = format!("a whole number from 0 to {COUNT_MAX}, or nothing");
        self.refuse(line, name, value, &allowed);
        Err(())
    }

    /// Reads one side's counts, its slow and its refused requests from its requests, errors, slow and refused
    /// requests.
    fn side(
        &mut self,
        line: u64,
        side: &str,
        values: [&Value; 4],
    ) -> (Option<Counts>, Option<u64>, Option<u64>) {
        let names = ["requests", "errors", "slow", "refused"].map(|what| format!("{what}_{side}"));
        let cells = || names.iter().zip(values);
        let counts: Vec<_> = cells().map(|(name, value)| self.count(line, name, value)).collect();
        if let [Ok(Some(requests)), Ok(Some(errors)), Ok(slow), Ok(refused)] = counts[..] {
            // A request is counted when it comes, an error or a slow answer when it is answered, which may
            // be a period later.
            let requests = requests.max(errors);
            let most = |count: Option<u64>| count.map(|count| count.min(requests));
            return (Some(Counts { requests, errors }), most(slow), most(refused));
        }
        if let Some((given, beside)) = cells().find(|(_, value)| !value.is_null()) {
            let allowed =
                format!("a number beside {} in {given}, or nothing in both", shown(beside));
            for (name, value) in cells().take(2).filter(|(_, value)| value.is_null()) {
                self.refuse(line, name, value, &allowed);
            }
        }
        (None, None, None)
    }

    /// Puts the rows into the order of time, and finds their period: the smallest distance between two,
    /// of which every other must be a multiple.
    fn period_s(&mut self) -> u32 {
        let distance_s = |[before, after]: &[i64; 2]| after - before;
        let backward = self.rows.starts().array_windows().filter(|pair| distance_s(pair) < 0);
        if 2 * backward.count() >= self.rows.len() {
            self.rows.reverse();
            self.lines.reverse();
        }
        let (starts, lines) = (self.rows.starts(), &self.lines);
        let pairs = || starts.array_windows().zip(lines.array_windows());
        let forward = pairs().filter(|(pair, _)| distance_s(pair) > 0);
        let nearest = forward.min_by_key(|(pair, _)| distance_s(pair));
        let period_s = nearest.map_or(PERIOD_S_ALONE, |(pair, _)| distance_s(pair));
        let [from, to] = nearest.map_or([0; 2], |(_, lines)| *lines);
        for (pair @ [_, start], [before, line]) in pairs() {
            let seconds = distance_s(pair);
            let allowed = if seconds <= 0 {
                format!("later than line {before}")
            } else if seconds % period_s != 0 {
                format!(
                    "a multiple of {period_s} s after line {before}, not {seconds} s; lines {from} and {to} are \
                     {period_s} s apart"
                )
            } else if period_s > PERIOD_S_MAX && *line == to {
                format!(
                    "at most {PERIOD_S_MAX} s after line {before}, not {seconds} s; no two lines are nearer"
                )
            } else {
                continue;
            };
            let start = Timestamp::from_second(*start).unwrap_or_default().to_string();
            self.problems.add(u64::from(*line), "period_start", &start, &allowed);
        }
        u32::try_from(period_s).unwrap_or(u32::MAX)
    }
}

/// The line of a record: its position is that of the empty lines before it.
fn line(input: &[u8], position: Option<&Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let byte = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let before = input.iter().skip(byte).take_while(|byte| matches!(byte, b'\r' | b'\n'));
    before.filter(|byte| **byte == b'\n').fold(position.line(), |line, _| line + 1)
}

/// A whole number, which may be written as a decimal: 1200.0.
fn whole(text: &str) -> Option<i64> {
    let (digits, zeros) = text.split_once('.').unwrap_or((text, "0"));
    let is_whole = zeros.starts_with('0') && zeros.bytes().all(|zero| zero == b'0');
    digits.parse().ok().filter(|_| is_whole && !digits.starts_with('+'))
}

/// A value as it is written, without the quotes of JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => quoted(text.as_bytes()),
        other => shortened(&other.to_string(), VALUE_CHARS_MAX),
    }
}

fn quoted(text: &[u8]) -> String {
    format!("{:?}", shortened(&String::from_utf8_lossy(text), VALUE_CHARS_MAX))
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
        let (old, new) = (old.into(), new.into());
        Row {
            start,
            old,
            new,
            slow_old: None,
            slow_new: None,
            refused_old: None,
            refused_new: None,
            intended: None,
        }
    }

    fn parsed(text: &str) -> Series {
        Series::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}\n{e}"))
    }

    /// The problems as they are shown.
    fn refused(input: impl AsRef<[u8]>) -> Vec<String> {
        let refused = Series::parse(input.as_ref()).expect_err("no series");
        refused.lines().skip(1).map(|problem| problem.trim_start().to_owned()).collect()
    }

    #[test]
    fn a_series_is_read_from_each_of_its_spellings() {
        let wanted = Series {
            period_s: 60,
            rows: Rows::from_iter([
                row(1_769_848_200, counts(100, 1), counts(10, 0)),
                row(1_769_848_260, None, counts(0, 0)),
                // A period is missing before this one.
                row(1_769_848_380, counts(90, 90), None),
            ]),
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
    fn refused_requests_and_the_intended_share_may_be_there() {
        let csv = format!(
            "{HEADER},refused_old,refused_new,intended\n0,10,1,5,1,3,9,0.1\n60,10,1,5,1,,,"
        );
        let json = r#"{"period_start":0,"requests_old":10,"errors_old":1,"requests_new":5,"errors_new":1,"refused_old":3,"refused_new":9,"intended":0.1}
            {"period_start":60,"requests_old":10,"errors_old":1,"requests_new":5,"errors_new":1}"#;
        for text in [csv.as_str(), json] {
            let rows = parsed(text).rows;
            let seen: Vec<_> =
                rows.iter().map(|r| (r.refused_old, r.refused_new, r.intended)).collect();
            assert_eq!(seen, [(Some(3), Some(5), Some(0.1)), (None, None, None)]);
        }
        for share in ["1.5", "-0.1", "NaN", "half"] {
            let text = format!("{HEADER},intended\n0,1,0,1,0,{share}");
            let allowed = "a share from 0 to 1, or nothing";
            assert_eq!(
                refused(text),
                [format!("line 2, intended: \"{share}\"; allowed: {allowed}")]
            );
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
        let rows: Vec<Row> = parsed(&text).rows.iter().collect();
        assert_eq!(rows, [row(0, counts(COUNT_MAX, COUNT_MAX), counts(7, 0))]);
    }

    #[test]
    fn a_faulty_header_is_refused_by_name() {
        let columns = "period_start, requests_old, errors_old, requests_new, errors_new, slow_old, slow_new, refused_old, \
             refused_new, intended";
        for (header, problems) in [
            ("", vec![format!("line 1: nothing; allowed: a header line of {columns}, and at least one row")]),
            (
                "period_start,requests_old,errors_old,requests_new",
                vec!["line 1, errors_new: nothing; allowed: a column of this name; only slow_old and slow_new, or refused_old and refused_new, may be left out together".to_owned()],
            ),
            (
                "period_start,requests_old,errors_old,requests_new,Errors_New,",
                vec![
                    format!("line 1, column 5: \"Errors_New\"; allowed: each once: {columns}"),
                    format!("line 1, column 6: \"\"; allowed: each once: {columns}"),
                    "line 1, errors_new: nothing; allowed: a column of this name; only slow_old and slow_new, or refused_old and refused_new, may be left out together".to_owned(),
                ],
            ),
            (
                "period_start,requests_old,errors_old,requests_new,errors_new,errors_old",
                vec![format!("line 1, column 6: \"errors_old\"; allowed: each once: {columns}")],
            ),
            (
                "period_start,requests_old,errors_old,requests_new,errors_new,slow_new",
                vec![
                    "line 1, slow_old: nothing; allowed: a column of this name; only slow_old and slow_new, or refused_old and refused_new, may be left out together"
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
            [format!(
                "line 4: nothing; allowed: a header line of {}, and at least one row",
                NAMES.join(", ")
            )]
        );
    }

    #[test]
    fn a_faulty_csv_row_is_refused_with_its_line_column_and_value() {
        let whole = "a whole number from 0 to 9007199254740992, or nothing";
        let time = "a time as 2026-01-31T08:30:00Z, or seconds since 1970; on a whole second";
        let beside = |given: &str| format!("a number beside {given}, or nothing in both");
        for (row, place, found, allowed) in [
            ("60,1,0,1", "", "4 fields", "5 fields, as in the header"),
            ("60,1,0,1,0,0", "", "6 fields", "5 fields, as in the header"),
            ("60,\"1,0,1,0", "", "2 fields", "5 fields, as in the header"),
            (",1,0,1,0", "period_start", "nothing", time),
            ("-,1,0,1,0", "period_start", "\"-\"", time),
            ("60.5,1,0,1,0", "period_start", "\"60.5\"", time),
            ("2026-01-31T08:30:00,1,0,1,0", "period_start", "\"2026-01-31T08:30:00\"", time),
            ("2026-01-31T08:30:00.5Z,1,0,1,0", "period_start", "\"2026-01-31T08:30:00.5Z\"", time),
            ("1769848200000,1,0,1,0", "period_start", "\"1769848200000\"", time),
            ("60,x7,0,1,0", "requests_old", "\"x7\"", whole),
            ("60,+7,0,1,0", "requests_old", "\"+7\"", whole),
            ("60,1,0,-1,0", "requests_new", "\"-1\"", whole),
            ("60,1.5,0,1,0", "requests_old", "\"1.5\"", whole),
            ("60,12.,0,1,0", "requests_old", "\"12.\"", whole),
            ("60,.0,0,1,0", "requests_old", "\".0\"", whole),
            ("60,1.0.0,0,1,0", "requests_old", "\"1.0.0\"", whole),
            ("60,1e3,0,1,0", "requests_old", "\"1e3\"", whole),
            ("60,9007199254740993,0,1,0", "requests_old", "\"9007199254740993\"", whole),
            ("60,99999999999999999999,0,1,0", "requests_old", "\"99999999999999999999\"", whole),
            ("60,\u{1b}[0m,0,1,0", "requests_old", "\"\\u{1b}[0m\"", whole),
            ("60,1,0,3,", "errors_new", "nothing", &beside("\"3\" in requests_new")),
            ("60,,0,3,0", "requests_old", "nothing", &beside("\"0\" in errors_old")),
        ] {
            for (line_ends, lines) in [("\n", 3), ("\r\n", 3), ("\n\n", 5), ("\r\n \r\n\r\n", 7)] {
                let text = [HEADER, "0,1,0,1,0", row].join(line_ends);
                let comma = if place.is_empty() { "" } else { ", " };
                let problem = format!("line {lines}{comma}{place}: {found}; allowed: {allowed}");
                assert_eq!(refused(text), [problem]);
            }
        }
    }

    #[test]
    fn a_row_after_a_quoted_line_end_is_refused_with_its_own_line() {
        let text = format!("{HEADER}\n0,\"1\n\",0,1,0\n\n60,x,0,1,0");
        assert!(refused(text)[0].starts_with("line 5, requests_old: \"x\""));
    }

    #[test]
    fn slow_requests_need_requests() {
        let text = format!("{HEADER},slow_old,slow_new\n0,1,0,,,0,1");
        let allowed = "a number beside \"1\" in slow_new, or nothing in both";
        assert_eq!(
            refused(text),
            ["requests_new", "errors_new"]
                .map(|name| format!("line 2, {name}: nothing; allowed: {allowed}"))
        );
    }

    #[test]
    fn periods_are_an_hour_at_most() {
        let text = format!("{HEADER}\n0,1,0,1,0\n3601,1,0,1,0\n10803,1,0,1,0");
        let allowed = "at most 3600 s after line 2, not 3601 s; no two lines are nearer";
        assert_eq!(
            refused(text),
            [format!("line 3, period_start: 1970-01-01T01:00:01Z; allowed: {allowed}")]
        );
    }

    #[test]
    fn what_cloudwatch_exports_is_a_series() {
        let wanted = Series {
            period_s: 60,
            rows: Rows::from_iter([
                row(0, counts(1_200, 0), None),
                // An error may be counted a period after its request.
                Row { slow_old: Some(3), ..row(60, counts(3, 3), counts(0, 0)) },
                row(120, counts(1_000, 0), counts(10, 1)),
            ]),
        };
        let header = format!("{HEADER},slow_old,slow_new");
        let newest_first =
            ["120.0,1000.0,0.00,10.0,1.0,,", "60,1.0,3.0,0.0,0.0,4.0,", "0,1200,0,,,,"];
        let mut oldest_first = newest_first;
        oldest_first.reverse();
        for rows in [newest_first, oldest_first] {
            assert_eq!(parsed(&format!("{header}\n{}", rows.join("\n"))), wanted, "{rows:?}");
        }
        let json = r#"{"period_start":120,"requests_old":1000.0,"errors_old":0.0,"requests_new":10.0,"errors_new":1}
            {"period_start":60.0,"requests_old":1.0,"errors_old":3,"requests_new":0.0,"errors_new":0,"slow_old":4}
            {"period_start":0,"requests_old":"1200.0","errors_old":"0.0"}"#;
        assert_eq!(parsed(json), wanted);
    }

    #[test]
    fn rows_out_of_order_are_refused() {
        for (starts, problems) in [
            (
                &[0, 60, 60][..],
                &["line 4, period_start: 1970-01-01T00:01:00Z; allowed: later than line 3"][..],
            ),
            (&[0, 0], &["line 3, period_start: 1970-01-01T00:00:00Z; allowed: later than line 2"]),
            (
                &[0, 60, 120, 60],
                &["line 5, period_start: 1970-01-01T00:01:00Z; allowed: later than line 4"],
            ),
            (
                &[180, 60, 120, 0],
                &["line 3, period_start: 1970-01-01T00:01:00Z; allowed: later than line 4"],
            ),
        ] {
            let rows = starts.iter().map(|start| format!("\n{start},1,0,1,0"));
            assert_eq!(
                refused(HEADER.to_owned() + &rows.collect::<String>()),
                problems,
                "{starts:?}"
            );
        }
    }

    #[test]
    fn a_faulty_json_line_is_refused_with_its_key_or_its_column() {
        let whole = "a whole number from 0 to 9007199254740992, or nothing";
        let time = "a time as 2026-01-31T08:30:00Z, or seconds since 1970; on a whole second";
        for (line, place, found, allowed) in [
            ("{}", "period_start", "nothing", time),
            (r#"{"period_start":true}"#, "period_start", "true", time),
            (r#"{"period_start":""}"#, "period_start", "\"\"", time),
            (r#"{"period_start":60.5}"#, "period_start", "60.5", time),
            (
                r#"{"period_start":60,"requests_old":1.5,"errors_old":0}"#,
                "requests_old",
                "1.5",
                whole,
            ),
            (
                r#"{"period_start":60,"requests_old":[1],"errors_old":0}"#,
                "requests_old",
                "[1]",
                whole,
            ),
            (
                r#"{"period_start":60,"requests_old":"1_0","errors_old":0}"#,
                "requests_old",
                "\"1_0\"",
                whole,
            ),
            (
                r#"{"period_start":60,"requests_old":5}"#,
                "errors_old",
                "nothing",
                "a number beside 5 in requests_old, or nothing in both",
            ),
        ] {
            let text = format!("{{\"period_start\":0}}\n\n{line}\n");
            assert_eq!(refused(&text), [format!("line 3, {place}: {found}; allowed: {allowed}")]);
        }
        let keys = "`period_start`, `requests_old`, `errors_old`, `requests_new`, `errors_new`, \
                    `slow_old`, `slow_new`, `refused_old`, `refused_new`, `intended`";
        for (line, why) in [
            (
                r#"{"errors":1}"#,
                format!("unknown field `errors`, expected one of {keys} at column 9"),
            ),
            (
                r#"{"slow_old":6,"slow_old":9}"#,
                "duplicate field `slow_old` at column 24".to_owned(),
            ),
            ("{\"slow_old\": x}", "expected value at column 14".to_owned()),
            ("{\"period_start\":60", "EOF while parsing an object at column 18".to_owned()),
            ("{} {}", "trailing characters at column 4".to_owned()),
            (r#"[{"period_start": 0}]"#, "this is no object".to_owned()),
            ("[60]", "this is no object".to_owned()),
        ] {
            let text = format!("{{\"period_start\":0}}\n\n{line}\n");
            let allowed = format!("one JSON object a line, in no array, each key once ({why})");
            assert_eq!(refused(&text), [format!("line 3: {line:?}; allowed: {allowed}")]);
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
                    "line 3, period_start: 1970-01-01T00:01:00Z; allowed: a multiple of 50 s after \
                     line 2, not 60 s; {allowed}"
                ),
                format!(
                    "line 5, period_start: 1970-01-01T00:03:00Z; allowed: a multiple of 50 s after \
                     line 4, not 70 s; {allowed}"
                ),
            ]
        );
    }

    #[test]
    fn every_problem_is_shown_in_the_order_of_the_lines() {
        let text = "period_start,requests_old,errors_old,requests_new\n0,1,2.5,x\n90,y,0,\nz,1,,\n150,0,0,0\n\
             150,0,0,0\n210,z,0,0";
        let places = refused(text).into_iter().map(|problem| {
            let (place, _) = problem.split_once(": ").expect("a place");
            place.to_owned()
        });
        assert_eq!(
            places.collect::<Vec<_>>(),
            [
                "line 1, errors_new",
                "line 2, errors_old",
                "line 2, requests_new",
                "line 3, requests_old",
                "line 3, period_start",
                "line 4, period_start",
                "line 4, errors_old",
                "line 6, period_start",
                "line 7, requests_old",
            ]
        );
    }

    #[test]
    fn many_problems_are_counted_and_the_first_are_shown() {
        let rows = (0..100).map(|start| format!("\n{start},x,0,0,0"));
        let text = HEADER.to_owned() + &rows.collect::<String>();
        let refused = Series::parse(text.as_bytes()).expect_err("no series");
        let lines: Vec<_> = refused.lines().collect();
        assert_eq!(lines.len(), 1 + PROBLEMS_SHOWN_MAX + 1);
        assert_eq!(lines[0], "The series has 100 problem(s):");
        assert!(lines[1].starts_with("  line 2, requests_old: \"x\"; allowed: "));
        assert!(lines[20].starts_with("  line 21, "));
        assert_eq!(lines[21], "  and 80 more");
        let one = Series::parse(b"").expect_err("no series");
        assert!(
            one.starts_with("The series has 1 problem(s):\n  line 1: nothing; allowed: "),
            "{one}"
        );
    }

    #[test]
    fn what_is_no_utf_8_is_refused_with_its_line() {
        let csv = [HEADER.as_bytes(), b"\n\n0,1,\xfc,1,0\n60,x,0,1,0\n120,1,0,1,\xe2\x82"].concat();
        let problems = refused(csv);
        assert_eq!(
            problems[0],
            "line 3: invalid utf-8: invalid UTF-8 in field 2 near byte index 0; allowed: CSV in UTF-8"
        );
        assert!(problems[1].starts_with("line 4, requests_old: \"x\""));
        assert!(problems[2].starts_with("line 5: invalid utf-8: invalid UTF-8 in field 4"));
        assert_eq!(problems.len(), 3);
        let json = refused(b"{\"period_start\":0}\n{\"slow_old\":\"\xfc\"}");
        assert!(
            json[0].starts_with("line 2: ") && json[0].contains("invalid unicode code point"),
            "{json:?}"
        );
        let utf_16 = refused(b"\xff\xfep\0");
        assert!(utf_16[0].starts_with("line 1: invalid utf-8"), "{utf_16:?}");
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
        let gone = read(path).expect_err("it is gone");
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
                    (1..=PERIOD_S_MAX).contains(&i64::from(series.period_s))
                        && !series.rows.is_empty()
                );
                for [before, after] in series.rows.starts().array_windows() {
                    let distance_s = after - before;
                    prop_assert!(distance_s > 0 && distance_s % i64::from(series.period_s) == 0);
                }
                for row in series.rows.iter() {
                    for (side, slow) in [(row.old, row.slow_old), (row.new, row.slow_new)] {
                        let requests = side.map_or(0, |side| side.requests);
                        prop_assert!(requests <= COUNT_MAX && slow.unwrap_or(0) <= requests);
                        prop_assert!(side.is_none_or(|side| side.errors <= requests));
                    }
                }
            }
            Err(refused) => {
                let numbers: Vec<usize> = refused
                    .lines()
                    .filter_map(|problem| {
                        problem.strip_prefix("  line ")?.split([',', ':']).next()?.parse().ok()
                    })
                    .collect();
                let lines = input.split(|byte| *byte == b'\n').count();
                prop_assert!((1..=PROBLEMS_SHOWN_MAX).contains(&numbers.len()), "{}", refused);
                prop_assert!(
                    numbers.is_sorted() && numbers.iter().all(|line| (1..=lines).contains(line))
                );
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
