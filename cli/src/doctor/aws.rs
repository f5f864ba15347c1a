//! The stack, the table, the alarms, the site's files.

use aws_sdk_dynamodb::types::{
    BillingMode, PointInTimeRecoveryStatus, TableStatus, TimeToLiveStatus,
};

use super::{Finding, Patient, WHY_LOCAL};
use crate::deployment::reason;
use crate::site;

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn stack(patient: &Patient<'_>) -> Finding {
    let Some(cloud) = &patient.deployment.cloud else { return Finding::Skipped(WHY_LOCAL) };
    let name = &patient.deployment.name;
    if !matches!(cloud.status.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
        return Finding::bad(
            format!("{name} is in {}", cloud.status),
            "check the stack's events in CloudFormation; once the stack is stable, deploy again",
        );
    }
    if cloud.version != VERSION {
        return Finding::bad(
            format!("{name} runs version {}, but this program is {VERSION}", cloud.version),
            "deploy this version (`sam build`, `sam deploy`), or use that version of this program",
        );
    }
    Finding::good(format!("{}, version {VERSION}", cloud.status))
}

pub(super) async fn table(patient: &Patient<'_>) -> Finding {
    let deployment = patient.deployment;
    let client = &deployment.dynamodb;
    let name = &deployment.table_name;
    let described = match client.describe_table().table_name(name).send().await {
        Ok(described) => described,
        Err(error) => {
            return Finding::bad(reason(&error), "deploy the stack, or check your permissions");
        }
    };
    let ttl = match client.describe_time_to_live().table_name(name).send().await {
        Ok(ttl) => ttl.time_to_live_description().is_some_and(|ttl| {
            ttl.time_to_live_status() == Some(&TimeToLiveStatus::Enabled)
                && ttl.attribute_name() == Some("ttl")
        }),
        Err(error) => return Finding::bad(reason(&error), "check your permissions"),
    };
    let Some(table) = described.table() else {
        return Finding::bad(
            format!("DynamoDB returned no description of {name}"),
            "check it in the console",
        );
    };
    let mut faults = Vec::new();
    if table.table_status() != Some(&TableStatus::Active) {
        faults.push("it is not active");
    }
    let billing = table.billing_mode_summary().and_then(|summary| summary.billing_mode());
    if billing != Some(&BillingMode::PayPerRequest) {
        faults.push("it is not on demand");
    }
    if table.deletion_protection_enabled() != Some(true) {
        faults.push("deletion protection is off");
    }
    if !ttl {
        faults.push("expired items are not removed (time to live on `ttl`)");
    }
    if deployment.cloud.is_some() {
        match is_recoverable(patient).await {
            Ok(true) => {}
            Ok(false) => faults.push("point-in-time recovery is off"),
            Err(reason) => return Finding::bad(reason, "check your permissions"),
        }
    }
    if faults.is_empty() {
        let recovery = if deployment.cloud.is_some() { ", point-in-time recovery" } else { "" };
        Finding::good(format!("{name}: on demand, protected, time to live{recovery}"))
    } else {
        Finding::bad(
            format!("{name}: {}", faults.join(", ")),
            "somebody changed the table manually, and deploying doesn't undo that: change it back \
             in the DynamoDB console",
        )
    }
}

async fn is_recoverable(patient: &Patient<'_>) -> Result<bool, String> {
    let client = &patient.deployment.dynamodb;
    let name = &patient.deployment.table_name;
    let answer = client.describe_continuous_backups().table_name(name).send().await;
    let answer = answer.map_err(|error| reason(&error))?;
    let recovery = answer
        .continuous_backups_description()
        .and_then(|backups| backups.point_in_time_recovery_description())
        .and_then(|recovery| recovery.point_in_time_recovery_status());
    Ok(recovery == Some(&PointInTimeRecoveryStatus::Enabled))
}

pub(super) async fn alarms(patient: &Patient<'_>) -> Finding {
    let Some(cloud) = &patient.deployment.cloud else { return Finding::Skipped(WHY_LOCAL) };
    let topic = &cloud.alarm_topic;
    let subscriptions = match cloud.aws.subscriptions(topic).await {
        Ok(subscriptions) => subscriptions,
        Err(reason) => return Finding::bad(reason, "check your permissions"),
    };
    let confirmed = subscriptions.iter().filter(|arn| arn.starts_with("arn:")).count();
    if confirmed > 0 {
        Finding::good(format!("{confirmed} of {} subscriptions are confirmed", subscriptions.len()))
    } else {
        Finding::bad(
            "nobody receives the alarms: the topic has no confirmed subscription",
            "open the link in AWS's e-mail \"Subscription Confirmation\", or deploy with another \
             AlarmEmail",
        )
    }
}

pub(super) async fn site_files(patient: &Patient<'_>) -> Finding {
    let Some(cloud) = &patient.deployment.cloud else { return Finding::Skipped(WHY_LOCAL) };
    let Some(hosted) = &cloud.site.hosted else {
        return Finding::Skipped("the stack was deployed with SiteHosting=none");
    };
    let name = &hosted.bucket;
    let found = match cloud.aws.s3.bucket(name).await {
        Ok(bucket) => bucket.look(site::PAGE).await,
        Err(error) => Err(error),
    };
    match found {
        Ok(Some(_)) => Finding::good(format!("{} is in {name}", site::PAGE)),
        Ok(None) => Finding::note(
            format!("{name} has no {}: CloudFront has nothing to show", site::PAGE),
            "upload the site with `coursegate site deploy`; ignore this if you host your own site",
        ),
        // A self-hosted site doesn't need these files, whatever the error is.
        Err(error) => Finding::note(error.to_string(), "ignore this if you host your own site"),
    }
}
