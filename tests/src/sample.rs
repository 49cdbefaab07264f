//! A run folder as training would leave it, made in a blink and without a model.
//!
//! The world is a few chains of invented names (a company, its founder, the founder's birthplace,
//! the river there, the range the river rises in); a question asks for a later link of a chain by
//! an earlier one. The agent is a coin whose bias grows with the step. The numbers look like those
//! of a run and mean nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use forage_training::record::{Evaluation, EvaluationRow, GradeRecord, GroupRecord, Interval};
use forage_trajectory::{
    Evidence, EvidenceStep, Group, Hit, Origin, Outcome, Passage, Purpose, Question, Search,
    SegmentKind, Stream, Trajectory,
};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::json;

/// Text that would run, load or break out of the page if the page took it for markup. It stands in
/// a question, a thought and a passage of the sample.
pub const HOSTILE: &str = "</script><script>window.hacked = 1</script>\
                           <img src=\"https://example.invalid/x.png\" onerror=\"window.hacked = 2\">";

const STEPS: u64 = 120;
const N_CHAINS: usize = 24;
const N_HELD_OUT: usize = 48;

/// What a link of a chain is, and how the next one is asked for.
const LINKS: [(&str, &str); 5] = [
    ("company", ""),
    ("person", "the founder of {}"),
    ("town", "the birthplace of {}"),
    ("river", "the river that runs through {}"),
    ("range", "the mountains where {} rises"),
];

/// Writes `manifest.json`, `config.toml`, metrics, timings, evaluations and trajectories of a run
/// of 120 steps into a folder, which must exist.
pub fn sample_run(folder: &Path) -> Result<()> {
    let world = world();
    let held_out: Vec<_> = (0..N_HELD_OUT).map(|idx| question(&world, "held-out", idx)).collect();
    fs::create_dir_all(folder.join("evaluations"))?;
    fs::create_dir_all(folder.join("trajectories"))?;
    fs::write(folder.join("manifest.json"), serde_json::to_string_pretty(&manifest())?)?;
    fs::write(folder.join("config.toml"), CONFIG)?;

    let mut metrics = String::new();
    let mut timings = String::new();
    for step in 0..=STEPS {
        let mut row = if step == 0 { json!({ "step": 0 }) } else { step_metrics(step) };
        if step % 30 == 0 {
            for (split, sampling, n) in [("greedy", "greedy", 1), ("sampled", "temperature 1", 4)] {
                let records: Vec<_> = held_out
                    .iter()
                    .enumerate()
                    .map(|(idx, it)| play(&world, it, split, step, idx, n))
                    .collect();
                let evaluation = evaluate(&records, step, sampling);
                for it in &evaluation.rows {
                    let hops =
                        if it.name == "all" { String::new() } else { format!("/{}", it.name) };
                    row[format!("eval/{split}/em{hops}")] = json!(it.em.mean);
                }
                row[format!("eval/{split}/f1")] = json!(evaluation.rows[0].f1.mean);
                row[format!("eval/{split}/searches")] = json!(evaluation.rows[0].searches);
                let name = format!("step-{step:06}-{split}");
                let path = folder.join("evaluations").join(format!("{name}.json"));
                fs::write(path, serde_json::to_string(&evaluation)?)?;
                write_groups(folder, &name, &records)?;
            }
        }
        if step > 0 {
            writeln!(timings, "{}", step_timings(step))?;
            if step % 10 == 0 {
                let records: Vec<_> = (0..6)
                    .map(|idx| {
                        let question = question(&world, "train", step as usize * 8 + idx);
                        play(&world, &question, "train", step, idx, 8)
                    })
                    .collect();
                write_groups(folder, &format!("step-{step:06}-train"), &records)?;
            }
        }
        writeln!(metrics, "{row}")?;
    }
    fs::write(folder.join("metrics.jsonl"), metrics)?;
    fs::write(folder.join("timings.jsonl"), timings)?;
    Ok(())
}

fn write_groups(folder: &Path, name: &str, records: &[GroupRecord]) -> Result<()> {
    let mut lines = String::new();
    for record in records {
        lines += &serde_json::to_string(record)?;
        lines.push('\n');
    }
    let path = folder.join("trajectories").join(format!("{name}.jsonl.zst"));
    fs::write(path, zstd::encode_all(lines.as_bytes(), 1)?)?;
    Ok(())
}

const CONFIG: &str = "\
seed = 7

[model]
checkpoint = \"tiny\"

[optimizer]
algorithm = \"grpo\"
learning-rate = 2e-5
";

fn manifest() -> serde_json::Value {
    json!({
        "name": "quickstart",
        "model": "tiny (1.2 M parameters)",
        "version": "0.1.0",
        "commit": "4f1c2d9a7be0",
        "device": "cpu",
        "seed": 7,
        "plugins": [
            { "name": "answer", "version": "0.1.0", "blake3": "9c0f5a77d1" },
            { "name": "format", "version": "0.1.0", "blake3": "07be33c1fa" },
        ],
        "index": { "fingerprint": "b4d7e1", "analyzer": "english-1", "passages": N_CHAINS * 5 },
        "tokenizer": "5e8d20",
    })
}

fn stream(step: u64, question: usize, member: usize) -> Stream {
    Stream::new(7, Purpose::World).at_step(step).of_member(question as u64, member as u64)
}

/// For each chain, one passage a link; the title is the name.
fn world() -> Vec<Vec<Passage>> {
    let mut rng = stream(0, 0, 0).rng();
    (0..N_CHAINS)
        .map(|chain| {
            let names: Vec<_> = LINKS.iter().map(|(what, _)| name(what, &mut rng)).collect();
            let year = rng.random_range(1790..1930);
            let facts = [
                format!("{} is a maker of optical glass. It was founded in {year} by {}. Its lamps lit the lighthouses of the northern coast until the works closed.", names[0], names[1]),
                format!("{} was a chemist and merchant, born in {}. Letters from the years abroad were printed in two volumes and are still read for their dry humour.", names[1], names[2]),
                format!("{} is a market town. The {} runs through it under three bridges, the oldest of which carries a row of shops.", names[2], names[3]),
                format!("The {} is a river of {} kilometres. It rises in the {} and reaches the sea through a delta of reed beds.", names[3], rng.random_range(60..400), names[4]),
                format!("The {} are a range of mountains. The highest summit has {} metres. {}", names[4], rng.random_range(1100..4200), if chain == 0 { HOSTILE } else { "Snow lies there into June." }),
            ];
            names
                .into_iter()
                .zip(facts)
                .enumerate()
                .map(|(idx, (title, text))| Passage { id: format!("c{chain}-{idx}"), title, text })
                .collect()
        })
        .collect()
}

fn name(what: &str, rng: &mut impl Rng) -> String {
    let heads = ["Os", "Tar", "Hal", "Ver", "Mi", "Quen", "Lo", "Bre", "Sa", "Ul", "Cor", "Ann"];
    let middles = ["ri", "de", "lo", "ve", "na", "mi", "sta", "go"];
    let tails = ["n", "th", "ck", "r", "ll", "s", "nd", "x"];
    let mut word = || {
        let part = |from: &[&'static str], rng: &mut _| *from.choose(rng).expect("not empty");
        [part(&heads, rng), part(&middles, rng), part(&tails, rng)].concat()
    };
    match what {
        "company" => format!("{} & {}", word(), word()),
        "person" => format!("{} {}", word(), word()),
        "town" => format!("{} upon {}", word(), word()),
        "range" => format!("{} Mountains", word()),
        _ => word(),
    }
}

/// A question over a chain: `hops` links from some start.
fn question(world: &[Vec<Passage>], file: &str, idx: usize) -> Question {
    let chain = &world[(idx * 7 + file.len()) % N_CHAINS];
    let hops = idx % 4 + 1;
    let start = (idx / 4) % (5 - hops);
    let mut asked = chain[start].title.clone();
    let mut steps = Vec::new();
    for link in start + 1..=start + hops {
        let ask = |of: &str| LINKS[link].1.replace("{}", of);
        steps.push(EvidenceStep {
            question: format!("Name {}.", ask(&chain[link - 1].title)),
            answer: chain[link].title.clone(),
            queries: vec![ask(&chain[link - 1].title), chain[link - 1].title.clone()],
            passage_ids: vec![chain[link - 1].id.clone()],
        });
        asked = ask(&asked);
    }
    let hostile =
        if file == "held-out" && idx == 3 { format!(" {HOSTILE}") } else { String::new() };
    Question {
        id: format!("{file}-{idx}"),
        text: format!("Name {asked}.{hostile}"),
        golden_answers: vec![chain[start + hops].title.clone()],
        evidence: Evidence {
            shape: if hops == 1 { "lookup".into() } else { "bridge".into() },
            entities: chain[start..=start + hops].iter().map(|it| it.title.clone()).collect(),
            steps,
            passages: chain[start..start + hops].to_vec(),
            ..Evidence::default()
        },
        ..Question::default()
    }
}

fn play(
    world: &[Vec<Passage>],
    question: &Question,
    split: &str,
    step: u64,
    idx: usize,
    n: usize,
) -> GroupRecord {
    let trajectories: Vec<_> =
        (0..n).map(|member| episode(world, question, split, step, idx, member)).collect();
    let mut grades: Vec<_> = trajectories.iter().map(|it| grade(question, it)).collect();
    let rewards: Vec<_> = grades.iter().filter_map(|it| it.reward).collect();
    let mean = rewards.iter().sum::<f64>() / rewards.len().max(1) as f64;
    let variance = rewards.iter().map(|it| (it - mean).powi(2)).sum::<f64>();
    let deviation = (variance / rewards.len().max(1) as f64).sqrt();
    for grade in grades.iter_mut().filter(|_| split == "train") {
        grade.advantage = grade.reward.map(|it| (it - mean) / (deviation + 1e-6));
    }
    let group = Group { question: question.clone(), trajectories };
    GroupRecord { step, split: split.into(), group, grades }
}

/// Appends policy text, a token a word.
fn say(it: &mut Trajectory, kind: SegmentKind, tag: &str, content: &str) {
    let text = format!("<{tag}> {content} </{tag}>");
    let start = it.tokens.len();
    let n = text.split_whitespace().count();
    it.push_sampled(&vec![7; n], &vec![-0.3; n]);
    it.tag(kind, &text, start..start + n, Some(content));
}

fn hear(it: &mut Trajectory, origin: Origin, kind: SegmentKind, text: &str) {
    it.push_given(origin, kind, text, &vec![9; text.split_whitespace().count()]);
}

fn episode(
    world: &[Vec<Passage>],
    question: &Question,
    split: &str,
    step: u64,
    idx: usize,
    member: usize,
) -> Trajectory {
    let mut rng = stream(step * 3 + split.len() as u64, idx + 1, member).rng();
    let skill = 0.45 + 0.5 * (step as f64 / STEPS as f64).sqrt();
    let mut it = Trajectory::new(&question.id, member);
    let prompt = format!(
        "Answer the question. Think inside <think> and </think>. Search with <search> query \
         </search>; results come between <information> and </information>. Give the answer inside \
         <answer> and </answer>.\n\nQuestion: {}",
        question.text
    );
    hear(&mut it, Origin::Prompt, SegmentKind::Prompt, &prompt);
    let mut found = true;
    for link in &question.evidence.steps {
        let ask = link.question.trim_start_matches("Name ").trim_end_matches('.');
        let knows = found && rng.random_bool(skill);
        let aside = if question.id == "held-out-7" { HOSTILE } else { "I should look it up." };
        say(&mut it, SegmentKind::Think, "think", &format!("I need to find {ask}. {aside}"));
        let query = if knows { ask } else { "famous rivers and who founded them" };
        say(&mut it, SegmentKind::Search, "search", query);
        if rng.random_bool(0.004) {
            it.searches.push(Search {
                query: query.into(),
                hits: Vec::new(),
                segment: it.segments.len() - 1,
                failure: Some("no answer within 10 s".into()),
            });
            it.outcome = Outcome::Failed(format!("search for `{query}` failed"));
            return it;
        }
        let gold = knows.then(|| link.passage_ids[0].as_str());
        let hits = retrieve(world, gold, &mut rng);
        let mut page = String::from("<information>\n");
        for (rank, hit) in hits.iter().enumerate() {
            _ = writeln!(page, "Doc {} (Title: \"{}\") {}", rank + 1, hit.title, hit.text);
        }
        let segment = it.segments.len() - 1;
        it.searches.push(Search { query: query.into(), hits, segment, failure: None });
        hear(&mut it, Origin::Environment, SegmentKind::Information, &(page + "</information>"));
        found &= knows;
    }
    finish(&mut it, question, found, &mut rng, world);
    it
}

fn finish(
    it: &mut Trajectory,
    question: &Question,
    found: bool,
    rng: &mut impl Rng,
    world: &[Vec<Passage>],
) {
    let golden = &question.golden_answers[0];
    if found {
        say(it, SegmentKind::Think, "think", "The last passage names it, so I can answer.");
        say(it, SegmentKind::Answer, "answer", golden);
        it.outcome = Outcome::Answered;
        return;
    }
    match rng.random_range(0..10) {
        0 => it.outcome = Outcome::NoAnswer,
        1 => {
            say(it, SegmentKind::Other, "serach", "more about it");
            let warning = "My previous action is invalid. Only a search or an answer is allowed.";
            hear(it, Origin::Environment, SegmentKind::Warning, warning);
            it.outcome = Outcome::Malformed;
        }
        2 => it.outcome = Outcome::OverLength,
        3 => it.outcome = Outcome::OutOfTurns,
        _ => {
            say(it, SegmentKind::Think, "think", "Nothing fits. I will guess.");
            let other = world.choose(rng).and_then(|chain| chain.choose(rng));
            say(
                it,
                SegmentKind::Answer,
                "answer",
                other.map_or("unknown", |passage| &passage.title),
            );
            it.outcome = Outcome::Answered;
        }
    }
}

fn retrieve(world: &[Vec<Passage>], gold: Option<&str>, rng: &mut impl Rng) -> Vec<Hit> {
    let mut passages: Vec<&Passage> = Vec::new();
    while passages.len() < 4 {
        let passage = world.choose(rng).and_then(|chain| chain.choose(rng)).expect("a world");
        if !passages.iter().any(|it| it.id == passage.id) && gold != Some(passage.id.as_str()) {
            passages.push(passage);
        }
    }
    let gold = world.iter().flatten().find(|it| Some(it.id.as_str()) == gold);
    if let Some(gold) = gold {
        passages[rng.random_range(0..2)] = gold;
    }
    let mut score = 14.0;
    let hit = |it: &Passage| {
        score -= rng.random_range(0.3..2.0_f32);
        Hit { id: it.id.clone(), title: it.title.clone(), text: it.text.clone(), score }
    };
    passages.into_iter().map(hit).collect()
}

fn grade(question: &Question, it: &Trajectory) -> GradeRecord {
    if it.failed() {
        return GradeRecord { failure: Some("the search failed".into()), ..Default::default() };
    }
    let em = f64::from(it.final_answer() == Some(&question.golden_answers[0]));
    let valid = f64::from(it.outcome == Outcome::Answered);
    let gold = |search: &Search| {
        let mut ids = question.evidence.steps.iter().flat_map(|step| &step.passage_ids);
        ids.any(|id| search.hits.iter().any(|hit| hit.id == *id))
    };
    GradeRecord {
        reward: Some(em + 0.1 * valid),
        failure: None,
        parts: BTreeMap::from([
            ("answer/em".to_owned(), em),
            ("answer/f1".to_owned(), em.max(0.2 * valid)),
            ("format/valid".to_owned(), valid),
        ]),
        steps: it.searches.iter().map(|search| f64::from(gold(search))).collect(),
        advantage: None,
    }
}

fn evaluate(records: &[GroupRecord], step: u64, sampling: &str) -> Evaluation {
    let row = |name: &str| {
        let of_row = |it: &&GroupRecord| {
            name == "all" || it.group.question.hops().is_some_and(|hops| hops.to_string() == name)
        };
        let records: Vec<_> = records.iter().filter(of_row).collect();
        let part = |part: &str| {
            let parts =
                records.iter().flat_map(|it| &it.grades).filter_map(|it| it.parts.get(part));
            interval(&parts.copied().collect::<Vec<_>>(), records.len())
        };
        let trajectories: Vec<_> = records.iter().flat_map(|it| &it.group.trajectories).collect();
        let n = trajectories.len() as f64;
        EvaluationRow {
            name: name.into(),
            n: records.len(),
            failed: 0,
            prompt_too_long: 0,
            em: part("answer/em"),
            f1: part("answer/f1"),
            searches: trajectories.iter().map(|it| it.searches.len()).sum::<usize>() as f64 / n,
            answered: part("format/valid").mean,
        }
    };
    let rows = ["all", "1", "2", "3", "4"].map(row).into();
    Evaluation { step, sampling: sampling.into(), questions: "held-out.jsonl".into(), rows }
}

fn interval(values: &[f64], n_questions: usize) -> Interval {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let half = 1.96 * (mean * (1.0 - mean) / n_questions.max(1) as f64).sqrt();
    Interval { mean, low: (mean - half).max(0.0), high: (mean + half).min(1.0) }
}

fn step_metrics(step: u64) -> serde_json::Value {
    let mut rng = stream(step, 1000, 0).rng();
    let progress = (step as f64 / STEPS as f64).sqrt();
    let mut near = |value: f64, spread: f64| value + spread * (rng.random::<f64>() - 0.5);
    let em = near(0.15 + 0.6 * progress, 0.18);
    let valid = near(0.7 + 0.28 * progress, 0.05);
    json!({
        "step": step,
        "reward/mean": em + 0.1 * valid,
        "reward/std": near(0.42, 0.08),
        "reward/answer": em,
        "reward/answer/em": em,
        "reward/answer/f1": em + near(0.06, 0.03),
        "reward/format": valid,
        "reward/format/valid": valid,
        "loss/policy": near(0.0, 0.04),
        "loss/grad_norm": near(1.4 - 0.8 * progress, 0.5),
        "policy/entropy": near(1.3 - 0.9 * progress, 0.1),
        "policy/clip_fraction": near(0.03, 0.02),
        "rollout/searches": near(1.2 + 1.4 * progress, 0.3),
        "rollout/policy_tokens": near(60.0 + 30.0 * progress, 12.0),
        "rollout/mismatch_kl": near(0.000_4, 0.000_2),
        "groups/zero_variance": near(0.5 - 0.2 * progress, 0.2),
        "outcome/answered": near(0.8 + 0.15 * progress, 0.06),
        "outcome/malformed": near(0.1 - 0.08 * progress, 0.02),
        "cache/hit_rate": near(0.6, 0.1),
        "optimizer/learning_rate": 2e-5 * (step as f64 / 10.0).min(1.0),
    })
}

fn step_timings(step: u64) -> serde_json::Value {
    let mut rng = stream(step, 2000, 0).rng();
    let rollout = 1.8 + rng.random::<f64>();
    let update = 0.9 + 0.2 * rng.random::<f64>();
    json!({
        "step": step,
        "seconds/rollout": rollout,
        "seconds/update": update,
        "seconds/step": rollout + update + 0.1,
    })
}
