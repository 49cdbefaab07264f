//! Generator and judge of a run file, and what they share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use forage_model::Tokenizer;
use forage_synthesis::chat::{ChatClient, ChatConfig, PolicyModel, PolicyOptions};
use forage_synthesis::language_model::{ChatGenerator, ChatJudge, ModelGeneratorConfig, Prompts};
use forage_synthesis::sage::{Generator, Judge, Ledger, Walker};
use forage_trajectory::{BoxError, Prompt, Retriever, TokenId};

use super::judge::PluginJudge;
use super::{SynthesisConfig, SynthesisFile};
use crate::exit_code::{Code, Failure};
use crate::model::{self, device};

/// What all parts of a run share.
pub(super) struct Common {
    /// Where calls are entered.
    pub(super) ledger: Arc<Ledger>,
    /// Ends the waiting of clients.
    pub(super) stop: Arc<AtomicBool>,
    /// What language models are told.
    pub(super) prompts: Arc<Prompts>,
}

impl Common {
    /// What the parts of a run file share.
    pub(super) fn new(config: &SynthesisConfig) -> Self {
        Self {
            ledger: Arc::new(Ledger::new(config.synthesis.limits)),
            stop: Arc::default(),
            prompts: Arc::default(),
        }
    }

    /// A client of a server, which is not asked yet.
    pub(super) fn client(&self, server: &ChatConfig) -> Result<Arc<ChatClient>> {
        ChatClient::new(server, Arc::clone(&self.ledger), Arc::clone(&self.stop))
            .map(Arc::new)
            .context(Failure::new(Code::Usage, "a server of the run file cannot be used"))
    }

    /// Who makes pairs.
    pub(super) fn generator(
        &self,
        config: &SynthesisConfig,
        walker: Option<Walker>,
        retriever: Arc<dyn Retriever>,
    ) -> Result<Box<dyn Generator>> {
        let section = &config.generator;
        let prompts = Arc::clone(&self.prompts);
        Ok(match (walker, &section.chat, &section.model) {
            (Some(walker), _, _) => Box::new(walker),
            (None, Some(chat), _) => {
                let client = self.client(&chat.server)?;
                Box::new(ChatGenerator::new(chat.research(), client, retriever, prompts))
            }
            (None, None, Some(ours)) => {
                let model = self.policy_model(ours, &config.device)?;
                Box::new(ChatGenerator::new(ours.research(), model, retriever, prompts))
            }
            (None, None, None) => unreachable!("a checked run file has a generator"),
        })
    }

    /// A model of ours that answers prompts.
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
        Ok(PolicyModel::new(policy, options, Arc::clone(&self.ledger)))
    }

    /// Who says what is right, and what its verdicts depend on. A plugin is copied into `folder`.
    pub(super) fn judge(
        &self,
        file: &SynthesisFile,
        folder: &Path,
    ) -> Result<(Box<dyn Judge>, String)> {
        let section = &file.config.judge;
        match (&section.plugin, &section.chat) {
            (Some(plugin), _) => {
                let (judge, hash) = PluginJudge::load(plugin, section, &file.path, folder)?;
                Ok((Box::new(judge), hash))
            }
            (None, Some(chat)) => {
                let judge = ChatJudge::new(self.client(&chat.server)?, Arc::clone(&self.prompts));
                Ok((Box::new(judge), self.prompts.hash().to_owned()))
            }
            (None, None) => unreachable!("a checked run file has a judge"),
        }
    }
}

/// A prompt as the message of a user in the model's chat template; as it stands where the model
/// has none.
fn encode(tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<TokenId>, BoxError> {
    let prompt = match tokenizer.chat_template()? {
        Some(_) => Prompt::Chat { system: None, user: prompt },
        None => Prompt::Plain(prompt),
    };
    Ok(tokenizer.encode_prompt(&prompt)?.1)
}
