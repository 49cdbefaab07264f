//! Parsing of chat completions and of error responses.

use forage_http::{HttpClient, HttpError, HttpResponse, StatusError};
use serde::Deserialize;
use serde_json::Value;

use super::ChatReply;
use super::error::ChatError;

/// Phrases of servers for a prompt that is too long: `OpenAI`, vLLM and `SGLang`, llama.cpp.
const TOO_LONG: [&str; 3] = ["context_length_exceeded", "context length", "context size"];

/// Parser of chat completions: server and model name its errors.
#[derive(Clone, Copy)]
pub(super) struct ReplyParser<'a> {
    pub(super) url: &'a str,
    pub(super) model: &'a str,
    /// Client that got the reply; it redacts the key.
    pub(super) client: &'a HttpClient,
}

/// Token usage that a reply states.
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

impl ReplyParser<'_> {
    /// Parses a response of success. Its usage is returned also where it cannot be used.
    pub(super) fn read(self, body: &[u8]) -> (Option<Metered>, Result<ChatReply, ChatError>) {
        let url = || self.url.to_owned();
        let reply: Value = match serde_json::from_slice(body) {
            Ok(reply) => reply,
            Err(source) => {
                return (None, Err(HttpError::NotJson { url: url(), source }.into()));
            }
        };
        let metered = reply.get("usage").and_then(|usage| Metered::deserialize(usage).ok());
        let read = match serde_json::from_value::<Completion>(reply) {
            Ok(completion) => self.completion(completion),
            Err(error) => Err(self.shape(&error.to_string())),
        };
        (metered, read)
    }

    fn completion(self, completion: Completion) -> Result<ChatReply, ChatError> {
        let (url, model) = (self.url.to_owned(), self.model.to_owned());
        if let Some(error) = completion.error.filter(|it| !it.is_null()) {
            // Some servers put errors of those behind them into a reply of status 200.
            let status = error.get("code").and_then(Value::as_u64).unwrap_or(500) as u16;
            let body = error.to_string().into_bytes();
            return Err(self.error_of(&HttpResponse { status, retry_after: None, body }));
        }
        let Some(choices) = completion.choices else {
            return Err(self.shape("it has no `choices`"));
        };
        let Some(choice) = choices.into_iter().next() else {
            return Err(ChatError::NoChoice { url });
        };
        let finish = choice.finish_reason.unwrap_or_default();
        if finish == "content_filter" {
            return Err(ChatError::Filtered { model });
        }
        if let Some(said) = choice.message.refusal.filter(|refusal| !refusal.trim().is_empty()) {
            return Err(ChatError::Refused { model, said: self.client.excerpt(&said) });
        }
        let text = match choice.message.content {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            Some(Value::Array(parts)) => {
                parts.iter().filter_map(|part| part["text"].as_str()).collect()
            }
            Some(_) => return Err(self.shape("`content` is no text")),
        };
        let cut_off = finish == "length";
        if text.trim().is_empty() {
            return Err(ChatError::Empty { model, cut_off });
        }
        Ok(ChatReply { text, cut_off })
    }

    /// Error of a response with a status other than success.
    pub(super) fn error_of(self, response: &HttpResponse) -> ChatError {
        let error = self.client.status_error(self.url, response);
        let StatusError { url, status, body: said, .. } = error.clone();
        let model = self.model.to_owned();
        let text = String::from_utf8_lossy(&response.body).to_lowercase();
        let says = |words: &[&str]| words.iter().any(|it| text.contains(it));
        match status {
            401..=403 => ChatError::Account { url, status, said },
            429 if says(&["insufficient_quota"]) => ChatError::Account { url, status, said },
            400 if says(&["content_filter"]) => ChatError::Filtered { model },
            400 | 413 | 422 if says(&TOO_LONG) => ChatError::TooLong { model, said },
            _ => ChatError::Status(error),
        }
    }

    /// Error of JSON that is no chat completion.
    fn shape(self, what: &str) -> ChatError {
        HttpError::Shape { url: self.url.to_owned(), what: self.client.redact(what) }.into()
    }
}
