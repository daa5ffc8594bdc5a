//! Any bytes as a configuration: a list of problems or a configuration that prints as one that means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| evenkeel_config::fuzzing::config(bytes));
