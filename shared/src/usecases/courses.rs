//! What there is, and what a learner may open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::CatalogCache;
use crate::content::{ContentLinks, Link, LinkError};
use crate::domain::access::{self, Access, Entitlements, RefundThreshold, Tier};
use crate::domain::availability::View;
use crate::domain::catalog::{Course, PublishedCatalog};
use crate::domain::decide::StoredSource;
use crate::domain::id::{CourseId, LearnerId, ProductId, SourceId};
use crate::domain::time::Timestamp;
use crate::ports::{AccessReader, CatalogReader, Clock, LedgerError};

/// What these use cases work with.
pub struct Courses<R, K, C> {
    /// Where access is read.
    pub access: R,
    /// What is on sale.
    pub catalog: CatalogCache<K>,
    /// Signs links to chapters.
    pub content: ContentLinks,
    /// How much of a purchase has to be refunded before it opens nothing.
    pub refund_threshold: RefundThreshold,
    /// The time.
    pub clock: C,
}

/// Why a question about courses has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CoursesError {
    /// The catalog has no such course.
    #[error("unknown course")]
    UnknownCourse,
    /// The course has no such chapter.
    #[error("course {course} has {chapters} chapters")]
    UnknownChapter {
        /// Which course.
        course: CourseId,
        /// How many chapters it has.
        chapters: usize,
    },
    /// The product is neither on sale nor the learner's.
    #[error("unknown product")]
    UnknownProduct,
    /// The table failed.
    #[error("the table failed")]
    Table(#[from] LedgerError),
    /// The link to a chapter could not be signed.
    #[error("no link to the chapter")]
    Link(#[from] LinkError),
}

/// A learner at one moment: what they have, and all it takes to say what follows.
pub struct LearnerState {
    published: Arc<PublishedCatalog>,
    /// What they have.
    pub entitlements: Entitlements,
    /// How much of a purchase has to be refunded before it opens nothing.
    pub threshold: RefundThreshold,
    /// When this was read.
    pub now: Timestamp,
}

impl LearnerState {
    /// The same as the domain takes it.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View {
            catalog: &self.published.catalog,
            entitlements: &self.entitlements,
            threshold: self.threshold,
            now: self.now,
        }
    }
}

/// A learner's access to a course, or to one of its chapters.
pub struct CourseAccess {
    state: LearnerState,
    /// The course.
    pub course: Course,
    /// The chapter, 1 for the first; none for the whole course.
    pub chapter: Option<usize>,
}

impl CourseAccess {
    /// Whether it is open, why, and what would open it.
    #[must_use]
    pub fn access(&self) -> Access<'_> {
        access::check(&self.state.view(), &self.course, self.chapter)
    }

    /// The learner's tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.state.view().tier()
    }
}

/// What opening a chapter leads to.
pub enum Chapter {
    /// A link to its text.
    Open {
        /// The course.
        course: CourseId,
        /// The chapter, 1 for the first.
        chapter: usize,
        /// Its text.
        link: Link,
    },
    /// The learner may not open it.
    Denied(CourseAccess),
}

/// The facts behind a learner's access to a product.
pub struct Explanation {
    /// What the learner has.
    pub state: LearnerState,
    /// The product.
    pub product: ProductId,
    /// Its sources of access, with their facts.
    pub sources: BTreeMap<SourceId, StoredSource>,
}

impl<R: AccessReader, K: CatalogReader, C: Clock> Courses<R, K, C> {
    /// The catalog on sale.
    pub async fn list_courses(&self) -> Result<Arc<PublishedCatalog>, CoursesError> {
        Ok(self.catalog.get(self.clock.now()).await?)
    }

    /// All that a learner has.
    pub async fn list_entitlements(
        &self,
        learner: &LearnerId,
    ) -> Result<LearnerState, CoursesError> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        self.learner_state(learner, published, now).await
    }

    /// Whether a learner may open a course, or one of its chapters.
    pub async fn check_access(
        &self,
        learner: &LearnerId,
        course: &CourseId,
        chapter: Option<usize>,
    ) -> Result<CourseAccess, CoursesError> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        let course = published.catalog.course(course).ok_or(CoursesError::UnknownCourse)?.clone();
        if chapter.is_some_and(|chapter| !course.has_chapter(chapter)) {
            let chapters = course.chapters.len();
            return Err(CoursesError::UnknownChapter { course: course.id, chapters });
        }
        let state = self.learner_state(learner, published, now).await?;
        let checked = CourseAccess { state, course, chapter };
        let outcome = if checked.access().granted { "granted" } else { "denied" };
        let course = &checked.course.id;
        tracing::info!(learner.id = %learner, course.id = %course, outcome, "access checked");
        Ok(checked)
    }

    /// A link to a chapter's text, for a learner who may open it.
    pub async fn open_chapter(
        &self,
        learner: &LearnerId,
        course: &CourseId,
        chapter: usize,
    ) -> Result<Chapter, CoursesError> {
        let checked = self.check_access(learner, course, Some(chapter)).await?;
        if !checked.access().granted {
            return Ok(Chapter::Denied(checked));
        }
        let course = checked.course.id;
        let link = self.content.chapter(&course, chapter, checked.state.now)?;
        Ok(Chapter::Open { course, chapter, link })
    }

    /// The facts that a learner's access to a product follows from. They are read after what the
    /// learner has, each strongly consistent: a change in between shows in its source.
    pub async fn explain(
        &self,
        learner: &LearnerId,
        product: &ProductId,
    ) -> Result<Explanation, CoursesError> {
        let now = self.clock.now();
        let published = self.catalog.get(now).await?;
        let is_on_sale = published.catalog.product(product).is_some();
        let state = self.learner_state(learner, published, now).await?;
        let of_product = state.entitlements.iter().filter(|(_, grant)| grant.product == *product);
        let sources: Vec<SourceId> = of_product.map(|(source, _)| source.clone()).collect();
        if !is_on_sale && sources.is_empty() {
            return Err(CoursesError::UnknownProduct);
        }
        let sources = self.access.sources(&sources).await?;
        Ok(Explanation { state, product: product.clone(), sources })
    }

    async fn learner_state(
        &self,
        learner: &LearnerId,
        published: Arc<PublishedCatalog>,
        now: Timestamp,
    ) -> Result<LearnerState, CoursesError> {
        let entitlements = self.access.entitlements(learner).await?;
        Ok(LearnerState { published, entitlements, threshold: self.refund_threshold, now })
    }
}
