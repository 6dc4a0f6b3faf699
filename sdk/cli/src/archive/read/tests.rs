//! One test for each way to refuse a package, and the properties of all.

mod spoilt;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use self::spoilt::{
    Entry, described_otherwise, entries, find, good, gzip, index_otherwise, package, parts, spoilt, tar, with,
};
use super::*;
use crate::{
    archive::{MAX_PATH, write},
    image::layer,
};

#[test]
fn what_was_written_is_read() {
    let written = write(&good()).unwrap();
    let package = read(written.as_slice()).unwrap();
    assert_eq!(parts(&package), parts(&good()));
    assert_eq!(package.manifest.name.as_str(), "own");
    assert!(write(&package).unwrap() == written);
}

#[test]
fn the_order_of_entries_and_entries_for_folders_are_free() {
    let mut entries = entries();
    entries.reverse();
    entries.retain(|entry| entry.path != "own/image/blobs");
    find(&mut entries, "own").path = "own/".to_owned();
    let package = read(gzip(&tar(&entries)).as_slice()).unwrap();
    assert_eq!(parts(&package), parts(&good()));
}

#[test]
fn what_is_no_whole_gzip_file_is_refused() {
    let whole = write(&good()).unwrap();
    for part in [&[][..], b"no gzip", &whole[..20], &whole[..whole.len() - 1]] {
        assert!(matches!(read(part), Err(ArchiveError::Read(_))), "{} bytes", part.len());
    }
    let mut damaged = whole.clone();
    let last = damaged.len() - 5;
    damaged[last] ^= 1;
    assert!(matches!(read(damaged.as_slice()), Err(ArchiveError::Read(_))));
    // An archive that ends within an entry, wrapped well.
    let cut = tar(&entries());
    assert!(matches!(read(gzip(&cut[..700]).as_slice()), Err(ArchiveError::Read(_))));
}

#[test]
fn what_follows_the_end_is_refused() {
    let whole = write(&good()).unwrap();
    let garbage = [whole.as_slice(), b"x"].concat();
    assert!(matches!(read(garbage.as_slice()), Err(ArchiveError::TrailingData)));
    let twice = [whole.as_slice(), &whole].concat();
    assert!(matches!(read(twice.as_slice()), Err(ArchiveError::TrailingData)));
    let plain = [tar(&entries()), tar(&entries())].concat();
    assert!(matches!(read(gzip(&plain).as_slice()), Err(ArchiveError::TrailingData)));
    let padded = [tar(&entries()), vec![0; 10_240]].concat();
    assert_eq!(parts(&read(gzip(&padded).as_slice()).unwrap()), parts(&good()));
}

#[test]
fn more_than_the_limits_allow_is_refused() {
    let whole = write(&good()).unwrap();
    let plain = tar(&entries()).len() as u64;
    let within = |change: fn(&mut Limits, u64, usize)| {
        let mut limits = Limits::default();
        change(&mut limits, plain, entries().len());
        read_within(whole.as_slice(), limits)
    };
    let exact = within(|limits, plain, count| {
        limits.total = plain;
        limits.entries = count;
    });
    assert_eq!(parts(&exact.unwrap()), parts(&good()));
    let total = within(|limits, plain, _| limits.total = plain - 1);
    assert!(matches!(total, Err(ArchiveError::TooLarge(_))), "{total:?}");
    let count = within(|limits, _, count| limits.entries = count - 1);
    assert!(matches!(count, Err(ArchiveError::TooManyEntries(_))), "{count:?}");
    let file = within(|limits, _, _| limits.file = 3);
    assert!(matches!(file, Err(ArchiveError::FileTooLarge { .. })), "{file:?}");
}

#[test]
fn a_bomb_is_refused_before_it_is_unpacked() {
    let zeros = Entry::file("own/web/zeros", vec![0; 64 << 20]);
    let bomb = gzip(&tar(&[zeros]));
    assert!(bomb.len() < 512 << 10);
    let limits = Limits {
        total: 1 << 20,
        ..Limits::default()
    };
    assert!(matches!(
        read_within(bomb.as_slice(), limits),
        Err(ArchiveError::TooLarge(_))
    ));
    let limits = Limits {
        file: 1 << 20,
        ..Limits::default()
    };
    assert!(matches!(
        read_within(bomb.as_slice(), limits),
        Err(ArchiveError::FileTooLarge { .. })
    ));
    // One that only its header makes large.
    let mut liar = Entry::file("own/web/liar", "");
    liar.size = Some(500 << 20);
    assert!(matches!(
        read(gzip(&tar(&[liar])).as_slice()),
        Err(ArchiveError::Read(_))
    ));
    // And one in what stands behind the archive.
    let behind = [tar(&entries()), vec![0; 8 << 20]].concat();
    let limits = Limits {
        total: 1 << 20,
        ..Limits::default()
    };
    assert!(matches!(
        read_within(gzip(&behind).as_slice(), limits),
        Err(ArchiveError::TooLarge(_))
    ));
}

#[test]
fn each_kind_of_entry_but_files_and_folders_is_refused() {
    use tar::EntryType;
    for kind in [
        EntryType::Link,
        EntryType::Symlink,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
        EntryType::Continuous,
        EntryType::GNULongName,
        EntryType::GNULongLink,
        EntryType::GNUSparse,
        EntryType::XGlobalHeader,
        EntryType::XHeader,
    ] {
        let refused = with(Entry::of("own/web/odd", kind));
        assert!(
            matches!(&refused, ArchiveError::Kind { path, .. } if path == "own/web/odd"),
            "{kind:?}: {refused}"
        );
    }
}

#[test]
fn each_path_that_is_not_plain_is_refused() {
    let long = format!("own/web/{}/{}", "a".repeat(147), "b".repeat(100));
    assert_eq!(long.len(), MAX_PATH + 1);
    for path in [
        "",
        "/etc/passwd",
        "/own/web/a",
        "../a",
        "own/web/../../a",
        "own/web/./a",
        "./own/web/a",
        "own//web/a",
        "own/web/a/",
        "own\\web\\a",
        "own/web/a\nb",
        "own/web/..",
        &long,
    ] {
        let refused = with(Entry::file(path, "x"));
        assert!(matches!(refused, ArchiveError::Path(_)), "{path:?}: {refused}");
    }
    let mut bytes = tar(&[Entry::file("own/web/ab", "x")]);
    bytes[8] = 0xff;
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes().copy_from_slice(&bytes[..512]);
    header.set_cksum();
    bytes[..512].copy_from_slice(header.as_bytes());
    assert!(matches!(read(gzip(&bytes).as_slice()), Err(ArchiveError::Path(_))));
}

#[test]
fn two_of_one_path_are_refused() {
    let refused = with(Entry::file("own/web/assets/a.css", "other"));
    assert!(matches!(refused, ArchiveError::Duplicate(_)), "{refused}");
    let refused = with(Entry::of("own/web/assets/a.css/", tar::EntryType::Directory));
    assert!(matches!(refused, ArchiveError::Duplicate(_)), "{refused}");
    let refused = with(Entry::of("own/web", tar::EntryType::Directory));
    assert!(matches!(refused, ArchiveError::Duplicate(_)), "{refused}");
}

#[test]
fn a_file_with_something_below_it_is_refused() {
    let refused = with(Entry::file("own/web/assets/a.css/b", "x"));
    assert!(matches!(refused, ArchiveError::BelowFile(_)), "{refused}");
    let refused = spoilt(|entries| {
        entries.retain(|entry| entry.path != "own/web/assets");
        entries.push(Entry::file("own/web/assets", "x"));
    });
    assert!(matches!(refused, ArchiveError::BelowFile(_)), "{refused}");
}

#[test]
fn another_top_folder_or_another_file_is_refused() {
    for path in ["other/web/a", "other", "ow/web/a"] {
        let refused = with(Entry::file(path, "x"));
        assert!(matches!(refused, ArchiveError::OtherFolder { .. }), "{path}: {refused}");
    }
    for path in [
        "own/README.md",
        "own/image/a",
        "own/image/blobs/sha512/a",
        "own/image/blobs/sha256/abc",
        &format!("own/image/blobs/sha256/{}", "A".repeat(64)),
        "own/webs/a",
    ] {
        let refused = with(Entry::file(path, "x"));
        assert!(matches!(refused, ArchiveError::Unexpected(_)), "{path}: {refused}");
    }
    let top = read(gzip(&tar(&[Entry::file("own", "x")])).as_slice());
    assert!(matches!(top, Err(ArchiveError::Unexpected(_))));
}

#[test]
fn a_package_without_one_of_its_files_is_refused() {
    for path in ["own/plugin.yaml", "own/image/oci-layout", "own/image/index.json"] {
        let refused = spoilt(|entries| entries.retain(|entry| entry.path != path));
        assert!(
            matches!(&refused, ArchiveError::Missing(missing) if path.ends_with(missing.as_str())),
            "{path}: {refused}"
        );
    }
    let blobs = entries();
    for blob in blobs.iter().filter(|entry| entry.path.contains("/sha256/")) {
        let refused = spoilt(|entries| entries.retain(|entry| entry.path != blob.path));
        assert!(
            matches!(&refused, ArchiveError::Missing(missing) if blob.path.ends_with(missing.as_str())),
            "{}: {refused}",
            blob.path
        );
    }
    assert!(matches!(
        read(gzip(&tar(&[])).as_slice()),
        Err(ArchiveError::Missing(_))
    ));
}

#[test]
fn a_document_is_refused_for_each_of_its_reasons() {
    let with_document = |change: &dyn Fn(String) -> Vec<u8>| {
        spoilt(|entries| {
            let entry = find(entries, "own/plugin.yaml");
            entry.content = change(String::from_utf8(entry.content.clone()).unwrap());
        })
    };
    let refused = with_document(&|text| text.replace("kind:", "kin:").into());
    assert!(matches!(refused, ArchiveError::Manifest(_)), "{refused}");
    let refused = with_document(&|_| vec![0xff]);
    assert!(matches!(refused, ArchiveError::NotText), "{refused}");
    let refused = with_document(&|text| text.replace("name: own", "name: other").into());
    assert!(matches!(refused, ArchiveError::Name { .. }), "{refused}");
    let with_image = |image: &str| {
        with_document(&|text| {
            let (before, _) = text.split_once("image:").unwrap();
            format!("{before}image: \"{image}\"}}\n").into()
        })
    };
    for image in ["own:1.0.0", &format!("own@sha256:{}", "0".repeat(64))] {
        let refused = with_image(image);
        assert!(matches!(refused, ArchiveError::ImageName(_)), "{image}: {refused}");
    }
    let refused = with_image("own@sha256:0000");
    assert!(matches!(refused, ArchiveError::Manifest(_)), "{refused}");
    let refused = with_document(&|text| (text + &"#".repeat(1 << 20)).into());
    assert!(matches!(refused, ArchiveError::FileTooLarge { .. }), "{refused}");
}

#[test]
fn a_layout_or_an_index_is_refused_for_each_of_its_reasons() {
    let refused = spoilt(|entries| {
        find(entries, "own/image/oci-layout").content = br#"{"imageLayoutVersion": "2.0.0"}"#.into();
    });
    assert!(matches!(refused, ArchiveError::LayoutVersion), "{refused}");
    for path in ["own/image/oci-layout", "own/image/index.json"] {
        let refused = spoilt(|entries| find(entries, path).content = b"{".into());
        assert!(matches!(refused, ArchiveError::Description { .. }), "{path}: {refused}");
    }
    let refused = index_otherwise(|index| index["manifests"] = json!([]));
    assert!(matches!(refused, ArchiveError::Images(0)), "{refused}");
    let refused = index_otherwise(|index| {
        let one = index["manifests"][0].clone();
        index["manifests"].as_array_mut().unwrap().push(one);
    });
    assert!(matches!(refused, ArchiveError::Images(2)), "{refused}");
    let refused = index_otherwise(|index| {
        index["manifests"][0]["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    });
    assert!(matches!(refused, ArchiveError::MediaType { .. }), "{refused}");
    let refused = index_otherwise(|index| index["manifests"][0]["size"] = json!(1));
    assert!(matches!(refused, ArchiveError::Size { .. }), "{refused}");
}

#[test]
fn an_image_is_refused_for_each_of_its_reasons() {
    let refused = spoilt(|entries| {
        let blob = entries.iter_mut().find(|entry| entry.content == b"one").unwrap();
        blob.content = b"two".into();
    });
    assert!(matches!(refused, ArchiveError::Digest { .. }), "{refused}");
    let refused = described_otherwise(|image| image["layers"][2]["size"] = json!(4));
    assert!(matches!(refused, ArchiveError::Size { .. }), "{refused}");
    let refused = described_otherwise(|image| image["layers"][0]["mediaType"] = json!("text/plain"));
    assert!(matches!(refused, ArchiveError::MediaType { .. }), "{refused}");
    let refused = described_otherwise(|image| image["config"]["mediaType"] = json!("text/plain"));
    assert!(matches!(refused, ArchiveError::MediaType { .. }), "{refused}");
    let refused = described_otherwise(|image| {
        let layers = image["layers"].as_array_mut().unwrap();
        layers.remove(0);
    });
    assert!(matches!(refused, ArchiveError::Unused(_)), "{refused}");
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let refused = described_otherwise(|image| image["layers"][0]["digest"] = json!(sha512));
    assert!(matches!(refused, ArchiveError::Missing(_)), "{refused}");
    let refused = described_otherwise(|image| *image = json!([]));
    assert!(matches!(refused, ArchiveError::Description { .. }), "{refused}");
}

/// Paths of web files that fit the format.
fn web() -> impl Strategy<Value = BTreeMap<String, Bytes>> {
    let path = prop::collection::vec("[a-zA-Z0-9ä @+][a-zA-Z0-9._ä@+-]{0,20}", 1..4);
    let path = path.prop_map(|parts| parts.join("/"));
    let content = prop::collection::vec(any::<u8>(), 0..2000).prop_map(Bytes::from);
    prop::collection::btree_map(path, content, 0..8).prop_filter("a file with something below it", |files| {
        let is_folder = |path: &String| files.keys().any(|other| other.starts_with(&format!("{path}/")));
        !files.keys().any(is_folder)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_written_is_read_and_written_the_same(web in web()) {
        let package = package(web);
        let written = write(&package).unwrap();
        let again = read(written.as_slice()).unwrap();
        prop_assert_eq!(parts(&again), parts(&package));
        prop_assert!(write(&again).unwrap() == written);
    }

    #[test]
    fn whatever_is_changed_is_refused_or_a_package_still(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut plain = tar(&entries());
        for (at, byte) in changes {
            let at = at.index(plain.len());
            plain[at] = byte;
        }
        if let Ok(package) = read(gzip(&plain).as_slice()) {
            prop_assert_eq!(package.image.digest(), &layer::digest(&package.image.manifest));
            for blob in &package.image.layers {
                prop_assert_eq!(&blob.digest, &layer::digest(&blob.data));
            }
            let again = write(&package).unwrap();
            prop_assert_eq!(parts(&read(again.as_slice()).unwrap()), parts(&package));
        }
    }

    #[test]
    fn whatever_comes_is_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(read(bytes.as_slice()).is_err());
        prop_assert!(read(gzip(&bytes).as_slice()).is_err());
    }
}
