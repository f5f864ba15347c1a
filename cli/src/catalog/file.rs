//! `catalog.toml`: read, checked, and written.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::domain::catalog::{Catalog, CatalogError, Category, Course, Price, Product};
use shared::domain::money::Money;
use toml::Spanned;

/// Why a catalog file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogFileError {
    /// It can't be read at all.
    #[error("{path} can't be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML, or not of this shape.
    #[error("{path}, line {line}: {message}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, 1 for the first.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// What it says makes no shop.
    #[error("{path}, {}", faults.join("; "))]
    Faults {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong: `line 12: price a must be more than zero…`.
        faults: Vec<String>,
    },
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
    id: Spanned<String>,
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
    id: Spanned<String>,
    name: String,
    courses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceShape {
    lookup_key: Spanned<String>,
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
    let shape: FileShape = toml::from_str(text).map_err(|error| CatalogFileError::Syntax {
        path: path.to_owned(),
        line: line(text, error.span().map_or(0, |span| span.start)),
        message: error.message().replace("i64", "a whole number"),
    })?;
    shape.into_catalog().map_err(|mut faults| {
        faults.sort_by_key(|fault| fault.offset);
        let say = |fault: &Fault| format!("line {}: {}", line(text, fault.offset), fault.message);
        let faults = faults.iter().map(say).collect();
        CatalogFileError::Faults { path: path.to_owned(), faults }
    })
}

/// The line of what stands at this offset, 1 for the first.
fn line(text: &str, offset: usize) -> usize {
    let before = text.get(..offset).unwrap_or_default();
    before.matches('\n').count().saturating_add(1)
}

/// What is wrong with an entry.
struct Fault {
    /// Where its id stands in the file.
    offset: usize,
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
    fn into_catalog(self) -> Result<Catalog, Vec<Fault>> {
        let entries = self.entries();
        let mut faults = Vec::new();
        let courses = collect(self.course, |it| &it.id, CourseShape::into_course, &mut faults);
        let products = collect(self.product, |it| &it.id, ProductShape::into_product, &mut faults);
        let prices = collect(self.price, |it| &it.lookup_key, PriceShape::into_price, &mut faults);
        // References are only worth checking once every entry can be read.
        if !faults.is_empty() {
            return Err(faults);
        }
        Catalog::new(courses, products, prices).map_err(|errors| {
            let fault = |error: &CatalogError| Fault {
                offset: offset(&entries, error),
                message: error.to_string(),
            };
            errors.iter().map(fault).collect()
        })
    }

    /// Kind and id of every entry.
    fn entries(&self) -> Vec<(&'static str, Spanned<String>)> {
        let courses = self.course.iter().map(|course| ("course", course.id.clone()));
        let products = self.product.iter().map(|product| ("product", product.id.clone()));
        let prices = self.price.iter().map(|price| ("price", price.lookup_key.clone()));
        courses.chain(products).chain(prices).collect()
    }
}

/// Where the entry stands that is wrong; of two with one id, the second.
fn offset(entries: &[(&'static str, Spanned<String>)], error: &CatalogError) -> usize {
    use CatalogError as Error;
    let wrong = match error {
        Error::Twice { kind, id } => (*kind, id.as_str()),
        Error::NoChapters(id)
        | Error::TooManyFree(id)
        | Error::FreeCourseLocked(id)
        | Error::NeverOpen(id) => ("course", id.as_str()),
        Error::OpensNothing(id) | Error::NoSuchCourse { product: id, .. } => {
            ("product", id.as_str())
        }
        Error::NotPositive(id) | Error::NoSuchProduct { price: id, .. } => ("price", id.as_str()),
    };
    let entry = entries.iter().rfind(|(kind, id)| (*kind, id.get_ref().as_str()) == wrong);
    entry.map_or(0, |(_, id)| id.span().start)
}

fn collect<S, T>(
    shapes: Vec<S>,
    id: impl Fn(&S) -> &Spanned<String>,
    convert: impl Fn(S) -> Result<T, String>,
    faults: &mut Vec<Fault>,
) -> Vec<T> {
    let mut all = Vec::new();
    for shape in shapes {
        let offset = id(&shape).span().start;
        match convert(shape) {
            Ok(one) => all.push(one),
            Err(message) => faults.push(Fault { offset, message }),
        }
    }
    all
}

/// An id that is written; where it will stand is not known.
fn unplaced(id: &impl ToString) -> Spanned<String> {
    Spanned::new(0..0, id.to_string())
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
            id: unplaced(&course.id),
            title: course.title.clone(),
            summary: course.summary.clone(),
            category,
            free_chapters,
            chapters: course.chapters.clone(),
        }
    }

    fn into_course(self) -> Result<Course, String> {
        let id = self.id.into_inner();
        let (category, free_by_default) = match self.category {
            CategoryShape::Free => (Category::Free, self.chapters.len()),
            CategoryShape::Curriculum => (Category::Curriculum, 0),
            CategoryShape::Alacarte => (Category::Alacarte, 0),
        };
        let free_chapters = match self.free_chapters.map(usize::try_from) {
            None => free_by_default,
            Some(Ok(number)) => number,
            Some(Err(_)) => {
                return Err(format!("course {id:?}: free_chapters is 0 or more"));
            }
        };
        Ok(Course {
            id: id.parse().map_err(|error| format!("course {id:?}: {error}"))?,
            title: self.title,
            summary: self.summary,
            category,
            free_chapters,
            chapters: self.chapters,
        })
    }
}

impl ProductShape {
    fn of(product: &Product) -> Self {
        Self {
            id: unplaced(&product.id),
            name: product.name.clone(),
            courses: product.courses.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_product(self) -> Result<Product, String> {
        let id = self.id.into_inner();
        let course = |course: &String| {
            course.parse().map_err(|error| format!("product {id:?} opens {course:?}: {error}"))
        };
        let courses = self.courses.iter().map(course);
        Ok(Product {
            id: id.parse().map_err(|error| format!("product {id:?}: {error}"))?,
            courses: courses.collect::<Result<_, _>>()?,
            name: self.name,
        })
    }
}

impl PriceShape {
    fn of(price: &Price) -> Self {
        Self {
            lookup_key: unplaced(&price.key),
            product: price.product.to_string(),
            amount: price.money.amount_minor,
            currency: price.money.currency.to_string(),
        }
    }

    fn into_price(self) -> Result<Price, String> {
        let key = self.lookup_key.into_inner();
        let currency = self.currency.parse().map_err(|error| format!("price {key:?}: {error}"))?;
        Ok(Price {
            product: self.product.parse().map_err(|error| format!("price {key:?}: {error}"))?,
            money: Money { amount_minor: self.amount, currency },
            key: key.parse().map_err(|error| format!("price {key:?}: {error}"))?,
        })
    }
}
