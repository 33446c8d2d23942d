//! What runs on a pretend front end as `helm`, `kubectl`, `clues` and `service`.

fn main() -> std::process::ExitCode {
    sandbox::frontend::programs::main()
}
