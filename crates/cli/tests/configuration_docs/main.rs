//! docs/configuration.md and docs/algorithms.md have the keys and the defaults of the run files.
//!
//! The keys are those that the parser lists in its errors, so a key that is added to a struct, or
//! to a page, makes a test fail until it is in both. A default that a page has as a TOML literal is
//! read: a file with the key and one without it must mean the same.

mod algorithms;
mod documents;
mod page;
mod parser;

use std::collections::{BTreeMap, BTreeSet};

use forage_optimizer::DEFAULT_CLIP;
use forage_retriever::{CANDIDATES, RankingMode, SearchOptions};
use toml::{Table, Value};

use documents::{RUN, SYNTHESIS, Sample};
use page::{DefaultCell, Row};
use parser::{Read, Tables, join, read_run, read_synthesis};

/// Old names of keys.
const ALIASES: [(&str, &str); 2] =
    [("training.moving_average", "ema_decay"), ("reward.<name>.gate.least", "min")];

/// Tables of a synthesis that are those of other run files.
const SHARED: [&str; 2] = ["retriever", "rollout"];

#[test]
fn the_page_has_the_keys_of_a_run_file() {
    let (rows, _) = page::configuration();
    let mut tables = parser::tables(read_run);
    check_aliases(&mut tables, &rows);
    tables.retain(|path, _| !path.starts_with("algorithm."));
    check_keys(&tables, &rows);
}

#[test]
fn the_page_has_the_keys_of_a_synthesis() {
    let (_, rows) = page::configuration();
    let run = parser::tables(read_run);
    let mut tables = parser::tables(read_synthesis);
    for shared in SHARED {
        let is_shared = |path: &str| path == shared || path.starts_with(&join(shared, ""));
        let of = |tables: &Tables| -> Tables {
            tables.clone().into_iter().filter(|(path, _)| is_shared(path)).collect()
        };
        assert_eq!(of(&tables), of(&run), "the tables of `{shared}`");
        tables.retain(|path, _| !is_shared(path));
    }
    check_keys(&tables, &rows);
}

#[test]
fn the_page_has_the_defaults_of_a_run_file() {
    let (rows, _) = page::configuration();
    check_defaults(&rows, RUN, read_run);
}

#[test]
fn the_page_has_the_defaults_of_a_synthesis() {
    let (_, rows) = page::configuration();
    check_defaults(&rows, SYNTHESIS, read_synthesis);
}

/// Takes the old names out of the tables. The row of the key must have them.
fn check_aliases(tables: &mut Tables, rows: &[Row]) {
    for (path, key) in ALIASES {
        let (table, alias) = path.rsplit_once('.').expect("a path of two parts");
        let is_known = tables.get_mut(table).is_some_and(|keys| keys.remove(alias));
        assert!(is_known, "`{path}` is no longer read");
        let key = join(table, key);
        let row = rows.iter().find(|row| row.key == key).unwrap_or_else(|| panic!("no `{key}`"));
        let note = format!("(old name: `{alias}`)");
        assert!(row.meaning.contains(&note), "the row of `{key}` does not say {note}");
    }
}

/// Compares the keys of the parser with those of the page.
fn check_keys(tables: &Tables, rows: &[Row]) {
    let mut on_page = Tables::new();
    for row in rows {
        let parts: Vec<&str> = row.key.split('.').collect();
        for (at, part) in parts.iter().enumerate().filter(|(_, part)| **part != "<name>") {
            let key = part.trim_end_matches("[]").to_owned();
            on_page.entry(parts[..at].join(".")).or_default().insert(key);
        }
    }
    let (page, parser) = (paths(&on_page), paths(tables));
    let undocumented: Vec<&String> = parser.difference(&page).collect();
    let unknown: Vec<&String> = page.difference(&parser).collect();
    assert!(
        undocumented.is_empty() && unknown.is_empty(),
        "docs/configuration.md has no row for {undocumented:#?}\nand rows for {unknown:#?}, which \
         the parser does not know"
    );
}

fn paths(tables: &Tables) -> BTreeSet<String> {
    tables.iter().flat_map(|(table, keys)| keys.iter().map(|key| join(table, key))).collect()
}

/// Compares the defaults of the page with those of the parser, and that what is required is.
fn check_defaults<T: PartialEq>(rows: &[Row], sample: Sample, read: Read<T>) {
    let optional = optional_defaults();
    let mut wrong = Vec::new();
    for Row { key, default, .. } in rows {
        let with = sample.document(key);
        if let Err(error) = read(&with) {
            panic!("the sample of `{key}` cannot be read: {error}\n{with}");
        }
        let mut without = with.clone();
        parser::remove(&mut without, key);
        match (default, optional.get(key.as_str())) {
            (DefaultCell::Required, _) if read(&without).is_ok() => {
                wrong.push(format!("`{key}` is not required"));
            }
            (DefaultCell::Literal(literal), Some(value)) if literal != value => {
                wrong.push(format!("`{key}` is {value} by default, not {literal}"));
            }
            (DefaultCell::Literal(literal), None) => {
                let (with, without) = (read(&given(&without, key, literal)), read(&without));
                if with.is_err() || with != without {
                    let error = [with.err(), without.err()].into_iter().flatten().next();
                    wrong.push(format!("`{key}` is not {literal} by default: {error:?}"));
                }
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "docs/configuration.md is wrong: {wrong:#?}");
}

fn given(document: &Table, key: &str, literal: &str) -> Table {
    let mut document = document.clone();
    parser::set(&mut document, key, value(literal));
    document
}

/// Defaults of keys of which the configuration keeps that they are not given.
fn optional_defaults() -> BTreeMap<&'static str, String> {
    let SearchOptions { k1, b, .. } = SearchOptions::default();
    let rank = Value::try_from(RankingMode::default()).expect("a ranking mode is a text");
    BTreeMap::from([
        ("retriever.rank", rank.to_string()),
        ("retriever.k1", k1.to_string()),
        ("retriever.b", b.to_string()),
        ("retriever.candidates", CANDIDATES.to_string()),
        ("optimizer.clip_low", DEFAULT_CLIP.to_string()),
        ("optimizer.clip_high", DEFAULT_CLIP.to_string()),
    ])
}

/// The value of a TOML literal.
fn value(literal: &str) -> Value {
    let table: Table = format!("value = {literal}").parse().expect("a literal");
    table["value"].clone()
}
