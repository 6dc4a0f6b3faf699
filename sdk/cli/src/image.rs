//! OCI images of plugins, written without a container engine: a program, the libraries that it needs, and no more.

mod credentials;
mod elf;
pub(crate) mod layer;
mod libraries;
mod push;
mod python;
mod search;

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use layer::{File, Layer, Paths};
pub use libraries::{LibraryError, Unfound};
pub use oci_client::Reference;
pub use oci_spec::image::{Arch, Digest};
use oci_spec::{
    OciSpecError,
    image::{
        ConfigBuilder, Descriptor, ImageConfigurationBuilder, ImageManifestBuilder, MediaType, Os, RootFsBuilder,
        SCHEMA_VERSION,
    },
};
pub use push::{Obstacle, PushError, PushOptions, push};
pub use python::{PythonImageError, PythonSpec, build_python};
use search::SearchPath;
use serde::Serialize;

use self::elf::Elf;
pub use self::elf::ElfError;

/// User and group that an image's process runs as.
const USER: &str = "65532:65532";
/// Where an image has the certificates of the CAs that its process trusts.
const CA_CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Where machines have them: Debian and Alpine, Fedora, SUSE.
const HOST_CA_CERTIFICATES: [&str; 3] = [
    CA_CERTIFICATES,
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
];
const PASSWD: &str = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\nnonroot:x:65532:\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files dns\n";

/// What an image is made from.
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// The binary that the image runs: 64-bit ELF for Linux, of this machine's architecture, since the libraries that
    /// it needs are taken from this machine.
    pub binary: PathBuf,
    /// Absolute path of the binary in the image, and its entrypoint. Usually [`ImageSpec::ENTRYPOINT`].
    pub entrypoint: PathBuf,
    /// What the image is called in its label `org.opencontainers.image.title`.
    pub title: String,
    /// What is in its label `org.opencontainers.image.version`.
    pub version: String,
    /// PEM file with the certificates of the CAs that the process trusts. Absent: this machine's.
    pub ca_certificates: Option<PathBuf>,
}

impl ImageSpec {
    /// Where the binary lies in the image unless there is a reason for another place.
    pub const ENTRYPOINT: &str = "/plugin";
}

/// A part of an image, named by its digest.
#[derive(Clone, Debug)]
pub struct Blob {
    pub digest: Digest,
    pub data: Bytes,
}

/// An image, ready to be sent. The same content always gives the same digest.
#[derive(Clone, Debug)]
pub struct Image {
    /// The libraries, then the binary: the first changes rarely, so that registries and nodes have it already.
    pub layers: Vec<Blob>,
    pub config: Blob,
    pub manifest: Bytes,
    digest: Digest,
}

impl Image {
    /// An image of its parts, in the order of its manifest.
    pub(crate) fn of_parts(layers: Vec<Blob>, config: Blob, manifest: Bytes) -> Self {
        Self {
            layers,
            config,
            digest: layer::digest(&manifest),
            manifest,
        }
    }

    /// The digest of the manifest, by which the image is pulled.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Number of bytes that a registry stores.
    pub fn size(&self) -> usize {
        self.layers
            .iter()
            .chain([&self.config])
            .map(|blob| blob.data.len())
            .sum::<usize>()
            + self.manifest.len()
    }
}

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("failed to read the binary {path}")]
    ReadBinary { path: PathBuf, source: io::Error },
    #[error("failed to use the binary {path}")]
    ParseBinary { path: PathBuf, source: ElfError },
    #[error(
        "failed to use the binary {path}: it is for {found}, and libraries can be taken for {host} only, this machine's architecture"
    )]
    Architecture { path: PathBuf, found: Arch, host: Arch },
    #[error("failed to gather the libraries of the binary")]
    Libraries(#[from] LibraryError),
    #[error("failed to gather what the plugin in Python needs")]
    Python(#[from] PythonImageError),
    #[error("failed to find this machine's CA certificates in any of: {}", HOST_CA_CERTIFICATES.join(", "))]
    FindCaCertificates,
    #[error("failed to read the CA certificates in {path}")]
    ReadCaCertificates { path: PathBuf, source: io::Error },
    #[error("failed to use {0} as entrypoint: it is not an absolute path of a file")]
    Entrypoint(PathBuf),
    #[error("failed to write a layer")]
    WriteLayer(#[source] io::Error),
    #[error("failed to write the image's configuration or manifest")]
    WriteMetadata(#[source] OciSpecError),
    #[error("failed to serialize the image's configuration or manifest")]
    Serialize(#[source] serde_json::Error),
}

/// Builds the image of a binary. It takes processor time for the compression: call it from a thread that may be blocked.
pub fn build(spec: &ImageSpec) -> Result<Image, ImageError> {
    let entrypoint = entrypoint(&spec.entrypoint)?;
    let (binary, elf) = read_binary(&spec.binary)?;
    let architecture = elf.architecture.clone();
    let libraries = libraries::closure(&spec.binary, elf, &[], &SearchPath::of_host(&architecture))?.files;
    let base = base_files(libraries, read_ca_certificates(spec.ca_certificates.as_deref())?);
    let own = BTreeMap::from([(
        spec.entrypoint.clone(),
        File {
            mode: 0o755,
            content: binary.into(),
        },
    )]);
    let layers = vec![
        layer::write(&base, Paths::Any).map_err(ImageError::WriteLayer)?,
        layer::write(&own, Paths::Any).map_err(ImageError::WriteLayer)?,
    ];
    let process = Process {
        entrypoint: vec![entrypoint],
        environment: Vec::new(),
        folder: None,
        title: &spec.title,
        version: &spec.version,
    };
    assemble(process, architecture, layers)
}

/// A binary that can run on this machine.
fn read_binary(path: &Path) -> Result<(Vec<u8>, Elf), ImageError> {
    let path_owned = || path.to_owned();
    let binary = fs::read(path).map_err(|source| ImageError::ReadBinary {
        path: path_owned(),
        source,
    })?;
    let elf = elf::parse(&binary).map_err(|source| ImageError::ParseBinary {
        path: path_owned(),
        source,
    })?;
    let host = Arch::default();
    if elf.architecture == host {
        Ok((binary, elf))
    } else {
        Err(ImageError::Architecture {
            path: path_owned(),
            found: elf.architecture,
            host,
        })
    }
}

/// The entrypoint as the text that stands in the configuration.
fn entrypoint(path: &Path) -> Result<String, ImageError> {
    let plain =
        path.is_absolute() && path.file_name().is_some() && path.components().all(|part| part.as_os_str() != "..");
    path.to_str()
        .filter(|_| plain)
        .map(str::to_owned)
        .ok_or_else(|| ImageError::Entrypoint(path.to_owned()))
}

fn read_ca_certificates(chosen: Option<&Path>) -> Result<Vec<u8>, ImageError> {
    let path = match chosen {
        Some(path) => path,
        None => HOST_CA_CERTIFICATES
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .ok_or(ImageError::FindCaCertificates)?,
    };
    fs::read(path).map_err(|source| ImageError::ReadCaCertificates {
        path: path.to_owned(),
        source,
    })
}

/// The files of the first layer: all but the binary.
fn base_files(libraries: BTreeMap<PathBuf, Vec<u8>>, ca_certificates: Vec<u8>) -> BTreeMap<PathBuf, File> {
    let mut files: BTreeMap<_, _> = libraries
        .into_iter()
        .map(|(path, content)| {
            let content = content.into();
            (path, File { mode: 0o755, content })
        })
        .collect();
    let texts = [
        (CA_CERTIFICATES, Bytes::from(ca_certificates)),
        ("/etc/group", Bytes::from_static(GROUP.as_bytes())),
        ("/etc/nsswitch.conf", Bytes::from_static(NSSWITCH.as_bytes())),
        ("/etc/passwd", Bytes::from_static(PASSWD.as_bytes())),
    ];
    files.extend(texts.map(|(path, content)| (PathBuf::from(path), File { mode: 0o644, content })));
    files
}

/// What an image's configuration says of its process.
struct Process<'a> {
    entrypoint: Vec<String>,
    /// Beside the one that every image has.
    environment: Vec<String>,
    /// Absent: the root.
    folder: Option<&'a str>,
    title: &'a str,
    version: &'a str,
}

/// Puts configuration and manifest around the layers.
fn assemble(process: Process<'_>, architecture: Arch, layers: Vec<Layer>) -> Result<Image, ImageError> {
    let labels = HashMap::from([
        ("org.opencontainers.image.title".to_owned(), process.title.to_owned()),
        (
            "org.opencontainers.image.version".to_owned(),
            process.version.to_owned(),
        ),
    ]);
    let mut environment = vec![format!("SSL_CERT_FILE={CA_CERTIFICATES}")];
    environment.extend(process.environment);
    let config = ConfigBuilder::default()
        .user(USER)
        .entrypoint(process.entrypoint)
        .env(environment)
        .labels(labels);
    let config = match process.folder {
        Some(folder) => config.working_dir(folder),
        None => config,
    };
    let config = config.build().map_err(ImageError::WriteMetadata)?;
    let root = RootFsBuilder::default()
        .typ("layers")
        .diff_ids(layers.iter().map(|layer| layer.diff_id.to_string()).collect::<Vec<_>>())
        .build()
        .map_err(ImageError::WriteMetadata)?;
    let config = ImageConfigurationBuilder::default()
        .architecture(architecture)
        .os(Os::Linux)
        .config(config)
        .rootfs(root)
        .build()
        .map_err(ImageError::WriteMetadata)?;
    let config = serialize(&config)?;
    let config = Blob {
        digest: layer::digest(&config),
        data: config,
    };

    let layers: Vec<Blob> = layers
        .into_iter()
        .map(|layer| Blob {
            digest: layer.digest,
            data: layer.compressed.into(),
        })
        .collect();
    let descriptor = |kind, blob: &Blob| Descriptor::new(kind, blob.data.len() as u64, blob.digest.clone());
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, &config))
        .layers(
            layers
                .iter()
                .map(|blob| descriptor(MediaType::ImageLayerGzip, blob))
                .collect::<Vec<_>>(),
        )
        .build()
        .map_err(ImageError::WriteMetadata)?;
    let manifest = serialize(&manifest)?;
    Ok(Image::of_parts(layers, config, manifest))
}

/// JSON with its keys sorted: the library keeps labels in a map without order.
pub(crate) fn serialize(value: &impl Serialize) -> Result<Bytes, ImageError> {
    let mut value = serde_json::to_value(value).map_err(ImageError::Serialize)?;
    value.sort_all_objects();
    Ok(serde_json::to_vec(&value).map_err(ImageError::Serialize)?.into())
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, sync::LazyLock};

    use super::*;

    /// The image of this test, which takes a while to compress.
    static OWN: LazyLock<Image> = LazyLock::new(|| build(&good().0).unwrap());

    fn good() -> (ImageSpec, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let ca_certificates = folder.path().join("ca.crt");
        fs::write(&ca_certificates, "certificates").unwrap();
        let spec = ImageSpec {
            binary: std::env::current_exe().unwrap(),
            entrypoint: ImageSpec::ENTRYPOINT.into(),
            title: "hello".to_owned(),
            version: "0.1.0".to_owned(),
            ca_certificates: Some(ca_certificates),
        };
        (spec, folder)
    }

    fn files(layer: &Blob) -> BTreeMap<String, Vec<u8>> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer.data.as_ref()));
        let read = |mut entry: tar::Entry<'_, _>| {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        archive.entries().unwrap().map(|entry| read(entry.unwrap())).collect()
    }

    #[test]
    fn the_image_of_a_dynamic_binary_has_its_loader_its_libraries_and_itself() {
        let image = &*OWN;
        let base = files(&image.layers[0]);
        assert!(
            base.keys().any(|path| path.contains("ld-") || path.contains("ld64")),
            "{:?}",
            base.keys()
        );
        assert!(base.keys().any(|path| path.ends_with("libc.so.6")), "{:?}", base.keys());
        assert_eq!(base["etc/ssl/certs/ca-certificates.crt"], b"certificates");
        assert_eq!(base["etc/passwd"], PASSWD.as_bytes());
        let own = files(&image.layers[1]);
        assert_eq!(own.keys().collect::<Vec<_>>(), ["plugin"]);
        assert!(own["plugin"] == fs::read(good().0.binary).unwrap());
    }

    #[test]
    fn configuration_and_manifest_name_all_parts() {
        let image = &*OWN;
        assert_eq!(*image.digest(), layer::digest(&image.manifest));

        let mut config: serde_json::Value = serde_json::from_slice(&image.config.data).unwrap();
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
        config["rootfs"].take();
        config["architecture"].take();
        insta::assert_json_snapshot!(config);

        let manifest: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        assert_eq!(manifest["config"]["digest"], image.config.digest.to_string());
        for (layer, blob) in manifest["layers"].as_array().unwrap().iter().zip(&image.layers) {
            assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
            assert_eq!(layer["digest"], blob.digest.to_string());
            assert_eq!(layer["size"], blob.data.len());
        }
    }

    #[test]
    fn the_digest_depends_on_content_alone() {
        let (mut spec, _folder) = good();
        spec.binary = "/bin/sh".into();
        let first = build(&spec).unwrap();
        assert_eq!(first.digest(), build(&spec).unwrap().digest());
        spec.version = "0.2.0".to_owned();
        let second = build(&spec).unwrap();
        assert_ne!(first.digest(), second.digest());
        assert_eq!(first.layers[1].digest, second.layers[1].digest);
    }

    #[test]
    fn a_spec_is_refused_for_each_of_its_reasons() {
        let spoilt = |spoil: fn(&mut ImageSpec)| {
            let (mut spec, _folder) = good();
            spoil(&mut spec);
            build(&spec).unwrap_err()
        };
        let error = spoilt(|spec| spec.binary = "/nowhere".into());
        assert!(matches!(error, ImageError::ReadBinary { .. }), "{error}");
        let error = spoilt(|spec| spec.binary = spec.ca_certificates.clone().unwrap());
        assert!(
            matches!(
                error,
                ImageError::ParseBinary {
                    source: ElfError::NotElf,
                    ..
                }
            ),
            "{error}"
        );
        let error = spoilt(|spec| spec.ca_certificates = Some("/nowhere".into()));
        assert!(matches!(error, ImageError::ReadCaCertificates { .. }), "{error}");
        for entrypoint in ["plugin", "/", "/a/../../b"] {
            let (mut spec, _folder) = good();
            spec.entrypoint = entrypoint.into();
            assert!(
                matches!(build(&spec).unwrap_err(), ImageError::Entrypoint(_)),
                "{entrypoint}"
            );
        }
    }
}
