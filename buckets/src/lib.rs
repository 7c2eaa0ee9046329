//! The room of the buckets: blobs in S3, in Google Cloud Storage and in Azure Blob Storage.
//!
//! An [`Address`] is what a user writes: `s3://bucket/prefix?endpoint=...`. [`Address::open`] makes a
//! [`Storage`](windlass_mover::storage::Storage) of it, whose contract and conformance suite are those of `mover`.
//!
//! Apart from `mover` because the clients of the providers take minutes to build, and nothing else needs them.

mod address;
mod arriving;
mod cloud;
mod keys;
mod patience;
mod s3;

pub use address::{Address, BadAddress};
pub use cloud::{Cloud, CloudOptions, Provider};
pub use patience::Patience;
pub use s3::{Encryption, S3, S3Options};
