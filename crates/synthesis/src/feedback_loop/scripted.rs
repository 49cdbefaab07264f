//! Roles made of functions, for tests and as the shortest examples of the traits.

use forage_trajectory::{BoxError, Hit, Stream};

use super::item::Item;
use super::roles::{
    Agent, Judge, Judgement, Proposal, QaPair, QuestionGenerator, Revision, StepError, WithUsage,
};
use super::trace::AgentRun;

/// Generator made of two functions.
pub struct ScriptedGenerator<P, R> {
    /// Proposes a pair.
    pub propose: P,
    /// Revises a pair.
    pub revise: R,
}

impl<P, R> QuestionGenerator for ScriptedGenerator<P, R>
where
    P: Fn(&Item, Stream) -> Result<Proposal, StepError> + Send + Sync,
    R: Fn(&Revision<'_>) -> Result<Proposal, StepError> + Send + Sync,
{
    fn propose(&self, item: &Item, stream: Stream) -> Result<WithUsage<Proposal>, StepError> {
        (self.propose)(item, stream).map(WithUsage::free)
    }

    fn revise(&self, revision: &Revision<'_>) -> Result<WithUsage<Proposal>, StepError> {
        (self.revise)(revision).map(WithUsage::free)
    }
}

/// Agent made of a function of question and stream.
pub struct ScriptedAgent<F>(pub F);

impl<F> Agent for ScriptedAgent<F>
where
    F: Fn(&str, Stream) -> Result<AgentRun, StepError> + Send + Sync,
{
    fn answer(&self, question: &str, stream: Stream) -> Result<WithUsage<AgentRun>, StepError> {
        (self.0)(question, stream).map(WithUsage::free)
    }
}

/// Judge made of a metric and a threshold.
pub struct MeasureJudge<F> {
    /// Metric of an answer and the golden answers.
    pub measure: F,
    /// Least value that counts as right.
    pub least: f64,
}

impl<F> Judge for MeasureJudge<F>
where
    F: Fn(&str, &[String]) -> Result<f64, BoxError> + Send + Sync,
{
    fn judge(
        &self,
        pair: &QaPair,
        answer: &str,
        _stream: Stream,
    ) -> Result<WithUsage<Judgement>, StepError> {
        let value = (self.measure)(answer, &pair.golden_answers)
            .map_err(|source| StepError::engine("the judge", source))?;
        Ok(WithUsage::free(Judgement { right: value >= self.least, reply: String::new() }))
    }
}

/// Hit with a text, for searches that were never made.
pub fn hit(id: &str, text: &str) -> Hit {
    Hit { id: id.to_owned(), title: id.to_owned(), text: text.to_owned(), score: 1.0 }
}
