//! Conversion from the types of the host to the wire types.
//!
//! The two sets of types look alike on purpose: the host can change its own without breaking
//! plugins, and a change that would matter to plugins does not compile here.

use forage_reward_sdk::wire::{self, Text};
use forage_trajectory as host;

/// Wire form of a group, which borrows its texts. Trajectories with the outcome
/// [`Outcome::Failed`](host::Outcome::Failed) are left out.
///
/// [`step`](wire::Group::step) is `None`: [`Rewards::score_at`](crate::Rewards::score_at) sets it.
pub fn to_wire(group: &host::Group) -> wire::Group<'_> {
    let played = group.trajectories.iter().filter(|it| !it.failed());
    wire::Group {
        question: question(&group.question),
        trajectories: played.map(trajectory).collect(),
        step: None,
    }
}

pub(crate) fn question(it: &host::Question) -> wire::Question<'_> {
    wire::Question {
        id: Text::from(&it.id),
        text: Text::from(&it.text),
        golden_answers: texts(&it.golden_answers),
        evidence: wire::Evidence {
            shape: Text::from(&it.evidence.shape),
            entities: texts(&it.evidence.entities),
            steps: it.evidence.steps.iter().map(evidence_step).collect(),
            passages: it.evidence.passages.iter().map(passage).collect(),
            aliases: it
                .evidence
                .aliases
                .iter()
                .map(|(entity, names)| (entity.into(), texts(names)))
                .collect(),
        },
    }
}

fn evidence_step(it: &host::EvidenceStep) -> wire::EvidenceStep<'_> {
    wire::EvidenceStep {
        question: Text::from(&it.question),
        answer: Text::from(&it.answer),
        queries: texts(&it.queries),
        passage_ids: texts(&it.passage_ids),
    }
}

fn passage(it: &host::Passage) -> wire::Passage<'_> {
    wire::Passage {
        id: Text::from(&it.id),
        title: Text::from(&it.title),
        text: Text::from(&it.text),
    }
}

fn trajectory(it: &host::Trajectory) -> wire::Trajectory<'_> {
    let (outcome, failure) = outcome(&it.outcome);
    wire::Trajectory {
        member: it.member,
        segments: it.segments.iter().map(segment).collect(),
        searches: it.searches.iter().map(search).collect(),
        answer: it.final_answer().map(Text::from),
        outcome,
        failure,
    }
}

fn segment(it: &host::Segment) -> wire::Segment<'_> {
    wire::Segment {
        origin: match it.origin {
            host::Origin::Prompt => wire::Origin::Prompt,
            host::Origin::Policy => wire::Origin::Policy,
            host::Origin::Environment => wire::Origin::Environment,
        },
        kind: match it.kind {
            host::SegmentKind::Prompt => wire::Kind::Prompt,
            host::SegmentKind::Think => wire::Kind::Think,
            host::SegmentKind::Search => wire::Kind::Search,
            host::SegmentKind::Information => wire::Kind::Information,
            host::SegmentKind::Answer => wire::Kind::Answer,
            host::SegmentKind::Warning => wire::Kind::Warning,
            host::SegmentKind::Other => wire::Kind::Other,
        },
        text: Text::from(&it.text),
        content: Text::from(&it.content),
        tokens: it.tokens.clone(),
    }
}

fn search(it: &host::Search) -> wire::Search<'_> {
    wire::Search {
        query: Text::from(&it.query),
        hits: it.hits.iter().map(hit).collect(),
        segment: it.segment,
        failure: it.failure.as_deref().map(Text::from),
    }
}

fn hit(it: &host::Hit) -> wire::Hit<'_> {
    wire::Hit {
        id: Text::from(&it.id),
        title: Text::from(&it.title),
        text: Text::from(&it.text),
        score: it.score,
    }
}

fn outcome(it: &host::Outcome) -> (wire::Outcome, Option<Text<'_>>) {
    match it {
        host::Outcome::Answered => (wire::Outcome::Answered, None),
        host::Outcome::NoAnswer => (wire::Outcome::NoAnswer, None),
        host::Outcome::Malformed => (wire::Outcome::Malformed, None),
        host::Outcome::OverLength => (wire::Outcome::OverLength, None),
        host::Outcome::OutOfTurns => (wire::Outcome::OutOfTurns, None),
        host::Outcome::Failed(reason) => (wire::Outcome::Failed, Some(reason.into())),
    }
}

fn texts(texts: &[String]) -> Vec<Text<'_>> {
    texts.iter().map(Text::from).collect()
}
