//! Why tests failed, picked from what Rust's test harness prints, so that it can be said once more where a long run ends.

/// How many lines are said of one test: so many of the first, and so many of the last.
const EDGE: usize = 20;

/// A test that failed.
#[derive(Debug, Eq, PartialEq)]
struct Failure {
    test: String,
    /// What it said when it panicked, or the error that it ended in.
    said: Vec<String>,
}

/// Reads the output of test programs line by line.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Failures {
    all: Vec<Failure>,
    /// The lines that come belong to the last failure's output.
    is_within: bool,
    /// And to its panic.
    speaks: bool,
}

impl Failures {
    pub(super) fn read(&mut self, line: &str) {
        let begun = line
            .strip_prefix("---- ")
            .and_then(|rest| rest.strip_suffix(" stdout ----"));
        if let Some(test) = begun {
            self.all.push(Failure {
                test: test.to_owned(),
                said: Vec::new(),
            });
            (self.is_within, self.speaks) = (true, false);
            return;
        }
        let ends = ["failures:", "test result: "].iter().any(|end| line.starts_with(end));
        self.is_within &= !ends;
        let is_trace = line.starts_with("stack backtrace:") || line.starts_with("note: run with `RUST_BACKTRACE");
        self.speaks &= !is_trace;
        let is_panic = line.starts_with("thread '") && line.contains(" panicked at ");
        self.speaks |= is_panic || line.starts_with("Error: ");
        if let Some(failure) = self.all.last_mut().filter(|_| self.is_within && self.speaks) {
            failure.said.push(line.to_owned());
        }
    }

    pub(super) fn add(&mut self, mut other: Self) {
        self.all.append(&mut other.all);
    }

    /// What is to be said of each, without the middle of what is long.
    pub(super) fn told(&self) -> Vec<String> {
        let of_one = |failure: &Failure| {
            let said = &failure.said;
            let (first, rest) = said.split_at(said.len().min(EDGE));
            let (middle, last) = rest.split_at(rest.len().saturating_sub(EDGE));
            let left_out = (!middle.is_empty()).then(|| format!("[… {} lines …]", middle.len()));
            let lines = first.iter().chain(&left_out).chain(last);
            let lines = lines.map(|line| format!("  {line}"));
            [failure.test.clone()].into_iter().chain(lines).collect::<Vec<_>>()
        };
        self.all.iter().flat_map(of_one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> Vec<String> {
        let mut failures = Failures::default();
        for line in lines {
            failures.read(line);
        }
        failures.told()
    }

    #[test]
    fn a_panic_is_told_without_its_trace() {
        let told = told(&[
            "test a::b ... FAILED",
            "failures:",
            "",
            "---- a::b stdout ----",
            "what the test printed",
            "thread 'a::b' (7) panicked at src/a.rs:1:2:",
            "left is not right",
            "stack backtrace:",
            "   0: of no interest",
            "",
            "---- a::c stdout ----",
            "Error: it ended",
            "",
            "failures:",
            "    a::b",
            "test result: FAILED. 0 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.03s",
            "thread 'other' (8) panicked at src/a.rs:1:2:",
        ]);
        let expected = [
            "a::b",
            "  thread 'a::b' (7) panicked at src/a.rs:1:2:",
            "  left is not right",
            "a::c",
            "  Error: it ended",
            "  ",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn of_a_long_one_both_ends_are_told() {
        let numbers: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let begin = ["---- a stdout ----", "thread 'a' (7) panicked at src/a.rs:1:2:"];
        let lines: Vec<&str> = begin.into_iter().chain(numbers.iter().map(String::as_str)).collect();
        let told = told(&lines);
        assert_eq!(told.len(), 1 + EDGE + 1 + EDGE);
        assert_eq!(told[EDGE + 1], "  [… 61 lines …]");
        assert_eq!(told.last().unwrap(), "  99");
    }

    #[test]
    fn of_tests_that_pass_nothing_is_told() {
        let passed = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.03s";
        assert_eq!(told(&["running 1 test", "test a ... ok", passed]), Vec::<String>::new());
    }
}
