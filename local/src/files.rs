//! The project's own files, read from their folder on each request, so that an edit shows at once.

use std::path::{Component, Path, PathBuf};

/// The file at this decoded path below a folder; none if the path leaves the folder, names a hidden
/// file, or there is no such file.
pub(crate) fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path);
    let is_plain = relative.components().all(|part| match part {
        Component::Normal(name) => name.to_str().is_some_and(|name| !name.starts_with('.')),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    });
    // A symbolic link could lead out of the folder.
    let folder = folder.canonicalize().ok()?;
    let file = folder.join(relative).canonicalize().ok()?;
    (is_plain && !path.contains('\\') && file.starts_with(&folder) && file.is_file())
        .then_some(file)
}

/// A file's media type, by its extension.
#[must_use]
pub fn content_type(file: impl AsRef<Path>) -> &'static str {
    match file.as_ref().extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("txt") => "text/plain; charset=utf-8",
        Some(_) | None => "application/octet-stream",
    }
}
