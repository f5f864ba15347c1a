//! The resources: the catalog, and the chapters that are free for everybody.

use std::borrow::Cow;

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use shared::content::ChapterText;
use shared::domain::catalog::Course;
use shared::domain::id::CourseId;
use shared::http::{Identity, Problem, answers};
use shared::ports::Clock;
use shared::usecases::courses::CoursesError;
use shared::usecases::sales::{SalesError, Store, Stripe};

use crate::App;
use crate::failure::log;

const CATALOG: &str = "coursegate://courses";
const JSON: &str = "application/json";
const HTML: &str = "text/html";

/// The address of any chapter.
pub(crate) fn chapter_template() -> ResourceTemplate {
    let uri = format!("{CATALOG}/{{course}}/chapters/{{chapter}}");
    ResourceTemplate::new(uri, "chapter")
        .with_title("A free chapter")
        .with_description("The text of a chapter that is free for everybody, as an HTML fragment.")
        .with_mime_type(HTML)
}

fn chapter_uri(course: &CourseId, chapter: usize) -> String {
    format!("{CATALOG}/{course}/chapters/{chapter}")
}

/// The course and chapter of an address.
fn parse(uri: &str) -> Option<(CourseId, usize)> {
    let (course, chapter) =
        uri.strip_prefix(CATALOG)?.strip_prefix('/')?.split_once("/chapters/")?;
    Some((course.parse().ok()?, chapter.parse().ok()?))
}

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    /// The catalog, and each free chapter.
    pub(crate) async fn list_resources(&self) -> Result<Vec<Resource>, ErrorData> {
        let published = self.courses.list_courses().await.map_err(|error| failed(&error))?;
        let catalog = Resource::new(CATALOG, "courses")
            .with_title("Courses and prices")
            .with_description("All courses, their chapters, and what opens them.")
            .with_mime_type(JSON);
        let chapters = published.catalog.courses().iter().flat_map(free_chapters);
        Ok(std::iter::once(catalog).chain(chapters).collect())
    }

    /// What is at this address.
    pub(crate) async fn read_resource(
        &self,
        identity: &Identity,
        uri: &str,
    ) -> Result<ReadResourceResult, ErrorData> {
        self.admit_learner(identity).await.map_err(|error| refused(&error))?;
        let published = self.courses.list_courses().await.map_err(|error| failed(&error))?;
        if uri == CATALOG {
            let catalog = serde_json::to_string(&answers::courses(&published.catalog));
            let catalog = ResourceContents::text(catalog.unwrap_or_default(), uri);
            return Ok(ReadResourceResult::new(vec![catalog.with_mime_type(JSON)]));
        }
        let chapter = parse(uri).and_then(|(course, chapter)| {
            let course = published.catalog.course(&course)?;
            course.has_chapter(chapter).then_some((course, chapter))
        });
        let (course, chapter) = chapter.ok_or_else(|| {
            not_found(format!("Read {CATALOG} for the courses and their chapters."))
        })?;
        if !course.is_free(Some(chapter)) {
            let detail = "This chapter isn't free. Call check_access, and open_chapter for a link.";
            return Err(not_found(detail));
        }
        let link = self.courses.content.chapter(&course.id, chapter, self.courses.clock.now());
        let link = link.map_err(|error| failed(&CoursesError::from(error)))?;
        match self.texts.read(&link).await.map_err(|error| failed(&error))? {
            ChapterText::Html(html) => {
                let html = ResourceContents::text(html, uri).with_mime_type(HTML);
                Ok(ReadResourceResult::new(vec![html]))
            }
            ChapterText::Missing => Err(not_found("Its text isn't there. Read another chapter.")),
        }
    }
}

fn free_chapters(course: &Course) -> impl Iterator<Item = Resource> {
    let free = course.chapters.iter().zip(1..).take_while(|(_, it)| course.is_free(Some(*it)));
    free.map(|(title, chapter)| {
        let name = format!("{}-{chapter}", course.id);
        Resource::new(chapter_uri(&course.id, chapter), name)
            .with_title(format!("{}: {title}", course.title))
            .with_mime_type(HTML)
    })
}

fn not_found(detail: impl Into<Cow<'static, str>>) -> ErrorData {
    ErrorData::resource_not_found(detail, None)
}

/// A failure of our own, which is logged here.
pub(crate) fn failed(error: &(dyn std::error::Error + 'static)) -> ErrorData {
    log(error);
    let detail = "The shop can't answer right now. Please try again in a moment.";
    ErrorData::internal_error(detail, None)
}

fn refused(error: &SalesError) -> ErrorData {
    if matches!(error, SalesError::RateLimited(_)) {
        return ErrorData::invalid_request(Problem::from(error).detail().to_owned(), None);
    }
    failed(error)
}
