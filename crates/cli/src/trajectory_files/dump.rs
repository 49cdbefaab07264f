//! Flat rows, as Search-R1, verl and similar projects dump them: one trajectory a row, as one text.
//!
//! Such a text does not say which part has which origin. An `<information>` block is taken for an
//! observation where it follows a `</search>`, and for text of the policy anywhere else. A block
//! that the policy itself wrote right after a search cannot be recognized. Search-R1 cuts
//! observations by tokens, so that one may lose its closing tag: see [`end_of_page`].

use anyhow::{Context, Result, bail};
use forage_dataset::answer_texts;
use forage_records::describe;
use forage_reward_sdk::{
    Evidence, Group, Hit, Kind, Origin, Outcome, Question, Search, Segment, Text, Trajectory,
};
use forage_rollout::grammar;
use forage_trajectory::protocol::{
    DOCUMENT_PREFIX, INFORMATION, PromptThought, SEARCH, TAGS, THINK, TITLE_PREFIX,
};
use forage_trajectory::without_end_of_turn;
use serde::Deserialize;
use serde_json::Value;

use super::StoredGroup;

/// Keys of the text, the prompt, the golden answers, the id and the score, the most likely first.
const TEXT: [&str; 5] = ["output", "response", "solution_str", "sequences_str", "completion"];
const PROMPT: [&str; 2] = ["input", "prompt"];
const GOLD: [&str; 5] = ["golden_answers", "gts", "ground_truth", "reward_model", "target"];
const ID: [&str; 4] = ["id", "question_id", "uid", "index"];
const SCORE: [&str; 2] = ["score", "reward"];

/// Heads of an assistant's turn in chat templates.
const ASSISTANTS: [&str; 6] = [
    "<|im_start|>assistant",
    "<|start_header_id|>assistant<|end_header_id|>",
    "<start_of_turn>model",
    "[/INST]",
    "<|assistant|>",
    "<｜Assistant｜>",
];
/// Tags of tool calls and their results, which are not read.
const TOOL_CALLS: [&str; 5] =
    ["<tool_call>", "<tool_response>", "<|tool_calls_begin|>", "[TOOL_CALLS]", "<|python_tag|>"];
/// Beginning and end of the warning of Search-R1 after an invalid action.
const WARNING: (&str, &str) = ("My previous action is invalid.", "Let me try again.");

/// Parsed row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    question: Question<'static>,
    step: Option<u64>,
    trajectory: Trajectory<'static>,
    reward: Option<f64>,
}

impl Row {
    pub(super) fn read(row: &Value) -> Result<Self> {
        let text = agreed(row, &TEXT, |value| Ok(value.as_str()))?.flatten();
        let text = text.with_context(|| format!("it has no text under any of {TEXT:?}"))?;
        let prompt = agreed(row, &PROMPT, |value| Ok(value.as_str()))?.flatten();
        let (prompt, text) = match prompt {
            Some(prompt) => (prompt, text),
            None => without_prompt(text)?,
        };
        check_response(text)?;
        let golden = agreed(row, &GOLD, answers)?;
        let golden = golden.with_context(|| format!("it has no answers under any of {GOLD:?}"))?;
        let question = row.get("question").and_then(Value::as_str).unwrap_or_else(|| asked(prompt));
        let id = first(row, &ID).map_or_else(|| Ok(question.to_owned()), id_of)?;
        let evidence = first(row, &["evidence"]).map(Evidence::deserialize).transpose();
        let question = Question {
            id: id.into(),
            text: question.to_owned().into(),
            golden_answers: golden.into_iter().map(Text::from).collect(),
            evidence: evidence.context("its `evidence`")?.unwrap_or_default().into_owned(),
        };
        let reward = agreed(row, &SCORE, score)?;
        let step = row.get("step").and_then(Value::as_u64);
        Ok(Self { question, step, trajectory: trajectory(prompt, text), reward })
    }
}

/// Whether a row has a tag of the agent loop: text between tags is a thought, a search or an answer.
pub(super) fn has_tags(row: &Row) -> bool {
    let is_tagged = |kind| matches!(kind, Kind::Think | Kind::Search | Kind::Answer);
    row.trajectory.segments.iter().any(|segment| is_tagged(segment.kind))
}

/// Groups of the rows of the same question and step, in the order of their first rows. Rows that
/// have one id, but ask or want another thing, are different questions.
pub(super) fn groups(rows: Vec<Row>) -> Vec<StoredGroup> {
    let mut all: Vec<StoredGroup> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for Row { question, step, mut trajectory, reward } in rows {
        let Question { id, text, golden_answers, .. } = question.clone();
        let place = *places.entry((id, text, golden_answers, step)).or_insert(all.len());
        if place == all.len() {
            let group = Group { question, trajectories: Vec::new(), step };
            all.push(StoredGroup { group, rewards: Vec::new() });
        }
        let stored = &mut all[place];
        trajectory.member = stored.group.trajectories.len();
        stored.group.trajectories.push(trajectory);
        stored.rewards.push(reward);
    }
    all
}

fn first<'a>(row: &'a Value, names: &[&str]) -> Option<&'a Value> {
    names.iter().filter_map(|name| row.get(name)).find(|it| !it.is_null())
}

/// Value of the first of some keys that the row has. Others that it has must say the same, which
/// `read` makes comparable.
fn agreed<'a, T: PartialEq>(
    row: &'a Value,
    names: &[&str],
    read: impl Fn(&'a Value) -> Result<T>,
) -> Result<Option<T>> {
    let given = names.iter().filter_map(|name| Some((name, row.get(name)?)));
    let mut found: Option<(&str, T)> = None;
    for (name, value) in given.filter(|(_, value)| !value.is_null()) {
        let value = read(value).with_context(|| format!("its `{name}`"))?;
        match &found {
            Some((first, known)) if *known != value => {
                bail!(
                    "its `{first}` and its `{name}` say different things, and one of them is meant"
                )
            }
            Some(_) => {}
            None => found = Some((name, value)),
        }
    }
    Ok(found.map(|(_, value)| value))
}

/// Id of a question: a text, or a whole number.
fn id_of(value: &Value) -> Result<String> {
    match value {
        Value::Number(number) if number.is_f64() => {
            bail!("{number} went through floating point, and may be another question's")
        }
        value => Ok(plain(value)),
    }
}

/// Score of a row. `NaN` has become null, and is none.
fn score(value: &Value) -> Result<f64> {
    value.as_f64().with_context(|| format!("its score is {}, not a number", describe(value)))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Golden answers: a text, a list, or a table with one of these.
fn answers(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::String(text) if text.starts_with("{'") => {
            bail!("its answers are Python's text of a table, not JSON: `{text}`")
        }
        Value::String(_) | Value::Array(_) => Ok(answer_texts("golden_answers", value)?),
        Value::Object(fields) => {
            let inner = ["target", "ground_truth"].iter().find_map(|it| fields.get(*it));
            answers(inner.context("its answers have neither `target` nor `ground_truth`")?)
        }
        other => bail!("its answers are `{other}`"),
    }
}

/// Prompt and response of a text that has both: after the head of the assistant's turn, or else
/// after the line of the question. Where there are several, some may be those of examples in the
/// prompt.
fn without_prompt(text: &str) -> Result<(&str, &str)> {
    let heads = ends_of(text, &ASSISTANTS);
    let questions: Vec<usize> = ends_of(text, &["Question:"]);
    let begin = match (heads.as_slice(), questions.as_slice()) {
        ([head], _) => *head,
        ([], [question]) => text[*question..].find('\n').map_or(text.len(), |at| question + at),
        ([], []) => 0,
        ([], _) => bail!(
            "its text has {} times `Question:`, and nothing tells examples from the question: give \
             the prompt under `input`",
            questions.len()
        ),
        _ => bail!(
            "its text has {} turns of an assistant, and nothing tells examples from the response: \
             give the prompt under `input`",
            heads.len()
        ),
    };
    Ok(text.split_at(begin))
}

/// Tag that follows a search and is none of the agent loop, such as `<result>`.
fn foreign_page(text: &str) -> Option<&str> {
    let afters =
        text.match_indices(SEARCH.close).map(|(at, tag)| text[at + tag.len()..].trim_start());
    let tags = afters.filter_map(|after| {
        let name = after.strip_prefix('<')?.split_once('>')?.0;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
        Some(&after[..name.len() + 2]).filter(|_| is_name)
    });
    let mut foreign = tags.filter(|tag| TAGS.iter().all(|known| known != tag));
    foreign.next()
}

/// Ends of the places where a text has one of some marks, in their order.
fn ends_of(text: &str, marks: &[&str]) -> Vec<usize> {
    let mut ends: Vec<usize> = marks
        .iter()
        .flat_map(|mark| text.match_indices(mark).map(|(at, mark)| at + mark.len()))
        .collect();
    ends.sort_unstable();
    ends
}

/// Refuses a response of several turns or with tool calls, whose searches would not be seen.
fn check_response(text: &str) -> Result<()> {
    if let Some(tag) = TOOL_CALLS.into_iter().find(|tag| text.contains(tag)) {
        bail!(
            "its text has tool calls (`{tag}`), which are not read: only tags such as <search> are"
        )
    }
    if let Some(tag) = foreign_page(text) {
        bail!("what its searches found is in `{tag}`, which is not read: only <information> is")
    }
    if let Some(head) = ASSISTANTS.into_iter().find(|head| text.contains(head)) {
        bail!("its response has several turns (`{head}`), which are not read: only one text is")
    }
    Ok(())
}

/// Question of a prompt: the text after its last `Question:`, or all of it.
fn asked(prompt: &str) -> &str {
    let Some(at) = prompt.rfind("Question:") else { return prompt.trim() };
    let rest = &prompt[at + "Question:".len()..];
    let end = rest.find(['\n', '<']).unwrap_or(rest.len());
    rest[..end].trim()
}

fn trajectory(prompt: &str, text: &str) -> Trajectory<'static> {
    let mut it = Trajectory { outcome: Outcome::NoAnswer, ..Trajectory::default() };
    if !prompt.is_empty() {
        push(&mut it, Origin::Prompt, Kind::Prompt, prompt, prompt);
    }
    let mut rest = without_end_of_turn(text.trim_start());
    while !rest.is_empty() {
        let (turn, given) = split_turn(rest);
        let is_searched = matches!(given, Some((Kind::Information, _)));
        push_turn(&mut it, turn, is_searched);
        rest = &rest[turn.len()..];
        let Some((kind, n)) = given else { continue };
        let (block, after) = rest.split_at(n);
        let content = block.trim();
        let content = content.strip_prefix(INFORMATION.open).unwrap_or(content);
        let content = content.strip_suffix(INFORMATION.close).unwrap_or(content);
        push(&mut it, Origin::Environment, kind, block, content);
        if let Some(search) = it.searches.last_mut().filter(|_| is_searched) {
            search.hits = hits(content);
        }
        rest = after;
    }
    it
}

/// Text of the policy up to the next text of the environment, and the kind and length of that.
fn split_turn(text: &str) -> (&str, Option<(Kind, usize)>) {
    let mut from = 0;
    let mut turn_end = text.len();
    let mut given = None;
    while let Some(found) = text[from..].find(INFORMATION.open) {
        let open = from + found;
        if text[..open].trim_end().ends_with(SEARCH.close) {
            given = Some((Kind::Information, end_of_page(text, open) - open));
            turn_end = open;
            break;
        }
        from = open + 1;
    }
    let (begin, end) = WARNING;
    if let Some(at) = text.find(begin).filter(|at| *at < turn_end)
        && let Some(length) = text[at..].find(end)
    {
        return (&text[..at], Some((Kind::Warning, length + end.len())));
    }
    (&text[..turn_end], given)
}

/// End of the observation that begins here: its closing tag.
///
/// An observation that was cut has none before the next one begins. It ends where the policy goes
/// on, with a thought, or else with the search that the next observation answers; an answer without
/// a thought before it cannot be told from one in a page, and counts as a part of the page.
fn end_of_page(text: &str, open: usize) -> usize {
    let inner = open + INFORMATION.open.len();
    let find = |tag: &str, end: usize| text[inner..end].find(tag).map(|at| inner + at);
    let closed = |end: usize| find(INFORMATION.close, end).map(|at| at + INFORMATION.close.len());
    let next = find(INFORMATION.open, text.len());
    let before_next = next.unwrap_or(text.len());
    closed(before_next)
        .or_else(|| find(THINK.open, before_next))
        .or_else(|| next.and_then(|next| find(SEARCH.open, next)))
        .or_else(|| closed(text.len()))
        .unwrap_or(text.len())
}

fn push_turn(it: &mut Trajectory, turn: &str, is_searched: bool) {
    let parsed = match it.segments.last() {
        Some(prompt)
            if prompt.origin == Origin::Prompt
                && (PromptThought::of(&prompt.text) == PromptThought::Open) =>
        {
            grammar::parse_open_thought(turn)
        }
        _ => grammar::parse(turn),
    };
    for (idx, block) in parsed.blocks.iter().enumerate() {
        let content = turn[block.content.clone()].trim();
        let kind = match block.kind {
            forage_trajectory::SegmentKind::Think => Kind::Think,
            forage_trajectory::SegmentKind::Search => Kind::Search,
            forage_trajectory::SegmentKind::Answer => Kind::Answer,
            _ => Kind::Other,
        };
        if parsed.action == Some(idx) {
            if kind == Kind::Answer {
                it.answer = Some(content.to_owned().into());
                it.outcome = Outcome::Answered;
            } else if is_searched {
                let (query, segment) = (content.to_owned().into(), it.segments.len());
                it.searches.push(Search { query, segment, ..Search::default() });
            }
        }
        push(it, Origin::Policy, kind, &turn[block.bytes.clone()], content);
    }
}

/// Appends a segment. Its tokens are its words, as the tokenizer is not known.
fn push(it: &mut Trajectory, origin: Origin, kind: Kind, text: &str, content: &str) {
    let start = it.segments.last().map_or(0, |segment| segment.tokens.end);
    let tokens = start..start + text.split_whitespace().count();
    let (text, content) = (text.to_owned().into(), content.trim().to_owned().into());
    it.segments.push(Segment { origin, kind, text, content, tokens });
}

/// Hits of an observation: `Doc 1(Title: "Alien") Directed by …`, one on each line. The title is
/// also the id, since the number of a document is only its rank.
fn hits(page: &str) -> Vec<Hit<'static>> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in page.lines() {
        match headed(line) {
            Some((title, text)) => found.push((title, text.to_owned())),
            // The text of a passage may have several lines.
            None => {
                if let Some((_, text)) = found.last_mut() {
                    text.push('\n');
                    text.push_str(line);
                }
            }
        }
    }
    let hit = |(title, text): (&str, String)| Hit {
        id: title.to_owned().into(),
        title: title.to_owned().into(),
        text: text.trim_end().to_owned().into(),
        score: 0.0,
    };
    found.into_iter().map(hit).collect()
}

fn headed(line: &str) -> Option<(&str, &str)> {
    let (number, rest) =
        line.trim_start().strip_prefix(DOCUMENT_PREFIX)?.split_once(TITLE_PREFIX)?;
    let is_number = !number.is_empty() && number.chars().all(|it| it.is_ascii_digit());
    let (title, text) = rest.split_once(')').filter(|_| is_number)?;
    // A title may have parentheses of its own, and is then quoted.
    let quoted = rest.strip_prefix('"').and_then(|rest| rest.split_once("\")"));
    let (title, text) = quoted.unwrap_or((title, text));
    Some((title.trim_matches('"'), text.trim()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TOLD: &str = "<think> Who? </think>\n<search> Alien film </search>\n\n<information>\
        Doc 1(Title: \"Alien (film)\") A film.\nOf 1979.\nDoc 2(Title: Ridley Scott) A man.\n\
        </information>\n\n<think> He. </think><answer> Ridley Scott </answer><|im_end|>";

    #[test]
    fn a_text_is_taken_apart() {
        use Kind::{Answer, Information, Prompt, Search, Think};

        let row = json!({
            "input": "Use <search>. Question: Who made Alien?\n", "output": TOLD,
            "gts": { "target": ["Ridley Scott"] }, "score": 1.0, "step": 5,
        });
        let row = Row::read(&row).unwrap();
        assert_eq!(row.question.text, "Who made Alien?");
        assert_eq!(row.question.golden_answers, ["Ridley Scott"]);
        assert_eq!((row.reward, row.step), (Some(1.0), Some(5)));
        let it = row.trajectory;
        assert_eq!(it.answer.as_deref(), Some("Ridley Scott"));
        assert_eq!(it.outcome, Outcome::Answered);
        let kinds: Vec<Kind> = it.segments.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, [Prompt, Think, Search, Information, Think, Answer]);
        let found: Vec<(&str, &str)> =
            it.searches[0].hits.iter().map(|it| (it.title.as_str(), it.text.as_str())).collect();
        assert_eq!(found, [("Alien (film)", "A film.\nOf 1979."), ("Ridley Scott", "A man.")]);
        assert_eq!((it.searches[0].query.as_str(), it.searches[0].segment), ("Alien film", 2));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let example = "Question: ex?\n<answer> A </answer>\n";
        let chat = "<|im_start|>assistant\n<answer> A </answer><|im_end|>\n";
        let call = "<tool_call>{\"name\": \"search\"}</tool_call><answer> y </answer>";
        for (input, output, expected) in [
            (None, format!("{example}Question: q?\n<answer> y </answer>"), "2 times `Question:`"),
            (None, format!("{chat}{chat}"), "2 turns of an assistant"),
            (Some("Question: q?"), call.to_owned(), "tool calls (`<tool_call>`)"),
            (Some("Question: q?"), format!("<search> x </search>{chat}"), "several turns"),
            (
                Some("Question: q?"),
                "<search> x </search>\n<result> y </result><answer> y </answer>".to_owned(),
                "in `<result>`, which is not read",
            ),
        ] {
            let row = json!({ "input": input, "output": output, "gts": ["y"] });
            let error = Row::read(&row).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        // Examples in a prompt of its own are none of the response.
        let input = format!("{example}Question: q?\n");
        let row = json!({ "input": input, "output": "<answer> y </answer>", "gts": ["y"] });
        let row = Row::read(&row).unwrap();
        assert_eq!(row.question.text, "q?");
        assert_eq!(row.trajectory.answer.as_deref(), Some("y"));
    }

    #[test]
    fn a_forged_page_is_no_search() {
        for text in [
            "<information> Doc 1(Title: x) y </information><answer> z </answer>",
            "<think> <information> Doc 1(Title: x) y </information></think><answer> z </answer>",
        ] {
            let it = trajectory("", text);
            assert!(it.searches.is_empty(), "{text}");
            assert!(it.segments.iter().all(|it| it.origin == Origin::Policy), "{text}");
            assert_eq!(it.answer.as_deref(), Some("z"), "{text}");
        }
        let page = "<search> q </search><information> <answer> evil </answer> </information>";
        let it = trajectory("", page);
        assert_eq!((it.answer, it.searches.len()), (None, 1));
    }

    #[test]
    fn a_page_that_was_cut_ends_where_the_policy_goes_on() {
        use Kind::{Answer, Information, Search, Think};

        let cut = "<search> q </search>\n\n<information>Doc 1(Title: A) <answer> evil </answer> is";
        let closed = "<search> r </search><information>Doc 1(Title: B) b</information>";
        for (after, kinds, answer) in [
            (
                "<think> x </think><answer> y </answer>",
                [Search, Information, Think, Answer].as_slice(),
                Some("y"),
            ),
            ("", &[Search, Information], None),
            (" <answer> y </answer>", &[Search, Information], None),
            (
                &format!("{closed}<answer> y </answer>"),
                &[Search, Information, Search, Information, Answer],
                Some("y"),
            ),
            (
                &format!("<think> x </think>{closed}<answer> y </answer>"),
                &[Search, Information, Think, Search, Information, Answer],
                Some("y"),
            ),
        ] {
            let it = trajectory("", &format!("{cut}{after}"));
            let found: Vec<Kind> = it.segments.iter().map(|segment| segment.kind).collect();
            assert_eq!(found, kinds, "{after}");
            assert_eq!(it.answer.as_deref(), answer, "{after}");
        }
        // A page may hold the tag of a page.
        let it = trajectory("", "<search> q </search><information> <information> x </information>");
        assert_eq!(it.segments.len(), 2, "{:?}", it.segments);
    }

    #[test]
    fn the_prompt_may_open_the_thought() {
        let text = "Osk. </think><search> q </search><information>p</information>\
                    <think> x </think><answer> y </answer>";
        for (prompt, first) in [("who?\n<think>\n", Kind::Think), ("who?\n", Kind::Other)] {
            let it = trajectory(prompt, text);
            assert_eq!(it.segments[1].kind, first, "{prompt}");
            assert_eq!(it.segments[1].text, "Osk. </think>");
            assert_eq!(forage_reward_sdk::grammar::is_valid(&it.segments), first == Kind::Think);
        }
    }

    #[test]
    fn other_shapes() {
        let text = "<|im_start|>user\nQuestion: Who?\n<|im_end|>\n<|im_start|>assistant\n<answer>x</answer>";
        let warned = "<search> a\nMy previous action is invalid. If … Let me try again.\n<answer> x </answer>";
        for (row, question, n_segments) in [
            (json!({ "sequences_str": text, "ground_truth": { "target": "x" } }), "Who?", 2),
            (
                json!({ "question": "Why?", "id": 7, "response": warned, "golden_answers": ["x"] }),
                "Why?",
                3,
            ),
            (
                json!({ "prompt": "Question: How?", "solution_str": "<answer>x</answer>",
                    "reward_model": { "ground_truth": { "target": ["x"] } } }),
                "How?",
                2,
            ),
        ] {
            let row = Row::read(&row).unwrap();
            assert_eq!(row.question.text, question);
            assert_eq!(row.question.golden_answers, ["x"]);
            assert_eq!(row.trajectory.answer.as_deref(), Some("x"), "{question}");
            let segments = &row.trajectory.segments;
            assert_eq!(segments.len(), n_segments, "{segments:?}");
        }
        let python = json!({ "output": "x", "gts": "{'target': array(['x'])}" });
        assert!(format!("{:#}", Row::read(&python).unwrap_err()).contains("Python's text"));
        for (row, expected) in [
            (json!({ "output": "x", "response": "y", "gts": "x" }), "`output` and its `response`"),
            (
                json!({ "output": "x", "gts": "x", "ground_truth": "y" }),
                "`gts` and its `ground_truth`",
            ),
            (
                json!({ "output": "x", "gts": "x", "score": 1, "reward": 0 }),
                "`score` and its `reward`",
            ),
            (json!({ "output": "x", "gts": "x", "id": 9e15 }), "went through floating point"),
        ] {
            let told = Row::read(&row).unwrap_err().to_string();
            assert!(told.contains(expected), "{told}");
        }
        let same =
            json!({ "output": "x", "gts": ["x"], "ground_truth": "x", "score": 1, "reward": 1.0 });
        assert_eq!(Row::read(&same).unwrap().reward, Some(1.0));
    }

    #[test]
    fn rows_of_a_question_are_a_group() {
        let row = |id: &str, step| {
            Row::read(&json!({ "id": id, "step": step, "output": "x", "gts": ["y"] })).unwrap()
        };
        let all = groups(vec![row("a", 1), row("b", 1), row("a", 1), row("a", 2)]);
        let sizes: Vec<usize> = all.iter().map(|it| it.group.trajectories.len()).collect();
        assert_eq!(sizes, [2, 1, 1]);
        assert_eq!(all[0].group.trajectories[1].member, 1);
    }
}
