//! Prompt of a question for a model, or an error that says what its chat template lacks.

use std::path::Path;

use anyhow::Result;
use forage_model::{ChatError, Tokenizer};
use forage_rollout::RolloutConfig;
use forage_trajectory::{Question, TokenId};

use crate::exit_code::{Code, Failure};

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

/// Checks that a model can get a prompt of this kind.
pub fn check(rollout: &RolloutConfig, tokenizer: &Tokenizer, folder: &Path) -> Result<()> {
    prompt(rollout, tokenizer, folder, &Question::default()).map(|_| ())
}
