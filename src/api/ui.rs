//! One embedded page for people who open the address in a browser.

use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

/// Written by hand; asks `/v2` itself.
const PAGE: &str = include_str!("ui/index.html");

/// Where the page lies. Source: spec 1.1, "Root".
const HOME: &str = "/ui/";

/// `GET /` and `GET /ui`: leads to the page.
pub(super) async fn home() -> Response {
    (StatusCode::FOUND, [(header::LOCATION, HOME)]).into_response()
}

/// `GET /ui/`: the page.
pub(super) async fn page() -> Html<&'static str> {
    Html(PAGE)
}
