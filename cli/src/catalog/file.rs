//! `catalog.toml`: read, checked, and written.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::domain::catalog::{Catalog, CatalogError, Category, Course, Price, Product};
use shared::domain::money::{Money, NotChargeable};

use super::place::{Lines, Place};
use super::shop;

/// Why a catalog file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogFileError {
    /// It can't be read at all.
    #[error("{path} can't be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// It says what makes no shop, or is no TOML.
    #[error("{}", lines(.path, .faults))]
    Faults {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong, in the order of the file.
        faults: Vec<FileFault>,
    },
}

/// Something that is wrong with a catalog file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFault {
    /// The line, 1 for the first.
    pub line: usize,
    /// What is wrong there, and what to do about it.
    pub message: String,
}

/// `line 41: price x: …`
impl fmt::Display for FileFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// `catalog.toml:41: price x: …`, a line for each, as editors and terminals link them.
fn lines(path: &Path, faults: &[FileFault]) -> String {
    let line = |fault: &FileFault| format!("{}:{}: {}", path.display(), fault.line, fault.message);
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileShape {
    #[serde(default)]
    course: Vec<CourseShape>,
    #[serde(default)]
    product: Vec<ProductShape>,
    #[serde(default)]
    price: Vec<PriceShape>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CourseShape {
    id: String,
    title: String,
    summary: String,
    category: CategoryShape,
    /// All of them for a free course, none for another.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_chapters: Option<i64>,
    chapters: Vec<String>,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum CategoryShape {
    Free,
    Curriculum,
    Alacarte,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProductShape {
    id: String,
    name: String,
    courses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceShape {
    lookup_key: String,
    product: String,
    amount: i64,
    currency: String,
}

/// Reads a catalog file and checks all that it says.
pub fn read(path: &Path) -> Result<Catalog, CatalogFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| CatalogFileError::Io { path: path.to_owned(), source })?;
    parse(&text, path)
}

/// Checks all that the text of a catalog file says; the path is for the errors.
pub fn parse(text: &str, path: &Path) -> Result<Catalog, CatalogFileError> {
    let lines = Lines::of(text);
    let refused = |faults| CatalogFileError::Faults { path: path.to_owned(), faults };
    let shape: FileShape = toml::from_str(text).map_err(|error| {
        let line = lines.line_at(error.span().map_or(0, |span| span.start));
        refused(vec![FileFault { line, message: error.message().replace("i64", "a whole number") }])
    })?;
    shape.catalog().map_err(|faults| {
        let fault =
            |fault: Fault| FileFault { line: lines.line(fault.place), message: fault.message };
        let mut faults: Vec<FileFault> = faults.into_iter().map(fault).collect();
        faults.sort_by_key(|fault| fault.line);
        refused(faults)
    })
}

/// What is wrong with a field of an entry.
struct Fault {
    place: Place,
    message: String,
}

/// The text of a catalog file that says this.
pub(super) fn write(
    courses: &[Course],
    products: &[Product],
    prices: &[Price],
) -> Result<String, toml::ser::Error> {
    toml::to_string_pretty(&FileShape {
        course: courses.iter().map(CourseShape::of).collect(),
        product: products.iter().map(ProductShape::of).collect(),
        price: prices.iter().map(PriceShape::of).collect(),
    })
}

impl FileShape {
    fn catalog(&self) -> Result<Catalog, Vec<Fault>> {
        let mut faults = Vec::new();
        let courses = collect("course", &self.course, CourseShape::course, &mut faults);
        let products = collect("product", &self.product, ProductShape::product, &mut faults);
        let prices = collect("price", &self.price, PriceShape::price, &mut faults);
        // The rest is only worth checking once every entry can be read.
        if !faults.is_empty() {
            return Err(faults);
        }
        let catalog = Catalog::new(courses, products, prices).map_err(|errors| {
            let fault = |error: &CatalogError| Fault {
                place: self.place(error),
                message: error.to_string(),
            };
            errors.iter().map(fault).collect::<Vec<_>>()
        })?;
        let too_many = catalog.products().iter().enumerate().filter_map(|(entry, product)| {
            let message = shop::check_metadata(product).err()?.to_string();
            let place = Place { kind: "product", entry, field: "courses", element: None };
            Some(Fault { place, message })
        });
        let faults: Vec<Fault> = too_many.collect();
        if faults.is_empty() { Ok(catalog) } else { Err(faults) }
    }

    /// The field that is wrong; of two entries with one id, the second one's.
    fn place(&self, error: &CatalogError) -> Place {
        use CatalogError as Error;
        let course = |id: &dyn fmt::Display, field| self.of("course", &id.to_string(), field);
        let product = |id: &dyn fmt::Display, field| self.of("product", &id.to_string(), field);
        let price = |id: &dyn fmt::Display, field| self.of("price", &id.to_string(), field);
        match error {
            Error::Twice { kind, id } => {
                self.of(kind, id, if *kind == "price" { "lookup_key" } else { "id" })
            }
            Error::BlankTitle(id) => course(id, "title"),
            Error::BlankChapter { course: id, chapter } => {
                Place { element: chapter.checked_sub(1), ..course(id, "chapters") }
            }
            Error::NoChapters(id) => course(id, "chapters"),
            Error::TooManyFree { course: id, .. } | Error::FreeCourseLocked(id) => {
                course(id, "free_chapters")
            }
            Error::NeverOpen(id) => course(id, "id"),
            Error::BlankName(id) | Error::LongName { product: id, .. } => product(id, "name"),
            Error::OpensNothing(id) => product(id, "courses"),
            Error::NoSuchCourse { product: id, course }
            | Error::CourseTwice { product: id, course } => {
                let place = product(id, "courses");
                let listed = self.product.get(place.entry).map(|product| &product.courses);
                let element =
                    listed.and_then(|listed| listed.iter().rposition(|id| id == course.as_str()));
                Place { element, ..place }
            }
            Error::NoSuchProduct { price: id, .. } | Error::SellsNothing { price: id, .. } => {
                price(id, "product")
            }
            Error::NotChargeable { price: id, reason: NotChargeable::UnknownCurrency(_) } => {
                price(id, "currency")
            }
            Error::NotPositive(id) | Error::NotChargeable { price: id, .. } => price(id, "amount"),
        }
    }

    /// A field of the entry with this id.
    fn of(&self, kind: &'static str, id: &str, field: &'static str) -> Place {
        let entry = match kind {
            "course" => self.course.iter().rposition(|course| course.id == id),
            "product" => self.product.iter().rposition(|product| product.id == id),
            _ => self.price.iter().rposition(|price| price.lookup_key == id),
        };
        Place { kind, entry: entry.unwrap_or_default(), field, element: None }
    }
}

/// What is wrong with an entry by itself.
struct EntryFault {
    field: &'static str,
    element: Option<usize>,
    message: String,
}

impl EntryFault {
    fn new(field: &'static str, message: String) -> Self {
        Self { field, element: None, message }
    }
}

fn collect<S, T>(
    kind: &'static str,
    shapes: &[S],
    convert: impl Fn(&S) -> Result<T, EntryFault>,
    faults: &mut Vec<Fault>,
) -> Vec<T> {
    let mut all = Vec::new();
    for (entry, shape) in shapes.iter().enumerate() {
        match convert(shape) {
            Ok(one) => all.push(one),
            Err(EntryFault { field, element, message }) => {
                faults.push(Fault { place: Place { kind, entry, field, element }, message });
            }
        }
    }
    all
}

impl CourseShape {
    fn of(course: &Course) -> Self {
        let (category, is_usual) = match course.category {
            Category::Free => (CategoryShape::Free, true),
            Category::Curriculum => (CategoryShape::Curriculum, course.free_chapters == 0),
            Category::Alacarte => (CategoryShape::Alacarte, course.free_chapters == 0),
        };
        let free_chapters = i64::try_from(course.free_chapters).ok().filter(|_| !is_usual);
        Self {
            id: course.id.to_string(),
            title: course.title.clone(),
            summary: course.summary.clone(),
            category,
            free_chapters,
            chapters: course.chapters.clone(),
        }
    }

    fn course(&self) -> Result<Course, EntryFault> {
        let id = &self.id;
        let (category, free_by_default) = match self.category {
            CategoryShape::Free => (Category::Free, self.chapters.len()),
            CategoryShape::Curriculum => (Category::Curriculum, 0),
            CategoryShape::Alacarte => (Category::Alacarte, 0),
        };
        let free_chapters = match self.free_chapters.map(usize::try_from) {
            None => free_by_default,
            Some(Ok(number)) => number,
            Some(Err(_)) => {
                let message = format!("course {id:?}: free_chapters must be 0 or more");
                return Err(EntryFault::new("free_chapters", message));
            }
        };
        Ok(Course {
            id: id
                .parse()
                .map_err(|error| EntryFault::new("id", format!("course {id:?}: {error}")))?,
            title: self.title.clone(),
            summary: self.summary.clone(),
            category,
            free_chapters,
            chapters: self.chapters.clone(),
        })
    }
}

impl ProductShape {
    fn of(product: &Product) -> Self {
        Self {
            id: product.id.to_string(),
            name: product.name.clone(),
            courses: product.courses.iter().map(ToString::to_string).collect(),
        }
    }

    fn product(&self) -> Result<Product, EntryFault> {
        let id = &self.id;
        let course = |(index, course): (usize, &String)| {
            course.parse().map_err(|error| EntryFault {
                field: "courses",
                element: Some(index),
                message: format!("product {id:?} opens {course:?}: {error}"),
            })
        };
        Ok(Product {
            id: id
                .parse()
                .map_err(|error| EntryFault::new("id", format!("product {id:?}: {error}")))?,
            courses: self.courses.iter().enumerate().map(course).collect::<Result<_, _>>()?,
            name: self.name.clone(),
        })
    }
}

impl PriceShape {
    fn of(price: &Price) -> Self {
        Self {
            lookup_key: price.key.to_string(),
            product: price.product.to_string(),
            amount: price.money.amount_minor,
            currency: price.money.currency.to_string(),
        }
    }

    fn price(&self) -> Result<Price, EntryFault> {
        fn parsed<T: std::str::FromStr<Err: fmt::Display>>(
            text: &str,
            field: &'static str,
            key: &str,
        ) -> Result<T, EntryFault> {
            let fault = |error| EntryFault::new(field, format!("price {key:?}: {error}"));
            text.parse().map_err(fault)
        }
        let key = &self.lookup_key;
        let currency = parsed(&self.currency, "currency", key)?;
        Ok(Price {
            product: parsed(&self.product, "product", key)?,
            money: Money { amount_minor: self.amount, currency },
            key: parsed(key, "lookup_key", key)?,
        })
    }
}
