//! From the trainer's types to those of the wire.
//!
//! Two sets of types that look alike are the price for a trainer that can change its own without
//! breaking plugins: a change that matters to them does not compile here.

use forage_reward_sdk::wire;
use forage_trajectory as host;

/// What the plugins are told of a group. Trajectories that the infrastructure failed are left out.
///
/// The group does not know its training step; [`Rewards::score_at`](crate::Rewards::score_at) does.
pub fn to_wire(group: &host::Group) -> wire::Group {
    let played = group.trajectories.iter().filter(|it| !it.failed());
    wire::Group {
        question: question(&group.question),
        trajectories: played.map(trajectory).collect(),
        step: None,
    }
}

fn question(it: &host::Question) -> wire::Question {
    wire::Question {
        id: it.id.clone(),
        text: it.text.clone(),
        golden_answers: it.golden_answers.clone(),
        evidence: wire::Evidence {
            shape: it.evidence.shape.clone(),
            entities: it.evidence.entities.clone(),
            steps: it.evidence.steps.iter().map(evidence_step).collect(),
            passages: it.evidence.passages.iter().map(passage).collect(),
        },
    }
}

fn evidence_step(it: &host::EvidenceStep) -> wire::EvidenceStep {
    wire::EvidenceStep {
        question: it.question.clone(),
        answer: it.answer.clone(),
        queries: it.queries.clone(),
        passage_ids: it.passage_ids.clone(),
    }
}

fn passage(it: &host::Passage) -> wire::Passage {
    wire::Passage { id: it.id.clone(), title: it.title.clone(), text: it.text.clone() }
}

fn trajectory(it: &host::Trajectory) -> wire::Trajectory {
    let (outcome, failure) = outcome(&it.outcome);
    wire::Trajectory {
        member: it.member,
        segments: it.segments.iter().map(segment).collect(),
        searches: it.searches.iter().map(search).collect(),
        answer: it.final_answer().map(str::to_owned),
        outcome,
        failure,
    }
}

fn segment(it: &host::Segment) -> wire::Segment {
    wire::Segment {
        origin: match it.origin {
            host::Origin::Prompt => wire::Origin::Prompt,
            host::Origin::Policy => wire::Origin::Policy,
            host::Origin::Environment => wire::Origin::Environment,
        },
        kind: match it.kind {
            host::Kind::Prompt => wire::Kind::Prompt,
            host::Kind::Think => wire::Kind::Think,
            host::Kind::Search => wire::Kind::Search,
            host::Kind::Information => wire::Kind::Information,
            host::Kind::Answer => wire::Kind::Answer,
            host::Kind::Warning => wire::Kind::Warning,
            host::Kind::Other => wire::Kind::Other,
        },
        text: it.text.clone(),
        content: it.content.clone(),
        tokens: it.tokens.clone(),
    }
}

fn search(it: &host::Search) -> wire::Search {
    wire::Search {
        query: it.query.clone(),
        hits: it.hits.iter().map(hit).collect(),
        segment: it.segment,
        failure: it.failure.clone(),
    }
}

fn hit(it: &host::Hit) -> wire::Hit {
    wire::Hit { id: it.id.clone(), title: it.title.clone(), text: it.text.clone(), score: it.score }
}

fn outcome(it: &host::Outcome) -> (wire::Outcome, Option<String>) {
    match it {
        host::Outcome::Answered => (wire::Outcome::Answered, None),
        host::Outcome::NoAnswer => (wire::Outcome::NoAnswer, None),
        host::Outcome::Malformed => (wire::Outcome::Malformed, None),
        host::Outcome::OverLength => (wire::Outcome::OverLength, None),
        host::Outcome::OutOfTurns => (wire::Outcome::OutOfTurns, None),
        host::Outcome::Failed(reason) => (wire::Outcome::Failed, Some(reason.clone())),
    }
}
