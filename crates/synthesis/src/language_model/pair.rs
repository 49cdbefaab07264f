//! Parser of the pair in a generator's reply.

use forage_trajectory::protocol::{ANSWER, DOCUMENT_PREFIX, TITLE_PREFIX};
use forage_trajectory::{Evidence, EvidenceStep, Hit, Passage};

use super::transcript::last_between;
use crate::feedback_loop::{ExecutedSearch, QaPair};

/// Most words of a short answer.
const MAX_ANSWER_WORDS: usize = 20;

/// Documents that a generator saw, and the searches that found them.
#[derive(Default)]
pub(super) struct Seen<'a> {
    /// Documents of its prompt.
    pub(super) passages: Vec<&'a Passage>,
    /// Its searches.
    pub(super) searches: Vec<&'a ExecutedSearch>,
}

impl Seen<'_> {
    /// The passage of a title. Where several have it, the first with the text, if any has it.
    fn find(&self, title: &str, text: &str) -> Option<Passage> {
        let (title, text) = (plain(title), plain(text));
        let from_hit = |hit: &Hit| Passage {
            id: hit.id.clone(),
            title: hit.title.clone(),
            text: hit.text.clone(),
        };
        let found = self.searches.iter().flat_map(|it| &it.hits).map(from_hit);
        let titled: Vec<Passage> = self
            .passages
            .iter()
            .map(|it| (*it).clone())
            .chain(found)
            .filter(|passage| !title.is_empty() && plain(&passage.title) == title)
            .collect();
        let best =
            titled.iter().position(|passage| plain(&passage.text).contains(&text)).unwrap_or(0);
        titled.into_iter().nth(best)
    }

    /// The executed queries that found a passage.
    fn queries_for(&self, passage_id: &str) -> Vec<String> {
        let mut queries: Vec<String> = Vec::new();
        for searched in &self.searches {
            let finds = searched.hits.iter().any(|hit| hit.id == passage_id);
            if finds && !queries.contains(&searched.query) {
                queries.push(searched.query.clone());
            }
        }
        queries
    }
}

/// Parses the last question of a reply with the answer and the answering steps that follow it. The
/// error says what is missing, in a few words that do not differ from reply to reply.
///
/// A step is a line `1. search question | sub-answer | title`. A step whose title is not that of
/// a seen document has no passage.
pub(super) fn read(reply: &str, seen: &Seen<'_>) -> Result<QaPair, &'static str> {
    let question = last_between(reply, "question").ok_or("no question in its tags")?;
    let rest = &reply[reply.rfind("</question>").unwrap_or_default()..];
    let answer = rest
        .split_once(ANSWER.open)
        .and_then(|(_, rest)| rest.split_once(ANSWER.close))
        .map(|(answer, _)| answer.trim())
        .ok_or("no answer in its tags after the question")?;
    if question.is_empty() {
        return Err("an empty question");
    }
    if answer.is_empty() {
        return Err("an empty answer");
    }
    if answer.split_whitespace().count() > MAX_ANSWER_WORDS {
        return Err("an answer that is not short");
    }
    Ok(QaPair {
        question: question.split_whitespace().collect::<Vec<_>>().join(" "),
        golden_answers: vec![answer.split_whitespace().collect::<Vec<_>>().join(" ")],
        evidence: evidence(rest, seen),
    })
}

fn evidence(rest: &str, seen: &Seen<'_>) -> Evidence {
    let mut evidence = Evidence::default();
    let Some((_, lines)) = rest.split_once("<answering steps>") else { return evidence };
    let lines = lines.split("</answering steps>").next().unwrap_or_default();
    for line in lines.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let line = line.trim_start_matches(|it: char| it.is_ascii_digit());
        let line = line.trim_start_matches(['.', ')', '-', '*']).trim();
        let mut fields = line.split('|').map(str::trim);
        let (question, answer) = (fields.next().unwrap_or_default(), fields.next());
        let title = fields.next().unwrap_or_default();
        let answer = answer.unwrap_or_default();
        let mut step = EvidenceStep {
            question: question.to_owned(),
            answer: answer.to_owned(),
            ..EvidenceStep::default()
        };
        if let Some(passage) = seen.find(title, answer) {
            step.queries = seen.queries_for(&passage.id);
            step.passage_ids = vec![passage.id.clone()];
            if evidence.passages.iter().all(|other| other.id != passage.id) {
                evidence.passages.push(passage);
            }
        }
        evidence.steps.push(step);
    }
    evidence
}

/// A title as it is compared: without `Doc 1(Title: …)`, quotes and case.
fn plain(text: &str) -> String {
    let text = text.trim();
    let inner = text
        .split_once(TITLE_PREFIX.trim_end())
        .filter(|(before, _)| before.starts_with(DOCUMENT_PREFIX));
    let text = inner.map_or(text, |(_, rest)| rest.trim().strip_suffix(')').unwrap_or(rest));
    text.trim_matches(|character: char| character.is_whitespace() || "\"'“”‘’`".contains(character))
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: &str = "<think> I put it into <question> and <answer>. </think>
<question> In which year was the
founder of A born? </question>
<answer> 1900 </answer>
<answering steps>
1. Who founded A? | Bo | A
2) When was Bo born? | 1900 | \"Bo\"
- Where? | there | Nowhere
nothing more
</answering steps>";

    fn hit(id: &str, title: &str, text: &str) -> Hit {
        Hit { id: id.into(), title: title.into(), text: text.into(), score: 1.0 }
    }

    #[test]
    fn pairs_are_read_with_their_steps() {
        let document =
            Passage { id: "1".into(), title: "A".into(), text: "A was founded by Bo.".into() };
        let search = |query: &str, hits: Vec<Hit>| ExecutedSearch { query: query.into(), hits };
        let searches = [
            search("Bo", vec![hit("2", "Bo", "Bo is a name."), hit("1", "A", "by Bo")]),
            search("Bo born", vec![hit("3", "Bo", "Bo, born in 1900.")]),
        ];
        let seen = Seen { passages: vec![&document], searches: searches.iter().collect() };
        let pair = read(REPLY, &seen).unwrap();
        assert_eq!(pair.question, "In which year was the founder of A born?");
        assert_eq!(pair.golden_answers, ["1900"]);
        let steps = &pair.evidence.steps;
        let passages: Vec<_> = steps.iter().map(|it| it.passage_ids.join(" ")).collect();
        assert_eq!(passages, ["1", "3", "", ""]);
        assert_eq!(steps[0].queries, ["Bo"]);
        assert_eq!(steps[1].queries, ["Bo born"]);
        assert_eq!(steps[1].question, "When was Bo born?");
        assert_eq!(pair.evidence.passages.len(), 2);
    }

    #[test]
    fn what_is_missing_is_named() {
        let long = format!("<question>q</question><answer>{}</answer>", "w ".repeat(21));
        for (reply, reason) in [
            ("", "no question in its tags"),
            ("<question>q", "no question in its tags"),
            ("<question>q</question>", "no answer in its tags after the question"),
            (
                "<answer>a</answer><question>q</question>",
                "no answer in its tags after the question",
            ),
            ("<question> </question><answer>a</answer>", "an empty question"),
            ("<question>q</question><answer> </answer>", "an empty answer"),
            (long.as_str(), "an answer that is not short"),
        ] {
            assert_eq!(read(reply, &Seen::default()).unwrap_err(), reason, "{reply}");
        }
        let pair = read("<question>q</question><answer>a</answer>", &Seen::default()).unwrap();
        assert_eq!(pair.evidence, Evidence::default());
    }

    #[test]
    fn titles_are_compared_without_their_frame() {
        for text in ["Alien (film)", " \"ALIEN (film)\" ", "Doc 2(Title: Alien (film))"] {
            assert_eq!(plain(text), "alien (film)");
        }
    }
}
