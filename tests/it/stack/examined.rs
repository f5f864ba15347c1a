//! What the operator's commands change and find in a deployment.

use std::time::Duration;

use aws_config::SdkConfig;
use coursegate::account::Account;
use coursegate::catalog::{Closing, push};
use coursegate::deployment::{Cloud, Deployment};
use coursegate::doctor::Finding;
use coursegate::{events, key, manual, webhook as endpoint, why};
use serde_json::{Value, json};
use shared::domain::decide::Mode;
use shared::domain::facts::Origin;
use shared::domain::shop::Shop as StripeShop;
use shared::ports::{AccessReader as _, Clock as _, SystemClock};
use tests::moto::quiet_moto;
use tests::requests::{answer, api, learner};
use tests::world::{catalog, template_yaml};

use super::{
    KEY, NOT_DECIDED, NOT_SENT, Shop, entitlements, expire, finding, findings, listen, misquoted,
    recover, template_for_moto,
};

#[tokio::test]
async fn a_new_deployment_is_told_what_is_missing_and_how_to_fix() {
    let Some(shop) = Shop::deploy("new", Mode::Test).await else { return };
    insta::assert_snapshot!(shop.complaints().await, @r"
    bad, functions' key: the Stripe key is neither a secret key nor a restricted key: create a test one in Stripe's Dashboard (Developers, API keys)
      store one with `coursegate key store`
    bad, webhook's key: the Stripe key is neither a secret key nor a restricted key: create a test one in Stripe's Dashboard (Developers, API keys)
      store one with `coursegate key store --webhook`
    bad, prices: nothing is on sale: the table has no catalog
      publish the catalog with `coursegate catalog push`
    note, catalog file: ./catalog.toml differs from what is on sale
      see how with `coursegate catalog plan ./catalog.toml`
    bad, endpoint: none delivers to SiteOrigin/webhook
      run `coursegate webhook register`
    note, customer portal: not set up: buyers can't look up their receipts themselves
      save its settings once in Stripe's Dashboard (Settings, Billing, Customer portal)
    note, tax: this version collects none: prices are charged as listed, whatever tax law requires
      ask your accountant what you owe, and file it yourself
    note, site's files: SiteBucket has no index.html: CloudFront has nothing to show
      upload the site with `coursegate site deploy`; ignore this if you host your own site
    bad, signed probe: Secrets Manager holds no signing secret yet
      run `coursegate webhook register`
    bad, forged probe: the webhook has no signing secret yet, so it answers a forged event with 503
      run `coursegate webhook register`
    bad, api: SiteOrigin/api/courses answers 503 Service Unavailable, without any courses
      push the catalog, then check the entitlements function's log
    ");
    shop.set_up().await;
    assert_eq!(shop.complaints().await, format!("{NOT_DECIDED}{NOT_SENT}"));
    // Nothing was skipped.
    let findings = findings(&shop.deployment().await).await;
    let good = findings.iter().filter(|(_, finding)| matches!(finding, Finding::Good(_)));
    let good: Vec<&str> = good.map(|(name, _)| *name).collect();
    insta::assert_snapshot!(good.join(", "), @"stack, table, alarms, sign-in, functions' key, webhook's key, your key, account, prices, catalog file, endpoint, thin events, deliveries, seller, quarantine, double payments, unknown sources, signed probe, forged probe, api, site, tutor, clock");
}

#[tokio::test]
async fn setup_makes_the_shop_sell_and_is_idempotent() {
    let Some(shop) = Shop::deploy("sells", Mode::Test).await else { return };
    let (steps, done) = shop.set_up().await;
    assert!(steps > 0 && done > 0, "{steps} {done}");
    assert_eq!(shop.set_up().await, (0, 0));

    let deployment = shop.deployment().await;
    let ada = learner("ada");
    shop.sell_to(&ada).await;
    // Only Stripe's event gives the learner access.
    for _ in 0..400 {
        let request = api("GET /entitlements", "/entitlements", &ada, None);
        let entitlements = entitlements(&deployment.table());
        if answer(&entitlements::handle(&entitlements, &request).await).1["tier"] == "paid" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("no event has let the learner in");
}

#[tokio::test]
async fn a_manual_grant_names_the_aws_identity() {
    let Some(shop) = Shop::deploy("given", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.deployment().await;
    let (ada, product) = ("ada".parse().unwrap(), "tutorclaw".parse().unwrap());
    let (reason, now) = ("a prize".parse().unwrap(), SystemClock.now());
    manual::grant(&deployment, &ada, &product, None, reason, now).await.unwrap();
    let explained = why::explain(&deployment, &ada, None, now).await.unwrap();
    let Some(Origin::Manual(grant)) = &explained[0].sources[0].facts.origin else {
        panic!("{explained:?}");
    };
    let by = grant.action.by.to_string();
    assert!(by.starts_with("arn:aws:"), "{by}");
}

#[tokio::test]
async fn manual_table_changes_are_reported() {
    use aws_sdk_dynamodb::types::BillingMode;
    let Some(shop) = Shop::deploy("changed", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.deployment().await;
    let table = || deployment.dynamodb.update_table().table_name(&deployment.table_name);

    recover(&deployment, false).await;
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, table: Table: point-in-time recovery is off
      somebody changed the table manually, and deploying doesn't undo that: change it back in the DynamoDB console
    ");
    recover(&deployment, true).await;

    expire(&deployment, false).await;
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, table: Table: expired items are not removed (time to live on `ttl`)
      somebody changed the table manually, and deploying doesn't undo that: change it back in the DynamoDB console
    ");
    expire(&deployment, true).await;

    table().deletion_protection_enabled(false).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, table: Table: deletion protection is off
      somebody changed the table manually, and deploying doesn't undo that: change it back in the DynamoDB console
    ");
    table().deletion_protection_enabled(true).send().await.unwrap();

    table().billing_mode(BillingMode::Provisioned).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, table: Table: it is not on demand
      somebody changed the table manually, and deploying doesn't undo that: change it back in the DynamoDB console
    ");
    table().billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    assert_eq!(shop.new_complaints().await, "");

    table().deletion_protection_enabled(false).send().await.unwrap();
    deployment.dynamodb.delete_table().table_name(&deployment.table_name).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, table: Requested resource not found: Table: Table not found
      deploy the stack, or check your permissions
    bad, functions' key: the key can't be tested, because the table can't be read: the table refuses the request
      check the table
    bad, webhook's key: the key can't be tested, because the table can't be read: the table refuses the request
      check the table
    bad, prices: the table refuses the request
      check the table
    bad, catalog file: the table request for the catalog failed: the table refuses the request (ResourceNotFoundException: Requested resource not found)
      see `coursegate catalog plan`
    bad, quarantine: the table refuses the request
      check the table
    bad, double payments: the table refuses the request
      check the table
    bad, unknown sources: the table refuses the request
      check the table
    bad, api: SiteOrigin/api/courses answers 500 Internal Server Error, without any courses
      push the catalog, then check the entitlements function's log
    ");
}

#[tokio::test]
async fn alarms_without_subscribers_are_reported() {
    let Some(shop) = Shop::deploy("unheard", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.deployment().await;
    let Cloud { aws, alarm_topic, .. } = deployment.cloud.as_ref().unwrap();
    let sns = &aws.sns;
    let listed = sns.list_subscriptions_by_topic().topic_arn(alarm_topic).send().await.unwrap();
    let [subscription] = listed.subscriptions() else { panic!("{listed:?}") };
    assert_eq!(subscription.endpoint(), Some(shop.parameters["AlarmEmail"].as_str()));

    // moto reports every subscription as confirmed.
    let arn = subscription.subscription_arn().unwrap();
    let unconfirmed = misquoted(&shop.aws, "PendingConfirmation", arn).await;
    let unconfirmed = shop.found_by(&unconfirmed, Some(KEY)).await.unwrap();
    insta::assert_snapshot!(shop.new_complaints_about(&unconfirmed).await, @r#"
    bad, alarms: nobody receives the alarms: the topic has no confirmed subscription
      open the link in AWS's e-mail "Subscription Confirmation", or deploy with another AlarmEmail
    "#);

    sns.unsubscribe().subscription_arn(arn).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r#"
    bad, alarms: nobody receives the alarms: the topic has no confirmed subscription
      open the link in AWS's e-mail "Subscription Confirmation", or deploy with another AlarmEmail
    "#);

    sns.delete_topic().topic_arn(alarm_topic).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, alarms: Topic does not exist
      check your permissions
    ");
}

#[tokio::test]
async fn an_old_or_incomplete_stack_is_reported() {
    let Some(shop) = Shop::deploy("old", Mode::Test).await else { return };
    shop.set_up().await;
    let stuck = misquoted(&shop.aws, "UPDATE_ROLLBACK_FAILED", "CREATE_COMPLETE").await;
    let stuck = shop.found_by(&stuck, Some(KEY)).await.unwrap();
    insta::assert_snapshot!(shop.new_complaints_about(&stuck).await, @r"
    bad, stack: old is in UPDATE_ROLLBACK_FAILED
      check the stack's events in CloudFormation; once the stack is stable, deploy again
    ");

    let mut template = template_for_moto();
    template["Outputs"]["Version"]["Value"] = "0.0.1".into();
    shop.update_stack(&template).await;
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, stack: old runs version 0.0.1, but this program is Version
      deploy this version (`sam build`, `sam deploy`), or use that version of this program
    ");
    shop.update_stack(&template_for_moto()).await;
    assert_eq!(shop.new_complaints().await, "");
}

#[tokio::test]
async fn keys_of_the_other_mode_are_reported() {
    let Some(shop) = Shop::deploy("live", Mode::Live).await else { return };
    let deployment = shop.deployment().await;
    // As if the test deployment's keys had been used.
    deployment.put_secret(&deployment.api_key_id, "rk_test_of_the_functions").await.unwrap();
    deployment.put_secret(&deployment.read_key_id, "rk_test_of_the_webhook").await.unwrap();
    deployment.put_secret(&deployment.signing_secret_id, "whsec_1").await.unwrap();
    let stripe = shop.stripe.url();
    let account = Account::new(Some(&stripe), &KEY.into(), Mode::Test).unwrap();
    push(&catalog(), Closing::Refused, &account, &deployment, |_| {}).await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, functions' key: the Stripe key is a test key, but this deployment is live: use a live key from Stripe's Dashboard (Developers, API keys)
      store one with `coursegate key store`
    bad, webhook's key: the Stripe key is a test key, but this deployment is live: use a live key from Stripe's Dashboard (Developers, API keys)
      store one with `coursegate key store --webhook`
    bad, your key: the Stripe key is a test key, but this deployment is live: use a live key from Stripe's Dashboard (Developers, API keys)
      then run the doctor again
    ");

    let stored = key::store(&deployment, &"rk_test_of_the_functions".into()).await.unwrap_err();
    insta::assert_snapshot!(stored, @"the key was not stored: the Stripe key is a test key, but this \
                                      deployment is live: use a live key from Stripe's Dashboard \
                                      (Developers, API keys)");
    assert!(deployment.account().await.is_err());
}

#[tokio::test]
async fn without_an_operator_key_the_account_is_not_examined() {
    let Some(shop) = Shop::deploy("keyless", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.found_by(&shop.aws, None).await.unwrap();
    insta::assert_snapshot!(shop.complaints_about(&deployment).await, @r"
    bad, your key: STRIPE_API_KEY is not set: create a restricted key for yourself in Stripe's Dashboard (docs/DEPLOY.md lists its permissions) and set it in the environment
      then run the doctor again
    note, site's files: SiteBucket has no index.html: CloudFront has nothing to show
      upload the site with `coursegate site deploy`; ignore this if you host your own site
    ");
}

#[tokio::test]
async fn a_deleted_secret_is_reported_until_restored() {
    let Some(shop) = Shop::deploy("secretless", Mode::Test).await else { return };
    shop.set_up().await;
    let Deployment { secrets_manager, api_key_id, read_key_id, signing_secret_id, .. } =
        shop.deployment().await;

    secrets_manager.delete_secret().secret_id(&api_key_id).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, functions' key: secret StripeApiKey: it is marked deleted
      check in Secrets Manager that it exists (`aws secretsmanager restore-secret` restores a recently deleted one), and check your permissions
    ");
    secrets_manager.restore_secret().secret_id(&api_key_id).send().await.unwrap();

    secrets_manager.delete_secret().secret_id(&read_key_id).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, webhook's key: secret StripeReadKey: it is marked deleted
      check in Secrets Manager that it exists (`aws secretsmanager restore-secret` restores a recently deleted one), and check your permissions
    ");
    secrets_manager.restore_secret().secret_id(&read_key_id).send().await.unwrap();

    secrets_manager.delete_secret().secret_id(&signing_secret_id).send().await.unwrap();
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, endpoint: secret StripeSigningSecret: it is marked deleted
      check in Secrets Manager that it exists (`aws secretsmanager restore-secret` restores a recently deleted one), and check your permissions
    bad, signed probe: secret StripeSigningSecret: it is marked deleted
      check in Secrets Manager that it exists (`aws secretsmanager restore-secret` restores a recently deleted one), and check your permissions
    bad, forged probe: the webhook has no signing secret yet, so it answers a forged event with 503
      run `coursegate webhook register`
    ");
    secrets_manager.restore_secret().secret_id(&signing_secret_id).send().await.unwrap();
    assert_eq!(shop.new_complaints().await, "");
}

#[tokio::test]
async fn a_stack_without_an_output_is_no_deployment() {
    let Some(shop) = Shop::deploy("complete", Mode::Test).await else { return };
    let mut missing = Vec::new();
    for output in template_yaml()["Outputs"].as_mapping().unwrap().keys() {
        let output = output.as_str().unwrap();
        let mut template = template_for_moto();
        template["Outputs"].as_mapping_mut().unwrap().remove(output).unwrap();
        let name = format!("lacks-{output}");
        shop.create_stack(&name, &template).await;
        if let Err(error) = coursegate::aws::stack(&shop.aws, &name, None).await {
            missing.push(error.to_string());
        }
    }
    insta::assert_snapshot!(missing.join("\n"), @r"
    stack lacks-ApiUrl is in CREATE_COMPLETE and has no output ApiUrl: deploy it with this version's template.yaml
    stack lacks-WebhookUrl is in CREATE_COMPLETE and has no output WebhookUrl: deploy it with this version's template.yaml
    stack lacks-WebhookFunctionName is in CREATE_COMPLETE and has no output WebhookFunctionName: deploy it with this version's template.yaml
    stack lacks-TableName is in CREATE_COMPLETE and has no output TableName: deploy it with this version's template.yaml
    stack lacks-StripeMode is in CREATE_COMPLETE and has no output StripeMode: deploy it with this version's template.yaml
    stack lacks-DeploymentMark is in CREATE_COMPLETE and has no output DeploymentMark: deploy it with this version's template.yaml
    stack lacks-SiteOrigin is in CREATE_COMPLETE and has no output SiteOrigin: deploy it with this version's template.yaml
    stack lacks-Version is in CREATE_COMPLETE and has no output Version: deploy it with this version's template.yaml
    stack lacks-StripeApiKeyArn is in CREATE_COMPLETE and has no output StripeApiKeyArn: deploy it with this version's template.yaml
    stack lacks-StripeReadKeyArn is in CREATE_COMPLETE and has no output StripeReadKeyArn: deploy it with this version's template.yaml
    stack lacks-StripeSigningSecretArn is in CREATE_COMPLETE and has no output StripeSigningSecretArn: deploy it with this version's template.yaml
    stack lacks-RefundThresholdPercent is in CREATE_COMPLETE and has no output RefundThresholdPercent: deploy it with this version's template.yaml
    stack lacks-AlarmTopicArn is in CREATE_COMPLETE and has no output AlarmTopicArn: deploy it with this version's template.yaml
    stack lacks-JwtIssuer is in CREATE_COMPLETE and has no output JwtIssuer: deploy it with this version's template.yaml
    stack lacks-SiteUrl is in CREATE_COMPLETE and has no output SiteUrl: deploy it with this version's template.yaml
    stack lacks-SiteBucketName is in CREATE_COMPLETE and has no output SiteBucketName: deploy it with this version's template.yaml
    stack lacks-ContentBucketName is in CREATE_COMPLETE and has no output ContentBucketName: deploy it with this version's template.yaml
    ");
}

#[tokio::test]
async fn an_unexecuted_change_set_is_reported_by_its_status() {
    use aws_sdk_cloudformation::types::ChangeSetType;
    let Some(moto) = quiet_moto() else { return };
    let client = aws_sdk_cloudformation::Client::new(&moto.config());
    let change = client.create_change_set().stack_name("begun").change_set_name("first");
    let change = change.change_set_type(ChangeSetType::Create);
    let nothing = "{Resources: {Topic: {Type: 'AWS::SNS::Topic'}}}";
    change.template_body(nothing).send().await.unwrap();
    let begun = coursegate::aws::stack(&moto.config(), "begun", None).await.err().unwrap();
    insta::assert_snapshot!(begun, @"stack begun is in REVIEW_IN_PROGRESS and has no output StripeMode: deploy it with this version's template.yaml");
}

#[tokio::test]
async fn a_missing_deployment_says_where_it_was_looked_for() {
    let Some(moto) = quiet_moto() else { return };
    let found_with = async |config: &SdkConfig| {
        coursegate::aws::stack(config, "nowhere", None).await.err().unwrap().to_string()
    };
    insta::assert_snapshot!(found_with(&moto.config()).await, @"stack nowhere can't be read in us-east-1: there is no such stack: deploy it first (docs/DEPLOY.md), or name another");
    let no_region = moto.config().to_builder().region(None).build();
    insta::assert_snapshot!(found_with(&no_region).await, @"no AWS Region is set: set AWS_REGION, \
                                                            or set AWS_PROFILE to a profile that \
                                                            has one");
    let mut no_credentials = moto.config().to_builder();
    no_credentials.set_credentials_provider(None);
    insta::assert_snapshot!(found_with(&no_credentials.build()).await, @"no AWS credentials found, or they have expired: sign in (for example with `aws login` or `aws sso login`), or set AWS_PROFILE to a profile that has some");
    let (listener, url) = listen().await;
    drop(listener);
    let no_network = moto.config().to_builder().endpoint_url(&url).build();
    let no_network = found_with(&no_network).await;
    assert!(no_network.ends_with(": check your network"), "{no_network}");
    assert!(!no_network.contains("DispatchFailure"), "what a debugger sees: {no_network}");
}

const COMPLETED: &str = "checkout.session.completed";
const HOUR: i64 = 3600;

#[tokio::test]
async fn a_payment_without_an_event_is_reported_until_it_arrives() {
    let Some(shop) = Shop::deploy("missed", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.deployment().await;
    shop.delete_endpoint().await;
    let session = shop.sell_to(&learner("ada")).await;
    let event = shop.tell(COMPLETED, &session, HOUR).await;
    let complaints = async || shop.new_complaints().await.replace(&event, "EVENT_1");
    insta::assert_snapshot!(complaints().await, @r"
    bad, endpoint: none delivers to SiteOrigin/webhook
      run `coursegate webhook register`
    bad, deliveries: 1 of 1 events about payments in the last 15 days have not arrived, oldest first: EVENT_1
      once the endpoint works, resend each: `stripe events resend EVENT --webhook-endpoint=ENDPOINT` with the endpoint above, or in Stripe's Dashboard (Developers, Webhooks); an event that was already applied changes nothing
    ");

    let account = deployment.account().await.unwrap();
    endpoint::register(&account, &deployment, &mut |_| {}).await.unwrap();
    insta::assert_snapshot!(complaints().await, @r"
    bad, deliveries: 1 of 1 events about payments in the last 15 days have not arrived, oldest first: EVENT_1
      once the endpoint works, resend each: `stripe events resend EVENT --webhook-endpoint=ENDPOINT` with the endpoint above, or in Stripe's Dashboard (Developers, Webhooks); an event that was already applied changes nothing
    ");

    shop.control_simulator(&format!("events/{event}/resend"), &json!({})).await;
    let id = [event.parse().unwrap()];
    for _ in 0..400 {
        if !deployment.table().on_record(&id).await.unwrap().is_empty() {
            let says = "1 of 1 events about payments in the last 15 days have arrived".to_owned();
            assert_eq!(finding(&deployment, "deliveries").await, Finding::Good(says));
            assert_eq!(complaints().await, "");
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("the event has not come");
}

#[tokio::test]
async fn an_event_too_large_to_deliver_is_reported_and_replayed() {
    let Some(shop) = Shop::deploy("large", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.deployment().await;
    let account = deployment.account().await.unwrap();
    // The event that Stripe sends by itself is lost; another one says the same at length.
    shop.delete_endpoint().await;
    let mut session = shop.sell_to(&learner("ada")).await;
    endpoint::register(&account, &deployment, &mut |_| {}).await.unwrap();
    session["custom_text"] = "x".repeat(1024 * 1024).into();
    let event = shop.tell(COMPLETED, &session, HOUR).await;
    let delivery = shop.first_delivery_of(&event).await;
    assert_eq!(delivery["last_status"], 413, "{delivery}");

    let Finding::Bad { says, .. } = finding(&deployment, "deliveries").await else {
        panic!("it has not arrived");
    };
    assert!(says.contains("1 of 1") && says.contains(&event), "{says}");
    let id = event.parse().unwrap();
    let replayed = events::replay(&deployment, &account, &id, SystemClock.now()).await.unwrap();
    assert_eq!(replayed.outcome.name(), "applied");
    let says = "1 of 1 events about payments in the last 15 days have arrived".to_owned();
    assert_eq!(finding(&deployment, "deliveries").await, Finding::Good(says));
}

#[tokio::test]
async fn a_moved_webhook_is_reported_until_it_is_registered() {
    let Some(mut shop) = Shop::deploy("new-entrance", Mode::Test).await else { return };
    shop.set_up().await;
    let before = shop.deployment().await;
    let account = before.account().await.unwrap();
    let (ending, now) = (endpoint::Ending::WhenDelivered, SystemClock.now());
    endpoint::rotate(&account, &before, ending, now, &mut |_| {}).await.unwrap();

    // As a deployment with WebhookEntrance=api.
    let address = before.webhook_url.replace("/webhook", "/api/webhook");
    shop.parameters.insert("WebhookFunction", address.clone());
    shop.update_stack(&template_for_moto()).await;
    let deployment = shop.deployment().await;
    assert_eq!(deployment.webhook_url, address);
    let (old, expected) = (&before.webhook_url, format!("it delivers to {}", before.webhook_url));
    let Finding::Bad { says, remedy } = finding(&deployment, "endpoint").await else {
        panic!("it delivers to the old address");
    };
    assert!(says.contains(&expected) && says.contains(&format!("not to {address}")), "{says}");
    assert_eq!(remedy, "run `coursegate webhook register`");

    // Only the newest endpoint has been corrected, in Stripe's Dashboard: the other one has
    // deliveries left.
    let newest = endpoint::look(&account, &deployment).await.unwrap().good.unwrap().0;
    let correct = json!({ "url": address });
    let path = format!("/webhook_endpoints/{}", newest.id);
    account.post::<serde_json::Value>(&path, &correct).await.unwrap();
    let found = finding(&deployment, "endpoint").await;
    let is_other = |says: &str| says.contains(&format!(" delivers to {old}, not to {address}"));
    assert!(matches!(&found, Finding::Bad { says, .. } if is_other(says)), "{found:?}");
    endpoint::register(&account, &deployment, &mut |_| {}).await.unwrap();
    assert!(matches!(finding(&deployment, "endpoint").await, Finding::Note { .. }), "rotating");
}

#[tokio::test]
async fn a_refund_without_an_event_is_reported_if_it_is_ours() {
    let Some(shop) = Shop::deploy("unrefunded", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.deployment().await;
    let session = shop.sell_to(&learner("ada")).await;
    let payment = session["payment_intent"].as_str().unwrap();
    let source = [payment.parse().unwrap()];
    while deployment.table().sources(&source).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    shop.delete_endpoint().await;
    let refund = |payment: &str| {
        json!({
            "id": "re_1", "object": "refund", "amount": 100, "status": "succeeded",
            "payment_intent": payment,
        })
    };
    shop.tell("refund.created", &refund("pi_of_another_shop"), HOUR).await;
    let none = Finding::Good(
        "no payment of the last 15 days is old enough to compare (five minutes)".to_owned(),
    );
    assert_eq!(finding(&deployment, "deliveries").await, none);
    let event = shop.tell("refund.created", &refund(payment), HOUR).await;
    let Finding::Bad { says, .. } = finding(&deployment, "deliveries").await else { panic!() };
    assert!(says.starts_with("1 of 1 events") && says.ends_with(&event), "{says}");
}

#[tokio::test]
async fn an_event_that_leaves_no_record_is_not_reported_missing() {
    let Some(shop) = Shop::deploy("unmissed", Mode::Test).await else { return };
    shop.set_up().await;
    let deployment = shop.deployment().await;
    let session = shop.sell_to(&learner("ada")).await;
    shop.delete_endpoint().await;

    let of_another_shop = |field: &str, value: Value| {
        let mut session = session.clone();
        session[field] = value;
        session
    };
    // Among the account's other shops, one has the same metadata keys, and returns to the same
    // site.
    let mut marked = session["metadata"].clone();
    marked["coursegate"] = "another-shop".into();
    for metadata in [json!({}), Value::Null, json!({ "learner_id": "ada" }), marked] {
        shop.tell(COMPLETED, &of_another_shop("metadata", metadata), HOUR).await;
    }
    shop.tell("checkout.session.expired", &session, HOUR).await;
    shop.tell("charge.succeeded", &session, HOUR).await;
    // It may still arrive, and it can't be sent again.
    shop.tell(COMPLETED, &session, 60).await;
    shop.tell(COMPLETED, &session, 16 * 24 * HOUR).await;
    let none = Finding::Good(
        "no payment of the last 15 days is old enough to compare (five minutes)".to_owned(),
    );
    assert_eq!(finding(&deployment, "deliveries").await, none);

    // Before the site moved, its learners were redirected elsewhere; they have paid all the same.
    let moved = of_another_shop("success_url", json!("https://old.example.com/success"));
    shop.tell("checkout.session.async_payment_failed", &moved, HOUR).await;
    let Finding::Bad { says, .. } = finding(&deployment, "deliveries").await else { panic!() };
    assert!(says.starts_with("1 of 1 events"), "{says}");
}

#[tokio::test]
async fn a_replacement_stack_is_told_to_take_over_the_mark() {
    let Some(shop) = Shop::deploy("renamed", Mode::Test).await else { return };
    let deployment = shop.deployment().await;
    assert_eq!(deployment.shop.mark.as_str(), "123456789012/us-east-1/renamed");
    let account = deployment.account().await.unwrap();
    let before = Deployment {
        shop: StripeShop { mark: "before".parse().unwrap(), ..deployment.shop.clone() },
        ..shop.deployment().await
    };
    push(&catalog(), Closing::Refused, &account, &before, |_| {}).await.unwrap();
    let Finding::Bad { says, .. } = finding(&deployment, "prices").await else { panic!() };
    assert!(says.contains("belongs to another deployment, before: if this one replaces it"));
    assert!(says.contains("the stack's parameter DeploymentMark"), "{says}");
}

#[tokio::test]
async fn missing_payments_are_found_across_pages_oldest_first() {
    let Some(shop) = Shop::deploy("busy", Mode::Test).await else { return };
    shop.set_up().await;
    let session = shop.sell_to(&learner("ada")).await;
    let deployment = shop.deployment().await;
    shop.delete_endpoint().await;
    let mut events = Vec::new();
    for number in 0..230 {
        events.push(shop.tell(COMPLETED, &session, 2 * HOUR - number).await);
    }
    let Finding::Bad { says, .. } = finding(&deployment, "deliveries").await else { panic!() };
    let oldest = events[..3].join(", ");
    let expected = format!(
        "230 of 230 events about payments in the last 15 days have not arrived, oldest first: \
         {oldest}, …"
    );
    assert_eq!(says, expected);
}

#[tokio::test]
async fn a_key_unknown_to_stripe_is_reported() {
    let Some(shop) = Shop::deploy("unknown", Mode::Test).await else { return };
    shop.set_up().await;
    // Only the functions' key is tested with a session, only the operator's with the products.
    let unknown = |path: &str| json!({ "path": path, "status": 401 });
    shop.control_simulator("faults", &unknown("/v1/checkout/sessions")).await;
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, functions' key: Stripe does not know this key: it is mistyped, deleted, rolled or expired; get one from Stripe's Dashboard (Developers, API keys)
      store one with `coursegate key store`
    ");
    shop.control_simulator("faults", &unknown("/v1/products")).await;
    insta::assert_snapshot!(shop.new_complaints().await, @r"
    bad, your key: Stripe does not know this key: it is mistyped, deleted, rolled or expired; get one from Stripe's Dashboard (Developers, API keys)
      then run the doctor again
    ");
    assert_eq!(shop.new_complaints().await, "");
}

#[tokio::test]
async fn what_the_operator_s_key_cannot_read_is_not_called_healthy() {
    let Some(shop) = Shop::deploy("blind", Mode::Test).await else { return };
    shop.set_up().await;
    let nothing = json!({ "key": "rk_test_of_the_operator", "permissions": {} });
    shop.control_simulator("keys", &nothing).await;
    let deployment = shop.found_by(&shop.aws, Some("rk_test_of_the_operator")).await.unwrap();
    let complaints = shop.complaints_about(&deployment).await;
    let complaints = complaints.lines().map(|line| line.split("The provided key").next().unwrap());
    insta::assert_snapshot!(complaints.collect::<Vec<_>>().join("\n"), @r"
    note, account: your key isn't allowed to read this: Stripe answers 403: 
      give your key the permission to read the account
    bad, prices: your key isn't allowed to read this: Stripe answers 403: 
      give your key Products: Read and Prices: Read
    bad, catalog file: your key isn't allowed to read this: Stripe answers 403: 
      give your key Products: Read and Prices: Read
    bad, endpoint: your key isn't allowed to read this: Stripe answers 403: 
      give your key Webhook Endpoints: Read
    note, thin events: none has arrived; can't check whether an endpoint would send them: your key isn't allowed to read this: Stripe answers 403: 
      give your key Event Destinations: Read, or look in Stripe's Dashboard (Workbench, Webhooks)
    bad, deliveries: your key isn't allowed to read this: Stripe answers 403: 
      give your key Events: Read
    bad, seller: your key isn't allowed to read this: Stripe answers 403: 
      give your key Events: Read
    note, customer portal: your key isn't allowed to read this: Stripe answers 403: 
      give your key Customer portal: Read
    note, tax: your key isn't allowed to read this: Stripe answers 403: 
      give your key Tax Settings: Read
    note, site's files: SiteBucket has no index.html: CloudFront has nothing to show
      upload the site with `coursegate site deploy`; ignore this if you host your own site
    ");
}

#[tokio::test]
async fn a_functions_key_of_another_account_is_reported() {
    let Some(shop) = Shop::deploy("moved", Mode::Test).await else { return };
    let Some(other) = Shop::deploy("another", Mode::Test).await else { return };
    shop.set_up().await;
    other.set_up().await;
    let stripe_url = Some(other.stripe.url());
    let deployment = Deployment { stripe_url, ..shop.deployment().await };
    let complaints = shop.complaints_about(&deployment).await;
    let (about_prices, _) = complaints.split_once("bad, catalog file").unwrap();
    insta::assert_snapshot!(about_prices, @r"
    bad, functions' key: it belongs to another Stripe account or sandbox than the shop, and sees none of the prices on sale: use a key of the shop's account, or move the shop first, with `coursegate catalog push --force` and your own key of the new account
      store one with `coursegate key store`
    bad, prices: the table sells prices that this key's Stripe account doesn't have: it sells in another account, sandbox or mode; use a key of that account, deploy a separate stack for this one, or move the shop here with `coursegate catalog push --force`
      then run the doctor again
    ");
}

#[tokio::test]
async fn active_stripe_tax_does_not_mean_tax_is_collected() {
    let Some(shop) = Shop::deploy("taxed", Mode::Test).await else { return };
    shop.set_up().await;
    let url = format!("{}/v1/tax/settings", shop.stripe.url());
    let request = reqwest::Client::new().post(url).bearer_auth(KEY);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let request = request.body("head_office[address][country]=DE");
    assert_eq!(request.send().await.unwrap().status(), 200);
    insta::assert_snapshot!(shop.complaints().await, @r"
    note, customer portal: not set up: buyers can't look up their receipts themselves
      save its settings once in Stripe's Dashboard (Settings, Billing, Customer portal)
    note, tax: Stripe Tax is set up, but this version does not use it: prices are charged as listed, whatever tax law requires
      ask your accountant what you owe, and file it yourself
    note, site's files: SiteBucket has no index.html: CloudFront has nothing to show
      upload the site with `coursegate site deploy`; ignore this if you host your own site
    ");
}

#[tokio::test]
async fn no_endpoint_is_required_where_the_stripe_cli_listens() {
    let Some(shop) = Shop::deploy("listening", Mode::Test).await else { return };
    shop.set_up().await;
    // A local stack; nothing responds there.
    let stripe_url = Some("https://127.0.0.1:1".to_owned());
    let deployment = Deployment { cloud: None, stripe_url, ..shop.deployment().await };
    let skipped = Finding::Skipped("`stripe listen` is the endpoint here");
    assert_eq!(finding(&deployment, "endpoint").await, skipped);
}
