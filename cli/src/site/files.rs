//! The files of a folder, and what each is.

use std::path::{Path, PathBuf};

use mime_guess::mime::TEXT;

use crate::s3::Object;

/// Why a folder can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("{} can't be read: {reason}; name the folder with {option}", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        reason: std::io::Error,
        /// What names the folder.
        option: &'static str,
    },
    /// It leads elsewhere.
    #[error(
        "{} is a symbolic link, and files outside the folder are not uploaded: put the file \
         itself there",
        .0.display()
    )]
    Link(PathBuf),
    /// Its name is no text.
    #[error("{} has a name that isn't valid UTF-8: rename it", .0.display())]
    Name(PathBuf),
    /// It is no site.
    #[error("there is no index.html in {}: name the site's folder with --site", .0.display())]
    NoPage(PathBuf),
}

/// What a file is, by its name: its media type.
#[must_use]
pub fn content_type(name: &str) -> String {
    let kind = mime_guess::from_path(name).first_or_octet_stream();
    // Without a charset, a browser would have to guess what text is encoded in.
    if kind.type_() == TEXT { format!("{kind}; charset=utf-8") } else { kind.to_string() }
}

/// Each file below a folder, by its path from there, in order. What is hidden is left out.
pub(super) fn below(
    folder: &Path,
    option: &'static str,
) -> Result<Vec<(String, PathBuf)>, FileError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(current) = folders.pop() {
        let unreadable = |reason| FileError::Unreadable { path: current.clone(), reason, option };
        for entry in std::fs::read_dir(&current).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let path = entry.path();
            let kind = entry.file_type().map_err(unreadable)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if kind.is_symlink() {
                return Err(FileError::Link(path));
            }
            if kind.is_dir() {
                folders.push(path);
                continue;
            }
            let relative = path.strip_prefix(folder).ok();
            let names = relative.map(|path| path.iter().map(|name| name.to_str()));
            let names: Option<Vec<&str>> = names.and_then(Iterator::collect);
            let name = names.map(|names| names.join("/"));
            let name = name.ok_or_else(|| FileError::Name(path.clone()))?;
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// What a file holds.
pub(super) fn bytes(path: &Path, option: &'static str) -> Result<Vec<u8>, FileError> {
    let unreadable = |reason| FileError::Unreadable { path: path.to_owned(), reason, option };
    std::fs::read(path).map_err(unreadable)
}

/// The site's files, as they are to be in its bucket.
pub(super) fn read(folder: &Path, cache_control: &'static str) -> Result<Vec<Object>, FileError> {
    let mut objects = Vec::new();
    for (key, path) in below(folder, "--site")? {
        if is_of_the_site(&key) {
            let (bytes, content_type) = (bytes(&path, "--site")?, content_type(&key));
            objects.push(Object { key, bytes, content_type, cache_control });
        }
    }
    if objects.iter().any(|object| object.key == super::PAGE) {
        Ok(objects)
    } else {
        Err(FileError::NoPage(folder.to_owned()))
    }
}

/// Whether a file of the folder is for visitors: not what explains it to developers, nor the page
/// that plays somebody else's site, nor what is written anew for each deployment.
fn is_of_the_site(key: &str) -> bool {
    let is_for_developers = [".md", ".d.ts"].into_iter().any(|ending| key.ends_with(ending));
    !is_for_developers && !key.starts_with("demo/") && key != super::CONFIG
}
