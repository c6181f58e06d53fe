//! Between the engine's values and those of `wit/`. The only place that knows both.

pub(crate) mod from_guest;
pub(crate) mod to_guest;
