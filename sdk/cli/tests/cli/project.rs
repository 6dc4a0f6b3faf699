//! Projects that are built and packaged, by the command as a process.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kite_plugin::archive::{self, Package};
use tempfile::TempDir;

/// What the command wrote, as its users see it, with `folder` as `DIR`.
struct Ran {
    text: String,
    data: String,
}

fn run(command: &mut Command, folder: &Path) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (data, talk) = (text(&output.stdout), text(&output.stderr));
    let code = output.status.code();
    let text = format!("{code:?}\n--- stdout\n{data}--- stderr\n{talk}");
    Ran {
        text: text.replace(folder.canonicalize().unwrap().to_str().unwrap(), "DIR"),
        data,
    }
}

/// The command, with nothing of the variables by which this test is built.
fn kite_plugin(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kite-plugin"));
    command.args(arguments);
    for variable in [
        "CARGO_TARGET_DIR",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTFLAGS",
        "SOURCE_DATE_EPOCH",
    ] {
        command.env_remove(variable);
    }
    command
}

/// Writes a project called `own` into `folder`.
fn write(folder: &Path, files: &[(&str, &str)]) {
    let document = "apiVersion: kite.dev/v1alpha1\nkind: KitePlugin\nmetadata: {name: own}\n\
                    spec: {version: 1.0.0, image: \"registry.example/own:1.0.0\"}\n";
    for (path, text) in files.iter().chain(&[("plugin.yaml", document)]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn project(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    folder
}

/// Runs `build` in a project of these files.
fn built(files: &[(&str, &str)]) -> Ran {
    let folder = project(files);
    run(
        &mut kite_plugin(&["build", folder.path().to_str().unwrap()]),
        folder.path(),
    )
}

/// Debug information names folders, and so does the crate beside the program; both have a message for a panic.
const RUST: [(&str, &str); 4] = [
    (
        "Cargo.toml",
        "[package]\nname = \"own\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\
         [dependencies]\ninner = {path = \"inner\"}\n[profile.release]\ndebug = true\n[workspace]\n",
    ),
    (
        "src/main.rs",
        "fn main() {\n    println!(\"{}\", inner::half(std::env::args().nth(1)));\n}\n",
    ),
    (
        "inner/Cargo.toml",
        "[package]\nname = \"inner\"\nversion = \"1.0.0\"\nedition = \"2024\"\n",
    ),
    (
        "inner/src/lib.rs",
        "#[inline(never)]\npub fn half(of: Option<String>) -> usize {\n    of.expect(\"a text\").len() / 2\n}\n",
    ),
];

/// Runs `package` in the project, and gives the package's bytes.
fn packaged(folder: &Path, more: impl FnOnce(&mut Command)) -> Vec<u8> {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("out.tar.gz");
    let mut command = kite_plugin(&["package", folder.to_str().unwrap()]);
    command.arg("-o").arg(&file);
    more(&mut command);
    let ran = run(&mut command, folder);
    assert!(ran.text.starts_with("Some(0)"), "{}", ran.text);
    fs::read(file).unwrap()
}

#[test]
fn a_project_in_rust_is_the_same_package_in_whatever_folder_it_lies() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folders = [one.path().join("a"), other.path().join("deeper/and deeper")];
    let plain: Vec<Vec<u8>> = folders.iter().map(|folder| plainly_built(folder)).collect();
    assert!(plain[0] != plain[1], "without more, folders are seen in the binary");

    let [first, second] = folders.each_ref().map(|folder| packaged(folder, |_| {}));
    assert!(first == second, "two builds have one digest");
    let elsewhere = tempfile::tempdir().unwrap();
    let third = packaged(&folders[1], |command| {
        command.env("CARGO_TARGET_DIR", elsewhere.path());
        command.env("RUSTFLAGS", "--cfg elsewhere");
        command.env("SOURCE_DATE_EPOCH", "0");
    });
    let fourth = packaged(&folders[0], |command| {
        command.env("RUSTFLAGS", "--cfg elsewhere");
    });
    assert!(third == fourth, "wherever cargo builds");
}

/// What cargo makes of the project by itself.
fn plainly_built(folder: &Path) -> Vec<u8> {
    write(folder, &RUST);
    let target = tempfile::tempdir().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--quiet", "--manifest-path"]);
    cargo
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target.path());
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTFLAGS");
    assert!(cargo.status().unwrap().success());
    fs::read(target.path().join("release/own")).unwrap()
}

#[test]
fn a_project_in_rust_is_built_by_its_lock() {
    let folder = project(&RUST);
    let build = || {
        run(
            &mut kite_plugin(&["build", folder.path().to_str().unwrap()]),
            folder.path(),
        )
    };
    let ran = build();
    let binary = PathBuf::from(ran.data.trim());
    assert!(binary.ends_with("target/release/own"), "{}", ran.text);
    let output = Command::new(binary).arg("abcd").output().unwrap();
    assert_eq!(output.stdout, b"2\n");

    // A lock that is there holds: one that lacks a package is not mended by the way.
    let lock = folder.path().join("Cargo.lock");
    fs::write(&lock, "version = 4\n").unwrap();
    let ran = build();
    assert!(ran.text.starts_with("Some(1)"), "{}", ran.text);
    assert_eq!(fs::read_to_string(lock).unwrap(), "version = 4\n");
}

/// The lines that are not those of a program that was run.
fn own(text: &str) -> String {
    let is_own = |line: &&str| !line.starts_with("  ") || line.starts_with("  because: ");
    // Where cargo lies differs from machine to machine.
    let short = |line: &str| match (line.find("failed to run "), line.find("/cargo well")) {
        (Some(begin), Some(end)) => format!("{}failed to run CARGO{}", &line[..begin], &line[end + "/cargo".len()..]),
        _ => line.to_owned(),
    };
    text.lines().filter(is_own).map(short).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_project_that_does_not_compile() {
    let mut files = RUST;
    files[1].1 = "fn main() {\n    absent();\n}\n";
    let text = built(&files).text;
    // What the compiler says is its own affair, but it is said.
    assert!(text.contains("cannot find function `absent`"), "{text}");
    insta::assert_snapshot!(own(&text));
}

#[test]
fn a_folder_without_a_project() {
    insta::assert_snapshot!(built(&[]).text);
}

#[test]
fn a_workspace_without_a_package() {
    insta::assert_snapshot!(built(&[("Cargo.toml", "[workspace]\nresolver = \"3\"\n")]).text);
}

#[test]
fn a_package_with_several_binaries() {
    let main = "fn main() {}\n";
    let manifest = "[package]\nname = \"several\"\nedition = \"2024\"\n[workspace]\n";
    let files = [("Cargo.toml", manifest), ("src/bin/a.rs", main), ("src/bin/b.rs", main)];
    insta::assert_snapshot!(built(&files).text);
}

const PYPROJECT: &str = "[project]\nname = \"own\"\nversion = \"1.0.0\"\n";

/// A package for Python with a script, as a file that pip installs without an index.
fn wheel(folder: &Path) {
    let script = "
import zipfile
files = {
    'dep.py': 'def main():\\n    print(1)\\n',
    'dep-1.0.dist-info/METADATA': 'Metadata-Version: 2.1\\nName: dep\\nVersion: 1.0\\n',
    'dep-1.0.dist-info/WHEEL': 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n',
    'dep-1.0.dist-info/entry_points.txt': '[console_scripts]\\ndep = dep:main\\n',
    'dep-1.0.dist-info/RECORD': '',
}
with zipfile.ZipFile('dep-1.0-py3-none-any.whl', 'w') as wheel:
    for name, text in files.items():
        wheel.writestr(zipfile.ZipInfo(name), text)
";
    let mut python = Command::new("python3");
    python.args(["-c", script]).current_dir(folder);
    assert!(python.status().unwrap().success());
}

#[test]
fn a_project_in_python_is_the_same_package_in_whatever_folder_it_lies() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folders = [one.path().join("a"), other.path().join("deeper/and deeper")];
    let files = [
        ("pyproject.toml", PYPROJECT),
        ("requirements.txt", "./dep-1.0-py3-none-any.whl\n"),
        ("plugin.py", "import dep\n\ndep.main()\n"),
    ];
    let [first, second] = folders.each_ref().map(|folder| {
        write(folder, &files);
        wheel(folder);
        // What has run has left what is compiled.
        let package = packaged(folder, |_| {});
        let ran = Command::new(folder.join(".venv/bin/python3"))
            .arg(folder.join("plugin.py"))
            .output();
        assert_eq!(ran.unwrap().stdout, b"1\n");
        assert!(
            package == packaged(folder, |_| {}),
            "a second build in {}",
            folder.display()
        );
        package
    });
    assert!(first == second, "two builds have one digest");
    let package = archive::read(first.as_slice()).unwrap();
    assert_eq!(
        process(&package)["Entrypoint"],
        serde_json::json!(["/opt/venv/bin/python3", "/app/plugin.py"])
    );
}

fn process(package: &Package) -> serde_json::Value {
    let config: serde_json::Value = serde_json::from_slice(&package.image.config.data).unwrap();
    config["config"].clone()
}

#[test]
fn an_environment_is_made_when_the_requirements_are_others_and_else_kept() {
    let folder = project(&[("pyproject.toml", PYPROJECT), ("plugin.py", "")]);
    wheel(folder.path());
    let build = || {
        run(
            &mut kite_plugin(&["build", folder.path().to_str().unwrap()]),
            folder.path(),
        )
        .text
    };
    let installed = || {
        let mut python = Command::new(folder.path().join(".venv/bin/python3"));
        python.args(["-c", "import dep"]).output().unwrap().status.success()
    };
    let made = build();
    assert!(!installed());
    let kept = build();
    fs::write(folder.path().join("requirements.txt"), "./dep-1.0-py3-none-any.whl\n").unwrap();
    let again = build();
    assert!(installed());
    fs::remove_file(folder.path().join("requirements.txt")).unwrap();
    let without = build();
    assert!(!installed(), "what is no longer asked for is gone");
    insta::assert_snapshot!([made, kept, again, without].join("\n"));
}

#[test]
fn an_environment_of_the_author_is_kept() {
    let folder = project(&[("pyproject.toml", PYPROJECT), ("plugin.py", "")]);
    let environment = folder.path().join(".venv");
    let mut python = Command::new("python3");
    python.args(["-m", "venv", "--without-pip"]).arg(&environment);
    assert!(python.status().unwrap().success());
    let own = environment.join("own");
    fs::write(&own, "").unwrap();
    let ran = run(
        &mut kite_plugin(&["build", folder.path().to_str().unwrap()]),
        folder.path(),
    );
    assert!(own.exists());
    insta::assert_snapshot!(ran.text);
}

#[test]
fn a_project_in_python_that_starts_nowhere() {
    insta::assert_snapshot!(built(&[("pyproject.toml", PYPROJECT)]).text);
}

#[test]
fn a_project_in_python_whose_packages_are_known_to_others_only() {
    let dynamic = format!("{PYPROJECT}dynamic = [\"dependencies\"]\n");
    insta::assert_snapshot!(built(&[("pyproject.toml", dynamic.as_str()), ("plugin.py", "")]).text);
}

#[test]
fn a_pyproject_that_is_no_toml() {
    insta::assert_snapshot!(built(&[("pyproject.toml", "[project\n")]).text);
}

#[test]
fn a_package_that_cannot_be_installed() {
    let files = [
        ("pyproject.toml", PYPROJECT),
        ("plugin.py", ""),
        ("requirements.txt", "./absent-1.0-py3-none-any.whl\n"),
    ];
    let text = built(&files).text;
    assert!(text.contains("absent-1.0-py3-none-any.whl"), "{text}");
    insta::assert_snapshot!(own(&text));
}
