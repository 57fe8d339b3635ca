//! What is told of results that are sent to a `result_url`.

use crate::output::{self, duration};
use longboat::job::{DeliveryRecord, DeliveryState};
use longboat::policy::display_url;
use longboat::queue::{Delivered, Delivery};

/// What a worker tells of a try.
pub fn told(delivery: &Delivery, outcome: &Delivered) -> String {
    let (id, attempt, url) = (delivery.id, delivery.attempt, display_url(&delivery.url));
    let failed = |reason: &str, next: &str| {
        let reason = output::plain(reason);
        format!("### Could not send the result of job {id}, attempt {attempt}\n + reason: {reason}\n + {next}\n")
    };
    match outcome {
        Delivered::Yes => format!("### Sent the result of job {id}, attempt {attempt}, to {url}\n"),
        Delivered::Again { after, reason } => failed(reason, &format!("it is sent again in {}", duration(*after))),
        Delivered::TooLate { reason } | Delivered::GivenUp { reason } => {
            failed(reason, "it is given up, and can still be read at its URL")
        }
        Delivered::Untried { .. } => String::new(),
    }
}

/// How the sending of a result stands.
pub fn standing(delivery: &DeliveryRecord) -> String {
    let times = if delivery.tries == 1 { "try" } else { "tries" };
    let (attempt, tries) = (delivery.attempt, format!("{} {times}", delivery.tries));
    let reason = delivery.reason.as_ref().map_or_else(String::new, |reason| format!(": {}", output::plain(reason)));
    let at = |time: Option<jiff::Timestamp>| time.map_or_else(String::new, |time| format!(" {time}"));
    match delivery.state {
        DeliveryState::Delivered => format!("attempt {attempt}{}, with {tries}", at(delivery.finished_at)),
        DeliveryState::GivenUp => {
            format!("given up{} with attempt {attempt}, after {tries}{reason}", at(delivery.finished_at))
        }
        DeliveryState::Pending => {
            format!("not yet with attempt {attempt}, after {tries}; next{}{reason}", at(delivery.next_at))
        }
    }
}
