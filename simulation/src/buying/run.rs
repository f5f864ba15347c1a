//! One run: requests that start, resume step by step, fail and are killed.

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
use shared::stripe::wire;
use shared::usecases::catalog::CatalogCache;

use super::Step;
use super::ports::{Fault, RequestPorts};
use super::stripe::Payment;
use super::world::{Mutant, PRICES, PRODUCTS, Truth, World};
use crate::invariant::Violation;
use crate::shop;
use crate::world::Tally;

/// When a run begins, in Unix seconds.
const START: i64 = 1_800_000_000;
const SITE: &str = "https://learn.example.com";
const LEARNERS: [&str; 2] = ["ada", "bob"];
/// The number of concurrent requests.
const REQUESTS_MAX: usize = 3;
/// The most steps before a request makes its next call.
const FAILING_STEPS_MAX: usize = 12;
/// The most steps before a request has its response, when nothing fails.
const LAST_STEPS_MAX: usize = 400;
/// The rate limits' window: twenty attempts for a learner, and one session closed by a link.
const WINDOW_SECONDS: i64 = 3_600;

/// A request's response.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

/// A request in progress.
struct Job {
    name: String,
    /// The learner and the product; none for a confirmation.
    wanted: Option<(&'static str, &'static str)>,
    /// Whether the product was paid for, as far as Stripe knew, when the request started.
    was_sold: bool,
    ports: RequestPorts,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// A run.
pub(super) struct Run {
    world: Arc<Mutex<World>>,
    jobs: Vec<Job>,
    links: usize,
    /// A log of the steps, if anybody wants to read it.
    pub(super) trace: Option<Vec<String>>,
}

impl Run {
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        let world = Arc::new(Mutex::new(World::new(START, mutant)));
        Self { world, jobs: Vec::new(), links: 0, trace: None }
    }

    pub(super) fn tally(&self) -> Tally {
        self.world().tally.clone()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    fn log(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
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
            Step::Fail(number, fault) => {
                if let Some(index) = self.pick(number) {
                    self.fail(index, fault)?;
                }
            }
            Step::Kill(number) => {
                if let Some(index) = self.pick(number) {
                    let job = self.jobs.remove(index);
                    self.log(|| format!("{} is killed", job.name));
                    self.world().count("function killed");
                    self.world().count(job.ports.last().is_last);
                }
            }
            Step::Pass(seconds) => self.pass(i64::from(seconds)),
            Step::Reprice(price) => {
                let price = usize::from(price) % PRICES.len();
                self.log(|| format!("{} becomes another price at Stripe", PRICES[price].0));
                self.world().reprice(price);
            }
            Step::Deliver(number) => self.deliver(number),
            Step::Pay { session, is_debit } => self.pay(session, is_debit),
            Step::Settle { session, is_paid } => {
                let to = if is_paid { Payment::Paid } else { Payment::Failed };
                self.change_payment(session, Payment::Processing, to);
            }
            Step::Refund(session) => self.change_payment(session, Payment::Paid, Payment::Refunded),
            Step::Dispute(session) => {
                self.change_payment(session, Payment::Paid, Payment::Disputed);
            }
            Step::Decide { session, is_won } => {
                let to = if is_won { Payment::Won } else { Payment::Lost };
                self.change_payment(session, Payment::Disputed, to);
            }
        }
        self.world().check()
    }

    fn pick(&self, number: u8) -> Option<usize> {
        usize::from(number).checked_rem(self.jobs.len())
    }

    fn pass(&mut self, seconds: i64) {
        self.log(|| format!("{seconds} seconds pass"));
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
        let channel = if is_by_link { "through a link" } else { "on the site" };
        let name = format!("{learner}'s request for {price} {channel}");
        let was_sold = self.world().is_sold(learner, product);
        self.begin(name, Some((learner, product)), was_sold, request);
    }

    /// A new link, made for a service.
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
        let returned: Vec<(String, String)> = {
            let world = self.world();
            let sessions = world.stripe.sessions.iter().filter(|session| session.is_returned);
            sessions.map(|session| (session.learner.clone(), session.id.clone())).collect()
        };
        let Some(index) = usize::from(number).checked_rem(returned.len()) else { return };
        if self.jobs.len() < REQUESTS_MAX {
            let (learner, session) = &returned[index];
            let parameters = json!({ "session": session });
            let route = "POST /checkout/{session}/confirm";
            let request = request(route, &parameters, Some(learner), None);
            self.begin(format!("the confirmation of {session}"), None, false, request);
        }
    }

    fn begin(
        &mut self,
        name: String,
        wanted: Option<(&'static str, &'static str)>,
        was_sold: bool,
        request: Request,
    ) {
        self.log(|| format!("{name} begins"));
        let ports = RequestPorts::new(Arc::clone(&self.world));
        let app = App {
            table: ports.clone(),
            catalog: CatalogCache::new(ports.clone()),
            stripe: ports.clone(),
            site_origin: SITE.to_owned(),
            shop: shop(),
            refund_threshold: RefundThreshold::ALL,
            clock: ports.clone(),
        };
        let answering = async move { answer(&checkout::handle(&app, &request).await) };
        self.jobs.push(Job { name, wanted, was_sold, ports, future: Box::pin(answering) });
    }

    /// Resumes a request until a call of its own meets this fault.
    fn fail(&mut self, index: usize, fault: Fault) -> Result<(), Violation> {
        let before = self.jobs.len();
        for _ in 0..FAILING_STEPS_MAX {
            if self.step(index, Some(fault))? || self.jobs.len() < before {
                break;
            }
        }
        Ok(())
    }

    /// Resumes a request until it yields. Its job is removed once it has a response. Returns
    /// whether it has met the fault.
    fn step(&mut self, index: usize, fault: Option<Fault>) -> Result<bool, Violation> {
        {
            let mut world = self.world.lock().unwrap();
            world.catch_up();
            world.fault = fault;
        }
        let polled = self.jobs[index].future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let has_met = self.world().fault.take().is_none() && fault.is_some();
        if let Some(fault) = fault.filter(|_| has_met) {
            let name = self.jobs[index].name.clone();
            self.log(|| format!("{name} meets a fault: {fault:?}"));
        }
        match polled {
            Poll::Pending => self.world().check()?,
            Poll::Ready(answer) => {
                let job = self.jobs.remove(index);
                self.log(|| format!("{} gets {} {}", job.name, answer.status, answer.body));
                self.answered(&job, &answer)?;
                self.world().check()?;
            }
        }
        Ok(has_met)
    }

    /// Checks a response, and notes which session somebody was sent to.
    fn answered(&self, job: &Job, answer: &Answer) -> Result<(), Violation> {
        let mut world = self.world();
        world.count(match answer.status {
            201 => "a new session",
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
            let what = format!("{} gets {} {}", job.name, answer.status, answer.body);
            return Err(Violation {
                invariant: "a fault on our side or Stripe's is never reported as the learner's",
                what,
            });
        }
        let (Some((learner, product)), Some(session)) = (job.wanted, session(answer)) else {
            return Ok(());
        };
        // The money may have been refunded between request and response.
        if job.was_sold && world.is_sold(learner, product) {
            let what = format!("{} gets {session}", job.name);
            return Err(Violation { invariant: "nothing that was paid for is for sale", what });
        }
        let sessions = &mut world.stripe.sessions;
        if let Some(session) = sessions.iter_mut().find(|it| it.id == session) {
            session.is_returned = true;
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
        world.stripe.change_payment(index, to, now);
        world.count(if is_debit { "paid by debit" } else { "paid by card" });
        let id = world.stripe.sessions[index].id.clone();
        drop(world);
        self.log(|| format!("{id} is paid: {to:?}"));
    }

    fn change_payment(&mut self, number: u8, from: Payment, to: Payment) {
        let mut world = self.world();
        let fitting: Vec<usize> = (0..world.stripe.sessions.len())
            .filter(|index| world.stripe.sessions[*index].payment == Some(from))
            .collect();
        let Some(index) = usize::from(number).checked_rem(fitting.len()) else { return };
        let (index, now) = (fitting[index], world.now);
        world.stripe.change_payment(index, to, now);
        world.count("a payment changed");
        let id = world.stripe.sessions[index].id.clone();
        drop(world);
        self.log(|| format!("{id}'s payment changes to {to:?}"));
    }

    /// The webhook applies an event while no request runs, and Stripe doesn't deliver it again.
    fn deliver(&mut self, number: u8) {
        let event = {
            let mut world = self.world();
            let index = usize::from(number).checked_rem(world.stripe.events.len());
            index.map(|index| world.stripe.events.remove(index))
        };
        let Some(event) = event else { return };
        self.log(|| format!("{} {} is delivered", event["id"], event["type"]));
        self.world().count("event delivered");
        let ports = RequestPorts::new(Arc::clone(&self.world));
        let shop = shop();
        let observation = wire::event_from_api(&event.to_string(), shop.mode);
        let mut applying = Box::pin(async move {
            apply(&ports, &ports, &ports, &shop, &observation).await.map(drop).unwrap();
        });
        let context = &mut Context::from_waker(Waker::noop());
        while applying.as_mut().poll(context).is_pending() {}
    }

    /// Stops all faults. Every request gets a response; once all events are delivered, the
    /// responses must match the truth.
    pub(super) fn finish(&mut self) -> Result<(), Violation> {
        while !self.jobs.is_empty() {
            self.finish_job()?;
        }
        self.world().catch_up();
        self.world().check()?;
        // None of Stripe's events has arrived lately.
        self.request_everything(|_, _| Ok(()))?;
        while !self.world().stripe.events.is_empty() {
            self.deliver(0);
        }
        self.request_everything(|expected, answer| {
            let is_so = match expected {
                Truth::ForSale => matches!(answer.status, 200 | 201),
                Truth::Entitled => kind(answer) == "already-entitled",
                Truth::Processing => kind(answer) == "payment-processing",
                Truth::Disputed => kind(answer) == "payment-disputed",
            };
            if is_so { Ok(()) } else { Err(format!("{expected:?}")) }
        })
    }

    /// Every learner asks for every product on the site, one after the other.
    fn request_everything(
        &mut self,
        check: impl Fn(Truth, &Answer) -> Result<(), String>,
    ) -> Result<(), Violation> {
        for learner in LEARNERS {
            for (product, _) in PRODUCTS {
                self.pass(WINDOW_SECONDS);
                let price = PRICES.iter().position(|(_, of)| *of == product).unwrap();
                let truth = self.world().truth(learner, product);
                self.ask(learner, price, false);
                let answer = self.finish_job()?;
                let fails = |expected: String| Violation {
                    invariant: "in the end everybody can buy exactly what they don't own",
                    what: format!(
                        "{learner} asks for {product}: {} {}, expected {expected}",
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

    /// Resumes the first request until it has its response.
    fn finish_job(&mut self) -> Result<Answer, Violation> {
        for _ in 0..LAST_STEPS_MAX {
            self.world().catch_up();
            let context = &mut Context::from_waker(Waker::noop());
            if let Poll::Ready(answer) = self.jobs[0].future.as_mut().poll(context) {
                let job = self.jobs.remove(0);
                self.log(|| format!("{} gets {} {}", job.name, answer.status, answer.body));
                self.answered(&job, &answer)?;
                self.world().check()?;
                return Ok(answer);
            }
        }
        let what = self.jobs[0].name.clone();
        Err(Violation { invariant: "every request gets a response", what })
    }
}

/// The problem type of a response; empty if it is no problem.
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

/// An API Gateway event.
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
