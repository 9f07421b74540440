//! Paths, queries and signatures of requests.

#![no_main]

use cairn::gateway::front::fuzz::request_line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str, &str, &str)| {
    let (host, path, query, authorization) = input;
    request_line(host, path, query, authorization);
});
