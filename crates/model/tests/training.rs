//! The way forward and back in training, against plain automatic differentiation; and adapters.

mod small;

use std::fs;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use forage_model::{
    CheckpointErrorKind, Decoder, LoraConfig, ModelConfig, ModelFamily, PackedSequences,
    SaveOptions, TrainingPassOptions, base_of_adapter, is_adapter, load, numbers, read_tensors,
    save, save_adapter, weight_files,
};
use forage_trajectory::TokenId;
use serde_json::json;

fn decoder(family: ModelFamily, tie_word_embeddings: bool) -> Decoder {
    let config = ModelConfig {
        num_hidden_layers: 3,
        tie_word_embeddings,
        initializer_range: 0.2,
        ..small::config(family)
    };
    Decoder::init(&config, 3, &Device::flex())
}

fn lora(targets: &[&str]) -> LoraConfig {
    let targets = targets.iter().map(|&it| it.to_owned()).collect();
    LoraConfig { rank: 3, alpha: 5.0, targets }
}

/// Adapters that change something.
fn adapted(decoder: &Decoder, config: &LoraConfig) -> Decoder {
    let fresh = decoder.with_lora(config, "models/base", 11).unwrap();
    let weights = fresh.trainable().iter().enumerate().map(|(idx, it)| {
        let [rows, columns] = it.dims();
        let numbers: Vec<f32> =
            (0..rows * columns).map(|at| ((at + 31 * idx) as f32 * 0.7).sin() * 0.2).collect();
        Tensor::from_data(TensorData::new(numbers, [rows, columns]), &Device::flex())
    });
    let weights = weights.collect();
    fresh.with_trainable(weights)
}

/// Sequences with the positions that are asked about; some are asked about nothing.
fn asked() -> Vec<(Vec<TokenId>, Vec<usize>)> {
    let ids = |n: usize, salt: usize| {
        (0..n).map(|at| ((at * 7 + at * at * salt + salt) % 50) as TokenId).collect()
    };
    vec![
        (ids(150, 1), (1..150).step_by(3).collect()),
        (ids(2, 2), vec![1]),
        (ids(9, 3), Vec::new()),
        (ids(40, 4), (20..40).collect()),
    ]
}

fn packed(asked: &[(Vec<TokenId>, Vec<usize>)]) -> PackedSequences {
    PackedSequences::new(asked.iter().map(|(tokens, at)| (tokens.as_slice(), at.as_slice())))
}

fn assert_near(found: &[f32], wanted: &[f32], what: &str) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let scale = wanted.iter().fold(1.0_f32, |most, it| most.max(it.abs()));
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() < 1e-5 * scale, "{what}: {found} is not {wanted}");
    }
}

/// Sequences that begin alike, in many ways, some of them longer than a block of attention.
fn alike() -> Vec<(Vec<TokenId>, Vec<usize>)> {
    let whole = &asked()[0].0;
    let with =
        |n: usize, more: &[TokenId], at: &[usize]| ([&whole[..n], more].concat(), at.to_vec());
    vec![
        with(150, &[], &[3, 140, 149]),
        with(140, &[7, 8, 9], &[2, 141, 142]),
        with(20, &[49, 1], &[19, 20, 21]),
        with(20, &[49, 1, 5, 6], &[21, 23]),
        with(141, &[7], &[141]),
        (vec![48, 2, 3], vec![1, 2]),
        with(150, &[], &[149]),
        with(20, &[], &[]),
        (vec![5], vec![]),
        with(1, &[33, 34], &[1]),
    ]
}

#[test]
fn sequences_that_share_what_they_begin_with_say_what_each_says_by_itself() {
    let alike = alike();
    let borrowed: Vec<(&[TokenId], &[usize])> =
        alike.iter().map(|(tokens, at)| (tokens.as_slice(), at.as_slice())).collect();
    let shared = PackedSequences::with_shared_prefixes(&borrowed);
    assert_eq!(packed(&alike).n_tokens(), 149 + 142 + 21 + 23 + 141 + 2 + 149 + 19 + 2);
    // The first, and what each of the others adds to it.
    assert_eq!(shared.n_tokens(), 149 + 2 + 3 + 2 + 1);
    for family in [ModelFamily::Llama, ModelFamily::Qwen3] {
        let decoder = decoder(family, true);
        let alone: Vec<f32> = borrowed
            .iter()
            .filter(|it| !it.1.is_empty())
            .flat_map(|it| numbers(&decoder.hidden_states(&PackedSequences::new([*it]))))
            .collect();
        assert_near(&numbers(&decoder.hidden_states(&shared)), &alone, "shared");
        assert_near(
            &numbers(&decoder.hidden_states_no_grad(&shared)),
            &alone,
            "shared, without a graph",
        );
        let apart = packed(&alike);
        assert_near(
            &numbers(&decoder.hidden_states_no_grad(&apart)),
            &alone,
            "apart, without a graph",
        );
        let [shared, apart] =
            [shared.clone(), apart].map(|it| decoder.logprobs(&it, 0.7).to_vecs());
        assert_near(&shared[0], &apart[0], "log-probabilities");
    }
}

/// A number of every tensor of a tensor of numbers, by its place.
fn weights(n: usize) -> Vec<f32> {
    (0..n).map(|it| (it as f32 * 0.9).cos() / n as f32).collect()
}

fn vector(numbers: &[f32], device: &Device) -> Tensor<1> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), device)
}

/// The gradient of a loss of log-probabilities, entropies and whole distributions, by one graph
/// over each sequence alone.
fn plain(decoder: &Decoder, asked: &[(Vec<TokenId>, Vec<usize>)], by: &[f32]) -> Vec<Vec<f32>> {
    let tracked = decoder.tracked();
    let mut loss: Option<Tensor<1>> = None;
    let mut first = 0;
    for (tokens, at) in asked.iter().filter(|it| !it.1.is_empty()) {
        let n = at.len();
        let by = vector(&by[first..first + n], tracked.device());
        first += n;
        let rows: Vec<i64> = at.iter().map(|it| *it as i64 - 1).collect();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), tracked.device());
        let ids: Vec<i64> = at.iter().map(|&it| i64::from(tokens[it])).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [n, 1]), tracked.device());
        let hidden = tracked.forward(std::slice::from_ref(tokens)).select(0, rows);
        let logits = tracked.logits(hidden) / 0.9;
        let all = log_softmax(logits.clone(), 1);
        let logprobs: Tensor<1> = all.clone().gather(1, ids).reshape([n]);
        let entropies: Tensor<1> = (all.clone().exp() * all).sum_dim(1).neg().reshape([n]);
        let whole: Tensor<1> = logits.tanh().mean_dim(1).reshape([n]);
        let part = ((logprobs + entropies * 0.3 + whole) * by).sum();
        loss = Some(match loss {
            Some(loss) => loss + part,
            None => part,
        });
    }
    let mut gradients = loss.unwrap().backward();
    let leaves = tracked.trainable().iter();
    leaves.map(|it| numbers(&it.grad_remove(&mut gradients).expect("all are used"))).collect()
}

#[test]
fn a_pass_goes_back_as_one_graph_would() {
    let asked = asked();
    let packed = packed(&asked);
    let n: usize = asked.iter().map(|it| it.1.len()).sum();
    let by = weights(n);
    let cases = [
        decoder(ModelFamily::Llama, false),
        decoder(ModelFamily::Qwen2, true),
        decoder(ModelFamily::Qwen3, true),
        adapted(&decoder(ModelFamily::Qwen2, true), &lora(&["q_proj", "v_proj", "down_proj"])),
        adapted(&decoder(ModelFamily::Llama, false), &lora(&["o_proj", "gate_proj", "up_proj"])),
    ];
    for (case, decoder) in cases.iter().enumerate() {
        let wanted = plain(decoder, &asked, &by);
        for checkpoints in [false, true] {
            let pass = decoder.training_pass(
                &packed,
                TrainingPassOptions { temperature: 0.9, gradient_checkpointing: checkpoints },
            );
            let specs = pass.parameters();
            let whole = pass.decoder().logits(pass.hidden.clone()) / 0.9;
            let whole: Tensor<1> = whole.tanh().mean_dim(1).reshape([n]);
            let loss = pass.logprobs.clone() + pass.entropies.clone() * 0.3 + whole;
            let loss = (loss * vector(&by, pass.decoder().device())).sum();
            let found = pass.backward(&loss);
            assert_eq!(found.len(), wanted.len());
            for ((spec, found), wanted) in specs.iter().zip(&found).zip(&wanted) {
                let what = format!("case {case}, checkpoints {checkpoints}, {}", spec.name);
                assert_near(&numbers(found), wanted, &what);
            }
        }
        let pass = decoder.training_pass(
            &packed,
            TrainingPassOptions { temperature: 0.9, gradient_checkpointing: true },
        );
        let wanted = decoder.logprobs(&packed, 0.9).to_vecs();
        let read = |it: &Tensor<1>| numbers(&it.clone().inner().unsqueeze());
        assert_near(&read(&pass.logprobs), &wanted[0], "log-probabilities");
        assert_near(&read(&pass.entropies), &wanted[1], "entropies");
    }
}

fn logits(decoder: &Decoder) -> Vec<f32> {
    let tokens: Vec<Vec<TokenId>> = asked().into_iter().map(|it| it.0).collect();
    numbers(&decoder.logits(decoder.forward(&tokens)))
}

#[test]
fn a_fresh_adapter_changes_nothing_and_a_merged_one_stays() {
    for family in ModelFamily::ALL {
        let decoder = decoder(family, true);
        let all = LoraConfig { targets: all_targets(), ..lora(&[]) };
        let fresh = decoder.with_lora(&all, "", 1).unwrap();
        assert_eq!(logits(&fresh), logits(&decoder));
        assert_eq!(fresh.trainable().len(), 2 * 7 * 3);
        assert_eq!(decoder.trainable().len(), decoder.weights().len());

        let trained = adapted(&decoder, &all);
        let changed = logits(&trained);
        let most = changed.iter().zip(logits(&decoder)).map(|(a, b)| (a - b).abs());
        assert!(most.fold(0.0, f32::max) > 0.1, "these adapters do something");
        let merged = trained.merged();
        assert!(merged.lora().is_none());
        assert_near(&logits(&merged), &changed, "merged");
        assert_eq!(logits(&trained.base_model()), logits(&decoder));
    }
}

fn all_targets() -> Vec<String> {
    let all: LoraConfig = serde_json::from_value(json!({ "rank": 1, "alpha": 1.0 })).unwrap();
    assert_eq!(all.targets.len(), 7);
    all.targets
}

#[test]
fn adapters_come_back_from_the_files_of_peft() {
    let decoder = decoder(ModelFamily::Qwen2, true);
    let trained = adapted(&decoder, &lora(&["q_proj", "down_proj"]));
    let folder = tempfile::tempdir().unwrap();
    save_adapter(&trained, folder.path()).unwrap();
    assert!(is_adapter(folder.path()));
    assert_eq!(base_of_adapter(folder.path()).unwrap().as_deref(), Some("models/base"));
    // The names that `peft` writes, and nothing else.
    let place = "base_model.model.model.layers";
    let expected: Vec<(String, Vec<usize>)> = (0..3)
        .flat_map(|layer| {
            [
                (format!("{place}.{layer}.self_attn.q_proj.lora_A.weight"), vec![3, 24]),
                (format!("{place}.{layer}.self_attn.q_proj.lora_B.weight"), vec![24, 3]),
                (format!("{place}.{layer}.mlp.down_proj.lora_A.weight"), vec![3, 40]),
                (format!("{place}.{layer}.mlp.down_proj.lora_B.weight"), vec![24, 3]),
            ]
        })
        .collect();
    read_tensors(&folder.path().join("adapter_model.safetensors"), &expected).unwrap();
    let loaded = decoder.load_adapter(folder.path()).unwrap();
    assert_eq!(logits(&loaded), logits(&trained));

    // By its folder, with the model that it names.
    let error = load(folder.path(), &Device::flex()).unwrap_err().kind().to_string();
    assert!(error.contains("belongs to the model `models/base`"), "{error}");
    let base = tempfile::tempdir().unwrap();
    save(&decoder, base.path(), SaveOptions::default()).unwrap();
    let name = base.path().to_str().unwrap();
    let renamed = decoder.with_lora(&lora(&["q_proj", "down_proj"]), name, 1).unwrap();
    save_adapter(&renamed.with_trainable(trained.trainable().to_vec()), folder.path()).unwrap();
    let loaded = load(folder.path(), &Device::flex()).unwrap();
    assert_eq!(logits(&loaded), logits(&trained));
    assert_eq!(weight_files(folder.path()).unwrap().len(), 2);
    // A full folder is the merge.
    let merged = tempfile::tempdir().unwrap();
    save(&trained, merged.path(), SaveOptions::default()).unwrap();
    assert_near(
        &logits(&load(merged.path(), &Device::flex()).unwrap()),
        &logits(&trained),
        "merge",
    );
}

#[test]
fn adapters_that_cannot_be_used_are_refused() {
    let decoder = decoder(ModelFamily::Qwen2, true);
    for (config, problem) in [
        (LoraConfig { rank: 0, ..lora(&["q_proj"]) }, "`rank` of an adapter is 0"),
        (lora(&["lm_head"]), "`lm_head` cannot have an adapter"),
        (lora(&["q_proj", "q_proj"]), "names `q_proj` twice"),
        (lora(&[]), "names no matrix"),
        (LoraConfig { alpha: f64::NAN, ..lora(&["q_proj"]) }, "`alpha` of an adapter is NaN"),
    ] {
        let error = decoder.with_lora(&config, "", 1).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    save_adapter(&adapted(&decoder, &lora(&["q_proj"])), folder.path()).unwrap();
    let path = folder.path().join("adapter_config.json");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (key, value, problem) in [
        ("peft_type", json!("IA3"), "`LORA` is supported"),
        ("bias", json!("all"), "`bias` \"all\" is not supported"),
        ("use_dora", json!(true), "`use_dora` is not supported"),
        ("modules_to_save", json!(["lm_head"]), "`modules_to_save` is not supported"),
        ("rank_pattern", json!({ "q_proj": 2 }), "`rank_pattern` is not supported"),
        ("target_modules", json!(".*_proj"), "`target_modules` is no list of names"),
        ("target_modules", json!(["embed_tokens"]), "`embed_tokens` cannot have an adapter"),
        ("r", json!(-1), "`r` is missing or no whole number"),
        ("r", json!(4), "has shape [3, 24], the model of `config.json` wants [4, 24]"),
        ("target_modules", json!(["k_proj", "q_proj"]), "k_proj.lora_A.weight` is missing"),
    ] {
        let mut keys = written.clone();
        keys[key] = value;
        fs::write(&path, keys.to_string()).unwrap();
        let error = decoder.load_adapter(folder.path()).unwrap_err();
        let text = error.kind().to_string();
        assert!(text.contains(problem), "{key}: {text}");
    }
    let mut keys = written.clone();
    keys["use_rslora"] = json!(true);
    fs::write(&path, keys.to_string()).unwrap();
    let loaded = decoder.load_adapter(folder.path()).unwrap();
    assert!((loaded.lora().unwrap().alpha - 5.0 * 3.0_f64.sqrt()).abs() < 1e-9);
    save_adapter(&adapted(&decoder, &lora(&["q_proj", "v_proj"])), folder.path()).unwrap();
    fs::write(&path, written.to_string()).unwrap();
    let error = decoder.load_adapter(folder.path()).unwrap_err();
    assert!(matches!(error.kind(), CheckpointErrorKind::Surplus(name) if name.contains("v_proj")));
}
