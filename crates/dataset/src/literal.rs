//! Literals in texts: lists and dictionaries as Python, `NumPy` and JSON print them.
//!
//! A table that went through CSV, or a column that was written with `str`, holds `['a' 'b']`,
//! `['a', 'b']`, `["a"]` or `array(['a'], dtype=object)`. [`parse`] reads such a text whole or not
//! at all. Numbers with a point stay texts, so that their digits stay.

use serde_json::{Map, Value};

/// Nesting beyond which a text is no list.
const DEEPEST: usize = 32;

/// What a text that may be a list is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reading {
    /// A text like any other.
    Text,
    /// A list or an object, for certain.
    Literal(Value),
    /// It may be a list: numbers in brackets, or a list that breaks off.
    Unclear,
}

/// Reads a text that may be a list.
pub(crate) fn read(text: &str) -> Reading {
    let text = text.trim();
    if !text.starts_with(['[', '(', '{']) && !text.starts_with("array(") {
        return Reading::Text;
    }
    match parse(text) {
        Some((value, true)) => Reading::Literal(value),
        Some((value, false)) if is_empty(&value) || text.starts_with("array(") => {
            Reading::Literal(value)
        }
        Some(_) if text.starts_with('[') => Reading::Unclear,
        None if looks_cut(text) => Reading::Unclear,
        Some(_) | None => Reading::Text,
    }
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Array(items) if items.is_empty())
}

/// A text that begins as only lists of texts do.
fn looks_cut(text: &str) -> bool {
    ["['", "[\"", "[[", "[{", "[array(", "[np.", "array([", "{'", "{\""]
        .iter()
        .any(|start| text.starts_with(start))
}

/// Parses a whole text, and says whether it has a text in quotes; `None` if it is no literal.
fn parse(text: &str) -> Option<(Value, bool)> {
    let mut parser = Parser { rest: text, has_text: false };
    let value = parser.value(0)?;
    parser.skip_blanks();
    parser.rest.is_empty().then_some((value, parser.has_text))
}

struct Parser<'a> {
    rest: &'a str,
    has_text: bool,
}

impl Parser<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_blanks();
        let rest = self.rest.strip_prefix(token);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEEPEST {
            return None;
        }
        self.skip_blanks();
        match self.rest.chars().next()? {
            '[' => self.items(depth, "[", "]"),
            '(' => self.tuple(depth),
            '{' => self.object_or_set(depth),
            '\'' | '"' => self.text().map(Value::String),
            first if first.is_ascii_alphabetic() => self.word(depth),
            _ => self.number(),
        }
    }

    /// Items up to the closing bracket, with commas as in Python, or without as in `NumPy`.
    fn items(&mut self, depth: usize, open: &str, close: &str) -> Option<Value> {
        if !self.take(open) {
            return None;
        }
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value(depth + 1)?);
            self.take(",");
        }
        Some(Value::Array(items))
    }

    /// A tuple has a comma: other round brackets are those of a text.
    fn tuple(&mut self, depth: usize) -> Option<Value> {
        let before = self.rest;
        let value = self.items(depth, "(", ")")?;
        let read = &before[..before.len() - self.rest.len()];
        let is_tuple = read.contains(',') || is_empty(&value);
        is_tuple.then_some(value)
    }

    fn object_or_set(&mut self, depth: usize) -> Option<Value> {
        self.take("{");
        let (mut object, mut set) = (Map::new(), Vec::new());
        while !self.take("}") {
            let key = self.value(depth + 1)?;
            if self.take(":") {
                let Value::String(key) = key else { return None };
                let value = self.value(depth + 1)?;
                object.insert(key, value);
            } else {
                set.push(key);
            }
            self.take(",");
        }
        match (object.is_empty(), set.is_empty()) {
            (_, true) => Some(Value::Object(object)),
            (true, false) => Some(Value::Array(set)),
            (false, false) => None,
        }
    }

    /// `None`, `true`, `nan`, `array(…)`, `np.str_(…)`.
    fn word(&mut self, depth: usize) -> Option<Value> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._".contains(c)));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match word {
            "None" | "null" | "nan" | "NaN" | "NaT" => Some(Value::Null),
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            "u" if rest.starts_with(['\'', '"']) => self.text().map(Value::String),
            "array" | "list" | "tuple" => self.call(depth),
            _ if word.starts_with("np.") || word.starts_with("numpy.") => self.call(depth),
            _ => None,
        }
    }

    /// The first argument of a call; `dtype` and its like say nothing about the content.
    fn call(&mut self, depth: usize) -> Option<Value> {
        if !self.take("(") {
            return None;
        }
        let value = self.value(depth + 1)?;
        if self.take(",") {
            let end = self.rest.find(')')?;
            let argument = self.rest[..end].trim();
            if !(argument.is_empty()
                || argument.starts_with("dtype=")
                || argument.starts_with("shape="))
            {
                return None;
            }
            self.rest = &self.rest[end..];
        }
        self.take(")").then_some(value)
    }

    fn number(&mut self) -> Option<Value> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
        let (token, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        token.parse::<f64>().ok()?;
        self.rest = rest;
        Some(token.parse::<i64>().map_or_else(|_| Value::String(token.to_owned()), Value::from))
    }

    fn text(&mut self) -> Option<String> {
        let quote = self.rest.chars().next()?;
        let mut chars = self.rest.char_indices().skip(1);
        let mut text = String::new();
        loop {
            let (at, c) = chars.next()?;
            if c == quote {
                self.rest = &self.rest[at + c.len_utf8()..];
                self.has_text = true;
                return Some(text);
            }
            if c != '\\' {
                text.push(c);
                continue;
            }
            match chars.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                '\n' => {}
                'x' => text.push(char::from_u32(digits(&mut chars, 2)?)?),
                'U' => text.push(char::from_u32(digits(&mut chars, 8)?)?),
                'u' => text.push(code_point(&mut chars)?),
                other @ ('\'' | '"' | '\\' | '/') => text.push(other),
                // Python prints a backslash before any other letter as two.
                _ => return None,
            }
        }
    }
}

/// `\uXXXX`, and the two halves of a surrogate pair.
fn code_point(chars: &mut impl Iterator<Item = (usize, char)>) -> Option<char> {
    let first = digits(chars, 4)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first);
    }
    let is_escape = chars.next()?.1 == '\\' && chars.next()?.1 == 'u';
    let second = digits(chars, 4).filter(|half| is_escape && (0xdc00..0xe000).contains(half))?;
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
}

fn digits(chars: &mut impl Iterator<Item = (usize, char)>, n: usize) -> Option<u32> {
    (0..n).try_fold(0, |value, _| Some(value * 16 + chars.next()?.1.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_that_arrive_as_text() {
        let table = [
            ("['Halvik' 'Port of Halvik']", json!(["Halvik", "Port of Halvik"])),
            ("['a'\n 'b']", json!(["a", "b"])),
            ("['a', 'b']", json!(["a", "b"])),
            ("[\"a\", \"b\"]", json!(["a", "b"])),
            ("[\"O'Dunn\" 'x']", json!(["O'Dunn", "x"])),
            ("array(['a', 'b'], dtype=object)", json!(["a", "b"])),
            ("array(['a', 'b'],\n      dtype='<U6')", json!(["a", "b"])),
            ("[array(['a'], dtype=object) array(['b'], dtype=object)]", json!([["a"], ["b"]])),
            ("[np.str_('a'), np.str_('b')]", json!(["a", "b"])),
            ("[list(['a', 'b']) list(['c'])]", json!([["a", "b"], ["c"]])),
            ("('a', 'b')", json!(["a", "b"])),
            ("('a',)", json!(["a"])),
            ("{'a', 'b'}", json!(["a", "b"])),
            ("[['a', 0], ['b', 2]]", json!([["a", 0], ["b", 2]])),
            (
                "{'title': array(['A', 'B'], dtype=object), 'sent_id': array([0, 1], dtype=int32)}",
                json!({"title": ["A", "B"], "sent_id": [0, 1]}),
            ),
            ("[]", json!([])),
            ("array([], dtype=object)", json!([])),
            ("['a', None, 1.50, True]", json!(["a", null, "1.50", true])),
            (r"['caf\u00e9' 'it\'s' '\ud83e\udd8a']", json!(["café", "it's", "🦊"])),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), Reading::Literal(expected), "{text}");
        }
    }

    #[test]
    fn answers_that_begin_with_a_bracket() {
        for text in
            ["[sic]", "(The) Beatles", "('a')", "[5] things", "{x}", "(1, 2)", "array", "a", ""]
        {
            assert_eq!(read(text), Reading::Text, "{text}");
        }
    }

    #[test]
    fn what_may_be_a_list() {
        for text in
            ["[1, 2]", "[1994]", "['a' 'b' ... 'z']", "['a', 'b", "[\"a\"] album", "array(['a'"]
        {
            assert_eq!(read(text), Reading::Unclear, "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), Reading::Unclear);
    }
}
