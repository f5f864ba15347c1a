// The schemas of docs/openapi.yaml, under their names, and the responses that are not in it. Written by
// hand; nothing here reaches the browser.

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  instance?: string;
}

/** The problem that a locked chapter's request is answered with. */
export interface Denial extends Problem {
  type: "urn:coursegate:problem:access-denied";
  status: 403;
  reason: "payment_required" | "payment_processing" | "payment_disputed";
  offers: Offer[];
}

export interface PriceChoice {
  price: string;
}

export interface Offer {
  price: string;
  product: string;
  name: string;
  amount: number;
  currency: string;
  courses: string[];
  /** The courses that the learner owns already; only in responses about a learner. */
  owned_courses?: string[];
}

export interface Courses {
  courses: Course[];
}

export interface Course {
  id: string;
  title: string;
  summary: string;
  category: "free" | "curriculum" | "alacarte";
  chapters: { number: number; title: string; free: boolean }[];
  free_chapters: number;
  offers: Offer[];
}

export type Tier = "free" | "paid";

export interface Entitlements {
  learner: string;
  tier: Tier;
  entitlements: Entitlement[];
}

export interface Entitlement {
  product: string;
  courses: string[];
  source: string;
  status: Status;
  since: string | null;
  until: string | null;
  refunded_percent: number;
  paid_twice: boolean;
}

export type Status =
  | "active"
  | "ended"
  | "processing"
  | "failed"
  | "refunded"
  | "suspended"
  | "dispute_lost"
  | "revoked";

export interface Why {
  learner: string;
  product: string;
  access: "granted" | "denied";
  sources: { source: string; status: Status; paid_twice: boolean; facts: Fact[] }[];
}

export interface Fact {
  at: string | null;
  id: string;
  fact:
    | "payment_processing"
    | "payment_failed"
    | "paid"
    | "given"
    | "refund_pending"
    | "refund_requires_action"
    | "refunded"
    | "refund_canceled"
    | "refund_failed"
    | "dispute_inquiry"
    | "dispute_inquiry_closed"
    | "dispute_open"
    | "dispute_won"
    | "dispute_lost"
    | "dispute_appealed"
    | "dispute_prevented"
    | "revoked"
    | "ended"
    | "forgotten";
  effect: "opens" | "suspends" | "closes" | "restores" | "nothing";
  amount: number | null;
  currency: string | null;
  text: string;
}

export type Reason =
  | "free_course"
  | "free_chapter"
  | "purchased"
  | "payment_required"
  | "payment_processing"
  | "payment_disputed";

export interface Access {
  course: string;
  chapter: number | null;
  access: "granted" | "denied";
  tier: Tier;
  reason: Reason;
  until: string | null;
  offers: Offer[];
}

export interface ChapterLink {
  course: string;
  chapter: number;
  url: string;
  expires_at: string;
}

export interface Checkout {
  session_id: string;
  url: string;
  expires_at: string;
}

export interface Confirmation {
  status:
    | "open"
    | "processing"
    | "paid"
    | "failed"
    | "expired"
    | "ended"
    | "refunded"
    | "suspended"
    | "dispute_lost"
    | "revoked";
  access: "granted" | "denied";
}

/** `config.json`, which the local stack serves and `coursegate site deploy` writes. */
export interface Config {
  api: string;
  sign_in: {
    authorize: string;
    token: string;
    /** Where refresh tokens are revoked. */
    revoke: string | null;
    logout: string;
    client_id: string;
    scope: string;
    redirect: string;
    /** Cognito's API, which creates accounts without a password. */
    sign_up: string | null;
    /** The page on which a learner adds a passkey. */
    passkeys: string | null;
  };
  embed_origins: string[];
}

/** The issuer's response for a code or a refresh token. */
export interface Tokens {
  access_token: string;
  id_token?: string;
  refresh_token?: string;
  token_type: string;
  expires_in: number;
}
