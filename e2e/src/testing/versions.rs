//! Other versions of the plugin hello: its program with other words of the same length in it, so that one build makes several that answer
//! differently.

use std::fs;

use kite_plugin::image::{self, PushOptions};

use crate::{
    cluster::Layout,
    deploy::images::{binary, image_spec},
    target::Target,
};

/// What takes the place of what, wherever it stands in the program.
pub type Words<'a> = &'a [(&'a str, &'a str)];

/// The version of hello that this build makes.
pub const VERSION: &str = "0.1.0";

/// Pushes hello as this version and with these words, and gives the image's reference by digest.
///
/// # Panics
/// If that cannot be made, or a word does not stand in the program.
pub async fn hello_as(version: &str, words: Words<'_>) -> String {
    let image = push(version, words, version).await;
    format!("{}@{}", image.repository, image.digest)
}

/// Pushes hello of this build with these words under a tag, whatever was there, and gives the image's reference by that tag.
///
/// # Panics
/// If that cannot be made, or a word does not stand in the program.
pub async fn hello_tagged(tag: &str, words: Words<'_>) -> String {
    let image = push(VERSION, words, tag).await;
    format!("{}:{tag}", image.repository)
}

/// An image that was pushed.
struct Pushed {
    repository: String,
    digest: String,
}

#[expect(clippy::expect_used, reason = "a test without its image can only fail")]
async fn push(version: &str, words: Words<'_>, tag: &str) -> Pushed {
    let target = Target::running(&Layout::from_env().expect("the layout")).expect("the cluster");
    let mut program = fs::read(binary("hello").expect("hello")).expect("the program");
    let (before, after) = (format!("  version: {VERSION}"), format!("  version: {version}"));
    for (old, new) in [(before.as_str(), after.as_str())].iter().chain(words) {
        replace(&mut program, old.as_bytes(), new.as_bytes());
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hello");
    fs::write(&path, program).expect("the other program");
    let image = image::build(&image_spec(path, "hello", version)).expect("an image");
    let repository = format!("{}/kite/hello", target.registry.host);
    let options = PushOptions {
        plain_http: target.registry.plain_http,
    };
    let place = format!("{repository}:{tag}").parse().expect("a reference");
    let digest = image::push(&image, &place, options).await.expect("the image is pushed");
    Pushed {
        repository,
        digest: digest.to_string(),
    }
}

/// Puts `new` wherever `old` stands.
fn replace(program: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len(), "words of one length, so that nothing moves");
    let mut found = 0;
    let mut begin = 0;
    while let Some(window) = program.get_mut(begin..begin + old.len()) {
        if window == old {
            window.copy_from_slice(new);
            found += 1;
        }
        begin += 1;
    }
    assert!(
        found > 0,
        "{} does not stand in the program",
        String::from_utf8_lossy(old)
    );
}
