//! Layout of a JSON file: how its records lie in it, told by its beginning.

use crate::describe::shortened;
use crate::scan::value_len;

/// Bytes at the beginning of a file by which its layout is told.
pub(crate) const WINDOW: usize = 1 << 20;

/// Keys of a list of rows, in an object that is the whole file.
const ROWS: [&str; 12] = [
    "data",
    "rows",
    "records",
    "examples",
    "instances",
    "items",
    "questions",
    "queries",
    "topics",
    "passages",
    "documents",
    "corpus",
];
/// Keys that stand beside such a list and say something about it.
const ABOUT: [&str; 16] = [
    "version",
    "domain",
    "split",
    "language",
    "verifiedeval",
    "license",
    "info",
    "name",
    "description",
    "dataset",
    "count",
    "total",
    "source",
    "created",
    "date",
    "metadata",
];
/// Complete objects by which an object of objects is told, where not all of it is seen.
const N_ENTRIES: usize = 3;

/// Layout of a JSON file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// An object a line.
    Lines,
    /// Objects, or lists of objects, one after the other, over as many lines as they take.
    Values,
    /// One object with a list of rows; its key, and the offset after its bracket.
    Rows { key: String, offset: usize },
    /// One object of objects, by key.
    Entries,
}

impl Layout {
    /// Layout of a file that begins with `head`, which begins with no white space; `is_all` says
    /// whether that is the whole file.
    pub(crate) fn of(head: &[u8], is_all: bool) -> Self {
        if head.first() == Some(&b'[') {
            return Self::Values;
        }
        if head.first() != Some(&b'{') {
            return Self::Lines;
        }
        let end = value_len(head);
        let after = end.map_or(&[][..], |end| blank_start(&head[end..]));
        let is_only = after.is_empty() && (is_all || end.is_none());
        if is_only && let Some(layout) = container(head, end.is_some()) {
            return layout;
        }
        let first = &head[..end.unwrap_or(head.len())];
        match memchr::memchr(b'\n', first) {
            None => Self::Lines,
            Some(at) if is_object_line(&first[at + 1..]) => Self::Lines,
            Some(_) => Self::Values,
        }
    }
}

/// Without white space and byte-order marks at the beginning.
pub(crate) fn blank_start(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes.trim_ascii_start();
    while let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        bytes = rest.trim_ascii_start();
    }
    bytes
}

/// Whether a key stands beside a list of rows and says something about it.
pub(crate) fn is_about(key: &str) -> bool {
    ABOUT.contains(&key.to_lowercase().as_str())
}

/// Whether the next line is one whole object: then the line before it is broken.
fn is_object_line(rest: &[u8]) -> bool {
    let line = rest.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    line.is_some_and(|line| {
        let line = line.trim_ascii_end();
        line.starts_with(b"{") && value_len(line) == Some(line.len())
    })
}

/// Member of an object whose end may not be seen.
struct Member<'a> {
    key: String,
    /// Offset of the value.
    offset: usize,
    /// Value, or what is seen of it.
    value: &'a [u8],
    is_whole: bool,
}

/// Layout of an object that is the only one of its file, where it holds the records.
fn container(head: &[u8], is_whole: bool) -> Option<Layout> {
    let members = members(head);
    rows(&members).or_else(|| is_entries(&members, is_whole).then_some(Layout::Entries))
}

fn rows(members: &[Member]) -> Option<Layout> {
    let (mut rows, about): (Vec<&Member>, Vec<&Member>) = members
        .iter()
        .partition(|member| ROWS.contains(&member.key.to_lowercase().as_str()) && is_list(member));
    if rows.len() != 1 || !about.iter().all(|member| is_about(&member.key)) {
        return None;
    }
    let only = rows.pop()?;
    Some(Layout::Rows { key: only.key.clone(), offset: only.offset + 1 })
}

/// Whether a member is a list of objects, or empty.
fn is_list(member: &Member) -> bool {
    let inner = member.value.strip_prefix(b"[").map(<[u8]>::trim_ascii_start);
    inner.is_some_and(|inner| inner.is_empty() || matches!(inner[0], b'{' | b']'))
}

/// Whether all members are objects, several of them, that have a key in common.
fn is_entries(members: &[Member], is_whole: bool) -> bool {
    let whole: Vec<Vec<String>> = members
        .iter()
        .filter(|member| member.is_whole)
        .map(|member| self::members(member.value).into_iter().map(|inner| inner.key).collect())
        .collect();
    members.iter().all(|member| member.value.first() == Some(&b'{'))
        && whole.len() >= if is_whole { 2 } else { N_ENTRIES }
        && whole[0].iter().any(|key| whole.iter().all(|keys| keys.contains(key)))
}

/// Members of an object, as far as they are seen.
fn members(object: &[u8]) -> Vec<Member<'_>> {
    let mut members = Vec::new();
    let mut at = 1;
    while let Some(member) = member(object, at) {
        at = member.offset + member.value.len();
        at += space(&object[at..]);
        members.push(member);
        if object.get(at) != Some(&b',') {
            break;
        }
        at += 1;
    }
    members
}

fn member(object: &[u8], mut at: usize) -> Option<Member<'_>> {
    at += space(object.get(at..)?);
    let key_len = (object.get(at) == Some(&b'"')).then(|| value_len(&object[at..]))??;
    let key = serde_json::from_slice(&object[at..at + key_len]).ok()?;
    at += key_len;
    at += space(&object[at..]);
    if object.get(at) != Some(&b':') {
        return None;
    }
    at += 1;
    at += space(&object[at..]);
    let seen = &object[at..];
    let len = value_len(seen);
    let value = &seen[..len.unwrap_or(seen.len())];
    (!value.is_empty()).then_some(Member { key, offset: at, value, is_whole: len.is_some() })
}

fn space(bytes: &[u8]) -> usize {
    bytes.len() - bytes.trim_ascii_start().len()
}

/// What a text is that has no object in its first line, where it is known.
pub(crate) fn foreign_text(head: &[u8]) -> Option<String> {
    let line = head.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line.trim_ascii());
    let is_word = |field: &str| !field.is_empty() && field.len() <= 40 && !field.contains(' ');
    let n_commas = line.matches(',').count();
    let kind = if line.contains('\t') {
        "TSV"
    } else if n_commas > 0 && line.split(',').all(|field| is_word(field.trim().trim_matches('"'))) {
        "CSV"
    } else {
        return None;
    };
    Some(format!(
        "this is a table ({kind}), beginning `{}`; records are JSON lines, JSON or parquet, so \
         write it as one of these",
        shortened(&line)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_by_the_beginning() {
        let rows = |key: &str, offset| Layout::Rows { key: key.to_owned(), offset };
        for (head, expected) in [
            ("{\"a\": 1}\n{\"a\": 2}\n", Layout::Lines),
            ("{\"a\": 1}", Layout::Lines),
            ("nonsense", Layout::Lines),
            ("[\n{\"a\": 1}]", Layout::Values),
            ("{\n \"a\": 1\n}\n{\n \"a\": 2\n}", Layout::Values),
            ("{\n \"a\": 1\n}", Layout::Values),
            // A first line that was cut off.
            ("{\"a\": {\n{\"a\": 2}\n", Layout::Lines),
            ("{\"data\": [{\"a\": 1}], \"version\": 1}", rows("data", 10)),
            ("{\"Version\": \"1.0\",\n \"Data\": [\n {", rows("Data", 29)),
            ("{\"data\": []}", rows("data", 10)),
            // A row that has a list of objects.
            ("{\"question\": \"x\", \"documents\": [{\"a\": 1}]}", Layout::Lines),
            ("{\"data\": [1, 2]}", Layout::Lines),
            ("{\"data\": [{\"a\": 1}]}\n{\"data\": [{\"a\": 1}]}", Layout::Lines),
            ("{\"q1\": {\"a\": 1}, \"q2\": {\"a\": 2, \"b\": 3}}", Layout::Entries),
            ("{\"q1\": {\"a\": 1}, \"q2\": {\"b\": 2}}", Layout::Lines),
            ("{\"q1\": {\"a\": 1}}", Layout::Lines),
            ("{\"q1\": {\"a\": 1}, \"q2\": 5}", Layout::Lines),
        ] {
            assert_eq!(Layout::of(head.as_bytes(), true), expected, "{head}");
        }
        for (line, kind) in [
            ("id\ttitle\n1\tx", Some("(TSV)")),
            ("id,title,text\n", Some("(CSV)")),
            ("A sentence, with commas, is none.", None),
            ("nonsense", None),
        ] {
            let found = foreign_text(line.as_bytes());
            assert_eq!(found.is_some(), kind.is_some(), "{line}");
            assert!(found.unwrap_or_default().contains(kind.unwrap_or_default()));
        }
    }
}
