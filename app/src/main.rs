//! The binary: hands over to the library.

fn main() -> std::process::ExitCode {
    plinth::cli::run().into()
}
