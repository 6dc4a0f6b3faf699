//! The first files of each corpus are messages as the protocol has them; `make generate` writes them anew.
#![cfg(test)]

#[path = "generated/seeds.rs"]
mod seeds;

use std::{fs, path::Path};

#[test]
fn the_seeds_are_current() {
    let generate = std::env::var_os("KITE_GENERATE").is_some();
    for (target, name, data) in seeds::all() {
        let file = format!("fuzz/corpus/{target}/seed-{name}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(&file);
        if generate {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &data).unwrap();
        }
        assert!(
            fs::read(&path).is_ok_and(|committed| committed == data),
            "{file} is not what the protocol says: run `make generate`"
        );
    }
}
