//! Search engines: the index of a folder, and the engine of a run file with its encoder.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use forage_model::{EncoderOptions, TextEncoder};
use forage_retriever::{
    Bm25, ClientError, EncoderConfig, EngineError, IndexError, RetrieverConfig, SearchEngine,
    SearchOptions,
};
use forage_trajectory::{BoxError, Embedder};

use crate::exit_code::{Code, Failure};
use crate::model;

/// Opens an index, with a hint for a wrong folder.
pub fn open_index(index: &Path, options: &SearchOptions) -> Result<Bm25> {
    Bm25::open(index, options).with_context(|| {
        Failure::new(Code::Input, format!("cannot search the index `{}`", index.display()))
            .hint("build it with `forage index --corpus FILE --out DIR`")
    })
}

/// Loads an encoder onto the device of this name.
pub fn encoder(config: &EncoderConfig, device: &str) -> Result<TextEncoder, BoxError> {
    let EncoderConfig { path, query_prefix, passage_prefix, max_tokens } = config.clone();
    let options = EncoderOptions { query_prefix, passage_prefix, max_tokens };
    Ok(TextEncoder::load(&path, &model::device(device)?, &options)?)
}

/// Opens the search engine of a run file. An encoder computes on the device of this name.
pub fn open_engine(config: &RetrieverConfig, device: &str) -> Result<SearchEngine> {
    let load = |encoder_config: &EncoderConfig| -> Result<Arc<dyn Embedder>, BoxError> {
        Ok(Arc::new(encoder(encoder_config, device)?))
    };
    SearchEngine::open(config, &load).map_err(|error| {
        let failure = match &error {
            EngineError::Client(ClientError::Option { .. })
            | EngineError::Index(IndexError::Parameter { .. }) => {
                Failure::new(Code::Usage, "the search engine of the run file cannot be used")
                    .hint("docs/configuration.md lists every key")
            }
            EngineError::Client(_) => {
                Failure::new(Code::Input, "the search engine of the run file does not answer")
                    .hint("start the server that embeds queries, or mend its address")
            }
            EngineError::Encoder { .. } => {
                Failure::new(Code::Input, "the encoder of the run file cannot be used")
                    .hint("`retriever.encoder.path` is the folder of a model such as e5 or MiniLM")
            }
            EngineError::Dense(_) => {
                Failure::new(Code::Input, "the vectors of the run file cannot be searched")
                    .hint("`forage index --vectors` makes them, with the same index and model")
            }
            EngineError::Record(_) => {
                Failure::new(Code::Input, "the record of searches cannot be used")
                    .hint("`retriever.record` names its file and its mode, `record` or `replay`")
            }
            EngineError::Index(_) => {
                let index = config.index().unwrap_or(Path::new("")).display();
                Failure::new(Code::Input, format!("cannot search the index `{index}`"))
                    .hint("build it with `forage index --corpus FILE --out DIR`")
            }
        };
        anyhow::Error::from(error).context(failure)
    })
}
