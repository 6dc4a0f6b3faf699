#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kite_fuzz::try_target("gateway_exchange", data));
