//! The tools: what a model reads about each, and what each does.

mod definition;
mod upgrade;

use rmcp::model::{CallToolResult, ContentBlock, JsonObject};
use serde::Serialize;
use serde_json::json;
use shared::content::{ChapterText, Link};
use shared::domain::access::Reason;
use shared::domain::id::{CourseId, LearnerId};
use shared::http::{ANSWER_WITHIN, Identity, Problem, ProblemKind, answers};
use shared::ports::Clock;
use shared::usecases::courses::{Chapter, CourseAccess, CoursesError};
use shared::usecases::sales::{SalesError, Store, Stripe};

use crate::App;
use crate::arguments::{Call, CheckAccess, ExplainAccess, OpenChapter};
use crate::failure::{Failure, TooSlow};
use crate::sentences;

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// What there is, and what it costs.
    ListCourses,
    /// Whether a learner may open a course or a chapter.
    CheckAccess,
    /// A learner's tier, and what they have.
    GetTier,
    /// A link to buy.
    GetUpgradeUrl,
    /// The facts behind a learner's access.
    ExplainAccess,
    /// A link to a chapter's text.
    OpenChapter,
    /// The page with a learner's purchases.
    GetAccountUrl,
}

impl Tool {
    /// Every tool, in the order in which they are listed.
    pub const ALL: [Self; 7] = [
        Self::ListCourses,
        Self::CheckAccess,
        Self::GetTier,
        Self::GetUpgradeUrl,
        Self::ExplainAccess,
        Self::OpenChapter,
        Self::GetAccountUrl,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ListCourses => "list_courses",
            Self::CheckAccess => "check_access",
            Self::GetTier => "get_tier",
            Self::GetUpgradeUrl => "get_upgrade_url",
            Self::ExplainAccess => "explain_access",
            Self::OpenChapter => "open_chapter",
            Self::GetAccountUrl => "get_account_url",
        }
    }

    /// The tool of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// Whether it is about one learner.
    const fn is_about_a_learner(self) -> bool {
        match self {
            Self::CheckAccess
            | Self::GetTier
            | Self::GetUpgradeUrl
            | Self::ExplainAccess
            | Self::OpenChapter => true,
            Self::ListCourses | Self::GetAccountUrl => false,
        }
    }
}

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    /// Calls a tool, and logs how it went.
    pub(crate) async fn call(
        &self,
        tool: Tool,
        identity: &Identity,
        arguments: JsonObject,
    ) -> CallToolResult {
        let mut call = Call::new(identity, arguments);
        let answering = async {
            tokio::select! {
                biased;
                answer = self.answer(tool, &mut call) => answer,
                () = self.sales.clock.sleep(ANSWER_WITHIN) => Err(Failure::TooSlow(TooSlow)),
            }
        };
        let (outcome, result) = match answering.await {
            Ok(result) => ("answered", result),
            Err(failure) => {
                let (kind, result) = failure.result();
                (kind.name(), result)
            }
        };
        let learner = call.learner.as_ref().map(LearnerId::as_str);
        tracing::info!(tool = tool.name(), learner.id = learner, outcome, "tool called");
        result
    }

    async fn answer(&self, tool: Tool, call: &mut Call<'_>) -> Result<CallToolResult, Failure> {
        match tool {
            Tool::ListCourses => {
                self.admit_learner(call.identity()).await?;
                call.takes_nothing()?;
                self.list_courses().await
            }
            Tool::CheckAccess => {
                let learner = self.admit(call).await?;
                self.check_access(&learner, &call.parse()?).await
            }
            Tool::GetTier => {
                let learner = self.admit(call).await?;
                call.takes_nothing()?;
                self.get_tier(&learner).await
            }
            Tool::GetUpgradeUrl => {
                let learner = self.admit(call).await?;
                self.get_upgrade_url(learner, call.parse()?).await
            }
            Tool::ExplainAccess => {
                let learner = self.admit(call).await?;
                self.explain_access(&learner, &call.parse()?).await
            }
            Tool::OpenChapter => {
                let learner = self.admit(call).await?;
                self.open_chapter(&learner, &call.parse()?).await
            }
            Tool::GetAccountUrl => {
                call.takes_nothing()?;
                let url = format!("{}/purchases", self.sales.site_origin);
                Ok(result(sentences::account(&url), &json!({ "url": url })))
            }
        }
    }

    /// The learner that a call is about, unless there were too many calls about them.
    async fn admit(&self, call: &mut Call<'_>) -> Result<LearnerId, Failure> {
        let learner = call.take_learner()?;
        self.sales.admit_tutor(&learner).await?;
        Ok(learner)
    }

    /// Counts what isn't about a learner, if it is a learner who asks. Services are trusted with it.
    pub(crate) async fn admit_learner(&self, identity: &Identity) -> Result<(), SalesError> {
        match identity {
            Identity::Learner(learner) => self.sales.admit_tutor(learner).await,
            Identity::Service => Ok(()),
        }
    }

    async fn list_courses(&self) -> Result<CallToolResult, Failure> {
        let published = self.courses.list_courses().await?;
        let catalog = &published.catalog;
        Ok(result(sentences::courses(catalog), &answers::courses(catalog)))
    }

    async fn check_access(
        &self,
        learner: &LearnerId,
        asked: &CheckAccess,
    ) -> Result<CallToolResult, Failure> {
        let course = course(&asked.course)?;
        let chapter = asked.chapter.as_ref().map(|chapter| chapter.0);
        let checked = self.courses.check_access(learner, &course, chapter).await?;
        let access = checked.access();
        Ok(result(sentences::access(&checked, &access), &answers::access(&checked, &access)))
    }

    async fn get_tier(&self, learner: &LearnerId) -> Result<CallToolResult, Failure> {
        let state = self.courses.list_entitlements(learner).await?;
        let view = state.view();
        Ok(result(sentences::tier(&view), &answers::entitlements(learner, &view)))
    }

    async fn explain_access(
        &self,
        learner: &LearnerId,
        asked: &ExplainAccess,
    ) -> Result<CallToolResult, Failure> {
        let product = asked.product.parse().ok().ok_or(CoursesError::UnknownProduct)?;
        let explanation = self.courses.explain(learner, &product).await?;
        let answer = answers::why(learner, &explanation);
        Ok(result(sentences::why(&explanation, &answer), &answer))
    }

    /// The text behind a link.
    async fn text(&self, link: &Link) -> Result<String, Failure> {
        match self.texts.read(link).await.map_err(Failure::Text)? {
            ChapterText::Html(html) => Ok(html),
            ChapterText::Missing => {
                let detail = "Its text isn't there. Carry on with another chapter.";
                Err(Problem::new(ProblemKind::UnknownChapter, detail).into())
            }
        }
    }

    async fn open_chapter(
        &self,
        learner: &LearnerId,
        asked: &OpenChapter,
    ) -> Result<CallToolResult, Failure> {
        let course = course(&asked.course)?;
        match self.courses.open_chapter(learner, &course, asked.chapter.0).await? {
            Chapter::Open { course, chapter, link } => {
                let answer = answers::chapter(&course, chapter, &link);
                let mut opened = result(sentences::chapter(&link), &answer);
                if asked.text {
                    opened.content.push(ContentBlock::text(self.text(&link).await?));
                }
                Ok(opened)
            }
            Chapter::Denied(checked) => Err(denied(&checked)),
        }
    }
}

/// A result: a sentence for the learner, and the answer, also as text for clients that read no
/// structured content.
fn result(sentence: String, answer: &impl Serialize) -> CallToolResult {
    // The answers have no keys that JSON can't have.
    let answer = serde_json::to_value(answer).unwrap_or_default();
    let content = vec![ContentBlock::text(sentence), ContentBlock::text(answer.to_string())];
    let mut result = CallToolResult::success(content);
    result.structured_content = Some(answer);
    result
}

fn course(text: &str) -> Result<CourseId, CoursesError> {
    // What can't be a course's id is not one of the courses.
    text.parse().ok().ok_or(CoursesError::UnknownCourse)
}

fn denied(checked: &CourseAccess) -> Failure {
    let access = checked.access();
    let next = match access.reason {
        Reason::PaymentRequired if access.offers.is_empty() => {
            "It isn't for sale at the moment, so there is no link to send."
        }
        Reason::PaymentProcessing => {
            "Tell the learner that it opens as soon as the bank confirms the payment, and call \
             check_access later."
        }
        Reason::PaymentDisputed => {
            "It opens again if the shop wins the dispute. There is no link to send."
        }
        Reason::PaymentRequired | Reason::FreeCourse | Reason::FreeChapter | Reason::Purchased => {
            "Call get_upgrade_url with the course and send the learner the link, or carry on \
             with a chapter that is open."
        }
    };
    let said = sentences::access(checked, &access);
    Problem::new(ProblemKind::AccessDenied, format!("{said} {next}")).into()
}
