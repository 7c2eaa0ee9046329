//! Stories of Azure's and Google's buckets, told to servers on loopback that stand in for them. Where those are not
//! installed they are skipped. The contract of storages is called in `tests/conformance`.

mod lines;
#[path = "../s3/proxy.rs"]
mod proxy;
mod refusals;
mod world;
