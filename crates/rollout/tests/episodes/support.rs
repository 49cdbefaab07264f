//! A made-up search engine, a made-up tokenizer, and a policy that is watched.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Mutex;

use forage_rollout::grammar::STOP;
use forage_rollout::scripted::Codec;
use forage_trajectory::{
    BoxError, Completion, Hit, Policy, Prompt, Request, Retriever, Sampling, SearchError, TokenId,
    Trajectory,
};

/// Finds a passage whose title is the query and whose text is what the function says.
pub(crate) struct Shelf<F> {
    pub(crate) text: F,
    /// The queries of every call.
    pub(crate) calls: Mutex<Vec<Vec<String>>>,
}

impl<F: Fn(&str) -> String> Shelf<F> {
    pub(crate) fn new(text: F) -> Self {
        Self { text, calls: Mutex::default() }
    }
}

impl<F: Fn(&str) -> String + Send + Sync> Retriever for Shelf<F> {
    /// A query that begins with `fail` fails, and one that begins with `nothing` finds nothing.
    fn search(&self, queries: &[&str], k: usize) -> Vec<Result<Vec<Hit>, SearchError>> {
        let calls = &mut self.calls.lock().unwrap();
        calls.push(queries.iter().map(|&query| query.to_owned()).collect());
        let hit = |query: &str, rank: usize| Hit {
            id: format!("{query}-{rank}"),
            title: query.to_owned(),
            text: (self.text)(query),
            score: 1.0 / rank as f32,
        };
        let find = |&query: &&str| match query {
            _ if query.starts_with("fail") => {
                Err(SearchError { query: query.to_owned(), source: "no route to host".into() })
            }
            _ if query.starts_with("nothing") => Ok(Vec::new()),
            _ => Ok((1..=k).map(|rank| hit(query, rank)).collect()),
        };
        queries.iter().map(find).collect()
    }
}

/// A tokenizer whose tokens are any runs of bytes: characters and tags may be split, and one
/// token may hold the end of one block and the beginning of another.
///
/// Its vocabulary grows with use. The pieces depend on the text and the seed only.
pub(crate) struct Shreds {
    seed: u64,
    max_bytes: u64,
    vocabulary: RefCell<Vec<Vec<u8>>>,
}

impl Shreds {
    pub(crate) fn new(seed: u64, max_bytes: u64) -> Self {
        Self { seed, max_bytes, vocabulary: RefCell::default() }
    }
}

impl Codec for Shreds {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        let mut state = self.seed;
        let mut rest = text.as_bytes();
        let mut tokens = Vec::new();
        while !rest.is_empty() {
            // A linear congruential generator (Knuth's MMIX); only its high bits are good.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let n_bytes = 1 + (state >> 33) % self.max_bytes;
            let (piece, after) = rest.split_at(rest.len().min(n_bytes as usize));
            rest = after;
            let mut vocabulary = self.vocabulary.borrow_mut();
            let known = vocabulary.iter().position(|other| other == piece);
            tokens.push(known.unwrap_or(vocabulary.len()) as TokenId);
            if known.is_none() {
                vocabulary.push(piece.to_vec());
            }
        }
        Ok(tokens)
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        let vocabulary = self.vocabulary.borrow();
        let bytes: Vec<u8> =
            tokens.iter().flat_map(|&id| vocabulary[id as usize].clone()).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Passes everything on, and checks and records what the loop asks for.
pub(crate) struct Watched<P> {
    pub(crate) inner: P,
    /// Number of requests of each call of `generate`.
    pub(crate) calls: Vec<usize>,
    /// Context and completion of the last turn of each sequence.
    pub(crate) seen: HashMap<usize, Vec<TokenId>>,
    pub(crate) released: Vec<usize>,
}

impl<P> Watched<P> {
    pub(crate) fn new(inner: P) -> Self {
        Self { inner, calls: Vec::new(), seen: HashMap::new(), released: Vec::new() }
    }

    /// Every trajectory begins with what was sent and sampled last, and every sequence was
    /// released once.
    pub(crate) fn check_end(&self, trajectories: &[Trajectory]) {
        for (sequence, trajectory) in trajectories.iter().enumerate() {
            let seen = self.seen.get(&sequence).map_or(&[][..], Vec::as_slice);
            assert!(trajectory.tokens.starts_with(seen));
        }
        let mut released = self.released.clone();
        released.sort_unstable();
        assert_eq!(released, (0..trajectories.len()).collect::<Vec<_>>());
    }
}

impl<P: Policy> Policy for Watched<P> {
    fn encode_prompt(&self, prompt: &Prompt<'_>) -> Result<(String, Vec<TokenId>), BoxError> {
        self.inner.encode_prompt(prompt)
    }

    fn encode(&self, text: &str) -> Result<Vec<TokenId>, BoxError> {
        self.inner.encode(text)
    }

    fn decode(&self, tokens: &[TokenId]) -> Result<String, BoxError> {
        self.inner.decode(tokens)
    }

    fn max_context(&self) -> usize {
        self.inner.max_context()
    }

    fn generate(
        &mut self,
        requests: &[Request<'_>],
        sampling: Sampling,
    ) -> Result<Vec<Completion>, BoxError> {
        let completions = self.inner.generate(requests, sampling)?;
        self.calls.push(requests.len());
        for (request, completion) in requests.iter().zip(&completions) {
            assert!(!self.released.contains(&request.sequence), "continued after its release");
            assert_eq!(request.stream.turn + 1, self.calls.len() as u64);
            assert_eq!(request.stop, STOP);
            assert!(request.max_new_tokens > 0);
            let now = [request.context, &completion.tokens].concat();
            assert!(now.len() <= self.inner.max_context());
            let before = self.seen.insert(request.sequence, now).unwrap_or_default();
            assert!(request.context.starts_with(&before), "a token was changed");
        }
        Ok(completions)
    }

    fn release(&mut self, sequences: &[usize]) {
        self.released.extend(sequences);
        self.inner.release(sequences);
    }
}
