//! Tables of docs/configuration.md and docs/algorithms.md.

use std::path::Path;

/// Placeholders of the page that stand for several tables with the same keys.
const PLACEHOLDERS: [(&str, &[&str]); 2] = [
    ("<client>", &["elastic", "embeddings", "qdrant", "remote", "web"]),
    ("<role>", &["agent", "generator", "judge"]),
];

/// A key of a run file, as the page has it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Path, such as `sft.phases[].steps` and `reward.<name>.weight`.
    pub(crate) key: String,
    pub(crate) meaning: String,
    pub(crate) default: DefaultCell,
}

/// Cell of the column `default`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum DefaultCell {
    /// The word `required`.
    Required,
    /// TOML literal.
    Literal(String),
    /// Anything else.
    Prose,
}

/// Text of a page in `docs/`.
pub(crate) fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The tables of keys of a run file, and those of the file of a synthesis.
pub(crate) fn configuration() -> (Vec<Row>, Vec<Row>) {
    let page = read("configuration.md");
    let (run, rest) = page.split_once("\n## A synthesis\n").expect("a section of the synthesis");
    let (synthesis, _) = rest.split_once("\n## Metrics\n").expect("a section of the metrics");
    (rows(run), rows(synthesis))
}

fn rows(text: &str) -> Vec<Row> {
    let is_table = |table: &Table| table.header == ["key", "meaning", "default"];
    let lines = tables(text).into_iter().filter(is_table).flat_map(|table| table.lines);
    lines.flat_map(|cells| rows_of_line(&cells)).collect()
}

/// The rows of a line with one key or several, each of which has a default.
fn rows_of_line(cells: &[String]) -> Vec<Row> {
    let [keys, meaning, default] = cells else {
        panic!("a line of keys has three cells: {cells:?}")
    };
    let keys = code_spans(keys);
    let defaults = if keys.len() == 1 { vec![default.clone()] } else { split_list(default) };
    assert!(
        defaults.len() == 1 || defaults.len() == keys.len(),
        "{keys:?} have {} defaults: {default}",
        defaults.len()
    );
    let default_of = |at: usize| default_cell(defaults.get(at).unwrap_or(&defaults[0]));
    let expanded = keys.iter().enumerate().flat_map(|(at, key)| {
        let row = move |key| Row { key, meaning: meaning.clone(), default: default_of(at) };
        expand(key).into_iter().map(row).collect::<Vec<_>>()
    });
    expanded.collect()
}

fn expand(key: &str) -> Vec<String> {
    match PLACEHOLDERS.iter().find(|(placeholder, _)| key.contains(placeholder)) {
        Some((placeholder, names)) => {
            names.iter().map(|name| key.replace(placeholder, name)).collect()
        }
        None => vec![key.to_owned()],
    }
}

fn default_cell(cell: &str) -> DefaultCell {
    let literal = cell.strip_prefix('`').and_then(|it| it.strip_suffix('`'));
    match literal {
        Some(literal) if !literal.contains('`') => DefaultCell::Literal(literal.to_owned()),
        _ if cell == "required" => DefaultCell::Required,
        _ => DefaultCell::Prose,
    }
}

/// A table of a page.
pub(crate) struct Table {
    /// The heading of the section that it is in.
    pub(crate) heading: String,
    pub(crate) header: Vec<String>,
    pub(crate) lines: Vec<Vec<String>>,
}

/// All tables of a page.
pub(crate) fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let (mut heading, mut is_inside) = ("", false);
    for line in text.lines() {
        heading = line.strip_prefix("## ").unwrap_or(heading);
        let was_inside = is_inside;
        is_inside = line.starts_with('|');
        match (was_inside, tables.last_mut()) {
            _ if !is_inside || line.starts_with("|---") => {}
            (true, Some(table)) => table.lines.push(cells(line)),
            _ => {
                let (heading, header) = (heading.to_owned(), cells(line));
                tables.push(Table { heading, header, lines: Vec::new() });
            }
        }
    }
    tables
}

fn cells(line: &str) -> Vec<String> {
    const BAR: &str = "\u{0}";
    let line = line.replace("\\|", BAR);
    let line = line.trim().trim_start_matches('|').trim_end_matches('|');
    line.split('|').map(|cell| cell.trim().replace(BAR, "|")).collect()
}

/// The texts between backticks.
pub(crate) fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The parts between commas that are outside of backticks.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut is_code = false;
    for character in text.chars() {
        is_code ^= character == '`';
        match parts.last_mut() {
            Some(part) if character != ',' || is_code => part.push(character),
            _ => parts.push(String::new()),
        }
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}
