//! The algorithms against numbers of verl and TRL, against the vectors of the papers, and for the
//! properties that must hold of all of them.

mod batch;
mod configuration;
mod properties;
mod trl;
mod vectors;
mod verl;
