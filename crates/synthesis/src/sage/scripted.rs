//! A generator and an agent of a few lines, for tests and as the plainest examples of the traits.

use forage_trajectory::{BoxError, Hit, Stream};

use super::{
    Agent, Generator, Item, Judge, Judgement, Made, Pair, Proposal, Revision, Run, StepError,
};

/// A generator made of two functions.
pub struct ScriptedGenerator<P, R> {
    /// Makes a pair.
    pub propose: P,
    /// Changes one.
    pub revise: R,
}

impl<P, R> Generator for ScriptedGenerator<P, R>
where
    P: Fn(&Item, Stream) -> Result<Proposal, StepError> + Send + Sync,
    R: Fn(&Revision<'_>) -> Result<Proposal, StepError> + Send + Sync,
{
    fn propose(&self, item: &Item, stream: Stream) -> Result<Made<Proposal>, StepError> {
        (self.propose)(item, stream).map(Made::free)
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<Made<Proposal>, StepError> {
        (self.revise)(revision).map(Made::free)
    }
}

/// An agent made of a function of question and stream.
pub struct ScriptedAgent<F>(pub F);

impl<F> Agent for ScriptedAgent<F>
where
    F: Fn(&str, Stream) -> Result<Run, StepError> + Send + Sync,
{
    fn answer(&self, question: &str, stream: Stream) -> Result<Made<Run>, StepError> {
        (self.0)(question, stream).map(Made::free)
    }
}

/// A judge made of a measure: what reaches the least is right.
pub struct MeasureJudge<F> {
    /// Compares an answer with those that count as right.
    pub measure: F,
    /// The least that counts as right.
    pub least: f64,
}

impl<F> Judge for MeasureJudge<F>
where
    F: Fn(&str, &[String]) -> Result<f64, BoxError> + Send + Sync,
{
    fn judge(
        &self,
        pair: &Pair,
        answer: &str,
        _stream: Stream,
    ) -> Result<Made<Judgement>, StepError> {
        let value = (self.measure)(answer, &pair.golden_answers)
            .map_err(|source| StepError::engine("the judge", source))?;
        Ok(Made::free(Judgement { right: value >= self.least, reply: String::new() }))
    }
}

/// A hit with a text, for searches that were never made.
pub fn hit(id: &str, text: &str) -> Hit {
    Hit { id: id.to_owned(), title: id.to_owned(), text: text.to_owned(), score: 1.0 }
}
