//! Uploading the site and the chapters as an author does: into the buckets of moto's S3.

use std::path::PathBuf;

use axum::Json;
use axum::routing::get;
use coursegate::aws::S3;
use coursegate::deployment::Deployment;
use coursegate::doctor::Finding;
use coursegate::site::{Deployed, SiteError, Wanted, deploy};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use shared::domain::decide::Mode;
use tests::moto::{quiet_moto, strict_moto};
use tests::world::root;

use crate::stack::{Shop, finding, listen, template_for_moto};

/// A shop with a catalog on sale, an author's copy of its chapters, and a small site.
struct Author {
    shop: Shop,
    folder: PathBuf,
    wanted: Wanted,
}

/// The output of `coursegate site deploy`, and how it ended.
struct Said {
    lines: Vec<String>,
    ended: Result<Deployed, SiteError>,
}

impl Said {
    fn deployed(&self) -> Deployed {
        *self.ended.as_ref().unwrap()
    }

    fn error(&self) -> String {
        self.ended.as_ref().unwrap_err().to_string()
    }
}

fn copy(from: &PathBuf, to: &PathBuf) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

impl Author {
    /// The project's author, whose shop has the stack of this name.
    async fn of(name: &'static str) -> Option<Self> {
        let mut shop = Shop::deploy(name, Mode::Test).await?;
        shop.set_up().await;
        sign_in_at_the_stack_s_own_pool(&mut shop).await;
        let folder = std::env::temp_dir().join(format!("coursegate-{name}-{}", std::process::id()));
        let wanted = Wanted {
            site: folder.join("web"),
            content: folder.join("content"),
            client_id: None,
            force: false,
            delete: false,
        };
        copy(&root().join("content"), &wanted.content);
        let author = Self { shop, folder, wanted };
        author.write("web/index.html", "<script type=module src=app.js></script>");
        author.write("web/app.js", "document.title = 'Learn';");
        Some(author)
    }

    async fn deploys(&self) -> Said {
        self.deploys_to(&self.shop.deployment().await).await
    }

    async fn deploys_to(&self, deployment: &Deployment) -> Said {
        let mut lines = Vec::new();
        let cloud = deployment.cloud.as_ref().unwrap();
        let ended = deploy(deployment, cloud, &self.wanted, &mut |line| lines.push(line)).await;
        let folder = self.folder.display().to_string();
        let lines = lines.into_iter().map(|line| line.replace(&folder, "")).collect();
        Said { lines, ended }
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.folder.join(file)).unwrap();
    }

    fn request(&self, method: Method, bucket: &str, key: &str) -> RequestBuilder {
        let path = format!("/{}/{key}", self.shop.parameters[bucket]);
        quiet_moto().unwrap().s3(method, &path)
    }

    /// An object's bytes, content type and cache control. None if it doesn't exist.
    async fn object(&self, bucket: &str, key: &str) -> Option<(Vec<u8>, String, String)> {
        let answer = self.request(Method::GET, bucket, key).send().await.unwrap();
        if answer.status() == 404 {
            return None;
        }
        assert_eq!(answer.status(), 200, "{key}");
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        let (content_type, cache_control) = (header("content-type"), header("cache-control"));
        Some((answer.bytes().await.unwrap().to_vec(), content_type, cache_control))
    }

    async fn config(&self) -> Value {
        let (bytes, ..) = self.object("SiteBucket", "config.json").await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

impl Drop for Author {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// moto isn't asked to create the user pool: the outputs are as if there were one.
async fn sign_in_at_the_stack_s_own_pool(shop: &mut Shop) {
    let mut template = template_for_moto();
    for (output, value) in [
        ("SignInUrl", "https://x.auth.example.com"),
        ("SiteClientId", "4abc"),
        ("ServiceClientId", "4def"),
        ("JwtIssuer", "https://cognito-idp.us-east-1.example.com/us-east-1_pool"),
    ] {
        template["Outputs"][output] = serde_norway::from_str(&format!("Value: '{value}'")).unwrap();
    }
    let origins = "https://blog.example.com,https://notes.example.com";
    shop.parameters.insert("CorsOrigins", origins.to_owned());
    shop.update_stack(&template).await;
}

#[tokio::test]
async fn only_changed_files_are_uploaded_again() {
    let Some(author) = Author::of("sent").await else { return };
    copy(&root().join("web"), &author.wanted.site);
    let first = author.deploys().await;
    let deployed = first.deployed();
    assert_eq!(deployed.unchanged + deployed.deleted, 0);
    assert!(first.lines.iter().all(|line| line.starts_with("+ ")), "{:?}", first.lines);
    assert_eq!(first.lines.len(), deployed.sent);
    assert_eq!(first.lines.last().unwrap(), "+ site: index.html", "it names all the others");

    for (bucket, folder, key, kind, kept) in [
        ("SiteBucket", "web", "index.html", "text/html; charset=utf-8", "no-cache"),
        ("SiteBucket", "web", "pages/course.js", "text/javascript; charset=utf-8", "no-cache"),
        ("SiteBucket", "web", "style.css", "text/css; charset=utf-8", "no-cache"),
        ("SiteBucket", "web", "icon.svg", "image/svg+xml", "no-cache"),
        (
            "ContentBucket",
            "",
            "content/tutorclaw/6.html",
            "text/html; charset=utf-8",
            "private, no-store",
        ),
    ] {
        let (bytes, content_type, cache_control) = author.object(bucket, key).await.unwrap();
        let file = author.folder.join(folder).join(key);
        assert_eq!(bytes, std::fs::read(file).unwrap(), "{key}");
        assert_eq!((content_type.as_str(), cache_control.as_str()), (kind, kept), "{key}");
    }
    let found = finding(&author.shop.deployment().await, "site's files").await;
    assert_eq!(found, Finding::Good("index.html is in sent-site".to_owned()));
    for key in ["README.md", "api.d.ts", "demo/embed.html"] {
        assert_eq!(author.object("SiteBucket", key).await, None, "{key}");
    }

    let again = author.deploys().await;
    assert_eq!((again.deployed().sent, again.deployed().unchanged), (0, deployed.sent));
    assert_eq!(again.lines, [""; 0]);

    author.write("web/style.css", "body { color: red }");
    author.write("web/pages/a name (1)+ü.js", "export {};");
    author.write("content/tutorclaw/6.html", "<p>Shorter.</p>");
    let changed = author.deploys().await;
    insta::assert_snapshot!(changed.lines.join("\n"), @r"
    ~ content: tutorclaw/6.html
    + site: pages/a name (1)+ü.js
    ~ site: style.css
    ");
    let odd = author.object("SiteBucket", "pages/a%20name%20(1)%2B%C3%BC.js").await.unwrap();
    assert_eq!(odd.0, b"export {};");
    assert_eq!(author.deploys().await.deployed().sent, 0);
}

#[tokio::test]
async fn a_foreign_change_to_the_bucket_is_corrected() {
    let Some(author) = Author::of("put-right").await else { return };
    author.deploys().await.deployed();
    let put = author.request(Method::PUT, "SiteBucket", "app.js");
    let same = std::fs::read(author.wanted.site.join("app.js")).unwrap();
    assert_eq!(put.body(same).send().await.unwrap().status(), 200, "with another content type");
    let put = author.request(Method::PUT, "ContentBucket", "content/voice/1.html");
    assert_eq!(put.body("other").send().await.unwrap().status(), 200);
    let said = author.deploys().await;
    assert_eq!(said.lines, ["~ content: voice/1.html", "~ site: app.js"]);
    let (_, content_type, _) = author.object("SiteBucket", "app.js").await.unwrap();
    assert_eq!(content_type, "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn removed_files_are_listed_and_deleted_only_on_request() {
    let Some(mut author) = Author::of("gone").await else { return };
    author.write("web/old.js", "export {};");
    author.write("content/tutorclaw/99.html", "<p>A draft.</p>");
    author.deploys().await.deployed();
    author.remove("web/old.js");
    author.remove("content/tutorclaw/99.html");
    let said = author.deploys().await;
    insta::assert_snapshot!(said.lines.join("\n"), @r"
    ! content: tutorclaw/99.html is in the bucket, but no longer in /content; --delete removes it
    ! site: old.js is in the bucket, but no longer in /web; --delete removes it
    ");
    assert!(author.object("SiteBucket", "old.js").await.is_some());

    author.wanted.delete = true;
    let said = author.deploys().await;
    assert_eq!(said.lines, ["- content: tutorclaw/99.html", "- site: old.js"]);
    assert_eq!((said.deployed().sent, said.deployed().deleted), (0, 2));
    assert_eq!(author.object("SiteBucket", "old.js").await, None);
    assert_eq!(author.deploys().await.lines, [""; 0]);
}

#[tokio::test]
async fn a_missing_chapter_file_blocks_the_upload_unless_forced() {
    let Some(mut author) = Author::of("missing").await else { return };
    author.remove("content/tutorclaw/6.html");
    author.write("content/notes.txt", "Not for learners.");
    let error = author.deploys().await.error();
    insta::assert_snapshot!(error.replace(&author.folder.display().to_string(), ""), @r"
    nothing is sent:
    - /content/tutorclaw/6.html is not there, and tutorclaw is on sale with it (Feedback that helps): write it
    --force continues without them
    ");
    assert_eq!(author.object("SiteBucket", "index.html").await, None);

    author.wanted.force = true;
    let said = author.deploys().await;
    let left_out = "! /content/notes.txt is left out: a chapter's file is named COURSE/NUMBER.html";
    assert_eq!(said.lines[0], left_out);
    assert!(said.deployed().sent > 0);
    assert_eq!(author.object("ContentBucket", "content/notes.txt").await, None);
}

#[tokio::test]
async fn an_unsafe_chapter_is_refused_even_when_forced() {
    let Some(mut author) = Author::of("unfit").await else { return };
    author.wanted.force = true;
    author.write("content/tutorclaw/6.html", "<p>x</p><script>alert(1)</script>");
    author.write("content/voice/1.html", &"x".repeat(1_000_001));
    let error = author.deploys().await.error();
    insta::assert_snapshot!(error.replace(&author.folder.display().to_string(), ""), @r"
    nothing is sent:
    - /content/tutorclaw/6.html has a script, and no page runs one: remove it
    - /content/voice/1.html has 1000001 bytes, and a chapter 1000000 at most: make it shorter, or its pictures smaller
    ");
    assert_eq!(author.object("ContentBucket", "content/tutorclaw/1.html").await, None);
}

#[tokio::test]
async fn a_shop_without_a_catalog_is_told_to_push_one() {
    let Some(shop) = Shop::deploy("no-catalog", Mode::Test).await else { return };
    let deployment = shop.deployment().await;
    let wanted = Wanted {
        site: root().join("web"),
        content: root().join("content"),
        client_id: None,
        force: false,
        delete: false,
    };
    let cloud = deployment.cloud.as_ref().unwrap();
    let error = deploy(&deployment, cloud, &wanted, &mut |_| {}).await.unwrap_err();
    insta::assert_snapshot!(error, @r"
    nothing is sent:
    - nothing is on sale yet, so no chapter belongs to a course: put your courses on sale with `coursegate catalog push` first
    --force continues without them
    ");
}

#[tokio::test]
async fn a_folder_without_a_site_is_not_uploaded() {
    let Some(mut author) = Author::of("no-site").await else { return };
    author.wanted.site = author.folder.join("content");
    assert!(author.deploys().await.error().contains("there is no index.html in"));
    author.wanted.site = author.folder.join("nowhere");
    let error = author.deploys().await.error();
    assert!(error.contains("nowhere can't be read") && error.contains("--site"), "{error}");
    author.wanted.site = author.folder.join("web");
    let secret = author.folder.join("secret.js");
    std::fs::write(&secret, "secret").unwrap();
    std::os::unix::fs::symlink(&secret, author.folder.join("web/link.js")).unwrap();
    let error = author.deploys().await.error();
    assert!(error.contains("link.js is a symbolic link"), "{error}");
}

#[tokio::test]
async fn the_site_s_config_names_the_stack_s_sign_in() {
    let Some(mut author) = Author::of("pool").await else { return };
    author.write("web/config.json", "{}");
    author.deploys().await.deployed();
    let site = author.shop.parameters["SiteOrigin"].clone();
    let expected = json!({
        "api": "/api",
        "sign_in": {
            "authorize": "https://x.auth.example.com/oauth2/authorize",
            "token": "https://x.auth.example.com/oauth2/token",
            "revoke": "https://x.auth.example.com/oauth2/revoke",
            "logout": "https://x.auth.example.com/logout",
            "client_id": "4abc",
            "scope": "openid email coursegate/learn",
            "redirect": format!("{site}/"),
            "sign_up": "https://cognito-idp.us-east-1.example.com/",
            "passkeys": "https://x.auth.example.com/passkeys/add",
        },
        "embed_origins": ["https://blog.example.com", "https://notes.example.com"],
    });
    assert_eq!(author.config().await, expected);
    author.wanted.client_id = Some("mine".to_owned());
    assert!(author.deploys().await.error().ends_with("leave out --client-id"));
}

/// An issuer with these metadata.
async fn issuer(discovery: impl Fn(&str) -> Value) -> String {
    let (listener, url) = listen().await;
    let discovery = discovery(&url);
    let answer = async move || Json(discovery.clone());
    let router = axum::Router::new().route("/.well-known/openid-configuration", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn the_site_s_config_names_a_custom_issuer() {
    let Some(mut author) = Author::of("issuer").await else { return };
    let own = issuer(|url| {
        json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": format!("{url}/token"),
            "revocation_endpoint": format!("{url}/revoke"),
            "end_session_endpoint": format!("{url}/end"),
            "jwks_uri": format!("{url}/keys"),
            "scopes_supported": ["openid", "offline_access"],
        })
    });
    let own = own.await;
    author.shop.parameters.insert("JwtIssuer", own.clone());
    author.shop.parameters.insert("CorsOrigins", String::new());
    author.shop.update_stack(&template_for_moto()).await;
    let error = author.deploys().await.error();
    assert!(error.contains(&own) && error.contains("--client-id"), "{error}");

    author.wanted.client_id = Some("mine".to_owned());
    let said = author.deploys().await;
    assert!(said.lines.iter().all(|line| line.starts_with("+ ")), "{:?}", said.lines);
    let config = author.config().await;
    let sign_in = &config["sign_in"];
    assert_eq!(sign_in["authorize"], format!("{own}/authorize"));
    assert_eq!(sign_in["token"], format!("{own}/token"));
    assert_eq!(sign_in["revoke"], format!("{own}/revoke"));
    assert_eq!(sign_in["logout"], format!("{own}/end"));
    assert_eq!(sign_in["scope"], "openid email coursegate/learn offline_access");
    // Only Cognito has these.
    assert_eq!([&sign_in["sign_up"], &sign_in["passkeys"]], [&Value::Null, &Value::Null]);
    assert_eq!(sign_in["client_id"], "mine");
    assert_eq!(config["embed_origins"], json!([]));
}

#[tokio::test]
async fn what_a_custom_issuer_lacks_is_reported() {
    let Some(mut author) = Author::of("lacking").await else { return };
    author.wanted.client_id = Some("mine".to_owned());
    let elsewhere = |url: &str| {
        json!({
            "issuer": url,
            "authorization_endpoint": format!("{url}/authorize"),
            "token_endpoint": "https://tokens.example.com/token",
            "jwks_uri": format!("{url}/keys"),
        })
    };
    let nowhere = |url: &str| json!({ "issuer": url });
    let another = |_: &str| {
        json!({
            "issuer": "https://another.example.com",
            "authorization_endpoint": "https://another.example.com/authorize",
            "token_endpoint": "https://another.example.com/token",
            "jwks_uri": "https://another.example.com/keys",
        })
    };
    let (elsewhere, nowhere) = (issuer(elsewhere).await, issuer(nowhere).await);
    let another = issuer(another).await;
    let mut errors = Vec::new();
    for issuer in [&nowhere, &another, &format!("{another}/tenant")] {
        author.shop.parameters.insert("JwtIssuer", issuer.clone());
        author.shop.update_stack(&template_for_moto()).await;
        errors.push(author.deploys().await.error().replace(issuer.as_str(), "ISSUER"));
    }
    insta::assert_snapshot!(errors.join("\n"), @r"
    ISSUER/.well-known/openid-configuration does not say where learners sign in: missing field `authorization_endpoint` at line 1 column 35; check that JwtIssuer is right, then run it again
    ISSUER/.well-known/openid-configuration names the issuer https://another.example.com, but the stack accepts only tokens of ISSUER: deploy with JwtIssuer=https://another.example.com
    ISSUER/.well-known/openid-configuration does not say where learners sign in: it answers 404 Not Found; check that JwtIssuer is right, then run it again
    ");
    assert_eq!(author.object("SiteBucket", "config.json").await, None);

    author.shop.parameters.insert("JwtIssuer", elsewhere.clone());
    author.shop.update_stack(&template_for_moto()).await;
    let said = author.deploys().await;
    let notes: Vec<&String> = said.lines.iter().filter(|line| line.starts_with('!')).collect();
    let [host, end] = notes[..] else { panic!("{notes:?}") };
    assert!(host.contains("JwtTokenOrigin=https://tokens.example.com"), "{host}");
    assert!(end.contains("end_session_endpoint"), "{end}");
    let site = author.shop.parameters["SiteOrigin"].clone();
    let sign_in = &author.config().await["sign_in"];
    assert_eq!(sign_in["logout"], format!("{site}/"));
    assert_eq!(sign_in["revoke"], Value::Null);
    assert_eq!(sign_in["scope"], "openid email coursegate/learn", "offline access isn't offered");

    author.shop.parameters.insert("JwtTokenOrigin", "https://tokens.example.com".to_owned());
    author.shop.update_stack(&template_for_moto()).await;
    let said = author.deploys().await;
    assert!(!said.lines.iter().any(|line| line.contains("JwtTokenOrigin")), "{:?}", said.lines);
}

#[tokio::test]
async fn a_stack_without_a_site_gets_only_the_chapters() {
    let Some(mut author) = Author::of("bare").await else { return };
    author.shop.parameters.insert("SiteHosting", "none".to_owned());
    author.shop.update_stack(&template_for_moto()).await;
    let said = author.deploys().await;
    let (first, sent) = said.lines.split_first().unwrap();
    assert!(first.contains("SiteHosting=none"), "{first}");
    assert!(sent.iter().all(|line| line.starts_with("+ content: ")), "{sent:?}");
    assert_eq!(said.deployed().sent, sent.len());
    assert_eq!(author.object("SiteBucket", "index.html").await, None);
    let found = finding(&author.shop.deployment().await, "site's files").await;
    assert!(matches!(found, Finding::Skipped(_)), "{found:?}");
}

#[tokio::test]
async fn a_missing_upload_permission_is_named() {
    let Some(author) = Author::of("permissions").await else { return };
    let Some(strict) = strict_moto() else { return };
    for bucket in ["SiteBucket", "ContentBucket"] {
        strict.create_bucket(&author.shop.parameters[bucket]).await;
    }
    // The same stack, with permission checks on each S3 request.
    let deploys_with = async |config| {
        let mut deployment = author.shop.deployment().await;
        deployment.cloud.as_mut().unwrap().aws.s3 = S3::new(&config);
        author.deploys_to(&deployment).await
    };
    let mut errors = Vec::new();
    let (list, put, look) = ("s3:ListBucket", "s3:PutObject", "s3:GetObject");
    for (user, actions) in [("nobody", &[][..]), ("lists", &[list]), ("puts", &[list, put])] {
        let config = strict.let_only(user, &[&["s3:Nothing"], actions].concat()).await;
        match deploys_with(config).await.ended {
            Ok(deployed) => assert!(deployed.sent > 0, "a first time nothing is looked at"),
            Err(error) => errors.push(error.to_string()),
        }
    }
    let config = strict.let_only("puts-again", &[list, put]).await;
    errors.push(deploys_with(config).await.error());
    let config = strict.let_only("all", &[list, put, look]).await;
    let said = deploys_with(config).await;
    assert_eq!(said.deployed().sent, 0, "{:?}", said.lines);
    insta::assert_snapshot!(errors.join("\n"), @r"
    your AWS identity may not do s3:ListBucket in bucket permissions-content: give it the permissions that docs/DEPLOY.md names for the site; or, if it had them a moment ago, sign in again
    your AWS identity may not do s3:PutObject in bucket permissions-content: give it the permissions that docs/DEPLOY.md names for the site; or, if it had them a moment ago, sign in again
    your AWS identity may not do s3:GetObject in bucket permissions-content: give it the permissions that docs/DEPLOY.md names for the site; or, if it had them a moment ago, sign in again
    ");
}

#[tokio::test]
async fn a_missing_bucket_or_unreachable_s3_is_reported() {
    let Some(author) = Author::of("unreached").await else { return };
    let mut deployment = author.shop.deployment().await;
    deployment.cloud.as_mut().unwrap().site.content_bucket = "nobody-has-it".to_owned();
    let error = author.deploys_to(&deployment).await.error();
    assert!(error.starts_with("there is no bucket nobody-has-it"), "{error}");

    let (listener, url) = listen().await;
    drop(listener);
    let config = quiet_moto().unwrap().config();
    let mut deployment = author.shop.deployment().await;
    deployment.cloud.as_mut().unwrap().aws.s3 =
        S3::new(&config.to_builder().endpoint_url(url).build());
    let error = author.deploys_to(&deployment).await.error();
    assert!(error.starts_with("S3 can't be reached") && error.contains("network"), "{error}");
    let mut nobody = config.to_builder();
    nobody.set_credentials_provider(None);
    deployment.cloud.as_mut().unwrap().aws.s3 = S3::new(&nobody.build());
    let error = author.deploys_to(&deployment).await.error();
    assert!(error.starts_with("no AWS credentials"), "{error}");
}
