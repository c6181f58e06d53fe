//! What a component says of itself: custom sections, as the WebAssembly tools write and read them.

use serde::Deserialize;
use wasm_encoder::{ComponentSection as _, CustomSection};
use wasm_metadata::{AddMetadata, AddMetadataField};

/// What a component says of itself. Registries show it as annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// What it is called.
    pub name: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// What it does, in one line.
    pub description: Option<String>,
    /// Who made it.
    pub authors: Option<String>,
    /// An SPDX expression.
    pub licenses: Option<String>,
    /// The URL of its source.
    pub source: Option<String>,
    /// The URL where there is more to read.
    pub homepage: Option<String>,
}

/// Why a component cannot say so of itself.
#[derive(Debug, thiserror::Error)]
pub enum DescribeError {
    /// A text that is not one line, no SPDX expression, or no URL, where it must be.
    #[error("`{text}` cannot be the `{field}` of a component")]
    Text {
        /// The section.
        field: &'static str,
        /// The text.
        text: String,
    },
    /// The bytes are no component.
    #[error("this is not a component that can be described")]
    Component(#[source] anyhow::Error),
}

impl Metadata {
    /// The same, and what it does not say by `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            name: self.name.or(other.name),
            version: self.version.or(other.version),
            description: self.description.or(other.description),
            authors: self.authors.or(other.authors),
            licenses: self.licenses.or(other.licenses),
            source: self.source.or(other.source),
            homepage: self.homepage.or(other.homepage),
        }
    }

    /// What a package of cargo says of the module `library`; `told` is the answer of `cargo metadata`. None if no
    /// package there makes such a module.
    ///
    /// # Errors
    /// When it is no such answer.
    pub fn of_cargo(told: &str, library: &str) -> Result<Option<Self>, serde_json::Error> {
        let told: Told = serde_json::from_str(told)?;
        let makes = |package: &Package| {
            let mut targets = package.targets.iter();
            targets.any(|target| {
                let names = target.name.replace('-', "_") == library.replace('-', "_");
                names && target.crate_types.iter().any(|kind| kind == "cdylib")
            })
        };
        let package = told.packages.into_iter().find(makes);
        Ok(package.map(|package| Self {
            name: Some(package.name),
            version: Some(package.version),
            description: package.description.as_deref().map(one_line),
            authors: Some(package.authors.join(", ")).filter(|authors| !authors.is_empty()),
            licenses: package.license,
            source: package.repository,
            homepage: package.homepage,
        }))
    }
}

#[derive(Deserialize)]
struct Told {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    description: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
    license: Option<String>,
    repository: Option<String>,
    homepage: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    crate_types: Vec<String>,
}

/// Annotations are single lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a text is one of its kind.
type Fits = fn(&str) -> bool;

/// Has a component say this of itself. What `metadata` leaves out stays as it is.
///
/// # Errors
/// When a text is none of its kind, or `component` cannot be read.
pub fn describe(component: &[u8], metadata: &Metadata) -> Result<Vec<u8>, DescribeError> {
    let mut add = AddMetadata::default();
    if let Some(name) = &metadata.name {
        add.name = AddMetadataField::Set(name.clone());
    }
    let mut described = add.to_wasm(component).map_err(DescribeError::Component)?;
    let sections: [(&str, &Option<String>, Fits); 6] = [
        ("authors", &metadata.authors, is_line),
        ("description", &metadata.description, is_line),
        ("licenses", &metadata.licenses, is_expression),
        ("source", &metadata.source, is_url),
        ("homepage", &metadata.homepage, is_url),
        ("version", &metadata.version, is_line),
    ];
    for (field, text, fits) in sections {
        let Some(text) = text else { continue };
        if !fits(text) {
            return Err(DescribeError::Text {
                field,
                text: text.clone(),
            });
        }
        let section = CustomSection {
            name: field.into(),
            data: text.as_bytes().into(),
        };
        section.append_to_component(&mut described);
    }
    Ok(described)
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(char::is_control)
}

/// Whether it has the letters of an SPDX expression; other tools refuse to read anything else.
fn is_expression(text: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || " ().+-:".contains(letter);
    is_line(text) && text.chars().all(letters)
}

fn is_url(text: &str) -> bool {
    url::Url::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    fn whole() -> Metadata {
        Metadata {
            name: Some("landing-zone".to_owned()),
            version: Some("1.4.0".to_owned()),
            description: Some("Makes landing zones.".to_owned()),
            authors: Some("A Partner <a@partner.example>, B".to_owned()),
            licenses: Some("Apache-2.0 OR MIT".to_owned()),
            source: Some("https://git.example.com/lz".to_owned()),
            homepage: Some("https://lz.example.com/".to_owned()),
        }
    }

    fn component() -> Vec<u8> {
        wat::parse_str("(component)").unwrap()
    }

    #[test]
    fn what_was_written_stands_in_the_sections_of_the_webassembly_tools() {
        let described = describe(&component(), &whole()).unwrap();
        for (section, text) in [
            ("component-name", whole().name),
            ("version", whole().version),
            ("description", whole().description),
            ("authors", whole().authors),
            ("licenses", whole().licenses),
            ("source", whole().source),
            ("homepage", whole().homepage),
        ] {
            let text = text.unwrap();
            let at = |part: &str| {
                described
                    .windows(part.len())
                    .position(|window| window == part.as_bytes())
            };
            assert!(at(section).unwrap() < at(&text).unwrap(), "{section}");
        }
        assert_eq!(
            describe(&component(), &whole()).unwrap(),
            described,
            "the same gives the same"
        );
        wit_component::decode(&described).unwrap();
    }

    #[test]
    fn what_says_nothing_changes_nothing() {
        assert_eq!(describe(&component(), &Metadata::default()).unwrap(), component());
    }

    #[test]
    fn texts_that_others_could_not_read_are_refused() {
        let wrong = |change: fn(&mut Metadata)| {
            let mut metadata = whole();
            change(&mut metadata);
            describe(&component(), &metadata).unwrap_err().to_string()
        };
        for (told, change) in [
            (
                "licenses",
                (|all| all.licenses = Some("MIT/Apache-2.0".to_owned())) as fn(&mut Metadata),
            ),
            ("version", |all| all.version = Some("1\n2".to_owned())),
            ("description", |all| all.description = Some(" ".to_owned())),
            ("source", |all| all.source = Some("git".to_owned())),
            ("homepage", |all| all.homepage = Some("lz.example.com".to_owned())),
        ] {
            let error = wrong(change);
            assert!(error.contains(told), "{error}");
        }
        assert!(matches!(
            describe(b"no component", &whole()),
            Err(DescribeError::Component(_))
        ));
    }

    #[test]
    fn a_package_of_cargo_describes_its_module() {
        let told = r#"{"packages": [
            {"name": "other", "version": "1.0.0", "targets": [{"name": "landing_zone", "crate_types": ["bin"]}]},
            {"name": "landing-zone", "version": "0.1.0", "description": "Makes\n  landing zones.\n",
             "authors": ["A", "B"], "license": "Apache-2.0", "repository": "https://git.example.com/lz",
             "homepage": null, "targets": [{"name": "landing_zone", "crate_types": ["cdylib", "rlib"]}]}
        ]}"#;
        let read = Metadata::of_cargo(told, "landing_zone").unwrap().unwrap();
        assert_eq!(
            read,
            Metadata {
                name: Some("landing-zone".to_owned()),
                version: Some("0.1.0".to_owned()),
                description: Some("Makes landing zones.".to_owned()),
                authors: Some("A, B".to_owned()),
                licenses: Some("Apache-2.0".to_owned()),
                source: Some("https://git.example.com/lz".to_owned()),
                homepage: None,
            }
        );
        assert_eq!(Metadata::of_cargo(told, "else").unwrap(), None);
        let own = Metadata {
            version: Some("2.0.0".to_owned()),
            ..Metadata::default()
        };
        assert_eq!(
            own.clone().or(read.clone()),
            Metadata {
                version: own.version,
                ..read
            }
        );
    }
}
