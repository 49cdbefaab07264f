//! Tags of the protocol of a search agent, which texts may contain.

/// In the order of the special tokens of a trained tokenizer.
pub(crate) const TAGS: [&str; 8] = [
    "<think>",
    "</think>",
    "<search>",
    "</search>",
    "<information>",
    "</information>",
    "<answer>",
    "</answer>",
];
