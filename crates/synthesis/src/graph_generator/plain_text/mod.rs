//! Graph of a plain corpus, by entity linking: the titles and values that its passages mention.
//!
//! A passage links to another where it mentions its title, and to dates, numbers and names that
//! have no passage of their own. What is found is worded by what stands before it in the text:
//! there is no knowledge of relations. The limits of that:
//!
//! - A title is linked as it is written. `Paris (1994 TV series)` is not linked by `Paris`: on
//!   HotpotQA's passages, most of such links led to the wrong thing. Titles that two passages
//!   share, titles of fewer than four letters, and other names of a thing (pronouns, surnames,
//!   abbreviations) are not linked.
//! - A link that may be to a namesake is refused, by the rules of [`namesake`]. Many right links
//!   are refused with them. Works (films, novels, songs) are linked only where their sentence says
//!   what they are.
//! - Two people of one name are not told apart, nor a person and a place of that name, nor a
//!   character and another of that name: only the kinds of things that [`namesake`] lists are.
//! - What one passage in two hundred links to is not linked at all: an agent guesses it when it is
//!   hidden, and on `MuSiQue`'s passages most chains led through the United States.
//! - A thing is called by what its first sentence says that it is; where that says too little
//!   (`a pair of …`), nothing links to it.
//! - Names without a passage are runs of two or more capitalized words in the middle of a sentence.
//!   Numbers after a capitalized word and parts of quotations are taken for parts of names.
//! - A fact is left out where its words do not single it out among the passages of its title.

mod kind;
mod namesake;
mod sentence;
mod values;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use forage_trajectory::Passage;

use self::kind::kind;
use self::namesake::Names;
use self::sentence::cue;
use self::values::{value_kind, values};
use crate::graph_generator::error::TitleLinkError;
use crate::graph_generator::graph::{Edge, Graph, Node, Target, Words};

/// Number of links to a passage that is always allowed.
const LEAST_LINKS: usize = 20;
/// Passages per allowed link to one passage.
const PASSAGES_PER_LINK: usize = 200;

/// Graph of the titles and values that passages mention.
pub(crate) fn graph(passages: &[Passage]) -> Result<Graph, TitleLinkError> {
    let kinds: Vec<Option<String>> = passages.iter().map(kind).collect();
    let names = Names::new(passages, &kinds)?;
    let mut articles: HashMap<&str, Vec<&str>> = HashMap::new();
    for passage in passages {
        articles.entry(&passage.title).or_default().push(&passage.text);
    }

    let mut edges = Vec::new();
    for (from, passage) in passages.iter().enumerate() {
        let article = &articles[passage.title.as_str()];
        for (range, to) in mentions(passage, from, &names) {
            let Some(cue) = cue(&passage.text, &range, article) else { continue };
            let kind = match &to {
                Target::Node(node) => kinds[*node].clone(),
                Target::Value { texts, kind } => Some(value_kind(*kind, &texts[0]).to_owned()),
            };
            let Some(kind) = kind else { continue };
            edges.push(Edge { from, to, words: Words::Cue { kind, cue } });
        }
    }
    let edges = without_hubs(edges, passages.len());
    let nodes = passages.iter().map(node).collect();
    Ok(Graph::new(nodes, edges))
}

/// Removes the links to passages that too many passages link to.
fn without_hubs(mut edges: Vec<Edge>, n_passages: usize) -> Vec<Edge> {
    let mut links = vec![0; n_passages];
    for edge in &edges {
        if let Target::Node(node) = edge.to {
            links[node] += 1;
        }
    }
    let most = LEAST_LINKS.max(n_passages / PASSAGES_PER_LINK);
    edges.retain(|edge| match edge.to {
        Target::Node(node) => links[node] <= most,
        Target::Value { .. } => true,
    });
    edges
}

fn node(passage: &Passage) -> Node {
    Node {
        name: passage.title.clone(),
        mention: format!("“{}”", passage.title),
        sought: passage.title.clone(),
        passage: passage.clone(),
        split: 0,
    }
}

/// Mentions of a passage, in the order of its text; each thing once, at its first mention.
fn mentions(passage: &Passage, from: usize, names: &Names<'_>) -> Vec<(Range<usize>, Target)> {
    let text = passage.text.as_str();
    let titles = names.mentioned(text).into_iter();
    let mut found: Vec<_> = titles.map(|(range, to)| (range, Target::Node(to))).collect();
    for (range, kind) in values(text) {
        let free = found.iter().all(|(taken, _)| !overlap(taken, &range));
        if free && !passage.title.contains(&text[range.clone()]) {
            let texts = vec![text[range.clone()].to_owned()];
            found.push((range, Target::Value { texts, kind }));
        }
    }
    found.sort_by_key(|(range, _)| range.start);
    let mut seen = HashSet::new();
    found.retain(|(range, to)| {
        *to != Target::Node(from) && seen.insert(text[range.clone()].to_owned())
    });
    found
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn passage(title: &str, text: &str) -> Passage {
        Passage { id: title.to_owned(), title: title.to_owned(), text: text.to_owned() }
    }

    /// The links between passages, worded.
    fn links(passages: &[Passage]) -> Vec<(usize, usize, String)> {
        let graph = graph(passages).unwrap();
        let edges = graph.edges.iter().enumerate();
        edges
            .filter_map(|(idx, edge)| {
                let Words::Cue { kind, cue } = &edge.words else { return None };
                Some((edge.from, graph.next(idx)?, format!("{kind}: {cue}")))
            })
            .collect()
    }

    #[test]
    fn titles_are_linked_as_whole_names() {
        let passages = [
            passage("Paris", "Paris is the capital city of France."),
            passage("Mirko Tavel", "Mirko Tavel was a Czech painter from Brno."),
            passage("Veltor", "Veltor is a film. It was directed in 1950 by Mirko Tavel."),
            passage("Hilton", "The group was once run by Paris Hilton. It is run from Paris."),
            passage("Remake", "Remake is a film that is partly based on Veltor, in spite of all."),
            passage("Brno (ship)", "Brno is a ship that never came to the town of its name."),
        ];
        assert_eq!(
            links(&passages),
            [
                (2, 1, "Czech painter: in 1950 by".to_owned()),
                (3, 0, "capital city: is run from".to_owned()),
                (4, 2, "film: partly based on".to_owned()),
            ]
        );
    }

    /// Whether the first of some articles, which a text mentions, is linked by it.
    #[test]
    fn namesakes_are_not_linked() {
        let mississippi = ("Mississippi", "Mississippi is a state near the Mississippi River.");
        let river = ("Mississippi River", "The Mississippi River is a river.");
        let novel = ("The Veltor", "The Veltor is a novel of 1950 by others.");
        let knott = ("Knott", "Knott is a mountain in the north.");
        let lisbon = ("Lisbon", "Lisbon is a city. Lisbon lies in Portugal.");
        let draft = ("NBA draft", "The NBA draft is an annual event from 1947 on.");
        for (articles, text, linked) in [
            // The kind that is named beside it.
            (vec![knott], "Vicco is found in Perry and Knott counties of the land.", false),
            (vec![knott], "The walk goes over the mountain Knott on the way.", true),
            (vec![lisbon], "It lies on the island of Lisbon by the sea.", false),
            (vec![lisbon], "It lies in the city of Lisbon by the sea.", true),
            // Other titles of the name.
            (vec![mississippi], "He was born and lived in Mississippi for long.", true),
            (vec![mississippi, river], "He was born and lived in Mississippi for long.", false),
            (vec![mississippi, river], "He was born in the state of Mississippi long ago.", true),
            (
                vec![draft, ("NBA draft (film)", "It is a film.")],
                "He left after NBA draft day.",
                false,
            ),
            // Works want their kind said.
            (vec![novel], "It was said to be based on the novel The Veltor of old.", true),
            (vec![novel], "The novel was out, then the film was called The Veltor there.", false),
            (vec![novel], "He was also seen in The Veltor by the people.", false),
            // Its article.
            (vec![mississippi], "They ceded all land east of the Mississippi then.", false),
            (vec![draft], "He was chosen late in the NBA draft by others.", true),
            // Parts of longer names and of quotations.
            (vec![mississippi], "He was admitted to the University of Mississippi then.", false),
            (vec![knott], "He was in the duchy of Hesse - Knott with others.", false),
            (vec![lisbon], "They say it is \"a town like Lisbon or so\" to all.", false),
            // Numbers beside it, and the places that it lies in.
            (vec![draft], "He was picked first in the 2013 NBA draft by others.", false),
            (vec![lisbon], "The society was formed early in Lisbon, Ohio and elsewhere.", false),
            (vec![lisbon], "The society was formed early in Lisbon, Portugal and elsewhere.", true),
        ] {
            let mut passages: Vec<Passage> =
                articles.iter().map(|(title, text)| passage(title, text)).collect();
            passages.push(passage("Another", text));
            let from = passages.len() - 1;
            let found = links(&passages).iter().any(|it| (it.0, it.1) == (from, 0));
            assert_eq!(found, linked, "{text}");
        }
    }

    #[test]
    fn a_fact_is_singled_out_in_all_of_its_article() {
        let text = "The town was taken in 1950 by others.";
        let of = |title: &str| graph(&[passage("Veltor", text), passage(title, text)]).unwrap();
        assert_eq!(of("Veltor").edges.len(), 0);
        assert_eq!(of("Veltor II").edges.len(), 2);
    }

    #[test]
    fn what_everybody_mentions_is_not_linked() {
        let text = "It is a small village somewhere in Samland on the coast.";
        let mut passages: Vec<Passage> =
            (0..LEAST_LINKS).map(|it| passage(&format!("Village {it}"), text)).collect();
        passages.push(passage("Samland", "Samland is a country by the sea."));
        assert_eq!(graph(&passages).unwrap().edges.len(), LEAST_LINKS);
        passages.push(passage("Village more", text));
        assert_eq!(graph(&passages).unwrap().edges.len(), 0);
    }
}
