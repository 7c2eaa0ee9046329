//! The moving parts: engines, storages, the stages of the pipeline, and all of them together.

pub(crate) mod fetching;
mod forgetful;
pub(crate) mod pipeline;
pub(crate) mod reading;
pub(crate) mod stages;
pub(crate) mod storing;
mod workshop;
