//! Keys that the parser of a run file knows, from its own errors.

use std::collections::{BTreeMap, BTreeSet};

use forage_cli::run_file::RawRunConfig;
use forage_cli::synthesize::{SynthesisConfig, SynthesisFile};
use toml::{Table, Value};

/// A key that no table has.
const UNKNOWN: &str = "zzz";

/// Tables of a run file by path, with their keys.
pub(crate) type Tables = BTreeMap<String, BTreeSet<String>>;

/// A parser of a file. Its error is a text.
pub(crate) type Read<T> = fn(&Table) -> Result<T, String>;

/// Reads a run file as it is written.
pub(crate) fn read_run(document: &Table) -> Result<RawRunConfig, String> {
    toml::from_str(&document.to_string()).map_err(|error| error.to_string())
}

/// Reads the file of a synthesis.
pub(crate) fn read_synthesis(document: &Table) -> Result<SynthesisConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, document.to_string()).unwrap();
    let file = SynthesisFile::read(&path, &[]);
    file.map(|file| file.config).map_err(|error| format!("{error:#}"))
}

/// All tables that can be reached from the top of a file.
pub(crate) fn tables<T>(read: Read<T>) -> Tables {
    let mut tables = Tables::new();
    let mut open = vec![(String::new(), Table::new())];
    while let Some((path, document)) = open.pop() {
        let keys = keys(read, &document, &path);
        let documents = named_documents(read, &document, &path);
        for key in keys.iter().filter(|key| *key != "name") {
            let child = join(&path, key);
            // A table, a list of tables, a map of tables, or no table at all. A struct may also be
            // written as a list, so the order matters.
            let forms = [child.clone(), format!("{child}[]"), format!("{child}.<name>")];
            let mut ways = forms.iter().flat_map(|form| documents.iter().map(move |it| (form, it)));
            let is_table =
                |(form, document): &(&String, &Table)| !self::keys(read, document, form).is_empty();
            open.extend(
                ways.find(is_table).map(|(form, document)| (form.clone(), document.clone())),
            );
        }
        tables.insert(path, keys);
    }
    tables
}

/// The documents in which the keys of a table can be given: one for each `name` that it can have.
fn named_documents<T>(read: Read<T>, document: &Table, path: &str) -> Vec<Table> {
    let with_name = |name: String| {
        let mut document = document.clone();
        set(&mut document, &join(path, "name"), name.into());
        document
    };
    let documents: Vec<Table> = names(read, document, path).into_iter().map(with_name).collect();
    if documents.is_empty() { vec![document.clone()] } else { documents }
}

/// The keys of a table; none where it is no table, or one of any keys.
fn keys<T>(read: Read<T>, document: &Table, path: &str) -> BTreeSet<String> {
    let unknown = (UNKNOWN, Value::Integer(1));
    let error = error_of(read, document, path, [unknown.clone()]);
    if let Some(keys) = listed(&error, "unknown field") {
        return keys;
    }
    if let Some(variants) = listed(&error, "unknown variant") {
        let has_keys = |variant: &String| !keys(read, document, &join(path, variant)).is_empty();
        return if variants.iter().any(has_keys) { variants } else { BTreeSet::new() };
    }
    let mut keys = BTreeSet::new();
    for name in names(read, document, path) {
        let error = error_of(read, document, path, [("name", name.into()), unknown.clone()]);
        keys.extend(listed(&error, "unknown field").expect("a list of the keys"));
        keys.insert("name".to_owned());
    }
    keys
}

/// The names that a table with a key `name` can have; none for other tables.
pub(crate) fn names<T>(read: Read<T>, document: &Table, path: &str) -> BTreeSet<String> {
    let error = error_of(read, document, path, [("name", UNKNOWN.into())]);
    let (_, names) = error.split_once("`zzz`, but must be one of ").unwrap_or_default();
    code_spans(names)
}

fn error_of<T, const N: usize>(
    read: Read<T>,
    document: &Table,
    path: &str,
    values: [(&str, Value); N],
) -> String {
    let mut document = document.clone();
    for (key, value) in values {
        set(&mut document, &join(path, key), value);
    }
    read(&document).err().unwrap_or_default()
}

/// The names that an error about the key `zzz` lists.
fn listed(error: &str, kind: &str) -> Option<BTreeSet<String>> {
    let (_, rest) = error.split_once(&format!("{kind} `{UNKNOWN}`"))?;
    let line = rest.lines().next().unwrap_or_default();
    // serde, and the explanation of a section with a `name`.
    let list = ["expected one of ", "expected ", " has "].into_iter();
    let list = list.filter_map(|marker| line.split_once(marker)).map(|(_, list)| list).next();
    Some(code_spans(list.unwrap_or_default()))
}

fn code_spans(text: &str) -> BTreeSet<String> {
    let line = text.lines().next().unwrap_or_default();
    crate::page::code_spans(line).into_iter().collect()
}

/// Path of a key of a table.
pub(crate) fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// Writes a value at a path. Tables on the way are made where they are missing.
pub(crate) fn set(document: &mut Table, path: &str, value: Value) {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    let table = table_at(document, parent);
    match key.strip_suffix("[]") {
        Some(key) => table.insert(key.to_owned(), Value::Array(vec![value])),
        None => table.insert(named(key), value),
    };
}

/// Removes the value at a path.
pub(crate) fn remove(document: &mut Table, path: &str) {
    let (parent, key) = path.rsplit_once('.').unwrap_or(("", path));
    table_at(document, parent).remove(&named(key));
}

fn table_at<'a>(document: &'a mut Table, path: &str) -> &'a mut Table {
    path.split('.').filter(|part| !part.is_empty()).fold(document, |table, part| {
        let empty = || Value::Table(Table::new());
        let value = match part.strip_suffix("[]") {
            Some(key) => {
                let list = table.entry(key).or_insert_with(|| Value::Array(vec![empty()]));
                list.as_array_mut().and_then(|list| list.first_mut()).expect("a list of tables")
            }
            None => table.entry(named(part)).or_insert_with(empty),
        };
        value.as_table_mut().unwrap_or_else(|| panic!("`{part}` of `{path}` is no table"))
    })
}

/// A name for the placeholder of a name.
fn named(key: &str) -> String {
    if key == "<name>" { "x".to_owned() } else { key.to_owned() }
}
