//! The site's files: their size, and that its types match the OpenAPI document.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::slice;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use tests::world::root;

/// The budget for a page's compressed script and style.
pub(crate) const BYTES_MAX: usize = 72_000;

/// Files that no page of the site loads.
const NOT_ON_THE_SITE: [&str; 2] = ["LinkOffer", "UpgradeLink"];

fn scripts_and_styles(folder: &Path) -> Vec<PathBuf> {
    // The demo is not deployed.
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !path.ends_with("web/demo"));
    let below =
        entries.flat_map(|path| if path.is_dir() { scripts_and_styles(&path) } else { vec![path] });
    below.filter(|path| path.extension().is_some_and(|end| end == "js" || end == "css")).collect()
}

#[test]
fn the_script_and_style_of_the_whole_site_stay_under_72_kb() {
    let files = scripts_and_styles(&root().join("web"));
    assert!(files.len() > 20, "{files:?}");
    // CloudFront compresses each file separately, and tiny ones not at all:
    // https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/ServingCompressedFiles.html
    let weights = files.iter().map(|file| {
        let bytes = std::fs::read(file).unwrap();
        if bytes.len() < 1000 {
            return bytes.len();
        }
        let mut compressed = GzEncoder::new(Vec::new(), Compression::default());
        compressed.write_all(&bytes).unwrap();
        compressed.finish().unwrap().len()
    });
    let all: usize = weights.sum();
    println!("{} files, {all} bytes compressed", files.len());
    assert!(all < BYTES_MAX, "{all} bytes of script and style: leave something out");
}

/// A schema in TypeScript.
fn typescript(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap().to_owned();
    }
    if let Some(constant) = schema.get("const") {
        return constant.to_string();
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    let kind = &schema["type"];
    let kinds = kind.as_array().map_or(slice::from_ref(kind), Vec::as_slice);
    kinds.iter().map(|kind| kind_of(kind, schema)).collect::<Vec<_>>().join(" | ")
}

fn kind_of(kind: &Value, schema: &Value) -> String {
    match kind.as_str().expect("each schema has a type") {
        "integer" => "number".to_owned(),
        "array" => format!("({})[]", typescript(&schema["items"])),
        "object" => {
            let required = schema["required"].as_array().unwrap();
            let mut members = String::new();
            for (name, member) in schema["properties"].as_object().unwrap() {
                let mark = if required.iter().any(|one| one == name) { "" } else { "?" };
                write!(members, "{name}{mark}: {}; ", typescript(member)).unwrap();
            }
            format!("{{ {members}}}")
        }
        simple @ ("string" | "boolean" | "null") => simple.to_owned(),
        other => panic!("a schema of type {other}, which no answer has had yet"),
    }
}

/// Compares these types of the site with the document, and names those that differ.
fn differences(tsc: &Path, types: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("docs/openapi.yaml")).unwrap();
    let document: Value = serde_norway::from_str(&text).unwrap();
    let (mut api, mut check) = (
        String::new(),
        String::from(
            "import type * as site from './site.d.ts';\nimport type * as api from './api.d.ts';\n\
         type Same<A, B> = [A, B] extends [B, A] ? true : false;\n",
        ),
    );
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        writeln!(api, "export type {name} = {};", typescript(schema)).unwrap();
        if !NOT_ON_THE_SITE.contains(&name.as_str()) {
            writeln!(check, "export const {name}: Same<site.{name}, api.{name}> = true;").unwrap();
        }
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("site-types");
    std::fs::create_dir_all(&folder).unwrap();
    for (file, text) in [("site.d.ts", types), ("api.d.ts", &api), ("check.ts", &check)] {
        std::fs::write(folder.join(file), text).unwrap();
    }
    let mut command = Command::new(tsc);
    command.current_dir(&folder).args(["--ignoreConfig", "--noEmit", "--strict", "check.ts"]);
    let output = command.args(["--module", "esnext", "--target", "esnext"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = check.lines().collect();
    let names = said.lines().filter_map(|error| {
        let line: usize = error.strip_prefix("check.ts(")?.split_once(',')?.0.parse().ok()?;
        let (_, name) = lines[line - 1].split_once("site.")?;
        Some(name.split_once(',')?.0.to_owned())
    });
    let names: BTreeSet<String> = names.collect();
    assert_eq!(output.status.success(), names.is_empty(), "{said}");
    names
}

#[test]
fn the_site_s_types_match_the_document() {
    let Some(tsc) = tools::find_or_pass_over("tsc") else { return };
    let types = std::fs::read_to_string(root().join("web/api.d.ts")).unwrap();
    assert_eq!(differences(&tsc, &types), BTreeSet::new());
    for (of, from, to) in [
        ("Offer", "amount: number;", "amount: string;"),
        ("Courses", "free_chapters: number;", ""),
        ("Entitlements", "paid_twice: boolean;", "paid_twice?: boolean;"),
        ("Status", "| \"suspended\"", ""),
    ] {
        assert!(types.contains(from), "{from}");
        let different = differences(&tsc, &types.replacen(from, to, 1));
        assert!(different.contains(of), "{of}: {different:?}");
    }
}
