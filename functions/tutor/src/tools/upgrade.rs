//! Where a learner can buy: which offer that is, and its address.

use rmcp::model::CallToolResult;
use shared::domain::access::{Access, Reason};
use shared::domain::catalog::Offer;
use shared::domain::checkout::{Channel, CheckoutRequest};
use shared::domain::id::{LearnerId, PriceKey, ProductId};
use shared::http::{Problem, ProblemKind, answers};
use shared::ports::Clock;
use shared::usecases::courses::CoursesError;
use shared::usecases::sales::{SalesError, Store, Stripe};

use super::{course, result};
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
        let kind = asked.kind;
        let price = self.price(&learner, asked.wish()?).await?;
        let published = self.courses.list_courses().await?;
        let offer = published.catalog.offer(&price).ok_or(SalesError::UnknownPrice)?;
        match kind {
            UpgradeKind::Link => {
                let link = self.sales.create_link(&learner, &price).await?;
                Ok(result(sentences::upgrade(offer, link.expires_at), &answers::link(&link)))
            }
            // The address is shown in a chat, where it may be passed on, so it must not lead to a
            // page with the customer's e-mail address and cards.
            UpgradeKind::Checkout => {
                let request = CheckoutRequest { learner, price, channel: Channel::Service };
                let session = self.sales.start_checkout(&request).await?.session;
                let said = sentences::upgrade(offer, session.expires_at);
                Ok(result(said, &answers::checkout(&session)))
            }
        }
    }

    /// The price that sells what is wished for, if there is exactly one.
    async fn price(&self, learner: &LearnerId, wish: Wish) -> Result<PriceKey, Failure> {
        match wish {
            // What can't be a price's name is not one of the prices.
            Wish::Price(price) => Ok(price.parse().ok().ok_or(SalesError::UnknownPrice)?),
            Wish::Product(product) => {
                let product: ProductId =
                    product.parse().ok().ok_or(CoursesError::UnknownProduct)?;
                let published = self.courses.list_courses().await?;
                let product = published.catalog.product(&product);
                let product = product.ok_or(CoursesError::UnknownProduct)?;
                the_only(&published.catalog.offers_of(product).collect::<Vec<_>>())
            }
            Wish::Course(id) => {
                let checked = self.courses.check_access(learner, &course(&id)?, None).await?;
                let access = checked.access();
                let offers: Vec<Offer<'_>> = access.offers.iter().map(|(it, _)| *it).collect();
                refuse_unless_for_sale(&access)?;
                the_only(&offers)
            }
        }
    }
}

/// Refuses a course that is open to the learner for good, or whose payment isn't decided.
fn refuse_unless_for_sale(access: &Access<'_>) -> Result<(), SalesError> {
    if !access.offers.is_empty() {
        return Ok(());
    }
    match access.reason {
        Reason::FreeCourse | Reason::FreeChapter | Reason::Purchased => {
            Err(SalesError::AlreadyEntitled)
        }
        Reason::PaymentProcessing => Err(SalesError::PaymentProcessing),
        Reason::PaymentDisputed => Err(SalesError::PaymentDisputed),
        Reason::PaymentRequired => Ok(()),
    }
}

fn the_only(offers: &[Offer<'_>]) -> Result<PriceKey, Failure> {
    match offers {
        [] => {
            let detail = "It isn't for sale at the moment, so there is no address to send.";
            Err(Problem::new(ProblemKind::UnknownPrice, detail).into())
        }
        [offer] => Ok(offer.price.key.clone()),
        several => {
            let several: Vec<String> = several.iter().map(|it| choice(*it)).collect();
            let detail = format!(
                "There are several offers. Ask the learner which one, and call again with its price: \
                 {}.",
                several.join("; ")
            );
            Err(invalid(detail).into())
        }
    }
}

fn choice(offer: Offer<'_>) -> String {
    let Offer { product, price } = offer;
    format!("price {} sells “{}” for {}", price.key, product.name, price.money)
}
