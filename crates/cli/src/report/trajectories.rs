//! Trajectories of the page: a selection of the groups of a run, with each text stored once.
//!
//! A run writes more trajectories than a browser can open. [`read`] first takes the first and the
//! last evaluation of every split, with the same questions in both, and then groups of files that
//! are spread evenly over the steps of training.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use forage_training::record::{GradeRecord, GroupRecord};
use forage_trajectory::{Origin, Outcome, Question, Search, SegmentKind, Trajectory};
use serde::{Deserialize, Serialize};

use super::{StepFile, input, parse_line, step_files};
use crate::transcript::answered_right;

/// Maximum number of groups.
const MAX_GROUPS: usize = 200;
/// Maximum number of groups from the first and last evaluations, if there are other files.
const MAX_BOOKENDS: usize = 100;
/// Maximum number of other files.
const MAX_FILES: usize = 25;
/// Maximum size of all texts, in bytes; each file still has one group.
const MAX_TEXT: usize = 16 << 20;

/// Groups of the page.
#[derive(Debug, Default, Serialize)]
pub(super) struct ShownTrajectories {
    #[serde(flatten)]
    pool: Pool,
    /// By step, then by split.
    groups: Vec<ShownGroup>,
    /// Number of groups in the files that were read.
    n_groups: usize,
    /// Number of files in the folder.
    n_files: usize,
    /// Number of files that were read.
    n_files_read: usize,
}

/// Texts, passages and questions, each stored once; groups refer to them by index.
#[derive(Debug, Default, Serialize)]
struct Pool {
    texts: Vec<String>,
    passages: Vec<ShownPassage>,
    questions: Vec<ShownQuestion>,
    #[serde(skip)]
    text_ids: HashMap<String, usize>,
    #[serde(skip)]
    passage_ids: HashMap<(String, usize), usize>,
    #[serde(skip)]
    question_ids: HashMap<String, usize>,
    #[serde(skip)]
    n_bytes: usize,
}

#[derive(Debug, Serialize)]
struct ShownPassage {
    id: String,
    title: String,
    text: usize,
}

#[derive(Debug, Serialize)]
struct ShownQuestion {
    id: String,
    text: String,
    golden_answers: Vec<String>,
    hops: Option<usize>,
    shape: String,
    entities: Vec<String>,
    steps: Vec<forage_trajectory::EvidenceStep>,
    passages: Vec<usize>,
}

#[derive(Debug, Serialize)]
struct ShownGroup {
    step: u64,
    split: String,
    question: usize,
    members: Vec<ShownMember>,
}

#[derive(Debug, Serialize)]
struct ShownMember {
    outcome: Outcome,
    answer: Option<String>,
    /// Whether the answer is a golden one; null without an answer.
    right: Option<bool>,
    policy_tokens: usize,
    grade: GradeRecord,
    segments: Vec<ShownSegment>,
}

#[derive(Debug, Serialize)]
struct ShownSegment {
    origin: Origin,
    kind: SegmentKind,
    /// Number of tokens.
    tokens: usize,
    /// Indices of the texts that make it up, in order.
    text: Vec<usize>,
    /// The executed search of a search segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<ShownSearch>,
}

#[derive(Debug, Serialize)]
struct ShownSearch {
    /// Index among the searches of the trajectory.
    idx: usize,
    query: String,
    hits: Vec<ShownHit>,
    failure: Option<String>,
}

#[derive(Debug, Serialize)]
struct ShownHit {
    passage: usize,
    score: f32,
}

/// Part of a [`GroupRecord`] that the selection needs.
#[derive(Deserialize)]
struct Peek {
    group: PeekGroup,
}

#[derive(Deserialize)]
struct PeekGroup {
    question: PeekQuestion,
}

#[derive(Deserialize)]
struct PeekQuestion {
    id: String,
}

pub(super) fn read(folder: &Path) -> anyhow::Result<ShownTrajectories> {
    let files = step_files(folder, ".jsonl.zst")?;
    let n_files = files.len();
    let (bookends, others) = planned(files);
    let mut shown = ShownTrajectories {
        n_files,
        n_files_read: bookends.len() + others.len(),
        ..Default::default()
    };

    // Questions of an evaluation that is on the page, so that before and after can be compared.
    let mut met = BTreeSet::new();
    let mut n_left = if others.is_empty() { MAX_GROUPS } else { MAX_BOOKENDS };
    for (idx, file) in bookends.iter().enumerate() {
        let files_left = bookends.len() - idx;
        let text_left = (MAX_TEXT / 2).saturating_sub(shown.pool.n_bytes) / files_left;
        n_left -= shown.take(file, n_left / files_left, text_left, &mut met)?;
    }
    n_left = MAX_GROUPS - shown.groups.len();
    for (idx, file) in others.iter().enumerate() {
        let files_left = others.len() - idx;
        let text_left = MAX_TEXT.saturating_sub(shown.pool.n_bytes) / files_left;
        n_left -= shown.take(file, n_left / files_left, text_left, &mut met)?;
    }
    shown.groups.sort_by(|a, b| (a.step, &a.split).cmp(&(b.step, &b.split)));
    Ok(shown)
}

/// First and last file of each evaluation, and a selection of the others, spread over the steps.
fn planned(files: Vec<StepFile>) -> (Vec<StepFile>, Vec<StepFile>) {
    let mut ends = BTreeMap::<String, (u64, u64)>::new();
    for file in files.iter().filter(|file| file.split != "train") {
        let end = ends.entry(file.split.clone()).or_insert((file.step, file.step));
        end.1 = file.step;
    }
    let (bookends, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| {
        ends.get(&file.split).is_some_and(|&(a, b)| file.step == a || file.step == b)
    });
    let others = spread(others.len(), MAX_FILES).into_iter().map(|idx| others[idx].clone());
    (bookends, others.collect())
}

/// `n_wanted` of `n` indices, evenly spaced, with the first and the last; all if there are fewer.
fn spread(n: usize, n_wanted: usize) -> Vec<usize> {
    match n_wanted {
        _ if n <= n_wanted => (0..n).collect(),
        0 => Vec::new(),
        1 => vec![0],
        _ => (0..n_wanted).map(|idx| idx * (n - 1) / (n_wanted - 1)).collect(),
    }
}

impl ShownTrajectories {
    /// Adds up to `n_wanted` groups of a file. Returns the number of added groups.
    fn take(
        &mut self,
        file: &StepFile,
        n_wanted: usize,
        max_text: usize,
        met: &mut BTreeSet<String>,
    ) -> anyhow::Result<usize> {
        let path = &file.path;
        let mut text = String::new();
        File::open(path)
            .and_then(zstd::Decoder::new)
            .and_then(|mut decoder| decoder.read_to_string(&mut text))
            .with_context(|| input(format!("`{}` cannot be read", path.display())))?;
        let lines: Vec<_> = text.lines().collect();
        let mut ids = Vec::with_capacity(lines.len());
        for (idx, line) in lines.iter().enumerate() {
            let peek: Peek = parse_line(line, path, idx)?;
            ids.push(peek.group.question.id);
        }
        self.n_groups += lines.len();

        let is_evaluation = file.split != "train";
        let mut candidates: Vec<_> =
            (0..lines.len()).filter(|&idx| is_evaluation && met.contains(&ids[idx])).collect();
        if candidates.is_empty() {
            candidates = (0..lines.len()).collect();
        }
        let bytes_before = self.pool.n_bytes;
        let mut n_taken = 0;
        for choice in spread(candidates.len(), n_wanted) {
            if n_taken > 0 && self.pool.n_bytes - bytes_before > max_text {
                break;
            }
            let idx = candidates[choice];
            let record: GroupRecord = parse_line(lines[idx], path, idx)?;
            if is_evaluation {
                met.insert(ids[idx].clone());
            }
            self.groups.push(self.pool.group(record));
            n_taken += 1;
        }
        Ok(n_taken)
    }
}

impl Pool {
    fn group(&mut self, record: GroupRecord) -> ShownGroup {
        let question = self.question(&record.group.question);
        let mut grades = record.grades.into_iter();
        let members = record
            .group
            .trajectories
            .iter()
            .map(|trajectory| ShownMember {
                outcome: trajectory.outcome.clone(),
                answer: trajectory.final_answer().map(str::to_owned),
                right: answered_right(&record.group.question, trajectory),
                policy_tokens: trajectory.n_policy_tokens(),
                grade: grades.next().unwrap_or_default(),
                segments: self.segments(trajectory),
            })
            .collect();
        ShownGroup { step: record.step, split: record.split, question, members }
    }

    fn segments(&mut self, trajectory: &Trajectory) -> Vec<ShownSegment> {
        let mut segments = Vec::with_capacity(trajectory.segments.len());
        let mut last_search: Option<&Search> = None;
        for (idx, segment) in trajectory.segments.iter().enumerate() {
            let content = if segment.content.is_empty() { &segment.text } else { &segment.content };
            let search_idx = trajectory.searches.iter().position(|search| search.segment == idx);
            if let Some(search_idx) = search_idx {
                last_search = Some(&trajectory.searches[search_idx]);
            }
            let text = match last_search {
                Some(search) if segment.origin == Origin::Environment => {
                    self.pieces(content, search)
                }
                _ => vec![self.text(content)],
            };
            segments.push(ShownSegment {
                origin: segment.origin,
                kind: segment.kind,
                tokens: segment.tokens.len(),
                text,
                search: search_idx.map(|idx| self.search(&trajectory.searches[idx], idx)),
            });
        }
        segments
    }

    /// Text of the environment, cut where it quotes a hit, so that the page has the hit once.
    fn pieces(&mut self, content: &str, search: &Search) -> Vec<usize> {
        let mut pieces = Vec::new();
        let mut rest = content;
        for hit in search.hits.iter().filter(|hit| !hit.text.is_empty()) {
            if let Some((before, after)) = rest.split_once(&hit.text) {
                pieces.push(self.text(before));
                pieces.push(self.text(&hit.text));
                rest = after;
            }
        }
        pieces.push(self.text(rest));
        pieces
    }

    fn search(&mut self, search: &Search, idx: usize) -> ShownSearch {
        let hits = search
            .hits
            .iter()
            .map(|hit| ShownHit {
                passage: self.passage(&hit.id, &hit.title, &hit.text),
                score: hit.score,
            })
            .collect();
        ShownSearch { idx, query: search.query.clone(), hits, failure: search.failure.clone() }
    }

    fn question(&mut self, question: &Question) -> usize {
        // An evaluation and the training may use the same id for different questions.
        let key = format!("{}\n{}", question.id, question.text);
        if let Some(&idx) = self.question_ids.get(&key) {
            return idx;
        }
        let evidence = &question.evidence;
        let passages = evidence
            .passages
            .iter()
            .map(|passage| self.passage(&passage.id, &passage.title, &passage.text))
            .collect();
        self.questions.push(ShownQuestion {
            id: question.id.clone(),
            text: question.text.clone(),
            golden_answers: question.golden_answers.clone(),
            hops: question.hops(),
            shape: evidence.shape.clone(),
            entities: evidence.entities.clone(),
            steps: evidence.steps.clone(),
            passages,
        });
        self.question_ids.insert(key, self.questions.len() - 1);
        self.questions.len() - 1
    }

    fn passage(&mut self, id: &str, title: &str, text: &str) -> usize {
        let text = self.text(text);
        let next = self.passages.len();
        let idx = *self.passage_ids.entry((id.to_owned(), text)).or_insert(next);
        if idx == next {
            self.passages.push(ShownPassage { id: id.to_owned(), title: title.to_owned(), text });
        }
        idx
    }

    fn text(&mut self, text: &str) -> usize {
        if let Some(&idx) = self.text_ids.get(text) {
            return idx;
        }
        self.n_bytes += text.len();
        self.texts.push(text.to_owned());
        self.text_ids.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(steps: impl IntoIterator<Item = u64>, split: &str) -> Vec<StepFile> {
        let file = |step| StepFile { step, split: split.to_owned(), path: "x".into() };
        steps.into_iter().map(file).collect()
    }

    #[test]
    fn indices_are_spread_evenly_and_reach_both_ends() {
        let cases: [(usize, usize, &[usize]); 6] = [
            (0, 3, &[]),
            (3, 5, &[0, 1, 2]),
            (5, 3, &[0, 2, 4]),
            (5, 1, &[0]),
            (5, 0, &[]),
            (101, 3, &[0, 50, 100]),
        ];
        for (n, n_wanted, expected) in cases {
            assert_eq!(spread(n, n_wanted), expected, "{n_wanted} of {n}");
        }
    }

    #[test]
    fn first_and_last_evaluations_come_before_everything_else() {
        let mut all = files(0..500, "train");
        all.extend(files([0, 100, 499], "greedy"));
        all.extend(files([7], "sampled"));
        let (bookends, others) = planned(all);
        let names: Vec<_> = bookends.iter().map(|it| (it.split.as_str(), it.step)).collect();
        assert_eq!(names, [("greedy", 0), ("greedy", 499), ("sampled", 7)]);
        assert_eq!(others.len(), MAX_FILES);
        assert_eq!((others[0].step, others[0].split.as_str()), (0, "train"));
    }

    #[test]
    fn a_quoted_hit_is_held_once_and_the_text_can_be_put_together_again() {
        let hit = |text: &str| forage_trajectory::Hit { text: text.into(), ..Default::default() };
        let hits = vec![hit("first page"), hit("never quoted"), hit("second page")];
        let search = Search { query: "x".into(), hits, segment: 0, failure: None };
        let content = "1: first page\n2: second page\nend";
        let mut pool = Pool::default();
        let pieces = pool.pieces(content, &search);
        let joined: String = pieces.iter().map(|&idx| pool.texts[idx].as_str()).collect();
        assert_eq!(joined, content);
        assert_eq!(pool.texts, ["1: ", "first page", "\n2: ", "second page", "\nend"]);
    }
}
