//! Configuration of rotary position embeddings, and context extension by scaled frequencies.
//!
//! [`Rope`] holds the keys of `config.json`; [`Rope::frequencies`] computes the inverse
//! frequencies of a head. The formulas are those of transformers (`modeling_rope_utils.py`),
//! computed in f64. It knows no tensors.

use std::f64::consts::TAU;

use serde_json::{Map, Value, json};

use crate::keys::{ConfigError, Keys};

/// Rotary position embeddings (`RoPE`): the base of the frequencies, and how they are scaled.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies: pair i of a head of width E turns by theta^(-2i/E) a token.
    pub theta: f64,
    /// How the frequencies are scaled.
    pub scaling: RopeScaling,
}

/// Scaling of rotary frequencies for longer contexts: `rope_type`.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// `default`: no scaling.
    Default,
    /// `linear`: position interpolation, all frequencies are divided by the factor (arXiv
    /// 2306.15595).
    Linear {
        /// Length of the new context over that of the original one.
        factor: f64,
    },
    /// `llama3`: low frequencies are divided by the factor, high ones are kept, and those between
    /// are interpolated (arXiv 2407.21783).
    Llama3 {
        /// Length of the new context over that of the original one.
        factor: f64,
        /// Frequencies that turn less often than this over the original context are divided.
        low_freq_factor: f64,
        /// Frequencies that turn more often than this over the original context are kept.
        high_freq_factor: f64,
        /// Positions of the original context. Default: `max_position_embeddings`.
        original_positions: usize,
    },
    /// `yarn`: like `llama3`, interpolated by the index of the pair; cosines and sines are scaled,
    /// too (arXiv 2309.00071).
    Yarn(YarnScaling),
}

/// Hyperparameters of [`RopeScaling::Yarn`].
#[derive(Debug, Clone, PartialEq)]
pub struct YarnScaling {
    /// Length of the new context over that of the original one. Default: `max_position_embeddings`
    /// over `original_positions`.
    pub factor: f64,
    /// Positions of the original context. Default: `max_position_embeddings`.
    pub original_positions: usize,
    /// Factor of cosines and sines. Default: that of `mscale` and `mscale_all_dim`, or else
    /// 0.1 · ln(`factor`) + 1.
    pub attention_factor: Option<f64>,
    /// Pairs that turn more often than this over the original context are kept. Default: 32.
    pub beta_fast: f64,
    /// Pairs that turn less often than this over the original context are divided by `factor`.
    /// Default: 1.
    pub beta_slow: f64,
    /// Weight of the numerator of the attention factor, where `mscale_all_dim` is given too.
    pub mscale: Option<f64>,
    /// Weight of the denominator of the attention factor, where `mscale` is given too.
    pub mscale_all_dim: Option<f64>,
    /// Whether the bounds of the interpolation are rounded to whole pairs. Default: true.
    pub truncate: bool,
}

impl Rope {
    /// Rotary position embeddings without scaling.
    pub fn plain(theta: f64) -> Self {
        Self { theta, scaling: RopeScaling::Default }
    }

    /// Inverse frequencies of a head of this width, and the factor of cosines and sines: the angle
    /// in radians by which each of the `head_dim / 2` pairs turns a token.
    pub fn frequencies(&self, head_dim: usize) -> (Vec<f64>, f64) {
        let half = head_dim / 2;
        let plain = (0..half).map(|pair| self.theta.powf(-(pair as f64) / half as f64));
        match &self.scaling {
            RopeScaling::Default => (plain.collect(), 1.0),
            RopeScaling::Linear { factor } => (plain.map(|it| it / factor).collect(), 1.0),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor: low,
                high_freq_factor: high,
                original_positions,
            } => {
                let scaled = |frequency: f64| {
                    let turns = *original_positions as f64 * frequency / TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    (1.0 - kept) * frequency / factor + kept * frequency
                };
                (plain.map(scaled).collect(), 1.0)
            }
            RopeScaling::Yarn(yarn) => {
                let kept = yarn.kept(self.theta, head_dim);
                let scaled = plain
                    .zip(kept)
                    .map(|(frequency, kept)| {
                        frequency / yarn.factor * (1.0 - kept) + frequency * kept
                    })
                    .collect();
                (scaled, yarn.attention())
            }
        }
    }

    /// Takes the keys of rotary position embeddings: `rope_theta` and `rope_scaling`, or
    /// `rope_parameters` of transformers 5.
    pub(crate) fn take(keys: &mut Keys, max_positions: usize) -> Result<Self, ConfigError> {
        let new: Option<Map<String, Value>> = keys.optional("rope_parameters")?;
        let old: Option<Map<String, Value>> = keys.optional("rope_scaling")?;
        let beside: Option<f64> = keys.optional("rope_theta")?;
        let mut table = Keys::within("rope_scaling", old.or(new).unwrap_or_default());
        let theta = table.optional("rope_theta")?.or(beside).unwrap_or(10_000.0);
        positive("rope_theta", theta)?;
        let older_name: Option<String> = table.optional("type")?;
        let name = table.optional("rope_type")?.or(older_name);
        if table.optional("partial_rotary_factor")?.is_some_and(|it: f64| it < 1.0) {
            return Err(ConfigError("`partial_rotary_factor` is not supported".to_owned()));
        }
        let scaling = RopeScaling::take(name.as_deref(), &mut table, max_positions)?;
        if let Some(key) = table.rest().keys().next() {
            return Err(ConfigError(format!("`{key}` of the rotary positions is not supported")));
        }
        let rope = Self { theta, scaling };
        rope.check()?;
        Ok(rope)
    }

    /// Puts the keys that [`Rope::take`] takes, in the old form, which every program reads.
    pub(crate) fn put(&self, keys: &mut Map<String, Value>) {
        let mut table = match &self.scaling {
            RopeScaling::Default => Value::Null,
            RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_positions,
            } => json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_positions,
            }),
            RopeScaling::Yarn(yarn) => json!({
                "rope_type": "yarn",
                "factor": yarn.factor,
                "original_max_position_embeddings": yarn.original_positions,
                "attention_factor": yarn.attention_factor,
                "beta_fast": yarn.beta_fast,
                "beta_slow": yarn.beta_slow,
                "mscale": yarn.mscale,
                "mscale_all_dim": yarn.mscale_all_dim,
                "truncate": yarn.truncate,
            }),
        };
        if let Value::Object(table) = &mut table {
            table.retain(|_, it| !it.is_null());
        }
        keys.insert("rope_theta".to_owned(), json!(self.theta));
        keys.insert("rope_scaling".to_owned(), table);
    }

    fn check(&self) -> Result<(), ConfigError> {
        match &self.scaling {
            RopeScaling::Default => Ok(()),
            RopeScaling::Linear { factor } => positive("factor", *factor),
            RopeScaling::Llama3 {
                factor, low_freq_factor: low, high_freq_factor: high, ..
            } => {
                positive("factor", *factor)?;
                if low < high {
                    return Ok(());
                }
                let what =
                    format!("`low_freq_factor` {low} is not below `high_freq_factor` {high}");
                Err(ConfigError(what))
            }
            RopeScaling::Yarn(yarn) => {
                positive("factor", yarn.factor)?;
                positive("beta_fast", yarn.beta_fast)?;
                positive("beta_slow", yarn.beta_slow)
            }
        }
    }
}

impl RopeScaling {
    /// Takes the keys of a `rope_type`. Default: `default`.
    fn take(
        name: Option<&str>,
        table: &mut Keys,
        max_positions: usize,
    ) -> Result<Self, ConfigError> {
        let original = |table: &mut Keys| -> Result<usize, ConfigError> {
            Ok(table.optional("original_max_position_embeddings")?.unwrap_or(max_positions))
        };
        Ok(match name.unwrap_or("default") {
            "default" => Self::Default,
            "linear" => Self::Linear { factor: table.required("factor")? },
            "llama3" => Self::Llama3 {
                factor: table.required("factor")?,
                low_freq_factor: table.required("low_freq_factor")?,
                high_freq_factor: table.required("high_freq_factor")?,
                original_positions: original(table)?,
            },
            "yarn" => {
                let original_positions = original(table)?;
                let ratio = max_positions as f64 / original_positions as f64;
                Self::Yarn(YarnScaling {
                    factor: table.optional("factor")?.unwrap_or(ratio),
                    original_positions,
                    attention_factor: table.optional("attention_factor")?,
                    beta_fast: table.optional("beta_fast")?.unwrap_or(32.0),
                    beta_slow: table.optional("beta_slow")?.unwrap_or(1.0),
                    mscale: table.optional("mscale")?,
                    mscale_all_dim: table.optional("mscale_all_dim")?,
                    truncate: table.optional("truncate")?.unwrap_or(true),
                })
            }
            other => {
                return Err(ConfigError(format!(
                    "rope type `{other}` is not supported; `default`, `linear`, `llama3` and \
                     `yarn` are"
                )));
            }
        })
    }
}

impl YarnScaling {
    /// Weight of each pair's own frequency; the rest to 1 is that of the divided one.
    fn kept(&self, theta: f64, head_dim: usize) -> Vec<f64> {
        let width = head_dim as f64;
        // The pair that turns this often over the original context.
        let pair = |turns: f64| {
            width * (self.original_positions as f64 / (turns * TAU)).ln() / (2.0 * theta.ln())
        };
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, mut high) = (low.max(0.0), high.min(width - 1.0));
        if low >= high {
            high = low + 0.001;
        }
        (0..head_dim / 2)
            .map(|pair| 1.0 - ((pair as f64 - low) / (high - low)).clamp(0.0, 1.0))
            .collect()
    }

    /// Factor of cosines and sines.
    fn attention(&self) -> f64 {
        let scale = |weight: f64| {
            if self.factor <= 1.0 { 1.0 } else { 0.1 * weight * self.factor.ln() + 1.0 }
        };
        match (self.attention_factor, self.mscale, self.mscale_all_dim) {
            (Some(given), _, _) => given,
            (None, Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
            _ => scale(1.0),
        }
    }
}

fn positive(key: &str, value: f64) -> Result<(), ConfigError> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(ConfigError(format!("`{key}` {value} of the rotary positions is not positive")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys of a `config.json`, and what transformers' formulas give for them.
    fn check(keys: &Value, head_dim: usize, attention: f64, expected: &[f64]) {
        let map = keys.as_object().unwrap().clone();
        let mut read = Keys::within("test", map);
        let rope = Rope::take(&mut read, 512).unwrap();
        assert!(read.rest().is_empty(), "{read:?}");
        let (found, factor) = rope.frequencies(head_dim);
        assert!((factor - attention).abs() < 1e-12, "{keys}: {factor}");
        assert_eq!(found.len(), expected.len());
        for (pair, (found, expected)) in found.iter().zip(expected).enumerate() {
            assert!((found / expected - 1.0).abs() < 1e-12, "{keys}: pair {pair} turns by {found}");
        }
        let mut written = Map::new();
        rope.put(&mut written);
        let again = Rope::take(&mut Keys::within("test", written), 512).unwrap();
        assert_eq!(again, rope);
    }

    #[test]
    fn frequencies_are_those_of_transformers() {
        check(&json!({}), 4, 1.0, &[1.0, 0.01]);
        check(
            &json!({"rope_theta": 10_000.0, "rope_scaling": {"type": "linear", "factor": 4.0}}),
            8,
            1.0,
            &[0.25, 0.025, 0.0025, 0.00025],
        );
        check(
            &json!({"rope_parameters": {
                "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0,
                "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            }}),
            16,
            1.0,
            &[
                1.0,
                0.193_922_744_748_685_76,
                0.037_606_030_930_863_93,
                0.007_292_664_737_217_108_5,
                0.000_524_846_160_992_954_7,
                3.428_102_195_952_591e-5,
                6.647_869_871_181_236e-6,
                1.289_173_172_151_557_4e-6,
            ],
        );
        check(
            &json!({"rope_theta": 1_000_000.0, "rope_scaling": {
                "type": "yarn", "rope_type": "yarn", "factor": 4.0,
                "original_max_position_embeddings": 32768,
            }}),
            16,
            1.138_629_436_111_989,
            &[
                1.0,
                0.177_827_941_003_892_26,
                0.031_622_776_601_683_79,
                0.004_217_559_938_927_618,
                0.0005,
                4.445_698_525_097_307e-5,
                7.905_694_150_420_949e-6,
                1.405_853_312_975_872_8e-6,
            ],
        );
        check(
            &json!({"rope_parameters": {
                "rope_type": "yarn", "rope_theta": 10_000.0, "factor": 8.0, "truncate": false,
                "original_max_position_embeddings": 256, "beta_fast": 16.0, "beta_slow": 2.0,
                "mscale": 0.7, "mscale_all_dim": 1.3,
            }}),
            16,
            0.901_783_986_978_712_3,
            &[
                1.0,
                0.287_408_595_766_520_95,
                0.042_441_793_456_175_964,
                0.003_952_847_075_210_474,
                0.00125,
                0.000_395_284_707_521_047_37,
                0.000_125,
                3.952_847_075_210_474e-5,
            ],
        );
        check(
            &json!({"rope_parameters": {
                "rope_type": "yarn", "rope_theta": 100.0, "factor": 2.0, "attention_factor": 1.5,
                "original_max_position_embeddings": 16,
            }}),
            8,
            1.5,
            &[1.0, 0.158_113_883_008_418_97, 0.05, 0.015_811_388_300_841_896],
        );
    }

    #[test]
    fn what_is_not_computed_is_named() {
        for (keys, named) in [
            (json!({"rope_scaling": {"rope_type": "longrope"}}), "`longrope`"),
            (json!({"rope_scaling": {"type": "linear"}}), "`rope_scaling.factor` is missing"),
            (json!({"rope_scaling": {"type": "linear", "factor": -1.0}}), "`factor` -1"),
            (json!({"rope_scaling": {"type": "linear", "factor": "x"}}), "`rope_scaling.factor`: "),
            (
                json!({"rope_scaling": {"type": "linear", "factor": 2.0, "short_factor": []}}),
                "`short_factor`",
            ),
            (
                json!({"rope_scaling": {
                    "type": "llama3", "factor": 2.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0
                }}),
                "`low_freq_factor` 4 is not below",
            ),
            (json!({"rope_theta": 0.0}), "`rope_theta` 0"),
            (json!({"rope_parameters": {"partial_rotary_factor": 0.5}}), "`partial_rotary_factor`"),
        ] {
            let Value::Object(map) = keys else { panic!("all are objects") };
            let error = Rope::take(&mut Keys::within("test", map), 512).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
