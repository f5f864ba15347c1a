//! The shop: courses, the products that open them, and the prices that sell the products.

use std::collections::{BTreeMap, BTreeSet};

use super::id::{CourseId, PriceKey, ProductId, StripePriceId};
use super::money::{Money, NotChargeable};

/// How many characters a product's name may have at Stripe: `maxLength` of `name` under
/// `POST /v1/products` in <https://github.com/stripe/openapi>.
pub const PRODUCT_NAME_CHARACTERS_MAX: usize = 5000;

/// How a course is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Open to everybody, every chapter.
    Free,
    /// Part of the curriculum, sold as a bundle.
    Curriculum,
    /// Sold by itself.
    Alacarte,
}

/// A course and its chapters. Chapter 1 is the first title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Its id, as in addresses.
    pub id: CourseId,
    /// What people call it.
    pub title: String,
    /// One sentence.
    pub summary: String,
    /// How it is offered.
    pub category: Category,
    /// The chapters' titles, in order.
    pub chapters: Vec<String>,
    /// How many of the first chapters are open to everybody.
    pub free_chapters: usize,
}

impl Course {
    /// Whether this chapter (1 is the first), or with none the whole course, is open to everybody.
    #[must_use]
    pub fn is_free(&self, chapter: Option<usize>) -> bool {
        chapter.unwrap_or(self.chapters.len()) <= self.free_chapters
    }

    /// Whether there is such a chapter; 1 is the first.
    #[must_use]
    pub fn has_chapter(&self, chapter: usize) -> bool {
        (1..=self.chapters.len()).contains(&chapter)
    }
}

/// What a learner owns once it is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id, as in Stripe's metadata.
    pub id: ProductId,
    /// What the checkout page calls it.
    pub name: String,
    /// The courses that it opens.
    pub courses: Vec<CourseId>,
}

/// A price at which a product is sold, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// Our name for it, and Stripe's `lookup_key`.
    pub key: PriceKey,
    /// What it sells.
    pub product: ProductId,
    /// For how much, before discounts and taxes.
    pub money: Money,
}

/// A price together with the product it sells: what unlocks a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    /// What is bought.
    pub product: &'a Product,
    /// For how much.
    pub price: &'a Price,
}

/// A shop in which every reference leads somewhere.
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
        /// course, product or price.
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
        /// How many are said to be free.
        free: usize,
        /// How many there are.
        chapters: usize,
    },
    /// A free course with locked chapters, or a locked course without.
    #[error("course {0} is in the category free, so all its chapters are: leave free_chapters out")]
    FreeCourseLocked(CourseId),
    /// A locked course that nothing can ever open.
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
        /// How long its name is.
        characters: usize,
    },
    /// A product that opens nothing.
    #[error("product {0} opens no course: name at least one")]
    OpensNothing(ProductId),
    /// A product names a course that is not there.
    #[error("product {product} opens course {course}, which is not in the catalog")]
    NoSuchCourse {
        /// The product.
        product: ProductId,
        /// The course that is missing.
        course: CourseId,
    },
    /// A product names a course twice.
    #[error("product {product} lists course {course} twice: list it once")]
    CourseTwice {
        /// The product.
        product: ProductId,
        /// The course.
        course: CourseId,
    },
    /// A price names a product that is not there.
    #[error("price {price} sells product {product}, which is not in the catalog")]
    NoSuchProduct {
        /// The price.
        price: PriceKey,
        /// The product that is missing.
        product: ProductId,
    },
    /// A price for what everybody has: all the chapters that its product opens are free.
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
    /// A price of nothing, or less.
    #[error("price {0} must be more than zero: a course that costs nothing has the category free")]
    NotPositive(PriceKey),
    /// A price that Stripe can't charge.
    #[error("price {price}: {reason}")]
    NotChargeable {
        /// The price.
        price: PriceKey,
        /// Why not.
        reason: NotChargeable,
    },
}

impl Catalog {
    /// An author's catalog of these, or everything that is wrong with them.
    pub fn new(
        courses: Vec<Course>,
        products: Vec<Product>,
        prices: Vec<Price>,
    ) -> Result<Self, Vec<CatalogError>> {
        let catalog = Self { courses, products, prices };
        let faults = catalog.faults();
        if faults.is_empty() { Ok(catalog) } else { Err(faults) }
    }

    /// A catalog that has been on sale. Only its references are checked: a rule that is newer than
    /// the catalog, or a currency that Stripe has given up, must not close the shop.
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

    /// The course of this id.
    #[must_use]
    pub fn course(&self, id: &CourseId) -> Option<&Course> {
        self.courses.iter().find(|course| course.id == *id)
    }

    /// The product of this id.
    #[must_use]
    pub fn product(&self, id: &ProductId) -> Option<&Product> {
        self.products.iter().find(|product| product.id == *id)
    }

    /// The offer behind this price.
    #[must_use]
    pub fn offer(&self, key: &PriceKey) -> Option<Offer<'_>> {
        let price = self.prices.iter().find(|price| price.key == *key)?;
        Some(Offer { product: self.product(&price.product)?, price })
    }

    /// The offers that open this course, in the author's order.
    pub fn offers_for<'a>(&'a self, course: &CourseId) -> impl Iterator<Item = Offer<'a>> {
        self.prices.iter().filter_map(move |price| {
            let product = self.product(&price.product)?;
            product.courses.contains(course).then_some(Offer { product, price })
        })
    }

    /// What an owner would lose by this catalog in the place of that one, in words: a course that
    /// is gone, a product that is, chapters, or a course that a product no longer opens. What shall
    /// no longer be sold only loses its price.
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
        // What nothing seems to sell, or what seems to sell nothing, may only follow from these.
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

    /// Ids that two entries share, and ids that no entry has.
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

    /// Whether the course has locked chapters that no product opens. One in the category free has
    /// another fault.
    fn is_never_open(&self, course: &Course) -> bool {
        course.category != Category::Free
            && !course.is_free(None)
            && !self.products.iter().any(|product| product.courses.contains(&course.id))
    }

    /// Whether the price's product opens a chapter that not everybody may open. A product without
    /// courses has another fault.
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

/// The catalog as it is on sale: with Stripe's id for each of its prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedCatalog {
    /// What is sold.
    pub catalog: Catalog,
    /// Stripe's price for each of ours.
    pub stripe_prices: BTreeMap<PriceKey, StripePriceId>,
    /// The first is 1.
    pub version: u64,
}
