//! Generation in continuous batches: what a sequence says depends on nothing but itself.

mod small;

use burn::tensor::Device;
use burn::tensor::activation::log_softmax;
use forage_model::{
    Decoder, GenerateError, Generator, LoraConfig, ModelConfig, ModelFamily, Tokenizer, numbers,
};
use forage_trajectory::protocol::TAGS;
use forage_trajectory::{
    Completion, FinishReason, Policy, Purpose, Request, Sampling, Stream, TokenId, Truncation,
};

fn tokenizer() -> Tokenizer {
    let text = "the quick brown fox jumps over the lazy dog and finds nothing at all".to_owned();
    Tokenizer::train(&[text], 290, &TAGS).unwrap()
}

fn decoder(tokenizer: &Tokenizer, family: ModelFamily) -> Decoder {
    decoder_with_heads(tokenizer, family, [4, 2, 20])
}

/// `heads`: of queries, of keys, and their width.
fn decoder_with_heads(tokenizer: &Tokenizer, family: ModelFamily, heads: [usize; 3]) -> Decoder {
    let config = ModelConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 40,
        intermediate_size: 72,
        num_attention_heads: heads[0],
        num_key_value_heads: heads[1],
        head_dim: Some(heads[2]),
        max_position_embeddings: 160,
        mlp_bias: false,
        initializer_range: 0.4,
        ..small::config(family)
    };
    Decoder::init(&config, 5, &Device::flex())
}

/// A sequence as a rollout sees it: a prompt, and an observation after each turn but the last.
struct Play {
    prompt: Vec<TokenId>,
    observations: Vec<Vec<TokenId>>,
    max_new_tokens: usize,
}

fn plays() -> Vec<Play> {
    let ids =
        |n: usize, salt: usize| (0..n).map(move |it| ((it * salt + it * it) % 256) as TokenId);
    (0..30)
        .map(|idx| Play {
            // Groups of four begin alike.
            prompt: ids(3 + idx / 4 * 3, 5 + idx / 4).collect(),
            observations: (0..2)
                .map(|turn| ids(1 + (idx * 7 + turn) % 11, idx + 3).collect())
                .collect(),
            max_new_tokens: 1 + idx % 9,
        })
        .collect()
}

const SAMPLING: Sampling = Sampling::Truncated {
    temperature: 0.8,
    keep: Truncation { top_k: Some(40), top_p: Some(0.95), min_p: Some(0.01) },
};

/// Plays some of the sequences, all turns, in this order. Gives tokens and log-probabilities.
fn play(
    generator: &mut Generator,
    plays: &[Play],
    order: &[usize],
    sampling: Sampling,
) -> Vec<(Vec<TokenId>, Vec<Completion>)> {
    let mut contexts: Vec<Vec<TokenId>> =
        order.iter().map(|&it| plays[it].prompt.clone()).collect();
    let mut all = vec![Vec::new(); order.len()];
    for turn in 0..3 {
        let requests: Vec<Request<'_>> = order
            .iter()
            .zip(&contexts)
            .map(|(&it, context)| Request {
                sequence: it,
                context,
                max_new_tokens: plays[it].max_new_tokens,
                stop: &["fox"],
                stream: Stream::new(1, Purpose::Rollout).of_member(it as u64, 0).at_turn(turn),
            })
            .collect();
        let completions = generator.generate(&requests, sampling).unwrap();
        for (at, completion) in completions.into_iter().enumerate() {
            contexts[at].extend(&completion.tokens);
            if let Some(observation) = plays[order[at]].observations.get(turn as usize) {
                contexts[at].extend(observation);
            }
            all[at].push(completion);
        }
    }
    contexts.into_iter().zip(all).collect()
}

#[test]
fn neither_batch_nor_order_nor_memory_changes_a_bit() {
    let tokenizer = tokenizer();
    let plays = plays();
    for family in ModelFamily::ALL {
        let decoder = decoder(&tokenizer, family);
        let fresh = || Generator::new(decoder.clone(), tokenizer.clone());
        let order: Vec<usize> = (0..plays.len()).collect();
        let together = play(&mut fresh(), &plays, &order, SAMPLING);
        let backward: Vec<usize> = order.iter().rev().copied().collect();
        let mut turned = play(&mut fresh(), &plays, &backward, SAMPLING);
        turned.reverse();
        assert_eq!(together, turned, "{family:?} in another order");
        // So little that sequences wait, and are forgotten between their turns.
        for cache_tokens in [90, 300] {
            let mut small = fresh().with_cache_tokens(cache_tokens);
            let waited = play(&mut small, &plays, &order, SAMPLING);
            assert_eq!(together, waited, "{family:?} in a cache of {cache_tokens}");
        }
        for idx in [0, 1, 7, 29] {
            let alone = play(&mut fresh(), &plays, &[idx], SAMPLING);
            assert_eq!(together[idx], alone[0], "{family:?} alone");
        }
    }
}

/// Matrix products of few numbers are summed in another order than larger ones.
#[test]
fn narrow_heads_and_adapters_depend_on_no_batch_either() {
    let tokenizer = tokenizer();
    let plays = plays();
    let order: Vec<usize> = (0..plays.len()).collect();
    let narrow = decoder_with_heads(&tokenizer, ModelFamily::Qwen2, [4, 2, 8]);
    let lora = LoraConfig { rank: 2, alpha: 4.0, targets: vec!["q_proj".to_owned()] };
    let adapted =
        decoder(&tokenizer, ModelFamily::Qwen2).with_lora(&lora, "models/base", 1).unwrap();
    // Fresh adapters are 0 and would hide the order.
    let moved = adapted.trainable().iter().map(|it| it.clone() + 0.1).collect();
    let adapted = adapted.with_trainable(moved);
    for decoder in [narrow, adapted] {
        let fresh = || Generator::new(decoder.clone(), tokenizer.clone());
        let together = play(&mut fresh(), &plays, &order, SAMPLING);
        for idx in order.iter().copied() {
            let alone = play(&mut fresh(), &plays, &[idx], SAMPLING);
            assert_eq!(together[idx], alone[0], "sequence {idx}");
        }
    }
}

#[test]
fn what_is_recorded_is_what_training_computes() {
    let tokenizer = tokenizer();
    let plays = plays();
    let order: Vec<usize> = (0..plays.len()).collect();
    for (sampling, family) in [
        (SAMPLING, ModelFamily::Qwen2),
        (Sampling::Temperature(1.3), ModelFamily::Qwen3),
        (Sampling::Greedy, ModelFamily::Llama),
    ] {
        let decoder = decoder(&tokenizer, family);
        let mut generator = Generator::new(decoder.clone(), tokenizer.clone());
        let (mut n, mut sum, mut max) = (0, 0.0, 0.0_f32);
        for (at, (context, completions)) in
            play(&mut generator, &plays, &order, sampling).into_iter().enumerate()
        {
            let logits = decoder.logits(decoder.forward(std::slice::from_ref(&context)));
            let logprobs = numbers(&log_softmax(logits / sampling.temperature(), 1));
            let mut first = plays[at].prompt.len();
            for (turn, completion) in completions.iter().enumerate() {
                for (at, (token, logprob)) in
                    completion.tokens.iter().zip(&completion.logprobs).enumerate()
                {
                    assert_eq!(context[first + at], *token);
                    let row = (first + at - 1) * tokenizer.vocab_size();
                    let difference = (logprobs[row + *token as usize] - logprob).abs();
                    n += 1;
                    sum += difference;
                    max = max.max(difference);
                }
                first += completion.tokens.len();
                first += plays[at].observations.get(turn).map_or(0, Vec::len);
            }
        }
        let mean = sum / n as f32;
        println!("{family:?}, {sampling:?}: {n} tokens, mean {mean:e}, largest {max:e}");
        assert!(n > 200 && mean < 1e-5 && max < 1e-3);
    }
}

#[test]
fn a_finished_sequence_makes_room_and_budgets_hold() {
    let tokenizer = tokenizer();
    let decoder = decoder(&tokenizer, ModelFamily::Qwen2);
    let plays = plays();
    let order: Vec<usize> = (0..plays.len()).collect();
    let mut generator = Generator::new(decoder, tokenizer);
    let played = play(&mut generator, &plays, &order, Sampling::Temperature(1.0));
    for (idx, (_, completions)) in played.iter().enumerate() {
        for completion in completions {
            assert!((1..=plays[idx].max_new_tokens).contains(&completion.tokens.len()));
            let is_full = completion.tokens.len() == plays[idx].max_new_tokens;
            assert!(is_full || completion.finish != FinishReason::Length);
        }
    }
}

fn request(context: &[TokenId], max_new_tokens: usize) -> Request<'_> {
    let stream = Stream::new(1, Purpose::Rollout);
    Request { sequence: 3, context, max_new_tokens, stop: &[], stream }
}

#[test]
fn the_impossible_is_refused() {
    let tokenizer = tokenizer();
    let decoder = decoder(&tokenizer, ModelFamily::Qwen2);
    let mut generator = Generator::new(decoder, tokenizer).with_cache_tokens(50);
    let mut refused = |context: &[TokenId], max_new_tokens| {
        let error = generator.generate(&[request(context, max_new_tokens)], Sampling::Greedy);
        *error.unwrap_err().downcast::<GenerateError>().unwrap()
    };
    assert!(matches!(refused(&[1; 100], 61), GenerateError::TooLong { limit: 160, .. }));
    assert!(matches!(refused(&[1; 40], 11), GenerateError::TooLarge { limit: 50, .. }));
    assert!(matches!(refused(&[], 4), GenerateError::Empty(3)));
    let nothing = generator.generate(&[request(&[1; 40], 0)], Sampling::Greedy).unwrap();
    assert!(nothing[0].tokens.is_empty() && nothing[0].finish == FinishReason::Length);
    let first = generator.generate(&[request(&[1; 40], 4)], Sampling::Greedy).unwrap();
    let error = generator.generate(&[request(&[2; 41], 4)], Sampling::Greedy).unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(GenerateError::Rewritten(3))));
    generator.release(&[3]);
    let again = generator.generate(&[request(&[1; 40], 4)], Sampling::Greedy).unwrap();
    assert_eq!(first, again);
}

/// A stop string ends a turn wherever tokens cut it, and so does the token that ends a turn.
#[test]
fn turns_end_by_a_string_a_token_or_their_budget() {
    let tokenizer = tokenizer();
    let decoder = decoder(&tokenizer, ModelFamily::Qwen2);
    let context: Vec<TokenId> = (0..9).collect();
    let say = |member: u64, stop: &[&str]| {
        let mut generator = Generator::new(decoder.clone(), tokenizer.clone());
        let request = Request {
            sequence: 0,
            context: &context,
            max_new_tokens: 30,
            stop,
            stream: Stream::new(1, Purpose::Rollout).of_member(member, 0),
        };
        generator.generate(&[request], Sampling::Temperature(1.0)).unwrap().remove(0)
    };
    let mut n_stopped = 0;
    let mut n_turns = 0;
    for member in 0..60 {
        let free = say(member, &[]);
        let last = *free.tokens.last().unwrap();
        n_turns += usize::from(free.finish == FinishReason::EndOfTurn);
        assert_eq!(free.finish == FinishReason::EndOfTurn, tokenizer.ends_turn(last));
        assert_eq!(
            free.finish == FinishReason::Length,
            free.tokens.len() == 30 && !tokenizer.ends_turn(last)
        );
        assert!(free.tokens[..free.tokens.len() - 1].iter().all(|&it| !tokenizer.ends_turn(it)));

        // The end of one token and the beginning of the next.
        let texts: Vec<String> =
            free.tokens.iter().map(|it| tokenizer.decode(&[*it]).unwrap()).collect();
        let cut = (3..texts.len().saturating_sub(1))
            .find(|&at| texts[at].is_ascii() && texts[at + 1].is_ascii() && texts[at].len() > 1);
        let Some(at) = cut else { continue };
        let Some(begin) = texts[at + 1].chars().next() else { continue };
        let stop = format!("{}{begin}", &texts[at][1..]);
        let before = tokenizer.decode(&free.tokens[..=at]).unwrap();
        if before.contains(&stop) {
            continue;
        }
        n_stopped += 1;
        let stopped = say(member, &["not said", &stop]);
        assert_eq!(stopped.finish, FinishReason::Stop, "{stop:?} in {texts:?}");
        assert_eq!(stopped.tokens, free.tokens[..=at + 1]);
        assert_eq!(stopped.logprobs, free.logprobs[..=at + 1]);
    }
    assert!(n_stopped >= 10 && n_turns > 0, "{n_stopped} stopped, {n_turns} turns ended");
}
