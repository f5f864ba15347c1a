// The webhook as a careful team would write it for Node: Stripe's library verifies signatures, Powertools
// handles idempotency, and a purchase is one conditional write.

import { DynamoDBClient, ConditionalCheckFailedException } from "@aws-sdk/client-dynamodb";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import { DynamoDBDocumentClient, PutCommand } from "@aws-sdk/lib-dynamodb";
import { IdempotencyConfig, makeIdempotent } from "@aws-lambda-powertools/idempotency";
import { DynamoDBPersistenceLayer } from "@aws-lambda-powertools/idempotency/dynamodb";
import Stripe from "stripe";

const SECRET_FRESH_MS = 5 * 60 * 1000;
const THIRTY_DAYS_SECONDS = 30 * 24 * 60 * 60;

const environment = process.env;
const tableName = environment.TABLE_NAME;
const isLive = environment.STRIPE_MODE === "live";
const dynamodb = new DynamoDBClient({ endpoint: environment.DYNAMODB_ENDPOINT || undefined });
const table = DynamoDBDocumentClient.from(dynamodb);
const secrets = new SecretsManagerClient({
  endpoint: environment.SECRETS_MANAGER_ENDPOINT || undefined,
});

const persistenceStore = new DynamoDBPersistenceLayer({
  tableName,
  keyAttr: "pk",
  sortKeyAttr: "sk",
  expiryAttr: "ttl",
  awsSdkV3Client: dynamodb,
});
const config = new IdempotencyConfig({
  eventKeyJmesPath: "id",
  expiresAfterSeconds: THIRTY_DAYS_SECONDS,
});

let secret;
async function signingSecret() {
  if (!secret || Date.now() - secret.readAt > SECRET_FRESH_MS) {
    const request = new GetSecretValueCommand({ SecretId: environment.STRIPE_SIGNING_SECRET_ID });
    const answer = await secrets.send(request);
    secret = { value: answer.SecretString, readAt: Date.now() };
  }
  return secret.value;
}

async function recordPurchase(event) {
  const session = event.data.object;
  const { learner_id: learner, product } = session.metadata;
  try {
    await table.send(
      new PutCommand({
        TableName: tableName,
        Item: {
          pk: `LEARNER#${learner}`,
          sk: `PURCHASE#${session.id}`,
          product,
          payment_intent: session.payment_intent,
          amount: session.amount_total,
          currency: session.currency,
          paid_at: event.created,
        },
        ConditionExpression: "attribute_not_exists(pk)",
      }),
    );
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
  }
  return { outcome: "applied" };
}

const recordOnce = makeIdempotent(recordPurchase, { persistenceStore, config });

const PAID = new Set(["checkout.session.completed", "checkout.session.async_payment_succeeded"]);

export async function handler(request, context) {
  config.registerLambdaContext(context);
  const body = request.isBase64Encoded
    ? Buffer.from(request.body, "base64").toString("utf8")
    : request.body;
  let event;
  try {
    const signature = request.headers["stripe-signature"];
    event = Stripe.webhooks.constructEvent(body, signature, await signingSecret());
  } catch (error) {
    if (!(error instanceof Stripe.errors.StripeSignatureVerificationError)) throw error;
    return answer(400, { error: "the signature does not fit" });
  }
  const isOurs = event.livemode === isLive && !event.account && PAID.has(event.type);
  if (!isOurs || event.data.object.payment_status !== "paid") {
    return answer(200, { outcome: "ignored" });
  }
  const done = await recordOnce(event);
  console.log(JSON.stringify({ level: "INFO", event: event.id, type: event.type, ...done }));
  return answer(200, done);
}

function answer(statusCode, body) {
  const headers = { "content-type": "application/json" };
  return { statusCode, headers, body: JSON.stringify(body) };
}
