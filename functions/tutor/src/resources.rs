//! The resources: the catalog, and the chapters that are free for everybody.

use rmcp::ErrorData;
use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;
use shared::content::ChapterText;
use shared::domain::catalog::Course;
use shared::domain::id::CourseId;
use shared::http::answers;
use shared::ports::Clock;
use shared::telemetry::{self, Metric};
use shared::usecases::courses::CoursesError;
use shared::usecases::sales::{Store, Stripe};

use crate::App;

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
    pub(crate) async fn read_resource(&self, uri: &str) -> Result<ReadResourceResult, ErrorData> {
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
            not_found(uri, format!("Read {CATALOG} for the courses and their chapters."))
        })?;
        if !course.is_free(Some(chapter)) {
            let detail = "This chapter isn't free. Call check_access, and open_chapter for a link.";
            return Err(not_found(uri, detail.to_owned()));
        }
        let link = self.courses.content.chapter(&course.id, chapter, self.courses.clock.now());
        let link = link.map_err(|error| failed(&CoursesError::from(error)))?;
        match self.texts.read(&link).await.map_err(|error| failed(&error))? {
            ChapterText::Html(html) => {
                let html = ResourceContents::text(html, uri).with_mime_type(HTML);
                Ok(ReadResourceResult::new(vec![html]))
            }
            ChapterText::Missing => {
                Err(not_found(uri, "The author hasn't published its text.".to_owned()))
            }
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

fn not_found(uri: &str, detail: String) -> ErrorData {
    ErrorData::resource_not_found(detail, Some(json!({ "uri": uri })))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ErrorData {
    telemetry::count(Metric::Failed);
    let error = telemetry::Chain(error);
    tracing::error!(%error, "resource not read");
    ErrorData::internal_error(
        "The shop can't answer right now. Please try again in a moment.",
        None,
    )
}
