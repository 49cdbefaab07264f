//! Model folders, as a person uses them: `forage export`, and search with an encoder.

use std::fs;
use std::path::{Path, PathBuf};

use forage_tests::{RUN_FILE, Scratch, Shape, write_model};
use serde_json::Value;

/// The random encoder that the tests of `crates/model` read.
fn encoder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/model/tests/fixtures/bert")
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn adapters_of_a_run_are_exported_as_one_model() {
    let scratch = Scratch::new();
    write_model(&scratch.path("model"), Shape::default());
    let lora =
        "[model]\npath = \"model\"\nlora = { rank = 2, alpha = 4.0, targets = [\"q_proj\"] }";
    scratch.write("run.toml", RUN_FILE.replace("[model]\npath = \"model\"", lora));
    let two_steps = ["--set", "training.steps=2", "--set", "evaluation.every=2"];
    scratch.forage([&["train", "run.toml", "--out", "run"][..], &two_steps].concat()).done();

    // What generation recorded is what training computes, adapters included.
    for row in scratch.rows("run/metrics.jsonl").iter().filter(|it| it["step"] != 0) {
        let of = |name: &str| row[format!("rollout/{name}")].as_f64().unwrap();
        assert!(of("policy_tokens") > 0.0);
        assert!(of("mismatch") <= 1e-5 && of("mismatch_max") <= 1e-3, "{row}");
        assert!((0.0..=1e-6).contains(&of("mismatch_kl")), "{row}");
    }

    let exported = scratch.forage(["export", "run", "--out", "whole"]).done();
    assert_eq!(exported.stdout, "whole\n");
    let whole = scratch.path("whole");
    assert_eq!(names_in(&whole), ["config.json", "model.safetensors", "tokenizer.json"]);
    // The tensors of the model that was adapted, with other numbers.
    let tensors = |folder: &str| fs::read(scratch.path(folder).join("model.safetensors")).unwrap();
    assert_eq!(tensors("whole").len(), tensors("model").len());
    assert_ne!(tensors("whole"), tensors("model"));

    let small = ["export", "whole", "--out", "small", "--numbers", "bf16", "--shard", "0"];
    scratch.forage(small).done();
    let config: Value = serde_json::from_str(&scratch.read("small/config.json")).unwrap();
    assert_eq!(config["torch_dtype"], "bfloat16");
    assert!(names_in(&scratch.path("small")).contains(&"model.safetensors.index.json".to_owned()));

    let again = scratch.forage(["export", "run", "--out", "whole"]).ended(2);
    assert!(again.stderr.contains("`whole` is there already"), "{}", again.stderr);
    let nothing = scratch.forage(["export", "nowhere", "--out", "other"]).ended(3);
    assert!(nothing.stderr.contains("cannot use the model `nowhere`"), "{}", nothing.stderr);
    assert!(!scratch.path("other").exists());
}

#[test]
fn a_run_is_used_from_elsewhere() {
    let scratch = Scratch::new();
    let inner = |name: &str| scratch.path(format!("inner/{name}"));
    write_model(&inner("model"), Shape::default());
    let lora =
        "[model]\npath = \"model\"\nlora = { rank = 2, alpha = 4.0, targets = [\"q_proj\"] }";
    scratch.write(
        "inner/corpus.jsonl",
        "{\"id\": \"a\", \"text\": \"Alien was directed by Ridley Scott\"}\n",
    );
    let question = "{\"id\": \"q\", \"question\": \"who directed Alien\", \
                    \"golden_answers\": [\"Ridley Scott\"]}\n";
    scratch.write("inner/q.jsonl", question);
    let data = "[data]\ntrain = \"q.jsonl\"\ndev = \"q.jsonl\"\ntest = \"q.jsonl\"\n\n\
                [retriever]\nindex = \"index\"\n";
    let (start, rest) = RUN_FILE.split_once("[world]").unwrap();
    let (_, rest) = rest.split_once("[rollout]").unwrap();
    let text = format!("{start}{data}\n[rollout]{rest}");
    scratch.write("inner/run.toml", text.replace("[model]\npath = \"model\"", lora));
    let within = |arguments: &[&str]| {
        let mut command = scratch.command(arguments);
        forage_tests::end_of(command.current_dir(inner("")).spawn().unwrap())
    };
    within(&["index", "--corpus", "corpus.jsonl", "--out", "index"]).done();
    let short = ["--set", "training.steps=1", "--set", "evaluation.every=1"];
    let once = ["--set", "training.questions_per_step=1"];
    within(&[&["train", "run.toml", "--out", "run"][..], &short, &once].concat()).done();

    let path = "inner/run/checkpoints/step-000001/adapter_config.json";
    let config: Value = serde_json::from_str(&scratch.read(path)).unwrap();
    let base = Path::new(config["base_model_name_or_path"].as_str().unwrap());
    assert!(base.is_absolute() && base.ends_with("inner/model"), "{}", base.display());
    scratch.forage(["export", "inner/run", "--out", "there"]).done();
    scratch.forage(["eval", "inner/run"]).done();

    // The run is moved together with its files, but for the model.
    fs::rename(inner(""), scratch.path("moved")).unwrap();
    fs::rename(scratch.path("moved/model"), scratch.path("elsewhere")).unwrap();
    let lost = scratch.forage(["export", "moved/run", "--out", "x"]).ended(3);
    for named in ["inner/model`, which is no model folder here: looked for", "--base DIR"] {
        assert!(lost.stderr.contains(named), "{}", lost.stderr);
    }
    scratch.forage(["export", "moved/run", "--out", "moved-there", "--base", "elsewhere"]).done();
    scratch.forage(["eval", "moved/run", "--base", "elsewhere"]).done();
    let weights = |name: &str| fs::read(scratch.path(name).join("model.safetensors")).unwrap();
    assert_eq!(weights("there"), weights("moved-there"));
}

#[test]
fn a_prompt_that_opens_the_thought_is_told() {
    let scratch = Scratch::ready();
    for (end, told) in [
        ("<think>\n", "the prompt opens a thought"),
        ("<think>\n\n</think>\n\n", "the prompt ends with an empty thought"),
        ("", ""),
    ] {
        let template = format!(
            "{{% for m in messages %}}[{{{{ m.role }}}}] {{{{ m.content }}}}\n{{% endfor %}}\
             {{% if add_generation_prompt %}}[assistant]\n{end}{{% endif %}}"
        );
        scratch.write("model/chat_template.jinja", template);
        let checked = scratch.forage(["check", "run.toml", "--set", "rollout.chat=true"]).done();
        assert!(checked.stdout.contains(told), "{}", checked.stdout);
        assert_eq!(checked.stdout.contains("thought:"), !end.is_empty(), "{}", checked.stdout);
    }
}

#[test]
fn an_encoder_ranks_passages() {
    let scratch = Scratch::new();
    scratch.write(
        "corpus.jsonl",
        "{\"id\": \"a\", \"text\": \"to be or not to be\"}\n\
         {\"id\": \"b\", \"text\": \"a tragedy by William Shakespeare\"}\n",
    );
    let encoder = encoder().to_string_lossy().into_owned();
    let embed = ["--vectors", "vectors", "--encoder", &encoder];
    scratch
        .forage([&["index", "--corpus", "corpus.jsonl", "--out", "index"][..], &embed].concat())
        .done();
    let search = ["search", "--index", "index", "--rank", "dense", "--json", "-k", "2"];
    // Prefixes belong to what makes vectors; those of the folder are others.
    let prefixed = ["--query-prefix", "find: ", "to be or not to be"];
    let other = scratch.forage([&search[..], &embed, &prefixed].concat()).ended(3);
    assert!(other.stderr.contains("they were made by"), "{}", other.stderr);
    let output = scratch.forage([&search[..], &embed, &["to be or not to be"]].concat()).done();
    let hits: Vec<Value> =
        output.stdout.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(hits.len(), 2, "{}", output.stdout);
    assert!(hits.iter().all(|it| it["score"].as_f64().unwrap() <= 1.001));

    let elsewhere = scratch.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("config.json"), r#"{"model_type": "roberta"}"#).unwrap();
    let other = ["--vectors", "vectors", "--encoder", "elsewhere", "be"];
    let refused = scratch.forage([&search[..], &other].concat()).ended(3);
    assert!(refused.stderr.contains("`model_type` is `roberta`"), "{}", refused.stderr);
}
