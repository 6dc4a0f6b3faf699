//! Says when what is embedded must be read anew: a file that is added to a folder is in no list yet that the compiler keeps.

#[expect(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]
fn main() {
    for folder in ["templates", "packed", "../rust/src", "../proto/src", "../../crds/src"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
