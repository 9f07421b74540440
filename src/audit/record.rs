//! A node's record: two beta distributions that forget, one of what its answers
//! were worth and one of whether there were any.
//!
//! Only answers lower the first, and only the first can disqualify: a node that
//! is slow, or often away, keeps its pieces in the count whatever happens. That
//! a node is away is no audit at all.

/// How an audit of one share ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The share was what had been stored.
    Right,
    /// It was something else.
    Wrong,
    /// The node said that it has not got it, or that its disk has changed it.
    Missing,
    /// The node declined, again and again, while it was connected; or it gave
    /// no answer just for this share.
    Refused,
    /// No answer came in time, again and again, while it was connected.
    Silent,
}

/// What audits conclude of a node. The order is that of severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verdict {
    /// Nothing.
    #[default]
    Good,
    /// It is given no new pieces; those that it has count.
    Suspended,
    /// Its pieces do not count any more and are made anew elsewhere. Only an
    /// operator takes that back.
    Disqualified,
}

/// A beta distribution's two parameters. Each outcome takes a little of the
/// weight of all that were before.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Beta {
    good: f64,
    bad: f64,
}

impl Beta {
    /// As after so many good outcomes.
    const fn trusted(good: f64) -> Self {
        Self { good, bad: 0.0 }
    }

    fn hear(&mut self, good: f64, bad: f64, memory: f64) {
        let keep = 1.0 - 1.0 / memory;
        self.good = self.good * keep + good;
        self.bad = self.bad * keep + bad;
    }

    /// Its mean: the share of good outcomes that is to be expected.
    fn mean(self) -> f64 {
        self.good / (self.good + self.bad)
    }
}

/// Audits after which an outcome weighs a third of what it did.
const INTEGRITY_MEMORY: f64 = 500.0;
const ANSWERING_MEMORY: f64 = 20.0;
/// A node that keeps less than this share of what it was given is suspended,
/// and one that keeps less than the second is disqualified. A disk that rots at
/// one share in a hundred is far from both.
const SUSPENDED_BELOW: f64 = 0.97;
const DISQUALIFIED_BELOW: f64 = 0.95;
/// One that leaves more than this unanswered while it is connected is suspended.
const ANSWERING_BELOW: f64 = 0.6;
/// A suspension ends when the record is better than its limit by so much.
const RELIEF: f64 = 0.01;
/// What a refusal weighs beside a share that is wrong.
const REFUSAL: f64 = 0.25;

/// A node's record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    integrity: Beta,
    answering: Beta,
    /// Audits that have counted.
    pub audits: u64,
    /// Those of them that the node failed.
    pub failed: u64,
}

impl Default for Record {
    fn default() -> Self {
        let (integrity, answering) = (Beta::trusted(INTEGRITY_MEMORY), Beta::trusted(ANSWERING_MEMORY));
        Self { integrity, answering, audits: 0, failed: 0 }
    }
}

impl Record {
    /// Takes an audit in that has ended as soon as the share was asked for.
    pub fn hear(&mut self, answer: Answer) {
        match answer {
            Answer::Refused | Answer::Silent => self.leave_open(),
            _ => self.answering.hear(1.0, 0.0, ANSWERING_MEMORY),
        }
        self.settle(answer);
    }

    /// A share was not given when it was first asked for, and is asked for
    /// again. What counts for answering is the first time alone: that is the
    /// same for all shares.
    pub fn leave_open(&mut self) {
        self.answering.hear(0.0, 1.0, ANSWERING_MEMORY);
    }

    /// An audit that was left open has ended so.
    pub fn settle(&mut self, answer: Answer) {
        let (good, bad) = match answer {
            Answer::Right => (1.0, 0.0),
            Answer::Wrong | Answer::Missing => (0.0, 1.0),
            Answer::Refused => (0.0, REFUSAL),
            Answer::Silent => (0.0, 0.0),
        };
        if answer != Answer::Silent {
            self.integrity.hear(good, bad, INTEGRITY_MEMORY);
        }
        self.audits += 1;
        self.failed += u64::from(answer != Answer::Right);
    }

    /// What it is worth that a share was not given, again and again, though
    /// the node was asked and had time. One that answers most questions, and
    /// others just then, is silent on this share: that is a refusal. One that
    /// is slow with everything is slow.
    pub fn silence(&self, answered_others: bool) -> Answer {
        if answered_others && self.answering() >= ANSWERING_BELOW { Answer::Refused } else { Answer::Silent }
    }

    /// What is to be concluded, after what was before. A node that was
    /// disqualified stays so.
    pub fn verdict(&self, before: Verdict) -> Verdict {
        let relief = if before == Verdict::Suspended { RELIEF } else { 0.0 };
        if before == Verdict::Disqualified || self.integrity() < DISQUALIFIED_BELOW {
            Verdict::Disqualified
        } else if self.integrity() < SUSPENDED_BELOW + relief || self.answering() < ANSWERING_BELOW + relief {
            Verdict::Suspended
        } else {
            Verdict::Good
        }
    }

    /// The share of what it was given that the node is expected to have, from
    /// 0 to 1.
    pub fn integrity(&self) -> f64 {
        self.integrity.mean()
    }

    /// The share of questions that it is expected to answer while it is
    /// connected, from 0 to 1.
    pub fn answering(&self) -> f64 {
        self.answering.mean()
    }

    /// As whole numbers, to be stored: millionths, then counts.
    pub fn to_numbers(&self) -> [u64; 6] {
        let millionths = |value: f64| (value * 1e6).round() as u64;
        let Self { integrity, answering, audits, failed } = self;
        let betas = [integrity.good, integrity.bad, answering.good, answering.bad].map(millionths);
        [betas[0], betas[1], betas[2], betas[3], *audits, *failed]
    }

    /// The record that these numbers are of.
    pub fn from_numbers(numbers: [u64; 6]) -> Self {
        let [integrity_good, integrity_bad, answering_good, answering_bad, audits, failed] = numbers;
        let beta = |good: u64, bad: u64| Beta { good: good.max(1) as f64 / 1e6, bad: bad as f64 / 1e6 };
        let (integrity, answering) = (beta(integrity_good, integrity_bad), beta(answering_good, answering_bad));
        Self { integrity, answering, audits, failed }
    }
}

#[cfg(test)]
#[path = "tests/record.rs"]
mod tests;
