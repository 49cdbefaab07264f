//! What a run has spent, and what it may.

use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::SageError;

/// What calls of a language model took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Calls.
    pub calls: u64,
    /// Tokens that were read.
    pub prompt_tokens: u64,
    /// Tokens that were written.
    pub completion_tokens: u64,
    /// Money, in the unit of the prices.
    pub money: f64,
}

impl Usage {
    /// Tokens read and written.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// Whether nothing was used.
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

/// What a run may spend over all its parts and resumptions; without a limit where nothing is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Tokens read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Money, in the unit of the prices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
}

impl Limits {
    /// Checks that limits are amounts.
    pub(crate) fn check(&self) -> Result<(), SageError> {
        match self.money {
            Some(money) if !(money >= 0.0 && money.is_finite()) => Err(SageError::Config {
                key: "synthesis.limits.money",
                problem: format!("is {money}, no amount"),
            }),
            _ => Ok(()),
        }
    }
}

/// A limit was reached.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Spent {
    /// Of tokens.
    #[error("{used} tokens are used of the {limit} of `synthesis.limits.tokens`")]
    Tokens {
        /// So far.
        used: u64,
        /// At most.
        limit: u64,
    },
    /// Of money.
    #[error("{used:.4} is spent of the {limit} of `synthesis.limits.money`")]
    Money {
        /// So far.
        used: f64,
        /// At most.
        limit: f64,
    },
}

/// The account that all parts of a run spend from, from any thread.
///
/// A caller reserves what a call may take at most, makes the call, and settles what it took. So
/// calls side by side do not overdraw the account together.
#[derive(Debug, Default)]
pub struct Ledger {
    limits: Limits,
    state: Mutex<Account>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Account {
    used: Usage,
    reserved: Usage,
}

impl Ledger {
    /// An account with nothing spent.
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Sets aside what a call may take at most, or says which limit forbids it.
    pub fn reserve(&self, most: Usage) -> Result<(), Spent> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut then = state.used;
        then += state.reserved;
        then += most;
        if let Some(limit) = self.limits.tokens
            && then.tokens() > limit
        {
            return Err(Spent::Tokens { used: state.used.tokens(), limit });
        }
        if let Some(limit) = self.limits.money
            && then.money > limit
        {
            return Err(Spent::Money { used: state.used.money, limit });
        }
        state.reserved += most;
        Ok(())
    }

    /// Gives back what was set aside, and books what the call took.
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

    /// Whether there are calls whose cost is not known yet.
    pub fn has_reservations(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.reserved.calls > 0
    }

    /// Books what was spent before: by the part of a run that a journal holds.
    pub fn book(&self, took: Usage) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).used += took;
    }

    /// What was spent so far.
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
        let ledger = Ledger::new(Limits { tokens: Some(100), money: None });
        ledger.reserve(tokens(60)).unwrap();
        assert_eq!(ledger.reserve(tokens(60)), Err(Spent::Tokens { used: 0, limit: 100 }));
        ledger.settle(tokens(60), tokens(10));
        ledger.reserve(tokens(60)).unwrap();
        ledger.settle(tokens(60), tokens(60));
        assert_eq!(ledger.reserve(tokens(60)), Err(Spent::Tokens { used: 70, limit: 100 }));
        ledger.book(tokens(30));
        assert_eq!(ledger.used().tokens(), 100);
        assert!(ledger.reserve(tokens(1)).is_err());
    }

    #[test]
    fn money_is_held_too() {
        let ledger = Ledger::new(Limits { tokens: None, money: Some(1.0) });
        let call = Usage { money: 0.6, ..Usage::default() };
        ledger.reserve(call).unwrap();
        let error = ledger.reserve(call).unwrap_err().to_string();
        assert_eq!(error, "0.0000 is spent of the 1 of `synthesis.limits.money`");
    }
}
