//! The `[algorithm]` section and the schedule: what is read, and what is refused in which words.

use forage_optimizer::{
    Advantage, AlgorithmConfig, Convention, Correction, OverLength, Schedule, Surrogate, Warmup,
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
    assert_eq!(config.advantage, Advantage::Grpo { convention: Convention::Forage });
    assert_eq!(config.loss, Surrogate::ppo(0.2, 0.2));
    assert_eq!(config.over_length, OverLength::Train);
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
        let schedule: Schedule = toml::from_str(text).unwrap();
        let written = toml::to_string(&schedule).unwrap();
        assert_eq!(toml::from_str::<Schedule>(&written).unwrap(), schedule);
    }
    let schedule: Schedule = toml::from_str("name = 'constant'").unwrap();
    assert_eq!(schedule, Schedule::Constant { warmup: Warmup::Steps(0) });
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
    let error = toml::from_str::<Schedule>("name = 'constant'\nfloor = 0.1").unwrap_err();
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
    let correction: Correction = toml::from_str("name = 'token'").unwrap();
    assert_eq!(correction, Correction::Token { cap: 2.0, reject: None });
}
