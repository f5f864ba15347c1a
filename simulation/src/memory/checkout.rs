//! Checkout's storage in memory, with all of the table's conditions.

use super::{
    Attempt, AttemptId, Buyer, CheckoutStore, Contents, Counter, Customer, CustomerId, LearnerId,
    LedgerError, Link, LinkId, MemoryLedger, OpenSession, ProductId, Rate, Timestamp,
};

impl Contents {
    /// Everything that a request to buy depends on.
    #[must_use]
    pub fn buyer(&self, learner: &LearnerId, product: &ProductId) -> Buyer {
        let customer = self.customers.get(learner);
        let id =
            |is_deleted| customer.filter(|it| it.is_deleted == is_deleted).map(|it| it.id.clone());
        Buyer {
            entitlements: self.entitlements(learner),
            customer: id(false),
            deleted_customer: id(true),
            attempt: self.attempts.get(&(learner.clone(), product.clone())).cloned(),
        }
    }

    /// Makes this the learner's customer, if `replaces` still is.
    pub fn set_customer(
        &mut self,
        learner: &LearnerId,
        id: &CustomerId,
        replaces: Option<&CustomerId>,
    ) -> bool {
        let is_so = self.customers.get(learner).map(|it| &it.id) == replaces;
        if is_so {
            let customer = Customer { id: id.clone(), is_deleted: false };
            self.customers.insert(learner.clone(), customer);
        }
        is_so
    }

    /// Records an attempt in place of the one that was read.
    pub fn begin_attempt(
        &mut self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
    ) -> bool {
        let key = (learner.clone(), product.clone());
        let state = |attempt: &Attempt| {
            (attempt.id.clone(), attempt.session.as_ref().map(|session| session.id.clone()))
        };
        let is_so = self.attempts.get(&key).map(state) == replaces.map(state);
        if is_so {
            self.attempts.insert(key, attempt.clone());
        }
        is_so
    }

    /// The attempt of this id, if it has no session yet.
    fn attempt_without_session(
        &mut self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
    ) -> Option<&mut Attempt> {
        let on_record = self.attempts.get_mut(&(learner.clone(), product.clone()));
        on_record.filter(|it| it.id == *attempt && it.session.is_none())
    }

    /// Gives an attempt without a session another id.
    pub fn renew_attempt(
        &mut self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        renewed: &AttemptId,
    ) -> bool {
        let attempt_without_session = self.attempt_without_session(learner, product, attempt);
        attempt_without_session.map(|it| it.id = renewed.clone()).is_some()
    }

    /// Records the session of an attempt that has none yet.
    pub fn record_session(
        &mut self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        session: &OpenSession,
    ) -> bool {
        let attempt_without_session = self.attempt_without_session(learner, product, attempt);
        attempt_without_session.map(|it| it.session = Some(session.clone())).is_some()
    }

    /// The rate window of this key.
    #[must_use]
    pub fn rate(&self, counter: &Counter) -> Option<Rate> {
        self.rates.get(counter).copied()
    }

    /// Starts a window in place of the one that was read.
    pub fn begin_window(&mut self, counter: &Counter, rate: Rate, replaces: Option<Rate>) -> bool {
        let since = |rate: Option<Rate>| rate.map(|rate| rate.since);
        let is_so = since(self.rate(counter)) == since(replaces);
        if is_so {
            self.rates.insert(counter.clone(), rate);
        }
        is_so
    }

    /// Counts one more request in the window that started then.
    pub fn count_in_window(&mut self, counter: &Counter, since: Timestamp, times_max: u32) -> bool {
        let rate = self.rates.get_mut(counter);
        let rate = rate.filter(|rate| rate.since == since && rate.times < times_max);
        rate.map(|rate| rate.times += 1).is_some()
    }

    /// Stores a new link.
    pub fn put_link(&mut self, id: &LinkId, link: &Link) -> bool {
        let is_new = !self.links.contains_key(id);
        if is_new {
            self.links.insert(id.clone(), link.clone());
        }
        is_new
    }
}

impl CheckoutStore for MemoryLedger {
    async fn buyer(&self, learner: &LearnerId, product: &ProductId) -> Result<Buyer, LedgerError> {
        Ok(self.lock().buyer(learner, product))
    }

    async fn set_customer(
        &self,
        learner: &LearnerId,
        customer: &CustomerId,
        replaces: Option<&CustomerId>,
    ) -> Result<bool, LedgerError> {
        Ok(self.lock().set_customer(learner, customer, replaces))
    }

    async fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
    ) -> Result<bool, LedgerError> {
        Ok(self.lock().begin_attempt(learner, product, attempt, replaces))
    }

    async fn renew_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        renewed: &AttemptId,
    ) -> Result<bool, LedgerError> {
        Ok(self.lock().renew_attempt(learner, product, attempt, renewed))
    }

    async fn record_session(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &AttemptId,
        session: &OpenSession,
    ) -> Result<bool, LedgerError> {
        Ok(self.lock().record_session(learner, product, attempt, session))
    }

    async fn rate(&self, counter: &Counter) -> Result<Option<Rate>, LedgerError> {
        Ok(self.lock().rate(counter))
    }

    async fn begin_window(
        &self,
        counter: &Counter,
        rate: Rate,
        replaces: Option<Rate>,
    ) -> Result<bool, LedgerError> {
        Ok(self.lock().begin_window(counter, rate, replaces))
    }

    async fn count_in_window(
        &self,
        counter: &Counter,
        since: Timestamp,
        times_max: u32,
    ) -> Result<bool, LedgerError> {
        Ok(self.lock().count_in_window(counter, since, times_max))
    }

    async fn put_link(&self, id: &LinkId, link: &Link) -> Result<bool, LedgerError> {
        Ok(self.lock().put_link(id, link))
    }

    async fn link(&self, id: &LinkId) -> Result<Option<Link>, LedgerError> {
        Ok(self.lock().links.get(id).cloned())
    }
}
