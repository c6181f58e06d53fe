#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use google_cloud_pubsub::model;

use super::{LONGEST_TEXT, dead_letter};

#[test]
fn a_dead_letter_is_the_message_with_its_reason() {
    let message = model::Message::new()
        .set_data("{")
        .set_attributes([("_watermill_message_uuid", "u")]);
    let long = "ä".repeat(2_000);
    let letter = dead_letter(&message, "projects/p/subscriptions/s", "EventNotJson", &long);
    assert_eq!(letter.data, message.data);
    assert_eq!(letter.attributes["_watermill_message_uuid"], "u");
    assert_eq!(letter.attributes["berth_reason"], "EventNotJson");
    assert_eq!(letter.attributes["berth_subscription"], "projects/p/subscriptions/s");
    let text = &letter.attributes["berth_message"];
    assert!(text.len() <= LONGEST_TEXT && long.starts_with(text.as_str()));
}
