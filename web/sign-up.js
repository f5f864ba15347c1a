// @ts-check
// Creates accounts without a password, through the calls of Cognito's API that need no credentials.
// Cognito's own pages always ask for a password (ADR 34).

import { failed } from "./client.js";
import { config } from "./config.js";

const PATIENCE_MS = 20_000;
const OTHER = "We couldn’t create your account. Try again later.";
const TOO_MANY = "Too many attempts. Wait a while, then try again.";

/** What Cognito's errors mean to a learner. @type {Record<string, string>} */
const PROBLEMS = {
  CodeDeliveryFailureException: "We couldn’t send an email to this address. Check it, or try again later.",
  CodeMismatchException: "That isn’t the code we sent you. Check it and try again.",
  // Also for an address without an account, so that nobody learns which ones have one.
  ExpiredCodeException: "This code has expired, or isn’t for this address. Get a new one.",
  InvalidParameterException: "Enter a valid email address.",
  LimitExceededException: TOO_MANY,
  NotAuthorizedException: "New accounts can’t be created here right now.",
  TooManyFailedAttemptsException: TOO_MANY,
  TooManyRequestsException: TOO_MANY,
};

/** Cognito refused. */
class Refusal extends Error {
  /** @param {string} kind Cognito's name for the error */
  constructor(kind) {
    super(PROBLEMS[kind] ?? OTHER);
    this.kind = kind;
  }
}

/**
 * @param {"SignUp" | "ConfirmSignUp" | "ResendConfirmationCode"} action
 * @param {string} email
 * @param {Record<string, unknown>} [more]
 */
async function call(action, email, more = {}) {
  const { sign_in } = await config().catch((cause) => {
    throw failed(cause);
  });
  const answer = await fetch(sign_in.sign_up ?? "", {
    method: "POST",
    headers: {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": `AWSCognitoIdentityProviderService.${action}`,
    },
    body: JSON.stringify({ ClientId: sign_in.client_id, Username: email, ...more }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  }).catch((cause) => {
    throw failed(cause);
  });
  if (answer.ok) return;
  const { __type = "" } = await answer.json().catch(() => ({}));
  throw new Refusal(String(__type).split("#").at(-1) ?? "");
}

/**
 * Calls this, and returns `false` instead of throwing for one of Cognito's errors.
 * @param {Promise<void>} done
 * @param {string} kind
 */
function unless(done, kind) {
  return done.then(() => true, (error) => {
    if (error instanceof Refusal && error.kind === kind) return false;
    throw error;
  });
}

/**
 * Creates an account and sends a code to its address. Returns `false` if the address has an account.
 * @param {string} email
 */
export async function signUp(email) {
  const UserAttributes = [{ Name: "email", Value: email }];
  const isNew = await unless(call("SignUp", email, { UserAttributes }), "UsernameExistsException");
  // An account whose address was never confirmed gets another code. After too many, the last one
  // still works.
  return isNew || resend(email).catch((error) => {
    if (error instanceof Refusal && error.kind === "LimitExceededException") return true;
    throw error;
  });
}

/**
 * Sends another code. Returns `false` if the address is confirmed already.
 * @param {string} email
 */
export function resend(email) {
  return unless(call("ResendConfirmationCode", email), "InvalidParameterException");
}

/**
 * Confirms an address, or finds it confirmed.
 * @param {string} email
 * @param {string} code
 */
export async function confirm(email, code) {
  const done = call("ConfirmSignUp", email, { ConfirmationCode: code }).catch((error) => {
    const isNoCode = error instanceof Refusal && error.kind === "InvalidParameterException";
    throw isNoCode ? new Refusal("CodeMismatchException") : error;
  });
  await unless(done, "NotAuthorizedException");
}
