//! What runs on a pretend front end as `helm`, `kubectl` and `clues`.

fn main() -> std::process::ExitCode {
    sandbox::frontend::programs::main()
}
