//! The soloist: one writer, from its first snapshot to the last that it deletes.

use std::time::Duration;

use jiff::SignedDuration;
use windlass_mover::MoverError;
use windlass_mover::blocking::block_on;
use windlass_repo_format::policy::{Policy, PolicyTarget, RetentionPolicy};

use super::Scenario;
use crate::world::{Manner, World, Writer};

/// The first snapshot of a repository.
#[derive(Debug)]
pub(super) struct First;

impl Scenario for First {
    fn name(&self) -> &'static str {
        "first-snapshot"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.stage("first");
        world.change("a");
        world.snapshot(&world.writer(1, skewed(world))?, "a")?;
        Ok(())
    }
}

/// Snapshots of what has changed, of what has not, and of something else.
#[derive(Debug)]
pub(super) struct Next;

impl Scenario for Next {
    fn name(&self) -> &'static str {
        "next-snapshots"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        let writer = world.writer(1, skewed(world))?;
        world.stage("first");
        world.snapshot(&writer, "a")?;
        world.pass(minutes(world, 90));
        world.change("a");
        world.stage("something changed");
        world.snapshot(&writer, "a")?;
        world.pass(minutes(world, 90));
        world.stage("nothing changed");
        world.snapshot(&writer, "a")?;
        world.change("b");
        world.stage("another source");
        world.snapshot(&writer, "b")?;
        Ok(())
    }
}

/// A run that publishes what it has again and again.
#[derive(Debug)]
pub(super) struct Checkpoints;

impl Scenario for Checkpoints {
    fn name(&self) -> &'static str {
        "checkpoints"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        let writer = world.writer(1, skewed(world))?;
        for stage in ["first, with checkpoints", "next, with checkpoints"] {
            world.stage(stage);
            let every = Duration::from_secs(world.dice.below(60));
            world.snapshot_every(&writer, "a", every)?;
            world.pass(minutes(world, 30));
            world.change("a");
        }
        Ok(())
    }
}

/// Snapshots go: by retention, and because somebody deletes them.
#[derive(Debug)]
pub(super) struct DeletesAndRetention;

impl Scenario for DeletesAndRetention {
    fn name(&self) -> &'static str {
        "deletes-and-retention"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        world.change("b");
        let writer = world.writer(1, skewed(world))?;
        keep_latest(&writer, "a", 1 + world.dice.below(2) as i64)?;
        world.stage("kept");
        world.snapshot(&writer, "a")?;
        let other = world.snapshot(&writer, "b")?.id;
        for _ in 0..2 {
            world.pass(minutes(world, 60 * 30));
            world.change("a");
            world.stage("retention");
            world.snapshot(&writer, "a")?;
        }
        world.stage("delete");
        world.delete(&writer, &other.into_iter().collect::<Vec<_>>())
    }
}

/// Runs in which any call may fail, each followed by another try.
#[derive(Debug)]
pub(super) struct Mishaps;

impl Scenario for Mishaps {
    fn name(&self) -> &'static str {
        "mishaps"
    }

    fn play(&self, world: &World) -> Result<(), MoverError> {
        world.change("a");
        let manner = Manner {
            fails_once_in: 8 + world.dice.below(30) as u32,
            ..skewed(world)
        };
        for stage in ["first try", "second try", "third try", "fourth try"] {
            world.stage(stage);
            // Whoever fails is opened anew, and so is the repository.
            if let Ok(writer) = world.writer(1, manner) {
                let every = Duration::from_secs(20 + world.dice.below(200));
                let _ = world.snapshot_every(&writer, "a", every);
            }
            world.pass(minutes(world, 120));
            if world.dice.once_in(2) {
                world.change("a");
            }
        }
        Ok(())
    }
}

/// A writer whose clock may be an hour off.
pub(super) fn skewed(world: &World) -> Manner {
    Manner {
        ahead: world.skew(),
        fails_once_in: 0,
    }
}

/// Up to so many minutes.
pub(super) fn minutes(world: &World, most: u64) -> SignedDuration {
    SignedDuration::from_mins(1 + world.dice.below(most) as i64)
}

fn keep_latest(writer: &Writer, source: &str, count: i64) -> Result<(), MoverError> {
    let policy = Policy {
        retention: RetentionPolicy {
            keep_latest: Some(count),
            keep_hourly: Some(0),
            keep_daily: Some(0),
            keep_weekly: Some(0),
            keep_monthly: Some(0),
            keep_annual: Some(0),
            ..RetentionPolicy::default()
        },
        ..Policy::default()
    };
    let target = PolicyTarget::Path("u".to_owned(), "h".to_owned(), format!("/{source}"));
    let session = writer.repository.write_session()?;
    let data = serde_json::from_slice(&policy.encode()).expect("a policy encodes to JSON");
    session.put_manifest(target.labels(), data);
    block_on(session.flush())
}
