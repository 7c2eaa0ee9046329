//! Who we are may change in a long run.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use windlass_buckets::{S3, S3Options};
use windlass_mover::storage::{PutOptions, Storage};
use windlass_tests::SeaweedFs;

use crate::world::{World, impatient, noise};

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_end_in_a_run_are_asked_for_again() {
    let Some(world) = World::with_bucket(false) else { return };
    // A program that gives credentials for some seconds, and keeps count.
    let (script, asked) = (world.home.path().join("script"), world.home.path().join("asked"));
    let (key, secret) = (SeaweedFs::ACCESS_KEY, SeaweedFs::SECRET_KEY);
    let text = format!(
        "#!/bin/sh\necho once >> {}\nuntil=$(date -u -d '+12 seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         echo \"{{\\\"Version\\\": 1, \\\"AccessKeyId\\\": \\\"{key}\\\", \\\"SecretAccessKey\\\": \\\"{secret}\\\", \
         \\\"Expiration\\\": \\\"$until\\\"}}\"\n",
        asked.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let config = world.home.path().join("config");
    std::fs::write(
        &config,
        format!("[profile short]\ncredential_process = {}\n", script.display()),
    )
    .unwrap();
    let options = S3Options {
        profile: Some("short".to_owned()),
        credentials_file: Some(world.home.path().join("none")),
        config_file: Some(config),
        ..world.options()
    };
    std::fs::write(world.home.path().join("none"), "").unwrap();
    let storage = S3::open(&options, impatient()).await.unwrap();
    let times = || std::fs::read_to_string(&asked).unwrap().lines().count();
    let first = times();
    for number in 0..16 {
        storage
            .put(&format!("p{number}").as_str().into(), noise(10), &PutOptions::default())
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let (first, all) = (first, times());
    assert!(
        first == 1 && (2..9).contains(&all),
        "asked {first} times at first and {all} times in all"
    );
}
