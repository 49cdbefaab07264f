//! Names of tensors: those of wrappers around a model, brought to the names of transformers.
//!
//! Training programs save a model with the names of what they had wrapped it in. The prefix says
//! nothing of the numbers, so it is taken off.

/// Segments of wrappers, wherever they stand in a name: of `torch.compile`, of FSDP, and of
/// activation checkpointing.
const WRAPPERS: [&str; 3] = ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."];

/// Prefixes of wrappers: of data parallelism, of Lightning, and of PEFT.
const PREFIXES: [&str; 3] = ["module.", "_forward_module.", "base_model.model."];

/// Prefixes, and what transformers writes for them: a language model within one that sees, with
/// the names of before and after 4.52; a whole model under `model`; and one without its head.
const RENAMED: [(&str, &str); 8] = [
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
    ("model.model.", "model."),
    ("model.lm_head.", "lm_head."),
    ("layers.", "model.layers."),
    ("embed_tokens.", "model.embed_tokens."),
    ("norm.", "model.norm."),
];

/// Name of a tensor of a decoder in transformers, whatever wraps the model in a file.
pub(crate) fn canonical(name: &str) -> String {
    let mut name = name.to_owned();
    for wrapper in WRAPPERS {
        let within = format!(".{wrapper}");
        while name.contains(&within) {
            name = name.replace(&within, ".");
        }
    }
    let leading = |name: &str| {
        WRAPPERS
            .iter()
            .chain(&PREFIXES)
            .find_map(|prefix| name.strip_prefix(prefix).map(str::to_owned))
    };
    while let Some(shorter) = leading(&name) {
        name = shorter;
    }
    let renamed = RENAMED
        .iter()
        .find_map(|(prefix, instead)| Some(format!("{instead}{}", name.strip_prefix(prefix)?)));
    renamed.unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrappers_are_taken_off() {
        let (query, head) = ("model.layers.0.self_attn.q_proj.weight", "lm_head.weight");
        for (found, expected) in [
            (query, query),
            (head, head),
            ("module.model.layers.0.self_attn.q_proj.weight", query),
            ("module.lm_head.weight", head),
            ("_orig_mod.model.layers.0.self_attn.q_proj.weight", query),
            ("module._orig_mod.model.layers.0.self_attn.q_proj.weight", query),
            ("model._orig_mod.layers.0._fsdp_wrapped_module.self_attn.q_proj.weight", query),
            ("base_model.model.model.layers.0.self_attn.q_proj.weight", query),
            ("base_model.model.lm_head.weight", head),
            ("language_model.model.layers.0.self_attn.q_proj.weight", query),
            ("language_model.lm_head.weight", head),
            ("model.language_model.layers.0.self_attn.q_proj.weight", query),
            ("model.model.layers.0.self_attn.q_proj.weight", query),
            ("layers.0.self_attn.q_proj.weight", query),
            ("embed_tokens.weight", "model.embed_tokens.weight"),
            ("norm.weight", "model.norm.weight"),
            ("score.weight", "score.weight"),
            ("visual.blocks.0.norm.weight", "visual.blocks.0.norm.weight"),
        ] {
            assert_eq!(canonical(found), expected, "{found}");
        }
    }
}
