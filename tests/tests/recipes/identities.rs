//! What a recipe adds, switched off, is what it was added to, bit for bit.

use std::fs;

use forage_tests::{Output, Scratch};

use super::{root, start_file, train};

/// The weights after two steps, and the mean rewards on the way.
fn trained(train: impl FnOnce(&Scratch) -> Output) -> (Vec<u8>, Vec<String>) {
    let scratch = Scratch::new();
    train(&scratch).done();
    let weights = fs::read(scratch.path("run/checkpoints/step-000002/model.safetensors")).unwrap();
    let rows = scratch.rows("run/metrics.jsonl");
    (weights, rows[1..].iter().map(|it| it["reward/mean"].to_string()).collect())
}

#[test]
fn e_grpo_without_a_bonus_is_grpo() {
    let of = |reward: &[&str]| trained(|scratch| train(scratch, "e-grpo", reward));
    let grpo = of(&["reward.entity-match.plugin=exact-match", "reward.entity-match.config={}"]);
    let without = of(&["reward.entity-match.config={ alpha = 0.0 }"]);
    assert!(without == grpo, "rewards {:?}, not {:?}", without.1, grpo.1);
    assert!(of(&["reward.entity-match.config={ alpha = 0.3 }"]) != grpo);
}

#[test]
fn sd_search_in_its_warmup_or_without_a_coefficient_is_grpo() {
    let text = fs::read_to_string(root().join("configs/sd-search.toml")).unwrap();
    let first = text.find("[algorithm.self_distillation]").unwrap();
    let last = first + text[first..].find("\n[optimizer]").unwrap();
    let grpo = trained(|scratch| {
        scratch.write("grpo.toml", text[..first].to_owned() + &text[last..]);
        start_file(scratch, &scratch.path("grpo.toml"), &[], &[])
    });
    let after = |warmup: &str, coefficient: &str| {
        let edits = [("warmup_steps", warmup), ("coefficient", coefficient)]
            .map(|(key, value)| format!("algorithm.self_distillation.{key}={value}"));
        // Whether a teacher read in each of the steps.
        let mut read = Vec::new();
        let trained = trained(|scratch| {
            let output = train(scratch, "sd-search", &edits.each_ref().map(String::as_str));
            let rows = scratch.rows("run/timings.jsonl");
            read.extend(rows.iter().map(|it| it["seconds/teacher"].as_f64().unwrap() > 0.0));
            output
        });
        (trained, read)
    };
    assert!(after("2", "1e-3") == (grpo.clone(), vec![false; 2]), "two steps of waiting");
    assert!(after("0", "0.0") == (grpo.clone(), vec![false; 2]), "a coefficient of nothing");
    let (taught, read) = after("1", "1e-3");
    assert_eq!(read, [false, true]);
    assert!(taught.0 != grpo.0, "nothing was taught");
    assert_eq!(taught.1, grpo.1, "the second step is played before it is taught");
}
