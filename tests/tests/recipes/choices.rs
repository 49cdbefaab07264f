//! What can be chosen and no recipe names, and choices of the loop around the loss: each is at
//! work.

use std::fs;

use forage_tests::Scratch;
use serde_json::Value;

use super::{groups_of, train};

/// What makes a run as small as a test of one choice needs it.
const TINY: [&str; 4] = [
    "training.steps=1",
    "training.questions_per_step=2",
    "training.save_trajectories_every=1",
    "world.questions={ train = 12, dev = 1, test = 1 }",
];

/// The metrics of the steps of a run.
fn steps(scratch: &Scratch, recipe: &str, edits: &[&str]) -> Vec<Value> {
    train(scratch, recipe, &[&TINY, edits].concat()).done();
    let rows = scratch.rows("run/metrics.jsonl");
    for row in &rows {
        for (name, value) in row.as_object().unwrap() {
            assert!(value.as_f64().is_some_and(f64::is_finite), "{name}: {value} in {row}");
        }
    }
    rows[1..].to_vec()
}

#[test]
fn what_no_recipe_names_trains() {
    // Each with what it alone watches. A bonus of entropy moves weights where no reward differs.
    let table: [(&[&str], &[&str]); 3] = [
        (
            &[
                "algorithm.advantage={ name = \"gigpo\", scale = \"deviation\" }",
                "algorithm.loss={ name = \"cispo\", clip_low = 0.2, ratio = \"sequence\" }",
                "algorithm.correction={ name = \"token\", reject = { distance = \"mean-k3\", high = 10.0 } }",
            ],
            &["rollout/rejected"],
        ),
        (
            &[
                "algorithm.advantage={ name = \"reinforce-plus-plus\", gamma = 0.99 }",
                "algorithm.loss={ name = \"sapo\" }",
                "algorithm.llds={ gate = \"token\" }",
                "training.epochs=2",
            ],
            &["loss/llds"],
        ),
        (
            &[
                "algorithm.advantage={ name = \"reinforce-plus-plus-baseline\" }",
                "algorithm.correction={ name = \"icepop\" }",
                "training.curriculum=[{ from = 0, hops = 1 }]",
                "world.mix={ hops = [1, 2, 3], comparison = 0.0 }",
            ],
            &["rollout/rejected"],
        ),
    ];
    for (edits, own) in table {
        let scratch = Scratch::new();
        let steps = steps(&scratch, "rloo", &[edits, &["algorithm.entropy=0.001"]].concat());
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0]["train/skipped"], 0, "{edits:?}");
        assert!(steps[0]["loss/grad_norm"].as_f64() > Some(0.0), "{edits:?}: {steps:?}");
        for name in own {
            assert!(steps[0].get(name).is_some(), "{edits:?}: `{name}` is not watched");
        }
        if let Some(llds) = steps[0].get("loss/llds") {
            assert!(llds.as_f64() > Some(0.0), "{llds}: nothing fell in a second epoch");
        }
        if edits.iter().any(|it| it.contains("curriculum")) {
            for it in groups_of(&scratch, "trajectories/step-000001-train") {
                assert_eq!(it.group.question.hops(), Some(1), "{:?}", it.group.question);
            }
        }
    }
}

/// One update a step, after which the policy is not the start any more.
#[test]
fn a_reference_that_is_refreshed_is_where_the_policy_was() {
    let distances = |edits: &[&str]| -> Vec<f64> {
        let edits = [&["training.steps=2", "training.mini_batches=1"], edits].concat();
        let steps = steps(&Scratch::new(), "search-r1-grpo", &edits);
        steps.iter().map(|it| it["policy/reference_kl"].as_f64().unwrap()).collect()
    };
    let (kept, refreshed) = (distances(&[]), distances(&["training.reference_every=1"]));
    // In the first step both are the start.
    assert!(kept[0].abs() < 1e-9 && refreshed[0].abs() < 1e-9, "{kept:?} {refreshed:?}");
    assert!(refreshed[1].abs() < 1e-9 && kept[1] > 1e-7, "{kept:?} {refreshed:?}");
}

/// The second time, the policy is not the one that sampled.
#[test]
fn a_second_epoch_goes_on_from_the_first() {
    let trained = |epochs: &str| {
        let scratch = Scratch::new();
        let steps = steps(&scratch, "search-r1-grpo", &["training.mini_batches=1", epochs]);
        let weights = "run/checkpoints/step-000001/model.safetensors";
        (steps[0].clone(), fs::read(scratch.path(weights)).unwrap())
    };
    let (once, twice) = (trained("training.epochs=1"), trained("training.epochs=2"));
    let number = |row: &Value, name: &str| row[name].as_f64().unwrap();
    let tokens = |row: &Value| number(row, "policy/trained_tokens");
    assert!((tokens(&twice.0) - 2.0 * tokens(&once.0)).abs() < 0.5);
    let off = |row: &Value| number(row, "policy/ratio_max") - number(row, "policy/ratio_min");
    assert!(off(&once.0) < 1e-3 && off(&twice.0) > 10.0 * off(&once.0), "{once:?} {twice:?}");
    assert_eq!(once.0["reward/mean"], twice.0["reward/mean"]);
    assert!(once.1 != twice.1, "the second epoch moved nothing");
}
