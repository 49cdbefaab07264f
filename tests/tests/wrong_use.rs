//! What people get wrong: the exit code, and a message that names the thing and says what to do.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fmt::Write;
use std::fs::{self, File};
use std::path::Path;

use forage_tests::{RUN_FILE, Scratch, Shape, forage, write_model};

/// One thing done wrong, in a fresh folder with a run file and a model.
struct Case {
    name: &'static str,
    setup: fn(&Scratch),
    arguments: &'static str,
    code: i32,
    stderr: &'static [&'static str],
}

/// A good passage, and a good question about it.
const PASSAGE: &str = r#"{"id": "1", "title": "Veltor", "text": "Directed by Mirko Tavel."}"#;
const QUESTION: &str =
    r#"{"id": "1", "question": "Who directed Veltor?", "golden_answers": ["Mirko Tavel"]}"#;

fn nothing(_: &Scratch) {}

/// Changes the run file.
fn edit(scratch: &Scratch, from: &str, to: &str) {
    assert!(RUN_FILE.contains(from), "`{from}` is not in the run file");
    scratch.write("run.toml", RUN_FILE.replace(from, to));
}

/// Makes a run file whose only reward is this, instead of `plugin = "format"`.
fn reward(scratch: &Scratch, section: &str) {
    edit(scratch, "plugin = \"format\"", section);
}

/// Makes a run file with a plugin that was built for the next ABI.
fn plugin_of_another_abi(scratch: &Scratch) {
    let name = format!("{DLL_PREFIX}exact_match{DLL_SUFFIX}");
    let mut bytes = fs::read(forage().with_file_name(name)).unwrap();
    // Magic, major 1, minor 0: the magic alone may stand elsewhere too.
    let header = b"FORAGRWD\x01\0\0\0\0\0\0\0";
    let at = bytes.windows(header.len()).position(|it| it == header).unwrap();
    bytes[at + 8] = 2;
    scratch.write("libnewer.so", bytes);
    reward(scratch, "plugin = \"./libnewer.so\"");
}

/// Makes a run file with a library that is no plugin: the mathematics of C.
#[cfg(target_os = "linux")]
fn library_that_is_no_plugin(scratch: &Scratch) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let c = maps.lines().filter_map(|it| it.split_whitespace().last());
    let c = c.into_iter().find(|it| it.ends_with("/libc.so.6")).expect("std is linked with glibc");
    fs::copy(Path::new(c).with_file_name("libm.so.6"), scratch.path("libm.so")).unwrap();
    reward(scratch, "plugin = \"./libm.so\"");
}

/// Makes a run file that plays with files, all of them good.
fn files(scratch: &Scratch) {
    scratch.write("corpus.jsonl", format!("{PASSAGE}\n"));
    scratch.forage(["index", "--corpus", "corpus.jsonl", "--out", "index"]).done();
    for split in ["train", "dev", "test"] {
        scratch.write(&format!("{split}.jsonl"), format!("{QUESTION}\n"));
    }
    let world = RUN_FILE.find("[world]").unwrap()..RUN_FILE.find("[rollout]").unwrap();
    let mut text = RUN_FILE.to_owned();
    text.replace_range(
        world,
        "[data]\ntrain = 'train.jsonl'\ndev = 'dev.jsonl'\ntest = 'test.jsonl'\n\n\
         [retriever]\nindex = 'index'\n\n",
    );
    scratch.write("run.toml", text);
}

/// Makes a folder that looks as if a run with this configuration had been started in it.
fn started(scratch: &Scratch, config: &str) {
    scratch.write("run/config.toml", config);
}

const CASES: &[Case] = &[
    // The run file.
    Case {
        name: "a misspelt key",
        setup: |it| edit(it, "group_size", "groupsize"),
        arguments: "train run.toml",
        code: 2,
        stderr: &["run file `run.toml` is wrong", "line 29, column 1", "unknown field `groupsize`"],
    },
    Case {
        name: "no TOML",
        setup: |it| edit(it, "seed = 1", "seed = = 1"),
        arguments: "check run.toml",
        code: 2,
        stderr: &["run file `run.toml` is wrong", "line 2, column"],
    },
    Case {
        name: "a run file that is not there",
        setup: nothing,
        arguments: "train nowhere.toml",
        code: 3,
        stderr: &["run file `nowhere.toml` cannot be read", "No such file"],
    },
    Case {
        name: "a group of one",
        setup: nothing,
        arguments: "train run.toml --set training.group_size=1",
        code: 2,
        stderr: &["`training.group_size` must be 2 or more"],
    },
    Case {
        name: "a prompt without the question",
        setup: |it| edit(it, "Question: {question}", "Question: {query}"),
        arguments: "train run.toml",
        code: 2,
        stderr: &["`rollout.prompt` does not contain `{question}`"],
    },
    Case {
        name: "a chat with a model without a template",
        setup: nothing,
        arguments: "train run.toml --set rollout.chat=true",
        code: 2,
        stderr: &["`rollout.chat` is true, but the model `model` has no chat template", "hint: "],
    },
    Case {
        name: "a system that speaks in no chat",
        setup: nothing,
        arguments: "train run.toml --set rollout.system=obey",
        code: 2,
        stderr: &["`rollout.system` is used with `rollout.chat = true` only"],
    },
    Case {
        name: "a world too small",
        setup: nothing,
        arguments: "train run.toml --set world.entities.train=3",
        code: 2,
        stderr: &["the world cannot be made", "split `train` has 3 entities", "`world.entities`"],
    },
    Case {
        name: "more questions than there are",
        setup: nothing,
        arguments: "world run.toml --out world --set world.questions.dev=100000",
        code: 2,
        stderr: &[
            "the world cannot be made",
            "split `dev` has no more distinct",
            "`world.questions`",
        ],
    },
    Case {
        name: "no questions",
        setup: nothing,
        arguments: "train run.toml --set world.questions.test=0",
        code: 2,
        stderr: &["`world.questions.test` is 0"],
    },
    Case {
        name: "bf16 where nothing computes in it",
        setup: nothing,
        arguments: "train run.toml --set model.compute=bf16",
        code: 2,
        stderr: &["`model.compute = \"bf16\"` cannot be had on the device `cpu`", "as `cuda:N`"],
    },
    Case {
        name: "a cache that no trajectory fits into",
        setup: nothing,
        arguments: "train run.toml --set model.cache_tokens=10",
        code: 2,
        stderr: &["`model.cache_tokens` is less than `rollout.max_tokens`"],
    },
    Case {
        name: "an unknown device",
        setup: nothing,
        arguments: "train run.toml --set device=cuda:7",
        code: 2,
        stderr: &[
            "the device `cuda:7` cannot be used",
            "without the cargo feature `cuda`; devices found: `cpu`",
        ],
    },
    Case {
        name: "`--set` without a value",
        setup: nothing,
        arguments: "train run.toml --set seed",
        code: 2,
        stderr: &["`--set seed`: there is no `=`", "for example `--set"],
    },
    Case {
        name: "`--set` of an unknown key",
        setup: nothing,
        arguments: "train run.toml --set training.stepz=3",
        code: 2,
        stderr: &["unknown field `stepz`"],
    },
    Case {
        name: "`--set` of a key within a value",
        setup: nothing,
        arguments: "train run.toml --set seed.x=3",
        code: 2,
        stderr: &["`--set seed.x=3`: `seed` is no table"],
    },
    Case {
        name: "`--set` of an unknown table in a table of one line",
        setup: nothing,
        arguments: "train run.toml --set world.entities.a.b=3",
        code: 2,
        stderr: &["unknown field `a`"],
    },
    Case {
        name: "`--set` with a value of another type",
        setup: nothing,
        arguments: "train run.toml --set training.steps=many",
        code: 2,
        stderr: &["invalid type: string \"many\""],
    },
    Case {
        name: "a training file for the warm start",
        setup: nothing,
        arguments: "sft run.toml",
        code: 2,
        stderr: &["`run.toml` has no `[sft]` section", "hint: start it with `forage train`"],
    },
    Case {
        name: "a warm start for training",
        setup: |it| {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/warm-start.toml");
            fs::copy(file, it.path("warm-start.toml")).unwrap();
        },
        arguments: "train warm-start.toml",
        code: 2,
        stderr: &["`warm-start.toml` has no `[training]` section", "`forage sft`"],
    },
    // The model.
    Case {
        name: "no model",
        setup: nothing,
        arguments: "train run.toml --set model.path=nowhere",
        code: 3,
        stderr: &["cannot use the model `nowhere`, which is not there"],
    },
    Case {
        name: "no tokenizer",
        setup: |it| fs::remove_file(it.path("model/tokenizer.json")).unwrap(),
        arguments: "train run.toml",
        code: 3,
        stderr: &["cannot use the model `model`", "`model/tokenizer.json`", "No such file"],
    },
    Case {
        name: "weights that were cut short",
        setup: |it| {
            let file =
                File::options().write(true).open(it.path("model/model.safetensors")).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        },
        arguments: "train run.toml",
        code: 3,
        stderr: &["`model/model.safetensors`", "not a whole safetensors file"],
    },
    Case {
        name: "weights of a wider model",
        setup: |it| {
            write_model(&it.path("other"), Shape { width: 64, ..Shape::default() });
            fs::copy(it.path("other/model.safetensors"), it.path("model/model.safetensors"))
                .unwrap();
        },
        arguments: "train run.toml",
        code: 3,
        stderr: &["`model/model.safetensors`", "`model.embed_tokens.weight` has shape"],
    },
    Case {
        name: "weights of a deeper model",
        setup: |it| {
            write_model(&it.path("other"), Shape { layers: 3, ..Shape::default() });
            fs::copy(it.path("other/config.json"), it.path("model/config.json")).unwrap();
        },
        arguments: "check run.toml",
        code: 3,
        stderr: &["`model.layers.2", "is missing", "all tensors fit with `num_hidden_layers` = 2"],
    },
    // Reward plugins.
    Case {
        name: "a plugin that is not there",
        setup: |it| reward(it, "plugin = \"no-such\""),
        arguments: "train run.toml",
        code: 4,
        stderr: &["reward plugin `no-such`", "no such library; looked for", "plugin build no-such"],
    },
    Case {
        name: "a plugin that is a text",
        setup: |it| {
            it.write("libfake.so", "not a library");
            reward(it, "plugin = \"./libfake.so\"");
        },
        arguments: "check run.toml",
        code: 4,
        stderr: &["reward `format`", "failed to open the shared library", "is the file whole"],
    },
    #[cfg(target_os = "linux")]
    Case {
        name: "a plugin that is another library",
        setup: library_that_is_no_plugin,
        arguments: "check run.toml",
        code: 4,
        stderr: &["reward `format`", "not a reward plugin: no `export_reward!` in it", "`cdylib`"],
    },
    Case {
        name: "a plugin of another ABI",
        setup: plugin_of_another_abi,
        arguments: "train run.toml",
        code: 4,
        stderr: &[
            "built for plugin ABI 2.0, this Forage speaks 1.0",
            "`cargo xtask plugin build newer` builds it with the SDK of this Forage",
        ],
    },
    Case {
        name: "a plugin that refuses its configuration",
        setup: |it| reward(it, "plugin = \"format\"\nconfig = { mod = 1 }"),
        arguments: "train run.toml",
        code: 4,
        stderr: &["reward `format`", "unknown field `mod`"],
    },
    Case {
        name: "a plugin that answers with garbage",
        setup: |it| reward(it, "plugin = \"misbehaving\"\nconfig = { mode = \"garbage\" }"),
        arguments: "train run.toml --out run",
        code: 4,
        stderr: &["question `", "answered with something else than grades", "a bug of the plugin"],
    },
    Case {
        name: "a plugin that never answers",
        setup: |it| {
            let section =
                "plugin = \"misbehaving\"\ndeadline_s = 0.5\nconfig = { mode = \"loop\" }";
            reward(it, section);
        },
        arguments: "train run.toml --out run",
        code: 4,
        stderr: &["question `", "gave no answer within 0.5 s", "`deadline_s` gives it more time"],
    },
    Case {
        name: "a judge that is away for good",
        setup: |it| {
            let section =
                "plugin = \"misbehaving\"\nfailed_limit = 4\nconfig = { mode = \"error\" }";
            reward(it, section);
        },
        arguments: "train run.toml --out run",
        code: 4,
        stderr: &["could not score ", "`failed_limit` is 4: the judge is away"],
    },
    Case {
        name: "a plugin that ends the process, on another thread",
        setup: nothing,
        arguments: "reward check misbehaving --set mode=\"abort\"",
        code: 4,
        stderr: &["the plugin ended the process it was tried in", "without a checkpoint"],
    },
    // Corpus and index.
    Case {
        name: "a corpus that is not there",
        setup: nothing,
        arguments: "index --corpus nowhere.jsonl --out index",
        code: 3,
        stderr: &["cannot open `nowhere.jsonl`", "No such file"],
    },
    Case {
        name: "a bad line in a corpus",
        setup: |it| it.write("corpus.jsonl", format!("{PASSAGE}\n{{\"id\": 2, \"title\n")),
        arguments: "index --corpus corpus.jsonl --out index",
        code: 3,
        stderr: &["corpus.jsonl:2: not JSON: it ends in the middle", "`--skip-bad`"],
    },
    Case {
        name: "an id twice in a corpus",
        setup: |it| it.write("corpus.jsonl", format!("{PASSAGE}\n{PASSAGE}\n")),
        arguments: "index --corpus corpus.jsonl --out index",
        code: 3,
        stderr: &["corpus.jsonl:2: the id `1` is already that of corpus.jsonl:1", "`--skip-bad`"],
    },
    Case {
        name: "an index over something else",
        setup: |it| it.write("corpus.jsonl", PASSAGE),
        arguments: "index --corpus corpus.jsonl --out model",
        code: 3,
        stderr: &["/model` exists and is not an index", "give `--out` a new folder"],
    },
    Case {
        name: "an index of another analyzer",
        setup: |it| {
            files(it);
            let key = "index = 'index'\n";
            let text = it.read("run.toml").replace(key, &format!("{key}analyzer = 'plain'\n"));
            it.write("run.toml", text);
        },
        arguments: "train run.toml",
        code: 3,
        stderr: &[
            "`index` was made with the analyzer `english`, not with `plain`",
            "`forage index",
        ],
    },
    Case {
        name: "a folder that is no index",
        setup: nothing,
        arguments: "search --index model Veltor",
        code: 3,
        stderr: &["`model` is not a complete index", "`forage index"],
    },
    // Questions.
    Case {
        name: "no question file",
        setup: |it| {
            files(it);
            fs::remove_file(it.path("dev.jsonl")).unwrap();
        },
        arguments: "train run.toml",
        code: 3,
        stderr: &["cannot use the question file `dev.jsonl`", "No such file"],
    },
    Case {
        name: "an empty question file",
        setup: |it| {
            files(it);
            it.write("train.jsonl", "\n");
        },
        arguments: "train run.toml",
        code: 3,
        stderr: &["cannot use the question file `train.jsonl`", "it holds no question"],
    },
    Case {
        name: "a question without an answer",
        setup: |it| {
            files(it);
            it.write("test.jsonl", format!("{QUESTION}\n{{\"id\": 2, \"question\": \"who?\"}}\n"));
        },
        arguments: "check run.toml",
        code: 3,
        stderr: &["test.jsonl:2", "the question has no answer", "golden_answers"],
    },
    Case {
        name: "a bad line in a question file",
        setup: |it| {
            files(it);
            it.write("test.jsonl", format!("{QUESTION}\n{{\"id\"\n"));
        },
        arguments: "eval run.toml --policy scripted",
        code: 3,
        stderr: &["test.jsonl:2: not JSON: it ends in the middle", "docs/data-formats.md"],
    },
    // The run's folder.
    Case {
        name: "a run's folder below a file",
        setup: nothing,
        arguments: "train run.toml --out run.toml/run",
        code: 3,
        stderr: &["cannot write `run.toml/run`", "Not a directory"],
    },
    #[cfg(target_os = "linux")]
    Case {
        // Permissions do not bind an administrator, who may be the one to run the tests.
        name: "a run's folder where nobody may write",
        setup: nothing,
        arguments: "train run.toml --out /proc/run",
        code: 3,
        stderr: &["cannot write `/proc/run`", "check free space and permissions"],
    },
    Case {
        name: "a second run at the same time",
        setup: |it| {
            it.write("run/.lock", "");
            let lock = File::open(it.path("run/.lock")).unwrap();
            lock.lock().unwrap();
            // Held until the test ends.
            std::mem::forget(lock);
        },
        arguments: "train run.toml --out run",
        code: 2,
        stderr: &["another run is at work in `run`", "`--out`"],
    },
    Case {
        name: "a second run afterwards",
        setup: |it| started(it, RUN_FILE),
        arguments: "train run.toml --out run",
        code: 2,
        stderr: &["`run` already holds a run", "`--resume`"],
    },
    Case {
        name: "going on with another configuration",
        setup: |it| started(it, RUN_FILE),
        arguments: "train run.toml --out run --resume --set seed=2",
        code: 2,
        stderr: &["`run` was started with another configuration", "`run/config.toml`"],
    },
    Case {
        name: "going on with other plugins",
        setup: |it| {
            started(it, RUN_FILE);
            it.write("run/manifest.json", r#"{"plugins": [{"name": "format", "blake3": "0"}]}"#);
        },
        arguments: "train run.toml --out run --resume",
        code: 4,
        stderr: &["started with other reward plugins", "`--accept-new-plugins`"],
    },
    Case {
        name: "going on from half a checkpoint",
        setup: |it| {
            started(it, RUN_FILE);
            let saved = r#"{"step": 2, "optimizer_steps": 2}"#;
            it.write("run/checkpoints/step-000002/state.json", saved);
        },
        arguments: "train run.toml --out run --resume",
        code: 3,
        stderr: &["`run/checkpoints/step-000002` is damaged", "remove its folder"],
    },
    Case {
        name: "a report of something else",
        setup: nothing,
        arguments: "report model",
        code: 3,
        stderr: &["`model` is not a run's folder", "name a folder under `runs/`"],
    },
    Case {
        name: "an evaluation before the run",
        setup: nothing,
        arguments: "eval run.toml",
        code: 2,
        stderr: &["there are no questions to ask", "`--questions FILE`"],
    },
    Case {
        name: "a temperature of nothing",
        setup: files,
        arguments: "chat run.toml --temperature 0",
        code: 2,
        stderr: &["the temperature 0 is not positive"],
    },
    Case {
        name: "steps that lead nowhere",
        setup: nothing,
        arguments: "train run.toml --out run --set optimizer.lr=1e30",
        code: 5,
        stderr: &["the weights of step 1 are not finite", "lower `optimizer.lr`"],
    },
];

#[test]
fn what_people_get_wrong() {
    let mut complaints = String::new();
    for case in CASES {
        let scratch = Scratch::ready();
        (case.setup)(&scratch);
        let output = scratch.forage(case.arguments.split_whitespace());
        let stderr = &output.stderr;
        let mut problems = Vec::new();
        if output.status.code() != Some(case.code) {
            problems.push(format!("{}, not exit code {}", output.status, case.code));
        }
        if stderr.contains("panicked") || !stderr.lines().any(|it| it.starts_with("error: ")) {
            problems.push("no error for people".to_owned());
        }
        if !stderr.lines().last().is_some_and(|it| it.starts_with("hint: ")) {
            problems.push("the last line is no hint".to_owned());
        }
        let silent = case.stderr.iter().filter(|it| !stderr.contains(**it));
        problems.extend(silent.map(|it| format!("no word of `{it}`")));
        if scratch.path("runs").exists() {
            problems.push("a run that could not begin left a folder".to_owned());
        }
        if !problems.is_empty() {
            let Case { name, arguments, .. } = case;
            let problems = problems.join("\n");
            writeln!(complaints, "{name}\n{problems}\n$ forage {arguments}\n{stderr}").unwrap();
        }
    }
    assert!(complaints.is_empty(), "{complaints}");
}
