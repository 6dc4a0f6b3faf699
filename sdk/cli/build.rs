//! Says when what is embedded must be read anew: a file that is added to a folder is in no list yet that the compiler keeps.

fn main() {
    for folder in [
        "templates",
        "generated",
        "../rust/src",
        "../proto/src",
        "../../crds/src",
    ] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
