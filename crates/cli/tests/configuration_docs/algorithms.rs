//! docs/algorithms.md: the tables of the sections with a `name`, and the keys of the others.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use crate::documents::RUN;
use crate::page::{self, code_spans, split_list};
use crate::parser::{self, join, read_run};
use crate::value;

/// Keys of which the configuration keeps that they are not given, although they have a default.
const OPTIONAL: [(&str, &str); 1] = [("gigpo", "step_scale")];

/// Algorithms by name, each with its keys and their defaults, where the page has them.
type Algorithms = BTreeMap<String, BTreeMap<String, Option<Value>>>;

#[test]
fn the_page_has_every_algorithm_with_its_keys() {
    for section in ["advantage", "loss", "aggregation", "correction"] {
        let path = join("algorithm", section);
        let algorithms = algorithms(&path);
        let names: BTreeSet<String> = algorithms.keys().cloned().collect();
        assert_eq!(names, parser::names(read_run, &Table::new(), &path), "the names of `{path}`");
        check_keys(&path, &algorithms);
    }
}

#[test]
fn the_page_mentions_every_key() {
    let page = page::read("algorithms.md");
    let is_word = |character: char| character.is_alphanumeric() || "_-".contains(character);
    let words: BTreeSet<String> = code_spans(&page)
        .iter()
        .flat_map(|span| span.split(|character| !is_word(character)).map(str::to_owned))
        .collect();
    let tables = parser::tables(read_run);
    let ours = tables.iter().filter(|(path, _)| path.starts_with("algorithm"));
    let keys = ours.flat_map(|(path, keys)| keys.iter().map(move |key| (path, key)));
    let missing: Vec<String> =
        keys.filter(|(_, key)| !words.contains(*key)).map(|(path, key)| join(path, key)).collect();
    assert!(missing.is_empty(), "docs/algorithms.md does not mention {missing:?}");
}

/// The algorithms of a section, from the table with a column `name` under its heading.
fn algorithms(path: &str) -> Algorithms {
    let tables = page::tables(&page::read("algorithms.md"));
    let is_ours = |table: &&page::Table| {
        table.heading.ends_with(&format!("`{path}`")) && table.header[0] == "`name`"
    };
    let table = tables.iter().find(is_ours).unwrap_or_else(|| panic!("no table of `{path}`"));
    let keys_at = table.header.iter().position(|title| title.starts_with("keys"));
    let mut algorithms = Algorithms::new();
    for line in &table.lines {
        let name = code_spans(&line[0]).swap_remove(0);
        let mut keys = BTreeMap::new();
        for item in keys_at.map_or(Vec::new(), |at| split_list(&line[at])) {
            match item.strip_prefix("those of ") {
                Some(other) => keys.extend(algorithms[&code_spans(other)[0]].clone()),
                None => keys.extend(key_with_default(&item)),
            }
        }
        algorithms.insert(name, keys);
    }
    algorithms
}

/// `` `gamma` = 0.95 `` or `` `scale` = `none` or `deviation` `` or `` `reject` ``.
fn key_with_default(item: &str) -> Option<(String, Option<Value>)> {
    let key = code_spans(item).into_iter().next()?;
    let default = item.split_once(" = ").map(|(_, default)| match default.strip_prefix('`') {
        Some(name) => Value::from(name.split('`').next().unwrap_or_default()),
        None => value(default.split(' ').next().unwrap_or_default()),
    });
    Some((key, default))
}

/// Checks that an algorithm takes its keys, with their defaults, and refuses those of others.
fn check_keys(path: &str, algorithms: &Algorithms) {
    let all: BTreeMap<&String, &Option<Value>> = algorithms.values().flatten().collect();
    for (name, keys) in algorithms.iter().filter(|_| !all.is_empty()) {
        let read = |options: &[(&str, &Value)]| {
            let mut section = Table::from_iter([("name".to_owned(), Value::from(name.as_str()))]);
            section
                .extend(options.iter().map(|(key, value)| ((*key).to_owned(), (*value).clone())));
            let mut document = RUN.document("algorithm");
            parser::set(&mut document, path, Value::Table(section));
            read_run(&document)
        };
        for (&key, default) in &all {
            let Some(value) = keys.get(key).unwrap_or(default) else { continue };
            let given = read(&[(key, value)]);
            if !keys.contains_key(key) {
                assert!(given.is_err(), "`{path}` `{name}` takes `{key}`");
            } else if OPTIONAL.contains(&(name, key)) {
                assert!(given.is_ok(), "`{path}` `{name}` does not take `{key}`");
            } else {
                let what = format!("the default of `{key}` of `{path}` `{name}`");
                assert_eq!(given, read(&[]), "{what}");
            }
        }
    }
}
