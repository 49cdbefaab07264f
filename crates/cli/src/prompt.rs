//! Prompt of a question for a model, or an error that says what its chat template lacks; and the
//! prompts that leave no token for the answer.

use std::path::Path;

use anyhow::Result;
use forage_model::{ChatError, Tokenizer};
use forage_rollout::RolloutConfig;
use forage_trajectory::{Question, TokenId};

use crate::exit_code::{Code, Failure};
use crate::output::message;

/// Prompt of a question, as the model in `folder` gets it: its text and its tokens.
pub fn prompt(
    rollout: &RolloutConfig,
    tokenizer: &Tokenizer,
    folder: &Path,
    question: &Question,
) -> Result<(String, Vec<TokenId>)> {
    let text = rollout.prompt_for(question);
    tokenizer.encode_prompt(&rollout.as_prompt(&text)).map_err(|error| {
        let folder = folder.display();
        let failure = match &error {
            ChatError::NoTemplate => Failure::new(
                Code::Usage,
                format!("`rollout.chat` is true, but the model `{folder}` has no chat template"),
            )
            .hint(
                "leave the key out for a plain prompt, or put the `chat_template.jinja` of the \
                 model into its folder",
            ),
            ChatError::Template(_) => Failure::new(
                Code::Usage,
                format!("the chat template of `{folder}` cannot be used with this `rollout`"),
            )
            .hint(if rollout.system.is_some() {
                "some templates have no system message: leave `rollout.system` out"
            } else {
                "leave `rollout.chat` out for a plain prompt"
            }),
            _ => Failure::new(Code::Input, format!("`{folder}` cannot encode a prompt")),
        };
        anyhow::Error::new(error).context(failure)
    })
}

/// Checks that a model can get a prompt of this kind, and that the question is in it.
pub fn check(rollout: &RolloutConfig, tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
    const ASKED: &str = "Who directed Alien";
    let question = Question { text: ASKED.to_owned(), ..Question::default() };
    let (text, _) = prompt(rollout, tokenizer, folder, &question)?;
    if text.contains(ASKED) {
        return Ok(());
    }
    let message = format!(
        "the chat template of `{}` leaves the question out of the prompt: it renders `{}`",
        folder.display(),
        text.chars().take(80).collect::<String>().escape_debug(),
    );
    Err(Failure::new(Code::Usage, message)
        .hint(
            "templates of models that also see pictures want the message as a list of parts: give \
             the model one for texts, or leave `rollout.chat` out for a plain prompt",
        )
        .into())
}

/// Budget of prompts: a prompt that takes all of it leaves no token for the policy.
#[derive(Clone, Copy)]
pub struct PromptBudget<'a> {
    /// Agent loop.
    pub rollout: &'a RolloutConfig,
    /// Tokenizer of the model.
    pub tokenizer: &'a Tokenizer,
    /// Folder of the model.
    pub folder: &'a Path,
    /// Positions of the model.
    pub max_positions: usize,
}

/// Use of some questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuestionUse {
    /// Training: what cannot be asked is left out.
    Training,
    /// Evaluation: what cannot be asked is counted apart.
    Evaluation,
}

/// Most tokens that a byte of a text becomes: a normalizer may take a character apart.
const TOKENS_A_BYTE: usize = 4;

impl PromptBudget<'_> {
    /// Checks the prompts of all questions of a split, and warns where some leave no token for the
    /// policy: `rollout.max_tokens`, or the positions of the model, are too few.
    ///
    /// # Errors
    ///
    /// Where no prompt of the split fits, and where one cannot be encoded.
    pub fn check(&self, split: &str, questions: &[Question], of: QuestionUse) -> Result<()> {
        let Some(excess) = self.excess(questions)? else { return Ok(()) };
        let text = format!("{split}: {}", excess.describe(self.max_tokens(), questions));
        if excess.over.len() < questions.len() {
            let consequence = match of {
                QuestionUse::Training => "they are left out of the training",
                QuestionUse::Evaluation => {
                    "they are counted as `prompt_too_long` and are in no mean"
                }
            };
            message(format_args!("warning: {text}: {consequence}"));
            return Ok(());
        }
        let hint = if self.rollout.max_tokens < self.max_positions {
            "raise `rollout.max_tokens`".to_owned()
        } else {
            format!(
                "the model has {} positions: ask shorter questions, or use another model",
                grouped(self.max_positions)
            )
        };
        Err(Failure::new(Code::Usage, text).hint(hint).into())
    }

    /// Leaves out the questions that cannot be asked.
    pub fn retain(&self, questions: &mut Vec<Question>) -> Result<()> {
        let Some(Excess { over, .. }) = self.excess(questions)? else { return Ok(()) };
        let mut idx = 0;
        questions.retain(|_| {
            idx += 1;
            over.binary_search(&(idx - 1)).is_err()
        });
        Ok(())
    }

    fn max_tokens(&self) -> usize {
        self.rollout.max_tokens.min(self.max_positions)
    }

    /// Prompts that do not fit; `None` where all do.
    fn excess(&self, questions: &[Question]) -> Result<Option<Excess>> {
        let empty = self.n_tokens(&Question::default())?;
        // A prompt that is short in bytes is not encoded, so that a million of them take no time.
        let may_be_over = |question: &Question| {
            empty + TOKENS_A_BYTE * (question.text.len() + 1) >= self.max_tokens()
        };
        let long: Vec<usize> =
            (0..questions.len()).filter(|&idx| may_be_over(&questions[idx])).collect();
        let counts = forage_model::parallel::map(long, |idx| {
            self.n_tokens(&questions[idx]).map(|n_tokens| (idx, n_tokens))
        });
        let mut excess: Option<Excess> = None;
        for count in counts {
            let (question, n_tokens) = count?;
            if n_tokens < self.max_tokens() {
                continue;
            }
            excess.get_or_insert(Excess { n_tokens, over: Vec::new() }).over.push(question);
        }
        Ok(excess)
    }

    fn n_tokens(&self, question: &Question) -> Result<usize> {
        let (_, tokens) = prompt(self.rollout, self.tokenizer, self.folder, question)?;
        Ok(tokens.len())
    }
}

/// Prompts that leave no token for the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Excess {
    /// Tokens of the first of them.
    n_tokens: usize,
    /// Indices of their questions, ascending; at least one.
    over: Vec<usize>,
}

impl Excess {
    fn describe(&self, max_tokens: usize, questions: &[Question]) -> String {
        format!(
            "the prompt of question `{}` takes {} of {} tokens; {} of {} questions cannot be \
             answered",
            questions[self.over[0]].id,
            grouped(self.n_tokens),
            grouped(max_tokens),
            grouped(self.over.len()),
            grouped(questions.len()),
        )
    }
}

/// Number with commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use forage_trajectory::protocol::TAGS;

    use super::*;

    fn question(id: &str, text: String) -> Question {
        Question { id: id.to_owned(), text, ..Question::default() }
    }

    #[test]
    fn prompts_that_do_not_fit_are_counted() {
        // One token a byte: 256 of them, the tags, and nothing is merged.
        let tokenizer = Tokenizer::train(&[String::new()], 264, &TAGS).unwrap();
        let rollout = RolloutConfig {
            prompt: "Q {question}".to_owned(),
            max_tokens: 20,
            ..RolloutConfig::default()
        };
        let folder = Path::new("model");
        let budget = |max_positions| PromptBudget {
            rollout: &rollout,
            tokenizer: &tokenizer,
            folder,
            max_positions,
        };
        // `Q `, the text and a mark: 3 tokens more.
        let texts = [16, 17, 2_397].map(|n| "x".repeat(n));
        let questions: Vec<Question> =
            texts.into_iter().enumerate().map(|(idx, it)| question(&idx.to_string(), it)).collect();
        let tokens = |at: usize| budget(30).n_tokens(&questions[at]).unwrap();
        assert_eq!([tokens(0), tokens(1), tokens(2)], [19, 20, 2_400]);
        for (max_positions, from, expected) in [
            (3_000, 0, "`1` takes 20 of 20 tokens; 2 of 3 questions cannot be answered"),
            (19, 0, "`0` takes 19 of 19 tokens; 3 of 3 questions cannot be answered"),
            (3_000, 2, "`2` takes 2,400 of 20 tokens; 1 of 1 questions cannot be answered"),
        ] {
            let (budget, questions) = (budget(max_positions), &questions[from..]);
            let excess = budget.excess(questions).unwrap().unwrap();
            let told = excess.describe(budget.max_tokens(), questions);
            assert!(told.ends_with(expected), "{told}");
            let found = budget.check("dev", questions, QuestionUse::Evaluation);
            assert_eq!(found.is_err(), excess.over.len() == questions.len());
        }
        assert_eq!(budget(3_000).excess(&questions[..1]).unwrap(), None);
        budget(3_000).check("dev", &[], QuestionUse::Evaluation).unwrap();
        let mut asked = questions.clone();
        budget(3_000).retain(&mut asked).unwrap();
        assert_eq!(asked, questions[..1]);
    }

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1_024, "1,024"), (1_000_000, "1,000,000")] {
            assert_eq!(grouped(number), text);
        }
    }
}
