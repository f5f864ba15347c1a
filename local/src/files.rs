//! The project's own files, served from their folder, so that an edit shows at once.

use std::path::{Component, Path, PathBuf};

use mime_guess::mime::TEXT;

/// The file of this decoded path below a folder; none if the path leads elsewhere or to what is
/// hidden, or there is no such file.
pub(crate) fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let relative = Path::new(path);
    let is_plain = relative.components().all(|part| match part {
        Component::Normal(name) => name.to_str().is_some_and(|name| !name.starts_with('.')),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => {
            false
        }
    });
    // A link could lead out of the folder.
    let folder = folder.canonicalize().ok()?;
    let file = folder.join(relative).canonicalize().ok()?;
    (is_plain && !path.contains('\\') && file.starts_with(&folder) && file.is_file())
        .then_some(file)
}

/// What a file is, by its name: its media type.
pub(crate) fn content_type(file: &Path) -> String {
    let kind = mime_guess::from_path(file).first_or_octet_stream();
    // Without a charset, a browser would have to guess what text is encoded in.
    if kind.type_() == TEXT { format!("{kind}; charset=utf-8") } else { kind.to_string() }
}
