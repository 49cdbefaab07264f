//! The same parts against a server that is none of ours: `llama_server.py` starts one.
//!
//! Its model is random, so nothing here depends on what it says, only on how it is said.

use std::sync::Arc;
use std::thread;

use forage_synthesis::chat::{ChatClient, ChatConfig, ChatError, ChatModel, ChatRequest};
use forage_synthesis::language_model::{ChatAgent, ChatAgentConfig, Prompts};
use forage_synthesis::sage::{Agent, Ledger, StepError, Usage};
use forage_trajectory::{Hit, Purpose, Retriever, SearchError, Stream};

/// No token of a tiny vocabulary is longer, and neither stop is.
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
    let ledger = Arc::<Ledger>::default();
    let config = ChatConfig { max_tokens: 24, concurrency: 4, ..ChatConfig::new(url, "tiny") };
    let client = ChatClient::new(&config, Arc::clone(&ledger), Arc::default()).unwrap();
    let client = Arc::new(client);

    // Replies of random bytes: some stop at a letter, most are cut off.
    let most = u64::from(config.max_tokens);
    thread::scope(|scope| {
        for caller in 0..8_u64 {
            let client = &client;
            scope.spawn(move || {
                let prompt = format!("caller {caller} says \"hello\"\n…");
                let stop: &[&str] = if caller % 2 == 0 { &["e", "</search>"] } else { &[] };
                let request = ChatRequest { prompt: &prompt, temperature: 1.0, stop, seed: caller };
                let mut usage = Usage::default();
                match client.reply(&request, &mut usage) {
                    Ok(reply) => {
                        // Some servers write the stop too, and the rest of its token.
                        let found = stop.iter().filter_map(|it| reply.text.find(it)).min();
                        let rest = found.map_or(0, |found| reply.text.len() - found);
                        assert!(rest <= TOKEN_BYTES, "{reply:?}");
                        assert_eq!(reply.cut_off, usage.completion_tokens == most, "{usage:?}");
                    }
                    Err(ChatError::Empty { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
                assert_eq!(usage.calls, 1);
                assert!(usage.prompt_tokens > 0 && usage.completion_tokens <= most, "{usage:?}");
            });
        }
    });
    assert_eq!(client.counts().failed + client.counts().answered, 8);

    let long = "word ".repeat(20_000);
    let request = ChatRequest { prompt: &long, temperature: 0.0, stop: &[], seed: 0 };
    let error = client.reply(&request, &mut Usage::default()).unwrap_err();
    assert!(matches!(error, ChatError::TooLong { .. }), "{error:?}");

    let settings = ChatAgentConfig { server: config, temperature: 1.0, turns: 3, hits: 1 };
    let retriever: Arc<dyn Retriever> = Arc::new(Nothing);
    let agent =
        ChatAgent::new(&settings, Arc::clone(&client), retriever, Arc::<Prompts>::default());
    match agent.answer("Who?", Stream::new(1, Purpose::Verification)) {
        Ok(made) => assert_eq!((made.it.answer, made.it.trace.turns.len()), (None, 3)),
        Err(StepError::Item { reason, .. }) => assert_eq!(reason, "agent: a reply without text"),
        Err(error) => panic!("{error:?}"),
    }
    assert!(!ledger.has_reservations());
}
