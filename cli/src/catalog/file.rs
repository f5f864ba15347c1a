//! `catalog.toml`: read, checked, and written.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use shared::domain::catalog::{Catalog, Category, Course, Price, Product};
use shared::domain::money::Money;

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
    #[error("{path}: {}", faults.join("; "))]
    Faults {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
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
    let shape: FileShape = toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or_default();
        CatalogFileError::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count().saturating_add(1),
            message: error.message().to_owned(),
        }
    })?;
    shape
        .into_catalog()
        .map_err(|faults| CatalogFileError::Faults { path: path.to_owned(), faults })
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
    fn into_catalog(self) -> Result<Catalog, Vec<String>> {
        let mut faults = Vec::new();
        let courses = collect(self.course, &mut faults, CourseShape::into_course);
        let products = collect(self.product, &mut faults, ProductShape::into_product);
        let prices = collect(self.price, &mut faults, PriceShape::into_price);
        // References are only worth checking once every entry can be read.
        if !faults.is_empty() {
            return Err(faults);
        }
        Catalog::new(courses, products, prices)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }
}

fn collect<S, T>(
    shapes: Vec<S>,
    faults: &mut Vec<String>,
    convert: impl Fn(S) -> Result<T, String>,
) -> Vec<T> {
    let mut all = Vec::new();
    for shape in shapes {
        match convert(shape) {
            Ok(one) => all.push(one),
            Err(fault) => faults.push(fault),
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

    fn into_course(self) -> Result<Course, String> {
        let (category, free_by_default) = match self.category {
            CategoryShape::Free => (Category::Free, self.chapters.len()),
            CategoryShape::Curriculum => (Category::Curriculum, 0),
            CategoryShape::Alacarte => (Category::Alacarte, 0),
        };
        let free_chapters = match self.free_chapters.map(usize::try_from) {
            None => free_by_default,
            Some(Ok(number)) => number,
            Some(Err(_)) => {
                return Err(format!("course {:?}: free_chapters is 0 or more", self.id));
            }
        };
        Ok(Course {
            id: self.id.parse().map_err(|error| format!("course {:?}: {error}", self.id))?,
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
            id: product.id.to_string(),
            name: product.name.clone(),
            courses: product.courses.iter().map(ToString::to_string).collect(),
        }
    }

    fn into_product(self) -> Result<Product, String> {
        let say = |what: &str, error| format!("product {what:?}: {error}");
        let courses = self.courses.iter().map(|id| id.parse().map_err(|error| say(id, error)));
        Ok(Product {
            id: self.id.parse().map_err(|error| say(&self.id, error))?,
            courses: courses.collect::<Result<_, _>>()?,
            name: self.name,
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

    fn into_price(self) -> Result<Price, String> {
        let key = self.lookup_key;
        let currency = self.currency.parse().map_err(|error| format!("price {key:?}: {error}"))?;
        Ok(Price {
            product: self.product.parse().map_err(|error| format!("price {key:?}: {error}"))?,
            money: Money { amount_minor: self.amount, currency },
            key: key.parse().map_err(|error| format!("price {key:?}: {error}"))?,
        })
    }
}
