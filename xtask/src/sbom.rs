//! An SBOM for each function, in CycloneDX: what its executable is linked from.
//!
//! It is derived from `cargo tree`, which resolves a function separately, as SAM builds it.
//! Generators based on `cargo metadata` see the features of the whole workspace at once, and list
//! crates that only the local stack has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use tools::root;

/// The functions' packages and executables.
pub const FUNCTIONS: [&str; 4] = ["checkout", "entitlements", "tutor", "webhook"];

/// Lambda's target, as in `template.yaml`.
pub const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Why there is no SBOM.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// Cargo can't be run, or doesn't know the function.
    #[error("`{command}` failed, so the dependencies are unknown: {reason}")]
    Tree {
        /// The command.
        command: String,
        /// Cargo's error.
        reason: String,
    },
    /// An unexpected line of cargo's output.
    #[error("cargo tree printed a line that xtask/src/sbom.rs can't parse: {0}")]
    Line(String),
    /// `Cargo.lock` can't be read.
    #[error("Cargo.lock can't be read: {0}; `cargo generate-lockfile` writes a new one")]
    Lock(String),
    /// The SBOM can't be written.
    #[error("{path} can't be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
}

/// A package, as cargo describes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    name: String,
    version: String,
    licence: String,
    repository: String,
    is_ours: bool,
}

/// Writes each function's SBOM to `target/sbom`, and returns the files.
pub fn write_all() -> Result<Vec<PathBuf>, SbomError> {
    let folder = root().join("target/sbom");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| SbomError::Write { path, source }
    };
    std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let mut written = Vec::new();
    for function in FUNCTIONS {
        let path = folder.join(format!("{function}.cdx.json"));
        let bill = bill(function)?;
        std::fs::write(&path, format!("{bill:#}\n")).map_err(failed(&path))?;
        written.push(path);
    }
    Ok(written)
}

/// A function's SBOM: <https://cyclonedx.org/docs/1.6/json/>.
pub fn bill(function: &str) -> Result<Value, SbomError> {
    let tree = tree(function)?;
    let checksums = checksums()?;
    let mut edges: BTreeMap<Package, BTreeSet<Package>> = BTreeMap::new();
    // The packages from the function down to the previous line, one for each depth.
    let mut above: Vec<Package> = Vec::new();
    for line in tree.lines() {
        let (depth, package) = read_line(line).ok_or_else(|| SbomError::Line(line.to_owned()))?;
        above.truncate(depth);
        if let Some(parent) = above.last() {
            edges.entry(parent.clone()).or_default().insert(package.clone());
        }
        edges.entry(package.clone()).or_default();
        above.push(package);
    }
    let function = above.first().ok_or_else(|| SbomError::Line(String::new()))?;
    let libraries = edges.keys().filter(|package| *package != function);
    let components: Vec<Value> =
        libraries.map(|package| component("library", package, &checksums)).collect();
    let dependencies: Vec<Value> = edges
        .iter()
        .map(|(package, needs)| {
            let needs: Vec<String> = needs.iter().map(purl).collect();
            json!({ "ref": purl(package), "dependsOn": needs })
        })
        .collect();
    Ok(json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "pre-build" }],
            "component": component("application", function, &checksums),
            "properties": [{ "name": "cargo:target", "value": TARGET }],
        },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// Every package that is linked into the function, one per line with its depth, without build-time
/// dependencies.
fn tree(function: &str) -> Result<String, SbomError> {
    let arguments = [
        "tree",
        "--locked",
        "--package",
        function,
        "--edges",
        "normal,no-proc-macro",
        "--target",
        TARGET,
        "--prefix",
        "depth",
        "--format",
        "\t{p}\t{l}\t{r}\t",
    ];
    let failed = |reason: String| {
        let command = format!("cargo {}", arguments.join(" ").escape_debug());
        SbomError::Tree { command, reason }
    };
    let output = Command::new("cargo")
        .args(arguments)
        .current_dir(root())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A line such as `2⇥serde v1.0.229⇥MIT OR Apache-2.0⇥https://github.com/serde-rs/serde⇥ (*)`.
fn read_line(line: &str) -> Option<(usize, Package)> {
    let mut fields = line.split('\t');
    let depth = fields.next()?.parse().ok()?;
    let mut words = fields.next()?.split(' ');
    let name = words.next()?.to_owned();
    let version = words.next()?.strip_prefix('v')?.to_owned();
    // Only a local package has a path after its version.
    let is_ours = words.next().is_some();
    // Crates from before SPDX's expressions write a slash for "or".
    let licence = fields.next()?.replace('/', " OR ");
    let repository = fields.next()?.to_owned();
    Some((depth, Package { name, version, licence, repository, is_ours }))
}

/// <https://github.com/package-url/purl-spec>. Our own crates are on no registry, and must not be
/// taken for crates of the same name.
fn purl(package: &Package) -> String {
    let kind = if package.is_ours { "generic/coursegate" } else { "cargo" };
    format!("pkg:{kind}/{}@{}", package.name, package.version.replace('+', "%2B"))
}

fn component(kind: &str, package: &Package, checksums: &BTreeMap<String, String>) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "licenses": [{ "expression": package.licence }],
        "purl": purl(package),
    });
    if let Some(fields) = component.as_object_mut() {
        if let Some(checksum) = checksums.get(&format!("{} {}", package.name, package.version)) {
            let hashes = json!([{ "alg": "SHA-256", "content": checksum }]);
            fields.insert("hashes".to_owned(), hashes);
        }
        if !package.repository.is_empty() {
            let references = json!([{ "type": "vcs", "url": package.repository }]);
            fields.insert("externalReferences".to_owned(), references);
        }
    }
    component
}

/// The checksums in `Cargo.lock`, by `name version`.
fn checksums() -> Result<BTreeMap<String, String>, SbomError> {
    let failed = |error: &dyn std::fmt::Display| SbomError::Lock(error.to_string());
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).map_err(|e| failed(&e))?;
    let lock: toml::Table = lock.parse().map_err(|e| failed(&e))?;
    let packages = lock.get("package").and_then(toml::Value::as_array);
    let text = |package: &toml::Value, field| Some(package.get(field)?.as_str()?.to_owned());
    let checksums = packages.into_iter().flatten().filter_map(|package| {
        let name = format!("{} {}", text(package, "name")?, text(package, "version")?);
        Some((name, text(package, "checksum")?))
    });
    Ok(checksums.collect())
}
