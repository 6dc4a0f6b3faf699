#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kite_fuzz::try_target("web_socket_frames", data));
