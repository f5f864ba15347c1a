//! Errors in a catalog file name the line of the wrong field.

use std::path::Path;

use coursegate::catalog::parse;
use tests::world::edited_catalog;

/// Asserts that the demo catalog after these edits is refused with these messages, each for the
/// line with this text.
#[track_caller]
fn check_faults(edits: &[(&str, &str)], expected: &[(&str, &str)]) {
    let mut text = std::fs::read_to_string(tests::world::root().join("catalog.toml")).unwrap();
    for (before, after) in edits {
        assert!(text.contains(before), "{before}");
        text = text.replacen(before, after, 1);
    }
    let said = parse(&text, Path::new("shop/catalog.toml")).unwrap_err().to_string();
    let numbered = expected.iter().map(|(line, message)| {
        let number = text.lines().position(|found| found == *line).unwrap() + 1;
        format!("shop/catalog.toml:{number}: {message}")
    });
    let numbered: Vec<String> = numbered.collect();
    assert_eq!(said, numbered.join("\n"));
}

#[test]
fn an_unreadable_entry_is_reported_with_its_field_s_line() {
    check_faults(
        &[("category = \"free\"", "category = \"gratis\"")],
        &[(
            "category = \"gratis\"",
            "unknown variant `gratis`, expected one of `free`, `curriculum`, `alacarte`",
        )],
    );
    check_faults(
        &[("amount = 999", "amount = \"999\"")],
        &[("amount = \"999\"", "invalid type: string \"999\", expected a whole number")],
    );
    check_faults(
        &[("amount = 999", "price = 999")],
        &[(
            "price = 999",
            "unknown field `price`, expected one of `lookup_key`, `product`, `amount`, `currency`",
        )],
    );
    check_faults(
        &[
            ("id = \"memory\"", "id = \"mémoire vive\""),
            ("free_chapters = 5", "free_chapters = -5 # none"),
            ("currency = \"usd\"", "currency = \"dollars\""),
        ],
        &[
            ("free_chapters = -5 # none", "course \"tutorclaw\": free_chapters must be 0 or more"),
            (
                "id = \"mémoire vive\"",
                "course \"mémoire vive\": a course id is 1 to 64 of A-Z, a-z, 0-9, _ and -",
            ),
            (
                "currency = \"dollars\"",
                "price \"tutorclaw_paid\": a currency is three lower-case letters, like usd",
            ),
        ],
    );
    check_faults(
        &[(
            "[\"models\", \"tools\", \"memory\", \"evaluation\"]",
            "[\"models\",\n\"évaluation\"\n]",
        )],
        &[(
            "\"évaluation\"",
            "product \"curriculum\" opens \"évaluation\": a course id is 1 to 64 of A-Z, a-z, 0-9, \
             _ and -",
        )],
    );
}

#[test]
fn dangling_references_are_reported_with_their_line() {
    check_faults(
        &[
            ("courses = [\"tutorclaw\"]", "courses = [\"tutor\"]"),
            ("amount = 999", "amount = 0"),
            ("product = \"curriculum\"", "product = \"evaluation\""),
        ],
        &[
            (
                "courses = [\"tutor\"]",
                "product tutorclaw opens course tutor, which is not in the catalog",
            ),
            (
                "amount = 0",
                "price tutorclaw_paid must be more than zero: a course that costs nothing has the \
                 category free",
            ),
            (
                "product = \"evaluation\"",
                "price curriculum_paid sells product evaluation, which is not in the catalog",
            ),
        ],
    );
    // Of two entries with the same id, the second is reported.
    check_faults(
        &[("\"curriculum_paid\"", "\"tutorclaw_paid\" # again")],
        &[(
            "lookup_key = \"tutorclaw_paid\" # again",
            "there are two prices called tutorclaw_paid: give each its own",
        )],
    );
    check_faults(
        &[("id = \"tools\"", "id = \"models\" # again"), ("\"tools\", ", "")],
        &[("id = \"models\" # again", "there are two courses called models: give each its own")],
    );
}

#[test]
fn an_invalid_course_or_product_is_reported_with_its_line() {
    let free = "category = \"alacarte\"\nfree_chapters = 1\nchapters = [\n  \"Cutting";
    for (edits, expected) in [
        (
            &[
                ("free_chapters = 5", "free_chapters = 50"),
                ("name = \"AI in 4 Weekends\"", "name = \"\\t\""),
                ("  \"Tools\",", "  \" \",\n  \"\","),
                ("title = \"Talking with machines\"", "title = \" \" # none"),
            ][..],
            &[
                ("  \" \",", "course first-steps has a blank title for chapter 3: write one"),
                ("  \"\",", "course first-steps has a blank title for chapter 4: write one"),
                ("free_chapters = 50", "course tutorclaw has 50 free chapters but only 10 in all"),
                ("title = \" \" # none", "course voice has a blank title: write one"),
                (
                    "name = \"\\t\"",
                    "product curriculum has a blank name: write what the checkout page should call \
                     it",
                ),
            ][..],
        ),
        (
            &[
                ("category = \"free\"", "category = \"free\"\nfree_chapters = 2"),
                ("courses = [\"voice\"]", "courses = [] # none"),
            ],
            &[
                (
                    "free_chapters = 2",
                    "course first-steps is in the category free, so all its chapters are: leave \
                     free_chapters out",
                ),
                ("courses = [] # none", "product voice opens no course: name at least one"),
            ],
        ),
        (
            &[("\"memory\", \"evaluation\"]", "\"memory\"]")],
            &[(
                "id = \"evaluation\"",
                "course evaluation has locked chapters, and no product opens it: add one, with a \
                 price",
            )],
        ),
        (
            &[("\"tools\", \"memory\",", "\"tools\",\n  \"memory\",\n  \"tools\", #\n")],
            &[("  \"tools\", #", "product curriculum lists course tools twice: list it once")],
        ),
        // An owned product may open a course that has become free, but is no longer for sale.
        (
            &[(free, "category = \"free\"\nchapters = [\n  \"Cutting")],
            &[(
                "product = \"retrieval\"",
                "price retrieval_paid sells product retrieval, which opens nothing that is locked: \
                 remove the price, or lock a chapter",
            )],
        ),
    ] {
        check_faults(edits, expected);
    }
    // A free course beside a locked one is valid.
    let beside = edited_catalog(|text| {
        text.replace("courses = [\"voice\"]", "courses = [\"voice\", \"first-steps\"]")
    });
    assert_eq!(beside.product(&"voice".parse().unwrap()).unwrap().courses.len(), 2);
}

#[test]
fn too_many_courses_for_metadata_is_reported_with_its_line() {
    let with = |count: usize| {
        let ids: Vec<String> = (0..count).map(|number| format!("{number:0>64}")).collect();
        let courses = ids.iter().map(|id| {
            format!(
                "[[course]]\nid = \"{id}\"\ntitle = \"C\"\nsummary = \"\"\n\
                 category = \"alacarte\"\nchapters = [\"One\"]\n"
            )
        });
        let courses: String = courses.collect();
        format!("{courses}[[product]]\nid = \"p\"\nname = \"P\"\ncourses = {ids:?}\n")
    };
    // 48 values beside our id and the deployment's mark, with seven ids in each.
    assert!(parse(&with(336), Path::new("catalog.toml")).is_ok());
    let said = parse(&with(337), Path::new("catalog.toml")).unwrap_err().to_string();
    assert_eq!(
        said,
        format!(
            "catalog.toml:{}: product p opens 337 courses, and their ids don't all fit into \
             Stripe's metadata (50 values of 500 characters): use shorter ids, or split the product",
            with(337).lines().count()
        )
    );
}
