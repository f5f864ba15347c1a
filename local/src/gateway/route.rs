//! Finds a request's route.

use std::collections::BTreeMap;

use crate::percent;
use crate::template::{Function, Route};

/// The API's routes.
#[derive(Debug, Clone)]
pub(super) struct Router {
    routes: Vec<(Route, String)>,
}

/// The matching route, its function, and the values of its variables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// The route.
    pub route: &'a Route,
    /// The function's binary name.
    pub function: &'a str,
    /// `{course}` and the like, percent-decoded, by name: `proxy` for `{proxy+}`.
    pub parameters: BTreeMap<String, String>,
}

impl Router {
    /// The routes of these functions.
    #[must_use]
    pub(super) fn new(functions: &[Function]) -> Router {
        let routes = functions.iter().flat_map(|function| {
            function.routes.iter().map(|route| (route.clone(), function.binary.clone()))
        });
        Router { routes: routes.collect() }
    }

    /// The route for this method and path (below the stage). If several match, a literal segment
    /// wins over a variable, and a variable over a greedy one, from the left.
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html>
    #[must_use]
    pub(super) fn find(&self, method: &str, path: &str) -> Option<Found<'_>> {
        let fitting = self.routes.iter().filter(|(route, _)| route.method == method);
        let fitting = fitting.filter_map(|(route, function)| {
            let (segments, parameters) = fit(&route.path, path)?;
            Some((segments, Found { route, function, parameters }))
        });
        let best = fitting.min_by(|(left, _), (right, _)| left.cmp(right));
        best.map(|(_, found)| found)
    }
}

/// A segment of a route's path; the first of these that matches wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal,
    Variable,
    Greedy,
}

/// The kind of each segment, and the values of the variables.
fn fit(template: &str, path: &str) -> Option<(Vec<Segment>, BTreeMap<String, String>)> {
    let (mut segments, mut parameters) = (Vec::new(), BTreeMap::new());
    let mut rest = Some(path);
    for expected in template.split('/') {
        let variable = expected.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
        let greedy = variable.and_then(|name| name.strip_suffix('+'));
        let (value, after) = match (rest?, greedy) {
            (rest, Some(_)) => (rest, None),
            (rest, None) => rest.split_once('/').map_or((rest, None), |(it, on)| (it, Some(on))),
        };
        rest = after;
        match variable {
            Some(_) if value.is_empty() => return None,
            Some(name) => {
                parameters.insert(greedy.unwrap_or(name).to_owned(), percent::decode(value));
            }
            None if expected == value => {}
            None => return None,
        }
        segments.push(match (variable, greedy) {
            (_, Some(_)) => Segment::Greedy,
            (Some(_), None) => Segment::Variable,
            (None, None) => Segment::Literal,
        });
    }
    rest.is_none().then_some((segments, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Access;

    fn router(paths: &[&str]) -> Router {
        let routes = paths.iter().map(|path| {
            let (method, path) = path.split_once(' ').unwrap();
            let access = Access::Open;
            (Route { method: method.into(), path: path.into(), access }, "function".into())
        });
        Router { routes: routes.collect() }
    }

    #[track_caller]
    fn check(paths: &[&str], request: &str, expected: Option<(&str, &[(&str, &str)])>) {
        let (method, path) = request.split_once(' ').unwrap();
        let router = router(paths);
        let found = router.find(method, path).map(|found| {
            let parameters: Vec<_> = found.parameters.into_iter().collect();
            (found.route.key(), parameters)
        });
        let expected = expected.map(|(key, parameters)| {
            let owned = parameters.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            (key.to_owned(), owned.collect())
        });
        assert_eq!(found, expected, "{request}");
    }

    #[test]
    fn a_literal_segment_wins_over_a_variable() {
        let routes = &["GET /courses/{course}", "GET /courses/new"];
        check(routes, "GET /courses/new", Some(("GET /courses/new", &[])));
        let found = Some(("GET /courses/{course}", &[("course", "old")][..]));
        check(routes, "GET /courses/old", found);
    }

    #[test]
    fn the_method_is_part_of_the_route() {
        check(&["GET /courses"], "POST /courses", None);
        check(&["GET /courses"], "HEAD /courses", None);
        let routes = &["GET /go/{link}", "POST /go/now"];
        check(routes, "GET /go/now", Some(("GET /go/{link}", &[("link", "now")][..])));
    }

    #[test]
    fn a_greedy_variable_matches_what_no_other_route_does() {
        let routes = &["GET /go/{proxy+}", "GET /go/{link}/offer", "GET /go/now"];
        let rest = |value| ("GET /go/{proxy+}", vec![("proxy", value)]);
        for (path, value) in
            [("a", "a"), ("a/", "a/"), ("a/b//c", "a/b//c"), ("a%2Fb.%E2%80%A6", "a/b.…")]
        {
            let (key, parameters) = rest(value);
            check(routes, &format!("GET /go/{path}"), Some((key, &parameters)));
        }
        check(routes, "GET /go/now", Some(("GET /go/now", &[])));
        let found = Some(("GET /go/{link}/offer", &[("link", "a")][..]));
        check(routes, "GET /go/a/offer", found);
        for path in ["/go", "/go/", "/going/a"] {
            check(routes, &format!("GET {path}"), None);
        }
    }

    #[test]
    fn a_path_matches_whole_or_not_at_all() {
        let routes = &["GET /courses/{course}/access"];
        check(routes, "GET /courses/a/access/", None);
        check(routes, "GET /courses//access", None);
        check(routes, "GET /courses/a", None);
        check(routes, "GET /courses/a/b/access", None);
        check(routes, "GET /Courses/a/access", None);
    }

    #[test]
    fn a_variable_is_decoded_after_it_is_found() {
        let routes = &["GET /courses/{course}/access"];
        let found = |value| Some(("GET /courses/{course}/access", vec![("course", value)]));
        for (path, value) in [
            ("/courses/a%2Fb/access", "a/b"),
            ("/courses/caf%C3%A9/access", "café"),
            ("/courses/100%/access", "100%"),
            ("/courses/%zz%4/access", "%zz%4"),
            ("/courses/a+b/access", "a+b"),
        ] {
            let expected = found(value);
            let expected = expected.as_ref().map(|(key, parameters)| (*key, parameters.as_slice()));
            check(routes, &format!("GET {path}"), expected);
        }
    }
}
