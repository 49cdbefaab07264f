//! Each recipe trains the shipped agent for 20 steps, in half a minute of one core: its numbers are
//! finite, the parts that only it has are at work, and its reward rises.
//!
//! Two or four questions a step, of two searches each (the shipped agent often answers after one);
//! any five steps in a row ask all of them once. The mean rewards of steps 1 to 5 and of steps 16
//! to 20 differed by 0.27 to 0.65 in runs of all recipes on the seeds 1 to 3. A run of a seed has
//! the same bits on the same processor and others elsewhere, which is as good as another seed; so
//! 0.1 is asked for.

use std::fs;

use forage_tests::Scratch;

use super::{root, train};

/// What the mean reward of the last five steps must be above that of the first five.
const RISE: f64 = 0.1;

/// Steps whose mean reward is compared.
const SOME: usize = 5;

/// What every recipe watches. Some of it only where a step moves the policy, or has a right answer.
const MONITORS: [&str; 21] = [
    "grad_norm/early_layers",
    "grad_norm/embedding",
    "grad_norm/head",
    "grad_norm/late_layers",
    "grad_norm/middle_layers",
    "groups/zero_variance",
    "loss/grad_norm",
    "loss/policy",
    "optimizer/lr",
    "policy/clip_fraction",
    "policy/correct_logprob",
    "policy/entropy",
    "policy/ratio_max",
    "policy/ratio_min",
    "policy/update_kl",
    "rollout/gold_retrieved",
    "rollout/mismatch_kl",
    "rollout/policy_tokens",
    "rollout/searches",
    "rollout/tokens",
    "train/skipped",
];

/// What makes the runs of this file longer and smaller than the others.
const TWENTY_STEPS: [&str; 7] = [
    "world.questions={ train = 10, dev = 1, test = 1 }",
    "world.mix={ hops = [2], comparison = 0.0 }",
    "training.steps=20",
    "training.questions_per_step=2",
    "training.checkpoint_every=20",
    "training.save_trajectories_every=20",
    "evaluation.every=20",
];

/// The same for four questions a step.
const FOUR: &str = "world.questions={ train = 20, dev = 1, test = 1 }";

/// A recipe and what is asked of it.
struct Recipe {
    name: &'static str,
    /// What makes it small that is not the same for all.
    edits: &'static [&'static str],
    /// What it alone watches: not 0 in all steps.
    own: &'static [&'static str],
}

/// One test a recipe, so that they run beside each other, and the list of them.
macro_rules! recipes {
    ($($test:ident: $recipe:expr;)*) => {
        const RECIPES: &[Recipe] = &[$($recipe),*];

        $(
            #[test]
            fn $test() {
                learns(&$recipe);
            }
        )*
    };
}

recipes! {
    search_r1_ppo: Recipe {
        name: "search-r1-ppo",
        edits: &["training.group_size=3", "optimizer.lr=2.5e-4"],
        own: &["critic/loss", "critic/grad_norm", "critic/lr", "policy/reference_kl"],
    };
    search_r1_grpo: Recipe {
        name: "search-r1-grpo",
        edits: &[],
        own: &["policy/reference_kl"],
    };
    // Its bonus for wrong answers leaves less to rise.
    e_grpo: Recipe {
        name: "e-grpo",
        edits: &["training.questions_per_step=4", FOUR],
        own: &["reward/entity-match/gamma", "reward/entity-match/bonus"],
    };
    stepsearch: Recipe {
        name: "stepsearch",
        edits: &["training.group_size=3", "training.mini_batches=2", "optimizer.lr=2.5e-4"],
        own: &["critic/loss", "critic/grad_norm", "critic/lr", "policy/reference_kl"],
    };
    sd_search: Recipe {
        name: "sd-search",
        edits: &[],
        own: &["loss/distillation", "distillation/tokens", "distillation/entropy_gap"],
    };
    dapo: Recipe {
        name: "dapo",
        edits: &["training.extra_groups=2"],
        own: &["groups/trained", "groups/extra"],
    };
    dr_grpo: Recipe { name: "dr-grpo", edits: &[], own: &[] };
    rloo: Recipe { name: "rloo", edits: &[], own: &["policy/reference_kl"] };
    gspo: Recipe {
        name: "gspo",
        edits: &["training.questions_per_step=4", FOUR],
        own: &["policy/clip_fraction"],
    };
}

fn learns(recipe: &Recipe) {
    let scratch = Scratch::new();
    train(&scratch, recipe.name, &[&TWENTY_STEPS, recipe.edits].concat()).done();
    let rows = scratch.rows("run/metrics.jsonl");
    assert_eq!(rows.len(), 21);
    for row in &rows {
        for (name, value) in row.as_object().unwrap() {
            assert!(value.as_f64().is_some_and(f64::is_finite), "{name}: {value} in {row}");
        }
    }
    let steps = &rows[1..];
    assert!(steps.iter().all(|it| it["train/skipped"] == 0), "{steps:#?}");
    let values =
        |name: &str| -> Vec<f64> { steps.iter().filter_map(|it| it.get(name)?.as_f64()).collect() };
    for name in MONITORS {
        assert!(!values(name).is_empty(), "`{name}` is not watched");
    }
    for name in recipe.own {
        assert!(values(name).iter().any(|it| *it != 0.0), "`{name}` is idle: {:?}", values(name));
    }
    let rewards = values("reward/mean");
    let mean = |some: &[f64]| some.iter().sum::<f64>() / some.len() as f64;
    let (first, last) = (mean(&rewards[..SOME]), mean(&rewards[rewards.len() - SOME..]));
    println!("{}: from {first:.3} to {last:.3}", recipe.name);
    assert!(last - first >= RISE, "from {first} to {last}: {rewards:?}");

    match recipe.name {
        // Its warm-up is five steps long, and before it is over nobody is taught.
        "sd-search" => {
            let taught = steps.iter().position(|it| it.get("loss/distillation").is_some());
            assert!(taught >= Some(5), "{taught:?}");
        }
        "dapo" => {
            // Two questions a step, and at most two more: not one after two groups differ.
            let pairs = values("groups/extra").into_iter().zip(values("groups/trained"));
            for (extra, trained) in pairs {
                let is_bound = extra <= 2.0 && trained <= 2.0 && (extra > 1.5 || trained > 1.5);
                assert!(is_bound, "{extra} more, {trained} trained");
            }
        }
        _ => {}
    }
}

#[test]
fn every_recipe_is_tried_and_names_its_paper() {
    let entries = fs::read_dir(root().join("configs")).unwrap();
    let mut names: Vec<String> = entries
        .map(|it| it.unwrap().path())
        .filter(|it| fs::read_to_string(it).unwrap().contains("\n[algorithm]\n"))
        .map(|it| it.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut tried: Vec<&str> = RECIPES.iter().map(|it| it.name).collect();
    tried.sort_unstable();
    assert_eq!(names, tried);
    for name in tried {
        let text = fs::read_to_string(root().join(format!("configs/{name}.toml"))).unwrap();
        assert!(text.lines().next().unwrap().contains("(arXiv 2"), "{name} names no paper");
    }
}
