//! Invoice payments: which invoices a payment pays. There are no invoices yet, so no payment pays
//! one.

use serde_json::Value;

use crate::error::ApiError;
use crate::parameters::{self, Parameter, Shape, optional, required};
use crate::resources::lists;

pub(crate) fn list(sent: &Value) -> Result<Value, ApiError> {
    const FILTERS: &[Parameter] = &[
        optional("created", Shape::TimeRange),
        optional("invoice", Shape::Text),
        optional(
            "payment",
            Shape::Object(&[
                optional("payment_intent", Shape::Text),
                optional("payment_record", Shape::Text),
                required("type", Shape::Choice(&["payment_intent", "payment_record"])),
            ]),
        ),
        optional("status", Shape::Choice(&["canceled", "open", "paid"])),
        lists::LIMIT,
        lists::STARTING_AFTER,
        lists::ENDING_BEFORE,
    ];
    parameters::check(FILTERS, sent)?;
    Ok(lists::page_of("/v1/invoice_payments", Vec::new(), false))
}
