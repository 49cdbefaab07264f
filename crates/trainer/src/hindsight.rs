//! SD-Search's second pass (arXiv 2605.18299): what the teacher reads, and where it is heard.
//!
//! The teacher reads the prompt, then the hindsight block, then the trajectory as it was sampled,
//! so that its row of a token is further down by the length of the block and by nothing else. The
//! block is ours to word; the paper does not print its own:
//!
//! ```text
//! Attempts at this question:
//! 1. CORRECT. film Veltor director; Mirko Tavel birthplace
//! 2. INCORRECT. Veltor
//! ```

mod teacher;

use std::fmt::Write as _;
use std::ops::Range;

use forage_model::Tokenizer;
use forage_optimizer::{Content, DistillationConfig, Positions, hindsight};
use forage_reward_sdk::text::token_f1;
use forage_rollout::grammar::without_tags;
use forage_trajectory::{BoxError, Group, Kind, Origin, Segment, Stream, TokenId, Trajectory};

pub use teacher::Teacher;

/// The tags around a query.
const TAGS: [&[u8]; 2] = [b"<search>", b"</search>"];

/// What hindsight teaches of one trajectory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lesson {
    /// What the teacher reads, up to the last taught token.
    pub tokens: Vec<TokenId>,
    /// The taught tokens: positions in what the teacher reads.
    pub at: Vec<usize>,
    /// The same tokens: indices into the trained tokens of the trajectory.
    pub taught: Vec<usize>,
}

/// The lessons of a group, one a trajectory, and how many of them were too long.
#[derive(Debug, Clone, Default)]
pub struct Lessons {
    /// `None` where there is nothing to teach: no query, no block, a trajectory that failed, or a
    /// teacher that would read more than the model can.
    pub lessons: Vec<Option<Lesson>>,
    /// Trajectories that are not taught because block and trajectory exceed the model's positions.
    pub n_too_long: usize,
}

/// Writes the lessons of a group. `stream` names the random numbers of shuffled labels.
pub fn lessons(
    config: &DistillationConfig,
    tokenizer: &Tokenizer,
    max_tokens: usize,
    group: &Group,
    stream: Stream,
) -> Result<Lessons, BoxError> {
    let f1 = |it: &Trajectory| {
        let answer = it.final_answer().unwrap_or_default();
        (!it.failed()).then(|| token_f1(answer, &group.question.golden_answers))
    };
    let f1: Vec<Option<f64>> = group.trajectories.iter().map(f1).collect();
    let mut found = Lessons::default();
    for (focal, trajectory) in group.trajectories.iter().enumerate() {
        let entries = hindsight(&config.hindsight, &f1, focal, stream);
        let taught = taught(config.positions, tokenizer, trajectory);
        if entries.is_empty() || taught.is_empty() || trajectory.failed() {
            found.lessons.push(None);
            continue;
        }
        let block = tokenizer.encode(&block(config.hindsight.content, group, &entries))?;
        let lesson = lesson(trajectory, &block, &taught);
        let fits = lesson.tokens.len() <= max_tokens;
        found.n_too_long += usize::from(!fits);
        found.lessons.push(fits.then_some(lesson));
    }
    Ok(found)
}

/// The text of a block: its trajectories, each with whether it is called correct.
fn block(content: Content, group: &Group, entries: &[(usize, Option<bool>)]) -> String {
    let mut text = "Attempts at this question:\n".to_owned();
    for (place, (member, label)) in entries.iter().enumerate() {
        let label = match label {
            Some(true) => " CORRECT.",
            Some(false) => " INCORRECT.",
            None => "",
        };
        let trajectory = &group.trajectories[*member];
        let parts: Vec<&str> = match content {
            Content::Queries => queries(trajectory).map(|it| it.content.as_str()).collect(),
            Content::Everything => {
                let written = trajectory.segments.iter().filter(|it| it.origin != Origin::Prompt);
                written.map(|it| it.content.as_str()).collect()
            }
        };
        let parts = without_tags(&parts.join("; "));
        writeln!(text, "{}.{label} {parts}", place + 1).expect("writing to a string");
    }
    text
}

fn queries(trajectory: &Trajectory) -> impl Iterator<Item = &Segment> {
    let is_query = |it: &&Segment| it.origin == Origin::Policy && it.kind == Kind::Search;
    trajectory.segments.iter().filter(is_query)
}

/// Positions of the taught tokens, in order.
fn taught(positions: Positions, tokenizer: &Tokenizer, trajectory: &Trajectory) -> Vec<usize> {
    match positions {
        Positions::Policy => {
            let mask = trajectory.policy_mask();
            (1..mask.len()).filter(|&at| mask[at]).collect()
        }
        Positions::Queries => queries(trajectory)
            .flat_map(|it| {
                let tokens = &trajectory.tokens[it.tokens.clone()];
                let bytes: Vec<&[u8]> = tokens.iter().map(|&id| tokenizer.bytes(id)).collect();
                inside(&bytes).map(|at| it.tokens.start + at)
            })
            .collect(),
    }
}

/// The tokens that lie between the tags of a search with all of their bytes.
fn inside(tokens: &[&[u8]]) -> Range<usize> {
    let text = tokens.concat();
    let find = |tag: &[u8]| text.windows(tag.len()).position(|it| it == tag);
    // A tag may begin in a token of the segment before.
    let open = find(TAGS[0]).map_or(0, |it| it + TAGS[0].len());
    let Some(close) = find(TAGS[1]) else { return 0..0 };
    let mut ends = Vec::with_capacity(tokens.len());
    let mut end = 0;
    for token in tokens {
        end += token.len();
        ends.push(end);
    }
    let first = (0..tokens.len()).find(|&it| ends[it] - tokens[it].len() >= open);
    let last = (0..tokens.len()).rfind(|&it| ends[it] <= close);
    match (first, last) {
        (Some(first), Some(last)) if first <= last => first..last + 1,
        _ => 0..0,
    }
}

/// What the teacher reads of a trajectory, whose `taught` positions are not empty.
fn lesson(trajectory: &Trajectory, block: &[TokenId], taught: &[usize]) -> Lesson {
    let prompt = trajectory.segments.iter().take_while(|it| it.origin == Origin::Prompt);
    let prompt = prompt.last().map_or(0, |it| it.tokens.end);
    let last = taught.last().map_or(prompt, |it| it + 1);
    let mask = trajectory.policy_mask();
    let targets: Vec<usize> = (1..mask.len()).filter(|&at| mask[at]).collect();
    let index = |at: &usize| targets.binary_search(at).expect("the policy wrote what is taught");
    Lesson {
        tokens: [&trajectory.tokens[..prompt], block, &trajectory.tokens[prompt..last]].concat(),
        at: taught.iter().map(|at| at + block.len()).collect(),
        taught: taught.iter().map(index).collect(),
    }
}

#[cfg(test)]
mod tests {
    use forage_optimizer::HindsightConfig;
    use forage_trajectory::{Purpose, Question};

    use super::*;

    fn tokenizer() -> Tokenizer {
        Tokenizer::train(&["director of Veltor, birthplace of Mirko".repeat(4)], 300).unwrap()
    }

    fn played(tokenizer: &Tokenizer, query: &str, answer: &str) -> Trajectory {
        let mut it = Trajectory::new("q", 0);
        let prompt = "Question: who?\n";
        it.push_given(Origin::Prompt, Kind::Prompt, prompt, &tokenizer.encode(prompt).unwrap());
        let mut write = |kind, text: String, content: &str| {
            let tokens = tokenizer.encode(&text).unwrap();
            let start = it.tokens.len();
            it.push_sampled(&tokens, &vec![-1.0; tokens.len()]);
            it.tag(kind, &text, start..start + tokens.len(), Some(content));
        };
        write(Kind::Think, "<think> THOUGHT</think>".to_owned(), "THOUGHT");
        write(Kind::Search, format!("<search> {query}</search>"), query);
        let page = "<information>PAGE</information>";
        it.push_given(
            Origin::Environment,
            Kind::Information,
            page,
            &tokenizer.encode(page).unwrap(),
        );
        let start = it.tokens.len();
        let text = format!("<answer> {answer}</answer>");
        let tokens = tokenizer.encode(&text).unwrap();
        it.push_sampled(&tokens, &vec![-1.0; tokens.len()]);
        it.tag(Kind::Answer, &text, start..start + tokens.len(), Some(answer));
        it
    }

    fn group(tokenizer: &Tokenizer) -> Group {
        let question = Question { golden_answers: vec!["Tavel".into()], ..Question::default() };
        let trajectories = vec![
            played(tokenizer, "director of Veltor", "Mirko Tavel"),
            played(tokenizer, "birthplace", "Lynch"),
        ];
        Group { question, trajectories }
    }

    fn read(tokenizer: &Tokenizer, lesson: &Lesson) -> String {
        tokenizer.decode(&lesson.tokens).unwrap()
    }

    #[test]
    fn the_teacher_reads_queries_and_labels_and_no_more() {
        let tokenizer = tokenizer();
        let stream = Stream::new(1, Purpose::Shuffle);
        let found =
            lessons(&DistillationConfig::default(), &tokenizer, 10_000, &group(&tokenizer), stream)
                .unwrap();
        let [first, second] = [0, 1].map(|it| found.lessons[it].clone().unwrap());
        assert_eq!(
            read(&tokenizer, &first),
            "Question: who?\nAttempts at this question:\n1. CORRECT. director of Veltor\n\
             2. INCORRECT. birthplace\n<think> THOUGHT</think><search> director of Veltor"
        );
        assert!(read(&tokenizer, &second).ends_with("<search> birthplace"));
        assert_eq!(found.n_too_long, 0);
    }

    #[test]
    fn exactly_the_tokens_between_the_tags_are_taught_and_the_block_is_the_only_shift() {
        let tokenizer = tokenizer();
        let group = group(&tokenizer);
        let stream = Stream::new(1, Purpose::Shuffle);
        let config = DistillationConfig::default();
        let found = lessons(&config, &tokenizer, 10_000, &group, stream).unwrap();
        for (lesson, trajectory) in found.lessons.iter().flatten().zip(&group.trajectories) {
            let mask = trajectory.policy_mask();
            let targets: Vec<usize> = (1..mask.len()).filter(|&at| mask[at]).collect();
            let shift = lesson.at[0] - targets[lesson.taught[0]];
            let mut query = Vec::new();
            for (at, taught) in lesson.at.iter().zip(&lesson.taught) {
                assert_eq!(at - targets[*taught], shift);
                assert_eq!(lesson.tokens[*at], trajectory.tokens[targets[*taught]]);
                query.push(lesson.tokens[*at]);
            }
            let query = tokenizer.decode(&query).unwrap();
            assert_eq!(query.trim(), trajectory.segments[2].content);
        }
        let everywhere = DistillationConfig { positions: Positions::Policy, ..config };
        let found = lessons(&everywhere, &tokenizer, 10_000, &group, stream).unwrap();
        let n_policy = group.trajectories[0].n_policy_tokens();
        assert_eq!(found.lessons[0].as_ref().unwrap().taught.len(), n_policy);
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
    fn a_lesson_that_does_not_fit_is_counted() {
        let tokenizer = tokenizer();
        let group = group(&tokenizer);
        let config = DistillationConfig::default();
        let stream = Stream::new(1, Purpose::Shuffle);
        let found = lessons(&config, &tokenizer, 10, &group, stream).unwrap();
        assert_eq!((found.lessons, found.n_too_long), (vec![None, None], 2));
        let alone = DistillationConfig {
            hindsight: HindsightConfig {
                members: forage_optimizer::Members::Others,
                ..HindsightConfig::default()
            },
            ..DistillationConfig::default()
        };
        let mut one = group;
        one.trajectories.truncate(1);
        assert_eq!(lessons(&alone, &tokenizer, 10_000, &one, stream).unwrap().lessons, [None]);
    }
}
