//! Weights in a form that is not read, and what to do with them.

use std::path::Path;

/// Weights of a folder in a form that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherWeights {
    /// Name of the file or folder.
    pub found: String,
    /// What to do with it.
    pub mend: &'static str,
}

/// Forms of weights that are not read, by the beginning and the end of a name, and what to do.
const OTHER_FORMS: [(&str, &str, &str); 10] = [
    ("model-", ".safetensors", "its index `model.safetensors.index.json` is missing: fetch it too"),
    ("adapter_model", ".bin", RESAVE),
    ("pytorch_model", ".bin", RESAVE),
    ("pytorch_model", ".bin.index.json", RESAVE),
    (
        "consolidated",
        ".safetensors",
        "it has Mistral's own names: fetch the files for transformers",
    ),
    ("consolidated", ".pth", "it has Llama's own names: fetch the files for transformers"),
    ("", ".gguf", "quantized weights are not read: fetch the model that it was made from"),
    (
        "model_world_size_",
        ".pt",
        "it is a shard of FSDP as verl saves it: merge it with `python -m verl.model_merger`",
    ),
    ("snapshots", "", "the folder is a cache of Hugging Face: name the folder in its `snapshots`"),
    ("zero_to_fp32.py", "", "it is a checkpoint of DeepSpeed: merge it with `zero_to_fp32.py`"),
];

const RESAVE: &str = "it is a pickle of PyTorch: load the folder with transformers and save it with \
                      `save_pretrained`";

impl OtherWeights {
    /// What a folder without safetensors has instead.
    pub(crate) fn of(folder: &Path) -> Option<Self> {
        let entries = std::fs::read_dir(folder).ok()?;
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        OTHER_FORMS.iter().find_map(|(start, end, mend)| {
            let found = names.iter().find(|name| name.starts_with(start) && name.ends_with(end))?;
            // A name without an ending is the whole name.
            let is_whole = !end.is_empty() || found == start;
            is_whole.then(|| Self { found: found.clone(), mend })
        })
    }
}
