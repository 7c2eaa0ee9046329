//! Stories of buckets, told to a real S3 server on loopback. Where SeaweedFS is not installed they are skipped.

mod conformance;
mod credentials;
mod keeping_secrets;
mod lines;
mod locking;
mod proxy;
mod refusals;
mod world;
