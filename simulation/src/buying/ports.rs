//! The world as one request sees it, with every step of it in the scheduler's hand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use shared::domain::access::Entitlements;
use shared::domain::catalog::PublishedCatalog;
use shared::domain::checkout::{
    Attempt, Buyer, Link, NewCustomer, OpenSession, Session, SessionRequest,
};
use shared::domain::decide::{Needs, PaymentFor, Stored, StoredSource, Write};
use shared::domain::facts::DisputeStatus;
use shared::domain::id::{
    AttemptId, CustomerId, DisputeId, LearnerId, LinkId, PaymentIntentId, ProductId, SessionId,
    SourceId,
};
use shared::domain::rate::{Count, Counter, Rate};
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
    /// It can't be reached; nothing is done.
    Unreachable,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is done after the caller has given up.
    DoneLate,
    /// Stripe does it, and answers with an error of its own for a day.
    StripeBreaks,
    /// A write is refused, since a transaction is writing the same item.
    Conflict,
}

/// All of them.
pub const FAULTS: [Fault; 5] =
    [Fault::Unreachable, Fault::AnswerLost, Fault::DoneLate, Fault::StripeBreaks, Fault::Conflict];

/// What can go wrong with a write to the table.
const WRITING: [Fault; 4] =
    [Fault::Unreachable, Fault::AnswerLost, Fault::DoneLate, Fault::Conflict];
/// What can go wrong with a call to Stripe.
const ASKING: [Fault; 4] =
    [Fault::Unreachable, Fault::AnswerLost, Fault::DoneLate, Fault::StripeBreaks];

/// A step of a request, as the tally names what became of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) fails: &'static str,
    pub(super) is_last: &'static str,
}

macro_rules! calls {
    ($($name:ident $what:literal;)*) => {
        $(const $name: Call = Call {
            fails: concat!("failed: ", $what),
            is_last: concat!("killed after: ", $what),
        };)*
    };
}

calls! {
    READ "read";
    COUNT "count";
    CREATE_CUSTOMER "create customer";
    BEGIN_ATTEMPT "begin attempt";
    OPEN_SESSION "open session";
    RENEW_ATTEMPT "renew attempt";
    RECORD_SESSION "record session";
    CHECK_SESSION "check session";
    CLOSE_SESSION "close session";
    INGEST "ingest";
    OTHER "another call";
}

/// One request's ports. Clones belong to the same request.
#[derive(Clone)]
pub(super) struct RequestPorts {
    world: Arc<Mutex<World>>,
    /// What it has called last.
    last: Arc<Mutex<Call>>,
}

impl RequestPorts {
    pub(super) fn new(world: Arc<Mutex<World>>) -> Self {
        Self { world, last: Arc::new(Mutex::new(OTHER)) }
    }

    /// What has been called last.
    pub(super) fn last(&self) -> Call {
        *self.last.lock().unwrap()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Makes a call, between two pauses; what is due and possible goes wrong with it.
    async fn call<T>(
        &self,
        call: Call,
        possible: &[Fault],
        act: impl FnOnce(&mut World, Option<Fault>) -> T + Send,
    ) -> T {
        YieldOnce::default().await;
        let answer = {
            let mut world = self.world();
            let fault = world.take_fault(possible);
            if fault.is_some() {
                world.count(call.fails);
            }
            act(&mut world, fault)
        };
        *self.last.lock().unwrap() = call;
        YieldOnce::default().await;
        answer
    }

    /// Reads the table.
    async fn read<T>(&self, read: impl FnOnce(&Contents) -> T + Send) -> Result<T, LedgerError> {
        self.call(READ, &[Fault::Unreachable], |world, fault| match fault {
            None => Ok(read(&world.contents)),
            Some(_) => Err(unavailable()),
        })
        .await
    }

    /// Writes to the table.
    async fn write<T: Send + 'static>(
        &self,
        call: Call,
        write: impl FnOnce(&mut Contents) -> T + Send + 'static,
        conflict: T,
    ) -> Result<T, LedgerError> {
        self.call(call, &WRITING, |world, fault| match fault {
            None => Ok(write(&mut world.contents)),
            Some(Fault::Conflict) => Ok(conflict),
            Some(Fault::AnswerLost) => {
                write(&mut world.contents);
                Err(unavailable())
            }
            Some(Fault::DoneLate) => {
                world.late.push(Box::new(|world| drop(write(&mut world.contents))));
                Err(unavailable())
            }
            Some(Fault::Unreachable | Fault::StripeBreaks) => Err(unavailable()),
        })
        .await
    }

    /// Writes to the table under a condition.
    async fn write_if(
        &self,
        call: Call,
        write: impl FnOnce(&mut Contents) -> bool + Send + 'static,
    ) -> Result<bool, LedgerError> {
        self.write(call, write, false).await
    }

    /// Asks Stripe to do something; the flag says that it breaks.
    async fn ask<T: 'static>(
        &self,
        call: Call,
        act: impl FnOnce(&mut World, bool) -> Result<T, StripeError> + Send + 'static,
    ) -> Result<T, StripeError> {
        self.call(call, &ASKING, |world, fault| match fault {
            None => act(world, false),
            Some(Fault::StripeBreaks) => act(world, true).and(Err(broken())),
            Some(Fault::AnswerLost) => {
                drop(act(world, false));
                Err(StripeError::Unreachable)
            }
            Some(Fault::DoneLate) => {
                world.late.push(Box::new(|world| drop(act(world, false))));
                Err(StripeError::Unreachable)
            }
            Some(Fault::Unreachable | Fault::Conflict) => Err(StripeError::Unreachable),
        })
        .await
    }
}

fn unavailable() -> LedgerError {
    LedgerError::Unavailable("as the scheduler has it".into())
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
        self.write(
            INGEST,
            move |contents| contents.commit(&writes),
            Commit::Conflict(Box::default()),
        )
        .await
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
    async fn buyer(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        counter: &Counter,
    ) -> Result<Buyer, LedgerError> {
        let mutant = self.world().mutant;
        let buyer = self.read(|contents| contents.buyer(learner, product, counter)).await?;
        Ok(match mutant {
            Some(Mutant::AttemptsForgotten) => Buyer { attempt: None, ..buyer },
            _ => buyer,
        })
    }

    async fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
        customer: Option<&NewCustomer>,
    ) -> Result<bool, LedgerError> {
        let mutant = self.world().mutant;
        let (learner, product, attempt) = (learner.clone(), product.clone(), attempt.clone());
        let (replaces, mut customer) = (replaces.cloned(), customer.cloned());
        self.write_if(BEGIN_ATTEMPT, move |contents| {
            let key = (learner.clone(), product.clone());
            let on_record = contents.attempts.get(&key).cloned();
            let replaces = match (mutant, &on_record, replaces) {
                (Some(Mutant::AttemptsForgotten), _, _) => on_record,
                // It is enough that it is the same attempt, whatever was recorded of it.
                (Some(Mutant::SessionsOverlooked), Some(it), Some(read)) if it.id == read.id => {
                    on_record
                }
                (_, _, replaces) => replaces,
            };
            if let (Some(Mutant::CustomersOverwritten), Some(customer)) = (mutant, &mut customer) {
                customer.replaces = contents.customers.get(&learner).map(|it| it.id.clone());
            }
            let replaces = replaces.as_ref();
            contents.begin_attempt(&learner, &product, &attempt, replaces, customer.as_ref())
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
        let renew =
            move |it: &mut Contents| it.renew_attempt(&learner, &product, &attempt, &renewed);
        self.write_if(RENEW_ATTEMPT, renew).await
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
        let record =
            move |it: &mut Contents| it.record_session(&learner, &product, &attempt, &session);
        let mutant = self.world().mutant;
        let recorded = match mutant {
            Some(Mutant::RecordingPretended) => Ok(true),
            _ => self.write_if(RECORD_SESSION, record).await,
        };
        if matches!(recorded, Ok(false)) {
            self.world().count("session of another attempt, or recorded already");
        }
        recorded
    }

    async fn rate(&self, counter: &Counter) -> Result<Option<Rate>, LedgerError> {
        self.read(|contents| contents.rate(counter)).await
    }

    async fn count(&self, count: &Count) -> Result<bool, LedgerError> {
        let count = count.clone();
        self.write_if(COUNT, move |contents| contents.count(&count)).await
    }

    async fn put_link(&self, id: &LinkId, link: &Link) -> Result<bool, LedgerError> {
        let (id, link) = (id.clone(), link.clone());
        self.write_if(OTHER, move |contents| contents.put_link(&id, &link)).await
    }

    async fn link(&self, id: &LinkId) -> Result<Option<Link>, LedgerError> {
        self.read(|contents| contents.links.get(id).cloned()).await
    }
}

impl StripeReader for RequestPorts {
    /// There is one shop here.
    async fn owner(
        &self,
        payment: &PaymentIntentId,
        _: Timestamp,
    ) -> Result<PaymentFor, StripeReadError> {
        let session = payment.as_str().replacen("pi_", "cs_", 1);
        let known =
            self.ask(OTHER, move |world, _| Ok(world.stripe.session(&session).is_some())).await?;
        let owner = if known { Owner::Marked(shop().mark) } else { Owner::Unmarked };
        Ok(PaymentFor::Purchase(owner))
    }

    /// No dispute here is decided twice, so nobody has to ask.
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
            .ask(CREATE_CUSTOMER, move |world, breaks| {
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
            .ask(OPEN_SESSION, move |world, breaks| {
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
        let json =
            self.ask(CHECK_SESSION, move |world, breaks| {
                if breaks { Err(broken()) } else { Ok(world.stripe.read(&id)) }
            })
            .await?;
        Ok(json.map(|json| wire::session_from_api(&json.to_string(), now).unwrap()))
    }

    async fn expire_session(&self, id: &SessionId, _: Timestamp) -> Result<(), StripeError> {
        let id = id.to_string();
        let expired = self
            .ask(CLOSE_SESSION, move |world, _| match world.mutant {
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

    /// A pause is over at the next step; longer ones when so much time has passed.
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
