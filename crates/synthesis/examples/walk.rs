//! Questions of the graph generator over a corpus, with their evidence, to be judged by reading:
//!
//! ```text
//! cargo run -p forage-synthesis --example walk -- corpus.jsonl 50 [seed] [share of joins]
//! ```

use std::error::Error;
use std::fs;

use forage_synthesis::feedback_loop::{FeedbackLoopConfig, Item, QuestionGenerator, StepError};
use forage_synthesis::graph_generator::{GraphGenerator, GraphGeneratorConfig};
use forage_trajectory::{Passage, Purpose, Stream};
use serde_json::Value;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a corpus of JSON lines")?;
    let count: u64 = arguments.next().map_or(Ok(50), |it| it.parse())?;
    let seed: u64 = arguments.next().map_or(Ok(1), |it| it.parse())?;
    let joins = arguments.next().map_or(Ok(0.0), |it| it.parse())?;
    let passages = fs::read_to_string(path)?.lines().map(passage).collect::<Result<Vec<_>, _>>()?;
    let generator = GraphGenerator::of_passages(
        &passages,
        GraphGeneratorConfig { joins, ..GraphGeneratorConfig::default() },
    )?;
    let documents = generator.passages();
    println!(
        "{} passages, {} facts in {} of them",
        passages.len(),
        generator.n_facts(),
        documents.len()
    );
    let config = FeedbackLoopConfig { steps_to: 4, ..FeedbackLoopConfig::default() };
    let (mut n_made, mut n_lost) = (0, 0);
    for index in 0.. {
        if n_made == count {
            break;
        }
        let item = Item::draw(&config, &documents, seed, index).map_err(|it| it.to_string())?;
        let stream = Stream::new(seed, Purpose::Proposals).of_member(index, 0);
        let pair = match generator.propose(&item, stream) {
            Ok(made) => made.value.pair,
            Err(StepError::Item { .. }) => {
                n_lost += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        n_made += 1;
        println!("\n{n_made}. {}\n   = {}", pair.question, pair.golden_answers.join(" / "));
        for (step, passage) in pair.evidence.steps.iter().zip(&pair.evidence.passages) {
            println!(
                "   - {} {}\n     [{}] {}",
                step.question, step.answer, passage.title, passage.text
            );
        }
    }
    println!("\n{n_lost} documents without a chain of their kind");
    Ok(())
}

fn passage(line: &str) -> Result<Passage, Box<dyn Error>> {
    let row: Value = serde_json::from_str(line)?;
    let text = |key: &str| match &row[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    Ok(Passage { id: text("id"), title: text("title"), text: text("text") })
}
