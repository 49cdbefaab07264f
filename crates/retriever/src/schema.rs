//! Schema of an index: one indexed field and three stored ones.

use tantivy::schema::{Field, IndexRecordOption, STORED, Schema, TextFieldIndexing, TextOptions};

/// Indexed field: title and text together, not stored.
pub(crate) const CONTENTS: &str = "contents";
const ID: &str = "id";
const TITLE: &str = "title";
const TEXT: &str = "text";

/// Schema of an index. Frequencies are indexed and positions are not: nothing searches for phrases.
pub(crate) fn schema() -> Schema {
    let mut schema = Schema::builder();
    let terms = TextFieldIndexing::default()
        .set_tokenizer(CONTENTS)
        .set_index_option(IndexRecordOption::WithFreqs)
        .set_fieldnorms(true);
    schema.add_text_field(CONTENTS, TextOptions::default().set_indexing_options(terms));
    schema.add_text_field(ID, STORED);
    schema.add_text_field(TITLE, STORED);
    schema.add_text_field(TEXT, STORED);
    schema.build()
}

/// Fields of the schema.
pub(crate) struct Fields {
    pub(crate) contents: Field,
    pub(crate) id: Field,
    pub(crate) title: Field,
    pub(crate) text: Field,
}

impl Fields {
    pub(crate) fn of(schema: &Schema) -> tantivy::Result<Self> {
        Ok(Self {
            contents: schema.get_field(CONTENTS)?,
            id: schema.get_field(ID)?,
            title: schema.get_field(TITLE)?,
            text: schema.get_field(TEXT)?,
        })
    }
}
