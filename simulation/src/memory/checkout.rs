//! Checkout's storage in memory, with all of the table's conditions.

use super::{
    Attempt, AttemptId, Buyer, CheckoutStore, Contents, Count, Counter, Customer, LearnerId,
    LedgerError, Link, LinkId, MemoryLedger, NewCustomer, OpenSession, ProductId, Rate,
};

impl Contents {
    /// Everything that a request to buy depends on.
    #[must_use]
    pub fn buyer(&self, learner: &LearnerId, product: &ProductId, counter: &Counter) -> Buyer {
        let customer = self.customers.get(learner);
        let id =
            |is_deleted| customer.filter(|it| it.is_deleted == is_deleted).map(|it| it.id.clone());
        Buyer {
            entitlements: self.entitlements(learner),
            customer: id(false),
            deleted_customer: id(true),
            attempt: self.attempts.get(&(learner.clone(), product.clone())).cloned(),
            rate: self.rate(counter),
        }
    }

    /// Records an attempt in place of the one that was read, and a new customer in place of the one
    /// that was read.
    pub fn begin_attempt(
        &mut self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
        customer: Option<&NewCustomer>,
    ) -> bool {
        let key = (learner.clone(), product.clone());
        let state = |attempt: &Attempt| {
            (attempt.id.clone(), attempt.session.as_ref().map(|session| session.id.clone()))
        };
        let on_record = self.customers.get(learner).map(|it| &it.id);
        let is_so = self.attempts.get(&key).map(state) == replaces.map(state)
            && customer.is_none_or(|it| it.replaces.as_ref() == on_record);
        if is_so {
            self.attempts.insert(key, attempt.clone());
            if let Some(NewCustomer { id, .. }) = customer {
                let customer = Customer { id: id.clone(), is_deleted: false };
                self.customers.insert(learner.clone(), customer);
            }
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

    /// Counts one more request.
    pub fn count(&mut self, count: &Count) -> bool {
        let Count { counter, before, after, times_max } = count;
        let since = |rate: Option<Rate>| rate.map(|rate| rate.since);
        let on_record = self.rate(counter);
        if since(on_record) != since(*before) {
            return false;
        }
        let rate = match on_record.filter(|rate| rate.since == after.since) {
            None => *after,
            Some(rate) if rate.times < *times_max => Rate { times: rate.times + 1, ..rate },
            Some(_) => return false,
        };
        self.rates.insert(counter.clone(), rate);
        true
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
    async fn buyer(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        counter: &Counter,
    ) -> Result<Buyer, LedgerError> {
        Ok(self.lock().buyer(learner, product, counter))
    }

    async fn begin_attempt(
        &self,
        learner: &LearnerId,
        product: &ProductId,
        attempt: &Attempt,
        replaces: Option<&Attempt>,
        customer: Option<&NewCustomer>,
    ) -> Result<bool, LedgerError> {
        Ok(self.lock().begin_attempt(learner, product, attempt, replaces, customer))
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

    async fn count(&self, count: &Count) -> Result<bool, LedgerError> {
        Ok(self.lock().count(count))
    }

    async fn put_link(&self, id: &LinkId, link: &Link) -> Result<bool, LedgerError> {
        Ok(self.lock().put_link(id, link))
    }

    async fn link(&self, id: &LinkId) -> Result<Option<Link>, LedgerError> {
        Ok(self.lock().links.get(id).cloned())
    }
}
