//! The `cutover` command.

fn main() {}
