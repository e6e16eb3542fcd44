//! What waits to be launched, and why. Source: spec 5.8.

use std::time::Duration;

use serde_json::{Value, json};

use super::decode::into_map;
use crate::domain::Timestamp;
use crate::scheduler::Reason;

/// Offers that passed through the reasons: each is charged to the first that declines it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funnel {
    /// Offers looked at.
    pub processed: u64,
    /// How many each reason declined; reasons not named declined none.
    pub declined: Vec<(Reason, u64)>,
}

impl Funnel {
    /// All ten reasons, whatever happened.
    fn json(&self) -> Value {
        let mut left = self.processed;
        let mut lines = Vec::with_capacity(Reason::ALL.len());
        for reason in Reason::ALL {
            let named = self.declined.iter().filter(|(named, _)| *named == reason);
            let declined = named.map(|(_, count)| count).sum::<u64>().min(left);
            lines.push(json!({"reason": reason.as_str(), "declined": declined, "processed": left}));
            left -= declined;
        }
        Value::Array(lines)
    }
}

/// An app with instances that wait.
#[derive(Clone, Debug)]
pub struct QueueItem {
    /// How many wait.
    pub count: u32,
    /// Role they run for.
    pub role: String,
    /// Pause left before the next launch; zero when only resources are missing.
    pub delay: Duration,
    /// Since when the longest waiting one waits.
    pub since: Timestamp,
    /// Offers looked at since then.
    pub processed_offers: u64,
    /// Of these, how many were not used.
    pub unused_offers: u64,
    /// When an offer was last declined.
    pub last_unused_at: Option<Timestamp>,
    /// When an offer was last used.
    pub last_used_at: Option<Timestamp>,
    /// The latest declined offer of each agent.
    pub last_offers: Funnel,
    /// All offers since it waits.
    pub launch_attempt: Funnel,
    /// From `wire::app::app_json`.
    pub app: Value,
}

/// One entry of `GET /v2/queue`.
pub fn item_json(item: &QueueItem) -> Value {
    let mut summary = into_map(json!({
        "processedOffersCount": item.processed_offers,
        "unusedOffersCount": item.unused_offers,
        "rejectSummaryLastOffers": item.last_offers.json(),
        "rejectSummaryLaunchAttempt": item.launch_attempt.json(),
    }));
    if let Some(at) = item.last_unused_at {
        summary.insert("lastUnusedOfferAt".to_owned(), json!(at.to_string()));
    }
    if let Some(at) = item.last_used_at {
        summary.insert("lastUsedOfferAt".to_owned(), json!(at.to_string()));
    }
    json!({
        "count": item.count,
        "role": item.role,
        "delay": {
            // Rounded up: a client that waits this long finds the pause over.
            "timeLeftSeconds": u64::try_from(item.delay.as_millis().div_ceil(1000)).unwrap_or(u64::MAX),
            "overdue": item.delay.is_zero(),
        },
        "since": item.since.to_string(),
        "processedOffersSummary": summary,
        "app": item.app,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(delay: Duration, last_offers: Funnel) -> Value {
        item_json(&QueueItem {
            count: 2,
            role: "*".to_owned(),
            delay,
            since: Timestamp::from_millis(0),
            processed_offers: 3,
            unused_offers: 3,
            last_unused_at: Some(Timestamp::from_millis(1500)),
            last_used_at: None,
            last_offers,
            launch_attempt: Funnel::default(),
            app: json!({"id": "/web"}),
        })
    }

    #[test]
    fn every_reason_is_listed_and_each_sees_what_the_one_before_left() {
        let funnel = Funnel {
            processed: 10,
            declined: vec![(Reason::InsufficientMemory, 3), (Reason::InsufficientCpus, 4)],
        };
        let item = item(Duration::ZERO, funnel);
        let summary = &item["processedOffersSummary"];
        let lines = summary["rejectSummaryLastOffers"].as_array().unwrap();
        let line = |at: usize| {
            (
                lines[at]["reason"].as_str().unwrap(),
                lines[at]["declined"].as_u64().unwrap(),
                lines[at]["processed"].as_u64().unwrap(),
            )
        };
        assert_eq!(lines.len(), 10);
        assert_eq!(line(0), ("UnfulfilledRole", 0, 10));
        assert_eq!(line(4), ("InsufficientCpus", 4, 10));
        assert_eq!(line(5), ("InsufficientMemory", 3, 6));
        assert_eq!(line(9), ("DeclinedScarceResources", 0, 3));
        assert_eq!(summary["rejectSummaryLaunchAttempt"].as_array().unwrap().len(), 10);
        assert_eq!(summary["lastUnusedOfferAt"], "1970-01-01T00:00:01.500Z");
        assert!(summary.get("lastUsedOfferAt").is_none());
    }

    #[test]
    fn overdue_means_that_no_pause_is_left() {
        assert_eq!(
            item(Duration::ZERO, Funnel::default())["delay"],
            json!({"timeLeftSeconds": 0, "overdue": true})
        );
        let waits = item(Duration::from_millis(1200), Funnel::default());
        assert_eq!(waits["delay"], json!({"timeLeftSeconds": 2, "overdue": false}));
    }
}
