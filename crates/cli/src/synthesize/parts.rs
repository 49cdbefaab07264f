//! Generator and judge of a run file, with their shared context.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use forage_model::Tokenizer;
use forage_synthesis::chat::{Budget, ChatClient, ChatConfig, PolicyModel, PolicyOptions};
use forage_synthesis::feedback_loop::{Judge, QuestionGenerator};
use forage_synthesis::language_model::{ChatGenerator, ChatJudge, ModelGeneratorConfig, Prompts};
use forage_trajectory::{BoxError, Prompt, Retriever, TokenId};

use super::ground::CorpusGenerator;
use super::judge::PluginJudge;
use super::section::JudgeSection;
use super::{SynthesisConfig, SynthesisFile};
use crate::exit_code::{Code, Failure};
use crate::model::{self, device};

/// Context that all roles of a synthesis share.
pub(super) struct SynthesisContext {
    /// Budget of all calls.
    pub(super) budget: Arc<Budget>,
    /// Stop flag of the loop and its clients.
    pub(super) stop: Arc<AtomicBool>,
    /// Prompts of chat models.
    pub(super) prompts: Arc<Prompts>,
}

impl SynthesisContext {
    /// Context of a run file.
    pub(super) fn new(config: &SynthesisConfig) -> Self {
        Self {
            budget: Arc::new(Budget::new(config.synthesis.limits)),
            stop: Arc::default(),
            prompts: Arc::new(if config.synthesis.tell_steps {
                Prompts::default()
            } else {
                Prompts::without_target()
            }),
        }
    }

    /// Client of a server, which is not called yet.
    pub(super) fn client(&self, server: &ChatConfig) -> Result<Arc<ChatClient>> {
        ChatClient::new(server, Arc::clone(&self.budget), Arc::clone(&self.stop))
            .map(Arc::new)
            .context(Failure::new(Code::Usage, "a server of the run file cannot be used"))
    }

    /// Question generator of a run file.
    pub(super) fn generator(
        &self,
        generator: CorpusGenerator<'_>,
        retriever: Arc<dyn Retriever>,
        device_name: &str,
    ) -> Result<Box<dyn QuestionGenerator>> {
        let prompts = Arc::clone(&self.prompts);
        Ok(match generator {
            CorpusGenerator::Graph(graph) => graph,
            CorpusGenerator::Chat(chat) => {
                let client = self.client(&chat.server)?;
                Box::new(ChatGenerator::new(chat.research(), client, retriever, prompts))
            }
            CorpusGenerator::Model(ours) => {
                let model = self.policy_model(ours, device_name)?;
                Box::new(ChatGenerator::new(ours.research(), model, retriever, prompts))
            }
        })
    }

    /// A local chat model.
    fn policy_model(
        &self,
        section: &ModelGeneratorConfig,
        device_name: &str,
    ) -> Result<PolicyModel<forage_model::Generator>> {
        let (decoder, tokenizer) = model::open(&section.path, &device(device_name)?)?;
        let (encoder, ends) = (tokenizer.clone(), tokenizer.clone());
        encode(&encoder, "a word").map_err(anyhow::Error::from_boxed).with_context(|| {
            let shown = section.path.display();
            Failure::new(Code::Input, format!("the chat template of `{shown}` cannot be used"))
        })?;
        let options = PolicyOptions {
            name: section.path.display().to_string(),
            encode: Box::new(move |prompt| encode(&encoder, prompt)),
            ends_turn: Box::new(move |token| ends.ends_turn(token)),
            max_tokens: section.max_tokens,
            top_p: section.top_p,
            batch: section.batch,
        };
        let policy = forage_model::Generator::new(decoder, tokenizer);
        Ok(PolicyModel::new(policy, options, Arc::clone(&self.budget)))
    }

    /// Judge of a run file, and the hash of what its judgements depend on. A plugin is copied
    /// into `folder`.
    pub(super) fn judge(
        &self,
        file: &SynthesisFile,
        folder: &Path,
    ) -> Result<(Box<dyn Judge>, String)> {
        match &file.config.judge {
            JudgeSection::Plugin(section) => {
                let (judge, hash) = PluginJudge::load(section, &file.path, folder)?;
                Ok((Box::new(judge), hash))
            }
            JudgeSection::Chat(chat) => {
                let judge = ChatJudge::new(self.client(&chat.server)?, Arc::clone(&self.prompts));
                Ok((Box::new(judge), self.prompts.hash().to_owned()))
            }
        }
    }
}

/// Tokens of a prompt: as a user message in the chat template, or plain where the model has none.
fn encode(tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<TokenId>, BoxError> {
    let prompt = match tokenizer.chat_template()? {
        Some(_) => Prompt::Chat { system: None, user: prompt },
        None => Prompt::Plain(prompt),
    };
    Ok(tokenizer.encode_prompt(&prompt)?.1)
}
