//! Mutates inputs by a seed: the same seed gives the same mutations.

use serde_json::Value;
use simulation::random::SplitMix64;

/// Text that parsers stumble over, and parts of our inputs.
const WORDS: &[&str] = &[
    "",
    "\0",
    "\n",
    "\n\n",
    ",",
    "=",
    "#",
    "é",
    "\u{202e}",
    "-1",
    "0",
    "9223372036854775807",
    "-9223372036854775808",
    "1e999",
    "null",
    "true",
    "[]",
    "{}",
    "t=",
    "v1=",
    "$t",
    "$0",
    "$1",
    "$2",
    "paid",
    "unpaid",
    "no_payment_required",
    "complete",
    "expired",
    "evt_",
    "cs_",
    "pi_",
    "re_",
    "du_",
    "issfr_",
    "cus_",
    "pi_foreign",
    "refund.failed",
    "charge.dispute.closed",
    "charge.dispute.updated",
    "succeeded",
    "failed",
    "requires_action",
    "warning_needs_response",
    "under_review",
    "won",
    "lost",
    "prevented",
    "x-",
    "claim.sub: ",
    "claim.scope: coursegate/learn",
    "claim.scope: coursegate/learners",
    "claim.scp: [openid coursegate/learn]",
    "tutorclaw_paid",
    "base64: ",
];

/// A seeded random number generator.
pub struct Numbers(SplitMix64);

impl Numbers {
    /// The generator of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(SplitMix64::new(seed))
    }

    /// A number below this one, which is at least one.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.0.next() % bound).unwrap()
    }

    fn one_of<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// One of these inputs, mutated in one to four places.
#[must_use]
pub fn varied(numbers: &mut Numbers, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut input = numbers.one_of(inputs).clone();
    for _ in 0..=numbers.below(4) {
        match numbers.below(7) {
            0 => flip_a_bit(numbers, &mut input),
            1 => replace_a_piece(numbers, &mut input, b""),
            2 => {
                let other = numbers.one_of(inputs);
                let piece = piece(numbers, other).to_vec();
                replace_a_piece(numbers, &mut input, &piece);
            }
            3 | 4 => {
                let word = numbers.one_of(WORDS).as_bytes();
                replace_a_piece(numbers, &mut input, word);
            }
            _ => vary_json(numbers, &mut input),
        }
    }
    input
}

fn flip_a_bit(numbers: &mut Numbers, input: &mut [u8]) {
    let bit = 1 << numbers.below(8);
    let at = numbers.below(input.len());
    if let Some(byte) = input.get_mut(at) {
        *byte ^= bit;
    }
}

/// A slice of an input, usually a short one.
fn piece<'a>(numbers: &mut Numbers, input: &'a [u8]) -> &'a [u8] {
    let start = numbers.below(input.len() + 1);
    let longest = if numbers.below(4) == 0 { input.len() } else { 8 };
    let length = numbers.below(longest + 1).min(input.len() - start);
    &input[start..start + length]
}

fn replace_a_piece(numbers: &mut Numbers, input: &mut Vec<u8>, with: &[u8]) {
    let start = numbers.below(input.len() + 1);
    let length = numbers.below(9).min(input.len() - start);
    input.splice(start..start + length, with.iter().copied());
}

/// Changes one value of the JSON that the input or its body is. Bytes that are changed blindly are
/// rarely still JSON.
fn vary_json(numbers: &mut Numbers, input: &mut Vec<u8>) {
    let body = input.windows(2).position(|two| two == b"\n\n").map_or(0, |end| end + 2);
    let start = if input.first() == Some(&b'{') { 0 } else { body };
    let Ok(mut json) = serde_json::from_slice::<Value>(&input[start..]) else { return };
    let at = numbers.below(count(&json));
    change(numbers, &mut json, &mut at.clone());
    input.truncate(start);
    input.extend(json.to_string().into_bytes());
}

/// The number of values in this one, including itself.
fn count(json: &Value) -> usize {
    let within: usize = match json {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    1 + within
}

/// Changes the value at this position.
fn change(numbers: &mut Numbers, json: &mut Value, at: &mut usize) {
    if *at == 0 {
        *json = another(numbers, json);
    }
    *at = at.wrapping_sub(1);
    match json {
        Value::Array(values) => values.iter_mut().for_each(|value| change(numbers, value, at)),
        Value::Object(fields) => {
            // Most often a field is removed.
            let left_out = fields.keys().nth(*at).cloned();
            if numbers.below(4) == 0
                && let Some(name) = left_out
            {
                fields.remove(&name);
            }
            fields.values_mut().for_each(|value| change(numbers, value, at));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn another(numbers: &mut Numbers, json: &Value) -> Value {
    let word = *numbers.one_of(WORDS);
    match numbers.below(8) {
        0 => Value::Null,
        1 => Value::Bool(numbers.below(2) == 0),
        2 => i64::MAX.into(),
        3 => i64::MIN.into(),
        4 => Value::Array(vec![json.clone(), json.clone()]),
        5 => word.into(),
        6 => format!("{}{word}", json.as_str().unwrap_or_default()).into(),
        _ => json.as_str().unwrap_or("x").repeat(1 + numbers.below(300)).into(),
    }
}
