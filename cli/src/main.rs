fn main() -> std::process::ExitCode {
    polder_cli::main()
}
