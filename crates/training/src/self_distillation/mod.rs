//! Hindsight self-distillation of SD-Search (arXiv 2605.18299): the texts that the teacher reads,
//! and the tokens that are distilled.
//!
//! The teacher reads the prompt, then the hindsight block, then the trajectory as it was sampled,
//! so that the position of a token shifts by the length of the block and by nothing else. The paper
//! does not print the text of its block; ours is:
//!
//! ```text
//! Attempts at this question:
//! 1. CORRECT. film Veltor director; Mirko Tavel birthplace
//! 2. INCORRECT. Veltor
//! ```
//!
//! With the retrieved documents as hindsight, each query has a text of its own, with the block
//!
//! ```text
//! The next search finds:
//! Doc 1(Title: Veltor) Veltor is a film. …
//! ```

mod block;
mod target;
mod teacher;

use std::ops::Range;

use forage_model::Tokenizer;
use forage_optimizer::{
    DistillationConfig, DistillationPositions, HindsightContent, hindsight_block,
};
use forage_reward_sdk::text::token_f1;
use forage_trajectory::protocol::{SEARCH, strip_tags};
use forage_trajectory::{
    BoxError, Group, Origin, Search, Segment, SegmentKind, Stream, Trajectory,
};

pub(crate) use block::attempts_block;
pub use target::{DistillationTarget, DistillationTargets, TeacherText};
pub use teacher::Teacher;

/// Distillation targets of a group. `quoted` is the group whose trajectories the teacher reads: the
/// same, or another with
/// [`OtherQuestion`](forage_optimizer::HindsightMembers::OtherQuestion). `stream` names the random
/// numbers of shuffled labels.
///
/// # Errors
///
/// Those of the tokenizer.
pub fn distillation_targets(
    config: &DistillationConfig,
    tokenizer: &Tokenizer,
    max_tokens: usize,
    group: &Group,
    quoted: &Group,
    stream: Stream,
) -> Result<DistillationTargets, BoxError> {
    let (f1, quoted_f1) = (answer_f1(group), answer_f1(quoted));
    let mut found = DistillationTargets::default();
    for (focal, trajectory) in group.trajectories.iter().enumerate() {
        let positions = distilled_positions(config.positions, tokenizer, trajectory);
        let by_group = |texts: fn(&Trajectory) -> Vec<&str>, positions| {
            let entries = hindsight_block(&config.hindsight, &quoted_f1, focal, stream);
            block_of_group(texts, quoted, &entries, positions)
        };
        let blocks = match config.hindsight.content {
            _ if trajectory.failed() => Vec::new(),
            HindsightContent::Queries => by_group(queries, positions),
            HindsightContent::Everything => by_group(everything, positions),
            HindsightContent::Documents => blocks_of_documents(trajectory, &positions),
        };
        if blocks.is_empty() {
            found.targets.push(None);
            continue;
        }
        let mut target = target(tokenizer, trajectory, &blocks)?;
        target.is_correct = f1[focal].is_some_and(|f1| f1 > config.hindsight.threshold);
        let fits = target.texts.iter().all(|text| text.tokens.len() <= max_tokens);
        found.n_too_long += usize::from(!fits);
        found.targets.push(fits.then_some(target));
    }
    Ok(found)
}

/// F1 of the answer of each trajectory of a group; `None` for a failed trajectory.
fn answer_f1(group: &Group) -> Vec<Option<f64>> {
    let f1 = |trajectory: &Trajectory| {
        let answer = trajectory.final_answer().unwrap_or_default();
        (!trajectory.failed()).then(|| token_f1(answer, &group.question.golden_answers))
    };
    group.trajectories.iter().map(f1).collect()
}

/// Hindsight block, and the positions of the tokens of a trajectory that are distilled from it, at
/// least one.
type Block = (String, Vec<usize>);

/// Hindsight block for all distilled tokens, one line a trajectory: its label, and what is quoted
/// of it. No block where no trajectory is quoted.
fn block_of_group(
    texts: fn(&Trajectory) -> Vec<&str>,
    group: &Group,
    entries: &[(usize, Option<bool>)],
    positions: Vec<usize>,
) -> Vec<Block> {
    if entries.is_empty() || positions.is_empty() {
        return Vec::new();
    }
    let attempts: Vec<(Option<bool>, Vec<&str>)> = entries
        .iter()
        .map(|(member, label)| (*label, texts(&group.trajectories[*member])))
        .collect();
    vec![(attempts_block(&attempts), positions)]
}

/// Hindsight blocks, one a search: what it retrieved, as the trajectory was shown it. The action
/// that ends with the search is distilled from it; the last action, which answers, is not.
fn blocks_of_documents(trajectory: &Trajectory, positions: &[usize]) -> Vec<Block> {
    let of_search = |search: &Search| {
        let (before, from) = trajectory.segments.split_at(search.segment);
        let is_given = |segment: &&Segment| segment.origin != Origin::Policy;
        let start = before.iter().rfind(is_given).map_or(0, |segment| segment.tokens.end);
        let action = start..from[0].tokens.end;
        let positions: Vec<usize> =
            positions.iter().copied().filter(|at| action.contains(at)).collect();
        let observation = from.iter().find(is_given);
        let observation = observation.filter(|segment| segment.kind == SegmentKind::Information)?;
        let block = format!("The next search finds:\n{}\n", strip_tags(&observation.content));
        (!positions.is_empty()).then_some((block, positions))
    };
    trajectory.searches.iter().filter_map(of_search).collect()
}

/// Search segments that the policy wrote.
fn searches(trajectory: &Trajectory) -> impl Iterator<Item = &Segment> {
    let is_search = |segment: &&Segment| {
        segment.origin == Origin::Policy && segment.kind == SegmentKind::Search
    };
    trajectory.segments.iter().filter(is_search)
}

/// Queries of a trajectory.
fn queries(trajectory: &Trajectory) -> Vec<&str> {
    searches(trajectory).map(|segment| segment.content.as_str()).collect()
}

/// Texts of a trajectory after its prompt.
fn everything(trajectory: &Trajectory) -> Vec<&str> {
    let after = trajectory.segments.iter().filter(|segment| segment.origin != Origin::Prompt);
    after.map(|segment| segment.content.as_str()).collect()
}

/// Positions of the distilled tokens, in order.
fn distilled_positions(
    positions: DistillationPositions,
    tokenizer: &Tokenizer,
    trajectory: &Trajectory,
) -> Vec<usize> {
    match positions {
        DistillationPositions::Policy => {
            let mask = trajectory.policy_mask();
            (1..mask.len()).filter(|&at| mask[at]).collect()
        }
        DistillationPositions::Queries => searches(trajectory)
            .flat_map(|segment| {
                let tokens = &trajectory.tokens[segment.tokens.clone()];
                let bytes: Vec<&[u8]> = tokens.iter().map(|&id| tokenizer.bytes(id)).collect();
                inside(&bytes).map(|at| segment.tokens.start + at)
            })
            .collect(),
    }
}

/// Range of the tokens that lie between the tags of a search with all of their bytes.
fn inside(tokens: &[&[u8]]) -> Range<usize> {
    let text = tokens.concat();
    let find = |tag: &str| text.windows(tag.len()).position(|it| it == tag.as_bytes());
    // A tag may begin in a token of the segment before.
    let open = find(SEARCH.open).map_or(0, |start| start + SEARCH.open.len());
    let Some(close) = find(SEARCH.close) else { return 0..0 };
    let mut ends = Vec::with_capacity(tokens.len());
    let mut end = 0;
    for token in tokens {
        end += token.len();
        ends.push(end);
    }
    let first = (0..tokens.len()).find(|&idx| ends[idx] - tokens[idx].len() >= open);
    let last = (0..tokens.len()).rfind(|&idx| ends[idx] <= close);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => first..last + 1,
        _ => 0..0,
    }
}

/// Distillation target of a trajectory, from its hindsight blocks.
fn target(
    tokenizer: &Tokenizer,
    trajectory: &Trajectory,
    blocks: &[Block],
) -> Result<DistillationTarget, BoxError> {
    let prompt = trajectory.n_prompt_tokens();
    let mask = trajectory.policy_mask();
    let trained: Vec<usize> = (1..mask.len()).filter(|&at| mask[at]).collect();
    let index = |at: &usize| trained.binary_search(at).expect("the policy wrote what is distilled");
    let mut target = DistillationTarget::default();
    for (block, positions) in blocks {
        let block = tokenizer.encode(block)?;
        let end = positions.last().map_or(prompt, |at| at + 1);
        let (before, after) = trajectory.tokens[..end].split_at(prompt);
        target.texts.push(TeacherText {
            tokens: [before, &block, after].concat(),
            at: positions.iter().map(|at| at + block.len()).collect(),
        });
        target.distilled.extend(positions.iter().map(index));
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use forage_optimizer::HindsightConfig;
    use forage_trajectory::{Purpose, Question, TokenId};

    use forage_trajectory::protocol::TAGS;

    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(&["director of Veltor, birthplace of Mirko".repeat(4)], 300, &TAGS)
            .unwrap()
    }

    /// A trajectory of thoughts, each followed by a search, and of an answer.
    fn played(tokenizer: &Tokenizer, queries: &[&str], answer: &str) -> Trajectory {
        let mut it = Trajectory::new("q", 0);
        let prompt = "Question: who?\n";
        it.push_given(
            Origin::Prompt,
            SegmentKind::Prompt,
            prompt,
            &tokenizer.encode(prompt).unwrap(),
        );
        let write = |it: &mut Trajectory, kind, text: &str, content: &str| {
            let tokens = tokenizer.encode(text).unwrap();
            let start = it.tokens.len();
            it.push_sampled(&tokens, &vec![-1.0; tokens.len()]);
            it.tag(kind, text, start..start + tokens.len(), Some(content));
        };
        for query in queries {
            write(&mut it, SegmentKind::Think, "<think> THOUGHT</think>", "THOUGHT");
            write(&mut it, SegmentKind::Search, &format!("<search> {query}</search>"), query);
            it.searches.push(Search {
                query: (*query).to_owned(),
                hits: Vec::new(),
                segment: it.segments.len() - 1,
                failure: None,
            });
            let page = format!("<information>PAGE of {query}</information>");
            let tokens = tokenizer.encode(&page).unwrap();
            it.push_given(Origin::Environment, SegmentKind::Information, &page, &tokens);
        }
        write(&mut it, SegmentKind::Answer, &format!("<answer> {answer}</answer>"), answer);
        it
    }

    fn group(tokenizer: &Tokenizer) -> Group {
        let question = Question { golden_answers: vec!["Tavel".into()], ..Question::default() };
        let trajectories = vec![
            played(tokenizer, &["director of Veltor"], "Mirko Tavel"),
            played(tokenizer, &["birthplace"], "Lynch"),
        ];
        Group { question, trajectories }
    }

    fn config(hindsight: &str) -> DistillationConfig {
        let hindsight: HindsightConfig = toml::from_str(hindsight).unwrap();
        DistillationConfig { hindsight, ..DistillationConfig::default() }
    }

    fn read(tokenizer: &Tokenizer, distillation: &DistillationTarget) -> Vec<String> {
        distillation.texts.iter().map(|it| tokenizer.decode(&it.tokens).unwrap()).collect()
    }

    #[test]
    fn the_teacher_reads_queries_and_labels_and_no_more() {
        let tokenizer = tokenizer();
        let stream = Stream::new(1, Purpose::Shuffle);
        let found = distillation_targets(
            &DistillationConfig::default(),
            &tokenizer,
            10_000,
            &group(&tokenizer),
            &group(&tokenizer),
            stream,
        )
        .unwrap();
        let [first, second] = [0, 1].map(|it| found.targets[it].clone().unwrap());
        assert_eq!(
            read(&tokenizer, &first),
            ["Question: who?\nAttempts at this question:\n1. CORRECT. director of Veltor\n\
              2. INCORRECT. birthplace\n<think> THOUGHT</think><search> director of Veltor"]
        );
        assert!(read(&tokenizer, &second)[0].ends_with("<search> birthplace"));
        assert_eq!(found.n_too_long, 0);
    }

    #[test]
    fn the_control_reads_attempts_at_another_question() {
        let tokenizer = tokenizer();
        let one = group(&tokenizer);
        let mut other = group(&tokenizer);
        other.question.golden_answers = vec!["Lynch".into()];
        let stream = Stream::new(1, Purpose::Shuffle);
        let config = DistillationConfig {
            positions: DistillationPositions::Policy,
            ..config("members = 'other-question'")
        };
        let found =
            distillation_targets(&config, &tokenizer, 10_000, &one, &other, stream).unwrap();
        let targets: Vec<&DistillationTarget> = found.targets.iter().flatten().collect();
        assert!(read(&tokenizer, targets[0])[0].starts_with(
            "Question: who?\nAttempts at this question:\n1. INCORRECT. director of Veltor\n\
             2. CORRECT. birthplace\n<think> THOUGHT</think><search> director of Veltor</search>"
        ));
        // What is correct is still said by the question that was asked.
        assert_eq!(targets.iter().map(|it| it.is_correct).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn every_block_has_its_text() {
        let tokenizer = tokenizer();
        let group = group(&tokenizer);
        let block = |hindsight: &str, step| {
            let stream = Stream::new(1, Purpose::Shuffle).at_step(step);
            let found = distillation_targets(
                &config(hindsight),
                &tokenizer,
                10_000,
                &group,
                &group,
                stream,
            )
            .unwrap();
            let text = read(&tokenizer, found.targets[0].as_ref().unwrap()).remove(0);
            let block = text.strip_prefix("Question: who?\nAttempts at this question:\n").unwrap();
            block.split_once("<think>").unwrap().0.to_owned()
        };
        let labelled = "1. CORRECT. director of Veltor\n2. INCORRECT. birthplace\n";
        for (hindsight, expected) in [
            ("", labelled),
            ("labels = 'none'", "1. director of Veltor\n2. birthplace\n"),
            ("threshold = 0.9", "1. INCORRECT. director of Veltor\n2. INCORRECT. birthplace\n"),
            ("members = 'others'", "1. INCORRECT. birthplace\n"),
            ("members = 'correct'\nlabels = 'none'", "1. director of Veltor\n"),
            (
                "content = 'everything'\nmembers = 'focal'",
                "1. CORRECT. THOUGHT; director of Veltor; PAGE of director of Veltor; Mirko Tavel\n",
            ),
            (
                "content = 'everything'\nmembers = 'others'\nlabels = 'none'",
                "1. THOUGHT; birthplace; PAGE of birthplace; Lynch\n",
            ),
        ] {
            assert_eq!(block(hindsight, 0), expected, "{hindsight}");
        }
        let shuffled: BTreeSet<String> =
            (0..20).map(|step| block("labels = 'shuffled'", step)).collect();
        let exchanged = "1. INCORRECT. director of Veltor\n2. CORRECT. birthplace\n";
        assert_eq!(shuffled, [labelled, exchanged].map(str::to_owned).into());
    }

    #[test]
    fn documents_teach_the_search_that_finds_them() {
        let tokenizer = tokenizer();
        let queries = ["director of Veltor", "birthplace"];
        let mut group = group(&tokenizer);
        group.trajectories = vec![played(&tokenizer, &queries, "Lynch"); 2];
        // The second search of this one was not shown anything.
        let cut = &mut group.trajectories[1];
        let shown =
            cut.segments.iter().rposition(|it| it.kind == SegmentKind::Information).unwrap();
        let end = cut.segments[shown].tokens.start;
        cut.segments.truncate(shown);
        cut.tokens.truncate(end);
        cut.logprobs.truncate(end);
        let stream = Stream::new(1, Purpose::Shuffle);
        let of = |positions| {
            let config = DistillationConfig { positions, ..config("content = 'documents'") };
            let found =
                distillation_targets(&config, &tokenizer, 10_000, &group, &group, stream).unwrap();
            assert_eq!(found.n_too_long, 0);
            found.targets.into_iter().map(Option::unwrap).collect::<Vec<_>>()
        };
        let found = of(DistillationPositions::Queries);
        let first = "Question: who?\nThe next search finds:\nPAGE of director of Veltor\n\
                     <think> THOUGHT</think><search> director of Veltor";
        let second = "Question: who?\nThe next search finds:\nPAGE of birthplace\n\
                      <think> THOUGHT</think><search> director of Veltor</search>\
                      <information>PAGE of director of Veltor</information>\
                      <think> THOUGHT</think><search> birthplace";
        assert_eq!(read(&tokenizer, &found[0]), [first, second]);
        assert_eq!(read(&tokenizer, &found[1]), [first]);
        let written = [queries.as_slice(), &queries[..1]];
        for (target, queries) in found.iter().zip(written) {
            let said = |it: &TeacherText| -> Vec<TokenId> {
                it.at.iter().map(|at| it.tokens[*at]).collect()
            };
            let said: Vec<Vec<TokenId>> = target.texts.iter().map(said).collect();
            for (said, query) in said.iter().zip(queries) {
                assert_eq!(tokenizer.decode(said).unwrap().trim(), *query);
            }
            let trajectory = &group.trajectories[0];
            let mask = trajectory.policy_mask();
            let targets: Vec<usize> = (1..mask.len()).filter(|&at| mask[at]).collect();
            let distilled = target.distilled.iter().map(|&it| trajectory.tokens[targets[it]]);
            assert_eq!(distilled.collect::<Vec<_>>(), said.concat());
        }
        // All that the policy wrote but the answer, each token once.
        let everywhere = of(DistillationPositions::Policy);
        let answer = group.trajectories[0].segments.last().unwrap().tokens.len();
        let n_distilled = group.trajectories[0].n_policy_tokens() - answer;
        assert_eq!(everywhere[0].distilled, (0..n_distilled).collect::<Vec<_>>());
        assert_eq!(read(&tokenizer, &everywhere[0])[0], format!("{first}</search>"));
    }

    #[test]
    fn exactly_the_tokens_between_the_tags_are_distilled_and_the_block_is_the_only_shift() {
        let tokenizer = tokenizer();
        let group = group(&tokenizer);
        let stream = Stream::new(1, Purpose::Shuffle);
        let config = DistillationConfig::default();
        let found =
            distillation_targets(&config, &tokenizer, 10_000, &group, &group, stream).unwrap();
        for (target, trajectory) in found.targets.iter().flatten().zip(&group.trajectories) {
            let mask = trajectory.policy_mask();
            let targets: Vec<usize> = (1..mask.len()).filter(|&at| mask[at]).collect();
            let TeacherText { tokens, at } = &target.texts[0];
            let shift = at[0] - targets[target.distilled[0]];
            let mut query = Vec::new();
            for (at, distilled) in at.iter().zip(&target.distilled) {
                assert_eq!(at - targets[*distilled], shift);
                assert_eq!(tokens[*at], trajectory.tokens[targets[*distilled]]);
                query.push(tokens[*at]);
            }
            let query = tokenizer.decode(&query).unwrap();
            assert_eq!(query.trim(), trajectory.segments[2].content);
        }
        let everywhere = DistillationConfig { positions: DistillationPositions::Policy, ..config };
        let found =
            distillation_targets(&everywhere, &tokenizer, 10_000, &group, &group, stream).unwrap();
        let n_policy = group.trajectories[0].n_policy_tokens();
        assert_eq!(found.targets[0].as_ref().unwrap().distilled.len(), n_policy);
    }

    #[test]
    fn tags_in_pieces_leave_what_is_whole() {
        let inside =
            |tokens: &[&str]| inside(&tokens.iter().map(|it| it.as_bytes()).collect::<Vec<_>>());
        assert_eq!(inside(&["<search>", " a", " b", "</search>"]), 1..3);
        assert_eq!(inside(&["<sea", "rch> a", " b", " c</", "search>"]), 2..3);
        assert_eq!(inside(&["arch>", "a", "</search>"]), 0..2);
        assert_eq!(inside(&["<search>", "</search>"]), 0..0);
        assert_eq!(inside(&["<search>", "a"]), 0..0);
    }

    #[test]
    fn a_target_that_does_not_fit_is_counted() {
        let tokenizer = tokenizer();
        let group = group(&tokenizer);
        let stream = Stream::new(1, Purpose::Shuffle);
        let found =
            distillation_targets(&config(""), &tokenizer, 10, &group, &group, stream).unwrap();
        assert_eq!((found.targets, found.n_too_long), (vec![None, None], 2));
        let alone = config("members = 'others'");
        let mut one = group;
        one.trajectories.truncate(1);
        assert_eq!(
            distillation_targets(&alone, &tokenizer, 10_000, &one, &one, stream).unwrap().targets,
            [None]
        );
    }
}
