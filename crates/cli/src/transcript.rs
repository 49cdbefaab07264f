//! Transcript of a trajectory for a terminal: thoughts, searches, hits, and the answer.
//!
//! [`render`] is a pure function of a [`GroupRecord`]. Labels are in a gutter on the left, texts
//! are wrapped beside it, and a colour never says anything that a word or a sign does not. Control
//! characters of models and pages are replaced, so that none of them reaches the terminal.

use std::collections::BTreeSet;
use std::fmt::Write;

use forage_reward_sdk::text::exact_match;
use forage_trajectory::{Hit, Origin, Outcome, Question, Search, Segment, SegmentKind, Trajectory};

use forage_training::record::{GradeRecord, GroupRecord};

/// Width of the gutter.
const GUTTER: usize = 10;
/// Lines of a hit's text that are shown.
const SNIPPET_LINES: usize = 2;

/// Transcript of one member of a group, in lines of at most `width` characters.
///
/// Empty if the group has no such member. `width` is at least 40.
pub fn render(record: &GroupRecord, member: usize, color: bool, width: usize) -> String {
    let Some(trajectory) = record.group.trajectories.get(member) else { return String::new() };
    let question = &record.group.question;
    let mut page = Page { text: String::new(), color, width: width.max(40) };

    page.paragraph("question:", Paint::Bold, &question.text);
    page.paragraph("", Paint::Dim, &origin(record, member));
    let gold = gold_passages(question);
    let mut searches = trajectory.searches.iter().peekable();
    for (idx, segment) in trajectory.segments.iter().enumerate() {
        // The prompt repeats the question, and observations repeat the hits of their searches.
        let is_repeated = segment.kind == SegmentKind::Prompt
            || segment.kind == SegmentKind::Information && !trajectory.searches.is_empty();
        if is_repeated {
            continue;
        }
        page.line("");
        if segment.kind == SegmentKind::Answer && segment.origin == Origin::Policy {
            page.answer(question, trajectory, segment);
        } else {
            page.paragraph(label(segment.kind), paint(segment.kind), &segment.content);
        }
        if let Some(search) = searches.next_if(|search| search.segment == idx) {
            page.hits(search, &gold);
        }
    }
    page.line("");
    // Whoever asks in a chat has no golden answer.
    if trajectory.final_answer().is_none() && !question.golden_answers.is_empty() {
        let golden = golden(question);
        page.paragraph("no answer", Paint::Red, &format!("the golden answer is {golden}"));
    }
    page.grade(&trajectory.outcome, record.grades.get(member));
    page.text
}

/// Whether the answer is right by exact match; `None` without an answer, or without a golden one.
pub(crate) fn answered_right(question: &Question, trajectory: &Trajectory) -> Option<bool> {
    if question.golden_answers.is_empty() {
        return None;
    }
    Some(exact_match(trajectory.final_answer()?, &question.golden_answers) > 0.0)
}

fn gold_passages(question: &Question) -> BTreeSet<&str> {
    let evidence = &question.evidence;
    let of_steps = evidence.steps.iter().flat_map(|step| step.passage_ids.iter());
    of_steps.chain(evidence.passages.iter().map(|it| &it.id)).map(String::as_str).collect()
}

fn golden(question: &Question) -> String {
    question.golden_answers.join(" | ")
}

fn origin(record: &GroupRecord, member: usize) -> String {
    let mut text = format!("step {}, {}", record.step, record.split);
    match record.group.question.hops() {
        Some(1) => text += ", 1 hop",
        Some(n) => _ = write!(text, ", {n} hops"),
        None => {}
    }
    let n_members = record.group.trajectories.len();
    if n_members > 1 {
        _ = write!(text, ", trajectory {} of {n_members}", member + 1);
    }
    text
}

fn label(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::Prompt => "prompt:",
        SegmentKind::Think => "think:",
        SegmentKind::Search => "search:",
        SegmentKind::Information => "found:",
        SegmentKind::Answer => "answer:",
        SegmentKind::Warning => "warning:",
        SegmentKind::Other => "other:",
    }
}

fn paint(kind: SegmentKind) -> Paint {
    match kind {
        SegmentKind::Search => Paint::Cyan,
        SegmentKind::Answer => Paint::Bold,
        SegmentKind::Warning => Paint::Red,
        SegmentKind::Prompt
        | SegmentKind::Think
        | SegmentKind::Information
        | SegmentKind::Other => Paint::Plain,
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered => "answered".into(),
        Outcome::NoAnswer => "ended without an answer".into(),
        Outcome::Malformed => "neither a search nor an answer".into(),
        Outcome::OverLength => "out of tokens".into(),
        Outcome::OutOfTurns => "out of turns".into(),
        Outcome::Failed(reason) => format!("failed, not counted: {reason}"),
    }
}

#[derive(Clone, Copy)]
enum Paint {
    Plain,
    Bold,
    Dim,
    Cyan,
    Green,
    Red,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Cyan => "\x1b[36m",
            Self::Green => "\x1b[32m",
            Self::Red => "\x1b[31m",
        }
    }
}

struct Page {
    text: String,
    color: bool,
    width: usize,
}

impl Page {
    fn line(&mut self, line: &str) {
        self.text += line.trim_end();
        self.text.push('\n');
    }

    fn painted(&self, text: &str, paint: Paint) -> String {
        match paint {
            Paint::Plain => text.to_owned(),
            _ if !self.color || text.is_empty() => text.to_owned(),
            _ => format!("{}{text}\x1b[0m", paint.code()),
        }
    }

    /// A text beside the gutter, with a label in front of its first line.
    fn paragraph(&mut self, label: &str, paint: Paint, text: &str) {
        let lines = wrapped(text, self.width - GUTTER);
        for (idx, line) in lines.iter().enumerate() {
            let label = if idx == 0 { label } else { "" };
            let gutter = self.painted(&format!("{label:GUTTER$}"), Paint::Dim);
            let line = self.painted(line, paint);
            // An empty gutter needs no paint around its spaces.
            let gutter = if label.is_empty() { " ".repeat(GUTTER) } else { gutter };
            self.line(&format!("{gutter}{line}"));
        }
    }

    fn answer(&mut self, question: &Question, trajectory: &Trajectory, segment: &Segment) {
        self.paragraph(label(segment.kind), Paint::Bold, &segment.content);
        match answered_right(question, trajectory) {
            Some(true) => self.paragraph("", Paint::Green, "✓ right"),
            Some(false) => {
                let mark = format!("✗ wrong, the golden answer is {}", golden(question));
                self.paragraph("", Paint::Red, &mark);
            }
            None => {}
        }
    }

    fn hits(&mut self, search: &Search, gold: &BTreeSet<&str>) {
        if let Some(reason) = &search.failure {
            self.paragraph("", Paint::Red, &format!("the search failed: {reason}"));
        } else if search.hits.is_empty() {
            self.paragraph("", Paint::Dim, "nothing found");
        }
        for (idx, hit) in search.hits.iter().enumerate() {
            self.hit(idx + 1, hit, gold.contains(hit.id.as_str()));
        }
    }

    fn hit(&mut self, rank: usize, hit: &Hit, is_gold: bool) {
        let (mark, paint) = if is_gold { ("  ★ gold", Paint::Green) } else { ("", Paint::Plain) };
        let head = format!("{rank}. {}  {:.2}{mark}", hit.title, hit.score);
        self.paragraph("", paint, &head);
        let indent = GUTTER + 3;
        let mut lines = wrapped(&hit.text, self.width - indent - 2);
        if lines.len() > SNIPPET_LINES {
            lines.truncate(SNIPPET_LINES);
            lines[SNIPPET_LINES - 1] += " …";
        }
        for line in lines {
            let line = self.painted(&line, Paint::Dim);
            self.line(&format!("{:indent$}{line}", ""));
        }
    }

    fn grade(&mut self, how: &Outcome, grade: Option<&GradeRecord>) {
        self.paragraph("outcome:", Paint::Plain, &outcome(how));
        let Some(grade) = grade else { return };
        if let Some(reason) = &grade.failure {
            self.paragraph("reward:", Paint::Red, &format!("failed: {reason}"));
        }
        let Some(reward) = grade.reward else { return };
        let mut text = format!("{reward:.3}");
        if let Some(advantage) = grade.advantage {
            _ = write!(text, ", advantage {advantage:+.3}");
        }
        self.paragraph("reward:", Paint::Bold, &text);
        let name_width = grade.parts.keys().map(|name| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &grade.parts {
            self.line(&format!("{:GUTTER$}{name:name_width$} {value:>7.3}", ""));
        }
        if !grade.steps.is_empty() {
            let steps: Vec<_> = grade.steps.iter().map(|value| format!("{value:.3}")).collect();
            self.paragraph("", Paint::Plain, &format!("by search: {}", steps.join(", ")));
        }
    }
}

/// Lines of at most `width` characters; a longer word is cut. At least one line.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        let mut n_chars = 0;
        for word in paragraph.split_whitespace() {
            let word: Vec<char> = word.chars().map(printable).collect();
            for piece in word.chunks(width) {
                if n_chars > 0 && n_chars + 1 + piece.len() > width {
                    lines.push(std::mem::take(&mut line));
                    n_chars = 0;
                }
                if n_chars > 0 {
                    line.push(' ');
                    n_chars += 1;
                }
                line.extend(piece);
                n_chars += piece.len();
            }
        }
        if n_chars > 0 {
            lines.push(line);
        }
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn printable(character: char) -> char {
    if character.is_control() { '\u{fffd}' } else { character }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use forage_trajectory::{Evidence, EvidenceStep, Group};

    use super::*;

    fn record() -> GroupRecord {
        let step = |id: &str| EvidenceStep { passage_ids: vec![id.into()], ..Default::default() };
        let question = Question {
            id: "q7".into(),
            text: "Which river runs through the birthplace of Ada Vell?".into(),
            golden_answers: vec!["Tarn".into(), "River Tarn".into()],
            evidence: Evidence { steps: vec![step("p1"), step("p2")], ..Default::default() },
            ..Default::default()
        };
        let hit = |id: &str, title: &str, text: &str, score| Hit {
            id: id.into(),
            title: title.into(),
            text: text.into(),
            score,
        };
        let mut right = Trajectory::new("q7", 0);
        right.push_given(
            Origin::Prompt,
            SegmentKind::Prompt,
            "Answer the question. Which river…",
            &[1],
        );
        right.push_sampled(&[2, 3, 4], &[-0.1, -0.2, -0.3]);
        right.tag(SegmentKind::Think, "<think>…</think>", 1..2, Some("Where was she born?"));
        right.tag(SegmentKind::Search, "<search>…</search>", 2..4, Some("Ada Vell birthplace"));
        right.push_given(Origin::Environment, SegmentKind::Information, "Doc 1 …", &[5, 6]);
        right.push_sampled(&[7], &[-0.4]);
        right.tag(SegmentKind::Answer, "<answer>…</answer>", 6..7, Some("the river Tarn"));
        right.outcome = Outcome::Answered;
        let long = "Ada Vell was born in Orrin, where her mother kept the ferry. She built \
                    clocks, first for the town hall and then for every station of the coast line.";
        right.searches.push(Search {
            query: "Ada Vell birthplace".into(),
            hits: vec![
                hit("p9", "Vell (surname)", "A surname.", 11.25),
                hit("p1", "Ada Vell", long, 9.5),
            ],
            segment: 2,
            failure: None,
        });

        let mut failed = Trajectory::new("q7", 1);
        failed.push_sampled(&[2], &[-0.1]);
        failed.tag(SegmentKind::Search, "<search>…</search>", 0..1, Some("\u{1b}[31mred"));
        failed.push_given(Origin::Environment, SegmentKind::Warning, "one search is left", &[3]);
        failed.searches.push(Search {
            query: "red".into(),
            hits: Vec::new(),
            segment: 0,
            failure: Some("timed out".into()),
        });
        failed.outcome = Outcome::Failed("search for `red` failed".into());

        let scored = GradeRecord {
            reward: Some(1.05),
            advantage: Some(0.707),
            parts: [("answer/em".to_owned(), 1.0), ("format/valid".to_owned(), 0.05)].into(),
            steps: vec![0.5],
            failure: None,
        };
        let unscored =
            GradeRecord { failure: Some("no answer to judge".into()), ..Default::default() };
        GroupRecord {
            step: 10,
            split: "train".into(),
            group: Group { question, trajectories: vec![right, failed] },
            grades: vec![scored, unscored],
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "expectations are written in place")]
    fn check(member: usize, color: bool, width: usize, expected: Expect) {
        let text = render(&record(), member, color, width);
        for line in text.lines().filter(|_| !color) {
            assert!(line.chars().count() <= width, "{line}");
        }
        expected.assert_eq(&text.replace('\x1b', "ESC"));
    }

    #[test]
    fn a_right_answer() {
        check(
            0,
            false,
            60,
            expect![[r"
            question: Which river runs through the birthplace of Ada
                      Vell?
                      step 10, train, 2 hops, trajectory 1 of 2

            think:    Where was she born?

            search:   Ada Vell birthplace
                      1. Vell (surname) 11.25
                         A surname.
                      2. Ada Vell 9.50 ★ gold
                         Ada Vell was born in Orrin, where her mother
                         kept the ferry. She built clocks, first for …

            answer:   the river Tarn
                      ✓ right

            outcome:  answered
            reward:   1.050, advantage +0.707
                      answer/em      1.000
                      format/valid   0.050
                      by search: 0.500
        "]],
        );
    }

    #[test]
    fn a_narrow_terminal() {
        check(
            0,
            false,
            40,
            expect![[r"
            question: Which river runs through the
                      birthplace of Ada Vell?
                      step 10, train, 2 hops,
                      trajectory 1 of 2

            think:    Where was she born?

            search:   Ada Vell birthplace
                      1. Vell (surname) 11.25
                         A surname.
                      2. Ada Vell 9.50 ★ gold
                         Ada Vell was born in
                         Orrin, where her mother …

            answer:   the river Tarn
                      ✓ right

            outcome:  answered
            reward:   1.050, advantage +0.707
                      answer/em      1.000
                      format/valid   0.050
                      by search: 0.500
        "]],
        );
    }

    #[test]
    fn a_failed_search_and_a_page_that_would_paint_the_terminal() {
        check(
            1,
            true,
            80,
            expect![[r"
            ESC[2mquestion: ESC[0mESC[1mWhich river runs through the birthplace of Ada Vell?ESC[0m
                      ESC[2mstep 10, train, 2 hops, trajectory 2 of 2ESC[0m

            ESC[2msearch:   ESC[0mESC[36m�[31mredESC[0m
                      ESC[31mthe search failed: timed outESC[0m

            ESC[2mwarning:  ESC[0mESC[31mone search is leftESC[0m

            ESC[2mno answer ESC[0mESC[31mthe golden answer is Tarn | River TarnESC[0m
            ESC[2moutcome:  ESC[0mfailed, not counted: search for `red` failed
            ESC[2mreward:   ESC[0mESC[31mfailed: no answer to judgeESC[0m
        "]],
        );
    }

    #[test]
    fn without_a_golden_answer_nothing_is_right_or_wrong() {
        let mut asked = record();
        asked.group.question.golden_answers.clear();
        for member in 0..2 {
            let text = render(&asked, member, false, 80);
            for word in ["✓", "✗", "golden"] {
                assert!(!text.contains(word), "{member}: {text}");
            }
        }
    }

    #[test]
    fn no_such_member() {
        check(2, false, 80, expect![[r""]]);
    }
}
