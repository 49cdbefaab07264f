//! Owned copies of groups and their parts, which outlive the request.

use super::{
    Evidence, EvidenceStep, Group, Hit, Passage, Question, Search, Segment, Text, Trajectory,
};

impl Group<'_> {
    /// Owned group, which borrows from nothing.
    pub fn into_owned(self) -> Group<'static> {
        Group {
            question: self.question.into_owned(),
            trajectories: all(self.trajectories, Trajectory::into_owned),
            step: self.step,
        }
    }
}

impl Question<'_> {
    /// Owned question, which borrows from nothing.
    pub fn into_owned(self) -> Question<'static> {
        Question {
            id: self.id.into_owned(),
            text: self.text.into_owned(),
            golden_answers: all(self.golden_answers, Text::into_owned),
            evidence: self.evidence.into_owned(),
        }
    }
}

impl Evidence<'_> {
    /// Owned evidence, which borrows from nothing.
    pub fn into_owned(self) -> Evidence<'static> {
        Evidence {
            shape: self.shape.into_owned(),
            entities: all(self.entities, Text::into_owned),
            steps: all(self.steps, EvidenceStep::into_owned),
            passages: all(self.passages, Passage::into_owned),
            aliases: self
                .aliases
                .into_iter()
                .map(|(entity, names)| (entity.into_owned(), all(names, Text::into_owned)))
                .collect(),
        }
    }
}

impl EvidenceStep<'_> {
    /// Owned sub-question, which borrows from nothing.
    pub fn into_owned(self) -> EvidenceStep<'static> {
        EvidenceStep {
            question: self.question.into_owned(),
            answer: self.answer.into_owned(),
            queries: all(self.queries, Text::into_owned),
            passage_ids: all(self.passage_ids, Text::into_owned),
        }
    }
}

impl Passage<'_> {
    /// Owned passage, which borrows from nothing.
    pub fn into_owned(self) -> Passage<'static> {
        Passage {
            id: self.id.into_owned(),
            title: self.title.into_owned(),
            text: self.text.into_owned(),
        }
    }
}

impl Trajectory<'_> {
    /// Owned trajectory, which borrows from nothing.
    pub fn into_owned(self) -> Trajectory<'static> {
        Trajectory {
            member: self.member,
            segments: all(self.segments, Segment::into_owned),
            searches: all(self.searches, Search::into_owned),
            answer: self.answer.map(Text::into_owned),
            outcome: self.outcome,
            failure: self.failure.map(Text::into_owned),
        }
    }
}

impl Segment<'_> {
    /// Owned segment, which borrows from nothing.
    pub fn into_owned(self) -> Segment<'static> {
        Segment {
            origin: self.origin,
            kind: self.kind,
            text: self.text.into_owned(),
            content: self.content.into_owned(),
            tokens: self.tokens,
        }
    }
}

impl Search<'_> {
    /// Owned search, which borrows from nothing.
    pub fn into_owned(self) -> Search<'static> {
        Search {
            query: self.query.into_owned(),
            hits: all(self.hits, Hit::into_owned),
            segment: self.segment,
            failure: self.failure.map(Text::into_owned),
        }
    }
}

impl Hit<'_> {
    /// Owned hit, which borrows from nothing.
    pub fn into_owned(self) -> Hit<'static> {
        Hit {
            id: self.id.into_owned(),
            title: self.title.into_owned(),
            text: self.text.into_owned(),
            score: self.score,
        }
    }
}

fn all<T, U>(items: Vec<T>, own: impl Fn(T) -> U) -> Vec<U> {
    items.into_iter().map(own).collect()
}
