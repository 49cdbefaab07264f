//! What a server replied, read.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::ChatReply;
use super::error::ChatError;

/// Bytes of what was said that are kept.
const SAID: usize = 300;

/// How servers say that a prompt is too long: `OpenAI`, vLLM and `SGLang`, llama.cpp.
const TOO_LONG: [&str; 3] = ["context_length_exceeded", "context length", "context size"];

/// Where a reply is from, for its errors.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) url: &'a str,
    pub(super) model: &'a str,
    /// Never shown, also where a server says it.
    pub(super) key: Option<&'a str>,
}

/// What a reply took, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Metered {
    #[serde(default)]
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
}

#[derive(Deserialize)]
struct Completion {
    choices: Option<Vec<Choice>>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
    refusal: Option<String>,
}

impl Source<'_> {
    /// A reply of a status of success. What it took is said also where it cannot be used.
    pub(super) fn read(self, body: &[u8]) -> (Option<Metered>, Result<ChatReply, ChatError>) {
        let url = || self.url.to_owned();
        let reply: Value = match serde_json::from_slice(body) {
            Ok(reply) => reply,
            Err(source) => return (None, Err(ChatError::NotJson { url: url(), source })),
        };
        let metered = reply.get("usage").and_then(|it| Metered::deserialize(it).ok());
        let read = match serde_json::from_value::<Completion>(reply) {
            Ok(completion) => self.completion(completion),
            Err(source) => Err(ChatError::Shape { url: url(), what: source.to_string() }),
        };
        (metered, read)
    }

    fn completion(self, completion: Completion) -> Result<ChatReply, ChatError> {
        let (url, model) = (self.url.to_owned(), self.model.to_owned());
        if let Some(error) = completion.error.filter(|it| !it.is_null()) {
            // Some servers put errors of those behind them into a reply of status 200.
            let status = error.get("code").and_then(Value::as_u64).unwrap_or(500) as u16;
            return Err(self.refused_with(status, None, error.to_string().as_bytes()));
        }
        let Some(choices) = completion.choices else {
            return Err(ChatError::Shape { url, what: "it has no `choices`".to_owned() });
        };
        let Some(choice) = choices.into_iter().next() else {
            return Err(ChatError::NoChoice { url });
        };
        let finish = choice.finish_reason.unwrap_or_default();
        if finish == "content_filter" {
            return Err(ChatError::Filtered { model });
        }
        if let Some(said) = choice.message.refusal.filter(|it| !it.trim().is_empty()) {
            return Err(ChatError::Refused { model, said: self.said(said.as_bytes()) });
        }
        let text = match choice.message.content {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|it| it["text"].as_str()).collect()
            }
            Some(_) => {
                return Err(ChatError::Shape { url, what: "`content` is no text".to_owned() });
            }
        };
        let cut_off = finish == "length";
        if text.trim().is_empty() {
            return Err(ChatError::Empty { model, cut_off });
        }
        Ok(ChatReply { text, cut_off })
    }

    /// A reply of another status.
    pub(super) fn refused_with(
        self,
        status: u16,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> ChatError {
        let (url, model, said) = (self.url.to_owned(), self.model.to_owned(), self.said(body));
        let text = String::from_utf8_lossy(body).to_lowercase();
        let says = |words: &[&str]| words.iter().any(|it| text.contains(it));
        match status {
            401..=403 => ChatError::Account { url, status, said },
            429 if says(&["insufficient_quota"]) => ChatError::Account { url, status, said },
            400 if says(&["content_filter"]) => ChatError::Filtered { model },
            400 | 413 | 422 if says(&TOO_LONG) => ChatError::TooLong { model, said },
            _ => ChatError::Status { url, status, said, retry_after },
        }
    }

    /// The beginning of what was said, in one line and without the key.
    fn said(self, body: &[u8]) -> String {
        let mut said = String::from_utf8_lossy(body).into_owned();
        if let Some(key) = self.key {
            said = said.replace(key, "…");
        }
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        said[..said.floor_char_boundary(SAID)].to_owned()
    }
}
