//! What `make bench` measures of the gateway, in small: so that it goes on working, and the bounds that hold for any size are held.
//! It needs no cluster, but a machine to itself.
#![cfg(test)]
#![expect(clippy::print_stdout, reason = "the harness keeps a test's standard output")]

use std::{
    path::Path,
    process::{Command, Output},
};

/// Measures so much of this build's gateway, for so many seconds in each round, and gives the tables.
fn measured(only: &str, rounds: &str, seconds: &str) -> String {
    let e2e = Path::new(env!("CARGO_BIN_EXE_kite-e2e"));
    let output = Command::new(e2e)
        .args([
            "load",
            "--small",
            "--only",
            only,
            "--rounds",
            rounds,
            "--seconds",
            seconds,
            "--program",
        ])
        .arg(e2e.with_file_name("kite-gateway"))
        .output()
        .unwrap();
    let Output { status, stdout, stderr } = output;
    let [tables, talk] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(status.success(), "{talk}\n{tables}");
    println!("{tables}");
    tables
}

/// The rows of tables that are of a gateway.
fn rows(tables: &str) -> usize {
    tables.lines().filter(|line| line.contains("| gateway |")).count()
}

#[test]
fn what_passes_and_what_waits_takes_little_memory() {
    let tables = measured("transfers,streams", "1", "2");
    assert_eq!(rows(&tables), 4, "up and down, and over each version of HTTP");
}

#[test]
fn starvation_a_plugin_that_offends_slows_down_no_other() {
    let tables = measured("others", "3", "2");
    assert_eq!(rows(&tables), 4, "each offence");
}

#[test]
fn the_gateway_and_nginx_answer_the_same_in_every_way_that_is_compared() {
    let tables = measured("throughput", "1", "1");
    let compared = tables.lines().filter(|line| line.contains("| gateway | nginx")).count();
    assert_eq!(
        compared, 18,
        "three requests, two numbers of clients, beside nginx in three ways"
    );
    let all_answered = |line: &str| line.ends_with("| 0 |");
    let figures = tables
        .lines()
        .filter(|line| line.contains(" | gateway | ") && !line.contains("nginx"));
    let refused: Vec<&str> = figures.filter(|line| !all_answered(line)).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
