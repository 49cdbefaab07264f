//! The `[algorithm]` section and the schedule: what is read, and what is refused in which words.

use forage_optimizer::{
    AdvantageEstimator, AlgorithmConfig, ConstantAggregation, ConstantSchedule, GroupConvention,
    Grpo, ImportanceCorrection, LinearSchedule, LossAggregation, LrSchedule, LrWarmup,
    OverLengthRule, Ppo, Surrogate, TokenTis,
};

const LEAST: &str = "advantage.name = 'grpo'\nloss.name = 'ppo'\n";

fn read(text: &str) -> Result<AlgorithmConfig, String> {
    let config: AlgorithmConfig = toml::from_str(text).map_err(|it| it.message().to_owned())?;
    config.check().map_err(|it| it.to_string())?;
    Ok(config)
}

#[test]
fn defaults_are_search_r1s() {
    let config = read(LEAST).unwrap();
    assert_eq!(
        config.advantage,
        AdvantageEstimator::Grpo(Grpo { convention: GroupConvention::Forage })
    );
    assert_eq!(config.loss, Surrogate::ppo(0.2, 0.2));
    assert_eq!(config.over_length, OverLengthRule::Train);
    assert!(config.kl.is_none() && config.self_distillation.is_none());
}

#[test]
fn a_configuration_survives_being_written() {
    let everything = "
        aggregation = { name = 'constant', length = 4096 }
        over_length = 'exclude'
        entropy = 0.001
        kl = { coefficient = 0.001, place = 'loss', estimator = 'k3' }
        correction = { name = 'icepop', cap = 5.0, reject = { distance = 'mean-k1', low = 0.9, high = 1.1 } }
        llds = { gate = 'response', answer_weight = 0.5 }
        [self_distillation]
        divergence = 'reverse-kl'
        positions = 'policy'
        hindsight = { content = 'everything', labels = 'shuffled', members = 'others' }
    ";
    let mut texts = vec![LEAST.to_owned(), format!("{LEAST}{everything}")];
    for advantage in [
        "name = 'dr-grpo', convention = 'trl'",
        "name = 'rloo', convention = 'verl'",
        "name = 'reinforce-plus-plus', gamma = 0.9",
        "name = 'reinforce-plus-plus-baseline'",
        "name = 'gae', gamma = 0.99, lambda = 0.95, observations = 'include'",
        "name = 'step-gae', step_scale = 1.6",
        "name = 'gigpo', scale = 'deviation', step_weight = 0.5, gamma = 0.95",
    ] {
        for loss in [
            "name = 'ppo', clip_low = 0.2, clip_high = 0.28, dual_clip = 3.0",
            "name = 'gspo'",
            "name = 'cispo', clip_high = 4.0, ratio = 'sequence'",
            "name = 'cispo', clip_low = 0.5",
            "name = 'sapo', tau_negative = 1.1",
            "name = 'reinforce'",
        ] {
            texts.push(format!("advantage = {{ {advantage} }}\nloss = {{ {loss} }}"));
        }
    }
    for text in texts {
        let config = read(&text).unwrap();
        let written = toml::to_string(&config).unwrap();
        assert_eq!(read(&written).unwrap(), config, "{written}");
    }
    for text in [
        "name = 'constant'",
        "name = 'linear'\nwarmup = { ratio = 0.285 }\nfloor = 0.1",
        "name = 'cosine'\nwarmup = { steps = 10 }",
    ] {
        let schedule: LrSchedule = toml::from_str(text).unwrap();
        let written = toml::to_string(&schedule).unwrap();
        assert_eq!(toml::from_str::<LrSchedule>(&written).unwrap(), schedule);
    }
    let schedule: LrSchedule = toml::from_str("name = 'constant'").unwrap();
    assert_eq!(schedule, LrSchedule::Constant(ConstantSchedule { warmup: LrWarmup::Steps(0) }));
}

/// The text of each algorithm with its defaults: what the manifest of a run holds.
#[test]
fn every_algorithm_is_written_with_its_defaults() {
    fn check<T>(table: &[(&str, &str)])
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        for (name, expected) in table {
            let value: T = toml::from_str(&format!("name = '{name}'")).unwrap();
            let written = toml::to_string(&value).unwrap();
            assert_eq!(written, format!("name = \"{name}\"\n{expected}"));
        }
    }
    let gae = "gamma = 1.0\nlambda = 1.0\nobservations = \"skip\"\n";
    let step_gae = format!("{gae}step_scale = 1.0\n");
    check::<AdvantageEstimator>(&[
        ("grpo", "convention = \"forage\"\n"),
        ("dr-grpo", "convention = \"forage\"\n"),
        ("rloo", "convention = \"forage\"\n"),
        ("reinforce-plus-plus", "gamma = 1.0\n"),
        ("reinforce-plus-plus-baseline", "convention = \"forage\"\n"),
        ("gae", gae),
        ("step-gae", &step_gae),
        ("gigpo", "gamma = 0.95\nstep_weight = 1.0\nscale = \"none\"\n"),
    ]);
    check::<Surrogate>(&[
        ("ppo", "clip_low = 0.2\nclip_high = 0.2\n"),
        ("gspo", "clip_low = 0.0003\nclip_high = 0.0004\n"),
        ("cispo", "clip_high = 4.0\nratio = \"token\"\n"),
        ("sapo", "tau_positive = 1.0\ntau_negative = 1.05\nratio = \"token\"\n"),
        ("reinforce", ""),
    ]);
    check::<LossAggregation>(&[("token-mean", ""), ("sequence-mean", ""), ("sequence-sum", "")]);
    check::<ImportanceCorrection>(&[
        ("token", "cap = 2.0\n"),
        ("sequence", "cap = 2.0\n"),
        ("icepop", "floor = 0.5\ncap = 5.0\n"),
    ]);
    check::<LrSchedule>(&[
        ("constant", "\n[warmup]\nsteps = 0\n"),
        ("linear", "floor = 0.0\n\n[warmup]\nsteps = 0\n"),
        ("cosine", "floor = 0.0\n\n[warmup]\nsteps = 0\n"),
    ]);
}

/// Each algorithm refuses every key that it does not have, the ones without any key too.
#[test]
fn no_algorithm_has_an_unknown_key() {
    let refuses = |error: String, name: &str| {
        assert!(error.contains("unknown field `foo`"), "{name}: {error}");
        assert!(error.contains(&format!("`{name}` has ")), "{name}: {error}");
    };
    let message = |error: toml::de::Error| error.message().to_owned();
    for name in [
        "grpo",
        "dr-grpo",
        "rloo",
        "reinforce-plus-plus",
        "reinforce-plus-plus-baseline",
        "gae",
        "step-gae",
        "gigpo",
    ] {
        let text = format!("name = '{name}'\nfoo = 1");
        refuses(message(toml::from_str::<AdvantageEstimator>(&text).unwrap_err()), name);
    }
    for name in ["ppo", "gspo", "cispo", "sapo", "reinforce"] {
        let text = format!("name = '{name}'\nfoo = 1");
        refuses(message(toml::from_str::<Surrogate>(&text).unwrap_err()), name);
    }
    for name in ["token-mean", "sequence-mean", "sequence-sum", "constant"] {
        let text = format!("name = '{name}'\nfoo = 1");
        refuses(message(toml::from_str::<LossAggregation>(&text).unwrap_err()), name);
    }
    for name in ["token", "sequence", "icepop", "reject"] {
        let text = format!("name = '{name}'\nfoo = 1");
        refuses(message(toml::from_str::<ImportanceCorrection>(&text).unwrap_err()), name);
    }
    for name in ["constant", "linear", "cosine"] {
        let text = format!("name = '{name}'\nfoo = 1");
        refuses(message(toml::from_str::<LrSchedule>(&text).unwrap_err()), name);
    }
}

/// What serde says of a value does not name its key.
#[test]
fn errors_of_values_name_their_key() {
    let table = [
        (
            "advantage = { name = 'gae', gamma = 'high' }",
            "`algorithm.advantage.gamma` cannot be read: invalid type: string \"high\", expected f64",
        ),
        (
            "advantage = { name = 'grpo', convention = 'vrl' }",
            "`algorithm.advantage.convention` cannot be read: unknown variant `vrl`, expected one \
             of `forage`, `verl`, `trl`",
        ),
        (
            "advantage = { convention = 'verl' }",
            "`algorithm.advantage.name` is missing, which must be one of `grpo`, `dr-grpo`, \
             `rloo`, `reinforce-plus-plus`, `reinforce-plus-plus-baseline`, `gae`, `step-gae`, \
             `gigpo`",
        ),
        (
            "aggregation = { name = 1 }",
            "`algorithm.aggregation.name` cannot be read: it must be one of the strings \
             `token-mean`, `sequence-mean`, `sequence-sum`, `constant`",
        ),
        (
            "aggregation = { name = 'constant', length = -1 }",
            "`algorithm.aggregation.length` cannot be read: invalid value: integer `-1`, expected \
             usize",
        ),
        (
            "correction = { name = 'reject', reject = { distance = 'mean-k3' } }",
            "`algorithm.correction.reject` cannot be read: missing field `high`",
        ),
        (
            "correction = { name = 'token', reject = { distance = 'mean-k3', high = 1, top = 2 } }",
            "`algorithm.correction.reject` cannot be read: unknown field `top`, expected one of \
             `distance`, `low`, `high`",
        ),
        (
            "loss = { name = 'reinforce', foo = 1 }\nadvantage.name = 'grpo'",
            "unknown field `foo` in `algorithm.loss`: `reinforce` has no keys",
        ),
    ];
    for (text, expected) in table {
        let advantage = if text.contains("advantage") { "" } else { "advantage.name = 'grpo'\n" };
        let loss = if text.contains("loss") { "" } else { "loss.name = 'ppo'\n" };
        assert_eq!(read(&format!("{advantage}{loss}{text}")).unwrap_err(), expected, "{text}");
    }
}

/// Whole numbers are numbers, and keys stand in any order.
#[test]
fn numbers_may_be_whole() {
    let loss: Surrogate = toml::from_str("dual_clip = 3\nclip_low = 0\nname = 'ppo'").unwrap();
    assert_eq!(loss, Surrogate::Ppo(Ppo { clip_low: 0.0, dual_clip: Some(3.0), ..Ppo::default() }));
    let schedule: LrSchedule =
        toml::from_str("warmup = { ratio = 0 }\nname = 'linear'\nfloor = 0").unwrap();
    let warmup = LrWarmup::Ratio(0.0);
    assert_eq!(schedule, LrSchedule::Linear(LinearSchedule { warmup, floor: 0.0 }));
}

#[test]
fn retrieved_tokens_are_trained_with_what_can_train_them() {
    let ppo = AlgorithmConfig::grpo(Surrogate::ppo(0.2, 0.2));
    let without = |terms: &str| {
        let text = format!(
            "advantage.name = 'grpo'\nloss.name = 'ppo'\nretrieved_tokens = 'train'\n{terms}"
        );
        toml::from_str::<AlgorithmConfig>(&text).unwrap().check()
    };
    assert!(ppo.retrieved_tokens.are_masked());
    assert!(!toml::to_string(&ppo).unwrap().contains("retrieved_tokens"));
    assert_eq!(without(""), Ok(()));
    assert_eq!(without("kl = { coefficient = 0.001, place = 'reward' }"), Ok(()));
    for (terms, key) in [
        ("correction = { name = 'token', cap = 2.0 }", "correction"),
        ("llds = {}", "llds"),
        ("self_distillation = {}", "self_distillation"),
    ] {
        let error = without(terms).unwrap_err().to_string();
        assert!(error.starts_with(&format!("`algorithm.{key}` is of the tokens that")), "{error}");
    }
}

/// A configuration that was made in code is checked like one that was read.
#[test]
fn the_options_of_an_algorithm_are_checked_without_a_file() {
    let ppo = AlgorithmConfig::grpo(Surrogate::ppo(0.2, 0.2));
    let loss = Surrogate::ppo(1.0, 0.2);
    let aggregation = LossAggregation::Constant(ConstantAggregation { length: 0 });
    let table = [
        (AlgorithmConfig { loss, ..ppo.clone() }, "`algorithm.loss.clip_low` is 1"),
        (AlgorithmConfig { aggregation, ..ppo.clone() }, "`algorithm.aggregation.length`"),
    ];
    assert_eq!(ppo.check(), Ok(()));
    for (config, expected) in table {
        let error = config.check().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn what_an_algorithm_does_not_use_is_refused() {
    let table = [
        (
            "advantage = { name = 'grpo', lambda = 0.9 }\nloss.name = 'ppo'",
            "`algorithm.advantage.lambda` is not used by `grpo`, only by `gae`, `step-gae`",
        ),
        (
            "advantage = { name = 'gae', step_scale = 1.0 }\nloss.name = 'ppo'",
            "`algorithm.advantage.step_scale` is not used by `gae`, only by `step-gae`, `gigpo`",
        ),
        (
            "advantage.name = 'grpo'\nloss = { name = 'gspo', dual_clip = 3.0 }",
            "`algorithm.loss.dual_clip` is not used by `gspo`, only by `ppo`",
        ),
        (
            "advantage.name = 'grpo'\nloss = { name = 'reinforce', clip_low = 0.1 }",
            "`algorithm.loss.clip_low` is not used by `reinforce`, only by `ppo`, `gspo`, `cispo`",
        ),
        (
            "aggregation = { name = 'token-mean', length = 3 }",
            "`algorithm.aggregation.length` is not used by `token-mean`, only by `constant`",
        ),
        (
            "correction = { name = 'token', floor = 0.5 }",
            "`algorithm.correction.floor` is not used by `token`, only by `icepop`",
        ),
        (
            "correction = { name = 'reject' }",
            "`algorithm.correction.reject` is missing, which `reject` is about",
        ),
        (
            "correction = { name = 'reject', reject = { distance = 'mean-k3', low = 0.1, high = 1.0 } }",
            "`algorithm.correction.reject.low` is not used by a `-k3` distance, which is never \
             negative",
        ),
        (
            "correction = { name = 'icepop', floor = 2.0, cap = 1.0 }",
            "`algorithm.correction.floor` is 2, above `algorithm.correction.cap`, which is 1",
        ),
        (
            "kl = { coefficient = 0.001, place = 'reward', estimator = 'k3' }",
            "`algorithm.kl.estimator` is not used with `place = \"reward\"`: it is always k1",
        ),
        (
            "value.clip = 0.5",
            "`algorithm.value` is used by `algorithm.advantage` `gae` and `step-gae` only: no other \
             estimator has a critic",
        ),
    ];
    for (text, expected) in table {
        let text = if text.contains("loss") { text.to_owned() } else { format!("{LEAST}{text}") };
        assert_eq!(read(&text).unwrap_err(), expected, "{text}");
    }
    let error = toml::from_str::<LrSchedule>("name = 'constant'\nfloor = 0.1").unwrap_err();
    assert_eq!(
        error.message(),
        "`optimizer.schedule.floor` is not used by `constant`, only by `linear`, `cosine`"
    );
}

#[test]
fn what_no_algorithm_can_work_with_is_refused() {
    let table = [
        (
            "advantage.name = 'ppo'\nloss.name = 'ppo'",
            "`algorithm.advantage.name` is `ppo`, but must be one of `grpo`, `dr-grpo`, `rloo`, \
             `reinforce-plus-plus`, `reinforce-plus-plus-baseline`, `gae`, `step-gae`, `gigpo`",
        ),
        (
            "advantage = { name = 'gae', gamma = 1.5 }\nloss.name = 'ppo'",
            "`algorithm.advantage.gamma` is 1.5, but must be at least 0 and at most 1",
        ),
        (
            "advantage.name = 'grpo'\nloss = { name = 'ppo', clip_low = 1.0 }",
            "`algorithm.loss.clip_low` is 1, but must be at least 0 and below 1",
        ),
        (
            "advantage.name = 'grpo'\nloss = { name = 'ppo', dual_clip = 1.0 }",
            "`algorithm.loss.dual_clip` is 1, but must be above 1",
        ),
        ("entropy = 0.0", "`algorithm.entropy` is 0, but must be a positive number"),
        (
            "llds = { coefficient = -1.0 }",
            "`algorithm.llds.coefficient` is -1, but must be a positive number",
        ),
        (
            "self_distillation = { top_k = 0 }",
            "`algorithm.self_distillation.top_k` is 0, but must be a positive number",
        ),
        (
            "aggregation.name = 'constant'",
            "`algorithm.aggregation.length` must be 1 or more: `constant` divides by it",
        ),
    ];
    for (text, expected) in table {
        let text = if text.contains("loss") { text.to_owned() } else { format!("{LEAST}{text}") };
        assert_eq!(read(&text).unwrap_err(), expected, "{text}");
    }
    assert!(
        read("advantage.name = 'grpo'\nloss.name = 'ppo'\nfoo = 1").unwrap_err().contains("foo")
    );
    let error = toml::from_str::<AlgorithmConfig>(
        "[advantage]\nname = 'grpo'\n\n[loss]\nname = 'gspo'\ndual_clip = 3.0\n",
    );
    // The message of toml names the line.
    let error = error.unwrap_err().to_string();
    assert!(error.contains("line 4") || error.contains("line 5"), "{error}");
    let correction: ImportanceCorrection = toml::from_str("name = 'token'").unwrap();
    assert_eq!(correction, ImportanceCorrection::Token(TokenTis { cap: 2.0, reject: None }));
}
