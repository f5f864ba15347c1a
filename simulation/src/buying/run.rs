//! One run: requests that are begun, go on step by step, fail and are killed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use checkout::App;
use lambda_http::http::{HeaderMap, Response as HttpResponse};
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use shared::apply::apply;
use shared::domain::access::RefundThreshold;
use shared::domain::checkout::Link;
use shared::domain::time::Timestamp;
use shared::dynamo::catalog::CatalogCache;
use shared::stripe::wire;

use super::Step;
use super::door::{Door, Trouble};
use super::stripe::Payment;
use super::world::{Mutant, PRICES, PRODUCTS, Truth, World};
use crate::invariant::Violation;
use crate::shop;
use crate::world::Tally;

/// When a run begins, in Unix seconds.
const START: i64 = 1_800_000_000;
const SITE: &str = "https://learn.example.com";
const LEARNERS: [&str; 2] = ["ada", "bob"];
/// How many requests are under way at once.
const REQUESTS_MAX: usize = 3;
/// A request asks for something at the latest after so many steps.
const FAILING_STEPS_MAX: usize = 12;
/// Any request has its answer after so many steps when nothing fails.
const LAST_STEPS_MAX: usize = 400;
/// A learner may ask twenty times in this long, and a link close their session once in an hour.
const WINDOW_SECONDS: i64 = 3_600;

/// What a request was answered with.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// A request under way.
struct Job {
    name: String,
    /// Who asks for what; none for a confirmation.
    wish: Option<(&'static str, &'static str)>,
    /// Whether the product was paid for, by what Stripe knew, when it was asked for.
    was_sold: bool,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// A run.
pub(super) struct Run {
    world: Arc<Mutex<World>>,
    jobs: Vec<Job>,
    links: usize,
    /// What has happened, in words, if anybody wants to read it.
    pub(super) story: Option<Vec<String>>,
}

impl Run {
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        let world = Arc::new(Mutex::new(World::new(START, mutant)));
        Self { world, jobs: Vec::new(), links: 0, story: None }
    }

    pub(super) fn tally(&self) -> Tally {
        self.world().tally.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    pub(super) fn take(&mut self, step: Step) -> Result<(), Violation> {
        match step {
            Step::Ask { learner, price, is_by_link } => {
                let learner = LEARNERS[usize::from(learner) % LEARNERS.len()];
                let price = usize::from(price) % PRICES.len();
                if self.jobs.len() < REQUESTS_MAX {
                    self.ask(learner, price, is_by_link);
                }
            }
            Step::Confirm(number) => self.confirm(number),
            Step::Go(number, steps) => {
                if let Some(mut index) = self.pick(number) {
                    for _ in 0..steps {
                        let before = self.jobs.len();
                        self.step(index, None)?;
                        if self.jobs.len() < before {
                            break;
                        }
                        index = index.min(self.jobs.len());
                    }
                }
            }
            Step::Fail(number, trouble) => {
                if let Some(index) = self.pick(number) {
                    self.fail(index, trouble)?;
                }
            }
            Step::Kill(number) => {
                if let Some(index) = self.pick(number) {
                    let job = self.jobs.remove(index);
                    self.tell(|| format!("{} is killed", job.name));
                    self.world().count("function killed");
                }
            }
            Step::Pass(seconds) => self.pass(i64::from(seconds)),
            Step::Reprice(price) => {
                let price = usize::from(price) % PRICES.len();
                self.tell(|| format!("{} becomes another price at Stripe", PRICES[price].0));
                self.world().reprice(price);
            }
            Step::Deliver(number) => self.deliver(number),
            Step::Pay { session, is_debit } => self.pay(session, is_debit),
            Step::Settle { session, is_paid } => {
                let to = if is_paid { Payment::Paid } else { Payment::Failed };
                self.becomes(session, Payment::Processing, to);
            }
            Step::Refund(session) => self.becomes(session, Payment::Paid, Payment::Refunded),
            Step::Dispute(session) => self.becomes(session, Payment::Paid, Payment::Disputed),
            Step::Decide { session, is_won } => {
                let to = if is_won { Payment::Won } else { Payment::Lost };
                self.becomes(session, Payment::Disputed, to);
            }
        }
        self.world().judge()
    }

    fn pick(&self, number: u8) -> Option<usize> {
        usize::from(number).checked_rem(self.jobs.len())
    }

    fn pass(&mut self, seconds: i64) {
        self.tell(|| format!("{seconds} seconds pass"));
        let mut world = self.world();
        world.now += seconds;
        let now = world.now;
        world.stripe.pass(now);
    }

    /// A request to buy, at a function that has just started.
    fn ask(&mut self, learner: &'static str, price: usize, is_by_link: bool) {
        let (price, product) = PRICES[price];
        let request = if is_by_link {
            let link = self.link(learner, price);
            request("POST /go/{proxy+}", &json!({ "proxy": link }), None, None)
        } else {
            let body = json!({ "price": price });
            request("POST /checkout", &json!({}), Some(learner), Some(&body))
        };
        let way = if is_by_link { "by a link" } else { "on the site" };
        let name = format!("{learner}'s wish for {price} {way}");
        let was_sold = self.world().is_sold(learner, product);
        self.begin(name, Some((learner, product)), was_sold, request);
    }

    /// A new link, which a service has had made.
    fn link(&mut self, learner: &str, price: &str) -> String {
        self.links += 1;
        let id = format!("{:032}", self.links);
        let expires_at = Timestamp::from_unix_seconds(i64::MAX / 2);
        let link =
            Link { learner: learner.parse().unwrap(), price: price.parse().unwrap(), expires_at };
        self.world().contents.links.insert(id.parse().unwrap(), link);
        id
    }

    fn confirm(&mut self, number: u8) {
        let handed_out: Vec<(String, String)> = {
            let world = self.world();
            let sessions = world.stripe.sessions.iter().filter(|session| session.is_handed_out);
            sessions.map(|session| (session.learner.clone(), session.id.clone())).collect()
        };
        let Some(index) = usize::from(number).checked_rem(handed_out.len()) else { return };
        if self.jobs.len() < REQUESTS_MAX {
            let (learner, session) = &handed_out[index];
            let parameters = json!({ "session": session });
            let route = "POST /checkout/{session}/confirm";
            let request = request(route, &parameters, Some(learner), None);
            self.begin(format!("the confirmation of {session}"), None, false, request);
        }
    }

    fn begin(
        &mut self,
        name: String,
        wish: Option<(&'static str, &'static str)>,
        was_sold: bool,
        request: Request,
    ) {
        self.tell(|| format!("{name} begins"));
        let door = Door(Arc::clone(&self.world));
        let app = App {
            table: door.clone(),
            catalog: CatalogCache::new(door.clone()),
            stripe: door.clone(),
            site_origin: SITE.to_owned(),
            shop: shop(),
            refund_threshold: RefundThreshold::ALL,
            clock: door,
        };
        let answering = async move { answer(&checkout::handle(&app, &request).await) };
        self.jobs.push(Job { name, wish, was_sold, future: Box::pin(answering) });
    }

    /// Lets a request go on until what it asks for meets this trouble.
    fn fail(&mut self, index: usize, trouble: Trouble) -> Result<(), Violation> {
        let before = self.jobs.len();
        for _ in 0..FAILING_STEPS_MAX {
            if self.step(index, Some(trouble))? || self.jobs.len() < before {
                break;
            }
        }
        Ok(())
    }

    /// Lets a request go on to where it stands still next. Its job is gone once it is answered.
    /// Says whether it has met the trouble.
    fn step(&mut self, index: usize, trouble: Option<Trouble>) -> Result<bool, Violation> {
        {
            let mut world = self.world.lock().unwrap();
            world.catch_up();
            world.trouble = trouble;
        }
        let polled = self.jobs[index].future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let has_met = self.world().trouble.take().is_none() && trouble.is_some();
        if let Some(trouble) = trouble.filter(|_| has_met) {
            let name = self.jobs[index].name.clone();
            self.tell(|| format!("{name} meets trouble: {trouble:?}"));
        }
        match polled {
            Poll::Pending => self.world().judge()?,
            Poll::Ready(answer) => {
                let job = self.jobs.remove(index);
                self.tell(|| format!("{} is answered {} {}", job.name, answer.status, answer.body));
                self.answered(&job, &answer)?;
                self.world().judge()?;
            }
        }
        Ok(has_met)
    }

    /// Looks at an answer, and remembers which session somebody was sent to.
    fn answered(&self, job: &Job, answer: &Answer) -> Result<(), Violation> {
        let mut world = self.world();
        world.count(match answer.status {
            201 => "answered with a new session",
            200 => "answered 200",
            303 => "redirected",
            409 => "answered 409",
            429 => "answered 429",
            503 => "answered 503",
            _ => "answered otherwise",
        });
        if kind(answer) == "checkout-open-elsewhere" {
            world.count("a link may not close the learner's session");
        }
        if !matches!(answer.status, 200 | 201 | 303 | 409 | 429 | 503) {
            let what = format!("{} is answered {} {}", job.name, answer.status, answer.body);
            return Err(Violation {
                invariant: "no fault of ours or Stripe's is the learner's",
                what,
            });
        }
        let (Some((learner, product)), Some(session)) = (job.wish, session(answer)) else {
            return Ok(());
        };
        // Between the question and the answer the money may have gone back.
        if job.was_sold && world.is_sold(learner, product) {
            let what = format!("{} is answered with {session}", job.name);
            return Err(Violation { invariant: "what was paid for is not for sale", what });
        }
        let sessions = &mut world.stripe.sessions;
        if let Some(session) = sessions.iter_mut().find(|it| it.id == session) {
            session.is_handed_out = true;
        }
        Ok(())
    }

    fn pay(&mut self, number: u8, is_debit: bool) {
        let to = if is_debit { Payment::Processing } else { Payment::Paid };
        let mut world = self.world();
        let payable: Vec<usize> = (0..world.stripe.sessions.len())
            .filter(|index| world.stripe.sessions[*index].is_payable())
            .collect();
        let Some(index) = usize::from(number).checked_rem(payable.len()) else { return };
        let (index, now) = (payable[index], world.now);
        world.stripe.becomes(index, to, now);
        world.count(if is_debit { "paid by debit" } else { "paid by card" });
        let id = world.stripe.sessions[index].id.clone();
        drop(world);
        self.tell(|| format!("{id} is paid: {to:?}"));
    }

    fn becomes(&mut self, number: u8, from: Payment, to: Payment) {
        let mut world = self.world();
        let fitting: Vec<usize> = (0..world.stripe.sessions.len())
            .filter(|index| world.stripe.sessions[*index].payment == Some(from))
            .collect();
        let Some(index) = usize::from(number).checked_rem(fitting.len()) else { return };
        let (index, now) = (fitting[index], world.now);
        world.stripe.becomes(index, to, now);
        world.count("a payment became something else");
        let id = world.stripe.sessions[index].id.clone();
        drop(world);
        self.tell(|| format!("{id}'s payment becomes {to:?}"));
    }

    /// The webhook applies an event while nobody else goes on, and Stripe tells it no more.
    fn deliver(&mut self, number: u8) {
        let event = {
            let mut world = self.world();
            let index = usize::from(number).checked_rem(world.stripe.events.len());
            index.map(|index| world.stripe.events.remove(index))
        };
        let Some(event) = event else { return };
        self.tell(|| format!("{} {} is delivered", event["id"], event["type"]));
        self.world().count("event delivered");
        let door = Door(Arc::clone(&self.world));
        let shop = shop();
        let observation = wire::event_from_api(&event.to_string(), shop.mode);
        let mut applying = Box::pin(async move {
            apply(&door, &door, &door, &shop, &observation).await.map(drop).unwrap();
        });
        let context = &mut Context::from_waker(Waker::noop());
        while applying.as_mut().poll(context).is_pending() {}
    }

    /// Nothing fails any more. Whoever asks is answered, and in the end, when all events have
    /// arrived, by how things stand.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        while !self.jobs.is_empty() {
            self.finish_job()?;
        }
        self.world().catch_up();
        self.world().judge()?;
        // Stripe has told nobody anything of late.
        self.everybody_asks(|_, _| Ok(()))?;
        while !self.world().stripe.events.is_empty() {
            self.deliver(0);
        }
        self.everybody_asks(|expected, answer| {
            let is_so = match expected {
                Truth::ForSale => matches!(answer.status, 200 | 201),
                Truth::Entitled => kind(answer) == "already-entitled",
                Truth::Processing => kind(answer) == "payment-processing",
                Truth::Disputed => kind(answer) == "payment-disputed",
            };
            if is_so { Ok(()) } else { Err(format!("{expected:?}")) }
        })
    }

    /// Has everybody ask for everything on the site, one after the other.
    fn everybody_asks(
        &mut self,
        check: impl Fn(Truth, &Answer) -> Result<(), String>,
    ) -> Result<(), Violation> {
        for learner in LEARNERS {
            for (product, _) in PRODUCTS {
                self.pass(WINDOW_SECONDS);
                let price = PRICES.iter().position(|(_, of)| *of == product).unwrap();
                let truth = self.world().truth(learner, product);
                self.ask(learner, price, false);
                let mut answer = self.finish_job()?;
                if answer.status == 503 {
                    // Stripe repeats an error of its own under the same key: the next try has
                    // another key.
                    self.ask(learner, price, false);
                    answer = self.finish_job()?;
                }
                let fails = |expected: String| Violation {
                    invariant: "in the end everybody can buy what they don't have, and nothing else",
                    what: format!(
                        "{learner} asks for {product}: {} {}, which is {expected}",
                        answer.status, answer.body
                    ),
                };
                if answer.status >= 429 {
                    return Err(fails("nobody's fault".to_owned()));
                }
                check(truth, &answer).map_err(fails)?;
            }
        }
        Ok(())
    }

    /// Lets the first request go on to its answer.
    fn finish_job(&mut self) -> Result<Answer, Violation> {
        for _ in 0..LAST_STEPS_MAX {
            self.world().catch_up();
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(answer) = self.jobs[0].future.as_mut().poll(context) {
                let job = self.jobs.remove(0);
                self.tell(|| format!("{} is answered {} {}", job.name, answer.status, answer.body));
                self.answered(&job, &answer)?;
                self.world().judge()?;
                return Ok(answer);
            }
        }
        let what = self.jobs[0].name.clone();
        Err(Violation { invariant: "every request is answered", what })
    }
}

/// The kind of problem that was answered; empty where it is none.
fn kind(answer: &Answer) -> &str {
    let kind = answer.body["type"].as_str().unwrap_or_default();
    kind.rsplit(':').next().unwrap_or_default()
}

/// The session that somebody was sent to.
fn session(answer: &Answer) -> Option<String> {
    let location = answer.headers.get("location").and_then(|it| it.to_str().ok());
    let url = location.filter(|url| url.contains("/c/pay/")).map(ToOwned::to_owned);
    let id = answer.body["session_id"].as_str().map(ToOwned::to_owned);
    id.or_else(|| Some(url?.rsplit('/').next()?.to_owned()))
}

fn answer(response: &HttpResponse<Body>) -> Answer {
    let body: &[u8] = response.body();
    let body = serde_json::from_slice(body).unwrap_or_default();
    Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
}

/// An event of API Gateway's.
fn request(
    route_key: &str,
    parameters: &Value,
    learner: Option<&str>,
    body: Option<&Value>,
) -> Request {
    let (method, path) = route_key.split_once(' ').unwrap();
    let claims = learner.map(|it| json!({ "sub": it, "scope": "openid coursegate/learn" }));
    let event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": format!("/api{path}"),
        "rawQueryString": "",
        "headers": { "accept": "application/json", "content-type": "application/json" },
        "pathParameters": parameters,
        "requestContext": {
            "accountId": "0",
            "apiId": "simulated",
            "authorizer": claims.map(|claims| json!({ "jwt": { "claims": claims, "scopes": null } })),
            "domainName": "127.0.0.1",
            "domainPrefix": "127",
            "http": {
                "method": method,
                "path": format!("/api{path}"),
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "simulated",
            },
            "requestId": "simulated",
            "routeKey": route_key,
            "stage": "api",
            "time": "21/Nov/2026:06:00:00 +0000",
            "timeEpoch": 1_795_240_800_000_i64,
        },
        "body": body.map(ToString::to_string),
        "isBase64Encoded": false,
    });
    lambda_http::request::from_str(&event.to_string()).unwrap()
}
