//! The tests' workshop: worlds to tell stories in, the programs that act in them, trees to back up and eyes that compare.
//!
//! A story is an ordinary test. It asks for a [`World`] with what it [needs](Need); where something is missing (root, the real
//! Kopia) it prints `skipped: why` and ends, so that `cargo test --workspace` passes anywhere. `tests/run` builds what is missing and
//! sets [`FRONT_DOOR`], which turns every such line into a failure.
//!
//! ```no_run
//! use windlass_tests::{Listing, Need, Seed, Shape, Slack, Tree, World};
//!
//! let Some(world) = World::with(&[Need::Kopia]) else { return };
//! let tree = Tree::grow(&world.path("source"));
//! tree.file("notes.txt", b"kept");
//! let repository = world.path("repository");
//! let windlass = world.windlass(&repository, "password");
//! windlass.init(&Shape::default());
//! let made = windlass.snapshot(tree.root(), &[]);
//! let kopia = world.kopia(&repository, "password");
//! kopia.connect();
//! kopia.restore(&made.id, &world.path("restored"));
//! Listing::of(tree.root()).as_stored().assert_same(&Listing::of(&world.path("restored")), Slack::RESTORED_BY_KOPIA);
//! ```
//!
//! The tests see the built program, as a user does; they import nothing of it.

mod account;
mod clouds;
pub mod command;
mod kopia;
mod listing;
mod need;
pub mod peers;
mod seaweed;
mod seed;
mod shape;
mod tree;
mod tunnel;
mod windlass;
mod world;

pub use account::NOBODY;
pub use clouds::{Azurite, FakeGcs};
pub use kopia::{Kopia, KopiaSnapshot};
pub use listing::{Entry, Kind, Listing, Slack, stored_name};
pub use need::{FRONT_DOOR, Need, scale};
pub use seaweed::SeaweedFs;
pub use seed::Seed;
pub use shape::Shape;
pub use tree::{Attributes, ODD, SIXTIES, Tree};
pub use windlass::{Windlass, WindlassSnapshot, program, workspace};
pub use world::World;
