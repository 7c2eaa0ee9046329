//! The pipeline.
mod event;
mod file_object;
mod names;
mod object_writer;
mod previous;
mod source;
mod visit;
mod walk;
