//! Identifiers like Stripe's: a prefix for the kind, and random letters and digits.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `prefix` followed by this many random letters and digits.
pub(crate) fn random(prefix: &str, length: usize) -> String {
    let mut id = String::with_capacity(prefix.len() + length);
    id.push_str(prefix);
    let mut bytes = [0_u8; 64];
    while id.len() < prefix.len() + length {
        #[expect(clippy::expect_used, reason = "nothing works without randomness")]
        getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
        for byte in bytes {
            // 248 is 4 x 62: larger bytes would favor some letters.
            if byte < 248 && id.len() < prefix.len() + length {
                let letter = ALPHABET.get(usize::from(byte) % ALPHABET.len());
                id.push(char::from(letter.copied().unwrap_or(b'0')));
            }
        }
    }
    id
}

pub(crate) fn customer() -> String {
    random("cus_", 14)
}

pub(crate) fn product() -> String {
    random("prod_", 14)
}

pub(crate) fn price() -> String {
    random("price_1", 23)
}

pub(crate) fn checkout_session() -> String {
    random("cs_test_a1", 56)
}

pub(crate) fn line_item() -> String {
    random("li_1", 23)
}

pub(crate) fn payment_intent() -> String {
    random("pi_3", 23)
}

pub(crate) fn payment_method() -> String {
    random("pm_1", 23)
}

pub(crate) fn charge() -> String {
    random("ch_3", 23)
}

pub(crate) fn refund() -> String {
    random("re_3", 23)
}

pub(crate) fn dispute() -> String {
    random("du_1", 23)
}

pub(crate) fn early_fraud_warning() -> String {
    random("issfr_1", 23)
}

pub(crate) fn balance_transaction() -> String {
    random("txn_3", 23)
}

pub(crate) fn event() -> String {
    random("evt_1", 23)
}

pub(crate) fn webhook_endpoint() -> String {
    random("we_1", 23)
}

pub(crate) fn event_destination() -> String {
    random("ed_test_6", 28)
}

pub(crate) fn signing_secret() -> String {
    random("whsec_", 32)
}

pub(crate) fn portal_configuration() -> String {
    random("bpc_1", 23)
}

pub(crate) fn request() -> String {
    random("req_", 14)
}

pub(crate) fn delivery() -> String {
    random("del_1", 23)
}
