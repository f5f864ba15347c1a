//! The signing secret in Secrets Manager, and what an instance of the function last read of it.

use shared::domain::time::Timestamp;
use shared::ports::SecretVersion;

/// The prefix of a secret that Stripe does not sign with.
const WRONG: &str = "whsec_wrong_";
/// How long an instance that has read the secret doesn't read it again.
const REFRESH_SECONDS: i64 = 10;
/// How often an instance reads both versions, if the stages move in between.
const READS_MAX: u32 = 3;

/// A version of the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    id: usize,
    text: String,
    created: i64,
}

impl From<Version> for SecretVersion {
    fn from(version: Version) -> Self {
        let created = Some(Timestamp::from_unix_seconds(version.created));
        Self { id: version.id.to_string(), text: version.text.into(), created }
    }
}

/// The secret.
pub(crate) struct StoredSecret {
    current: Version,
    previous: Option<Version>,
    /// The accepted secrets: at first, and after each change.
    counting: Vec<Vec<String>>,
}

impl StoredSecret {
    pub(crate) fn new(text: &str, now: i64) -> Self {
        let current = Version { id: 0, text: text.to_owned(), created: now };
        Self { counting: vec![vec![text.to_owned()]], current, previous: None }
    }

    /// The version at this stage.
    pub(crate) fn version(&self, stage: &str) -> Option<Version> {
        match stage {
            "AWSCURRENT" => Some(self.current.clone()),
            "AWSPREVIOUS" => self.previous.clone(),
            _ => None,
        }
    }

    /// How often it has changed.
    pub(crate) fn changes(&self) -> usize {
        self.counting.len() - 1
    }

    /// Adds a version, as `PutSecretValue` does: it becomes current, and the current one previous.
    pub(crate) fn put(&mut self, text: String, now: i64) {
        let new = Version { id: self.counting.len(), text, created: now };
        self.previous = Some(std::mem::replace(&mut self.current, new));
        self.changed();
    }

    /// Stores a secret that Stripe does not sign with; or if that is current, undoes it as
    /// `UpdateSecretVersionStage` does: the two versions change places.
    pub(crate) fn store_wrong(&mut self, now: i64) {
        match &mut self.previous {
            Some(previous) if self.current.text.starts_with(WRONG) => {
                std::mem::swap(previous, &mut self.current);
                self.changed();
            }
            _ => self.put(format!("{WRONG}{}", self.counting.len()), now),
        }
    }

    fn changed(&mut self) {
        let versions = [Some(&self.current), self.previous.as_ref()];
        self.counting.push(versions.into_iter().flatten().map(|it| it.text.clone()).collect());
    }

    /// Whether none of these was accepted at some moment of this refresh.
    fn may_have_missed(&self, secrets: &[String], refresh: &Refresh) -> bool {
        let mut moments = self.counting[refresh.first_answer..=refresh.last_answer].iter();
        moments.any(|counting| !secrets.iter().any(|secret| counting.contains(secret)))
    }
}

/// An instance's last refresh of the secret: the current version; if that is recent, the previous
/// one, and the current one again.
#[derive(Debug, Clone)]
pub(crate) struct Refresh {
    /// When it started, by the instance's clock.
    began_at: i64,
    has_failed: bool,
    /// The number of changes before the first and the last read.
    first_answer: usize,
    last_answer: usize,
    /// The value read as current.
    current: Option<Version>,
    /// Whether the previous version was read last.
    is_previous_read: bool,
    /// How often something else was current afterwards.
    moves: u32,
}

impl Refresh {
    fn new(now: i64, changes: usize) -> Self {
        Self {
            began_at: now,
            has_failed: true,
            first_answer: changes,
            last_answer: changes,
            current: None,
            is_previous_read: false,
            moves: 0,
        }
    }

    /// The refresh that this read belongs to. It counts as failed unless it completes.
    pub(crate) fn reading(last: Option<Self>, stage: &str, now: i64, changes: usize) -> Self {
        let goes_on = last.filter(|refresh| stage != "AWSCURRENT" || refresh.is_previous_read);
        let refresh = goes_on.unwrap_or_else(|| Self::new(now, changes));
        Self { has_failed: true, ..refresh }
    }

    /// The instance has a new delivery: no refresh continues.
    pub(crate) fn end(&mut self) {
        self.is_previous_read = false;
    }

    /// Records a read, after this many changes; none if it failed. Returns whether something else
    /// was current before.
    pub(crate) fn answered(
        &mut self,
        stage: &str,
        version: Option<&Version>,
        changes: usize,
    ) -> bool {
        let is_first = self.current.is_none();
        self.has_failed = false;
        self.last_answer = changes;
        if is_first {
            self.first_answer = changes;
        }
        self.is_previous_read = stage != "AWSCURRENT";
        if self.is_previous_read {
            return false;
        }
        let has_moved = !is_first && self.current.as_ref() != version;
        self.current = version.cloned();
        self.moves += u32::from(has_moved);
        self.has_failed = self.moves >= READS_MAX;
        has_moved
    }

    /// The value read as current, while it is being read again.
    pub(crate) fn known(&self, stage: &str) -> Option<&Version> {
        self.current.as_ref().filter(|_| stage == "AWSCURRENT")
    }

    /// Whether an instance with this refresh may not know any of these secrets yet, and whether its
    /// refresh failed. Neither is allowed for if it could have refreshed again.
    pub(crate) fn allowances(
        &self,
        secrets: &[String],
        now: i64,
        secret: &StoredSecret,
    ) -> (bool, bool) {
        let is_recent = (0..REFRESH_SECONDS).contains(&(now - self.began_at));
        let may_not_know = is_recent && !self.has_failed && secret.may_have_missed(secrets, self);
        (may_not_know, is_recent && self.has_failed)
    }
}
