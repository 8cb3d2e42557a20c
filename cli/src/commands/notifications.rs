//! `postern notifications`.

use super::Context;
use crate::{
    failure::Failure,
    output::{self, Column},
};
use clap::ValueEnum;
use postern_api::notification::{DeliveriesQuery, Delivery, DeliveryStatus, Notification};
use postern_types::id::DeliveryId;

/// See where people are told of events, what did not arrive, and have it tried again
///
/// Where people are told is set by documents of kind Notification: see `postern apply`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postern notifications
  postern notifications list --status queued
  postern notifications dead
  postern notifications retry ntf_01k…
  postern notifications enable ops-hook")]
pub struct NotificationsArgs {
    #[command(subcommand)]
    command: Option<NotificationsCommand>,
}

#[derive(Debug, clap::Subcommand)]
enum NotificationsCommand {
    /// List messages: those that wait, were delivered in the last week, or were given up
    List {
        /// Of one status
        #[arg(long, value_enum)]
        status: Option<Which>,
        /// To one receiver
        #[arg(long, value_name = "NAME")]
        to: Option<String>,
    },
    /// List messages that were given up in the last 30 days
    Dead,
    /// Have a message that was given up tried again
    Retry {
        /// The message: see `postern notifications dead`
        id: DeliveryId,
    },
    /// Have a receiver get messages again that had said it wants no more
    Enable {
        /// The notification's name
        name: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    Queued,
    Delivered,
    Dead,
}

/// Runs `notifications`.
pub async fn run(context: &Context, args: NotificationsArgs) -> Result<(), Failure> {
    match args.command {
        None => list(context).await,
        Some(NotificationsCommand::List { status, to }) => {
            let status = status.map(|which| match which {
                Which::Queued => DeliveryStatus::Queued,
                Which::Delivered => DeliveryStatus::Delivered,
                Which::Dead => DeliveryStatus::Dead,
            });
            deliveries(context, DeliveriesQuery { status, notification: to }).await
        }
        Some(NotificationsCommand::Dead) => {
            let status = Some(DeliveryStatus::Dead);
            deliveries(context, DeliveriesQuery { status, notification: None }).await
        }
        Some(NotificationsCommand::Retry { id }) => {
            let path = format!("notification-deliveries/{id}/retry");
            let delivery: Delivery = context.client()?.post(&path, &serde_json::json!({})).await?;
            output::one(context.format, &delivery, || format!("{id} is tried again."))
        }
        Some(NotificationsCommand::Enable { name }) => {
            let path = format!("notifications/{name}/enable");
            let notification: Notification = context.client()?.post(&path, &serde_json::json!({})).await?;
            output::one(context.format, &notification, || {
                format!(
                    "{name} gets messages again. {} that were given up: postern notifications dead",
                    notification.dead
                )
            })
        }
    }
}

async fn list(context: &Context) -> Result<(), Failure> {
    let notifications: Vec<Notification> = context.client()?.get("notifications").await?;
    let columns = [
        Column::text("NAME", |notification: &Notification| notification.name.clone()),
        Column::text("KIND", |notification| notification.kind.clone()),
        Column::text("TO", |notification| notification.to.clone()),
        Column::text("EVENTS", events),
        Column::text("STATUS", |notification| match notification.disabled_at {
            Some(at) => format!("disabled {}", output::time(at)),
            None => "on".to_owned(),
        }),
        Column::number("QUEUED", |notification| notification.queued.to_string()),
        Column::number("DEAD", |notification| notification.dead.to_string()),
    ];
    let nothing = "Nobody is told of anything. Apply a document of kind Notification.";
    output::list(context.format, &notifications, &columns, nothing)
}

fn events(notification: &Notification) -> String {
    if notification.events.is_empty() { "all".to_owned() } else { notification.events.join(" ") }
}

async fn deliveries(context: &Context, query: DeliveriesQuery) -> Result<(), Failure> {
    let deliveries: Vec<Delivery> = context.client()?.query("notification-deliveries", &query).await?;
    let columns = [
        Column::text("ID", |delivery: &Delivery| delivery.id.to_string()),
        Column::text("TO", |delivery| delivery.notification.clone()),
        Column::text("EVENT", |delivery| delivery.event.clone()),
        Column::text("ABOUT", |delivery| delivery.subject.clone()),
        Column::text("STATUS", |delivery| delivery.status.as_str().to_owned()),
        Column::number("ATTEMPTS", |delivery| delivery.attempts.to_string()),
        Column::text("NEXT", |delivery| output::maybe_time(delivery.next_at)),
        Column::text("ERROR", |delivery| output::shortened(delivery.error.as_deref().unwrap_or_default(), 80)),
    ];
    output::list(context.format, &deliveries, &columns, "There are no such messages.")
}
