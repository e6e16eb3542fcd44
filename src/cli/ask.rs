//! Commands that ask a running master and print its answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::explained::explained;
use super::{ExitError, exit_code};
use crate::settings::Address;
use crate::world::net::TcpStream;

/// A master that has no answer by then has none.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A change may have to wait for a whole copy of the state; a master says by itself, sooner
/// than this, that it took too long.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Ten thousand agents fit; a runaway answer does not.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A master's API.
pub struct Asked {
    /// `http://HOST:PORT`.
    pub url: String,
    /// Value of `Authorization`, where the master wants one.
    pub authorization: Option<String>,
}

/// Prints the agents that `master` knows, one a line.
///
/// # Errors
/// The master does not answer, or says no.
pub async fn agents_list(master: &Asked) -> Result<(), ExitError> {
    let answer = ask(master, Method::GET, "/v1/agents", None).await?;
    let columns = [
        ("ID", "id"),
        ("HOSTNAME", "hostname"),
        ("PRESENCE", "presence"),
        ("HAS", "totals"),
        ("USED", "used"),
        ("ATTRIBUTES", "attributes"),
        ("VERSION", "version"),
    ];
    print(&table(&answer, "agents", &columns))
}

/// Prints the masters that `master` knows, one a line.
///
/// # Errors
/// The master does not answer, or says no.
pub async fn members_list(master: &Asked) -> Result<(), ExitError> {
    let answer = ask(master, Method::GET, "/v1/members", None).await?;
    let columns =
        [("ID", "id"), ("CLUSTER", "cluster"), ("HTTP", "http"), ("VOTES", "votes"), ("LEADS", "leads")];
    print(&table(&answer, "members", &columns))
}

/// Prints why `app` waits, or why its tasks are where they are.
///
/// # Errors
/// The master does not answer, or knows no such app.
pub async fn explain(master: &Asked, app: &str) -> Result<(), ExitError> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-./".contains(&b);
    if app.is_empty() || !app.bytes().all(is_plain) {
        let text =
            format!("{app:?} is no path of an app; expected letters, digits, '-', '.' and '/', such as /web");
        return Err(ExitError::new(exit_code::USAGE, text));
    }
    let path = format!("/v2/apps/{}/explain", app.trim_matches('/'));
    print(&explained(&ask(master, Method::GET, &path, None).await?))
}

/// Asks `master` to put `new` in the place of `old`. Where that is so already there is nothing to do.
///
/// # Errors
/// The master does not answer, or says no.
pub async fn members_replace(master: &Asked, old: &str, new: &str) -> Result<(), ExitError> {
    let members = ask(master, Method::GET, "/v1/members", None).await?;
    if is_done(master, &members, old, new).await {
        return print(&format!("{new} is a member already: nothing to do\n"));
    }
    let old = member(&members, old, true)?;
    let new = member(&members, new, false)?;
    let body = serde_json::json!({ "old": old, "new": new });
    ask(master, Method::POST, "/v1/members/replace", Some(body)).await?;
    print(&format!("{new} took the place of {old}\n"))
}

/// Whether `new` votes and `old` is gone. Under one address they tell themselves apart by
/// whether who is there says that it is a member: an emptied master that waits says no.
async fn is_done(master: &Asked, members: &Value, old: &str, new: &str) -> bool {
    let all = members.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = |member: &Value, key: &str| member.get(key).and_then(Value::as_str).map(str::to_owned);
    let is_named = |member: &Value, named: &str| {
        text(member, "id").as_deref() == Some(named) || text(member, "cluster").as_deref() == Some(named)
    };
    let votes = |member: &&Value| member.get("votes").and_then(Value::as_bool) == Some(true);
    let named_new: Vec<&Value> = all.iter().filter(|member| is_named(member, new)).collect();
    let [found] = named_new.as_slice() else { return false };
    if !votes(found) {
        return false;
    }
    // A master that went is listed for some seconds more, without a vote.
    if !all.iter().any(|member| is_named(member, old) && votes(&member)) {
        return true;
    }
    let Some(http) = text(found, "http").filter(|_| old == new && text(found, "id").as_deref() != Some(new))
    else {
        return false;
    };
    let there = Asked { url: format!("http://{http}"), authorization: master.authorization.clone() };
    ask(&there, Method::GET, "/ready", None).await.is_ok()
}

/// The id of the member that `named` is the id or the cluster address of. An emptied master
/// comes back under its old address with a new id: `votes` says which of the two is meant.
fn member(members: &Value, named: &str, votes: bool) -> Result<String, ExitError> {
    let text = |member: &Value, key: &str| member.get(key).and_then(Value::as_str).map(str::to_owned);
    let all = members.get("members").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named_so = all.iter().filter(|member| {
        let has_vote = member.get("votes").and_then(Value::as_bool) == Some(true);
        text(member, "id").as_deref() == Some(named)
            || (text(member, "cluster").as_deref() == Some(named) && has_vote == votes)
    });
    let mut ids = named_so.filter_map(|member| text(member, "id"));
    match (ids.next(), ids.next()) {
        (Some(id), None) => Ok(id),
        (first, _) => {
            let found = if first.is_some() { "more than one master" } else { "no master" };
            let kind = if votes { "a member" } else { "a running master that is no member yet" };
            let text = format!(
                "{named:?} names {found}; expected id or cluster address of {kind}, as shown by \
                 'platformd members list'"
            );
            Err(ExitError::new(exit_code::USAGE, text))
        }
    }
}

async fn ask(master: &Asked, method: Method, path: &str, body: Option<Value>) -> Result<Value, ExitError> {
    let url = master.url.as_str();
    let Some(address) =
        url.strip_prefix("http://").and_then(|rest| Address::parse(rest.trim_end_matches('/')))
    else {
        let text = format!("--url {url:?}: expected http://HOST:PORT of a master's API");
        return Err(ExitError::new(exit_code::USAGE, text));
    };
    let limit = if method == Method::GET { ANSWER_TIMEOUT } else { CHANGE_TIMEOUT };
    let asking = exchange(&address, master.authorization.as_deref(), method, path, body);
    match tokio::time::timeout(limit, asking).await {
        Err(_) => Err(failed(url, &format!("no answer within {} s", limit.as_secs()))),
        Ok(Err(error)) => Err(failed(url, &format!("{error:#}"))),
        Ok(Ok((status, body))) if status.is_success() => Ok(body),
        Ok(Ok((status, body))) => {
            let said = body.get("message").and_then(Value::as_str).map(str::to_owned);
            let said = said.unwrap_or_else(|| body.to_string());
            Err(ExitError::new(exit_code::FAILED, format!("the master at {url} answers {status}: {said}")))
        }
    }
}

fn failed(url: &str, reason: &str) -> ExitError {
    let text = format!("the master at {url} did not do it: {reason}; is it running, and --url right?");
    ExitError::new(exit_code::FAILED, text)
}

async fn exchange(
    address: &Address,
    authorization: Option<&str>,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> anyhow::Result<(StatusCode, Value)> {
    let stream = TcpStream::connect((address.host(), address.port())).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let mut request = Request::builder();
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    let request = request
        .method(method)
        .uri(path)
        .header("Host", address.as_str())
        .header("Accept", "application/json")
        .header("Content-Type", "application/json")
        .body(Full::new(body))?;
    let connection = crate::world::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let bytes = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    connection.abort();
    let bytes = bytes.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok((status, value))
}

/// Rows of `answer[list]` as aligned columns, the header first.
fn table(answer: &Value, list: &str, columns: &[(&str, &str)]) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|(title, _)| (*title).to_owned()).collect()];
    for row in answer.get(list).and_then(Value::as_array).into_iter().flatten() {
        rows.push(columns.iter().map(|(_, key)| cell(row.get(key))).collect());
    }
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| {
            rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Object(map)) if map.is_empty() => "-".to_owned(),
        Some(Value::Object(map)) => {
            let pairs: Vec<String> =
                map.iter().map(|(name, value)| format!("{name}:{}", cell(Some(value)))).collect();
            pairs.join(";")
        }
        Some(other) => other.to_string(),
    }
}

/// Writes to standard output.
///
/// # Errors
/// That it does not take it.
pub fn print(text: &str) -> Result<(), ExitError> {
    use std::io::Write as _;
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| {
        ExitError::new(exit_code::FAILED, format!("standard output does not take it: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_flatten() {
        let answer = serde_json::json!({ "agents": [
            { "id": "a-1", "hostname": "localhost", "resources": { "cpus": 4, "mem": 512 } },
            { "id": "a-22", "hostname": "h", "resources": {} },
        ]});
        let columns = [("ID", "id"), ("HOST", "hostname"), ("HAS", "resources"), ("X", "x")];
        assert_eq!(
            table(&answer, "agents", &columns),
            "ID    HOST       HAS             X\n\
             a-1   localhost  cpus:4;mem:512  -\n\
             a-22  h          -               -\n"
        );
    }

    #[test]
    fn members_are_found_by_id_or_address() {
        let members = serde_json::json!({ "members": [
            { "id": "7", "cluster": "a:1", "votes": true },
            { "id": "8", "cluster": "b:1", "votes": true },
            { "id": "9", "cluster": "a:1", "votes": false },
        ]});
        let check = |named, votes| member(&members, named, votes).ok();
        assert_eq!(check("a:1", true).as_deref(), Some("7"));
        assert_eq!(check("a:1", false).as_deref(), Some("9"));
        assert_eq!(check("8", true).as_deref(), Some("8"));
        assert_eq!(check("b:1", false), None);
        assert_eq!(check("c:1", true), None);
    }

    #[tokio::test]
    async fn a_master_that_is_not_there_is_named() {
        let at = |url: &str| Asked { url: url.to_owned(), authorization: None };
        let error = agents_list(&at("http://127.0.0.1:1")).await.unwrap_err();
        assert_eq!(error.code, exit_code::FAILED);
        assert!(error.message.contains("http://127.0.0.1:1"), "{error}");
        assert_eq!(agents_list(&at("ftp://x")).await.unwrap_err().code, exit_code::USAGE);
    }
}
