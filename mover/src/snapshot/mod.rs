//! The booking hall: a snapshot is ordered here, the pipeline carries it out, and its manifest is filed.

mod checkpoints;
mod create;
mod lost;
mod opened;
mod progress;

pub(crate) use create::store_again;
pub use create::{SnapshotOptions, SnapshotReport, create};
pub use lost::{Lost, LostKind};
pub use progress::Progress;

pub use crate::pipeline::{Failure, FileKind, StageProfile};
