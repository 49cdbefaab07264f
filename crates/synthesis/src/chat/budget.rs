//! Budget of tokens and money, with what was spent of it.

use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::config_error::ConfigError;

/// Usage of language models: calls, tokens and money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Number of calls.
    pub calls: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Tokens of completions.
    pub completion_tokens: u64,
    /// Money, in the unit of the prices.
    pub money: f64,
}

impl Usage {
    /// Tokens of prompts and completions.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Whether the usage is zero.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.calls += other.calls;
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
        self.money += other.money;
    }
}

/// Limits of a budget, over all roles and resumptions of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetLimits {
    /// Most tokens of prompts and completions. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Most money, in the unit of the prices. Default: unlimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
}

impl BudgetLimits {
    /// Checks that the limits are amounts.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self.money {
            Some(money) if !(money >= 0.0 && money.is_finite()) => Err(ConfigError {
                key: "synthesis.limits.money",
                problem: format!("is {money}, no amount"),
            }),
            _ => Ok(()),
        }
    }
}

/// A limit of the budget does not allow a call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BudgetExceeded {
    /// The limit of tokens.
    #[error("{used} tokens are used of the {limit} of `synthesis.limits.tokens`")]
    Tokens {
        /// Amount used so far.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// The limit of money.
    #[error("{used:.4} is spent of the {limit} of `synthesis.limits.money`")]
    Money {
        /// Amount used so far.
        used: f64,
        /// The limit.
        limit: f64,
    },
}

/// Budget that all clients of a run spend from, on any thread.
///
/// A caller reserves the most that a call can take, makes the call, and settles its actual usage:
/// so concurrent calls do not exceed the limits together.
#[derive(Debug, Default)]
pub struct Budget {
    limits: BudgetLimits,
    state: Mutex<Spending>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Spending {
    used: Usage,
    reserved: Usage,
}

impl Budget {
    /// Budget with nothing spent.
    pub fn new(limits: BudgetLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Reserves the most that a call can take.
    ///
    /// # Errors
    ///
    /// The limit that does not allow it.
    pub fn reserve(&self, most: Usage) -> Result<(), BudgetExceeded> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut then = state.used;
        then += state.reserved;
        then += most;
        if let Some(limit) = self.limits.tokens
            && then.tokens() > limit
        {
            return Err(BudgetExceeded::Tokens { used: state.used.tokens(), limit });
        }
        if let Some(limit) = self.limits.money
            && then.money > limit
        {
            return Err(BudgetExceeded::Money { used: state.used.money, limit });
        }
        state.reserved += most;
        Ok(())
    }

    /// Releases a reservation, and adds the actual usage of its call.
    pub fn settle(&self, most: Usage, took: Usage) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reserved.calls = state.reserved.calls.saturating_sub(most.calls);
        state.reserved.prompt_tokens =
            state.reserved.prompt_tokens.saturating_sub(most.prompt_tokens);
        state.reserved.completion_tokens =
            state.reserved.completion_tokens.saturating_sub(most.completion_tokens);
        state.reserved.money = (state.reserved.money - most.money).max(0.0);
        state.used += took;
    }

    /// Whether calls with a reservation are under way.
    pub fn has_reservations(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reserved.calls > 0
    }

    /// Adds usage that was not reserved: of the part of a run that a journal holds.
    pub fn add(&self, took: Usage) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used += took;
    }

    /// Usage so far.
    pub fn used(&self) -> Usage {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(prompt_tokens: u64) -> Usage {
        Usage { calls: 1, prompt_tokens, ..Usage::default() }
    }

    #[test]
    fn reservations_hold_the_limit() {
        let budget = Budget::new(BudgetLimits { tokens: Some(100), money: None });
        budget.reserve(tokens(60)).unwrap();
        assert_eq!(budget.reserve(tokens(60)), Err(BudgetExceeded::Tokens { used: 0, limit: 100 }));
        budget.settle(tokens(60), tokens(10));
        budget.reserve(tokens(60)).unwrap();
        budget.settle(tokens(60), tokens(60));
        assert_eq!(
            budget.reserve(tokens(60)),
            Err(BudgetExceeded::Tokens { used: 70, limit: 100 })
        );
        budget.add(tokens(30));
        assert_eq!(budget.used().tokens(), 100);
        assert!(budget.reserve(tokens(1)).is_err());
    }

    #[test]
    fn money_is_held_too() {
        let budget = Budget::new(BudgetLimits { tokens: None, money: Some(1.0) });
        let call = Usage { money: 0.6, ..Usage::default() };
        budget.reserve(call).unwrap();
        let error = budget.reserve(call).unwrap_err().to_string();
        assert_eq!(error, "0.0000 is spent of the 1 of `synthesis.limits.money`");
    }
}
