//! `fuzz::tutor::tutor`, as libFuzzer runs it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::tutor::tutor(bytes));
