//! Samples: files in which every table of keys is there, with the keys that it requires.

use toml::Table;

use crate::parser;

/// Sample file, and what it becomes for the keys of some tables.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    base: &'static str,
    variants: &'static [Variant],
}

/// Change of a sample for the keys below a path.
struct Variant {
    path: &'static str,
    /// Sections that take the place of those of the sample.
    sections: &'static str,
    /// Sections that are left out.
    without: &'static [&'static str],
}

impl Sample {
    /// The sample in which a key can be given.
    pub(crate) fn document(self, key: &str) -> Table {
        let mut document: Table = self.base.parse().expect("the sample is TOML");
        let is_above =
            |it: &&Variant| key == it.path || key.starts_with(&parser::join(it.path, ""));
        let variant = self.variants.iter().filter(is_above).max_by_key(|it| it.path.len());
        if let Some(Variant { sections, without, .. }) = variant {
            document.extend(sections.parse::<Table>().expect("the variant is TOML"));
            for section in *without {
                document.remove(*section);
            }
        }
        document
    }
}

const fn variant(path: &'static str, sections: &'static str) -> Variant {
    Variant { path, sections, without: &[] }
}

/// A run file with everything that can stand in one before it is checked.
pub(crate) const RUN: Sample = Sample {
    base: r#"
        name = "n"
        seed = 1
        [model]
        path = "m"
        lora = { rank = 1, alpha = 1.0 }
        [model.fresh]
        vocab_size = 1
        hidden_size = 1
        intermediate_size = 1
        layers = 1
        heads = 1
        kv_heads = 1
        max_positions = 1
        rope_theta = 1.0
        [world]
        entities = {}
        questions = { train = 1, dev = 1, test = 1 }
        mix = {}
        [data]
        train = "a"
        dev = "b"
        test = "c"
        [rollout]
        [reward.x]
        plugin = "p"
        gate = { reward = "y" }
        [combination]
        [algorithm]
        advantage = { name = "grpo" }
        loss = { name = "ppo" }
        [critic]
        lr = 1.0
        schedule = { name = "linear" }
        [optimizer]
        lr = 1.0
        schedule = { name = "linear" }
        [training]
        steps = 1
        questions_per_step = 1
        group_size = 2
        micro_batch_tokens = 1
        checkpoint_every = 1
        save_trajectories_every = 1
        truncation = {}
        curriculum = [{ from = 0, hops = 1 }]
        [sft]
        micro_batch_tokens = 1
        checkpoint_every = 1
        world_every = 1
        [[sft.phases]]
        steps = 1
        lr_from = 1.0
        lr_to = 1.0
        demonstrations = 1
        reading = 1
        comparison = 1
        habits = {}
        [evaluation]
        every = 1
        [alarms]
    "#,
    variants: &[
        variant(
            "retriever",
            r#"
            [retriever]
            index = "i"
            vectors = "v"
            embeddings = { url = "http://localhost/v1/embeddings", model = "m", http = {} }
            record = { file = "f", mode = "record" }
            "#,
        ),
        variant(
            "retriever.encoder",
            r#"
            [retriever]
            index = "i"
            vectors = "v"
            encoder = { path = "e" }
            "#,
        ),
        variant(
            "retriever.remote",
            r#"retriever.remote = { url = "http://localhost/retrieve", http = {} }"#,
        ),
        variant(
            "retriever.elastic",
            r#"retriever.elastic = { url = "http://localhost:9200", index = "i", http = {} }"#,
        ),
        variant(
            "retriever.qdrant",
            r#"
            [retriever]
            qdrant = { url = "http://localhost:6333", collection = "c", http = {} }
            embeddings = { url = "http://localhost/v1/embeddings", model = "m" }
            "#,
        ),
        variant("retriever.web", r#"retriever.web = { engine = "serper", http = {} }"#),
    ],
};

/// The file of a synthesis, which is checked as it is read.
pub(crate) const SYNTHESIS: Sample = Sample {
    base: r#"
        name = "n"
        seed = 1
        [world]
        entities = {}
        [synthesis]
        limits = {}
        [generator]
        walker = {}
        [agent.chat.server]
        url = "http://localhost/v1"
        model = "m"
        price = { input = 0.0, output = 0.0 }
        [judge]
        plugin = "exact-match"
        [questions]
    "#,
    variants: &[
        variant(
            "generator.chat",
            r#"
            [generator.chat.server]
            url = "http://localhost/v1"
            model = "m"
            price = { input = 0.0, output = 0.0 }
            "#,
        ),
        variant("generator.model", r#"generator.model.path = "m""#),
        variant("agent.model", "agent.model.path = \"m\"\n[rollout]"),
        variant("rollout", "agent.model.path = \"m\"\n[rollout]"),
        variant(
            "judge.chat",
            r#"
            [judge.chat.server]
            url = "http://localhost/v1"
            model = "m"
            price = { input = 0.0, output = 0.0 }
            "#,
        ),
        Variant { path: "corpus", sections: r#"corpus.files = ["c"]"#, without: &["world"] },
        Variant {
            path: "retriever",
            sections: "corpus.files = [\"c\"]\nretriever.index = \"i\"",
            without: &["world"],
        },
        Variant {
            path: "questions.shares",
            sections: "corpus.files = [\"c\"]\nquestions.shares = { dev = 0.1, test = 0.1 }",
            without: &["world"],
        },
    ],
};
