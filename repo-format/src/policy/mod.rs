//! The policy room: what a repository says about how its sources are to be kept, ignored, compressed and expired.
//!
//! A repository holds at most one policy for each [`PolicyTarget`], as a manifest of type `policy`. What holds for a
//! directory is the merge of all that apply to it, the most specific first: see [`PolicySet`].

mod data;
mod effective;
mod set;
mod target;

pub use data::{
    CompressionPolicy, ErrorHandlingPolicy, FilesPolicy, MetadataCompressionPolicy, Policy, RetentionPolicy,
    SchedulingPolicy, SplitterPolicy, TimeOfDay, UploadPolicy, default_global_policy,
};
pub use effective::{
    EffectiveCompression, EffectiveErrors, EffectiveFiles, EffectivePolicy, EffectiveRetention, EffectiveUpload,
};
pub use set::{PolicyPlace, PolicySet};
pub use target::PolicyTarget;

#[cfg(test)]
mod tests;
