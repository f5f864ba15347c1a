//! The project's own files, read from their folder on each request, so that an edit shows at once.

use std::path::{Component, Path, PathBuf};

use mime_guess::mime::TEXT;

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
pub(crate) fn content_type(file: &Path) -> String {
    let kind = mime_guess::from_path(file).first_or_octet_stream();
    // Without a charset, a browser would have to guess a text's encoding.
    if kind.type_() == TEXT { format!("{kind}; charset=utf-8") } else { kind.to_string() }
}
