//! The tidy room: promises about the text of the tree that no compiler keeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use windlass_tests::workspace;

/// Every file that is ours: not what was built, fetched, or written by Kopia.
fn files() -> Vec<(String, PathBuf)> {
    let (mut files, mut waiting) = (Vec::new(), vec![workspace().to_owned()]);
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).expect("the workspace can be read").flatten() {
            let path = entry.path();
            let name = path
                .strip_prefix(workspace())
                .expect("it lies below")
                .to_string_lossy()
                .into_owned();
            let kind = entry.file_type().expect("an entry has a type");
            let hidden = entry.file_name().to_string_lossy().starts_with(".git");
            if hidden || name == "target" || name.starts_with("repo-format/golden/") || name.starts_with("tests/peers/")
            {
                continue;
            }
            if kind.is_dir() {
                waiting.push(path);
            } else if kind.is_file() {
                files.push((name, path));
            }
        }
    }
    assert!(files.len() > 20, "this is not the workspace");
    files.sort();
    files
}

/// The Rust files, with their text.
fn modules() -> Vec<(String, String)> {
    let modules = files().into_iter().filter(|(name, _)| name.ends_with(".rs"));
    modules
        .map(|(name, path)| (name, fs::read_to_string(path).expect("Rust is text")))
        .collect()
}

/// Lines with their place, `file:line`, for messages.
fn lines<'a>(name: &'a str, text: &'a str) -> impl Iterator<Item = (String, &'a str)> {
    text.lines()
        .enumerate()
        .map(move |(number, line)| (format!("{name}:{}", number + 1), line))
}

fn none(found: &[String]) {
    assert!(found.is_empty(), "{} places:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_module_begins_by_saying_which_room_it_is() {
    let mut found = Vec::new();
    for (name, text) in modules() {
        if !text
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("//! ") && line.len() > 20)
        {
            found.push(name);
        }
    }
    none(&found);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold the words itself.
    let words = [
        concat!("dbg", "!"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!"),
        concat!("unimplemented", "!"),
    ];
    let ignored = concat!("#[", "ignore");
    let mut found = Vec::new();
    for (name, text) in modules() {
        for (place, line) in lines(&name, &text) {
            if words.iter().chain([&ignored]).any(|word| line.contains(word)) {
                found.push(format!("{place}: {line}"));
            }
        }
    }
    none(&found);
}

#[test]
fn unsafe_code_lives_in_its_three_rooms() {
    let rooms = [
        "mover/src/io/uring/",
        "mover/src/io/uring.rs",
        "mover/src/mapped.rs",
        "repo-format/src/kernel/",
        "repo-format/src/kernel.rs",
    ];
    let word = concat!("un", "safe");
    let mut found = Vec::new();
    for (name, text) in modules() {
        if rooms.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        for (place, line) in lines(&name, &text) {
            let code = line.split("//").next().unwrap_or_default();
            let mut words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
            if words.any(|found| found == word) {
                found.push(format!("{place}: {line}"));
            }
        }
    }
    none(&found);
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    let names = ["utils", "util", "common", "helpers", "helper", "manager"];
    let mut found = Vec::new();
    for (name, _) in files() {
        let mut parts = Path::new(&name)
            .components()
            .map(|part| part.as_os_str().to_string_lossy());
        if parts.any(|part| names.contains(&part.split('.').next().unwrap_or_default())) {
            found.push(name);
        }
    }
    none(&found);
}

#[test]
fn no_two_rooms_have_one_name() {
    let mut rooms: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, text) in modules() {
        let line = text.lines().next().unwrap_or_default().trim_start_matches("//! ");
        let room = line.split(':').next().unwrap_or_default().to_lowercase();
        rooms.entry(room).or_default().push(name);
    }
    let shared = rooms.into_iter().filter(|(_, names)| names.len() > 1);
    let found: Vec<String> = shared
        .map(|(room, names)| format!("{room}: {}", names.join(", ")))
        .collect();
    none(&found);
}

/// The folders of this machine, and the hosts that its tools are told to ask, as the environment has them.
fn of_this_machine() -> Vec<String> {
    const FOLDERS: [&str; 5] = ["HOME", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "GOPATH"];
    const HOSTS: [&str; 6] = [
        "GOPROXY",
        "GOSUMDB",
        "PIP_INDEX_URL",
        "CARGO_REGISTRIES_CRATES_IO_INDEX",
        "HTTP_PROXY",
        "HTTPS_PROXY",
    ];
    let values = |names: &[&str]| -> Vec<String> { names.iter().filter_map(|name| std::env::var(name).ok()).collect() };
    let mut folders = values(&FOLDERS);
    folders.push(workspace().to_string_lossy().into_owned());
    // The examples are told of Ann, who may also be the one who runs this.
    folders.retain(|folder| folder.len() > 4 && folder.starts_with('/') && folder != "/home/ann");
    let folders = folders
        .into_iter()
        .map(|folder| format!("{}/", folder.trim_end_matches('/')));
    let hosts = values(&HOSTS);
    let hosts = hosts
        .iter()
        .flat_map(|value| value.split([',', '|', ' ']))
        .filter_map(|url| url.split_once("://"))
        .filter_map(|(_, rest)| {
            rest.rsplit_once('@')
                .map_or(rest, |(_, host)| host)
                .split(['/', ':'])
                .next()
        })
        .filter(|host| host.contains('.'))
        .map(str::to_owned);
    folders.chain(hosts).collect()
}

#[test]
fn no_text_knows_the_machine_it_was_written_on() {
    let known = of_this_machine();
    assert!(!known.is_empty(), "the workspace at least lies somewhere");
    let mut found = Vec::new();
    for (name, path) in files() {
        let Ok(text) = fs::read_to_string(path) else { continue };
        for (place, line) in lines(&name, &text) {
            if known.iter().any(|known| line.contains(known)) {
                found.push(format!("{place}: {line}"));
            }
        }
    }
    none(&found);
}

/// Who may import whom (the arrows of the style page, section 4). A crate that is not here is a new arrow: it comes alone, with its reason.
fn allowed(importer: &str, imported: &str) -> bool {
    let room = |krate: &str| -> &'static str {
        match krate {
            "windlass-repo-format" => "repo-format",
            "windlass-mover" => "mover",
            "windlass-buckets" => "buckets",
            "windlass-proto" => "proto",
            "windlass" => "cli",
            "windlass-bench" => "bench",
            "windlass-fuzz" => "fuzz",
            "windlass-faults" => "faults",
            "windlass-tests" => "tests",
            _ => "controllers",
        }
    };
    match room(importer) {
        "repo-format" | "proto" => false,
        "mover" => room(imported) == "repo-format",
        // The servers that its tests talk to are started in the tests' workshop.
        "buckets" => matches!(room(imported), "repo-format" | "mover" | "tests"),
        "controllers" => matches!(room(imported), "mover" | "buckets" | "proto" | "controllers"),
        "cli" => matches!(
            room(imported),
            "repo-format" | "mover" | "buckets" | "controllers" | "proto"
        ),
        // The peers are found and built in one place, which is the tests' workshop.
        "bench" => matches!(room(imported), "repo-format" | "mover" | "buckets" | "tests" | "bench"),
        // It asks the real Kopia, which the tests' workshop finds.
        "faults" => matches!(room(imported), "repo-format" | "mover" | "tests"),
        "fuzz" => matches!(room(imported), "repo-format" | "mover"),
        // Stories see the built program; only a simulation of the cluster may see the mover and the controllers.
        _ => matches!(room(imported), "mover" | "controllers"),
    }
}

/// For every crate of the workspace, the crates of ours that its manifest names. `cargo metadata` would say more; this needs no cargo.
fn imports() -> BTreeMap<String, Vec<String>> {
    let mut imports = BTreeMap::new();
    for (name, path) in files() {
        if !name.ends_with("/Cargo.toml") {
            continue;
        }
        let text = fs::read_to_string(path).expect("a manifest is text");
        let (mut section, mut krate, mut imported) = (String::new(), None, Vec::new());
        for line in text.lines().map(str::trim) {
            if let Some(header) = line.strip_prefix('[') {
                section = header.trim_matches(['[', ']']).to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                let key = key.trim().split('.').next().unwrap_or_default();
                if section == "package" && key == "name" {
                    krate = Some(value.trim().trim_matches('"').to_owned());
                } else if section.ends_with("dependencies") && (key == "windlass" || key.starts_with("windlass-")) {
                    imported.push(key.to_owned());
                }
            }
        }
        imports.insert(krate.unwrap_or_else(|| panic!("{name} names no package")), imported);
    }
    imports
}

#[test]
fn dependencies_follow_the_arrows() {
    let imports = imports();
    assert!(
        imports["windlass-mover"].contains(&"windlass-repo-format".to_owned()),
        "the manifests were not understood"
    );
    let mut found = Vec::new();
    for (importer, imported) in &imports {
        for imported in imported {
            if !allowed(importer, imported) {
                found.push(format!("{importer} -> {imported}"));
            }
        }
    }
    none(&found);
}

#[test]
fn the_tests_that_the_documents_name_exist() {
    let modules = modules();
    let (mut found, mut named) = (Vec::new(), 0);
    for (name, path) in files().into_iter().filter(|(name, _)| name.starts_with("docs/")) {
        let text = fs::read_to_string(path).expect("documents are text");
        for (place, line) in lines(&name, &text) {
            for code in line.split('`').skip(1).step_by(2) {
                let Some((file, test)) = code.split_once("::").filter(|(file, _)| file.ends_with(".rs")) else {
                    continue;
                };
                named += 1;
                let exists = modules.iter().any(|(module, text)| {
                    format!("/{module}").ends_with(&format!("/{file}")) && text.contains(&format!("fn {test}("))
                });
                if !exists {
                    found.push(format!("{place}: {code}"));
                }
            }
        }
    }
    assert!(named > 20, "the failure matrix names its tests");
    none(&found);
}
