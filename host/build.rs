//! Unpacks the documentation page: the files of Swagger UI that the host serves, each as gzip, into `OUT_DIR`. Lists what
//! `arcana plugin new` writes there too: the SDK, the WIT packages that plugins use, and the templates.

use std::error::Error;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Cursor, Read as _, Write as _};
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// The path in the archive below its only folder, and the name in `OUT_DIR`.
const FILES: [(&str, &str); 4] = [
    ("dist/swagger-ui-bundle.js", "swagger-ui-bundle.js.gz"),
    ("dist/swagger-ui.css", "swagger-ui.css.gz"),
    ("dist/favicon-32x32.png", "favicon.png.gz"),
    ("LICENSE", "license.txt.gz"),
];

/// What a new plugin gets, by the name of the list: each folder or file, and its place.
const CARRIED: [(&str, &[(&str, &str)]); 3] = [
    (
        "SDK",
        &[
            ("../sdk/README.md", "README.md"),
            ("../sdk/src", "src"),
            ("../wit/types", "wit/types"),
            ("../wit/host", "wit/host"),
        ],
    ),
    ("WIT", &[("../wit/types", "types"), ("../wit/plugin", "plugin")]),
    ("SERVICE", &[("templates/service", "")]),
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR")?;
    unpack_page(&out)?;
    carry(&out)
}

/// Writes `carried.rs`: for each list the files with their places and texts.
fn carry(out: &str) -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut text = String::new();
    for (list, parts) in CARRIED {
        let mut files = Vec::new();
        for (from, to) in parts {
            println!("cargo::rerun-if-changed={from}");
            files_of(&here.join(from), to, &mut files)?;
        }
        files.sort();
        writeln!(text, "pub(super) const {list}: &[(&str, &str)] = &[")?;
        for (place, path) in files {
            writeln!(text, "    ({place:?}, include_str!({:?})),", path.display().to_string())?;
        }
        writeln!(text, "];")?;
    }
    std::fs::write(Path::new(out).join("carried.rs"), text)?;
    Ok(())
}

/// The file itself, or all that are below a folder.
fn files_of(path: &Path, place: &str, files: &mut Vec<(String, PathBuf)>) -> Result<(), Box<dyn Error>> {
    if !path.is_dir() {
        files.push((place.to_owned(), path.to_owned()));
        return Ok(());
    }
    for entry in path.read_dir()? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| format!("{} is not UTF-8", name.display()))?;
        let place = if place.is_empty() { name } else { format!("{place}/{name}") };
        files_of(&entry.path(), &place, files)?;
    }
    Ok(())
}

fn unpack_page(out: &str) -> Result<(), Box<dyn Error>> {
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for (path, file) in FILES {
        // The first folder of the archive has the version in its name.
        let names = archive.file_names().collect::<Result<Vec<_>, _>>()?;
        let name = names.iter().find(|name| name.split_once('/').is_some_and(|(_, rest)| rest == path));
        let name = name.ok_or_else(|| format!("the archive of Swagger UI has no {path}"))?.clone().into_owned();
        let mut content = Vec::new();
        archive.by_name(&name)?.read_to_end(&mut content)?;
        // No time and no name in the header: the same input gives the same bytes.
        let mut gzip = GzBuilder::new().write(File::create(Path::new(out).join(file))?, Compression::best());
        gzip.write_all(&content)?;
        gzip.finish()?;
    }
    Ok(())
}
