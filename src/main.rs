//! The one binary.

fn main() {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    // First of all and without any runtime: a shim is the small parent of one task.
    #[cfg(not(feature = "sim"))]
    if let [command, dir] = arguments.as_slice()
        && command == "shim"
    {
        std::process::exit(platformd::agent::shim::main(std::path::Path::new(dir)));
    }
    let _ = arguments;
}
