//! Records of a JSON file, in any [`Layout`], one at a time.

use crate::describe::{describe, shortened};
use crate::layout::{Layout, WINDOW, blank_start, foreign_text, is_about};
use crate::scan::{ValueScanner, repaired};
use crate::text::{TextInput, utf8};
use crate::{Place, PlaceUnit, Record, RecordError};

/// Reader of the records of a JSON file.
pub(crate) struct JsonReader {
    input: TextInput,
    state: State,
    line: Vec<u8>,
    n_rows: u64,
}

/// Where in the file the reader is.
enum State {
    /// Among lines. `rest` is what stands after an object on its line.
    Lines { rest: Option<(Place, Vec<u8>)> },
    /// Among objects and lists of objects.
    Values,
    /// In a list of objects; `rows` is its key in the object that it belongs to.
    List { begin: Place, is_first: bool, rows: Option<String> },
    /// In an object of objects.
    Entries { begin: Place, is_first: bool },
}

type Next = Result<Option<Record>, RecordError>;

impl JsonReader {
    pub(crate) fn new(mut input: TextInput) -> Result<Self, RecordError> {
        input.skip_space()?;
        let begin = input.place();
        let head = input.peek(WINDOW)?;
        if !matches!(head.first(), None | Some(b'{' | b'['))
            && let Some(what) = foreign_text(&head)
        {
            return Err(RecordError::Format { path: input.file().to_path_buf(), what });
        }
        let state = match Layout::of(&head, head.len() < WINDOW) {
            Layout::Lines => State::Lines { rest: None },
            Layout::Values => State::Values,
            Layout::Rows { key, offset } => {
                input.skip(offset)?;
                State::List { begin, is_first: true, rows: Some(key) }
            }
            Layout::Entries => {
                input.skip(1)?;
                State::Entries { begin, is_first: true }
            }
        };
        Ok(Self { input, state, line: Vec::new(), n_rows: 0 })
    }

    /// The next record.
    pub(crate) fn next_record(&mut self) -> Next {
        match &self.state {
            State::Lines { .. } => self.next_line(),
            State::Values => self.next_value(),
            State::List { .. } => self.next_element(),
            State::Entries { .. } => self.next_entry(),
        }
    }

    fn next_line(&mut self) -> Next {
        if let State::Lines { rest } = &mut self.state
            && let Some((place, line)) = rest.take()
        {
            return self.record_of_line(place, &line);
        }
        loop {
            let place = self.input.place();
            let mut line = std::mem::take(&mut self.line);
            if !self.input.read_line(&mut line)? {
                return Ok(None);
            }
            let record = match blank_start(&line).trim_ascii_end() {
                [] => Ok(None),
                text => self.record_of_line(place, text),
            };
            self.line = line;
            if !matches!(record, Ok(None)) {
                return record;
            }
        }
    }

    /// Record of a line, or of what is left of it after a first object.
    fn record_of_line(&mut self, place: Place, line: &[u8]) -> Next {
        let bad = |what| RecordError::BadRecord { place: place.clone(), what };
        if line[0] != b'{' {
            return Err(bad(no_object(line)));
        }
        let mut scanner = ValueScanner::default();
        let Some(end) = scanner.feed(line) else {
            let text = utf8(line).map_err(bad)?;
            let fault = crate::words::parse_strict(text).err();
            return Err(bad(fault.unwrap_or_else(|| "not JSON: it ends in the middle".to_owned())));
        };
        let after = blank_start(&line[end..]);
        match after.first() {
            None => {}
            Some(b'{') => {
                self.state = State::Lines { rest: Some((place.clone(), after.to_vec())) };
            }
            Some(_) => {
                utf8(line).map_err(bad)?;
                let after = shortened(&String::from_utf8_lossy(after));
                return Err(bad(format!("not JSON: after the object there is `{after}`")));
            }
        }
        record(place, None, &line[..end], scanner.wants_repair)
    }

    fn next_value(&mut self) -> Next {
        match self.input.skip_space()? {
            None => Ok(None),
            Some(b'{') => self.read_record(None),
            Some(b'[') => {
                self.state = State::List { begin: self.input.place(), is_first: true, rows: None };
                self.input.skip(1)?;
                self.next_element()
            }
            Some(_) => {
                let place = self.input.place();
                let mut line = Vec::new();
                self.input.read_line(&mut line)?;
                Err(RecordError::BadRecord { place, what: no_object(line.trim_ascii()) })
            }
        }
    }

    fn next_element(&mut self) -> Next {
        if self.is_at_next(b']')? {
            return self.read_record(None);
        }
        if let State::List { rows: Some(key), .. } = &self.state {
            let key = key.clone();
            self.read_about(&key)?;
        }
        self.state = State::Values;
        self.next_value()
    }

    fn next_entry(&mut self) -> Next {
        if self.is_at_next(b'}')? {
            let key = self.read_key()?;
            return self.read_record(Some(key));
        }
        self.state = State::Values;
        self.next_value()
    }

    /// Goes to the next element of a list or an object; false behind its closing bracket.
    fn is_at_next(&mut self, closing: u8) -> Result<bool, RecordError> {
        let next = self.input.skip_space()?;
        let (State::List { begin, is_first, .. } | State::Entries { begin, is_first }) =
            &mut self.state
        else {
            unreachable!("only lists and objects have elements");
        };
        let was_first = std::mem::replace(is_first, false);
        match next {
            None => {
                let place = begin.clone();
                let closing = closing as char;
                let what =
                    format!("what begins here has no closing `{closing}`: the file was cut off");
                Err(RecordError::Damaged { place, what })
            }
            Some(byte) if byte == closing => self.input.skip(1).map(|()| false),
            Some(b',') if !was_first => {
                self.input.skip(1)?;
                match self.input.skip_space()? {
                    Some(byte) if byte == closing || byte == b',' => {
                        Err(self.damaged("a comma has nothing after it"))
                    }
                    _ => Ok(true),
                }
            }
            Some(b',') => Err(self.damaged("a comma has nothing before it")),
            Some(_) if was_first => Ok(true),
            Some(_) => Err(self.damaged("a comma is missing")),
        }
    }

    /// Reads what stands behind the rows of an object, and its end.
    fn read_about(&mut self, rows: &str) -> Result<(), RecordError> {
        while self.is_at_next(b'}')? {
            let place = self.input.place();
            let key = self.read_key()?;
            self.input.read_value()?;
            if !is_about(&key) {
                let what = format!(
                    "beside the rows in `{rows}` there is `{}`, which is not known: write the rows \
                     as JSON lines",
                    shortened(&key)
                );
                return Err(RecordError::Damaged { place, what });
            }
        }
        Ok(())
    }

    /// Reads a key and its colon, up to the value.
    fn read_key(&mut self) -> Result<String, RecordError> {
        if self.input.skip_space()? != Some(b'"') {
            return Err(self.damaged("a key in double quotes is missing"));
        }
        let (key, _) = self.input.read_value()?;
        let key = serde_json::from_slice(&key).map_err(|_| self.damaged("a key is not JSON"))?;
        if self.input.skip_space()? != Some(b':') {
            return Err(self.damaged("a key has no `:` after it"));
        }
        self.input.skip(1)?;
        self.input.skip_space()?;
        Ok(key)
    }

    /// Reads a record. One in a list or an object is named by its number too: often, the whole list
    /// is one line.
    fn read_record(&mut self, key: Option<String>) -> Next {
        let mut place = self.input.place();
        self.n_rows += 1;
        if matches!(self.state, State::List { .. } | State::Entries { .. }) {
            place.unit = PlaceUnit::RowOnLine(self.n_rows);
        }
        let (value, wants_repair) = self.input.read_value()?;
        record(place, key, &value, wants_repair)
    }

    fn damaged(&self, what: &str) -> RecordError {
        RecordError::Damaged { place: self.input.place(), what: format!("not JSON: {what}") }
    }
}

fn record(place: Place, key: Option<String>, value: &[u8], wants_repair: bool) -> Next {
    let bad = |what| RecordError::BadRecord { place: place.clone(), what };
    if value.first() != Some(&b'{') {
        return Err(bad(no_object(value)));
    }
    let text = utf8(value).map_err(bad)?;
    let text = if wants_repair { repaired(text).into_owned() } else { text.to_owned() };
    Ok(Some(Record::of_json(place, key, text)))
}

/// Says what stands where a record should.
fn no_object(text: &[u8]) -> String {
    if let Err(what) = utf8(text) {
        return what;
    }
    let text = String::from_utf8_lossy(text);
    match serde_json::from_str(&text) {
        Ok(value) => format!("a record is an object of JSON, and this is {}", describe(&value)),
        Err(_) => format!("a record is an object of JSON, and this is `{}`", shortened(&text)),
    }
}
