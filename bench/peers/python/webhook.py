"""The webhook as a careful team would write it for Python: Stripe's library verifies, Powertools
sees to idempotency, and a purchase is one conditional write."""

import base64
import json
import os
import time

import boto3
import stripe
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

SECRET_FRESH_SECONDS = 5 * 60
THIRTY_DAYS_SECONDS = 30 * 24 * 60 * 60
PAID = {"checkout.session.completed", "checkout.session.async_payment_succeeded"}

table_name = os.environ["TABLE_NAME"]
is_live = os.environ["STRIPE_MODE"] == "live"
secret_id = os.environ["STRIPE_SIGNING_SECRET_ID"]
dynamodb = boto3.client("dynamodb", endpoint_url=os.environ.get("DYNAMODB_ENDPOINT") or None)
secrets = boto3.client(
    "secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT") or None
)
persistence = DynamoDBPersistenceLayer(
    table_name=table_name,
    key_attr="pk",
    sort_key_attr="sk",
    expiry_attr="ttl",
    boto3_client=dynamodb,
)
config = IdempotencyConfig(event_key_jmespath="id", expires_after_seconds=THIRTY_DAYS_SECONDS)

secret = None
secret_read_at = 0.0


def signing_secret():
    global secret, secret_read_at
    if secret is None or time.monotonic() - secret_read_at > SECRET_FRESH_SECONDS:
        secret = secrets.get_secret_value(SecretId=secret_id)["SecretString"]
        secret_read_at = time.monotonic()
    return secret


@idempotent_function(data_keyword_argument="event", config=config, persistence_store=persistence)
def record_purchase(event):
    session = event["data"]["object"]
    try:
        dynamodb.put_item(
            TableName=table_name,
            Item={
                "pk": {"S": "LEARNER#" + session["metadata"]["learner_id"]},
                "sk": {"S": "PURCHASE#" + session["id"]},
                "product": {"S": session["metadata"]["product"]},
                "payment_intent": {"S": session["payment_intent"]},
                "amount": {"N": str(session["amount_total"])},
                "currency": {"S": session["currency"]},
                "paid_at": {"N": str(event["created"])},
            },
            ConditionExpression="attribute_not_exists(pk)",
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        pass
    return {"outcome": "applied"}


def handler(request, context):
    config.register_lambda_context(context)
    body = request["body"]
    if request.get("isBase64Encoded"):
        body = base64.b64decode(body).decode("utf-8")
    signature = request["headers"].get("stripe-signature", "")
    try:
        stripe.Webhook.construct_event(body, signature, signing_secret())
    except stripe.SignatureVerificationError:
        return answer(400, {"error": "the signature does not fit"})
    event = json.loads(body)
    is_ours = event["livemode"] == is_live and not event.get("account") and event["type"] in PAID
    if not is_ours or event["data"]["object"]["payment_status"] != "paid":
        return answer(200, {"outcome": "ignored"})
    done = record_purchase(event=event)
    print(json.dumps({"level": "INFO", "event": event["id"], "type": event["type"], **done}))
    return answer(200, done)


def answer(status, body):
    headers = {"content-type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}
