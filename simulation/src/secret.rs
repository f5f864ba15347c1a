//! The signing secret in Secrets Manager, and what an instance of the function last read of it.

use shared::domain::time::Timestamp;
use shared::ports::SecretVersion;

/// How a secret starts that Stripe does not sign with.
const WRONG: &str = "whsec_wrong_";
/// An instance that has read the secret can't be made to read it again for so long.
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
    /// The secrets that count: at first, and after each change.
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

    /// Adds a version, as `PutSecretValue` does: it is current, and the current one is previous.
    pub(crate) fn put(&mut self, text: String, now: i64) {
        let new = Version { id: self.counting.len(), text, created: now };
        self.previous = Some(std::mem::replace(&mut self.current, new));
        self.changed();
    }

    /// Stores a secret that Stripe does not sign with; or where that is what is current, takes it
    /// back, as `UpdateSecretVersionStage` does: both versions change places.
    pub(crate) fn slip(&mut self, now: i64) {
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

    /// Whether none of these counted at some moment of this look.
    fn could_miss(&self, secrets: &[String], look: &Look) -> bool {
        let mut moments = self.counting[look.first_answer..=look.last_answer].iter();
        moments.any(|counting| !secrets.iter().any(|secret| counting.contains(secret)))
    }
}

/// An instance's last look at the secret: the current version; if that is recent, the previous one,
/// and the current one again.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// When it began, by the instance's clock.
    began_at: i64,
    has_failed: bool,
    /// After how many changes the first and the last version were read.
    first_answer: usize,
    last_answer: usize,
    /// What was read as current.
    current: Option<Version>,
    /// Whether the previous version was the last to be read.
    is_previous_read: bool,
    /// How often something else was current afterwards.
    moves: u32,
}

impl Look {
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

    /// The look to which this reading belongs, in vain should it not come to an answer.
    pub(crate) fn reading(last: Option<Self>, stage: &str, now: i64, changes: usize) -> Self {
        let goes_on = last.filter(|look| stage != "AWSCURRENT" || look.is_previous_read);
        let look = goes_on.unwrap_or_else(|| Self::new(now, changes));
        Self { has_failed: true, ..look }
    }

    /// The instance has something new to do: no look goes on.
    pub(crate) fn end(&mut self) {
        self.is_previous_read = false;
    }

    /// This was read, after so many changes; none if it was refused. Says whether something else
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

    /// What was read as current, if it is being read again.
    pub(crate) fn known(&self, stage: &str) -> Option<&Version> {
        self.current.as_ref().filter(|_| stage == "AWSCURRENT")
    }

    /// Whether an instance that has looked so need not know any of these secrets; and whether it has
    /// looked in vain. Neither excuses it if it could have looked again.
    pub(crate) fn excuses(
        &self,
        secrets: &[String],
        now: i64,
        secret: &StoredSecret,
    ) -> (bool, bool) {
        let is_recent = (0..REFRESH_SECONDS).contains(&(now - self.began_at));
        let may_not_know = is_recent && !self.has_failed && secret.could_miss(secrets, self);
        (may_not_know, is_recent && self.has_failed)
    }
}
