//! The ports of one request, with every step under the scheduler's control.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use shared::domain::access::Entitlements;
use shared::domain::catalog::PublishedCatalog;
use shared::domain::checkout::{Attempt, Buyer, Link, OpenSession, Session, SessionRequest};
use shared::domain::decide::{Needs, PaymentFor, Stored, StoredSource, Write};
use shared::domain::facts::DisputeStatus;
use shared::domain::id::{
    AttemptId, CustomerId, DisputeId, LearnerId, LinkId, PaymentIntentId, ProductId, SessionId,
    SourceId,
};
use shared::domain::rate::{Counter, Rate};
use shared::domain::shop::Owner;
use shared::domain::time::Timestamp;
use shared::ports::{
    AccessReader, CatalogReader, CheckoutStore, Clock, Commit, Ledger, LedgerError, StripeCheckout,
    StripeError, StripeReadError, StripeReader,
};
use shared::stripe::wire;

use super::world::{Mutant, World};
use crate::memory::Contents;
use crate::shop;
use crate::world::YieldOnce;

/// How a call can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Unreachable; nothing is done.
    Unreachable,
    /// It is done, and the response is lost.
    AnswerLost,
    /// It is done after the caller has given up.
    DoneLate,
    /// Stripe does it, and returns a server error that it repeats for a day.
    StripeBreaks,
}

/// All of them.
pub const FAULTS: [Fault; 4] =
    [Fault::Unreachable, Fault::AnswerLost, Fault::DoneLate, Fault::StripeBreaks];

/// One request's ports. Clones belong to the same request.
#[derive(Clone)]
pub(super) struct RequestPorts(pub(super) Arc<Mutex<World>>);

impl RequestPorts {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// Reads the table.
    async fn read<T>(&self, read: impl FnOnce(&Contents) -> T + Send) -> Result<T, LedgerError> {
        YieldOnce::default().await;
        let answer = {
            let mut world = self.world();
            if world.take_fault(&[Fault::Unreachable]).is_some() {
                Err(unavailable())
            } else {
                Ok(read(&world.contents))
            }
        };
        YieldOnce::default().await;
        answer
    }

    /// Writes to the table.
    async fn write<T: 'static>(
        &self,
        write: impl FnOnce(&mut Contents) -> T + Send + 'static,
    ) -> Result<T, LedgerError> {
        YieldOnce::default().await;
        let answer = {
            let mut world = self.world();
            match world.take_fault(&[Fault::Unreachable, Fault::AnswerLost, Fault::DoneLate]) {
                None => Ok(write(&mut world.contents)),
                Some(Fault::AnswerLost) => {
                    write(&mut world.contents);
                    Err(unavailable())
                }
                Some(Fault::DoneLate) => {
                    world.late.push(Box::new(|world| drop(write(&mut world.contents))));
                    Err(unavailable())
                }
                Some(Fault::Unreachable | Fault::StripeBreaks) => Err(unavailable()),
            }
        };
        YieldOnce::default().await;
        answer
    }

    /// Calls Stripe; the flag says that the call fails with a server error.
    async fn ask<T: 'static>(
        &self,
        act: impl FnOnce(&mut World, bool) -> Result<T, StripeError> + Send + 'static,
    ) -> Result<T, StripeError> {
        YieldOnce::default().await;
        let answer = {
            let mut world = self.world();
            match world.take_fault(&FAULTS) {
                None => act(&mut world, false),
                Some(Fault::StripeBreaks) => act(&mut world, true).and(Err(broken())),
                Some(Fault::AnswerLost) => {
                    drop(act(&mut world, false));
                    Err(StripeError::Unreachable)
                }
                Some(Fault::DoneLate) => {
                    world.late.push(Box::new(|world| drop(act(world, false))));
                    Err(StripeError::Unreachable)
                }
                Some(Fault::Unreachable) => Err(StripeError::Unreachable),
            }
        };
        YieldOnce::default().await;
        answer
    }
}

fn unavailable() -> LedgerError {
    LedgerError::Unavailable("by order of the scheduler".into())
}

const fn broken() -> StripeError {
    StripeError::Failed { status: 500 }
}

impl Ledger for RequestPorts {
    async fn load(&self, needs: Needs<'_>) -> Result<Stored, LedgerError> {
        self.read(|contents| contents.stored(needs)).await
    }

    async fn commit(&self, writes: &[Write]) -> Result<Commit, LedgerError> {
        let writes = writes.to_vec();
        self.write(move |contents| contents.commit(&writes)).await
    }
}

impl AccessReader for RequestPorts {
    async fn entitlements(&self, learner: &LearnerId) -> Result<Entitlements, LedgerError> {
        self.read(|contents| contents.entitlements(learner)).await
    }

    async fn sources(
        &self,
        sources: &[SourceId],
    ) -> Result<BTreeMap<SourceId, StoredSource>, LedgerError> {
        self.read(|contents| contents.stored_sources(sources)).await
    }
}

impl CatalogReader for RequestPorts {
    async fn catalog(&self) -> Result<Option<PublishedCatalog>, LedgerError> {
        let catalog = self.world().catalog.clone();
        self.read(|_| Some(catalog)).await
    }
}

impl CheckoutStore for RequestPorts {
    async fn buyer(&self, learner: &LearnerId, product: &ProductId) -> Result<Buyer, LedgerError> {
        let mutant = self.world().mutant;
        let buyer = self.read(|contents| contents.buyer(learner, product)).await?;
        Ok(match mutant {
            Some(Mutant::AttemptsForgotten) => Buyer { attempt: None, ..buyer },
            _ => buyer,
        })
    }

    async fn set_customer(
        &self,
        learner: &LearnerId,
        customer: &CustomerId,
        replaces: Option<&CustomerId>,
    ) -> Result<bool, LedgerError> {
        let (learner, customer) = (learner.clone(), customer.clone());
        let replaces = replaces.cloned();
        self.write(move |it| it.set_customer(&learner, &customer, replaces.as_ref())).await
    }

    async fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
    ) -> Result<bool, LedgerError> {
        let mutant = self.world().mutant;
        let (learner, product, attempt) = (learner.clone(), product.clone(), attempt.clone());
        let replaces = replaces.cloned();
        self.write(move |contents| {
            let key = (learner.clone(), product.clone());
            let on_record = contents.attempts.get(&key).cloned();
            let replaces = match (mutant, &on_record, replaces) {
                (Some(Mutant::AttemptsForgotten), _, _) => on_record,
                // It suffices that it is the same attempt, whatever was recorded of it.
                (Some(Mutant::SessionsOverlooked), Some(it), Some(read)) if it.id == read.id => {
                    on_record
                }
                (_, _, replaces) => replaces,
            };
            contents.begin_attempt(&learner, &product, &attempt, replaces.as_ref())
        })
        .await
    }

    async fn renew_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        renewed: &AttemptId,
    ) -> Result<bool, LedgerError> {
        let (learner, product) = (learner.clone(), product.clone());
        let (attempt, renewed) = (attempt.clone(), renewed.clone());
        self.write(move |it| it.renew_attempt(&learner, &product, &attempt, &renewed)).await
    }

    async fn record_session(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        session: &OpenSession,
    ) -> Result<bool, LedgerError> {
        let (learner, product) = (learner.clone(), product.clone());
        let (attempt, session) = (attempt.clone(), session.clone());
        let recorded =
            self.write(move |it| it.record_session(&learner, &product, &attempt, &session)).await;
        if matches!(recorded, Ok(false)) {
            self.world().count("session of another attempt, or recorded already");
        }
        recorded
    }

    async fn rate(&self, counter: &Counter) -> Result<Option<Rate>, LedgerError> {
        self.read(|contents| contents.rate(counter)).await
    }

    async fn begin_window(
        &self,
        counter: &Counter,
        rate: Rate,
        replaces: Option<Rate>,
    ) -> Result<bool, LedgerError> {
        let counter = counter.clone();
        self.write(move |contents| contents.begin_window(&counter, rate, replaces)).await
    }

    async fn count_in_window(
        &self,
        counter: &Counter,
        since: Timestamp,
        times_max: u32,
    ) -> Result<bool, LedgerError> {
        let counter = counter.clone();
        self.write(move |contents| contents.count_in_window(&counter, since, times_max)).await
    }

    async fn put_link(&self, id: &LinkId, link: &Link) -> Result<bool, LedgerError> {
        let (id, link) = (id.clone(), link.clone());
        self.write(move |contents| contents.put_link(&id, &link)).await
    }

    async fn link(&self, id: &LinkId) -> Result<Option<Link>, LedgerError> {
        self.read(|contents| contents.links.get(id).cloned()).await
    }
}

impl StripeReader for RequestPorts {
    /// There is only one shop here.
    async fn owner(
        &self,
        payment: &PaymentIntentId,
        _: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        let session = payment.as_str().replacen("pi_", "cs_", 1);
        let known = self.ask(move |world, _| Ok(world.stripe.session(&session).is_some())).await?;
        let owner = if known { Owner::Marked(shop().mark) } else { Owner::Unmarked };
        Ok(PaymentFor::Purchase(owner))
    }

    /// No dispute is decided twice here, so nobody asks.
    async fn dispute(
        &self,
        id: &DisputeId,
        _: Timestamp,
    ) -> Result<DisputeStatus, StripeReadError> {
        Err(StripeReadError::Unavailable(format!("{id} is decided once").into()))
    }
}

impl StripeCheckout for RequestPorts {
    async fn create_customer(
        &self,
        learner: &LearnerId,
        replaces: Option<&CustomerId>,
        other_key: Option<&AttemptId>,
        now: Timestamp,
    ) -> Result<CustomerId, StripeError> {
        let key = format!("{learner} {replaces:?} {other_key:?}");
        let id = self
            .ask(move |world, breaks| {
                world.stripe.create_customer(&key, now.unix_seconds(), breaks)
            })
            .await?;
        Ok(id.parse().unwrap())
    }

    async fn open_session(
        &self,
        request: &SessionRequest,
        attempt: &AttemptId,
        now: Timestamp,
    ) -> Result<Session, StripeError> {
        let (request, key) = (request.clone(), attempt.to_string());
        let json = self
            .ask(move |world, breaks| {
                let now = world.now;
                world.stripe.open(&request, &key, now, breaks)
            })
            .await?;
        Ok(wire::session_from_api(&json.to_string(), now).unwrap())
    }

    async fn session(
        &self,
        id: &SessionId,
        now: Timestamp,
    ) -> Result<Option<Session>, StripeError> {
        let id = id.to_string();
        let json = self
            .ask(
                move |world, breaks| {
                    if breaks { Err(broken()) } else { Ok(world.stripe.read(&id)) }
                },
            )
            .await?;
        Ok(json.map(|json| wire::session_from_api(&json.to_string(), now).unwrap()))
    }

    async fn expire_session(&self, id: &SessionId, _: Timestamp) -> Result<(), StripeError> {
        let id = id.to_string();
        let expired = self
            .ask(move |world, _| match world.mutant {
                Some(Mutant::ExpiryPretended) => Ok(()),
                _ => world.stripe.expire(&id),
            })
            .await;
        self.world().count(match &expired {
            Ok(()) => "session closed",
            Err(StripeError::Refused { .. }) => "session not closed: no longer open",
            Err(_) => "session not closed: Stripe failed",
        });
        expired
    }
}

impl Clock for RequestPorts {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.world().now)
    }

    /// A short pause ends at the next step, a longer one once enough time has passed.
    async fn sleep(&self, duration: Duration) {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        if seconds == 0 {
            return YieldOnce::default().await;
        }
        let until = self.world().now.saturating_add(seconds);
        while self.world().now < until {
            YieldOnce::default().await;
        }
    }
}
