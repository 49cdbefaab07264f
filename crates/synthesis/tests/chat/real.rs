//! The same parts against a server that is none of ours: `llama_server.py` starts one.
//!
//! Its model is random, so nothing here depends on what it says, only on how it is said. It was
//! seen to pass with llama.cpp (xllamacpp 2026.10) and with `transformers serve` (5.23).

use std::sync::Arc;
use std::thread;

use forage_synthesis::chat::{
    Budget, ChatClient, ChatConfig, ChatError, ChatModel, ChatReply, ChatRequest, Usage,
};
use forage_synthesis::feedback_loop::{Agent, StepError};
use forage_synthesis::language_model::{ChatAgent, ChatAgentConfig, Prompts};
use forage_trajectory::{Hit, Purpose, Retriever, SearchError, Stream};

/// No token of a tiny vocabulary is longer.
const TOKEN_BYTES: usize = 16;

struct Nothing;

impl Retriever for Nothing {
    fn search(&self, queries: &[&str], _k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        queries.iter().map(|_| Ok(Vec::new())).collect()
    }
}

#[test]
fn a_real_server_speaks_the_protocol() {
    let Ok(url) = std::env::var("FORAGE_CHAT_URL") else {
        eprintln!("skipped: `FORAGE_CHAT_URL` names no server; see `llama_server.py`");
        return;
    };
    let budget = Arc::<Budget>::default();
    let config = ChatConfig { max_tokens: 24, concurrency: 4, ..ChatConfig::new(url, "tiny") };
    let client = ChatClient::new(&config, Arc::clone(&budget), Arc::default()).unwrap();
    let client = Arc::new(client);

    // Replies of random bytes: some stop at a letter, most are cut off.
    thread::scope(|scope| {
        for caller in 0..8_u64 {
            let client = &client;
            scope.spawn(move || {
                let prompt = format!("caller {caller} says \"hello\"\n…");
                let stop: &[&str] = if caller % 2 == 0 { &["e", "</search>"] } else { &[] };
                let request = ChatRequest { prompt: &prompt, temperature: 1.0, stop, seed: caller };
                ask(client, &request, config.max_tokens);
            });
        }
    });
    assert_eq!(client.counts().failed + client.counts().answered, 8);

    check_stop(&client, config.max_tokens);

    let long = "word ".repeat(20_000);
    let request = ChatRequest { prompt: &long, temperature: 0.0, stop: &[], seed: 0 };
    match client.reply(&request, &mut Usage::default()) {
        // Some servers read beyond the context length of their model without an error.
        Ok(_) | Err(ChatError::TooLong { .. }) => {}
        Err(error) => panic!("{error:?}"),
    }

    let settings = ChatAgentConfig { server: config, temperature: 1.0, turns: 3, hits: 1 };
    let retriever: Arc<dyn Retriever> = Arc::new(Nothing);
    let agent =
        ChatAgent::new(&settings, Arc::clone(&client), retriever, Arc::<Prompts>::default());
    match agent.answer("Who?", Stream::new(1, Purpose::Verification)) {
        Ok(made) => assert_eq!((made.value.answer, made.value.trace.turns.len()), (None, 3)),
        Err(StepError::Item { reason, .. }) => assert_eq!(reason, "agent: a reply without text"),
        Err(error) => panic!("{error:?}"),
    }
    assert!(!budget.has_reservations());
}

/// A reply that ends as it should, with what it took; `None` for one without text.
fn ask(client: &ChatClient, request: &ChatRequest<'_>, most: u32) -> Option<ChatReply> {
    let mut usage = Usage::default();
    let reply = match client.reply(request, &mut usage) {
        Ok(reply) => Some(reply),
        Err(ChatError::Empty { .. }) => None,
        Err(error) => panic!("{error:?}"),
    };
    assert_eq!(usage.calls, 1);
    let most = u64::from(most);
    assert!(usage.prompt_tokens > 0 && usage.completion_tokens <= most, "{usage:?}");
    if let Some(reply) = &reply {
        // Some servers write the stop too, and the rest of its token.
        let found = request.stop.iter().filter_map(|it| reply.text.find(it)).min();
        let rest = found.map_or(0, |found| reply.text.len() - found);
        assert!(rest <= TOKEN_BYTES, "{reply:?}");
        let stopped = found.is_some() || usage.completion_tokens < most;
        assert!(stopped || reply.cut_off, "{reply:?} {usage:?}");
        assert!(!reply.cut_off || usage.completion_tokens == most, "{reply:?} {usage:?}");
    }
    reply
}

/// A greedy reply, asked for again with a letter of it as the stop, is the same up to this letter.
fn check_stop(client: &ChatClient, most: u32) {
    let greedy = |prompt: &str, stop: &[&str]| {
        ask(client, &ChatRequest { prompt, temperature: 0.0, stop, seed: 0 }, most)
    };
    let mut n_checked = 0;
    for caller in 0..16 {
        let prompt = format!("caller {caller} is greedy");
        let Some(ChatReply { text: whole, .. }) = greedy(&prompt, &[]) else { continue };
        let stop = whole.char_indices().find(|&(at, letter)| {
            let before = &whole[..at];
            // Servers differ in what they make of half a letter that a reply ends with.
            let is_text = !before.trim().is_empty() && !before.ends_with('\u{fffd}');
            letter.is_ascii_alphanumeric() && is_text && !before.contains(letter)
        });
        let Some((at, letter)) = stop else { continue };
        let stopped = greedy(&prompt, &[&letter.to_string()]).expect("there is text before");
        let is_prefix = whole.starts_with(&stopped.text);
        assert!(is_prefix && stopped.text.len() >= at, "{letter:?}: {stopped:?}, {whole:?}");
        n_checked += 1;
    }
    assert!(n_checked > 0, "no greedy reply has a letter or a digit to stop at");
}
