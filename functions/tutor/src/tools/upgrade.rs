//! Where a learner can buy: which offer that is, and a link to it.

use rmcp::model::CallToolResult;
use shared::domain::availability::{Availability, Openness, View};
use shared::domain::catalog::{Catalog, Course, Offer, Product};
use shared::domain::checkout::{Channel, CheckoutRequest};
use shared::domain::id::{CourseId, LearnerId, PriceKey};
use shared::http::{Problem, ProblemKind, answers};
use shared::ports::Clock;
use shared::usecases::courses::CoursesError;
use shared::usecases::sales::{SalesError, Store, Stripe};

use super::result;
use crate::App;
use crate::arguments::{GetUpgradeUrl, UpgradeKind, Wish, invalid};
use crate::failure::Failure;
use crate::sentences;

impl<C: Clock, T: Store, S: Stripe> App<C, T, S> {
    pub(super) async fn get_upgrade_url(
        &self,
        learner: LearnerId,
        asked: GetUpgradeUrl,
    ) -> Result<CallToolResult, Failure> {
        let kind = asked.kind.unwrap_or_default();
        let price = self.price(&learner, &asked.wish()?).await?;
        let published = self.courses.list_courses().await?;
        let offer = published.catalog.offer(&price).ok_or(SalesError::UnknownPrice)?;
        match kind {
            UpgradeKind::Link => {
                let link = self.sales.create_link(&learner, &price).await?;
                let said = sentences::upgrade(offer, &link.url, link.expires_at);
                Ok(result(said, &answers::link(&link)))
            }
            // The link is shown in a chat, where it may be passed on, so it must not lead to a page
            // with the customer's e-mail address and cards.
            UpgradeKind::Checkout => {
                let request = CheckoutRequest { learner, price, channel: Channel::Service };
                let session = self.sales.start_checkout(&request).await?.session;
                let said = sentences::upgrade(offer, &session.url, session.expires_at);
                Ok(result(said, &answers::checkout(&session)))
            }
        }
    }

    /// The price that sells what is wished for, if there is exactly one.
    async fn price(&self, learner: &LearnerId, wish: &Wish) -> Result<PriceKey, Failure> {
        if let Wish::Price(price) = wish {
            // What can't be a price's name is not one of the prices.
            return Ok(price.parse().ok().ok_or(SalesError::UnknownPrice)?);
        }
        let state = self.courses.list_entitlements(learner).await?;
        let wanted = Wanted::find(state.view().catalog, wish)?;
        match wanted.price(&state.view()) {
            // The event that says how the payment ended may never have arrived.
            Err(Failure::Sales(SalesError::PaymentProcessing)) => {
                for product in wanted.products(state.view().catalog) {
                    self.sales.check_awaited_for(learner, product).await?;
                }
                wanted.price(&self.courses.list_entitlements(learner).await?.view())
            }
            price => price,
        }
    }
}

/// What is wished for, in the catalog.
enum Wanted<'a> {
    Course(&'a Course),
    Product(&'a Product),
}

impl<'a> Wanted<'a> {
    fn find(catalog: &'a Catalog, wish: &Wish) -> Result<Self, CoursesError> {
        // What can't be an id is not one of the ids.
        match wish {
            Wish::Course(id) => {
                let course = id.parse().ok().and_then(|id: CourseId| catalog.course(&id));
                course.map(Self::Course).ok_or(CoursesError::UnknownCourse)
            }
            Wish::Product(id) | Wish::Price(id) => {
                let product = id.parse().ok().and_then(|id| catalog.product(&id));
                product.map(Self::Product).ok_or(CoursesError::UnknownProduct)
            }
        }
    }

    /// The products that have it.
    fn products(&self, catalog: &'a Catalog) -> Vec<&'a Product> {
        match self {
            Self::Product(product) => vec![*product],
            Self::Course(course) => {
                catalog.offers_for(&course.id).map(|offer| offer.product).collect()
            }
        }
    }

    /// The only price at which this learner can buy it now.
    fn price(&self, view: &View<'_>) -> Result<PriceKey, Failure> {
        match self {
            Self::Course(course) => match view.openness(course) {
                Openness::Free => {
                    let detail = "It is free for everybody. Carry on with the lesson.";
                    Err(Problem::new(ProblemKind::AlreadyEntitled, detail).into())
                }
                Openness::Open(None) => Err(SalesError::AlreadyEntitled.into()),
                Openness::Processing => Err(SalesError::PaymentProcessing.into()),
                Openness::Disputed => Err(SalesError::PaymentDisputed.into()),
                Openness::Open(Some(_)) | Openness::Closed => the_only(&view.offers(&course.id)),
            },
            Self::Product(product) => match view.availability(product) {
                Availability::AlreadyEntitled => Err(SalesError::AlreadyEntitled.into()),
                Availability::PaymentProcessing => Err(SalesError::PaymentProcessing.into()),
                Availability::PaymentDisputed => Err(SalesError::PaymentDisputed.into()),
                Availability::ForSale { owned } => {
                    let offers = view.catalog.offers_of(product);
                    the_only(&offers.map(|offer| (offer, owned.clone())).collect::<Vec<_>>())
                }
            },
        }
    }
}

fn the_only(offers: &[(Offer<'_>, Vec<&CourseId>)]) -> Result<PriceKey, Failure> {
    match offers {
        [] => {
            let detail = "It isn't for sale at the moment, so there is no link to send.";
            Err(Problem::new(ProblemKind::UnknownPrice, detail).into())
        }
        [(offer, _)] => Ok(offer.price.key.clone()),
        several => {
            let choices = several.iter().map(|(offer, owned)| {
                format!("price {} sells {}", offer.price.key, sentences::offer(*offer, owned))
            });
            Err(invalid(format!(
                "There are several offers. Ask the learner which one, and call again with its \
                 price: {}.",
                choices.collect::<Vec<_>>().join("; ")
            ))
            .into())
        }
    }
}
