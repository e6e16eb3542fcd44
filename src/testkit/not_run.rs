//! What a machine lacks for a test is named, as `.ci/run` names it. Way in: [`not_run`].

use std::io::Write as _;

/// Says on standard error that something is not run here.
pub fn not_run(what: &str, why: &str) {
    // Past the harness, which hides what a test prints that passes.
    let _nobody_reads = writeln!(std::io::stderr(), "NOT RUN: {what}: {why}");
}
