//! Unpacks the documentation page: the files of Swagger UI that the host serves, each as gzip, into `OUT_DIR`.

use std::error::Error;
use std::fs::File;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

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

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for (path, file) in FILES {
        // The first folder of the archive has the version in its name.
        let names = archive.file_names().collect::<Result<Vec<_>, _>>()?;
        let name = names.iter().find(|name| name.split_once('/').is_some_and(|(_, rest)| rest == path));
        let name = name.ok_or_else(|| format!("the archive of Swagger UI has no {path}"))?.clone().into_owned();
        let mut content = Vec::new();
        archive.by_name(&name)?.read_to_end(&mut content)?;
        // No time and no name in the header: the same input gives the same bytes.
        let mut gzip = GzBuilder::new().write(File::create(Path::new(&out).join(file))?, Compression::best());
        gzip.write_all(&content)?;
        gzip.finish()?;
    }
    Ok(())
}
