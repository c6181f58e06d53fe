//! What goes wrong at the broker, and what people are told.

use berth_tests::rabbitmq::{PASSWORD, RabbitMq as Broker};
use lapin::ExchangeKind;

use super::*;

const HOLD: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_of_another_type_is_told_with_the_setting_to_change() {
    let (broker, topic) = (Broker::shared().await, topic());
    broker.client().await.exchange(&topic, ExchangeKind::Fanout).await;
    let told = receive(settings(broker.url(), &topic), 0, &[], HOLD)
        .run
        .await
        .unwrap()
        .unwrap_err();
    assert!(told.contains(&format!("declare the exchange `{topic}`")), "{told}");
    assert!(told.contains("`exchangeType`") && told.contains("fanout"), "{told}");
    assert!(!told.contains(PASSWORD), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_told_with_the_setting_to_change() {
    let (broker, topic) = (Broker::shared().await, topic());
    let client = broker.client().await;
    client.exchange(&topic, ExchangeKind::Topic).await;
    client.queue(&format!("{topic}-berth"), &topic).await;
    let other = Settings {
        quorum: quorum(3),
        ..settings(broker.url(), &topic)
    };
    let told = receive(other, 0, &[], HOLD).run.await.unwrap().unwrap_err();
    assert!(told.contains(&format!("declare the queue `{topic}-berth`")), "{told}");
    assert!(told.contains("`quorum`"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_and_not_shown() {
    let broker = Broker::shared().await;
    let url = broker.url().replace(PASSWORD, "not-the-password");
    let told = receive(settings(url, &topic()), 0, &[], HOLD)
        .run
        .await
        .unwrap()
        .unwrap_err();
    assert!(told.contains("user name and password are not accepted"), "{told}");
    assert!(!told.contains("not-the-password"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_be_in_a_file() {
    let (broker, topic) = (Broker::shared().await, topic());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{PASSWORD}\n")).unwrap();
    let mut settings = settings(broker.url().replace(PASSWORD, "wrong"), &topic);
    settings.address.password_file = Some(file.path().to_owned());
    let receiving = receive(settings, 0, &[], HOLD);
    receiving.connected().await;
    receiving.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_is_deleted_ends_the_subscription() {
    let (broker, topic) = (Broker::shared().await, topic());
    let receiving = receive(settings(broker.url(), &topic), 0, &[], HOLD);
    receiving.connected().await;
    let queue = format!("{topic}-berth");
    broker.client().await.delete(&queue).await;
    let told = receiving.run.await.unwrap().unwrap_err();
    assert!(
        told.contains(&format!("cancelled the consumer of the queue `{queue}`")),
        "{told}"
    );
}
