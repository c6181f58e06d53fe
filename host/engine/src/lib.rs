//! The decisions of berth, without IO.
//!
//! Owns what happens for an event: which effect comes next ([`reconcile`]), when a
//! subject's turn comes ([`queue`]), what a manifest must look like before it is applied
//! ([`manifest`]), what an observed object means ([`diagnose`]) and what is reported
//! ([`report`]). It never reads a clock, a socket or a file: times and answers are passed
//! in, so every rule is tested with plain values.
//!
//! The types of [`contract`] mirror `wit/`; those of [`effect`] are what a reconcile asks
//! of the world and what the world answers.

pub mod adapter;
pub mod canonical;
pub mod contract;
pub mod diagnose;
pub mod document;
pub mod effect;
pub mod job;
pub mod manifest;
pub mod queue;
pub mod reason;
pub mod reconcile;
pub mod report;
pub mod subject;
