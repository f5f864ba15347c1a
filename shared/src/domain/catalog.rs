//! The catalog: courses, the products that open them, and the prices that sell the products.

use std::collections::{BTreeMap, BTreeSet};

use super::id::{CourseId, PriceKey, ProductId, StripePriceId};
use super::money::{Money, NotChargeable};

/// The most characters that Stripe allows in a product's name: `maxLength` of `name` under
/// `POST /v1/products` in <https://github.com/stripe/openapi>.
pub const PRODUCT_NAME_CHARACTERS_MAX: usize = 5000;

/// How a course is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Every chapter is open to everybody.
    Free,
    /// Part of the curriculum, sold as a bundle.
    Curriculum,
    /// Sold by itself.
    Alacarte,
}

/// A course and its chapters. Chapter 1 is the first title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The id, which is part of URLs.
    pub id: CourseId,
    /// The title that learners see.
    pub title: String,
    /// One sentence about it.
    pub summary: String,
    /// How it is offered.
    pub category: Category,
    /// The chapters' titles, in order.
    pub chapters: Vec<String>,
    /// How many of the first chapters are open to everybody.
    pub free_chapters: usize,
}

impl Course {
    /// Whether this chapter, counted from 1, is open to everybody; with `None`, the whole course.
    #[must_use]
    pub fn is_free(&self, chapter: Option<usize>) -> bool {
        chapter.unwrap_or(self.chapters.len()) <= self.free_chapters
    }

    /// Whether the course has this chapter, counted from 1.
    #[must_use]
    pub fn has_chapter(&self, chapter: usize) -> bool {
        (1..=self.chapters.len()).contains(&chapter)
    }
}

/// What a learner buys and owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The id, which is also in Stripe's metadata.
    pub id: ProductId,
    /// The name on the checkout page.
    pub name: String,
    /// The courses that it opens.
    pub courses: Vec<CourseId>,
}

/// A one-time price of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Our name for it, which is its `lookup_key` at Stripe.
    pub key: PriceKey,
    /// The product that it sells.
    pub product: ProductId,
    /// The amount, before discounts and taxes.
    pub money: Money,
}

/// A price and the product that it sells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    /// The product.
    pub product: &'a Product,
    /// The price.
    pub price: &'a Price,
}

/// A catalog whose references are all valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    courses: Vec<Course>,
    products: Vec<Product>,
    prices: Vec<Price>,
}

/// What is wrong with a catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Two entries share an id.
    #[error("there are two {kind}s called {id}: give each its own")]
    Twice {
        /// `course`, `product` or `price`.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// A course's title is blank.
    #[error("course {0} has a blank title: write one")]
    BlankTitle(CourseId),
    /// A chapter's title is blank.
    #[error("course {course} has a blank title for chapter {chapter}: write one")]
    BlankChapter {
        /// The course.
        course: CourseId,
        /// The chapter; 1 is the first.
        chapter: usize,
    },
    /// A course without chapters.
    #[error("course {0} has no chapters: list at least one title")]
    NoChapters(CourseId),
    /// More free chapters than chapters.
    #[error("course {course} has {free} free chapters but only {chapters} in all")]
    TooManyFree {
        /// The course.
        course: CourseId,
        /// The number of chapters that are declared free.
        free: usize,
        /// The number of chapters.
        chapters: usize,
    },
    /// A course in the category free that has locked chapters.
    #[error("course {0} is in the category free, so all its chapters are: leave free_chapters out")]
    FreeCourseLocked(CourseId),
    /// A course with locked chapters that no product opens.
    #[error("course {0} has locked chapters, and no product opens it: add one, with a price")]
    NeverOpen(CourseId),
    /// A product's name is blank. Stripe refuses it.
    #[error("product {0} has a blank name: write what the checkout page should call it")]
    BlankName(ProductId),
    /// A product's name is longer than Stripe allows.
    #[error(
        "the name of product {product} has {characters} characters, and Stripe allows \
         {PRODUCT_NAME_CHARACTERS_MAX}: shorten it"
    )]
    LongName {
        /// The product.
        product: ProductId,
        /// The length of its name in characters.
        characters: usize,
    },
    /// A product that opens nothing.
    #[error("product {0} opens no course: name at least one")]
    OpensNothing(ProductId),
    /// A product lists a course that isn't in the catalog.
    #[error("product {product} opens course {course}, which is not in the catalog")]
    NoSuchCourse {
        /// The product.
        product: ProductId,
        /// The course that is missing.
        course: CourseId,
    },
    /// A product lists a course twice.
    #[error("product {product} lists course {course} twice: list it once")]
    CourseTwice {
        /// The product.
        product: ProductId,
        /// The course.
        course: CourseId,
    },
    /// A price names a product that isn't in the catalog.
    #[error("price {price} sells product {product}, which is not in the catalog")]
    NoSuchProduct {
        /// The price.
        price: PriceKey,
        /// The product that is missing.
        product: ProductId,
    },
    /// A price for a product whose chapters are all free.
    #[error(
        "price {price} sells product {product}, which opens nothing that is locked: remove the \
         price, or lock a chapter"
    )]
    SellsNothing {
        /// The price.
        price: PriceKey,
        /// The product.
        product: ProductId,
    },
    /// A price of zero or less.
    #[error("price {0} must be more than zero: a course that costs nothing has the category free")]
    NotPositive(PriceKey),
    /// A price that Stripe can't charge.
    #[error("price {price}: {reason}")]
    NotChargeable {
        /// The price.
        price: PriceKey,
        /// The reason.
        reason: NotChargeable,
    },
}

impl Catalog {
    /// Builds an author's catalog, or returns everything that is wrong with it.
    pub fn new(
        courses: Vec<Course>,
        products: Vec<Product>,
        prices: Vec<Price>,
    ) -> Result<Self, Vec<CatalogError>> {
        let catalog = Self { courses, products, prices };
        let faults = catalog.faults();
        if faults.is_empty() { Ok(catalog) } else { Err(faults) }
    }

    /// Rebuilds a catalog that has been published. Only its references are checked: a rule that is
    /// newer than the catalog, or a currency that Stripe no longer supports, must not close the
    /// shop.
    pub fn restore(
        courses: Vec<Course>,
        products: Vec<Product>,
        prices: Vec<Price>,
    ) -> Result<Self, Vec<CatalogError>> {
        let catalog = Self { courses, products, prices };
        let faults = catalog.reference_faults();
        if faults.is_empty() { Ok(catalog) } else { Err(faults) }
    }

    /// The courses, in the author's order.
    #[must_use]
    pub fn courses(&self) -> &[Course] {
        &self.courses
    }

    /// The products, in the author's order.
    #[must_use]
    pub fn products(&self) -> &[Product] {
        &self.products
    }

    /// The prices, in the author's order.
    #[must_use]
    pub fn prices(&self) -> &[Price] {
        &self.prices
    }

    /// The course with this id.
    #[must_use]
    pub fn course(&self, id: &CourseId) -> Option<&Course> {
        self.courses.iter().find(|course| course.id == *id)
    }

    /// The product with this id.
    #[must_use]
    pub fn product(&self, id: &ProductId) -> Option<&Product> {
        self.products.iter().find(|product| product.id == *id)
    }

    /// The offer with this price.
    #[must_use]
    pub fn offer(&self, key: &PriceKey) -> Option<Offer<'_>> {
        let price = self.prices.iter().find(|price| price.key == *key)?;
        Some(Offer { product: self.product(&price.product)?, price })
    }

    /// The offers of this product, in the author's order.
    pub fn offers_of<'a>(&'a self, product: &'a Product) -> impl Iterator<Item = Offer<'a>> {
        let prices = self.prices.iter().filter(|price| price.product == product.id);
        prices.map(move |price| Offer { product, price })
    }

    /// The offers that open this course, in the author's order.
    pub fn offers_for<'a>(&'a self, course: &CourseId) -> impl Iterator<Item = Offer<'a>> {
        self.prices.iter().filter_map(move |price| {
            let product = self.product(&price.product)?;
            product.courses.contains(course).then_some(Offer { product, price })
        })
    }

    /// What owners would lose if this catalog replaced `before`, as text: a course, a product,
    /// chapters, or a course that a product no longer opens. To stop selling a product, the author
    /// removes only its price.
    #[must_use]
    pub fn closes(&self, before: &Self) -> Vec<String> {
        let courses = before.courses.iter().filter(|course| self.course(&course.id).is_none());
        let mut lost: Vec<String> =
            courses.map(|course| format!("course {} is gone", course.id)).collect();
        for course in &before.courses {
            let (had, has) = (course.chapters.len(), self.course(&course.id));
            if let Some(has) = has.map(|now| now.chapters.len()).filter(|has| *has < had) {
                lost.push(format!("course {} had {had} chapters and has {has}", course.id));
            }
        }
        for product in &before.products {
            let Some(now) = self.product(&product.id) else {
                lost.push(format!("product {} is gone", product.id));
                continue;
            };
            let closed = product.courses.iter().filter(|course| !now.courses.contains(course));
            lost.extend(
                closed.map(|course| format!("product {} no longer opens {course}", product.id)),
            );
        }
        lost
    }

    fn faults(&self) -> Vec<CatalogError> {
        let mut faults = self.reference_faults();
        faults.extend(self.courses.iter().flat_map(course_faults));
        // Any of the faults so far can make these checks fail too.
        if faults.is_empty() {
            let unsold = self.courses.iter().filter(|course| self.is_never_open(course));
            faults.extend(unsold.map(|course| CatalogError::NeverOpen(course.id.clone())));
            let idle = self.prices.iter().filter(|price| !self.opens_something(price));
            faults.extend(idle.map(|price| CatalogError::SellsNothing {
                price: price.key.clone(),
                product: price.product.clone(),
            }));
        }
        faults.extend(self.products.iter().flat_map(product_faults));
        faults.extend(self.prices.iter().filter_map(price_fault));
        faults
    }

    /// Duplicate ids, and references to ids that don't exist.
    fn reference_faults(&self) -> Vec<CatalogError> {
        let mut faults = Vec::new();
        let mut unique = |kind, ids: Vec<&str>| {
            let mut seen = BTreeSet::new();
            for id in ids {
                if !seen.insert(id) {
                    faults.push(CatalogError::Twice { kind, id: id.to_owned() });
                }
            }
        };
        unique("course", self.courses.iter().map(|course| course.id.as_str()).collect());
        unique("product", self.products.iter().map(|product| product.id.as_str()).collect());
        unique("price", self.prices.iter().map(|price| price.key.as_str()).collect());
        for product in &self.products {
            for course in product.courses.iter().filter(|id| self.course(id).is_none()) {
                faults.push(CatalogError::NoSuchCourse {
                    product: product.id.clone(),
                    course: course.clone(),
                });
            }
        }
        for price in self.prices.iter().filter(|price| self.product(&price.product).is_none()) {
            faults.push(CatalogError::NoSuchProduct {
                price: price.key.clone(),
                product: price.product.clone(),
            });
        }
        faults
    }

    /// Whether the course has locked chapters that no product opens. A course in the category free
    /// is reported by another check.
    fn is_never_open(&self, course: &Course) -> bool {
        course.category != Category::Free
            && !course.is_free(None)
            && !self.products.iter().any(|product| product.courses.contains(&course.id))
    }

    /// Whether the price's product opens a locked chapter. A product without courses is reported by
    /// another check.
    fn opens_something(&self, price: &Price) -> bool {
        let courses = self.product(&price.product).map(|product| product.courses.as_slice());
        let courses = courses.unwrap_or_default();
        courses.is_empty()
            || courses.iter().filter_map(|id| self.course(id)).any(|course| !course.is_free(None))
    }
}

fn course_faults(course: &Course) -> Vec<CatalogError> {
    let mut faults = Vec::new();
    if course.title.trim().is_empty() {
        faults.push(CatalogError::BlankTitle(course.id.clone()));
    }
    for (chapter, title) in (1..).zip(&course.chapters) {
        if title.trim().is_empty() {
            faults.push(CatalogError::BlankChapter { course: course.id.clone(), chapter });
        }
    }
    if course.chapters.is_empty() {
        faults.push(CatalogError::NoChapters(course.id.clone()));
    } else if course.free_chapters > course.chapters.len() {
        faults.push(CatalogError::TooManyFree {
            course: course.id.clone(),
            free: course.free_chapters,
            chapters: course.chapters.len(),
        });
    } else if course.category == Category::Free && !course.is_free(None) {
        faults.push(CatalogError::FreeCourseLocked(course.id.clone()));
    }
    faults
}

fn product_faults(product: &Product) -> Vec<CatalogError> {
    let mut faults = Vec::new();
    let characters = product.name.chars().count();
    if product.name.trim().is_empty() {
        faults.push(CatalogError::BlankName(product.id.clone()));
    } else if characters > PRODUCT_NAME_CHARACTERS_MAX {
        faults.push(CatalogError::LongName { product: product.id.clone(), characters });
    }
    if product.courses.is_empty() {
        faults.push(CatalogError::OpensNothing(product.id.clone()));
    }
    let mut seen = BTreeSet::new();
    for course in product.courses.iter().filter(|course| !seen.insert(*course)) {
        let (product, course) = (product.id.clone(), course.clone());
        faults.push(CatalogError::CourseTwice { product, course });
    }
    faults
}

fn price_fault(price: &Price) -> Option<CatalogError> {
    let reason = price.money.chargeable().err()?;
    let price = price.key.clone();
    Some(if reason == NotChargeable::NotPositive {
        CatalogError::NotPositive(price)
    } else {
        CatalogError::NotChargeable { price, reason }
    })
}

/// The catalog on sale, with Stripe's id for each of its prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCatalog {
    /// The catalog.
    pub catalog: Catalog,
    /// Stripe's id of each price, by our key.
    pub stripe_prices: BTreeMap<PriceKey, StripePriceId>,
    /// Goes up with each publication. The first is 1.
    pub version: u64,
}
