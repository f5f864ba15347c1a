//! The course site and the chapters, sent into a stack's buckets.
//!
//! [`deploy`] looks at everything before it sends anything, sends what is not there yet as it is to
//! be, and names what is no longer in the folders. Doing it again changes nothing.

mod chapters;
mod config;
mod files;
mod resource;

use std::collections::BTreeSet;
use std::path::PathBuf;

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use shared::ports::{CatalogReader as _, LedgerError};

pub use config::ConfigError;
pub(crate) use config::SignsIn;
pub use files::{FileError, content_type};

use crate::aws::Bucket;
use crate::deployment::{Cloud, Deployment};
use crate::s3::{Object, S3Error};

/// `CloudFront` and browsers keep what they have, and ask each time whether it is still right.
const SITE_CACHE: &str = "no-cache";
/// What was paid for is not left on a disk.
const CHAPTER_CACHE: &str = "private, no-store";
/// The site's configuration, written here.
const CONFIG: &str = "config.json";
/// The one page, which names all others: sent last.
pub(crate) const PAGE: &str = "index.html";
/// How many requests are under way at once.
const AT_ONCE: usize = 8;

/// What is to be deployed, and how.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The site's folder.
    pub site: PathBuf,
    /// The chapters' folder.
    pub content: PathBuf,
    /// The site's client at an issuer of the author's own.
    pub client_id: Option<String>,
    /// Even if a chapter of what is on sale has no file.
    pub force: bool,
    /// Delete what is no longer in the folders.
    pub delete: bool,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Deployed {
    /// How many objects were sent.
    pub sent: usize,
    /// How many were there already.
    pub unchanged: usize,
    /// How many were deleted.
    pub deleted: usize,
}

/// Why the site was not deployed, or not completely. Repeating the command continues it.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// A file can't be sent.
    #[error(transparent)]
    File(#[from] FileError),
    /// The site's sign-in configuration can't be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table failed.
    #[error("the table request for the catalog failed: {0}; check the table and your permissions")]
    Table(#[from] LedgerError),
    /// Chapters are missing or unfit.
    #[error("nothing is sent:\n- {}{}", .faults.join("\n- "), insist(*.is_forceable))]
    Faults {
        /// Each, and what to do about it.
        faults: Vec<String>,
        /// Whether force goes on in spite of them.
        is_forceable: bool,
    },
    /// A bucket failed.
    #[error(transparent)]
    S3(#[from] S3Error),
}

fn insist(is_forceable: bool) -> &'static str {
    if is_forceable { "\n--force continues without them" } else { "" }
}

/// A bucket, with what is to be in it.
struct Share<'a> {
    name: &'static str,
    bucket: Bucket,
    folder: &'a PathBuf,
    prefix: &'static str,
    wanted: Vec<Object>,
}

/// Sends what is to be there and is not, and says each thing that is done.
pub async fn deploy(
    deployment: &Deployment,
    cloud: &Cloud,
    wanted: &Wanted,
    tell: &mut impl FnMut(String),
) -> Result<Deployed, SiteError> {
    let catalog = deployment.table().catalog().await?.map(|published| published.catalog);
    let chapters = chapters::read(&wanted.content, CHAPTER_CACHE)?;
    chapters.check(catalog.as_ref(), wanted.force)?;
    for name in chapters.left_out {
        tell(format!("! {name} is left out: a chapter's file is named COURSE/NUMBER.html"));
    }
    let s3 = &cloud.aws.s3;
    let mut shares = vec![Share {
        name: "content",
        bucket: s3.bucket(&cloud.site.content_bucket).await?,
        folder: &wanted.content,
        prefix: chapters::PREFIX,
        wanted: chapters.objects,
    }];
    if let Some(hosted) = &cloud.site.hosted {
        let mut site = files::read(&wanted.site, SITE_CACHE)?;
        site.push(Object {
            key: CONFIG.to_owned(),
            bytes: config::write(deployment, cloud, wanted.client_id.as_deref(), tell).await?,
            content_type: content_type(CONFIG),
            cache_control: SITE_CACHE,
        });
        site.extend(resource::metadata(deployment, cloud, SITE_CACHE));
        site.sort_by(|one, other| one.key.cmp(&other.key));
        shares.push(Share {
            name: "site",
            bucket: s3.bucket(&hosted.bucket).await?,
            folder: &wanted.site,
            prefix: "",
            wanted: site,
        });
    } else {
        tell(
            "The stack was deployed with SiteHosting=none: only the chapters are uploaded.".into(),
        );
    }
    let mut done = Deployed::default();
    for share in shares {
        share.deploy(wanted.delete, &mut done, tell).await?;
    }
    Ok(done)
}

impl Share<'_> {
    async fn deploy(
        &self,
        deletes: bool,
        done: &mut Deployed,
        tell: &mut impl FnMut(String),
    ) -> Result<(), SiteError> {
        let there: BTreeSet<String> = self.bucket.keys(self.prefix).await?.into_iter().collect();
        let changed = self.changed(&there).await?;
        done.unchanged =
            done.unchanged.saturating_add(self.wanted.len().saturating_sub(changed.len()));
        // Whoever comes meanwhile finds all that the page names.
        let (pages, others): (Vec<&Object>, Vec<&Object>) =
            changed.into_iter().partition(|object| object.key == PAGE);
        for objects in [others, pages] {
            let sends = objects
                .into_iter()
                .map(async |object| self.bucket.put(object).await.map(|()| object.key.as_str()));
            let mut sent = stream::iter(sends).buffered(AT_ONCE);
            while let Some(key) = sent.try_next().await? {
                let mark = if there.contains(key) { '~' } else { '+' };
                tell(format!("{mark} {}: {}", self.name, self.short(key)));
                done.sent = done.sent.saturating_add(1);
            }
        }
        let keys: BTreeSet<&str> = self.wanted.iter().map(|object| object.key.as_str()).collect();
        for key in there.iter().filter(|key| !keys.contains(key.as_str())) {
            if deletes {
                self.bucket.delete(key).await?;
                done.deleted = done.deleted.saturating_add(1);
                tell(format!("- {}: {}", self.name, self.short(key)));
            } else {
                tell(format!(
                    "! {}: {} is in the bucket, but no longer in {}; --delete removes it",
                    self.name,
                    self.short(key),
                    self.folder.display()
                ));
            }
        }
        Ok(())
    }

    /// What is not there yet as it is to be.
    async fn changed(&self, there: &BTreeSet<String>) -> Result<Vec<&Object>, S3Error> {
        let looks = self.wanted.iter().map(async |object| {
            let is_there = there.contains(&object.key);
            let stored = if is_there { self.bucket.look(&object.key).await? } else { None };
            let is_right = stored.is_some_and(|stored| stored.is(object));
            Ok((!is_right).then_some(object))
        });
        let changed = stream::iter(looks).buffered(AT_ONCE);
        changed.try_filter_map(async |object| Ok(object)).try_collect().await
    }

    fn short<'k>(&self, key: &'k str) -> &'k str {
        key.strip_prefix(self.prefix).unwrap_or(key)
    }
}
