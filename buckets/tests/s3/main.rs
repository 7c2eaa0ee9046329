//! Stories of buckets, told to a real S3 server on loopback. Where SeaweedFS is not installed they are skipped.

mod credentials;
mod keeping_secrets;
mod lines;
mod locking;
mod long_blobs;
mod proxy;
mod refusals;
mod world;
